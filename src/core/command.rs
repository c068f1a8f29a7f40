//! Typed commands: what the entries of the log say.
//!
//! A command is deterministic: applying it to the same state gives the same state on every node.
//! Random values (a cluster identity, an invocation) are chosen by the proposer and travel inside.
//! A command of a kind this version does not know is a fatal error on apply, never skipped: two
//! versions that disagree about an entry must not both go on.

use prost::Message as _;

use super::kv::KvCommand;

/// One command. `body` is `None` only for a command of a newer version.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Command {
    /// What to do.
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub body: Option<Body>,
}

/// The kinds of commands.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Body {
    /// Gives the cluster its identity and its first committed membership.
    #[prost(message, tag = "1")]
    Bootstrap(Bootstrap),
    /// Makes a node *the one* (DESIGN 5.1).
    #[prost(message, tag = "2")]
    Activate(Activate),
    /// Records what is known about a member.
    #[prost(message, tag = "3")]
    Node(NodeRecord),
    /// Says that what an activation started has stopped (DESIGN 5.1, 5.6).
    #[prost(message, tag = "4")]
    Released(Release),
    /// Says that an activation's bound has passed (DESIGN 5.4).
    #[prost(message, tag = "5")]
    Expired(Expired),
    /// What is active stays, nothing becomes active.
    #[prost(message, tag = "6")]
    Pause(Pause),
    /// Ends a pause.
    #[prost(message, tag = "7")]
    Resume(Resume),
    /// A write to the store. Applied by whoever keeps the rows, not by `core::state`.
    #[prost(message, tag = "8")]
    Kv(KvCommand),
}

/// First committed membership. Void when the cluster already has an identity.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Bootstrap {
    /// 16 random bytes chosen by the proposer.
    #[prost(bytes = "vec", tag = "1")]
    pub cluster_id: Vec<u8>,
    /// Members in order of their numbers.
    #[prost(message, repeated, tag = "2")]
    pub members: Vec<Member>,
}

/// How a member takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MemberKind {
    /// Votes and may lead.
    Voter = 0,
    /// Receives the log, does not vote.
    Learner = 1,
    /// Votes and never leads.
    Witness = 2,
}

impl MemberKind {
    /// The word of DESIGN section 2.
    pub fn as_str(self) -> &'static str {
        match self {
            MemberKind::Voter => "voter",
            MemberKind::Learner => "learner",
            MemberKind::Witness => "witness",
        }
    }
}

/// One member as the replicated state knows it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Member {
    /// Number, from 1.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Name; follows the grammar of [`crate::core::NodeName`].
    #[prost(string, tag = "2")]
    pub name: String,
    /// `host:port` of its Raft listener.
    #[prost(string, tag = "3")]
    pub address: String,
    /// 16 bytes once known, empty before.
    #[prost(bytes = "vec", tag = "4")]
    pub incarnation: Vec<u8>,
    /// How it takes part.
    #[prost(enumeration = "MemberKind", tag = "5")]
    pub kind: i32,
}

/// Activation of the proposer. Void on apply unless `term` is the entry's term, `prev` is the
/// token of the record, the record is not active, and the invocation was not released for good
/// (DESIGN 5.1).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Activate {
    /// Token of the activation this one replaces, 0 for none.
    #[prost(uint64, tag = "1")]
    pub prev: u64,
    /// Who becomes active: the proposer.
    #[prost(uint64, tag = "2")]
    pub node: u64,
    /// Term in which the proposer leads.
    #[prost(uint64, tag = "3")]
    pub term: u64,
    /// 16 random bytes of this run of the agent.
    #[prost(bytes = "vec", tag = "4")]
    pub invocation: Vec<u8>,
    /// 16 bytes: this instance on this machine. A state directory that moved has another one.
    #[prost(bytes = "vec", tag = "5")]
    pub machine: Vec<u8>,
    /// B in milliseconds, from the proposer's own settings: after it, its service manager has
    /// stopped the target whatever the agent does. `None`: only a release ends the activation.
    #[prost(uint64, optional, tag = "6")]
    pub bound_ms: Option<u64>,
    /// SHA-256 of the secret that releases the whole invocation (DESIGN 5.9).
    #[prost(bytes = "vec", tag = "7")]
    pub secret_hash: Vec<u8>,
}

/// What an activation started has stopped. Void on apply when it matches no activation that is
/// known and not released.
///
/// Two kinds. Without a secret it ends the one activation `token`, on the word of the node itself
/// (its connection passed the handshake, or it leads). With one it ends the whole invocation, for
/// good: whoever knows the secret has the state directory, and the run it names is over.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Release {
    /// Whose activation.
    #[prost(uint64, tag = "1")]
    pub node: u64,
    /// The run it belongs to.
    #[prost(bytes = "vec", tag = "2")]
    pub invocation: Vec<u8>,
    /// The activation; 0 with a secret.
    #[prost(uint64, tag = "3")]
    pub token: u64,
    /// Empty, or the secret whose hash stands in the activation.
    #[prost(bytes = "vec", tag = "4")]
    pub secret: Vec<u8>,
}

