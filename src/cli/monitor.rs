//! `raftctl monitor`: the present state, then every change, until interrupted.

use std::convert::Infallible;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use super::discover::Found;
use super::exit::{Exit, Failure};
use super::output::{Format, STAR, print};
use crate::dbus::client::{Client, Signal, block_on};
use crate::dbus::describe::Describe;
use crate::limits;

/// One line of the monitor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The state at the beginning, and again after the agent was away.
    State(Box<Describe>),
    /// The node's role, or whether it is active, changed.
    RoleChanged {
        /// The node.
        node: String,
        /// Role before.
        old: String,
        /// Role now.
        new: String,
        /// Term now.
        term: u64,
        /// Token of the activation in force, if any.
        token: Option<u64>,
        /// Why.
        reason: String,
    },
    /// The leader that the node follows changed.
    LeaderChanged {
        /// The node.
        node: String,
        /// Leader before, if any.
        old: Option<String>,
        /// Leader now, if any.
        new: Option<String>,
        /// Term now.
        term: u64,
    },
    /// The agent went away.
    AgentGone {
        /// The node.
        node: String,
    },
}

#[derive(Serialize)]
struct Line<'a> {
    timestamp: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

/// Follows the first agent that answers. An interrupt ends it successfully.
pub fn run(found: &Found, format: Format) -> Result<Exit, Failure> {
    block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::select! {
            _ = interrupt.recv() => Ok(Exit::Ok),
            _ = terminate.recv() => Ok(Exit::Ok),
            _ = hangup.recv() => Ok(Exit::Ok),
            ended = follow(found, format) => match ended? {},
        }
    })
}

async fn follow(found: &Found, format: Format) -> Result<Infallible, Failure> {
    let mut client = found.connect(None).await?;
    let (mut state, mut signals) = client.follow().await?;
    loop {
        let node = state.name.clone();
        say(&Event::State(Box::new(state)), format)?;
        while let Some(signal) = signals.next().await {
            say(&Event::new(&node, signal), format)?;
        }
        say(&Event::AgentGone { node }, format)?;
        // Its socket is gone with it, and will be there again at the same place.
        (client, (state, signals)) = loop {
            tokio::time::sleep(limits::CLIENT_RECONNECT_PAUSE).await;
            let again = Client::connect(client.socket(), limits::CLIENT_CALL_TIMEOUT).await;
            let Ok(again) = again else { continue };
            if let Ok(following) = again.follow().await {
                break (again, following);
            }
        };
    }
}

fn say(event: &Event, format: Format) -> Result<(), Failure> {
    let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    print(&render(&now, event, format))
}

impl Event {
    fn new(node: &str, signal: Signal) -> Event {
        let node = node.to_owned();
        let name = |text: String| if text.is_empty() { None } else { Some(text) };
        match signal {
            Signal::Role { old, new, term, token, reason } => {
                let token = if token == 0 { None } else { Some(token) };
                Event::RoleChanged { node, old, new, term, token, reason }
            }
            Signal::Leader { old, new, term } => {
                Event::LeaderChanged { node, old: name(old), new: name(new), term }
            }
        }
    }
}

/// One line in the form asked for.
pub fn render(timestamp: &str, event: &Event, format: Format) -> String {
    if let Some(json) = format.json(&Line { timestamp, event }) {
        return json;
    }
    let or_none = |name: &Option<String>| name.clone().unwrap_or_else(|| "none".to_owned());
    let token = |token: &Option<u64>| token.map_or("none".to_owned(), |token| token.to_string());
    let text = match event {
        Event::State(state) => {
            let star = if state.role == "leader" { format!(" {STAR}") } else { String::new() };
            format!(
                "{} is {}{star} of cluster {}, leader {}, term {}, token {}",
                state.name,
                state.role,
                state.cluster_name,
                or_none(&state.leader),
                state.term,
                token(&state.token)
            )
        }
        Event::RoleChanged { node, old, new, term, token: now, reason } => {
            let token = token(now);
            format!("{node} role {old} → {new}, term {term}, token {token}: {reason}")
        }
        Event::LeaderChanged { node, old, new, term } => {
            format!("{node} leader {} → {}, term {term}", or_none(old), or_none(new))
        }
        Event::AgentGone { node } => format!("{node} agent went away, waiting for it"),
    };
    format!("{timestamp} {text}\n")
}
