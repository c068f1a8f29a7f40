//! The bearer token: where it comes from, and the comparison that says nothing by its duration.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::limits;

/// What a client has to show. Only its hash is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken([u8; 32]);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file.
    #[error("cannot read the token in {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in it.
    #[error(
        "the token in {} cannot be used: expected one line of {} to {} printable ASCII characters \
         without spaces", path.display(), limits::HTTP_TOKEN_MIN_BYTES, limits::HTTP_TOKEN_MAX_BYTES
    )]
    Unfit {
        /// The file.
        path: PathBuf,
    },
}

impl BearerToken {
    /// A token of these bytes, if it is one: what fits into a header, and is not guessed soon.
    pub fn new(bytes: &[u8]) -> Option<BearerToken> {
        let lengths = limits::HTTP_TOKEN_MIN_BYTES..=limits::HTTP_TOKEN_MAX_BYTES;
        let fits = lengths.contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        fits.then(|| BearerToken(Sha256::digest(bytes).into()))
    }

    /// Reads the first line of a file.
    pub fn read(path: &Path) -> Result<BearerToken, TokenError> {
        use std::io::Read as _;
        let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        let most = limits::HTTP_TOKEN_MAX_BYTES as u64 + 2;
        file.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
        let line = bytes.split(|c| *c == b'\n').next().unwrap_or_default().trim_ascii_end();
        BearerToken::new(line).ok_or_else(|| TokenError::Unfit { path: path.to_owned() })
    }

    /// The token of this agent: that of the file, or else the credential `http-token`
    /// (systemd.exec(5), `LoadCredential=`), or none.
    pub fn find(
        file: Option<&Path>,
        credentials: Option<&Path>,
    ) -> Result<Option<BearerToken>, TokenError> {
        if let Some(file) = file {
            return BearerToken::read(file).map(Some);
        }
        match credentials.map(|directory| directory.join(CREDENTIAL)) {
            Some(path) if path.exists() => BearerToken::read(&path).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether `shown`, the value of `Authorization:`, shows it. Takes as long for every token of
    /// one length: what is compared are hashes, and all of them.
    pub fn is_shown_by(&self, shown: &[u8]) -> bool {
        let Some((scheme, token)) = shown.split_at_checked(7) else { return false };
        if !scheme.eq_ignore_ascii_case(b"bearer ") {
            return false;
        }
        let hash: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
        let differs = self.0.iter().zip(&hash).fold(0, |differs, (a, b)| differs | (a ^ b));
        std::hint::black_box(differs) == 0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken")
    }
}

/// Name of the credential.
pub const CREDENTIAL: &str = "http-token";

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "0123456789abcdef";

    #[test]
    fn only_the_token_is_the_token() {
        let token = BearerToken::new(GOOD.as_bytes()).unwrap();
        assert!(token.is_shown_by(format!("Bearer {GOOD}").as_bytes()));
        assert!(token.is_shown_by(format!("bearer  {GOOD}").as_bytes()));
        for bad in ["", "Bearer", "Bearer ", "Basic 0123456789abcdef", "Bearer 0123456789abcdeF"] {
            assert!(!token.is_shown_by(bad.as_bytes()), "{bad}");
        }
        assert!(!token.is_shown_by(format!("Bearer {GOOD}0").as_bytes()));
        assert!(!format!("{token:?}").contains(GOOD));
    }

    #[test]
    fn a_token_is_a_line_of_some_length() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(CREDENTIAL);
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            BearerToken::read(&path)
        };
        assert_eq!(read(&format!("{GOOD}\n")).unwrap(), BearerToken::new(GOOD.as_bytes()).unwrap());
        read(&format!("{GOOD}\r\nmore")).unwrap();
        let long = "x".repeat(limits::HTTP_TOKEN_MAX_BYTES + 1);
        for bad in ["", "short", "with some spaces in it", "ümläute-sind-kein-ascii", &long] {
            assert!(matches!(read(bad), Err(TokenError::Unfit { .. })), "{bad}");
        }
        let found = |file, credentials| BearerToken::find(file, credentials);
        assert!(found(None, None).unwrap().is_none());
        assert!(found(None, Some(Path::new("/nonexistent"))).unwrap().is_none());
        assert!(found(Some(Path::new("/nonexistent")), None).is_err());
        std::fs::write(&path, GOOD).unwrap();
        assert!(found(None, Some(directory.path())).unwrap().is_some());
    }
}
