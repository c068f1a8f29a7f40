//! The service manager of this host, as the verbs that attach units and look at the host ask it:
//! calls over the system bus, each with a deadline. Nothing is cached and nothing retried.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use zbus::export::futures_core::Stream as _;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, OwnedObjectPath, OwnedVariant, connection};

use super::exit::{Exit, Failure};
use crate::limits;
use crate::systemd::names::unit_path;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The properties of one object.
pub type Properties = HashMap<String, OwnedVariant>;

/// A property, if it is there and has this type.
pub fn property<T: TryFrom<OwnedVariant>>(properties: &Properties, name: &str) -> Option<T> {
    T::try_from(properties.get(name)?.try_clone().ok()?).ok()
}

/// Connects to the system bus.
pub async fn system_bus() -> Result<Connection, Failure> {
    let failed = |problem: String| {
        let message = format!("no answer from the system bus: {problem}; is dbus.service up?");
        Failure::new(Exit::NotRunning, message)
    };
    let address = zbus::Address::system().map_err(|error| failed(error.to_string()))?;
    let built = connection::Builder::address(address).build();
    let built = tokio::time::timeout(limits::CLIENT_CALL_TIMEOUT, built).await;
    let late = |_| failed(format!("nothing within {} s", limits::CLIENT_CALL_TIMEOUT.as_secs()));
    built.map_err(late)?.map_err(|error| failed(error.to_string()))
}

/// A connection to the service manager.
#[derive(Debug)]
pub struct ServiceManager {
    connection: Connection,
}

impl ServiceManager {
    /// Connects.
    pub async fn connect() -> Result<ServiceManager, Failure> {
        Ok(ServiceManager { connection: system_bus().await? })
    }

    /// All properties of `unit`, which is loaded from its files if it has to be.
    pub async fn properties(&self, unit: &str) -> Result<Properties, Failure> {
        self.get_all(&unit_path(unit), "").await
    }

    /// All properties of the manager itself.
    pub async fn own_properties(&self) -> Result<Properties, Failure> {
        self.get_all(PATH, MANAGER).await
    }

