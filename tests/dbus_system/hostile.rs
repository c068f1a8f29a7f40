//! Clients of the system bus that mean no good: the connection is everybody's, so none may end it,
//! fill it, or keep others waiting.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::time::Instant;

use raftctl::dbus::access::Action;
use raftctl::dbus::key_value::{Bytes, WriteOptions};
use raftctl::dbus::{KEY_VALUE_INTERFACE, NODE_INTERFACE, ROOT_PATH};
use raftctl::limits;
use zbus::message::Flags;
use zbus::proxy::MethodFlags;
use zbus::{Connection, Fd, Message};

use super::dbus_support::DEADLINE;
use super::support::{AGENT, Says, Scene, User, ask_bus, call, next};

/// Whose connection serves; another one means that the first was lost.
async fn owner(scene: &Scene) -> String {
    let connection = User::Root.connect(&scene.bus).await;
    let reply = ask_bus(&connection, "GetNameOwner", &(AGENT,)).await.unwrap();
    reply.body().deserialize().unwrap()
}

/// A call that nobody waits for.
fn quiet<B: serde::Serialize + zbus::DynamicType>(method: &str, body: &B) -> Message {
    let call = Message::method_call(ROOT_PATH, method).destination(AGENT);
    let call = call.interface(NODE_INTERFACE).with_flags(Flags::NO_REPLY_EXPECTED);
    call.build(body).unwrap()
}

async fn asked(connection: &Connection, method: &str) -> Result<(), String> {
    call(connection, (ROOT_PATH, NODE_INTERFACE), MethodFlags::empty(), method, &()).await
}

#[tokio::test]
async fn a_message_that_is_too_long_is_thrown_away_and_nothing_else_is() {
    let Some(scene) = Scene::start().await else { return };
    let before = owner(&scene).await;
    let connection = User::Stranger.connect(&scene.bus).await;
    for size in [limits::DBUS_MESSAGE_MAX_BYTES, 1 << 20, 20 << 20] {
        connection.send(&quiet("DescribePeer", &("x".repeat(size),))).await.unwrap();
        // The same client is still served.
        assert_eq!(asked(&connection, "Describe").await, Ok(()));
    }
    assert_eq!(owner(&scene).await, before);
}

/// Long calls have places, also those that want no answer, and those that are refused.
#[tokio::test]
async fn places_of_long_calls_are_given_back() {
    let Some(scene) = Scene::start().await else { return };
    let before = owner(&scene).await;
    let body = || {
        let value = Bytes(vec![7; limits::KV_VALUE_MAX_BYTES]);
        (Bytes(b"k".to_vec()), value, WriteOptions::default())
    };
    let put = Message::method_call(ROOT_PATH, "Put").destination(AGENT);
    let put = put.interface(KEY_VALUE_INTERFACE).with_flags(Flags::NO_REPLY_EXPECTED);
    let put = put.build(&body()).unwrap();
    for user in [User::Root, User::Stranger] {
        let connection = user.connect(&scene.bus).await;
        for _ in 0..2 * limits::DBUS_LARGE_MESSAGES_MAX {
            connection.send(&put).await.unwrap();
        }
    }
    let none = MethodFlags::empty();
    assert_eq!(scene.store(User::Root, none, "Put", &body()).await, Ok(()));
    assert_eq!(owner(&scene).await, before);
}

#[tokio::test]
async fn a_flood_disturbs_nobody() {
    let Some(scene) = Scene::start().await else { return };
    let before = owner(&scene).await;
    let mut connections = Vec::new();
    for _ in 0..20 {
        connections.push(User::Stranger.connect(&scene.bus).await);
    }
    for round in 0..100 {
        for connection in &connections {
            let message = match round % 4 {
                0 => quiet("Describe", &()),
                1 => quiet("DescribeCluster", &()),
                2 => quiet("TransferLeadership", &("n2",)),
                _ => quiet("Nonsense", &(7_u8, "x")),
            };
            connection.send(&message).await.unwrap();
        }
    }
    assert_eq!(scene.call(User::Root, "Pause", &()).await, Ok(()));
    assert_eq!(scene.done(), ["pause"], "polkit says no to strangers");
    assert_eq!(owner(&scene).await, before);
}

