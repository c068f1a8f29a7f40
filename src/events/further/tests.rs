//! Tests of the queue of further events.

use super::*;

fn occurrence(event: EventName, token: Option<u64>, reason: &'static str) -> Occurrence {
    Occurrence {
        number: 0,
        planned: false,
        event,
        role: "follower",
        old_role: "follower",
        leader: None,
        leader_address: None,
        term: 1,
        token,
        reason,
        timestamp_usec: 0,
    }
}

/// What is taken after all of these were submitted.
fn taken(queue: &mut Queue, events: &[(EventName, u64, &'static str)]) -> Vec<(EventName, u64)> {
    for (event, token, reason) in events {
        queue.submit(occurrence(*event, Some(*token), reason));
    }
    let told = std::iter::from_fn(|| queue.take());
    told.map(|told| (told.occurrence.event, told.sequence)).collect()
}

#[test]
fn the_newest_of_each_kind_waits_in_order() {
    use EventName::*;
    let mut queue = Queue::default();
    let events = [
        (Active, 7, "won"),
        (Maintenance, 7, "maintenance on"),
        (QuorumLost, 7, ""),
        (Fenced, 7, "killed"),
        (Released, 7, ""),
        (Fenced, 7, "killed"),
    ];
    let expected = [(Maintenance, 2), (QuorumLost, 3), (Released, 5), (Fenced, 6)];
    assert_eq!(taken(&mut queue, &events), expected);
    // Back to what is known: nothing is new, but a fence always is.
    let events = [
        (QuorumRegained, 7, ""),
        (QuorumLost, 9, ""),
        (Maintenance, 7, "maintenance off"),
        (Maintenance, 7, "maintenance on"),
        (Active, 7, ""),
        (Released, 7, ""),
        (Fenced, 7, "killed"),
    ];
    assert_eq!(taken(&mut queue, &events), [(Fenced, 13)]);
    // Another activation, though its end was seen last.
    assert_eq!(taken(&mut queue, &[(Active, 8, ""), (Released, 8, "")]), [(Released, 15)]);
}

#[test]
fn nothing_is_taken_once_it_stops() {
    let mut queue = Queue { stopping: true, ..Queue::default() };
    assert_eq!(taken(&mut queue, &[(EventName::Fenced, 1, "killed")]), []);
}
