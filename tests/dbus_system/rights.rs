//! Who may do what on the system bus: the table of docs/adr/0009-system-bus.md, cell by cell.

use std::time::Instant;

use raftctl::dbus::access::Action;
use raftctl::dbus::key_value::{Bytes, CompareTuple, ReadOptions, StepTuple, WriteOptions};
use raftctl::dbus::{KEY_VALUE_INTERFACE, LOG_PATH, NODE_INTERFACE, ROOT_PATH};
use raftctl::limits;
use zbus::proxy::MethodFlags;

use super::support::{Question, Says, Scene, User, call};

const ADMINISTRATORS: [User; 3] = [User::Root, User::Primary, User::Supplementary];
const ASK: MethodFlags = MethodFlags::ALLOW_INTERACTIVE_AUTH;
const DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";
const CHALLENGE: &str = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired";

/// Everything that changes something: what it is called, what polkit is asked, what it does.
const CHANGES: [(&str, Action, &str); 6] = [
    ("TransferLeadership", Action::Transfer, "transfer"),
    ("Takeover", Action::Takeover, "takeover"),
    ("SetMaintenance", Action::Maintenance, "maintenance"),
    ("ClearFailures", Action::Clear, "clear"),
    ("Pause", Action::Pause, "pause"),
    ("Resume", Action::Pause, "resume"),
];

async fn change(scene: &Scene, user: User, method: &str, flags: MethodFlags) -> Result<(), String> {
    match method {
        "TransferLeadership" => scene.call_with(user, flags, method, &("n2",)).await,
        "ClearFailures" | "Pause" => scene.call_with(user, flags, method, &()).await,
        _ => scene.call_with(user, flags, method, &(true,)).await,
    }
}

#[tokio::test]
async fn administrators_change_everything_and_polkit_is_not_asked() {
    let Some(scene) = Scene::start().await else { return };
    for user in ADMINISTRATORS {
        for (method, _, done) in CHANGES {
            assert_eq!(
                change(&scene, user, method, MethodFlags::empty()).await,
                Ok(()),
                "{user:?}"
            );
            assert_eq!(scene.done(), [done], "{user:?} {method}");
        }
        assert_eq!(scene.set_log(user, "LogLevel", "debug").await, Ok(()), "{user:?}");
        assert_eq!(scene.set_log(user, "LogTarget", "auto").await, Ok(()), "{user:?}");
    }
    assert_eq!(scene.asked(), []);
    // Without polkit they still do.
    scene.polkit_ends().await;
    for user in ADMINISTRATORS {
        assert_eq!(change(&scene, user, "Pause", MethodFlags::empty()).await, Ok(()), "{user:?}");
    }
}

#[tokio::test]
async fn a_stranger_changes_what_polkit_says() {
    let Some(scene) = Scene::start().await else { return };
    for (method, action, done) in CHANGES {
        let none = MethodFlags::empty();
        for (says, flags, expected) in [
            (Says::Yes, none, Ok(())),
            (Says::No, none, Err(DENIED)),
            (Says::No, ASK, Err(DENIED)),
            (Says::Challenge, none, Err(CHALLENGE)),
            (Says::Challenge, ASK, Ok(())),
        ] {
            scene.polkit_says(says);
            let result = change(&scene, User::Stranger, method, flags).await;
            assert_eq!(result, expected.map_err(str::to_owned), "{method} {says:?}");
            let expected = if result.is_ok() { vec![done] } else { vec![] };
            assert_eq!(scene.done(), expected, "{method} {says:?}");
            let question = Question { action: action.id().to_owned(), interactive: flags == ASK };
            assert_eq!(scene.asked(), [question], "{method} {says:?}");
        }
    }
    for (says, expected) in
        [(Says::Yes, Ok(())), (Says::No, Err(DENIED)), (Says::Challenge, Err(CHALLENGE))]
    {
        scene.polkit_says(says);
        for (property, value) in [("LogLevel", "debug"), ("LogTarget", "auto")] {
            let result = scene.set_log(User::Stranger, property, value).await;
            assert_eq!(result, expected.map_err(str::to_owned), "{property} {says:?}");
            let action = Action::SetLogLevel.id().to_owned();
            assert_eq!(scene.asked(), [Question { action, interactive: false }]);
        }
    }
}

#[tokio::test]
async fn without_polkit_a_stranger_changes_nothing() {
    let Some(scene) = Scene::start().await else { return };
    scene.polkit_says(Says::Yes);
    scene.polkit_ends().await;
    for (method, ..) in CHANGES {
        let result = change(&scene, User::Stranger, method, ASK).await;
        assert_eq!(result, Err(DENIED.to_owned()), "{method}");
    }
    let result = scene.set_log(User::Stranger, "LogLevel", "debug").await;
    assert_eq!(result, Err(DENIED.to_owned()));
    assert_eq!(scene.done(), Vec::<String>::new());
}

