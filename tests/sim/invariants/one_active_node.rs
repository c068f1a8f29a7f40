//! One active node (DESIGN 1): at no instant do the leader target, members of it or a leader script
//! run on two hosts. In real time, whatever the hosts believe.
//!
//! A host that was frozen as a whole for longer than the margins is reported apart: nothing can be
//! promised for it (DESIGN 5.14).

use std::collections::BTreeMap;
use std::time::Duration;

use raftctl::core::Instant;

#[derive(Default)]
pub struct OneActiveNode {
    hosts: BTreeMap<usize, Seen>,
    /// How often something was started at all.
    pub activations: u64,
    /// Overlaps with a host for which nothing is promised, and the longest.
    pub apart: u64,
    pub longest_apart: Duration,
}

struct Seen {
    since: Instant,
    what: String,
    exempt: bool,
}

impl OneActiveNode {
    /// What runs on `host` now, and whether nothing is promised for it.
    pub fn seen(
        &mut self,
        host: usize,
        now: Instant,
        occupied: Option<String>,
        exempt: bool,
    ) -> Result<(), String> {
        let Some(what) = occupied else {
            if let Some(ended) = self.hosts.remove(&host)
                && ended.exempt
                && !self.hosts.is_empty()
            {
                self.longest_apart = self.longest_apart.max(now - ended.since);
            }
            return Ok(());
        };
        let begins = !self.hosts.contains_key(&host);
        let seen =
            self.hosts.entry(host).or_insert(Seen { since: now, what: String::new(), exempt });
        (seen.what, seen.exempt) = (what, exempt);
        self.activations += u64::from(begins);
        self.apart += u64::from(begins && self.hosts.values().any(|h| h.exempt));
        let mut counts = self.hosts.iter().filter(|(_, seen)| !seen.exempt);
        let (Some(first), Some(second)) = (counts.next(), counts.next()) else { return Ok(()) };
        let tell = |(host, seen): (&usize, &Seen)| {
            format!("host {host}: {} since {}", seen.what, seen.since)
        };
        Err(format!("one_active_node: at {now} {}; {}", tell(first), tell(second)))
    }
}
