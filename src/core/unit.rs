//! Names of systemd units, as a user writes them.
//!
//! Parsing happens here and nowhere else; a [`UnitName`] is the whole name of a unit that can run.
//! Whether there is such a unit is not known here.

use std::fmt;
use std::str::FromStr;

use crate::limits;

/// The whole name of a unit, with its suffix and, of a template, with its instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName(String);

/// What a name must look like, for messages.
pub const UNIT_GRAMMAR: &str =
    "the whole name of a unit in quotes, for example \"nginx.service\" or \"pg@main.service\"";

impl UnitName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UnitName {
    type Err = InvalidUnitName;

    /// systemd.unit(5), "Description": the prefix, with `@` also the instance, and the suffix.
    fn from_str(text: &str) -> Result<UnitName, InvalidUnitName> {
        let bad = |why| InvalidUnitName { value: text.to_owned(), why };
        if text.len() > limits::UNIT_NAME_MAX_BYTES {
            return Err(bad(Flaw::TooLong));
        }
        let Some((prefix, suffix)) = text.rsplit_once('.') else {
            return Err(bad(Flaw::NoSuffix));
        };
        if !SUFFIXES.contains(&suffix) {
            return Err(bad(Flaw::NoSuffix));
        }
        let follows = |c: u8| c.is_ascii_alphanumeric() || b":-_.\\@".contains(&c);
        if prefix.is_empty() || prefix.starts_with('@') || !prefix.bytes().all(follows) {
            return Err(bad(Flaw::Characters));
        }
        if prefix.ends_with('@') && prefix.find('@') == Some(prefix.len() - 1) {
            return Err(bad(Flaw::Template));
        }
        Ok(UnitName(text.to_owned()))
    }
}

/// Why a name is not one of a unit that can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// More than [`limits::UNIT_NAME_MAX_BYTES`].
    TooLong,
    /// No suffix, or an unknown one.
    NoSuffix,
    /// Characters that no unit has, or nothing before the suffix.
    Characters,
    /// A template.
    Template,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::TooLong => write!(f, "at most {} characters", limits::UNIT_NAME_MAX_BYTES),
            Flaw::NoSuffix => write!(f, "one of the suffixes .{}", SUFFIXES.join(" .")),
            Flaw::Characters => f.write_str("letters, digits and :-_.\\@ before the suffix"),
            Flaw::Template => {
                f.write_str("an instance between '@' and the suffix, since a template does not run")
            }
        }
    }
}

/// The text is not the name of a unit that can run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unit {value:?} is not valid: expected {why}")]
pub struct InvalidUnitName {
    /// What was given.
    pub value: String,
    /// What is wrong with it.
    pub why: Flaw,
}

/// The kinds of units (systemd.unit(5)).
const SUFFIXES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_names_are_taken_and_others_refused_with_the_reason() {
        for good in ["nginx.service", "pg@main.service", "a.b.mount", "x@.y.target", "-.slice"] {
            assert_eq!(good.parse::<UnitName>().map(|u| u.to_string()), Ok(good.to_owned()));
        }
        let long = format!("{}.service", "a".repeat(limits::UNIT_NAME_MAX_BYTES));
        for (bad, why) in [
            ("", Flaw::NoSuffix),
            ("nginx", Flaw::NoSuffix),
            ("nginx.conf", Flaw::NoSuffix),
            (".service", Flaw::Characters),
            ("a b.service", Flaw::Characters),
            ("a/b.service", Flaw::Characters),
            ("é.service", Flaw::Characters),
            ("@a.service", Flaw::Characters),
            ("pg@.service", Flaw::Template),
            (long.as_str(), Flaw::TooLong),
        ] {
            let error = bad.parse::<UnitName>().unwrap_err();
            assert_eq!(error.why, why, "{bad}");
            assert!(error.to_string().contains("expected"), "{error}");
        }
    }
}
