//! The private bus as a client meets it: methods, errors, properties, signals.

mod dbus_support;

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;

use dbus_support::{DEADLINE, FakeNode, describe, follower_of_three, leader_of_three, name};
use raftctl::config::{LogLevel, OnDemoteTimeout};
use raftctl::core::authority::Phase;
use raftctl::core::{NodeId, Token};
use raftctl::dbus::client::{Client, ClientError, Signal};
use raftctl::dbus::log_control::Log as _;
use raftctl::dbus::{KEY_VALUE_INTERFACE, LOG_PATH, NODE_INTERFACE, ROOT_PATH, member};
use raftctl::node::handle::{
    HostRequest, HostRequestError, PauseError, RemoteStatusError, Request, TakeoverError,
    TransferError,
};
use raftctl::node::status::{Change, HostStatus, LastFence, Role, UnitStatus};
use zbus::export::futures_core::Stream as _;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, OwnedObjectPath, OwnedVariant, connection};

async fn connect(socket: &Path) -> Client {
    Client::connect(socket, DEADLINE).await.unwrap()
}

async fn raw(socket: &Path) -> Connection {
    let stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    connection::Builder::unix_stream(stream).p2p().build().await.unwrap()
}

async fn next(stream: &mut MessageStream) -> Message {
    let next = std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx));
    tokio::time::timeout(DEADLINE, next).await.unwrap().unwrap().unwrap()
}

/// The next message about the root object.
async fn next_of_root(stream: &mut MessageStream) -> Message {
    loop {
        let message = next(stream).await;
        if message.header().path().is_some_and(|path| path.as_str() == ROOT_PATH) {
            return message;
        }
    }
}

async fn call<B: serde::Serialize + zbus::DynamicType>(
    connection: &Connection,
    interface: &str,
    method: &str,
    body: &B,
) -> zbus::Result<Message> {
    let call = connection.call_method(None::<&str>, ROOT_PATH, Some(interface), method, body);
    tokio::time::timeout(DEADLINE, call).await.unwrap()
}

#[tokio::test]
async fn describe_tells_the_status_of_the_node() {
    let node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let told = connect(&socket).await.describe().await.unwrap();
    assert_eq!(told, describe(&leader_of_three()));

    // The keys are published: other programs read them.
    let json: serde_json::Value = serde_json::from_str(&told.to_json()).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "active",
        "applied_index",
        "authority",
        "cluster_id",
        "cluster_name",
        "commit_index",
        "eligible",
        "fence_armed",
        "held_down_until_usec",
        "id",
        "ineligible",
        "last_fence",
        "leader",
        "leader_address",
        "maintenance",
        "members",
        "name",
        "paused",
        "role",
        "store",
        "term",
        "token",
        "units",
        "version",
        "warnings",
    ];
    assert_eq!(keys, expected);
    let member = json["members"][2].as_object().unwrap();
    let keys: Vec<_> = member.keys().map(String::as_str).collect();
    let expected =
        ["address", "connected", "eligible", "id", "kind", "matched", "name", "priority"];
    assert_eq!(keys, expected);
    assert_eq!((&json["token"], &json["active"]), (&42.into(), &true.into()));
}

#[tokio::test]
async fn properties_have_the_documented_types() {
    let mut status = leader_of_three();
    (status.token, status.leader, status.cluster_id) = (None, None, None);
    let node = FakeNode::new(status);
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let connection = raw(&socket).await;
    let reply = call(&connection, "org.freedesktop.DBus.Properties", "GetAll", &(NODE_INTERFACE,));
    let body = reply.await.unwrap().body();
    let all: HashMap<String, OwnedVariant> = body.deserialize().unwrap();
    let mut types: Vec<_> =
        all.iter().map(|(name, value)| format!("{name} {}", value.value_signature())).collect();
    types.sort();
    let expected = [
        "Active b",
        "AppliedIndex t",
        "ClusterId s",
        "ClusterName s",
        "CommitIndex t",
        "Eligible b",
        "FenceArmed s",
        "HeldDownUntil t",
        "IneligibleReasons as",
        "LastFence (tss)",
        "Leader s",
        "LeaderAddress s",
        "Maintenance b",
        "Members a(tsssb)",
        "Name s",
        "Paused b",
        "Role s",
        "Term t",
        "Token t",
        "Version s",
    ];
    assert_eq!(types, expected);
    let text = |name: &str| String::try_from(all[name].try_clone().unwrap()).unwrap();
    assert_eq!([text("Leader"), text("LeaderAddress"), text("ClusterId")], ["", "", ""]);
    assert_eq!(text("FenceArmed"), "none");
    let never: (u64, String, String) = all["LastFence"].try_clone().unwrap().try_into().unwrap();
    assert_eq!(never, (0, String::new(), String::new()));
    assert_eq!(u64::try_from(all["Token"].try_clone().unwrap()).unwrap(), 0);
}

