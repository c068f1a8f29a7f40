//! Tests of the handshake.

use super::*;

struct Node {
    identity: Identity,
    known: Known,
    peers: BTreeMap<NodeId, Peer>,
    seen: BTreeMap<NodeId, Incarnation>,
}

impl Node {
    fn new(id: u64) -> Node {
        let peer = |id: u64| Peer {
            id: NodeId(id),
            name: format!("n{id}").parse().unwrap(),
            address: format!("192.0.2.{id}:7100").parse().unwrap(),
        };
        let identity = Identity {
            cluster_name: "main".to_owned(),
            node: peer(id).name,
            id: NodeId(id),
            incarnation: Incarnation([id as u8; 16]),
            process: 100 + id,
            bootstrap: [7; 16],
            election_min_ms: 200,
            version: "0.1.0".to_owned(),
        };
        let peers = (1..=3).filter(|other| *other != id).map(|id| (NodeId(id), peer(id))).collect();
        Node { identity, known: Known::default(), peers, seen: BTreeMap::new() }
    }

    fn ours(&self) -> Ours<'_> {
        let Node { identity, known, peers, seen } = self;
        Ours { identity, known, peers, seen }
    }

    fn hello(&self, to: u64) -> Greeting {
        greeting(self.ours(), &self.peers[&NodeId(to)], ConnectionKind::Control)
    }

    fn refusal(&self, theirs: &Greeting) -> [String; 3] {
        let Mismatch { what, ours, theirs } = check(self.ours(), None, theirs).unwrap_err();
        [what, ours, theirs]
    }
}

const CLUSTER: [ClusterId; 2] = [ClusterId([0xaa; 16]), ClusterId([0xbb; 16])];

#[test]
fn members_that_were_configured_alike_fit() {
    let (n1, n2) = (Node::new(1), Node::new(2));
    let speaker = check(n1.ours(), None, &n2.hello(1)).unwrap();
    let expected = Speaker {
        id: NodeId(2),
        incarnation: Incarnation([2; 16]),
        process: 102,
        cluster_id: None,
        kind: ConnectionKind::Control,
        protocol: 3,
    };
    assert_eq!(speaker, expected);
    assert_eq!(check(n2.ours(), Some(NodeId(1)), &n1.hello(2)).unwrap().id, NodeId(1));
}

#[test]
fn each_mismatch_names_what_differs_and_both_values() {
    let n1 = Node::new(1);
    let hello = Node::new(2).hello(1);
    type Change = fn(&mut Greeting);
    let table: [(Change, [&str; 3]); 10] = [
        (
            |h| (h.protocol_min, h.protocol_max) = (4, 5),
            ["range of protocol versions", "1 to 3", "4 to 5"],
        ),
        (|h| h.cluster_name = "test".into(), ["cluster name", "main", "test"]),
        (|h| h.receiver = "n3".into(), ["name of the receiving node", "n1", "n3"]),
        (
            |h| h.node = "x".into(),
            ["name of the peer", "one of n2 (number 2), n3 (number 3)", "x (number 2)"],
        ),
        (
            |h| h.id = 9,
            ["name of the peer", "one of n2 (number 2), n3 (number 3)", "n2 (number 9)"],
        ),
        (
            |h| h.bootstrap = vec![8; 16],
            [
                "digest of the configured member list",
                "07070707070707070707070707070707",
                "08080808080808080808080808080808",
            ],
        ),
        (|h| h.election_min_ms = 300, ["election_min", "200 ms", "300 ms"]),
        (|h| h.incarnation = vec![2; 3], ["incarnation of n2", "any of 16 bytes", "020202"]),
        (
            |h| h.receiver_incarnation = vec![9; 16],
            [
                "incarnation of n1",
                "01010101010101010101010101010101",
                "09090909090909090909090909090909",
            ],
        ),
        (|h| h.kind = 7, ["kind of the connection", "control (1) or bulk (2)", "7"]),
    ];
    for (change, expected) in table {
        let mut changed = hello.clone();
        change(&mut changed);
        assert_eq!(n1.refusal(&changed), expected);
    }
}

