//! The errors of the D-Bus surface: the one place where errors of the node become names on the bus.
//!
//! A name is part of the interface and never changes its meaning; the text is for people and may.

use zbus::message::Header;
use zbus::names::ErrorName;
use zbus::{DBusError, Message};

use crate::core::id::InvalidName;
use crate::node::handle::{
    HostRequestError, PauseError, RemoteStatusError, TakeoverError, TransferError,
};
use crate::node::kv::KvError;

/// What a method of `org.raftctl.Agent1.*` can fail with: `org.raftctl.Agent1.Error.<variant>`.
#[derive(Clone, Debug, PartialEq, Eq, zbus::DBusError)]
#[zbus(prefix = "org.raftctl.Agent1.Error")]
pub enum Error {
    /// Only the leader can do this.
    NotLeader(String),
    /// No such member in the cluster.
    UnknownMember(String),
    /// The wanted successor cannot lead now.
    NotEligible(String),
    /// A transfer is already under way.
    TransferInProgress(String),
    /// The successor did not take over in time; nothing was changed.
    TransferTimedOut(String),
    /// No activation of another node is in force.
    NothingActive(String),
    /// It cannot be done now, too much is under way; it may be tried again.
    Busy(String),
    /// What was asked for is dangerous, and was not asked for with force.
    ForceRequired(String),
    /// Another node is active: it has to be asked, or it has to be asked for with force.
    ActiveElsewhere(String),
    /// It cannot be written down on this host.
    NotWritten(String),
    /// The agent is stopping.
    Stopping(String),
    /// The member did not answer in time.
    Unreachable(String),
    /// An argument does not follow its grammar; the text names the argument and the value.
    InvalidArgument(String),
    /// The token is not that of the activation in force; nothing was written.
    TokenMismatch(String),
    /// The key is not at the revision that was expected; nothing was written.
    PreconditionFailed(String),
    /// The store is full; nothing was written.
    QuotaExceeded(String),
    /// There was no leader, or no quorum, until the timeout; nothing was written.
    Unavailable(String),
    /// The timeout passed, and whether the write takes effect is not known.
    OutcomeUnknown(String),
}

/// Why a caller may not do what he asks for, in the words of the D-Bus specification and systemd.
#[derive(Clone, Debug, PartialEq, Eq, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.DBus.Error")]
pub enum Denied {
    /// He may not.
    AccessDenied(String),
    /// He might if he proved who he is, and has not said that he can be asked.
    InteractiveAuthorizationRequired(String),
    /// He asks too often.
    LimitsExceeded(String),
    /// An argument is not one of those that are understood.
    InvalidArgs(String),
}

/// What a method fails with: an error of ours, or a standard one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An error of ours.
    Ours(Error),
    /// A standard one.
    Denied(Denied),
}

impl Failure {
    fn inner(&self) -> &dyn DBusError {
        match self {
            Failure::Ours(error) => error,
            Failure::Denied(error) => error,
        }
    }
}

impl DBusError for Failure {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        self.inner().create_reply(call)
    }

    fn name(&self) -> ErrorName<'_> {
        self.inner().name()
    }

    fn description(&self) -> Option<&str> {
        self.inner().description()
    }
}

impl From<Denied> for Failure {
    fn from(error: Denied) -> Failure {
        Failure::Denied(error)
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Ours(error.into())
    }
}

impl Error {
    /// An argument that does not follow its grammar.
    pub fn invalid_argument(argument: &str, error: &InvalidName) -> Error {
        Error::InvalidArgument(format!("argument {argument:?}: {error}"))
    }
}

impl From<TransferError> for Error {
    fn from(error: TransferError) -> Error {
        let text = error.to_string();
        match error {
            TransferError::NotLeader { .. } => Error::NotLeader(text),
            TransferError::UnknownMember { .. } => Error::UnknownMember(text),
            TransferError::NotEligible { .. } => Error::NotEligible(text),
            TransferError::InProgress { .. } => Error::TransferInProgress(text),
            TransferError::TimedOut { .. } => Error::TransferTimedOut(text),
            TransferError::Stopping => Error::Stopping(text),
        }
    }
}

impl From<TakeoverError> for Error {
    fn from(error: TakeoverError) -> Error {
        let text = error.to_string();
        match error {
            TakeoverError::NotLeader { .. } => Error::NotLeader(text),
            TakeoverError::NothingActive => Error::NothingActive(text),
            TakeoverError::Refused { .. } => Error::Busy(text),
            TakeoverError::Stopping => Error::Stopping(text),
        }
    }
}

impl From<PauseError> for Error {
    fn from(error: PauseError) -> Error {
        let text = error.to_string();
        match error {
            PauseError::NotLeader { .. } => Error::NotLeader(text),
            PauseError::ActiveElsewhere { .. } => Error::ActiveElsewhere(text),
            PauseError::Refused { .. } => Error::Busy(text),
            PauseError::Stopping => Error::Stopping(text),
        }
    }
}

impl From<HostRequestError> for Error {
    fn from(error: HostRequestError) -> Error {
        let text = error.to_string();
        match error {
            HostRequestError::Disk { .. } => Error::NotWritten(text),
            HostRequestError::Stopping => Error::Stopping(text),
        }
    }
}

impl From<KvError> for Error {
    fn from(error: KvError) -> Error {
        let text = error.to_string();
        match error {
            KvError::Invalid(_) => Error::InvalidArgument(text),
            KvError::Token { .. } => Error::TokenMismatch(text),
            KvError::Quota { .. } => Error::QuotaExceeded(text),
            KvError::Busy { .. } => Error::Busy(text),
            KvError::NotLeader { .. } => Error::NotLeader(text),
            KvError::Unavailable { .. } => Error::Unavailable(text),
            KvError::Unknown { .. } => Error::OutcomeUnknown(text),
            KvError::Stopping => Error::Stopping(text),
        }
    }
}

impl From<RemoteStatusError> for Error {
    fn from(error: RemoteStatusError) -> Error {
        let text = error.to_string();
        match error {
            RemoteStatusError::UnknownMember { .. } => Error::UnknownMember(text),
            RemoteStatusError::Unreachable { .. } => Error::Unreachable(text),
            RemoteStatusError::Stopping => Error::Stopping(text),
        }
    }
}