#[tokio::test]
async fn a_transfer_returns_the_new_leader() {
    let mut node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let client = connect(&socket).await;
    let answer = async |node: &mut FakeNode| match node.request().await {
        Request::Transfer { to, reply } => {
            reply.send(Ok(name("n2"))).unwrap();
            to
        }
        other => panic!("{other:?}"),
    };
    let (leader, asked) = tokio::join!(client.transfer(Some("n2")), answer(&mut node));
    assert_eq!((leader.unwrap().as_str(), asked), ("n2", Some(name("n2"))));
    let (leader, asked) = tokio::join!(client.transfer(None), answer(&mut node));
    assert_eq!((leader.unwrap().as_str(), asked), ("n2", None));
}

#[tokio::test]
async fn each_failure_of_a_transfer_has_its_name() {
    let n2 = || "n2".to_owned();
    let cases = [
        (TransferError::NotLeader { leader: Some(n2()) }, "NotLeader", "n2"),
        (
            TransferError::UnknownMember { name: n2(), members: "n1, n3".to_owned() },
            "UnknownMember",
            "n1, n3",
        ),
        (TransferError::NotEligible { name: n2(), reason: "witness" }, "NotEligible", "witness"),
        (TransferError::InProgress { to: n2() }, "TransferInProgress", "n2"),
        (TransferError::TimedOut { name: n2(), waited_ms: 400 }, "TransferTimedOut", "400 ms"),
        (TransferError::Stopping, "Stopping", "stopping"),
    ];
    let mut node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let client = connect(&socket).await;
    for (error, expected, detail) in cases {
        let refuse = async {
            let Request::Transfer { reply, .. } = node.request().await else { panic!() };
            reply.send(Err(error)).unwrap();
        };
        let (result, ()) = tokio::join!(client.transfer(Some("n2")), refuse);
        let Err(ClientError::Refused { name, message }) = result else { panic!("{result:?}") };
        assert_eq!(name, expected);
        assert!(message.contains(detail), "{message}");
    }
    // The full name, as other clients see it, and the argument it is about.
    let connection = raw(&socket).await;
    let error = call(&connection, NODE_INTERFACE, "TransferLeadership", &("N 2",)).await;
    let Err(zbus::Error::MethodError(name, Some(text), _)) = error else { panic!("{error:?}") };
    assert_eq!(name.as_str(), "org.raftctl.Agent1.Error.InvalidArgument");
    assert!(text.contains("\"node\"") && text.contains("\"N 2\""), "{text}");
    assert!(text.contains("lower-case letter"), "{text}");
}

#[tokio::test]
async fn a_takeover_needs_force_and_tells_the_token() {
    let mut node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let client = connect(&socket).await;
    let result = client.takeover(false).await;
    let Err(ClientError::Refused { name, message }) = result else { panic!("{result:?}") };
    assert_eq!(name, "ForceRequired");
    assert!(message.contains("two hosts are active"), "{message}");
    assert!(node.requests.try_recv().is_err(), "nobody was asked");

    let answer = async |node: &mut FakeNode, with| {
        let Request::Takeover { reply } = node.request().await else { panic!() };
        reply.send(with).unwrap();
    };
    let (token, ()) = tokio::join!(client.takeover(true), answer(&mut node, Ok(Token(42))));
    assert_eq!(token.unwrap(), 42);
    let leader = Some("n2".to_owned());
    let cases = [
        (TakeoverError::NotLeader { leader }, "NotLeader", "n2"),
        (TakeoverError::NothingActive, "NothingActive", "in force"),
        (TakeoverError::Refused { reason: "busy".to_owned() }, "Busy", "busy"),
        (TakeoverError::Stopping, "Stopping", "stopping"),
    ];
    for (error, expected, detail) in cases {
        let (result, ()) = tokio::join!(client.takeover(true), answer(&mut node, Err(error)));
        let Err(ClientError::Refused { name, message }) = result else { panic!("{result:?}") };
        assert_eq!(name, expected);
        assert!(message.contains(detail), "{message}");
    }
}

