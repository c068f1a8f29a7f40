//! Complaints: which of them are news to the log.
//!
//! A peer that does not fit comes back every second for as long as it is misconfigured; both of its
//! connections and both directions then say the same. One line is enough, repeated once in
//! [`limits::COMPLAINT_REPEAT`] for whoever reads only the end of the log. Pure: `now` is given.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::core::NodeId;
use crate::limits;

/// Complaints made lately, for each peer; strangers share one place.
#[derive(Debug, Default)]
pub(super) struct Complaints(BTreeMap<Option<NodeId>, Vec<(String, Instant)>>);

impl Complaints {
    /// Whether `text` about `peer` should be logged now; if so, it counts as logged.
    pub(super) fn admit(&mut self, peer: Option<NodeId>, text: &str, now: Instant) -> bool {
        let made = self.0.entry(peer).or_default();
        made.retain(|(_, at)| now.duration_since(*at) < limits::COMPLAINT_REPEAT);
        let again = made.iter().any(|(known, _)| known == text);
        let soon = |(_, at): &(String, Instant)| now.duration_since(*at) < limits::COMPLAINT_PAUSE;
        if again || made.last().is_some_and(soon) {
            return false;
        }
        if made.len() == limits::COMPLAINTS_MAX {
            made.remove(0);
        }
        made.push((text.to_owned(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_a_minute_and_something_else_after_a_pause() {
        let mut complaints = Complaints::default();
        let (n1, n2) = (Some(NodeId(1)), Some(NodeId(2)));
        let start = Instant::now();
        assert!(complaints.admit(n1, "a", start));
        assert!(complaints.admit(n2, "a", start));
        assert!(!complaints.admit(n1, "b", start));
        let later = start + limits::COMPLAINT_PAUSE;
        assert!(complaints.admit(n1, "b", later));
        assert!(!complaints.admit(n1, "a", later + limits::COMPLAINT_PAUSE));
        assert!(complaints.admit(n1, "a", start + limits::COMPLAINT_REPEAT));
    }

    #[test]
    fn memory_is_bounded_whatever_strangers_claim() {
        let mut complaints = Complaints::default();
        let mut now = Instant::now();
        for n in 0..100 {
            assert!(complaints.admit(None, &n.to_string(), now));
            now += limits::COMPLAINT_PAUSE;
        }
        assert!(complaints.0[&None].len() <= limits::COMPLAINTS_MAX);
    }
}