    /// Whether somebody has `name` on the bus, or would be started for it.
    pub async fn is_on_bus(&self, name: &str) -> Result<bool, Failure> {
        let (to, path) = ("org.freedesktop.DBus", "/org/freedesktop/DBus");
        for list in ["ListNames", "ListActivatableNames"] {
            let answer = self.connection.call_method(Some(to), path, Some(to), list, &());
            let names: Vec<String> = read(list, &within(list, answer).await?)?;
            if names.iter().any(|found| found == name) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A property of logind; `None` if there is no logind or it does not tell.
    pub async fn login_property<T: TryFrom<OwnedVariant>>(&self, name: &str) -> Option<T> {
        let (to, path) = ("org.freedesktop.login1", "/org/freedesktop/login1");
        let body = ("org.freedesktop.login1.Manager", name);
        let call = self.connection.call_method(Some(to), path, Some(PROPERTIES), "Get", &body);
        let answer = within("Get", call).await.ok()?;
        T::try_from(read::<OwnedVariant>("Get", &answer).ok()?).ok()
    }

    async fn get_all(&self, path: &str, interface: &str) -> Result<Properties, Failure> {
        let answer = self.call(path, PROPERTIES, "GetAll", &(interface,)).await?;
        read("GetAll", &answer)
    }

    /// One list of units of `unit`, for example `After`.
    pub async fn units(&self, unit: &str, name: &str) -> Result<Vec<String>, Failure> {
        let answer = self.call(&unit_path(unit), PROPERTIES, "Get", &(UNIT, name)).await?;
        let value: OwnedVariant = read("Get", &answer)?;
        Ok(Vec::try_from(value).unwrap_or_default())
    }

    /// Reads all unit files anew.
    pub async fn reload(&self) -> Result<(), Failure> {
        self.call(PATH, MANAGER, "Reload", &()).await.map(drop)
    }

    /// As `systemctl disable`.
    pub async fn disable(&self, unit: &str) -> Result<(), Failure> {
        for runtime in [false, true] {
            let body = (&[unit][..], runtime);
            self.call(PATH, MANAGER, "DisableUnitFiles", &body).await?;
        }
        Ok(())
    }

    /// Starts `unit` and waits for it; the result of the job, "done" if all went well.
    pub async fn start(&self, unit: &str) -> Result<String, Failure> {
        self.job("StartUnit", unit).await
    }

    /// Stops `unit` and waits for it; the result of the job, "done" if all went well.
    pub async fn stop(&self, unit: &str) -> Result<String, Failure> {
        self.job("StopUnit", unit).await
    }

    async fn job(&self, method: &'static str, unit: &str) -> Result<String, Failure> {
        // Listen BEFORE asking: the job may be over before the answer is read.
        let mut signals = MessageStream::from(&self.connection);
        let (bus, path, rule) = ("org.freedesktop.DBus", "/org/freedesktop/DBus", JOB_REMOVED);
        let body = (rule,);
        let matched = self.connection.call_method(Some(bus), path, Some(bus), "AddMatch", &body);
        within("AddMatch", matched).await?;
        self.call(PATH, MANAGER, "Subscribe", &()).await?;
        let answer = self.call(PATH, MANAGER, method, &(unit, "replace")).await?;
        let job: OwnedObjectPath = read(method, &answer)?;
        let removed = async {
            loop {
                let next = std::future::poll_fn(|cx| Pin::new(&mut signals).poll_next(cx)).await;
                let Some(Ok(message)) = next else { return None };
                if let Some(result) = result_of(&message, &job) {
                    return Some(result);
                }
            }
        };
        let waited = tokio::time::timeout(limits::CLIENT_JOB_TIMEOUT, removed).await;
        Ok(match waited {
            Ok(Some(result)) => result,
            Ok(None) => "connection lost".to_owned(),
            Err(_) => format!("not over after {} s", limits::CLIENT_JOB_TIMEOUT.as_secs()),
        })
    }

    async fn call<B>(
        &self,
        path: &str,
        interface: &str,
        method: &'static str,
        body: &B,
    ) -> Result<Message, Failure>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let call = self.connection.call_method(Some(NAME), path, Some(interface), method, body);
        within(method, call).await
    }
}

/// With what `job` ended, if `message` says so.
fn result_of(message: &Message, job: &OwnedObjectPath) -> Option<String> {
    let header = message.header();
    if message.message_type() != Type::Signal || header.member()?.as_str() != "JobRemoved" {
        return None;
    }
    let body: (u32, OwnedObjectPath, String, String) = message.body().deserialize().ok()?;
    (body.1 == *job).then_some(body.3)
}

async fn within<F>(call: &'static str, future: F) -> Result<Message, Failure>
where
    F: Future<Output = zbus::Result<Message>>,
{
    let wait: Duration = limits::CLIENT_MANAGER_TIMEOUT;
    let late = |_| {
        let message = format!("systemd did not answer {call} within {} s", wait.as_secs());
        Failure::new(Exit::TimedOut, message)
    };
    tokio::time::timeout(wait, future).await.map_err(late)?.map_err(|error| match error {
        zbus::Error::MethodError(name, text, _) => {
            let exit = match name.as_str() {
                "org.freedesktop.DBus.Error.AccessDenied"
                | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => {
                    Exit::NotPermitted
                }
                _ => Exit::Failure,
            };
            let text = text.unwrap_or_else(|| name.to_string());
            Failure::new(exit, format!("systemd refused {call}: {text}"))
        }
        other => Failure::new(Exit::NotRunning, format!("systemd did not answer {call}: {other}")),
    })
}

fn read<T>(call: &'static str, answer: &Message) -> Result<T, Failure>
where
    T: serde::de::DeserializeOwned + zbus::Type,
{
    let problem = |error: zbus::Error| {
        let message = format!("the answer of systemd to {call} is not understood: {error}");
        Failure::new(Exit::Failure, message)
    };
    answer.body().deserialize().map_err(problem)
}

const JOB_REMOVED: &str = "type='signal',sender='org.freedesktop.systemd1',\
    interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