#[tokio::test]
async fn what_is_known_of_the_host_is_told_and_announced() {
    let node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let connection = raw(&socket).await;
    let mut stream = MessageStream::from(&connection);
    call(&connection, NODE_INTERFACE, "Describe", &()).await.unwrap();
    next(&mut stream).await;

    let fence = LastFence { when_usec: 7, what: "kill".to_owned(), why: "slow".to_owned() };
    let host = HostStatus {
        fence_armed: OnDemoteTimeout::Reboot,
        last_fence: Some(fence),
        warnings: vec!["no hardware watches PID 1".to_owned()],
        ..HostStatus::default()
    };
    node.on_host(|known| *known = host.clone());
    let changed = properties_changed(&next(&mut stream).await);
    let names: Vec<_> = changed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["FenceArmed", "LastFence"]);
    assert!(changed[0].1.contains("reboot") && changed[1].1.contains("slow"), "{changed:?}");
    let signal = next(&mut stream).await;
    assert_eq!(signal.header().member().unwrap().as_str(), "Fenced");

    // Neither a warning nor a phase is a property.
    node.on_host(|known| known.warnings.clear());
    node.update(|status| status.phase = Phase::Waiting, None);
    let told = connect(&socket).await.describe().await.unwrap();
    assert_eq!((told.fence_armed.as_str(), told.authority.as_str()), ("reboot", "waiting"));
    let fence = told.last_fence.unwrap();
    let text = (fence.what.as_str(), fence.why.as_str());
    assert_eq!((fence.when_usec, text), (7, ("kill", "slow")));
    assert!(told.warnings.is_empty());
    call(&connection, NODE_INTERFACE, "Describe", &()).await.unwrap();
    assert_eq!(next(&mut stream).await.message_type(), Type::MethodReturn);
}

#[tokio::test]
async fn a_stopped_node_answers_that_it_is_stopping() {
    let mut node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let client = connect(&socket).await;
    node.requests.close();
    let Err(ClientError::Refused { name, .. }) = client.transfer(None).await else { panic!() };
    assert_eq!(name, "Stopping");
    let Err(ClientError::Refused { name, .. }) = client.describe_peer("n2").await else { panic!() };
    assert_eq!(name, "Stopping");
}

#[tokio::test]
async fn a_peer_is_described_by_itself() {
    let mut node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let client = connect(&socket).await;
    let n2 = describe(&follower_of_three(2));
    let answer = async |node: &mut FakeNode, with: Result<String, RemoteStatusError>| {
        let Request::RemoteStatus { reply, .. } = node.request().await else { panic!() };
        reply.send(with).unwrap();
    };
    let (told, ()) = tokio::join!(client.describe_peer("n2"), answer(&mut node, Ok(n2.to_json())));
    assert_eq!(told.unwrap(), n2);
    // Itself is described without asking anyone.
    assert_eq!(client.describe_peer("n1").await.unwrap().name, "n1");

    let unknown = RemoteStatusError::UnknownMember { name: "n9".to_owned() };
    let silent = RemoteStatusError::Unreachable { name: "n3".to_owned(), deadline_ms: 500 };
    let cases = [
        (Err(unknown), "UnknownMember"),
        (Err(silent), "Unreachable"),
        (Ok("not json".to_owned()), "Unreachable"),
    ];
    for (with, expected) in cases {
        let (told, ()) = tokio::join!(client.describe_peer("n3"), answer(&mut node, with));
        let Err(ClientError::Refused { name, .. }) = told else { panic!("{told:?}") };
        assert_eq!(name, expected);
    }
    let Err(ClientError::Refused { name, message }) = client.describe_peer("").await else {
        panic!()
    };
    assert_eq!(name, "InvalidArgument");
    assert!(message.contains("\"node\""), "{message}");
}

#[tokio::test]
async fn a_cluster_is_described_at_once_and_without_its_silent_members() {
    let mut node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let client = connect(&socket).await;
    let n2 = describe(&follower_of_three(2));
    // Both peers are asked before either has answered; n3 never does.
    let answer = async {
        let (mut n2_reply, mut n3_reply) = (None, None);
        while n2_reply.is_none() || n3_reply.is_none() {
            let Request::RemoteStatus { of, reply } = node.request().await else { panic!() };
            if of == name("n2") { n2_reply = Some(reply) } else { n3_reply = Some(reply) }
        }
        n2_reply.unwrap().send(Ok(n2.to_json())).unwrap();
        n3_reply
    };
    let (views, _n3_reply) = tokio::join!(client.describe_cluster(), answer);
    let views = views.unwrap();
    assert_eq!(views.iter().map(|view| view.name.as_str()).collect::<Vec<_>>(), ["n1", "n2", "n3"]);
    assert_eq!(views[0].status.as_ref().unwrap().name, "n1");
    assert_eq!(views[1].status, Some(n2));
    assert_eq!(views[2].status, None);
    let error = views[2].error.as_deref().unwrap();
    assert!(error.contains("n3") && error.contains("500 ms"), "{error}");
}