#[tokio::test]
async fn a_polkit_that_says_nothing_says_no_in_time() {
    let Some(scene) = Scene::start().await else { return };
    scene.polkit_says(Says::Silence);
    let began = Instant::now();
    let result = change(&scene, User::Stranger, "Pause", MethodFlags::empty()).await;
    assert_eq!(result, Err(DENIED.to_owned()));
    assert!(began.elapsed() >= limits::POLKIT_TIMEOUT, "{:?}", began.elapsed());
    assert_eq!(scene.asked().len(), 1);
    assert_eq!(scene.cancelled(), 1, "nobody is asked for a password any more");
    assert_eq!(scene.done(), Vec::<String>::new());
}

#[tokio::test]
async fn everybody_reads_everything() {
    let Some(scene) = Scene::start().await else { return };
    let all = [User::Root, User::Primary, User::Supplementary, User::Stranger];
    for user in all {
        let connection = user.connect(&scene.bus).await;
        for method in ["Describe", "DescribeCluster"] {
            assert_eq!(scene.call(user, method, &()).await, Ok(()), "{user:?} {method}");
        }
        assert_eq!(scene.call(user, "DescribePeer", &("n2",)).await, Ok(()), "{user:?}");
        let none = MethodFlags::empty();
        let member = "/org/raftctl/Agent1/member/n1";
        for (path, interface) in [
            (ROOT_PATH, NODE_INTERFACE),
            // How full the store is, not what it holds.
            (ROOT_PATH, KEY_VALUE_INTERFACE),
            (member, "org.raftctl.Agent1.Member"),
            (LOG_PATH, "org.freedesktop.LogControl1"),
        ] {
            let to = (path, "org.freedesktop.DBus.Properties");
            assert_eq!(call(&connection, to, none, "GetAll", &(interface,)).await, Ok(()));
            let to = (path, "org.freedesktop.DBus.Introspectable");
            assert_eq!(call(&connection, to, none, "Introspect", &()).await, Ok(()));
            let to = (path, "org.freedesktop.DBus.Peer");
            assert_eq!(call(&connection, to, none, "Ping", &()).await, Ok(()));
        }
        let to = (ROOT_PATH, "org.freedesktop.DBus.ObjectManager");
        assert_eq!(call(&connection, to, none, "GetManagedObjects", &()).await, Ok(()));
        // Nothing else is let through by the bus.
        let to = (ROOT_PATH, "com.example.Other");
        let refused = call(&connection, to, none, "Evil", &()).await;
        assert_eq!(refused, Err(DENIED.to_owned()));
    }
    assert_eq!(scene.asked(), []);
}

#[tokio::test]
async fn nobody_writes_what_is_read() {
    let Some(scene) = Scene::start().await else { return };
    scene.polkit_says(Says::Yes);
    for user in [User::Root, User::Stranger] {
        let connection = user.connect(&scene.bus).await;
        for (path, interface, property) in [
            (ROOT_PATH, NODE_INTERFACE, "Maintenance"),
            (ROOT_PATH, NODE_INTERFACE, "Paused"),
            ("/org/raftctl/Agent1/member/n1", "org.raftctl.Agent1.Member", "Priority"),
            (LOG_PATH, "org.freedesktop.LogControl1", "SyslogIdentifier"),
        ] {
            let to = (path, "org.freedesktop.DBus.Properties");
            let body = (interface, property, zbus::Variant::from(true));
            let flags = MethodFlags::empty();
            let result = call(&connection, to, flags, "Set", &body).await;
            assert!(result.is_err(), "{user:?} {property}");
        }
    }
    assert_eq!(scene.done(), Vec::<String>::new());
}

/// What is done with the store: how it is called, what polkit is asked, what it does.
const DATA: [(&str, &[Action], &str); 8] = [
    ("Get", &[Action::ReadData], "read"),
    ("Range", &[Action::ReadData], "read"),
    ("Put", &[Action::WriteData], "write"),
    ("Delete", &[Action::WriteData], "write"),
    ("DeletePrefix", &[Action::WriteData], "write"),
    ("Txn put", &[Action::WriteData], "write"),
    ("Txn get", &[Action::ReadData], "write"),
    ("Txn if absent put", &[Action::WriteData, Action::ReadData], "write"),
];