/// The bound of an activation has passed, or an operator took the responsibility. Void on apply
/// unless `token` is the token of the record and the record is active.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Expired {
    /// The activation.
    #[prost(uint64, tag = "1")]
    pub token: u64,
    /// Not by waiting, but by `raftctl takeover --force`.
    #[prost(bool, tag = "2")]
    pub forced: bool,
}

/// The cluster is paused from here on: no activation begins and none expires, but by an operator.
/// Void when it already is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Pause {}

/// The pause is over. Void on apply unless `pause` is the pause in force; and, if an activation is
/// active, unless an operator forces it or the active node has given its word: `token` is that
/// activation's, and `term` is the entry's term.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Resume {
    /// Index of the pause that it ends.
    #[prost(uint64, tag = "1")]
    pub pause: u64,
    /// An operator took the responsibility that what was active is not any more.
    #[prost(bool, tag = "2")]
    pub forced: bool,
    /// The word of the active node, which leads `term` and holds its lease, that it does not rely
    /// on the pause any more: its activation. 0 without.
    #[prost(uint64, tag = "3")]
    pub token: u64,
    /// The term of that lease.
    #[prost(uint64, tag = "4")]
    pub term: u64,
}

/// A member's own record. Void when another incarnation of the member is already recorded.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NodeRecord {
    /// Number of the member.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Its incarnation, 16 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub incarnation: Vec<u8>,
}

impl From<Body> for Command {
    fn from(body: Body) -> Command {
        Command { body: Some(body) }
    }
}

impl Command {
    /// The entry payload of this command; never empty.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Reads an entry payload.
    pub fn from_bytes(data: &[u8]) -> Result<Command, UnreadableCommand> {
        let command = Command::decode(data).map_err(UnreadableCommand::Malformed)?;
        if command.body.is_none() {
            return Err(UnreadableCommand::UnknownKind);
        }
        Ok(command)
    }
}

/// An entry that this version cannot apply. Deterministic, and fatal.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableCommand {
    /// The bytes are not a command.
    #[error("entry payload is not a command")]
    Malformed(#[source] prost::DecodeError),
    /// A newer version wrote it.
    #[error("command of a kind this version does not know; upgrade this node")]
    UnknownKind,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activate(invocation: Vec<u8>) -> Activate {
        let (machine, secret_hash) = (vec![5; 16], vec![6; 32]);
        Activate { prev: 1, node: 2, term: 3, invocation, machine, bound_ms: Some(0), secret_hash }
    }

    fn commands() -> Vec<Command> {
        let member = Member { id: 1, name: "n1".to_owned(), ..Member::default() };
        vec![
            Body::Bootstrap(Bootstrap { cluster_id: vec![1; 16], members: vec![member] }).into(),
            Body::Activate(activate(vec![4; 16])).into(),
            Body::Node(NodeRecord { id: 1, incarnation: vec![2; 16] }).into(),
            Body::Released(Release { node: 1, token: 9, ..Release::default() }).into(),
            Body::Expired(Expired { token: 9, forced: true }).into(),
            Body::Pause(Pause {}).into(),
            Body::Resume(Resume { pause: 7, forced: true, token: 9, term: 3 }).into(),
            Body::Resume(Resume::default()).into(),
            Body::Kv(KvCommand { client: vec![1; 18], sequence: 4, ..KvCommand::default() }).into(),
            // All fields at their defaults: still not empty on disk, where empty is a no-op.
            Body::Activate(Activate::default()).into(),
        ]
    }

    #[test]
    fn commands_survive_the_round_trip_and_are_never_empty() {
        for command in commands() {
            let bytes = command.to_bytes();
            assert!(!bytes.is_empty());
            assert_eq!(Command::from_bytes(&bytes).unwrap(), command);
        }
    }

    /// Two versions that disagree about an entry must not both go on.
    #[test]
    fn a_command_of_an_unknown_kind_is_an_error() {
        #[derive(Clone, PartialEq, prost::Message)]
        struct Newer {
            #[prost(message, optional, tag = "77")]
            body: Option<Activate>,
        }
        let newer = Newer { body: Some(Activate { node: 1, ..Activate::default() }) };
        let read = Command::from_bytes(&newer.encode_to_vec());
        assert!(matches!(read, Err(UnreadableCommand::UnknownKind)), "{read:?}");
        assert!(matches!(Command::from_bytes(&[]), Err(UnreadableCommand::UnknownKind)));
    }

    /// A field that a newer version added to a known command is skipped.
    #[test]
    fn unknown_fields_of_a_known_command_are_skipped() {
        let mut inner = activate(vec![4]).encode_to_vec();
        inner.extend([0xf8, 0x06, 0x2a]); // Field 111, a number.
        let mut bytes = vec![0x12, inner.len() as u8];
        bytes.extend(inner);
        assert_eq!(Command::from_bytes(&bytes).unwrap(), Body::Activate(activate(vec![4])).into());
    }

    #[test]
    fn damaged_commands_are_errors_and_never_panics() {
        let mut rng = crate::core::rng::Rng::new(3);
        let mut refused = 0;
        for round in 0..20_000 {
            let commands = commands();
            let mut bytes = commands[round % commands.len()].to_bytes();
            for _ in 0..1 + rng.below(3) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            refused += u32::from(Command::from_bytes(&bytes).is_err());
        }
        assert!(refused > 1_000, "{refused}");
    }
}