#[tokio::test]
async fn what_an_operator_asks_of_the_host_is_handed_on() {
    let mut node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let connection = raw(&socket).await;
    let disk = HostRequestError::Disk { reason: "no space left".to_owned() };
    let answers = [
        (Ok(()), None),
        (Err(disk), Some("NotWritten")),
        (Err(HostRequestError::Stopping), Some("Stopping")),
    ];
    for (answer, expected) in answers {
        let asked = call(&connection, NODE_INTERFACE, "SetMaintenance", &(true,));
        let answering = async {
            let HostRequest::Maintenance { on: true, reply } = node.host_request().await else {
                panic!()
            };
            reply.send(answer.clone()).unwrap();
        };
        let (result, ()) = tokio::join!(asked, answering);
        assert_eq!(error_of(result).as_deref(), expected);

        let asked = call(&connection, NODE_INTERFACE, "ClearFailures", &());
        let answering = async {
            let HostRequest::ClearFailures { reply } = node.host_request().await else { panic!() };
            reply.send(answer.clone()).unwrap();
        };
        let (result, ()) = tokio::join!(asked, answering);
        assert_eq!(error_of(result).as_deref(), expected);
    }
}

#[tokio::test]
async fn a_pause_and_its_end_are_handed_on() {
    let mut node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let connection = raw(&socket).await;
    let asked = call(&connection, NODE_INTERFACE, "Pause", &());
    let (result, ()) = tokio::join!(asked, answer_pause(&mut node, (true, false), Ok(())));
    assert_eq!(error_of(result), None);
    let n2 = || "n2".to_owned();
    let cases = [
        (Ok(()), None),
        (Err(PauseError::NotLeader { leader: Some(n2()) }), Some("NotLeader")),
        (Err(PauseError::ActiveElsewhere { node: n2() }), Some("ActiveElsewhere")),
        (Err(PauseError::Refused { reason: "busy".to_owned() }), Some("Busy")),
        (Err(PauseError::Stopping), Some("Stopping")),
    ];
    for (answer, expected) in cases {
        for force in [false, true] {
            let body = (force,);
            let asked = call(&connection, NODE_INTERFACE, "Resume", &body);
            let answering = answer_pause(&mut node, (false, force), answer.clone());
            let (result, ()) = tokio::join!(asked, answering);
            assert_eq!(error_of(result).as_deref(), expected);
        }
    }
}

async fn answer_pause(node: &mut FakeNode, expected: (bool, bool), answer: Result<(), PauseError>) {
    let Request::Pause { on, force, reply } = node.request().await else { panic!() };
    assert_eq!((on, force), expected);
    reply.send(answer).unwrap();
}

