//! What can go wrong with event scripts.

use std::io;
use std::path::PathBuf;

/// The runner could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No thread.
    #[error("cannot create the thread that runs event scripts")]
    Thread {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No runtime (usually: no file descriptors left).
    #[error("cannot create the runtime that watches event scripts")]
    Runtime {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A script was not run.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// There is no such file.
    #[error("event script {path:?} does not exist")]
    Missing {
        /// The script.
        path: PathBuf,
    },
    /// Scripts run in `/`, so a relative path would be looked up there.
    #[error("event script {path:?} is relative, expected an absolute path")]
    Relative {
        /// The script.
        path: PathBuf,
    },
    /// It is a directory, a device, ...
    #[error("event script {path:?} is not a regular file")]
    NotAFile {
        /// The script.
        path: PathBuf,
    },
    /// The file may not be executed.
    #[error("event script {path:?} is not executable by this user, expected mode 0755 or alike")]
    NotExecutable {
        /// The script.
        path: PathBuf,
    },
    /// The first line names a program that does not exist.
    #[error("event script {path:?} names an interpreter in its first line that does not exist")]
    NoInterpreter {
        /// The script.
        path: PathBuf,
    },
    /// The kernel does not know how to run it.
    #[error("event script {path:?} is no program, expected `#!/bin/sh` or alike as first line")]
    NotAProgram {
        /// The script.
        path: PathBuf,
    },
    /// A `.js` script needs node.
    #[error("event script {path:?} needs node, expected it in one of {searched}")]
    NoNode {
        /// The script.
        path: PathBuf,
        /// The directories, colon-separated.
        searched: String,
    },
    /// More to say than fits.
    #[error("event script {path:?} would get {bytes} bytes of input, expected at most {most}")]
    InputTooLarge {
        /// The script.
        path: PathBuf,
        /// What there is to say, in bytes.
        bytes: usize,
        /// What a pipe holds, in bytes.
        most: usize,
    },
    /// A pipe or a process could not be created.
    #[error("event script {path:?} could not be started")]
    Spawn {
        /// The script.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file that tells the unit's program what happened could not be written.
    #[error("event script {path:?} not run: cannot write {file:?}")]
    EventFile {
        /// The script.
        path: PathBuf,
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The service manager refused.
    #[error("event script {path:?} not run: the service manager did not start {unit}: {why}")]
    Refused {
        /// The script.
        path: PathBuf,
        /// The unit.
        unit: String,
        /// What the service manager said.
        why: String,
    },
}
