//! What an agent has to tell: every kind of event that an operator may want to find, filter or look
//! up, with the constant number under which the journal has it (MESSAGE_ID=, sd-messages(3)).
//!
//! A kind is told with `tell!`, which is an event of `tracing` with these facts:
//! the journal gets them as `MESSAGE_ID` and `RAFTCTL_TERM` and so on, a text log as `term=7`.
//! Guarantees: a kind is never told with a field that is not in its row. `tests/journal.rs` holds
//! this table, `systemd/raftctl.catalog` and `docs/journal.md` together. Does not: say anything.

use tracing::Level;

/// How important a kind is (syslog(3)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Something failed, and needs somebody.
    Err = 3,
    /// Something may fail, or will.
    Warning = 4,
    /// Normal, and worth seeing when little else is shown.
    Notice = 5,
    /// Normal.
    Info = 6,
}

impl Priority {
    /// The word of syslog(3) and of `journalctl -p`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Priority::Err => "err",
            Priority::Warning => "warning",
            Priority::Notice => "notice",
            Priority::Info => "info",
        }
    }

    /// The level by which the agent's own log is filtered, which knows no "notice".
    pub const fn level(self) -> Level {
        match self {
            Priority::Err => Level::ERROR,
            Priority::Warning => Level::WARN,
            Priority::Notice | Priority::Info => Level::INFO,
        }
    }
}

/// Declares the kinds: name, MESSAGE_ID, priority, fields, and what has happened.
macro_rules! kinds {
    ($($name:ident $id:literal $priority:ident [$($field:ident)*] $title:literal;)*) => {
        /// One kind of event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = $title] $name,)*
        }

        impl Kind {
            /// All, in the order in which they are documented.
            pub const ALL: &'static [Kind] = &[$(Kind::$name,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$name => stringify!($name),)* }
            }

            /// Its MESSAGE_ID: random once, and never changed or used for anything else.
            pub const fn id(self) -> &'static str {
                match self { $(Kind::$name => $id,)* }
            }

            /// How important it is.
            pub const fn priority(self) -> Priority {
                match self { $(Kind::$name => Priority::$priority,)* }
            }

            /// What it may be told with, besides cluster and node, which the log adds by itself.
            pub const fn fields(self) -> &'static [&'static str] {
                match self { $(Kind::$name => &[$(stringify!($field),)*],)* }
            }

            /// What has happened, as a phrase.
            pub const fn title(self) -> &'static str {
                match self { $(Kind::$name => $title,)* }
            }
        }
    };
}