/// The last part of the name of the error, if it is one.
fn error_of(result: zbus::Result<Message>) -> Option<String> {
    match result {
        Ok(_) => None,
        Err(zbus::Error::MethodError(name, ..)) => {
            let name = name.strip_prefix("org.raftctl.Agent1.Error.");
            Some(name.expect("an error of ours").to_owned())
        }
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn the_standing_of_the_host_is_told_once_and_then_its_signals() {
    let node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let connection = raw(&socket).await;
    let mut stream = MessageStream::from(&connection);
    call(&connection, NODE_INTERFACE, "Describe", &()).await.unwrap();
    next(&mut stream).await;

    let unit = |name: &str, state: &str| UnitStatus {
        name: name.to_owned(),
        on_leader: true,
        state: state.to_owned(),
        failures: 1,
    };
    node.on_host(|host| {
        host.maintenance = true;
        host.ineligible = vec!["maintenance".to_owned()];
        host.held_down_until_usec = Some(9);
        host.units = vec![unit("a.service", "active"), unit("b.service", "failed")];
        let (what, why) = ("kill".to_owned(), "slow".to_owned());
        host.last_fence = Some(LastFence { when_usec: 7, what, why });
    });
    let changed = properties_changed(&next(&mut stream).await);
    let names: Vec<_> = changed.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["Eligible", "HeldDownUntil", "IneligibleReasons", "LastFence", "Maintenance"];
    assert_eq!(names, expected);
    let signal = next(&mut stream).await;
    assert_eq!(signal.header().member().unwrap().as_str(), "Fenced");
    let (when, what, why): (u64, String, String) = signal.body().deserialize().unwrap();
    assert_eq!((when, what.as_str(), why.as_str()), (7, "kill", "slow"));
    let mut unit_told = async || {
        let signal = next(&mut stream).await;
        assert_eq!(signal.header().member().unwrap().as_str(), "MemberUnitChanged");
        signal.body().deserialize::<(String, String)>().unwrap()
    };
    let told = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    assert_eq!(unit_told().await, told("a.service", "active"));
    assert_eq!(unit_told().await, told("b.service", "failed"));
    node.on_host(|host| {
        host.units = vec![unit("b.service", "active")];
    });
    assert_eq!(unit_told().await, told("b.service", "active"));
    assert_eq!(unit_told().await, told("a.service", ""));
    let units = connect(&socket).await.describe().await.unwrap().units;
    let units: Vec<_> =
        units.iter().map(|u| (u.name.as_str(), u.on.as_str(), u.failures)).collect();
    assert_eq!(units, [("b.service", "leader", 1)]);

    let paused = Change::Paused { paused: true, term: 7 };
    node.update(|status| status.paused = true, Some(paused));
    let changed = properties_changed(&next(&mut stream).await);
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!(changed[0].0, "Paused");
    let signal = next(&mut stream).await;
    assert_eq!(signal.header().member().unwrap().as_str(), "PausedChanged");
    assert_eq!(signal.body().deserialize::<(bool, u64)>().unwrap(), (true, 7));
    node.update(|_| (), Some(Change::Quorum { has: false, term: 7 }));
    let signal = next(&mut stream).await;
    assert_eq!(signal.header().member().unwrap().as_str(), "QuorumChanged");
    assert_eq!(signal.body().deserialize::<(bool, u64)>().unwrap(), (false, 7));
}

/// `PropertiesChanged` of our interface, as (name, text of value) in order of names.
fn properties_changed(message: &Message) -> Vec<(String, String)> {
    assert_eq!(message.header().member().unwrap().as_str(), "PropertiesChanged");
    let body = message.body();
    let (interface, changed, gone): (String, HashMap<String, OwnedVariant>, Vec<String>) =
        body.deserialize().unwrap();
    assert_eq!((interface.as_str(), gone), (NODE_INTERFACE, vec![]));
    let mut changed: Vec<_> =
        changed.into_iter().map(|(name, value)| (name, value.to_string())).collect();
    changed.sort();
    changed
}

#[tokio::test]
async fn properties_change_before_the_signal_that_names_the_change() {
    let node = FakeNode::new(follower_of_three(2));
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let connection = raw(&socket).await;
    let mut stream = MessageStream::from(&connection);
    // The answer says that the connection is announced to.
    call(&connection, NODE_INTERFACE, "Describe", &()).await.unwrap();
    next(&mut stream).await;

    // What changes all the time is not announced, and neither is nothing.
    node.update(|status| status.commit_index += 1, None);
    node.update(|status| status.applied_index += 1, None);
    let role = Change::Role {
        old: Role::Follower,
        new: Role::Leader,
        active: false,
        term: 8,
        token: Some(Token(42)),
        reason: "election won",
    };
    let leader = Change::Leader { old: Some(NodeId(1)), new: Some(NodeId(2)), term: 8 };
    let elected = |status: &mut raftctl::node::status::NodeStatus| {
        (status.role, status.term, status.leader) = (Role::Leader, 8, Some(NodeId(2)));
    };
    node.update(elected, Some(role));
    node.update(|_| (), Some(leader));
    node.update(|status| status.members[2].connected = true, None);

    let changed = properties_changed(&next_of_root(&mut stream).await);
    let names: Vec<_> = changed.iter().map(|(name, _)| name.as_str()).collect();
    // The last update may or may not have been seen in the same turn.
    assert!(names.starts_with(&["Leader", "LeaderAddress"]), "{changed:?}");
    assert!(names.ends_with(&["Role", "Term"]), "{changed:?}");
    let signal = next_of_root(&mut stream).await;
    assert_eq!(signal.header().member().unwrap().as_str(), "RoleChanged");
    let body = signal.body();
    let (old, new, term, token, reason): (String, String, u64, u64, String) =
        body.deserialize().unwrap();
    assert_eq!((old.as_str(), new.as_str(), term, token), ("follower", "leader", 8, 42));
    assert_eq!(reason, "election won");
    let signal = next_of_root(&mut stream).await;
    assert_eq!(signal.header().member().unwrap().as_str(), "LeaderChanged");
    let (old, new, term): (String, String, u64) = signal.body().deserialize().unwrap();
    assert_eq!((old.as_str(), new.as_str(), term), ("n1", "n2", 8));
    if !names.contains(&"Members") {
        let changed = properties_changed(&next_of_root(&mut stream).await);
        assert_eq!(changed.len(), 1, "{changed:?}");
        assert_eq!(changed[0].0, "Members");
    }

    // Exactly once: the next message is the answer to the next call.
    call(&connection, NODE_INTERFACE, "Describe", &()).await.unwrap();
    assert_eq!(next(&mut stream).await.message_type(), Type::MethodReturn);
}

#[tokio::test]
async fn a_follower_of_changes_gets_the_state_and_then_every_change() {
    let node = FakeNode::new(follower_of_three(2));
    let dir = tempfile::tempdir().unwrap();
    let (socket, serving) = node.serve(dir.path());
    let client = connect(&socket).await;
    let (state, mut signals) = client.follow().await.unwrap();
    assert_eq!((state.name.as_str(), state.leader.as_deref()), ("n2", Some("n1")));
    let lost = Change::Leader { old: Some(NodeId(1)), new: None, term: 7 };
    node.update(|status| status.leader = None, Some(lost));
    let signal = tokio::time::timeout(DEADLINE, signals.next()).await.unwrap();
    let expected = Signal::Leader { old: "n1".to_owned(), new: String::new(), term: 7 };
    assert_eq!(signal, Some(expected));

    // The end of the agent ends the stream.
    serving.abort();
    assert_eq!(tokio::time::timeout(DEADLINE, signals.next()).await.unwrap(), None);
    assert!(matches!(client.describe().await, Err(ClientError::Closed)));
}

/// A file, and the interfaces of ours in it.
type File = (&'static str, &'static [&'static str]);

/// The objects, with the files that have their interfaces.
const OBJECTS: [(&str, &[File]); 3] = [
    (
        "/org/raftctl/Agent1",
        &[
            (
                "org.raftctl.Agent1.Node.xml",
                &["org.freedesktop.DBus.ObjectManager", NODE_INTERFACE],
            ),
            ("org.raftctl.Agent1.KeyValue.xml", &[KEY_VALUE_INTERFACE]),
        ],
    ),
    (
        "/org/raftctl/Agent1/member/n1",
        &[("org.raftctl.Agent1.Member.xml", &["org.raftctl.Agent1.Member"])],
    ),
    (
        "/org/freedesktop/LogControl1",
        &[("org.freedesktop.LogControl1.xml", &["org.freedesktop.LogControl1"])],
    ),
];

#[tokio::test]
async fn the_interfaces_are_the_committed_ones() {
    let node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let connection = raw(&socket).await;
    for (path, files) in OBJECTS {
        let introspectable = Some("org.freedesktop.DBus.Introspectable");
        let call = connection.call_method(None::<&str>, path, introspectable, "Introspect", &());
        let body = tokio::time::timeout(DEADLINE, call).await.unwrap().unwrap().body();
        let xml: &str = body.deserialize().unwrap();
        // What is below the object has its own file.
        let own = xml.split("\n  <node ").next().unwrap();
        for standard in ["Properties", "Introspectable", "Peer"] {
            let name = format!("\"org.freedesktop.DBus.{standard}\"");
            assert!(own.contains(&name), "{path}: {standard}");
        }
        let count = own.matches("<interface ").count();
        let ours: usize = files.iter().map(|(_, interfaces)| interfaces.len()).sum();
        assert_eq!(count, ours + 3, "{path} has another interface: {own}");
        for (file, interfaces) in files {
            let committed = interfaces.iter().map(|name| interface(own, name)).collect::<String>();
            check_golden(file, path, &committed);
        }
    }
    // Peer works too.
    call(&connection, "org.freedesktop.DBus.Peer", "Ping", &()).await.unwrap();
}

/// The text of one interface.
fn interface(xml: &str, name: &str) -> String {
    let start = xml.find(&format!("  <interface name=\"{name}\"")).unwrap();
    let end = start + xml[start..].find("</interface>").unwrap();
    let lines = xml[start..end].lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| format!("{line}\n")).collect::<String>() + "  </interface>\n"
}

fn check_golden(file: &str, object: &str, interfaces: &str) {
    let ours = format!(
        "<!-- Written by `UPDATE_GOLDEN=1 cargo test --test dbus_private`. This is a\n     \
         promise to other programs: commit a change only if you understand it and want it. -->\n\
         <node name=\"{object}\">\n{interfaces}</node>\n"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dbus").join(file);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &ours).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(committed, ours, "{file} is stale; see its first line");
}

type Properties = HashMap<String, OwnedVariant>;
type Objects = HashMap<OwnedObjectPath, HashMap<String, Properties>>;

async fn managed(connection: &Connection) -> Objects {
    const MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
    let reply = call(connection, MANAGER, "GetManagedObjects", &()).await.unwrap();
    reply.body().deserialize().unwrap()
}

fn shown(properties: &Properties) -> Vec<String> {
    let shown = properties.iter().map(|(name, value)| name.clone() + "=" + &value.to_string());
    let mut shown: Vec<_> = shown.collect();
    shown.sort();
    shown
}

#[tokio::test]
async fn each_member_is_an_object() {
    let mut status = leader_of_three();
    status.members[1].name = name("n-2");
    (status.members[1].eligible, status.members[1].priority) = (Some(false), Some(7));
    (status.members[2].eligible, status.members[2].priority) = (None, None);
    status.members[2].matched = None;
    let node = FakeNode::new(status);
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let connection = raw(&socket).await;
    let objects = managed(&connection).await;
    let mut paths: Vec<_> = objects.keys().map(|path| path.as_str()).collect();
    paths.sort_unstable();
    let expected = ["n1", "n3", "n_2d2"].map(|name| format!("{ROOT_PATH}/member/{name}"));
    assert_eq!(paths, expected);
    for (path, interfaces) in &objects {
        assert_eq!(interfaces.keys().collect::<Vec<_>>(), ["org.raftctl.Agent1.Member"]);
        // What the manager says is what the object says.
        let reply = connection.call_method(
            None::<&str>,
            path,
            Some("org.freedesktop.DBus.Properties"),
            "GetAll",
            &("org.raftctl.Agent1.Member",),
        );
        let all: Properties = reply.await.unwrap().body().deserialize().unwrap();
        assert_eq!(shown(&interfaces["org.raftctl.Agent1.Member"]), shown(&all));
    }
    let second = &objects[&OwnedObjectPath::try_from(expected[2].as_str()).unwrap()];
    let expected = [
        "Address=\"192.0.2.2:7100\"",
        "Connected=true",
        "Eligible=\"no\"",
        "Id=uint64 2",
        "Kind=\"voter\"",
        "Leader=false",
        "Matched=uint64 42",
        "Name=\"n-2\"",
        "Priority=7",
    ];
    assert_eq!(shown(&second["org.raftctl.Agent1.Member"]), expected);
    let third = &objects[&member::path(&name("n3"))]["org.raftctl.Agent1.Member"];
    let third = shown(third);
    for unknown in ["Eligible=\"unknown\"", "Matched=uint64 0", "Priority=-1"] {
        assert!(third.iter().any(|shown| shown == unknown), "{third:?}");
    }
}

#[tokio::test]
async fn members_come_change_and_go_as_objects() {
    let node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let connection = raw(&socket).await;
    let mut stream = MessageStream::from(&connection);
    call(&connection, NODE_INTERFACE, "Describe", &()).await.unwrap();
    next(&mut stream).await;
    let heard = async |stream: &mut MessageStream| {
        let message = next(stream).await;
        let header = message.header();
        let (path, member) = (header.path().unwrap().to_string(), header.member().unwrap());
        (path, member.to_string(), message.clone())
    };

    // One that changes: its own object says so, and before the root object.
    node.update(|status| status.members[2].connected = true, None);
    let (path, signal, message) = heard(&mut stream).await;
    assert_eq!((path.as_str(), signal.as_str()), (&*member("n3"), "PropertiesChanged"));
    let (interface, changed, _): (String, Properties, Vec<String>) =
        message.body().deserialize().unwrap();
    assert_eq!(interface, "org.raftctl.Agent1.Member");
    assert_eq!(shown(&changed), ["Connected=true"]);
    assert_eq!(heard(&mut stream).await.0, ROOT_PATH);

    // What only its object tells, and what nobody tells.
    node.update(|status| status.members[2].matched = Some(99), None);
    node.update(|status| status.members[1].eligible = None, None);
    let (path, _, message) = heard(&mut stream).await;
    assert_eq!(path, member("n2"));
    let (_, changed, _): (String, Properties, Vec<String>) = message.body().deserialize().unwrap();
    assert_eq!(shown(&changed), ["Eligible=\"unknown\""]);

    // One that goes, and one that comes in its place.
    let renamed = |status: &mut raftctl::node::status::NodeStatus| {
        status.members[2].name = name("n4");
    };
    node.update(renamed, None);
    let (path, signal, message) = heard(&mut stream).await;
    assert_eq!((path.as_str(), signal.as_str()), (ROOT_PATH, "InterfacesRemoved"));
    let (gone, interfaces): (OwnedObjectPath, Vec<String>) = message.body().deserialize().unwrap();
    assert_eq!((gone.as_str(), interfaces.len()), (&*member("n3"), 1));
    let (path, signal, message) = heard(&mut stream).await;
    assert_eq!((path.as_str(), signal.as_str()), (ROOT_PATH, "InterfacesAdded"));
    let (new, interfaces): (OwnedObjectPath, HashMap<String, Properties>) =
        message.body().deserialize().unwrap();
    assert_eq!(new.as_str(), member("n4"));
    let told = shown(&interfaces["org.raftctl.Agent1.Member"]);
    assert!(told.iter().any(|shown| shown == "Name=\"n4\""), "{told:?}");
    assert_eq!(heard(&mut stream).await.1, "PropertiesChanged");
    let objects = managed(&connection).await;
    assert!(objects.keys().any(|path| path.as_str() == member("n4")));
    let gone = member("n3");
    let read = connection.call_method(
        None::<&str>,
        gone.as_str(),
        Some("org.freedesktop.DBus.Properties"),
        "GetAll",
        &("org.raftctl.Agent1.Member",),
    );
    assert!(read.await.is_err(), "the object is gone");
}

fn member(of: &str) -> String {
    member::path(&name(of)).to_string()
}

#[tokio::test]
async fn the_level_of_the_log_is_read_and_set_in_the_words_of_syslog() {
    let node = FakeNode::new(leader_of_three());
    let dir = tempfile::tempdir().unwrap();
    let (socket, _serving) = node.serve(dir.path());
    let connection = raw(&socket).await;
    const LOG: &str = "org.freedesktop.LogControl1";
    let properties = Some("org.freedesktop.DBus.Properties");
    let get = async |what: &str| {
        let body = (LOG, what);
        let call = connection.call_method(None::<&str>, LOG_PATH, properties, "Get", &body);
        let value: OwnedVariant = call.await.unwrap().body().deserialize().unwrap();
        String::try_from(value).unwrap()
    };
    let set = async |what: &str, value: &str| {
        let body = (LOG, what, zbus::Variant::from(value));
        let call = connection.call_method(None::<&str>, LOG_PATH, properties, "Set", &body);
        match tokio::time::timeout(DEADLINE, call).await.unwrap() {
            Ok(_) => Ok(()),
            Err(zbus::Error::MethodError(name, text, _)) => Err(format!("{name}: {text:?}")),
            Err(zbus::Error::FDO(error)) => {
                Err(format!("{}: {error}", zbus::DBusError::name(&*error)))
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(get("SyslogIdentifier").await, "raftctld");
    assert_eq!(get("LogLevel").await, "info");
    for (word, level) in
        [("debug", LogLevel::Debug), ("err", LogLevel::Error), ("warning", LogLevel::Warn)]
    {
        set("LogLevel", word).await.unwrap();
        assert_eq!(node.log.level(), level);
        assert_eq!(get("LogLevel").await, word);
    }
    set("LogLevel", "notice").await.unwrap();
    assert_eq!(get("LogLevel").await, "info");
    let wrong = set("LogLevel", &"loud".repeat(100)).await.unwrap_err();
    assert!(wrong.starts_with("org.freedesktop.DBus.Error.InvalidArgs"), "{wrong}");
    assert!(wrong.len() < 300, "{wrong}");

    // The target stays what the configuration says.
    assert_eq!(get("LogTarget").await, "console");
    set("LogTarget", "console").await.unwrap();
    set("LogTarget", "auto").await.unwrap();
    let wrong = set("LogTarget", "kmsg").await.unwrap_err();
    assert!(wrong.starts_with("org.freedesktop.DBus.Error.InvalidArgs"), "{wrong}");
    set("SyslogIdentifier", "evil").await.unwrap_err();
}
