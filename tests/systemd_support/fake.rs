//! A service manager on the private bus: it answers questions about units by itself, and hands
//! every wish to start or stop one to the test, which decides what becomes of it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use raftctl::systemd::names::unit_path;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use zbus::export::futures_core::Stream as _;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, ObjectPath, connection};

use super::unit::{Unit, job_path};
use super::{FOLLOWER, LEADER, PrivateBus, within};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// A wish to start or stop a unit.
pub struct Call {
    pub method: String,
    pub unit: String,
    pub mode: String,
    message: Message,
}

/// A queued job.
#[derive(Clone, Debug)]
pub struct Job {
    pub number: u32,
    pub unit: String,
    pub kind: &'static str,
}

#[derive(Default)]
struct State {
    units: BTreeMap<String, Unit>,
    jobs: u32,
    runs: u8,
    /// Of the manager itself; `None`: it does not know the property.
    runtime_watchdog: Option<u64>,
    /// How often the properties of the leader target were asked for.
    looks: watch::Sender<u64>,
    /// How often somebody subscribed.
    subscriptions: watch::Sender<u64>,
}

/// The fake. Dropping it ends its connection.
pub struct Fake {
    connection: Connection,
    state: Arc<Mutex<State>>,
    calls: mpsc::Receiver<Call>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    pub async fn start(bus: &PrivateBus) -> Fake {
        Fake::with(bus, Arc::default()).await
    }

    async fn with(bus: &PrivateBus, state: Arc<Mutex<State>>) -> Fake {
        let connection = connect(bus).await;
        let stream = MessageStream::from(&connection);
        let (to_test, calls) = mpsc::channel(64);
        let serving = serve(connection.clone(), stream, Arc::clone(&state), to_test);
        let task = tokio::spawn(serving);
        connection.request_name(NAME).await.unwrap();
        Fake { connection, state, calls, task }
    }

    /// What `daemon-reexec` looks like: another owner, with the same units. Unanswered calls get
    /// `NoReply` from the bus, and nothing is announced in between.
    pub async fn reexec(&mut self, bus: &PrivateBus) {
        let state = Arc::clone(&self.state);
        self.connection.clone().close().await.unwrap();
        *self = Fake::with(bus, state).await;
    }

    pub fn put(&self, name: &str, unit: Unit) {
        self.state.lock().unwrap().units.insert(name.to_owned(), unit);
    }

    /// `RuntimeWatchdogUSec`.
    pub fn watched_by_hardware(&self, usec: Option<u64>) {
        self.state.lock().unwrap().runtime_watchdog = usec;
    }

    /// What `daemon-reload` announces, before and after.
    pub async fn reloading(&self, is_begun: bool) {
        self.emit(PATH, MANAGER, "Reloading", &(is_begun,)).await;
    }

    pub fn edit(&self, name: &str, edit: impl FnOnce(&mut Unit)) {
        edit(self.state.lock().unwrap().units.get_mut(name).unwrap());
    }

    /// The next wish that is not about the follower target.
    pub async fn call(&mut self) -> Call {
        loop {
            let call = within("call", self.calls.recv()).await.unwrap();
            if call.unit != FOLLOWER {
                return call;
            }
            self.done(&call).await;
        }
    }

    /// The next wish, which has to be this one.
    pub async fn expect(&mut self, method: &str, unit: &str, mode: &str) -> Call {
        let call = self.call().await;
        let got = (call.method.as_str(), call.unit.as_str(), call.mode.as_str());
        assert_eq!(got, (method, unit, mode));
        call
    }

    /// Waits until the follower target is to be started, and says yes.
    pub async fn follower_started(&mut self) {
        let call = self.follower_call().await;
        assert_eq!((call.method.as_str(), call.mode.as_str()), ("StartUnit", "fail"));
        self.done(&call).await;
    }

    /// The next wish, which has to be about the follower target.
    pub async fn follower_call(&mut self) -> Call {
        let call = within("call", self.calls.recv()).await.unwrap();
        assert_eq!(call.unit, FOLLOWER, "{} {}", call.method, call.mode);
        call
    }

    /// Waits until the leader target was looked at, judged, and looked at again.
    pub async fn judged(&self) {
        let mut looks = self.state.lock().unwrap().looks.subscribe();
        let now = *looks.borrow_and_update();
        let _ = within("look", looks.wait_for(|&looks| looks >= now + 2)).await.unwrap();
    }

