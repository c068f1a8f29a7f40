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

/// Arguments of `monitor`.
#[derive(Clone, Debug, clap::Args)]
pub struct MonitorArgs {
    /// Only events of this kind; may be given several times.
    #[arg(long = "event", value_enum, value_name = "EVENT")]
    pub events: Vec<Kind>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The state at the beginning.
    State,
    /// The role of the node.
    Role,
    /// Who leads.
    Leader,
    /// Whether there is a quorum.
    Quorum,
    /// Whether the cluster is paused.
    Paused,
    /// Whether the host may be active.
    Eligible,
    /// Units that joined a target of the node.
    Unit,
    /// Something was ended by force.
    Fenced,
    /// The agent went away.
    Gone,
}

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
    /// Whether the node hears a quorum changed.
    QuorumChanged {
        /// The node.
        node: String,
        /// Whether it does now.
        quorum: bool,
        /// Term now.
        term: u64,
    },
    /// The cluster was paused, or goes on.
    PausedChanged {
        /// The node.
        node: String,
        /// Whether it is paused now.
        paused: bool,
        /// Term now.
        term: u64,
    },
    /// Whether the host may be active changed, or why not.
    EligibilityChanged {
        /// The node.
        node: String,
        /// Whether it may now.
        eligible: bool,
        /// Why not.
        ineligible: Vec<String>,
    },
    /// A unit that joins a target of the node is in another state.
    MemberUnitChanged {
        /// The node.
        node: String,
        /// The unit.
        unit: String,
        /// Its state; none: it joins no longer.
        state: Option<String>,
    },
    /// Something had to be ended by force on the host.
    Fenced {
        /// The node.
        node: String,
        /// When it began, in microseconds since 1970.
        when_usec: u64,
        /// What was done.
        what: String,
        /// Why.
        why: String,
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
pub fn run(found: &Found, format: Format, only: &[Kind]) -> Result<Exit, Failure> {
    block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::select! {
            _ = interrupt.recv() => Ok(Exit::Ok),
            _ = terminate.recv() => Ok(Exit::Ok),
            _ = hangup.recv() => Ok(Exit::Ok),
            ended = follow(found, format, only) => match ended? {},
        }
    })
}

async fn follow(found: &Found, format: Format, only: &[Kind]) -> Result<Infallible, Failure> {
    let say = |event: &Event| match only.is_empty() || only.contains(&event.kind()) {
        true => say(event, format),
        false => Ok(()),
    };
    let mut client = found.connect(None).await?;
    let (mut state, mut signals) = client.follow().await?;
    loop {
        let node = state.name.clone();
        let mut standing = Standing::of(&state);
        say(&Event::State(Box::new(state)))?;
        while let Some(signal) = signals.next_of_all().await {
            let event = match signal {
                Signal::Properties => standing.news(&client).await,
                signal => Event::new(&node, signal),
            };
            if let Some(event) = event {
                say(&event)?;
            }
        }
        say(&Event::AgentGone { node })?;
        // It will be there again at the same place.
        (client, (state, signals)) = loop {
            tokio::time::sleep(limits::CLIENT_RECONNECT_PAUSE).await;
            let Ok(again) = client.again().await else { continue };
            if let Ok(following) = again.follow().await {
                break (again, following);
            }
        };
    }
}

/// What was last said of whether the host may be active; no signal of its own is about that.
#[derive(PartialEq, Eq)]
struct Standing {
    eligible: bool,
    ineligible: Vec<String>,
}

impl Standing {
    fn of(state: &Describe) -> Standing {
        Standing { eligible: state.eligible, ineligible: state.ineligible.clone() }
    }

    /// What changed, if anything did.
    async fn news(&mut self, client: &Client) -> Option<Event> {
        // An agent that goes away is noticed by its silence.
        let state = client.describe().await.ok()?;
        let now = Standing::of(&state);
        if *self == now {
            return None;
        }
        *self = now;
        let Standing { eligible, ineligible } = Standing::of(&state);
        Some(Event::EligibilityChanged { node: state.name, eligible, ineligible })
    }
}

fn say(event: &Event, format: Format) -> Result<(), Failure> {
    let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    print(&render(&now, event, format))
}

impl Event {
    fn kind(&self) -> Kind {
        match self {
            Event::State(_) => Kind::State,
            Event::RoleChanged { .. } => Kind::Role,
            Event::LeaderChanged { .. } => Kind::Leader,
            Event::QuorumChanged { .. } => Kind::Quorum,
            Event::PausedChanged { .. } => Kind::Paused,
            Event::EligibilityChanged { .. } => Kind::Eligible,
            Event::MemberUnitChanged { .. } => Kind::Unit,
            Event::Fenced { .. } => Kind::Fenced,
            Event::AgentGone { .. } => Kind::Gone,
        }
    }

    fn new(node: &str, signal: Signal) -> Option<Event> {
        let node = node.to_owned();
        let name = |text: String| if text.is_empty() { None } else { Some(text) };
        Some(match signal {
            Signal::Role { old, new, term, token, reason } => {
                let token = if token == 0 { None } else { Some(token) };
                Event::RoleChanged { node, old, new, term, token, reason }
            }
            Signal::Leader { old, new, term } => {
                Event::LeaderChanged { node, old: name(old), new: name(new), term }
            }
            Signal::Quorum { has, term } => Event::QuorumChanged { node, quorum: has, term },
            Signal::Paused { paused, term } => Event::PausedChanged { node, paused, term },
            Signal::Unit { unit, state } => {
                Event::MemberUnitChanged { node, unit, state: name(state) }
            }
            Signal::Fenced { when_usec, what, why } => Event::Fenced { node, when_usec, what, why },
            Signal::Properties => return None,
        })
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
        Event::QuorumChanged { node, quorum, term } => {
            let what = if *quorum { "regained" } else { "lost" };
            format!("{node} quorum {what}, term {term}")
        }
        Event::PausedChanged { node, paused, term } => {
            let what = if *paused { "paused" } else { "goes on" };
            format!("{node} cluster {what}, term {term}")
        }
        Event::EligibilityChanged { node, eligible: true, .. } => format!("{node} eligible"),
        Event::EligibilityChanged { node, ineligible, .. } => {
            format!("{node} not eligible: {}", ineligible.join("; "))
        }
        Event::MemberUnitChanged { node, unit, state } => match state {
            Some(state) => format!("{node} unit {unit} is {state}"),
            None => format!("{node} unit {unit} is no longer a member"),
        },
        Event::Fenced { node, when_usec, what, why } => {
            let when = super::output::date(*when_usec);
            format!("{node} fenced by {what} at {when}: {why}")
        }
        Event::AgentGone { node } => format!("{node} agent went away, waiting for it"),
    };
    format!("{timestamp} {text}\n")
}
