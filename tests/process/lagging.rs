//! A member that was away for longer than the log is kept: it gets the rows, and nobody notices.

use raftctl::limits;

use super::http::Served;

/// Bytes of each write. A few hundred of them are more than the log keeps.
const VALUE_BYTES: usize = 512 << 10;

/// Writes after which the log must have been cut. It is cut when rows are durable, which takes its
/// time.
const WRITES_MAX: usize = 600;

fn first_of_log(served: &Served, at: usize) -> u64 {
    served.web(at).get("/v1/status").json()["store"]["log_first"].as_u64().unwrap()
}

/// Kills `away`, writes until the log of the node at `at` begins after all that it has, and starts
/// it again; how many writes it missed.
fn miss_what_is_written(served: &mut Served, at: usize, away: usize) -> usize {
    let last = served.web(away).get("/metrics").json()["last_log_index"].as_u64().unwrap();
    served.cluster.kill(away);
    let mut web = served.web(at);
    let mut writes = 0;
    while first_of_log(served, at) <= last + 1 {
        assert!(
            writes < WRITES_MAX,
            "the log is not cut: {}",
            served.web(at).get("/v1/status").text()
        );
        let value = vec![b'a' + (writes % 20) as u8; VALUE_BYTES];
        assert_eq!(web.ask("PUT /v1/kv/large", &[], &value).status, 200);
        writes += 1;
    }
    assert!((writes * VALUE_BYTES) as u64 > limits::LOG_KEEP_BYTES, "after {writes}");
    served.cluster.start(away);
    writes
}

#[test]
fn it_gets_a_snapshot_and_the_leader_stays() {
    let mut served = Served::started(3, "");
    let leader = served.leader.clone();
    let (away, other) = ((leader.at + 1) % 3, (leader.at + 2) % 3);
    let name = format!("n{}", away + 1);
    assert_eq!(served.web(other).ask("PUT /v1/kv/small", &[], b"kept").status, 200);
    let writes = miss_what_is_written(&mut served, leader.at, away);
    served.cluster.log(away).wait("is installed");
    served.cluster.log(leader.at).wait(&format!("{name} has installed the snapshot"));
    assert_eq!(served.cluster.leader(), leader, "no heartbeat was missed");

    // What was written before it left, while it was away, and after.
    let mut web = served.web(away);
    assert_eq!(web.get("/v1/kv/small").body, b"kept");
    let large = web.get("/v1/kv/large");
    assert_eq!((large.status, large.body.len()), (200, VALUE_BYTES));
    assert_eq!(large.body[0], b'a' + ((writes - 1) % 20) as u8);
    assert_eq!(web.ask("PUT /v1/kv/small", &[], b"new").status, 200);
    assert_eq!(served.web(other).get("/v1/kv/small").body, b"new");
    let store = &web.get("/v1/status").json()["store"];
    assert_eq!((&store["snapshots_installed"], &store["keys"]), (&1.into(), &2.into()), "{store}");
    let sent = served.web(leader.at).get("/v1/status").json();
    assert_eq!(sent["store"]["snapshots_sent"], 1, "{sent}");
}