#[tokio::test]
async fn waiting_for_polkit_keeps_nobody_else_waiting() {
    let Some(scene) = Scene::start().await else { return };
    scene.polkit_says(Says::Silence);
    let most = limits::DBUS_CALLS_PER_USER_MAX;
    // From as many connections as he likes: it is the user that counts.
    let mut connections = Vec::new();
    for _ in 0..most {
        let connection = User::Stranger.connect(&scene.bus).await;
        connection.send(&quiet("Pause", &())).await.unwrap();
        connections.push(connection);
    }
    let (mut count, began) = (0, Instant::now());
    while count < most {
        count += scene.asked().len();
        assert!(began.elapsed() < DEADLINE, "polkit is asked");
        assert_eq!(scene.call(User::Root, "Describe", &()).await, Ok(()));
    }
    let limit = Err("org.freedesktop.DBus.Error.LimitsExceeded".to_owned());
    assert_eq!(asked(&connections[0], "Pause").await, limit);
    assert_eq!(asked(&connections[1], "DescribeCluster").await, limit);
    // What is read at once is not counted.
    assert_eq!(asked(&connections[2], "Describe").await, Ok(()));
    assert_eq!(scene.call(User::Root, "TransferLeadership", &("n2",)).await, Ok(()));
    scene.polkit_says(Says::Yes);
    assert_eq!(scene.call(User::Other, "Pause", &()).await, Ok(()));
    let asked = scene.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].action, Action::Pause.id());
    assert_eq!(scene.done(), ["transfer", "pause"]);
}

#[tokio::test]
async fn descriptors_are_not_taken() {
    let Some(scene) = Scene::start().await else { return };
    let before = owner(&scene).await;
    let connection = User::Stranger.connect(&scene.bus).await;
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    // The bus itself refuses to pass it on.
    let to = (ROOT_PATH, NODE_INTERFACE);
    let body = (Fd::from(one.as_fd()),);
    let refused = call(&connection, to, MethodFlags::empty(), "Describe", &body).await;
    assert!(refused.is_err());
    assert_eq!(scene.call(User::Stranger, "Describe", &()).await, Ok(()));
    assert_eq!(owner(&scene).await, before);
}

/// A signal that somebody sends to the agent alone means nothing to it.
#[tokio::test]
async fn what_was_not_asked_for_is_not_believed() {
    let Some(scene) = Scene::start().await else { return };
    let before = owner(&scene).await;
    let connection = User::Stranger.connect(&scene.bus).await;
    let (path, bus) = ("/org/freedesktop/DBus", "org.freedesktop.DBus");
    for member in ["NameLost", "NameOwnerChanged"] {
        let signal = Message::signal(path, bus, member).destination(AGENT);
        connection.send(&signal.build(&(AGENT, ":1.1", "")).unwrap()).await.unwrap();
    }
    assert_eq!(scene.call(User::Stranger, "Describe", &()).await, Ok(()));
    assert_eq!(owner(&scene).await, before);
}

/// Each client numbers its calls for itself. One that wants no answer must not take the answer of
/// another client's call with the same number.
#[tokio::test]
async fn a_call_without_reply_takes_nobody_elses() {
    let Some(scene) = Scene::start().await else { return };
    scene.polkit_says(Says::Silence);
    let root = User::Root.connect(&scene.bus).await;
    let call = Message::method_call(ROOT_PATH, "Describe").destination(AGENT);
    let call = call.interface(NODE_INTERFACE).build(&()).unwrap();
    let serial = call.primary_header().serial_num();

    let mut stranger = User::Stranger.raw(&scene.bus);
    let hello = Message::method_call("/org/freedesktop/DBus", "Hello");
    let hello = hello.destination("org.freedesktop.DBus").interface("org.freedesktop.DBus");
    stranger.write_all(hello.build(&()).unwrap().data().bytes()).unwrap();
    let mut same = quiet("Pause", &()).data().bytes().to_vec();
    // The serial is at a fixed place (D-Bus specification, "Message Format").
    same[8..12].copy_from_slice(&serial.get().to_ne_bytes());
    stranger.write_all(&same).unwrap();
    let began = Instant::now();
    while scene.asked().is_empty() {
        assert!(began.elapsed() < DEADLINE, "polkit is asked");
        tokio::task::yield_now().await;
    }
    // It is running, until polkit answers, which is never.
    let mut stream = zbus::MessageStream::from(&root);
    root.send(&call).await.unwrap();
    while next(&mut stream).await.header().reply_serial() != Some(serial) {}
}