async fn data(scene: &Scene, user: User, what: &str, flags: MethodFlags) -> Result<(), String> {
    let bytes = |text: &str| Bytes(text.as_bytes().to_vec());
    let (key, write) = (bytes("k"), WriteOptions::default());
    let step = |what: &str, value| vec![(what.to_owned(), bytes("k"), bytes(value))];
    let none: Vec<StepTuple> = Vec::new();
    let absent = vec![(bytes("k"), "absent".to_owned(), bytes(""), 0_u64)];
    let nothing: Vec<CompareTuple> = Vec::new();
    match what {
        "Get" | "Range" => scene.store(user, flags, what, &(key, ReadOptions::default())).await,
        "Put" => scene.store(user, flags, what, &(key, bytes("v"), write)).await,
        "Txn put" => {
            let body = (nothing, step("put", "v"), none, write);
            scene.store(user, flags, "Txn", &body).await
        }
        "Txn get" => {
            let body = (nothing, none, step("get", ""), write);
            scene.store(user, flags, "Txn", &body).await
        }
        "Txn if absent put" => {
            let body = (absent, step("put", "v"), none, write);
            scene.store(user, flags, "Txn", &body).await
        }
        _ => scene.store(user, flags, what, &(key, write)).await,
    }
}

#[tokio::test]
async fn what_the_store_holds_is_for_administrators_and_whom_polkit_lets() {
    let Some(scene) = Scene::start().await else { return };
    let none = MethodFlags::empty();
    for user in ADMINISTRATORS {
        for (what, _, done) in DATA {
            assert_eq!(data(&scene, user, what, none).await, Ok(()), "{user:?} {what}");
            assert_eq!(scene.done(), [done], "{user:?} {what}");
        }
    }
    assert_eq!(scene.asked(), []);
    for (what, actions, done) in DATA {
        for (says, flags, expected) in [
            (Says::Yes, none, Ok(())),
            (Says::No, none, Err(DENIED)),
            (Says::Challenge, none, Err(CHALLENGE)),
            (Says::Challenge, ASK, Ok(())),
        ] {
            scene.polkit_says(says);
            let result = data(&scene, User::Stranger, what, flags).await;
            assert_eq!(result, expected.map_err(str::to_owned), "{what} {says:?}");
            let interactive = flags == ASK;
            let (expected, asked) =
                if result.is_ok() { (vec![done], actions.len()) } else { (vec![], 1) };
            assert_eq!(scene.done(), expected, "{what} {says:?}");
            let question =
                |action: &Action| Question { action: action.id().to_owned(), interactive };
            let questions: Vec<_> = actions[..asked].iter().map(question).collect();
            assert_eq!(scene.asked(), questions, "{what} {says:?}");
        }
    }
    scene.polkit_ends().await;
    for (what, ..) in DATA {
        let result = data(&scene, User::Stranger, what, ASK).await;
        assert_eq!(result, Err(DENIED.to_owned()), "{what}");
    }
    assert_eq!(scene.done(), Vec::<String>::new());
}

#[tokio::test]
async fn a_long_value_goes_over_the_bus() {
    let Some(scene) = Scene::start().await else { return };
    let (key, value) = (Bytes(b"k".to_vec()), Bytes(vec![7; limits::KV_VALUE_MAX_BYTES]));
    let flags = MethodFlags::empty();
    let body = (key.clone(), value, WriteOptions::default());
    assert_eq!(scene.store(User::Root, flags, "Put", &body).await, Ok(()));
    let body = (key, ReadOptions::default());
    assert_eq!(scene.store(User::Root, flags, "Get", &body).await, Ok(()));
    assert_eq!(scene.done(), ["write", "read"]);
}

/// The actions are the files', and each may be asked about by the agent's user.
#[test]
fn every_action_is_declared_with_its_owner() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/dbus/org.raftctl.agent1.policy");
    let text = std::fs::read_to_string(path).unwrap();
    let actions: Vec<&str> = text.split("<action id=\"").skip(1).collect();
    let ids: Vec<&str> = actions.iter().map(|text| text.split('"').next().unwrap()).collect();
    assert_eq!(ids, Action::ALL.map(Action::id));
    let owner = "<annotate key=\"org.freedesktop.policykit.owner\">unix-user:raftctl</annotate>";
    for action in actions {
        assert!(action.contains(owner), "{action}");
        assert!(action.contains("<allow_active>auth_admin_keep</allow_active>"), "{action}");
        for other in ["any", "inactive"] {
            let expected = format!("<allow_{other}>auth_admin</allow_{other}>");
            assert!(action.contains(&expected), "{action}");
        }
        let message = action.split("<message>").nth(1).unwrap();
        assert!(message.starts_with("Authentication is required to "), "{action}");
    }
}