    /// Waits until the leader target was looked at for the first time.
    pub async fn looked(&self) {
        let mut looks = self.state.lock().unwrap().looks.subscribe();
        let _ = within("look", looks.wait_for(|&looks| looks > 0)).await.unwrap();
    }

    /// Waits until somebody has subscribed this often.
    pub async fn subscribed(&self, times: u64) {
        let mut subscriptions = self.state.lock().unwrap().subscriptions.subscribe();
        let _ = within("subscription", subscriptions.wait_for(|&n| n >= times)).await.unwrap();
    }

    /// The next wish, whatever it is about.
    pub async fn any_call(&mut self) -> Call {
        within("call", self.calls.recv()).await.unwrap()
    }

    /// No wish has come that the test has not taken.
    pub fn assert_quiet(&mut self) {
        while let Ok(call) = self.calls.try_recv() {
            assert_eq!(call.unit, FOLLOWER, "{} {}", call.method, call.mode);
        }
    }

    /// Queues the job and answers.
    pub async fn accept(&self, call: &Call) -> Job {
        let job = self.queue(call).await;
        self.answer(call, &job).await;
        job
    }

    /// Queues the job and says so to everybody, but does not answer yet.
    pub async fn queue(&self, call: &Call) -> Job {
        self.queue_job(&call.unit, if call.method == "StartUnit" { "start" } else { "stop" }).await
    }

    /// Queues a job that somebody else has asked for.
    pub async fn queue_job(&self, unit: &str, kind: &'static str) -> Job {
        let job = self.make_job(unit, kind);
        let body = (job.number, path(&job_path(job.number)), unit.to_owned());
        self.emit(PATH, MANAGER, "JobNew", &body).await;
        job
    }

    fn make_job(&self, unit: &str, kind: &'static str) -> Job {
        let mut state = self.state.lock().unwrap();
        state.jobs += 1;
        let number = state.jobs;
        if let Some(unit) = state.units.get_mut(unit) {
            unit.job = Some((number, kind));
        }
        Job { number, unit: unit.to_owned(), kind }
    }

    pub async fn answer(&self, call: &Call, job: &Job) {
        let header = call.message.header();
        self.connection.reply(&header, &(path(&job_path(job.number)),)).await.unwrap();
    }

    /// Answers a call that has no result.
    pub async fn acknowledge(&self, call: &Call) {
        self.connection.reply(&call.message.header(), &()).await.unwrap();
    }

    pub async fn refuse(&self, call: &Call, error: &'static str) {
        let header = call.message.header();
        self.connection.reply_error(&header, error, &("the fake says no",)).await.unwrap();
    }

    /// Accepts, and ends the job at once.
    async fn done(&self, call: &Call) {
        let job = self.accept(call).await;
        self.end(&job, "done", "inactive").await;
    }

    /// The job ends with `result` and leaves the unit in state `active`; all is announced.
    pub async fn end(&self, job: &Job, result: &str, active: &'static str) {
        self.end_silently(job, active);
        self.announce_removed(job, result).await;
    }

    /// The same, but nobody hears of it.
    pub fn end_silently(&self, job: &Job, active: &'static str) {
        let mut state = self.state.lock().unwrap();
        state.runs += 1;
        let run = state.runs;
        let Some(unit) = state.units.get_mut(&job.unit) else { return };
        unit.job = None;
        unit.active = active;
        if job.kind == "start" {
            let gate = unit.conditions.first().map(|condition| condition.3.clone());
            unit.condition = gate.is_none_or(|gate| std::path::Path::new(&gate).exists());
            unit.invocation = run;
        }
    }

    pub async fn announce_removed(&self, job: &Job, result: &str) {
        let body = (job.number, path(&job_path(job.number)), job.unit.clone(), result.to_owned());
        self.emit(PATH, MANAGER, "JobRemoved", &body).await;
    }

    /// Changes a unit and announces it.
    pub async fn change(&self, name: &str, edit: impl FnOnce(&mut Unit)) {
        self.edit(name, edit);
        let changed = self.state.lock().unwrap().units[name].properties();
        let body = (UNIT, changed, Vec::<String>::new());
        let interface = "org.freedesktop.DBus.Properties";
        self.emit(&unit_path(name), interface, "PropertiesChanged", &body).await;
    }

