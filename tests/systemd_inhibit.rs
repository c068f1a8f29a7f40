//! The inhibitors against a fake logind on a private bus: shutdown, suspend, resume, no logind.

mod systemd_support;

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use raftctl::systemd::inhibit::{self, HostNotice, Inhibitors};
use systemd_support::{DEADLINE, PrivateBus, connect, next, within};
use tokio::sync::mpsc;
use zbus::message::Type;
use zbus::{Connection, MessageStream, Variant};

const NAME: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";

/// An inhibitor that was taken: what, and our end of it.
type Taken = (String, UnixStream);

struct Logind {
    connection: Connection,
    taken: mpsc::Receiver<Taken>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Logind {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Logind {
    async fn start(bus: &PrivateBus) -> Logind {
        Logind::denying(bus, "").await
    }

    /// A logind that refuses the inhibitor `denied`.
    async fn denying(bus: &PrivateBus, denied: &'static str) -> Logind {
        let connection = connect(bus).await;
        let stream = MessageStream::from(&connection);
        let (tell, taken) = mpsc::channel(16);
        let task = tokio::spawn(serve(connection.clone(), stream, tell, denied));
        connection.request_name(NAME).await.unwrap();
        Logind { connection, taken, task }
    }

    async fn taken(&mut self) -> Taken {
        within("inhibitor", self.taken.recv()).await.unwrap()
    }

    /// Both inhibitors, shutdown first.
    async fn both(&mut self) -> (UnixStream, UnixStream) {
        let ((first, shutdown), (second, sleep)) = (self.taken().await, self.taken().await);
        assert_eq!((first.as_str(), second.as_str()), ("shutdown", "sleep"));
        (shutdown, sleep)
    }

    async fn say(&self, signal: &str, begins: bool) {
        let nobody = None::<&str>;
        self.connection.emit_signal(nobody, PATH, MANAGER, signal, &(begins,)).await.unwrap();
    }
}

async fn serve(
    connection: Connection,
    mut stream: MessageStream,
    taken: mpsc::Sender<Taken>,
    denied: &'static str,
) {
    while let Some(message) = next(&mut stream).await {
        if message.message_type() != Type::MethodCall {
            continue;
        }
        let header = message.header();
        match header.member().unwrap().as_str() {
            "Inhibit" => {
                let (what, who, why, mode): (String, String, String, String) =
                    message.body().deserialize().unwrap();
                assert_eq!((who.as_str(), mode.as_str()), ("raftctl n1", "delay"));
                assert!(!why.is_empty());
                if what == denied {
                    let error = "org.freedesktop.DBus.Error.AccessDenied";
                    connection.reply_error(&header, error, &("no",)).await.unwrap();
                    continue;
                }
                let (ours, theirs) = UnixStream::pair().unwrap();
                let fd = zbus::OwnedFd::from(OwnedFd::from(theirs));
                connection.reply(&header, &(fd,)).await.unwrap();
                taken.send((what, ours)).await.unwrap();
            }
            "Get" => connection.reply(&header, &(Variant::from(5_000_000u64),)).await.unwrap(),
            other => panic!("the fake logind does not know {other}"),
        }
    }
}

/// Whether the other end of an inhibitor is still held.
fn held(end: &UnixStream) -> bool {
    end.set_nonblocking(true).unwrap();
    match (&*end).read(&mut [0]) {
        Ok(0) => false,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => true,
        other => panic!("{other:?}"),
    }
}

/// Waits until the other end is let go.
async fn released(mut end: UnixStream) {
    end.set_nonblocking(false).unwrap();
    end.set_read_timeout(Some(DEADLINE)).unwrap();
    let read = tokio::task::spawn_blocking(move || end.read(&mut [0]));
    assert_eq!(read.await.unwrap().unwrap(), 0);
}

fn start(bus: &PrivateBus) -> (Inhibitors, mpsc::Receiver<HostNotice>) {
    inhibit::start("n1".parse().unwrap(), bus.bus(), Duration::from_millis(1500))
}

async fn notice(notices: &mut mpsc::Receiver<HostNotice>) -> HostNotice {
    within("notice", notices.recv()).await.unwrap()
}

#[tokio::test]
async fn shutdown_waits_until_it_is_released() {
    let Some(bus) = PrivateBus::start() else { return };
    let mut logind = Logind::start(&bus).await;
    let (inhibitors, mut notices) = start(&bus);
    let (shutdown, sleep) = logind.both().await;
    inhibitors.release();
    assert!(held(&shutdown) && held(&sleep), "nothing was announced yet");
    logind.say("PrepareForShutdown", true).await;
    assert_eq!(notice(&mut notices).await, HostNotice::Shutdown);
    assert!(held(&shutdown));
    inhibitors.release();
    assert!(!held(&shutdown));
    assert!(held(&sleep), "the other one stays");
    // It does not shut down after all.
    logind.say("PrepareForShutdown", false).await;
    let (what, shutdown) = logind.taken().await;
    assert_eq!((what.as_str(), held(&shutdown)), ("shutdown", true));
    assert_eq!(notice(&mut notices).await, HostNotice::Resumed);
    drop(inhibitors);
    assert!(!held(&sleep) && !held(&shutdown), "dropped, let go");
}

#[tokio::test]
async fn sleep_waits_and_its_inhibitor_is_taken_again_after_it() {
    let Some(bus) = PrivateBus::start() else { return };
    let mut logind = Logind::start(&bus).await;
    let (inhibitors, mut notices) = start(&bus);
    let (shutdown, mut sleep) = logind.both().await;
    for round in 0..3 {
        assert!(held(&sleep), "round {round}");
        logind.say("PrepareForSleep", true).await;
        assert_eq!(notice(&mut notices).await, HostNotice::Sleep);
        inhibitors.release();
        assert!(!held(&sleep) && held(&shutdown));
        logind.say("PrepareForSleep", false).await;
        let (what, again) = logind.taken().await;
        assert_eq!(what, "sleep");
        sleep = again;
        assert_eq!(notice(&mut notices).await, HostNotice::Resumed);
    }
}

#[tokio::test]
async fn a_logind_that_comes_later_or_anew_is_used() {
    let Some(mut bus) = PrivateBus::start() else { return };
    let (inhibitors, mut notices) = start(&bus);
    let mut logind = Logind::start(&bus).await;
    let (shutdown, sleep) = logind.both().await;
    // Heard means that everything before it was read.
    logind.say("PrepareForSleep", true).await;
    assert_eq!(notice(&mut notices).await, HostNotice::Sleep);
    logind.connection.clone().close().await.unwrap();
    let mut logind = Logind::start(&bus).await;
    let (shutdown_again, _sleep_again) = logind.both().await;
    logind.say("PrepareForSleep", true).await;
    assert_eq!(notice(&mut notices).await, HostNotice::Sleep);
    // What a logind that is gone would wait for is let go.
    released(shutdown).await;
    released(sleep).await;
    bus.restart();
    let mut logind = Logind::start(&bus).await;
    let (third, _sleep) = logind.both().await;
    released(shutdown_again).await;
    logind.say("PrepareForShutdown", true).await;
    assert_eq!(notice(&mut notices).await, HostNotice::Shutdown);
    inhibitors.release();
    assert!(!held(&third));
}

#[tokio::test]
async fn a_stranger_does_not_announce_a_shutdown() {
    let Some(bus) = PrivateBus::start() else { return };
    let mut logind = Logind::start(&bus).await;
    let (_inhibitors, mut notices) = start(&bus);
    let (_shutdown, _sleep) = logind.both().await;
    let stranger = connect(&bus).await;
    let (bus_name, interface) = ("org.freedesktop.DBus", "org.freedesktop.DBus");
    let path = "/org/freedesktop/DBus";
    let names = stranger.call_method(Some(bus_name), path, Some(interface), "ListNames", &());
    let names: Vec<String> = names.await.unwrap().body().deserialize().unwrap();
    for name in names.iter().filter(|name| name.starts_with(':')) {
        let to = Some(name.as_str());
        let forged = stranger.emit_signal(to, PATH, MANAGER, "PrepareForShutdown", &(true,));
        forged.await.unwrap();
    }
    // The bus has taken them all when it answers the stranger.
    let asked = stranger.call_method(Some(bus_name), path, Some(interface), "ListNames", &());
    asked.await.unwrap();
    logind.say("PrepareForSleep", true).await;
    assert_eq!(notice(&mut notices).await, HostNotice::Sleep, "and no Shutdown before");
}

#[tokio::test]
async fn one_inhibitor_works_without_the_other() {
    let Some(bus) = PrivateBus::start() else { return };
    let mut logind = Logind::denying(&bus, "shutdown").await;
    let (inhibitors, mut notices) = start(&bus);
    let (what, sleep) = logind.taken().await;
    assert_eq!(what, "sleep");
    logind.say("PrepareForShutdown", true).await;
    assert_eq!(notice(&mut notices).await, HostNotice::Shutdown, "heard, but not delayed");
    logind.say("PrepareForSleep", true).await;
    assert_eq!(notice(&mut notices).await, HostNotice::Sleep);
    inhibitors.release();
    assert!(!held(&sleep));
}
