//! `fence NODE`: not there yet.

use crate::core::NodeName;
use crate::exit::{Exit, Failure};

/// Runs the verb.
pub(super) fn run(node: &NodeName) -> Result<(), Failure> {
    Err(Failure::new(Exit::Failure, format!("cannot fence node {node}: not there yet")))
}
