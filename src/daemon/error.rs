//! Why the agent does not start, and the exit status that tells it. Does not log: the composition
//! root says it, once.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::consensus::StartRefused;
use crate::dbus::private;
use crate::events;
use crate::exit::Exit;
use crate::http;
use crate::http::token::TokenError;
use crate::storage::LogError;
use crate::storage::state_dir::StateDirError;
use crate::storage::state_store::StateStoreError;
use crate::systemd::listen::ListenError;

/// Why the agent does not start. Nothing was overwritten.
#[derive(Debug, thiserror::Error)]
pub(super) enum SetupError {
    /// The log file.
    #[error("cannot open log file {}", path.display())]
    LogFile { path: PathBuf, source: io::Error },
    /// The kernel gives no random bytes.
    #[error("cannot get random bytes")]
    Random(#[source] getrandom::Error),
    /// The runtime directory.
    #[error("cannot create runtime directory {}", path.display())]
    RuntimeDirectory { path: PathBuf, source: io::Error },
    /// The Raft listener.
    #[error("cannot listen on {address} for peers; is another agent running there?")]
    Listen { address: String, source: io::Error },
    /// A descriptor from systemd.
    #[error("cannot use what the socket unit passed")]
    Passed(#[source] ListenError),
    /// The descriptor listens elsewhere.
    #[error(
        "the socket unit listens on {found}: expected {expected}, the address in the \
         configuration; run systemctl daemon-reload, then restart this service"
    )]
    OtherAddress { found: SocketAddr, expected: String },
    /// The system bus, through which the service manager is reached.
    #[error("cannot tell where the system bus is")]
    SystemBus(#[source] zbus::Error),
    /// The token of the HTTP surface.
    #[error("cannot use the token of [http]")]
    HttpToken(#[source] TokenError),
    /// The HTTP listener.
    #[error(transparent)]
    Http(http::listen::ListenError),
    /// The private socket.
    #[error("cannot serve the private bus")]
    Bus(#[source] private::BindError),
    /// The state directory.
    #[error("cannot use the state directory")]
    StateDir(#[from] StateDirError),
    /// The log.
    #[error("cannot open the log in {}", path.display())]
    Log { path: PathBuf, source: LogError },
    /// The state machine's database.
    #[error("cannot open the state in the state directory")]
    Store(#[from] StateStoreError),
    /// The configuration has another list of members than the cluster.
    #[error(
        "the configuration lists the members {listed}, but the cluster in {} was formed by \
         {committed}; correct the list, only addresses in it may change",
        path.display()
    )]
    Members { path: PathBuf, committed: String, listed: String },
    /// Log and state do not fit together.
    #[error("log and state in {} do not fit together; restore the directory", path.display())]
    Replica { path: PathBuf, source: StartRefused },
    /// Threads or signals.
    #[error("the system refuses a thread, timer or signal handler")]
    System(#[source] io::Error),
    /// The script runner.
    #[error("cannot run event scripts")]
    Scripts(#[from] events::StartError),
}

impl SetupError {
    /// The exit status of the process.
    pub(super) fn exit(&self) -> Exit {
        use StateDirError as D;
        match self {
            SetupError::LogFile { .. } | SetupError::RuntimeDirectory { .. } => Exit::CannotCreate,
            SetupError::Listen { source, .. }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Exit::NoPermission
            }
            SetupError::Http(http::listen::ListenError::NoToken { .. }) => Exit::Configuration,
            SetupError::Http(http::listen::ListenError::Io { source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Exit::NoPermission
            }
            SetupError::Http(_) => Exit::AddressUnavailable,
            SetupError::HttpToken(TokenError::Unreadable { source, .. }) => match source.kind() {
                io::ErrorKind::PermissionDenied => Exit::NoPermission,
                _ => Exit::Configuration,
            },
            SetupError::HttpToken(_) => Exit::Configuration,
            SetupError::Listen { .. } | SetupError::Bus(_) | SetupError::Passed(_) => {
                Exit::AddressUnavailable
            }
            SetupError::OtherAddress { .. } | SetupError::SystemBus(_) => Exit::Configuration,
            SetupError::StateDir(error) => match error {
                D::NotADirectory { .. } => Exit::CannotCreate,
                D::ReadOnly { .. } | D::OtherNode { .. } => Exit::NoPermission,
                D::NoSpace { .. } | D::Io { .. } => Exit::Io,
                D::Locked { .. } => Exit::Locked,
                D::NewerFormat { .. } => Exit::NewerFormat,
                D::Corrupt { .. } => Exit::StateCorrupt,
            },
            SetupError::Log { source, .. } => match source {
                LogError::Corrupt { .. } => Exit::StateCorrupt,
                LogError::NewerFormat { .. } => Exit::NewerFormat,
                LogError::Io { source, .. } => refused(source),
                _ => Exit::Io,
            },
            SetupError::Store(error) => match error {
                StateStoreError::Corrupt { .. } => Exit::StateCorrupt,
                StateStoreError::InUse { .. } => Exit::Locked,
                StateStoreError::Io { source, .. } => refused(source),
                _ => Exit::Io,
            },
            SetupError::Members { .. } => Exit::Configuration,
            SetupError::Replica { .. } => Exit::StateCorrupt,
            SetupError::Scripts(_) | SetupError::Random(_) | SetupError::System(_) => Exit::Io,
        }
    }
}

/// A file that the system does not let us have.
fn refused(error: &io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Exit::NoPermission,
        _ => Exit::Io,
    }
}

/// An error and its causes in one line.
pub(super) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