kinds! {
    Started "8e0bf38da63b4135a38bba58f7f47dee" Info [version address]
        "the agent serves";
    Stopping "9409467503bf4fda83801c9fa9249644" Info [reason]
        "the agent has been asked to stop";
    Stopped "c504c46f92f441ad95bbd9b2d6316d79" Info []
        "the agent has stopped";
    Failed "569451c7cdaa4228a7a8d0e4f3b3742b" Err [reason]
        "the agent ends at once, because it cannot go on";
    RoleChanged "934b35ac7d2c4d7da70dc91a3cc178c6" Notice [role old_role term token leader reason]
        "the node changed its role";
    LeaderChanged "122d5f8093e0428e9f490c578e2fa41e" Info [leader term]
        "the node follows another leader";
    LeaderLost "ba9acdbe66f444ccb96715e2395432df" Notice [term]
        "the node knows of no leader";
    QuorumLost "d52d0487dbd243fc8400af541d389f59" Warning [term]
        "the node does not hear a quorum";
    QuorumRegained "e167d20763de406f93c4ae86b4a627ac" Info [term]
        "the node hears a quorum again";
    Active "bca77fda8b7c4726ba45e5b9b0b30087" Notice [term token reason]
        "the node is active: its leader target runs";
    Demoted "5826508e361f4bc1a3a10c4adca902ca" Notice [term token reason]
        "the node ceases to be active: the target is being stopped";
    Released "2e915f4bfc894b27a32fb87c1fbb0df2" Notice [term token]
        "an activation of this node is over, and the cluster knows";
    TargetNotStarted "b14d897ff13d4b0c99f889571b296954" Err [token unit reason]
        "the leader target could not be started";
    TargetNotStopped "aeac045e219348e7a1b0a148ac9880cd" Err [unit reason]
        "the leader target could not be stopped";
    TargetDown "18d4a90bda674f2395bf454e98d55026" Warning [unit reason]
        "the leader target went down without an order of the agent";
    TransferBegun "9b04afb8e1944e7abeb45c2b9e4109de" Notice [to]
        "a hand-over of leadership was asked for";
    TransferDone "fe534997bc614c1dacdbceb0f3f9af74" Notice [to]
        "leadership has been handed over";
    TransferFailed "78353a6037f54b169ebb7baa602bf300" Warning [reason]
        "a hand-over of leadership failed";
    TakenOver "5152c9ddbc144699ba900ea6ee5e8a16" Warning [token]
        "an operator has declared the end of another host's activation";
    TakeoverRefused "96389da65c014cc5b53dc2dfb9f0a164" Info [reason]
        "a takeover by force was refused";
    HostLeaves "3bf964847656405f945c19cb682cc4c3" Notice [reason]
        "the host is about to shut down or sleep";
    HostBack "025f45cb3b4e4622ba8ee99fa2ce09c8" Info [reason]
        "the host does not shut down or sleep any more";
    FenceArmed "33a11515a3dc4bd1baeb3b387c2c0aa5" Info [action]
        "the end of an activation is enforced on this host";
    FenceNotArmed "cb04bf7713034ffebf68f32b10471b53" Warning [problem]
        "the end of an activation is not enforced on this host";
    FenceStarted "376330ee4ec2476389b1082153cd2467" Warning [unit token]
        "members take too long to stop: the fence is started";
    Fencing "dcc02ddf3ff749a092c7b84bf397763a" Err [units reason]
        "what did not stop in time is being killed";
    Fenced "e139ef15318241d585c6e77ebbb6e313" Warning [units]
        "what did not stop in time was killed, and is gone";
    FenceNotNeeded "9879b09718584f31989fd822250492ad" Info [reason]
        "the fence had nothing to kill";
    FenceFailed "03462244d787456a8945f2d448a50e4c" Err [reason]
        "something may still run that should have been killed";
    RebootExpected "42d0419176eb4dbab977ecba9f8f2d61" Err [reason]
        "the host is rebooted unless the stop ends now";
    Rebooted "dd12b40457e0499d8a56d7ca979fb2de" Warning [reason]
        "the host was rebooted, as a fence";
    ReleaseConfirmed "6cdcbc4a54d94bb891f958d3b0fee272" Info [leader duration]
        "after the agent: a leader knows that its activation is over";
    ReleaseFailed "09a98b27101b4a6fa8297764e0fad269" Warning [reason]
        "after the agent: no leader knows that its activation is over";
    MemberFailed "034a74d9001e42bb919eca763971dfcf" Warning [unit reason]
        "a unit of the leader target failed";
    HeldDown "1a9a1808e6184515bc122395e791f611" Warning [duration reason]
        "members failed too often: the node does not become active for a while";
    HoldDownEnded "09106b5fe97b426ba6c25ccbd8d68a55" Info [reason]
        "the node is not held down any more";
    Ineligible "3e52d545856041b5b6565fe70d0ab523" Notice [reason]
        "the node may not be active";
    Eligible "c961805cd7724ef4ad69738013771313" Info []
        "the node may be active again";
    MaintenanceOn "64d7b1243f88496e8c3f958d4f078872" Notice []
        "the host was taken out of service";
    MaintenanceOff "39895dbf7aa44d63a2231b7be625a5d4" Notice []
        "the host was put back into service";
    Paused "17599b6975ee47a0953fb8d03e38306a" Warning [term]
        "the cluster was paused: nothing becomes active";
    Resumed "e810dae1efe5414c9817c4097c32b1f2" Notice [term]
        "the cluster is not paused any more";
    PeerConnected "abeebc021fbe472290fc9ed0b675d333" Info [peer address]
        "there is a connection to a member";
    PeerLost "3ef47f6c00b04d0ab9167f09ff3f50bc" Notice [peer reason]
        "the connection to a member broke";
    PeerUnreachable "1a012fe5df6640e28d287cc74779b866" Notice [peer address reason]
        "a member cannot be reached";
    PeerRefused "86fd83b658b049178d584145681baffc" Warning [peer reason]
        "a member or a stranger was refused";
    SnapshotSending "b7061f67a99e48a19acc6adae3db634c" Info [peer]
        "a member needs what the log has given up: a snapshot is on its way to it";
    SnapshotSent "1ec4c83d84a741c48702330fb110cc9c" Info [peer]
        "a member has installed a snapshot of this node";
    SnapshotReceiving "2eff69cb69904d648e85dba95967185b" Notice [peer]
        "this node lacks what the log has given up: a snapshot is on its way to it";
    SnapshotInstalled "34181bf853634bbbab557495f0f18105" Notice [peer]
        "this node has installed a snapshot";
    SnapshotFailed "4aa7a3db764441b1991fd89c3d5e6877" Warning [peer reason]
        "a snapshot did not get through, and is sent again";
    Reloaded "b93a4d28fc664270b644f554c1e25140" Info [count]
        "the configuration was read again";
    ReloadRefused "6cff8b7627bd4c978f1321bf137ff4a2" Err [reason]
        "the configuration could not be read again; nothing was changed";
    ReloadNeedsRestart "cad5e51fac3e406dae4da2de7cefd360" Warning [key]
        "a changed key takes effect at the next start";
    ScriptFailed "908ecc1758b9451086751fa2b3c84fde" Warning [event script status duration]
        "an event script failed";
    ScriptTimedOut "b326b16bfca642bca2f75ce3d99764f6" Warning [event script status duration]
        "an event script took too long and was ended";
    ScriptNotRun "9ec734c241d340e7a9685774e66e8589" Err [event script reason]
        "an event script was not run";
    DiskStalled "802b77bfbc3145a298a74a5d966a0ea0" Warning [duration]
        "the disk does not answer";
    DiskAnswers "c1c1fbe3f7654412b1800db9289df992" Info [duration]
        "the disk answers again";
    LogRepaired "24127a834a604f809520a055e76284e1" Notice [reason]
        "the end of the log was repaired";
    ManagerLost "b16446dcbee34ff4a4b1079c539d99a0" Warning [reason]
        "the service manager cannot be reached";
    ManagerBack "8e55eb0ea8f641eb8c421849450fdf37" Info []
        "the service manager can be reached again";
    MessagesLost "af5985d3950c4a47b580e90998a5942d" Warning [count]
        "messages of the agent were lost, because the log did not take them in time";
}

