//! Active within the bound (DESIGN 5.4, 5.7): what an activation started has stopped, in real time,
//! B after its last confirmed lease began, whatever its agent does; unless a pause of the cluster
//! takes the place of the lease, until the next one.
//!
//! And what B is counted from is true: when a lease begins that a quorum confirms, nobody has been
//! elected in a later term.

use std::collections::BTreeMap;
use std::time::Duration;

use raftctl::core::{Instant, Term};

#[derive(Default)]
pub struct ActiveWithinBound {
    leases: BTreeMap<usize, Instant>,
    elected: BTreeMap<Term, Instant>,
}

impl ActiveWithinBound {
    /// Somebody begins to lead `term`.
    pub fn elected(&mut self, now: Instant, term: Term) {
        self.elected.entry(term).or_insert(now);
    }

    /// Terms begin anew.
    pub fn new_history(&mut self) {
        self.elected.clear();
    }

    /// The agent of `host` holds a lease of `term` that began at `t0`; whether it is a later one
    /// than before.
    pub fn lease(&mut self, host: usize, t0: Instant, term: Term) -> Result<bool, String> {
        let later = self.elected.range(term + 1..).find(|(_, at)| **at < t0);
        if let Some((later, at)) = later {
            return Err(format!(
                "active_within_bound: host {host} has a lease of term {term} from {t0}, but term \
                 {later} was won at {at}"
            ));
        }
        let before = self.leases.insert(host, t0);
        Ok(before != Some(t0))
    }

    /// What is active on `host` rests on a pause.
    pub fn rests_on_pause(&mut self, host: usize) {
        self.leases.remove(&host);
    }

    /// B after `t0`: what runs on `host`.
    pub fn overdue(
        &self,
        host: usize,
        t0: Instant,
        bound: Option<Duration>,
        now: Instant,
        occupied: Option<String>,
    ) -> Result<(), String> {
        let Some(what) = occupied.filter(|_| self.leases.get(&host) == Some(&t0)) else {
            return Ok(());
        };
        Err(format!(
            "active_within_bound: at {now} host {host} still has {what}; its last lease began at \
             {t0}, and B is {bound:?}"
        ))
    }
}
