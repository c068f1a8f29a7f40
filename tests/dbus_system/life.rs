//! The agent's name on the system bus, and what becomes of it when the bus goes and comes.

use std::collections::HashMap;

use raftctl::core::NodeName;
use raftctl::dbus::system::{SystemBus, bus_name};
use raftctl::dbus::{NODE_INTERFACE, ROOT_PATH};
use raftctl::node::status::Change;
use zbus::{Connection, Message, MessageStream, OwnedVariant};

use super::dbus_support::{FakeNode, leader_of_three, name};
use super::support::{AGENT, Bus, Scene, User, ask_bus, next, within};

/// The next signal `member`.
async fn signal(stream: &mut MessageStream, member: &str) -> Message {
    loop {
        let message = next(stream).await;
        if message.header().member().is_some_and(|name| name.as_str() == member) {
            return message;
        }
    }
}

async fn get_all(connection: &Connection, path: &str, interface: &str) -> zbus::Result<Message> {
    let properties = Some("org.freedesktop.DBus.Properties");
    connection.call_method(Some(AGENT), path, properties, "GetAll", &(interface,)).await
}

/// Every instance has a name that the bus takes.
#[test]
fn every_node_has_a_name_that_the_bus_takes() {
    for node in ["n1", "n-1", "n_1", "a", "a234567890123456789012345678901_"] {
        let node: NodeName = node.parse().unwrap();
        zbus::names::WellKnownName::try_from(bus_name(&node)).unwrap();
    }
    for refused in ["1n", "-n", "n.1", "N1", "n:1", ""] {
        assert!(refused.parse::<NodeName>().is_err(), "{refused:?}");
    }
}

#[tokio::test]
async fn whoever_sees_the_name_finds_the_objects() {
    let Some(bus) = Bus::start() else { return };
    let node = FakeNode::new(leader_of_three());
    let connection = User::Stranger.connect(&bus).await;
    let mut stream = MessageStream::from(&connection);
    ask_bus(&connection, "AddMatch", &("type='signal',member='NameOwnerChanged'",)).await.unwrap();
    let agent = SystemBus::at(bus.address(), &name("n1"), None);
    tokio::spawn(agent.serve(node.served()));
    loop {
        let message = signal(&mut stream, "NameOwnerChanged").await;
        let (name, ..): (String, String, String) = message.body().deserialize().unwrap();
        if name == AGENT {
            break;
        }
    }
    get_all(&connection, ROOT_PATH, NODE_INTERFACE).await.unwrap();
    let member = "/org/raftctl/Agent1/member/n3";
    get_all(&connection, member, "org.raftctl.Agent1.Member").await.unwrap();
    let log = "org.freedesktop.LogControl1";
    get_all(&connection, "/org/freedesktop/LogControl1", log).await.unwrap();
}

#[tokio::test]
async fn a_stranger_hears_of_changes_by_a_match_rule() {
    let Some(bus) = Bus::start() else { return };
    let node = FakeNode::new(leader_of_three());
    let agent = SystemBus::at(bus.address(), &name("n1"), None);
    tokio::spawn(agent.serve(node.served()));
    bus.until(AGENT, true).await;
    let connection = User::Stranger.connect(&bus).await;
    let mut stream = MessageStream::from(&connection);
    let rule = format!("type='signal',sender='{AGENT}',path='{ROOT_PATH}'");
    ask_bus(&connection, "AddMatch", &(rule,)).await.unwrap();
    // The answer says that it is announced to.
    get_all(&connection, ROOT_PATH, NODE_INTERFACE).await.unwrap();
    let paused = Change::Paused { paused: true, term: 7 };
    node.update(|status| status.paused = true, Some(paused));
    let message = signal(&mut stream, "PropertiesChanged").await;
    let (interface, changed, _): (String, HashMap<String, OwnedVariant>, Vec<String>) =
        message.body().deserialize().unwrap();
    assert_eq!(interface, NODE_INTERFACE);
    assert_eq!(changed.keys().collect::<Vec<_>>(), ["Paused"]);
    let message = next(&mut stream).await;
    assert_eq!(message.header().member().unwrap().as_str(), "PausedChanged");
    assert_eq!(message.body().deserialize::<(bool, u64)>().unwrap(), (true, 7));
}

#[tokio::test]
async fn the_agent_comes_back_with_the_bus() {
    let Some(mut scene) = Scene::start().await else { return };
    for _ in 0..3 {
        scene.bus.stop();
        scene.bus.start_again();
        scene.until_there().await;
        assert_eq!(scene.call(User::Stranger, "Describe", &()).await, Ok(()));
        assert_eq!(scene.call(User::Root, "Pause", &()).await, Ok(()));
    }
}

#[tokio::test]
async fn a_bus_that_comes_after_the_agent_is_joined() {
    let Some(mut bus) = Bus::start() else { return };
    bus.stop();
    std::fs::remove_file(bus.socket()).unwrap();
    let nobody = tokio::net::UnixListener::bind(bus.socket()).unwrap();
    let node = FakeNode::new(leader_of_three());
    let agent = SystemBus::at(bus.address(), &name("n1"), None);
    let serving = tokio::spawn(agent.serve(node.served()));
    // It tries, and is turned away.
    for _ in 0..2 {
        drop(within("an attempt", nobody.accept()).await.unwrap());
    }
    drop(nobody);
    bus.start_again();
    bus.until(AGENT, true).await;
    get_all(&User::Stranger.connect(&bus).await, ROOT_PATH, NODE_INTERFACE).await.unwrap();
    assert!(!serving.is_finished());
}

#[tokio::test]
async fn a_name_that_somebody_else_has_is_waited_for() {
    let Some(bus) = Bus::start() else { return };
    let other = User::Root.connect(&bus).await;
    other.request_name(AGENT).await.unwrap();
    let node = FakeNode::new(leader_of_three());
    let agent = SystemBus::at(bus.address(), &name("n1"), None);
    tokio::spawn(agent.serve(node.served()));
    other.release_name(AGENT).await.unwrap();
    bus.until(AGENT, true).await;
    get_all(&User::Stranger.connect(&bus).await, ROOT_PATH, NODE_INTERFACE).await.unwrap();
}