impl Kind {
    /// The kind with this MESSAGE_ID.
    pub fn from_id(id: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.id() == id)
    }

    /// Whether it may be told with this field. `const`, so that a wrong one does not compile.
    pub const fn has(self, field: &str) -> bool {
        let fields = self.fields();
        let mut at = 0;
        while at < fields.len() {
            if same(fields[at].as_bytes(), field.as_bytes()) {
                return true;
            }
            at += 1;
        }
        false
    }
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// Tells a kind of event: its name, its facts, and one sentence for people (what happened, why,
/// what to do; names, and numbers with their units):
/// `tell!(LeaderChanged, leader = who, term = term; "{who} leads in term {term}.")`.
macro_rules! tell {
    ($kind:ident $(, $field:ident = $value:expr)* $(,)?; $($text:tt)+) => {{
        const KIND: $crate::core::story::Kind = $crate::core::story::Kind::$kind;
        $(const _: () = assert!(KIND.has(stringify!($field)), "not a field of this kind");)*
        ::tracing::event!(
            KIND.priority().level(),
            message_id = KIND.id(),
            $($field = $value,)*
            $($text)+
        );
    }};
}

pub(crate) use tell;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_number() {
        let mut ids: Vec<&str> = Kind::ALL.iter().map(|kind| kind.id()).collect();
        for id in &ids {
            let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            assert!(id.len() == 32 && id.chars().all(is_hex), "{id}");
            assert_eq!(Kind::from_id(id).map(Kind::id), Some(*id));
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Kind::ALL.len());
        assert_eq!(Kind::from_id(""), None);
    }

    #[test]
    fn a_field_is_known_by_its_whole_name() {
        assert!(Kind::RoleChanged.has("role") && Kind::RoleChanged.has("old_role"));
        assert!(!Kind::RoleChanged.has("rol") && !Kind::RoleChanged.has("roles"));
        assert!(!Kind::Stopped.has(""));
    }

    /// `message` and `message_id` are the journal's own, cluster and node are added by the log.
    #[test]
    fn no_field_collides() {
        for kind in Kind::ALL {
            for field in kind.fields() {
                assert!(!["message", "message_id", "cluster", "node"].contains(field), "{kind:?}");
            }
        }
    }
}