#[test]
fn a_newer_peer_that_still_speaks_our_version_fits() {
    let mut hello = Node::new(2).hello(1);
    hello.protocol_max = 5;
    assert_eq!(check(Node::new(1).ours(), None, &hello).unwrap().protocol, 3);
}

#[test]
fn the_member_lists_matter_until_both_know_the_cluster() {
    let table = [
        // our identity, their identity, same list, what is refused
        (None, None, true, None),
        (None, None, false, Some("digest of the configured member list")),
        (Some(CLUSTER[0]), None, true, None),
        (Some(CLUSTER[0]), None, false, Some("digest of the configured member list")),
        (None, Some(CLUSTER[0]), false, Some("digest of the configured member list")),
        (Some(CLUSTER[0]), Some(CLUSTER[0]), false, None),
        (Some(CLUSTER[0]), Some(CLUSTER[1]), true, Some("cluster identity")),
    ];
    for (ours, theirs, same_list, refused) in table {
        let (mut n1, mut n2) = (Node::new(1), Node::new(2));
        (n1.known.cluster_id, n2.known.cluster_id) = (ours, theirs);
        n2.identity.bootstrap = if same_list { [7; 16] } else { [8; 16] };
        let found = check(n1.ours(), None, &n2.hello(1)).err().map(|mismatch| mismatch.what);
        assert_eq!(found.as_deref(), refused, "{ours:?} {theirs:?} {same_list}");
    }
}

#[test]
fn the_recorded_incarnation_wins_over_the_one_seen_first() {
    let mut n1 = Node::new(1);
    let hello = Node::new(2).hello(1);
    n1.seen.insert(NodeId(2), Incarnation([5; 16]));
    assert_eq!(n1.refusal(&hello)[0], "incarnation of n2");
    n1.known.incarnations.insert(NodeId(2), Incarnation([2; 16]));
    assert!(check(n1.ours(), None, &hello).is_ok());
    n1.known.incarnations.insert(NodeId(2), Incarnation([5; 16]));
    n1.seen.insert(NodeId(2), Incarnation([2; 16]));
    assert_eq!(n1.refusal(&hello)[0], "incarnation of n2");
    // The peer can tell from our greeting that we expect another one of it.
    let error = check(Node::new(2).ours(), None, &n1.hello(2)).unwrap_err();
    assert_eq!(error.what, "incarnation of n2");
}

#[test]
fn the_dialed_peer_must_answer_and_no_other() {
    let (n1, n2) = (Node::new(1), Node::new(2));
    let error = check(n1.ours(), Some(NodeId(3)), &n2.hello(1)).unwrap_err();
    assert_eq!(error.to_string(), "name of the peer is n2 (number 2) there and n3 (number 3) here");
}

#[test]
fn both_sides_of_a_refusal_say_the_same() {
    let (mut n1, n2) = (Node::new(1), Node::new(2));
    n1.identity.cluster_name = "test".to_owned();
    let refused = check(n1.ours(), None, &n2.hello(1)).unwrap_err();
    let told = Mismatch::from_refusal(&refused.to_refusal(1));
    assert_eq!(told, check(n2.ours(), None, &n1.hello(2)).unwrap_err());
    assert_eq!(told.to_string(), "cluster name is test there and main here");
}

#[test]
fn text_from_the_network_is_fit_for_a_log_line() {
    let mut hello = Node::new(2).hello(1);
    hello.cluster_name = format!("a\n\u{1b}[31mé{}", "x".repeat(3000));
    let [_, _, theirs] = Node::new(1).refusal(&hello);
    assert!(theirs.starts_with("a??[31m?xxx") && theirs.ends_with("..."), "{theirs}");
    assert!(theirs.len() <= PRINTED_CHARS_MAX + 3);
    let refusal = Refusal { what: "\r".into(), ..Default::default() };
    assert_eq!(Mismatch::from_refusal(&refusal).what, "?");
}
