//! `event NODE:EVENT`: runs one event script as root.

use std::str::FromStr;

use crate::core::NodeName;
use crate::core::role::EventName;
use crate::exit::{Exit, Failure};

/// Instance of `raftctl-event@.service`: whose event, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The node.
    pub node: NodeName,
    /// The event.
    pub event: EventName,
}

impl FromStr for Instance {
    type Err = InvalidInstance;

    fn from_str(text: &str) -> Result<Instance, InvalidInstance> {
        let bad = || InvalidInstance { text: text.to_owned() };
        let (node, event) = text.split_once(':').ok_or_else(bad)?;
        let (node, event) = (node.parse(), event.parse());
        Ok(Instance { node: node.map_err(|_| bad())?, event: event.map_err(|_| bad())? })
    }
}

/// The text is not `NODE:EVENT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instance {text:?} is not valid: expected NODE:EVENT, for example n1:follower")]
pub struct InvalidInstance {
    /// What was given.
    pub text: String,
}

/// Runs the script; does not return if it could be started.
pub(super) fn run(instance: &Instance) -> Result<(), Failure> {
    let Instance { node, event } = instance;
    Err(Failure::new(Exit::Configuration, format!("no script for event {event} of node {node}")))
}
