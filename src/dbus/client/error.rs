//! Why an agent did not give an answer; the one place where names of the bus become errors.

use std::path::PathBuf;

/// Why the agent did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No agent listens there.
    #[error("no agent answers on {path:?}")]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The agent does not let this user in.
    #[error("the agent on {path:?} does not admit this user: expected root or the agent's user")]
    NotPermitted {
        /// The socket.
        path: PathBuf,
    },
    /// No agent has that name on the system bus.
    #[error("no agent answers as {name} on the system bus: {problem}")]
    NotOnBus {
        /// The name.
        name: String,
        /// What happened instead.
        problem: String,
    },
    /// No answer within the deadline.
    #[error("the agent did not answer {call} within {waited_ms} ms")]
    TimedOut {
        /// What was asked.
        call: &'static str,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// The agent answered with an error of its own.
    #[error("{message}")]
    Refused {
        /// The last part of the error's name, for example `NotLeader`.
        name: String,
        /// What the agent says.
        message: String,
    },
    /// The connection broke.
    #[error("the agent closed the connection")]
    Closed,
    /// The answer is not what this version understands.
    #[error("the answer of the agent to {call} is not understood: {problem}")]
    NotUnderstood {
        /// What was asked.
        call: &'static str,
        /// What is wrong with the answer.
        problem: String,
    },
}

impl From<zbus::Error> for ClientError {
    fn from(error: zbus::Error) -> ClientError {
        let last = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
        match error {
            zbus::Error::MethodError(name, message, _) => ClientError::Refused {
                name: last(&name),
                message: message.unwrap_or_else(|| name.to_string()),
            },
            zbus::Error::FDO(error) => {
                let name = zbus::DBusError::name(&*error).to_string();
                let message = zbus::DBusError::description(&*error).unwrap_or(&name).to_owned();
                ClientError::Refused { name: last(&name), message }
            }
            _ => ClientError::Closed,
        }
    }
}