    async fn emit<B>(&self, path: &str, interface: &str, name: &str, body: &B)
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let nobody = None::<&str>;
        self.connection.emit_signal(nobody, path, interface, name, body).await.unwrap();
    }
}

pub async fn connect(bus: &PrivateBus) -> Connection {
    let built = connection::Builder::address(bus.address().as_str()).build();
    within("connection", built).await.unwrap()
}

pub fn path(text: &str) -> ObjectPath<'static> {
    ObjectPath::try_from(text.to_owned()).unwrap()
}

/// The next message of a stream, or `None` at its end.
pub async fn next(stream: &mut MessageStream) -> Option<Message> {
    std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await?.ok()
}

async fn serve(
    connection: Connection,
    mut stream: MessageStream,
    state: Arc<Mutex<State>>,
    calls: mpsc::Sender<Call>,
) {
    while let Some(message) = next(&mut stream).await {
        if message.message_type() != Type::MethodCall {
            continue;
        }
        let header = message.header();
        let member = header.member().unwrap().to_string();
        match member.as_str() {
            "Subscribe" => {
                connection.reply(&header, &()).await.unwrap();
                state.lock().unwrap().subscriptions.send_modify(|times| *times += 1);
            }
            "Get" => {
                let (_, name): (String, String) = message.body().deserialize().unwrap();
                assert_eq!(name, "RuntimeWatchdogUSec");
                let value = state.lock().unwrap().runtime_watchdog;
                let answered = match value {
                    Some(usec) => connection.reply(&header, &(zbus::Variant::from(usec),)).await,
                    None => {
                        let error = "org.freedesktop.DBus.Error.UnknownProperty";
                        connection.reply_error(&header, error, &("no such property",)).await
                    }
                };
                answered.unwrap();
            }
            "GetAll" => {
                let path = header.path().unwrap().to_string();
                let found = properties(&state, &path);
                connection.reply(&header, &(found,)).await.unwrap();
                if path == unit_path(LEADER) {
                    state.lock().unwrap().looks.send_modify(|looks| *looks += 1);
                }
            }
            "ListUnitsByNames" => {
                let names: Vec<String> = message.body().deserialize().unwrap();
                let rows: Vec<_> = {
                    let state = state.lock().unwrap();
                    let unit = |name: &String| state.units.get(name).cloned();
                    let row = |name| unit(name).unwrap_or_else(Unit::inactive).row(name);
                    names.iter().map(row).collect()
                };
                connection.reply(&header, &(rows,)).await.unwrap();
            }
            "ListUnitsByPatterns" => {
                let (_, patterns): (Vec<String>, Vec<String>) =
                    message.body().deserialize().unwrap();
                let rows: Vec<_> = {
                    let state = state.lock().unwrap();
                    let matching = |name: &&String| patterns.iter().any(|p| matches(p, name));
                    let names = state.units.keys().filter(matching);
                    names.map(|name| state.units[name].clone().row(name)).collect()
                };
                connection.reply(&header, &(rows,)).await.unwrap();
            }
            "StartUnit" | "StopUnit" => {
                let (unit, mode) = message.body().deserialize().unwrap();
                let call = Call { method: member, unit, mode, message: message.clone() };
                if calls.send(call).await.is_err() {
                    return;
                }
            }
            "KillUnit" => {
                let (unit, whom, signal): (String, String, i32) =
                    message.body().deserialize().unwrap();
                let mode = format!("{whom} {signal}");
                let call = Call { method: member, unit, mode, message: message.clone() };
                if calls.send(call).await.is_err() {
                    return;
                }
            }
            other => panic!("the fake manager does not know {other}"),
        }
    }
}

fn properties(
    state: &Mutex<State>,
    path: &str,
) -> std::collections::HashMap<&'static str, zbus::Variant<'static>> {
    let state = state.lock().unwrap();
    let found = state.units.iter().find(|(name, _)| unit_path(name) == path);
    found.map_or_else(Unit::inactive, |(_, unit)| unit.clone()).properties()
}

/// Whether `name` matches a pattern with at most one star.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((begin, end)) => name.starts_with(begin) && name.ends_with(end),
        None => pattern == name,
    }
}
