//! What can be wrong with a configuration file, and where.

use std::fmt;

/// One problem at one place of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Name of the file, as the caller gave it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: Problem,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConfigError { file, line, column, problem } = self;
        write!(f, "{file}:{line}:{column}: {problem}")
    }
}

impl std::error::Error for ConfigError {}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file is longer than [`crate::limits::CONFIG_MAX_BYTES`].
    #[error("the file has more than {limit} bytes: expected a configuration of at most that size")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The bytes are not UTF-8.
    #[error("byte 0x{byte:02x}: expected UTF-8 text")]
    NotText {
        /// The first byte that does not fit.
        byte: u8,
    },
    /// The text is not TOML.
    #[error("not valid TOML near `{near}`: {message}")]
    Syntax {
        /// The text there.
        near: String,
        /// What the parser says, with what it expected.
        message: String,
    },
    /// A key that does not exist.
    #[error("unknown key {name:?} {place}; {hint}")]
    UnknownKey {
        /// Its name.
        name: String,
        /// Where it was found: "in [section]" or "outside of any section".
        place: String,
        /// The nearest known one, or all of them.
        hint: String,
    },
    /// A section that does not exist.
    #[error("unknown section [{name}]; {hint}")]
    UnknownSection {
        /// Its name.
        name: String,
        /// The nearest known one, or all of them.
        hint: String,
    },
    /// A single value with the name of a section.
    #[error("{name} = {value}: expected a section [{name}]")]
    NotSection {
        /// Its name.
        name: String,
        /// The value, as written in the file.
        value: String,
    },
    /// A section of a later version.
    #[error("section [{name}] is reserved for a later version; expected it to be absent")]
    Reserved {
        /// Its name.
        name: String,
    },
    /// Something required is not there.
    #[error("{place} has no {what}: expected {expected}")]
    Missing {
        /// Where it should be.
        place: String,
        /// What should be there.
        what: String,
        /// What it looks like.
        expected: String,
    },
    /// A value that cannot be used.
    #[error("{place} {key} = {value}: expected {expected}")]
    Invalid {
        /// The section, as `[section]`.
        place: String,
        /// The key.
        key: String,
        /// The value, as written in the file.
        value: String,
        /// What would be accepted.
        expected: String,
    },
}

/// All problems of a file, in the order of their places; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn new(mut errors: Vec<ConfigError>) -> ConfigErrors {
        assert!(!errors.is_empty(), "a refusal needs a reason");
        errors.sort_by_key(|e| (e.line, e.column));
        errors.dedup();
        ConfigErrors(errors)
    }

    /// The problems.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    /// One line for each problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A node that a file does not describe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No such node.
    #[error("{file}: no node {name:?}: expected one of {nodes}")]
    NotHere {
        /// The file.
        file: String,
        /// What was asked for.
        name: String,
        /// The nodes there are, comma-separated.
        nodes: String,
    },
    /// The file describes several nodes and none was named.
    #[error("{file}: describes {nodes}: expected one of them to be named")]
    Ambiguous {
        /// The file.
        file: String,
        /// The nodes there are, comma-separated.
        nodes: String,
    },
}
