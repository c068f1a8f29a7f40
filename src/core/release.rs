//! Releases as they travel: what one must look like, and what a node says about one.
//!
//! Pure. Whether a release matches an activation is for [`super::state`] to say, when it is
//! applied; here is only what can be told from its form.

use super::command::Release;

/// Bytes of the secret that releases an invocation.
pub const SECRET_BYTES: usize = 32;

/// What a node says about a release that was sent to it. An answer of a newer version reads as
/// the first: ask the others, and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ReleaseOutcome {
    /// This node does not lead, or does not know the newest state: ask the others, and again.
    NotLeader = 0,
    /// The replicated state knows no activation of it that is not released: nothing is left to do.
    Over = 1,
    /// Proposed; ask again to learn what became of it.
    Proposed = 2,
    /// The secret is not the one whose hash stands in the activation. Changes nothing.
    Forged = 3,
}

/// A release that can match nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitRelease {
    /// The run is not named.
    #[error("release with an invocation of {0} bytes, expected 16")]
    Invocation(usize),
    /// Neither an activation is named nor a whole run.
    #[error("release without token and secret, expected one of them")]
    Nothing,
    /// No secret of ours.
    #[error("release with a secret of {0} bytes, expected {SECRET_BYTES}")]
    Secret(usize),
}

impl Release {
    /// Whether it ends the whole invocation, for good.
    pub fn is_for_good(&self) -> bool {
        !self.secret.is_empty()
    }

    /// Refuses what can match no activation, whatever the state is.
    pub fn check_form(&self) -> Result<(), UnfitRelease> {
        match (self.invocation.len(), self.secret.len(), self.token) {
            (16, 0, 0) => Err(UnfitRelease::Nothing),
            (16, 0 | SECRET_BYTES, _) => Ok(()),
            (16, secret, _) => Err(UnfitRelease::Secret(secret)),
            (invocation, ..) => Err(UnfitRelease::Invocation(invocation)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_match_an_activation_passes() {
        let form = |invocation, secret, token| {
            let (invocation, secret) = (vec![1; invocation], vec![2; secret]);
            Release { node: 1, invocation, token, secret }.check_form()
        };
        assert_eq!(form(16, 0, 9), Ok(()));
        assert_eq!(form(16, 32, 0), Ok(()));
        assert_eq!(form(16, 0, 0), Err(UnfitRelease::Nothing));
        for bytes in [1, 31, 33] {
            assert_eq!(form(16, bytes, 9), Err(UnfitRelease::Secret(bytes)));
        }
        for bytes in [0, 15, 17] {
            assert_eq!(form(bytes, 32, 0), Err(UnfitRelease::Invocation(bytes)));
        }
    }

    /// What a newer version might answer must not end the announcements.
    #[test]
    fn an_answer_that_is_not_known_says_ask_again() {
        assert_eq!(ReleaseOutcome::try_from(77).unwrap_or_default(), ReleaseOutcome::NotLeader);
        assert_eq!(ReleaseOutcome::default(), ReleaseOutcome::NotLeader);
    }
}
