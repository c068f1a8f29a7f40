//! Enemies on the port where members expect each other, and members that lie: none of them ends an
//! agent, makes it large, or takes the leadership away.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use prost::Message as _;
use raftctl::core::message::{Entry, Kind, Message, Snapshot};
use raftctl::dbus::describe::Describe;
use raftctl::limits;
use raftctl::transport::frame::{self, Decoded, FrameType};
use raftctl::transport::wire::{ConnectionKind, Greeting, Refusal, StatusRequest};

use super::support::{CALM, Cluster, DEADLINE, Leader};

/// A debug build under attack stays far below; what grows without bound does not.
const RESIDENT_MAX_KIB: u64 = 64 << 10;

/// A connection to the Raft port of a node.
struct Enemy(TcpStream);

impl Enemy {
    fn connect(cluster: &Cluster, at: usize) -> Enemy {
        let stream = TcpStream::connect(cluster.address(at)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Enemy(stream)
    }

    /// Sends bytes; false if the agent has closed the connection.
    fn send(&mut self, bytes: &[u8]) -> bool {
        match self.0.write_all(bytes) {
            Ok(()) => true,
            Err(error) => {
                assert!(is_closed(error.kind()), "{error}");
                false
            }
        }
    }

    fn say(&mut self, kind: FrameType, payload: &impl prost::Message) -> bool {
        let mut bytes = Vec::new();
        frame::encode_into(&mut bytes, kind, payload);
        self.send(&bytes)
    }

    /// The next frame, or `None` when the agent has closed the connection.
    fn hear(&mut self) -> Option<(FrameType, Vec<u8>)> {
        let mut bytes = Vec::new();
        loop {
            match frame::decode(&bytes, limits::FRAME_PAYLOAD_MAX_BYTES).unwrap() {
                Decoded::Frame { kind, payload, .. } => return Some((kind, payload.to_vec())),
                Decoded::Incomplete { needed } => {
                    let mut more = vec![0; needed - bytes.len()];
                    match self.0.read(&mut more) {
                        Ok(0) => return None,
                        Ok(read) => bytes.extend_from_slice(&more[..read]),
                        Err(error) if is_closed(error.kind()) => return None,
                        Err(error) => panic!("neither answered nor closed: {error}"),
                    }
                }
            }
        }
    }

    /// Waits until the agent closes the connection; it says nothing before.
    fn closed(mut self) {
        assert_eq!(self.hear(), None);
    }
}

fn is_closed(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// What node `from` says to node `to` when it introduces itself.
fn greeting(cluster: &Cluster, from: usize, to: usize, kind: ConnectionKind) -> Greeting {
    let text = std::fs::read_to_string(cluster.config(from)).unwrap();
    let file = raftctl::config::ConfigFile::parse(&text, "c", cluster.root()).unwrap();
    let config = file.node(None).unwrap();
    let node = std::fs::read_to_string(cluster.state(from).join("node")).unwrap();
    let incarnation = node.lines().find_map(|line| line.strip_prefix("incarnation ")).unwrap();
    let id = cluster.describe(to).cluster_id;
    Greeting {
        protocol_min: 1,
        protocol_max: 1,
        cluster_name: "test".to_owned(),
        cluster_id: id.map_or_else(Vec::new, |id| unhex(&id)),
        bootstrap: config.bootstrap_digest().to_vec(),
        node: format!("n{}", from + 1),
        id: from as u64 + 1,
        receiver: format!("n{}", to + 1),
        receiver_incarnation: Vec::new(),
        incarnation: unhex(incarnation),
        process: 0x1122_3344_5566_7788,
        election_min_ms: config.raft.election_min.as_millis() as u64,
        kind: kind as i32,
        version: "0.0.0".to_owned(),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// The cluster leads on as before, and nobody has grown.
fn unimpressed(cluster: &mut Cluster, leader: &Leader, after: &str) {
    assert_eq!(&cluster.leader(), leader, "after {after}");
    let sizes: Vec<u64> = (0..3).map(|at| cluster.agent(at).resident_kib()).collect();
    println!("resident after {after}: {sizes:?} KiB");
    assert!(sizes.iter().all(|kib| *kib < RESIDENT_MAX_KIB), "after {after}: {sizes:?} KiB");
}

#[test]
fn strangers_do_not_disturb_a_cluster() {
    let (mut cluster, leader) = Cluster::started(3, CALM);
    unimpressed(&mut cluster, &leader, "nothing");
    let mut random = fastrand::Rng::with_seed(1);
    for at in 0..3 {
        for round in 0..100 {
            let mut bytes = vec![0; random.usize(1..3000)];
            random.fill(&mut bytes);
            if round % 2 == 0 {
                // As far as the header it is right.
                bytes.splice(0..0, [0, 0, 0xf, 0xff, 1, 1, 0, 0]);
            }
            let mut enemy = Enemy::connect(&cluster, at);
            enemy.send(&bytes);
            let _ = enemy.0.shutdown(std::net::Shutdown::Write);
            assert!(enemy.hear().is_none());
        }
    }
    unimpressed(&mut cluster, &leader, "random bytes");

    for at in 0..3 {
        let mut hello = Vec::new();
        let greeting = greeting(&cluster, (at + 1) % 3, at, ConnectionKind::Control);
        frame::encode_into(&mut hello, FrameType::Hello, &greeting);
        for half in (1..hello.len()).step_by(7) {
            let mut enemy = Enemy::connect(&cluster, at);
            enemy.send(&hello[..half]);
        }
        // Before it is known who speaks, only little is listened to.
        for length in [limits::HANDSHAKE_PAYLOAD_MAX_BYTES as u32 + 1, 8 << 20, u32::MAX] {
            let mut header = length.to_be_bytes().to_vec();
            header.extend_from_slice(&hello[4..12]);
            let mut enemy = Enemy::connect(&cluster, at);
            enemy.send(&header);
            enemy.closed();
        }
        // Nor to anything but a greeting.
        for kind in [FrameType::Welcome, FrameType::Message, FrameType::StatusRequest] {
            let mut enemy = Enemy::connect(&cluster, at);
            enemy.say(kind, &greeting);
            enemy.closed();
        }
    }
    unimpressed(&mut cluster, &leader, "half frames");
}

#[test]
fn a_thousand_idle_and_slow_connections_do_not_keep_members_out() {
    let (mut cluster, leader) = Cluster::started(3, CALM);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = 3500;
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(wanted).min(hard), hard).unwrap();
    assert!(hard >= wanted, "this test needs {wanted} descriptors, `ulimit -Hn` says {hard}");
    let mut enemies: Vec<Enemy> = Vec::new();
    let begun = Instant::now();
    for at in 0..3 {
        enemies.extend((0..1000).map(|_| Enemy::connect(&cluster, at)));
    }
    // Nobody had to dial twice: a member that dials in between does not have to, either.
    println!("connected after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    unimpressed(&mut cluster, &leader, "a thousand idle connections to each");
    // A member that comes back passes between them.
    let follower = (leader.at + 1) % 3;
    cluster.kill(follower);
    cluster.start(follower);
    enemies.extend((0..100).map(|_| Enemy::connect(&cluster, follower)));
    assert_eq!(cluster.leader(), leader);
    // One byte after the other, for longer than a handshake may take.
    let mut slow: Vec<Enemy> = (0..3).map(|at| Enemy::connect(&cluster, at)).collect();
    let hello = frame_of(&greeting(&cluster, 0, 1, ConnectionKind::Control));
    let begun = Instant::now();
    let mut bytes = hello.iter().cycle();
    raftctl::dbus::client::block_on(async {
        let mut again = tokio::time::interval(limits::HANDSHAKE_TIMEOUT / 60);
        while !slow.is_empty() {
            again.tick().await;
            // The last bytes are never sent: it would be a greeting.
            let byte = *bytes.next().unwrap();
            slow.retain_mut(|enemy| enemy.send(&[byte]));
            assert!(begun.elapsed() < DEADLINE, "slow connections live for ever");
        }
    });
    println!("a slow connection lived for {:?}", begun.elapsed());
    unimpressed(&mut cluster, &leader, "slow connections");
    // The idle ones have all been closed, too.
    enemies.into_iter().for_each(Enemy::closed);
}

fn frame_of(payload: &impl prost::Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode_into(&mut bytes, FrameType::Hello, payload);
    bytes
}

#[test]
fn forged_greetings_are_refused_with_what_does_not_fit() {
    let (mut cluster, leader) = Cluster::started(3, CALM);
    type Forgery = fn(&mut Greeting);
    let table: [(&str, Forgery); 13] = [
        ("range of protocol versions", |g| (g.protocol_min, g.protocol_max) = (4, 9)),
        ("cluster name", |g| g.cluster_name = "\x1b[31mevil\n".repeat(50)),
        ("name of the receiving node", |g| g.receiver = "n9".to_owned()),
        ("name of the peer", |g| g.node = "n9".to_owned()),
        ("name of the peer", |g| g.id = u64::MAX),
        ("name of the peer", |g| (g.id, g.node) = (g.id % 3 + 1, g.node.clone())),
        ("cluster identity", |g| g.cluster_id = vec![7; 16]),
        ("cluster identity", |g| g.cluster_id = vec![7; 3000]),
        ("digest", |g| (g.cluster_id, g.bootstrap) = (Vec::new(), vec![7; 16])),
        ("election_min", |g| g.election_min_ms = u64::MAX),
        ("incarnation", |g| g.incarnation = vec![7; 16]),
        ("incarnation", |g| g.incarnation = Vec::new()),
        ("kind of the connection", |g| g.kind = 77),
    ];
    for at in 0..3 {
        for (what, forge) in table {
            let mut forged = greeting(&cluster, (at + 1) % 3, at, ConnectionKind::Control);
            forge(&mut forged);
            let mut enemy = Enemy::connect(&cluster, at);
            enemy.say(FrameType::Hello, &forged);
            let (kind, payload) = enemy.hear().unwrap_or_else(|| panic!("{what}: closed"));
            assert_eq!(kind, FrameType::Refused, "{what}");
            let refusal = Refusal::decode(payload.as_slice()).unwrap();
            assert!(refusal.what.contains(what), "{what}: {refusal:?}");
            enemy.closed();
        }
        let log = cluster.log(at).all();
        assert!(log.iter().all(|line| !line.contains('\x1b')), "{log:#?}");
    }
    unimpressed(&mut cluster, &leader, "forged greetings");
}

/// A connection to node `at` that is taken for one of node `from`.
fn posing(cluster: &Cluster, from: usize, at: usize, kind: ConnectionKind) -> Enemy {
    let mut enemy = Enemy::connect(cluster, at);
    enemy.say(FrameType::Hello, &greeting(cluster, from, at, kind));
    let (answer, payload) = enemy.hear().expect("an answer");
    assert_eq!(answer, FrameType::Welcome, "{:?}", Refusal::decode(payload.as_slice()));
    enemy
}

/// Messages of follower `from` that no correct member sends, in a term that all know.
fn lies(from: usize, to: usize, leader: &Leader) -> Vec<Message> {
    let term = leader.term;
    let base = |kind: Kind| Message {
        kind: kind as i32,
        from: from as u64 + 1,
        to: to as u64 + 1,
        term,
        ..Default::default()
    };
    let entry = |index, term| Entry { index, term, data: b"nonsense".to_vec() };
    let far = 1 << 40;
    let snapshot = |voters: Vec<u64>| Snapshot { index: far, term, voters, ..Default::default() };
    vec![
        Message { kind: 9999, ..base(Kind::Heartbeat) },
        Message { commit: far, ..base(Kind::Heartbeat) },
        Message { commit: u64::MAX, ..base(Kind::Heartbeat) },
        Message { term: u64::MAX, ..base(Kind::Heartbeat) },
        Message { term: 0, ..base(Kind::Vote) },
        Message { index: far, ..base(Kind::AppendResponse) },
        Message { index: u64::MAX, reject: true, ..base(Kind::AppendResponse) },
        Message { entries: vec![entry(5, 1), entry(9, 1)], index: 4, ..base(Kind::Append) },
        Message { entries: vec![entry(u64::MAX, term)], index: u64::MAX - 1, ..base(Kind::Append) },
        Message { snapshot: Some(snapshot(vec![])), ..base(Kind::Snapshot) },
        Message { snapshot: Some(snapshot(vec![1, 1, 0])), ..base(Kind::Snapshot) },
        Message { snapshot: None, ..base(Kind::Snapshot) },
        Message { context: vec![1; 4000], ..base(Kind::Heartbeat) },
        Message { context: b"CampaignTransfer".to_vec(), ..base(Kind::PreVote) },
        Message { term: 0, entries: vec![entry(0, 0); 1000], ..base(Kind::ReadIndex) },
        base(Kind::TimeoutNow),
    ]
}

#[test]
fn a_member_that_lies_is_not_believed() {
    let (mut cluster, leader) = Cluster::started(3, CALM);
    let from = (leader.at + 1) % 3;
    for at in [leader.at, (leader.at + 2) % 3] {
        // In the name of somebody else, or to somebody else.
        for (claimed, to) in [(leader.at, at), (at, at), (8, at), (from, from)] {
            let mut enemy = posing(&cluster, from, at, ConnectionKind::Control);
            let message = Message {
                kind: Kind::Heartbeat as i32,
                from: claimed as u64 + 1,
                to: to as u64 + 1,
                term: leader.term,
                ..Default::default()
            };
            enemy.say(FrameType::Message, &message);
            enemy.closed();
        }
        unimpressed(&mut cluster, &leader, "messages in another name");
        for kind in [ConnectionKind::Control, ConnectionKind::Bulk] {
            // What makes no sense in itself closes the connection.
            for garbage in [vec![0xff; 60_000], vec![0x3a; 60_000], vec![0x0b; 3]] {
                let mut enemy = posing(&cluster, from, at, kind);
                enemy.send(&raw(FrameType::Message, &garbage));
                enemy.closed();
            }
            // Empty entries without end, 2 bytes each.
            if kind == ConnectionKind::Bulk {
                let mut enemy = posing(&cluster, from, at, kind);
                let entries = [0x3a, 0].repeat(limits::MESSAGE_ENTRIES_MAX + 1);
                enemy.send(&raw(FrameType::Message, &entries));
                enemy.closed();
            }
            // What only a liar says is refused, and the connection stays.
            let mut enemy = posing(&cluster, from, at, kind);
            for lie in lies(from, at, &leader) {
                // The real one may come back between two of them, and takes its place again.
                while !enemy.say(FrameType::Message, &lie) {
                    enemy = posing(&cluster, from, at, kind);
                }
            }
            for request in 0..2000 {
                if !enemy.say(FrameType::StatusRequest, &StatusRequest { request }) {
                    break;
                }
            }
        }
        unimpressed(&mut cluster, &leader, "lies");
        let refused = |line: &str| line.contains(&format!("message from n{} refused", from + 1));
        cluster.log(at).find(0, refused).expect("a line about the lies");
    }
    cluster.stays(&leader, Duration::from_millis(1200));
    // All have found each other again.
    let complete = |all: &[Describe]| {
        let connected = |one: &Describe| one.members.iter().all(|member| member.connected);
        all.iter().all(connected).then_some(())
    };
    cluster.until("all connected", &[0, 1, 2], complete);
    let views = cluster.call(leader.at, async |client| client.describe_cluster().await).unwrap();
    assert!(views.iter().all(|view| view.status.is_some()), "{views:#?}");
}

/// A frame with a payload that nobody has looked at.
fn raw(kind: FrameType, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&[frame::FRAME_VERSION, kind as u8, 0, 0]);
    let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
    bytes.extend_from_slice(&sum.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn a_follower_to_whom_somebody_poses_as_the_leader_deposes_nobody() {
    let (mut cluster, leader) = Cluster::started(3, CALM);
    let at = (leader.at + 1) % 3;
    for _ in 0..20 {
        // It comes, takes the place of the leader's connection, and goes.
        drop(posing(&cluster, leader.at, at, ConnectionKind::Control));
    }
    // The others hear the leader, and say so when they are asked for votes.
    cluster.until("the deceived one is back", &[0, 1, 2], |all| {
        let name = format!("n{}", leader.at + 1);
        all.iter().all(|one| one.leader.as_ref() == Some(&name)).then_some(())
    });
    cluster.stays(&leader, Duration::from_millis(1200));
    unimpressed(&mut cluster, &leader, "somebody who posed as the leader");
}

#[test]
fn an_agent_that_runs_out_of_descriptors_leads_on() {
    let mut cluster = Cluster::configured(3, CALM);
    for at in 0..3 {
        let command = cluster.command(at).limit(Resource::RLIMIT_NOFILE, 80);
        cluster.start_with(at, command);
        cluster.log(at).wait("serving");
    }
    let leader = cluster.leader();
    let enemies: Vec<Enemy> = (0..180).map(|count| Enemy::connect(&cluster, count % 3)).collect();
    for at in 0..3 {
        cluster.log(at).wait("cannot accept connections");
    }
    cluster.stays(&leader, Duration::from_millis(1200));
    enemies.into_iter().for_each(Enemy::closed);
    // Now there are some again, for scripts too.
    let said = cluster.said.count();
    let to = format!("n{}", (leader.at + 1) % 3 + 1);
    assert_eq!(cluster.transfer(leader.at, Some(&to)).unwrap(), to);
    let next = cluster.leader();
    cluster.said.wait_from(said, &format!("{to} leader {}", next.term));
}

/// A leader's entry that this version cannot read: to go on without it would be another history
/// than that of the others.
#[test]
fn an_entry_of_the_future_ends_the_agent_and_says_so_whoever_reads() {
    let mut cluster = Cluster::configured(3, CALM);
    // The one who is posed as has a name and a disk.
    cluster.start(1);
    cluster.stop(1);
    for reader in [true, false] {
        let (_unread, write_end) = super::log::full_pipe();
        let command = match reader {
            true => cluster.command(0),
            false => cluster.command(0).stderr(write_end),
        };
        cluster.start_with(0, command);
        cluster.answers(0);
        let entries = vec![Entry { index: 1, term: 1, data: vec![0xff; 10] }];
        let append = Message {
            kind: Kind::Append as i32,
            from: 2,
            to: 1,
            term: 1,
            entries,
            commit: 1,
            ..Default::default()
        };
        let mut enemy = posing(&cluster, 1, 0, ConnectionKind::Bulk);
        assert!(enemy.say(FrameType::Message, &append));
        let status = cluster.agent(0).ended();
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(nix::libc::SIGABRT), "{status}");
        let log = cluster.forget(0);
        let says = log.iter().any(|line| line.contains("cannot apply entry 1"));
        assert_eq!(says, reader, "{log:#?}");
        std::fs::remove_dir_all(cluster.state(0)).unwrap();
    }
}
