//! Tests of the event file: what the agent writes reads back, and nothing else does.

use std::time::Duration;

use super::*;
use crate::events::Occurrence;
use crate::events::payload::Numbered;

fn payload(event: EventName) -> Payload {
    let occurrence = Occurrence {
        planned: false,
        number: 3,
        event: EventName::Follower,
        role: "follower",
        old_role: "leader",
        leader: Some("n2".into()),
        leader_address: Some("[2001:db8::1]:7400".into()),
        term: 5,
        token: Some(u64::MAX),
        reason: "leader's lease ended; $(reboot)",
        timestamp_usec: 1,
    };
    let told = Numbered { sequence: 9, stands_for: 3, occurrence };
    Payload::new(&told, event.as_str(), "blue", "n1", Duration::from_secs(1))
}

fn read(event: EventName, bytes: &[u8]) -> Result<Payload, EventFileError> {
    let node = "n1".parse().unwrap();
    parse(bytes, Expected { event, node: &node, cluster: "blue" })
}

/// Whether a file of `event` may speak of the role `follower`.
fn role_may_differ(event: EventName) -> bool {
    !event.is_of_role() || matches!(event, EventName::Follower | EventName::Change)
}

#[test]
fn what_the_agent_writes_reads_back() {
    let directory = tempfile::tempdir().unwrap();
    for event in EventName::ALL.into_iter().filter(|event| role_may_differ(*event)) {
        let payload = payload(event);
        for _ in 0..2 {
            write(directory.path(), event, &payload).unwrap();
        }
        let bytes = fs::read(path(directory.path(), event)).unwrap();
        assert_eq!(bytes, payload.input());
        assert_eq!(read(event, &bytes).unwrap(), payload);
        let reason = &payload.facts[10];
        assert_eq!(reason.1, "leader_s lease ended_ __reboot_", "ours, but not for a shell");
        for _ in 0..2 {
            remove(directory.path(), event).unwrap();
        }
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "no leavings");
}

/// The file of a `follower` event with `field` set to `value`.
fn with(field: &str, value: serde_json::Value) -> Vec<u8> {
    let bytes = payload(EventName::Follower).input();
    let mut object: serde_json::Map<_, _> = serde_json::from_slice(&bytes).unwrap();
    object.insert(field.to_owned(), value);
    serde_json::to_vec(&object).unwrap()
}

#[test]
fn values_follow_their_grammars() {
    let good = [
        ("old_role", "starting"),
        ("old_role", "learner"),
        ("leader", ""),
        ("leader_address", ""),
        ("leader_address", "db1.example:7100"),
        ("token", ""),
        ("token", "0"),
        ("reason", ""),
        ("reason", "quorum lost, n2 leads: term 7"),
    ];
    for (field, value) in good {
        assert!(read(EventName::Follower, &with(field, value.into())).is_ok(), "{field} {value}");
    }
    let long = "a".repeat(EVENT_REASON_MAX_CHARS + 1);
    let bad = [
        ("event", "leader"),
        ("event", "change"),
        ("role", "leader"),
        ("old_role", "change"),
        ("old_role", ""),
        ("cluster", "green"),
        ("node", "n2"),
        ("leader", "N2"),
        ("leader", "n2\nLD_PRELOAD=x"),
        ("leader_address", "n2"),
        ("leader_address", "-rf:7100"),
        ("leader_address", "$(reboot):7100"),
        ("term", ""),
        ("term", "-1"),
        ("term", "+1"),
        ("term", "01"),
        ("term", "1 "),
        ("term", "18446744073709551616"),
        ("token", "x"),
        ("sequence", ""),
        ("timestamp_usec", "1e3"),
        ("deadline_usec", "0x1"),
        ("reason", "a\nb"),
        ("reason", "a\0b"),
        ("reason", "$(reboot)"),
        ("reason", "`reboot`"),
        ("reason", "a;b"),
        ("reason", "a\"b"),
        ("reason", "-rf"),
        ("reason", "ein schöner Grund"),
        ("reason", &long),
    ];
    for (field, value) in bad {
        let refused = read(EventName::Follower, &with(field, value.into())).unwrap_err();
        assert!(matches!(refused, EventFileError::Field { .. }), "{field} {value:?}: {refused}");
        assert!(!refused.to_string().contains(['\n', '\0']), "{refused}");
    }
    assert!(read(EventName::Change, &with("role", "change".into())).is_err());
    for role in ["active", "quorum-lost", "change", ""] {
        let mut object: serde_json::Map<_, _> =
            serde_json::from_slice(&payload(EventName::Fenced).input()).unwrap();
        object.insert("role".to_owned(), role.into());
        let bytes = serde_json::to_vec(&object).unwrap();
        assert!(read(EventName::Fenced, &bytes).is_err(), "{role:?} is no role");
    }
}

#[test]
fn the_form_is_exactly_one_object_with_the_known_fields() {
    let whole = payload(EventName::Follower).input();
    let text = String::from_utf8(whole.clone()).unwrap();
    let twice = text.replacen('{', "{\"term\":\"5\",", 1);
    for bytes in [
        b"".to_vec(),
        b"[]".to_vec(),
        b"\0".to_vec(),
        b"LD_PRELOAD=/tmp/x.so\n".to_vec(),
        with("ld_preload", "/tmp/x.so".into()),
        with("PATH\n", "/tmp".into()),
        with("term", 5.into()),
        with("term", serde_json::Value::Null),
        with("leader", serde_json::json!(["n2"])),
        twice.into_bytes(),
        text.replace("\"term\":\"5\",", "").into_bytes(),
        [whole.clone(), whole.clone()].concat(),
        "[".repeat(4000).into_bytes(),
    ] {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let refused = read(EventName::Follower, &bytes).expect_err(&shown);
        assert!(matches!(refused, EventFileError::Form { .. }), "{refused}");
        assert!(!refused.to_string().contains('\n'), "{refused}");
    }
    let mut large = whole;
    large.resize(SCRIPT_INPUT_MAX_BYTES + 1, b' ');
    let refused = read(EventName::Follower, &large).unwrap_err();
    assert_eq!(refused, EventFileError::TooLarge { most: SCRIPT_INPUT_MAX_BYTES });
}

#[test]
fn whatever_is_read_is_refused_or_harmless() {
    let whole = payload(EventName::Follower).input();
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = whole.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..3) {
                0 => bytes[at] = random.u8(..),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.u8(..)),
            }
        }
        let Ok(payload) = read(EventName::Follower, &bytes) else { continue };
        assert_eq!(payload.arguments(), ["follower", "follower", "blue"]);
        for (name, value) in payload.environment() {
            assert!(value.is_ascii() && !value.contains(['\n', '\0', '$', '`']), "{name} {value}");
        }
    }
}
