//! From what the disk held to what the replica starts with.
//!
//! The log and the state machine become durable independently; a crash may leave either ahead.
//! The state machine ahead of the log is possible only when the installation of a snapshot was
//! interrupted between the two: then the log is replaced by the snapshot's position, which is what
//! the installation was about to do.

use crate::consensus::Recovered;
use crate::core::state::ClusterState;
use crate::core::{Index, NodeId, Term};
use crate::storage::{LogError, LogStore, RecoveredLog};

/// Makes log and state agree and reads the end of the log.
///
/// `stored` is the durable state and the position up to which it is applied; `bootstrap` are the
/// voters of the configuration, used until a membership is committed.
pub fn recover(
    log: &mut dyn LogStore,
    found: RecoveredLog,
    stored: (&ClusterState, (Index, Term)),
    bootstrap: &[NodeId],
) -> Result<Recovered, LogError> {
    let (state, (applied, applied_term)) = stored;
    let mut found = found;
    // Index 0 has no entry; below the compacted position the log was dropped because the state
    // machine holds it durably.
    // (The runs of terms have no end: the last one would answer for what the log does not reach.)
    let within = applied <= found.last_index;
    let known = applied == 0 || (within && found.terms.term(applied) == Some(applied_term));
    if !known && applied >= found.truncated.0 {
        if found.hard_state.term < applied_term {
            // The installation was to write the term as well; nobody was given a vote in it.
            found.hard_state.term = applied_term;
            found.hard_state.vote = 0;
        }
        log.install(applied, applied_term, found.hard_state)?;
        found.truncated = (applied, applied_term);
        found.last_index = applied;
        found.terms = Default::default();
        found.terms.push(applied, applied_term);
    }
    let last = found.last_index;
    let tail = if applied < last { log.read(applied + 1, last + 1, u64::MAX)? } else { Vec::new() };
    let members = state.members();
    let voters = if members.is_empty() {
        bootstrap.to_vec()
    } else {
        members.iter().map(|m| NodeId(m.id)).collect()
    };
    Ok(Recovered {
        hard_state: found.hard_state,
        truncated: found.truncated,
        terms: found.terms,
        last,
        tail,
        applied,
        voters,
        learners: Vec::new(),
    })
}
