//! `raftctl wait --for STATE`: returns when it is so, or when the time is over, and the exit status
//! tells which. For scripts and units that come after the cluster.
//!
//! An agent that is not there, or goes away, is waited for as well.

use std::pin::pin;
use std::time::{Duration, Instant};

use super::discover::Found;
use super::exit::{Exit, Failure};
use super::output::{Format, print};
use super::status::ClusterView;
use crate::core::NodeName;
use crate::dbus::client::{Client, ClientError, block_on};
use crate::dbus::describe::Describe;
use crate::limits;

/// Arguments of `wait`.
#[derive(Clone, Debug, clap::Args)]
pub struct WaitArgs {
    /// What to wait for.
    #[arg(long = "for", value_enum, value_name = "STATE")]
    pub state: State,
    /// How long, for example 30s or 2min; 0 for ever.
    #[arg(long, value_name = "TIME", default_value = "2min", value_parser = timeout)]
    pub timeout: Duration,
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum State {
    /// The cluster has a leader.
    Leader,
    /// A node is active; with --node, that one.
    Active,
    /// Enough voters answer.
    Quorum,
    /// The node of this host, or that of --node, may become active.
    Eligible,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            State::Leader => "leader",
            State::Active => "active",
            State::Quorum => "quorum",
            State::Eligible => "eligible",
        }
    }
}

fn timeout(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "infinity" => Ok(Duration::ZERO),
        _ => humantime::parse_duration(text)
            .map_err(|error| format!("{error}; expected a time such as 30s, or 0 for ever")),
    }
}

/// What was last seen of it.
#[derive(Debug, Default)]
struct Seen(String);

/// Waits.
pub fn run(
    found: impl Fn() -> anyhow::Result<Found>,
    format: Format,
    args: &WaitArgs,
    node: Option<&NodeName>,
) -> anyhow::Result<Exit> {
    let begun = Instant::now();
    let mut seen = Seen::default();
    let outcome = block_on(async {
        let waiting = pin!(until(&found, args.state, node, &mut seen));
        match args.timeout {
            Duration::ZERO => waiting.await.map(Some),
            time => match tokio::time::timeout(time, waiting).await {
                Ok(outcome) => outcome.map(Some),
                Err(_) => Ok(None),
            },
        }
    })?;
    let Some(answer) = outcome else {
        let what = args.state.as_str();
        let time = humantime::format_duration(args.timeout);
        let last = if seen.0.is_empty() { "no answer yet" } else { &seen.0 };
        let message = format!("wait: not {what} within {time}: {last}");
        return Err(Exit::TimedOut.because(message));
    };
    let waited_ms = begun.elapsed().as_millis() as u64;
    let (state, name) = (args.state.as_str(), &answer);
    let json = serde_json::json!({ "state": state, "node": name, "waited_ms": waited_ms });
    let text = || match args.state {
        State::Leader => format!("{name} leads\n"),
        State::Active => format!("{name} is active\n"),
        State::Quorum => format!("{name} hears a quorum\n"),
        State::Eligible => format!("{name} is eligible\n"),
    };
    print(&format.json(&json).unwrap_or_else(text))?;
    Ok(Exit::Ok)
}

/// The name of the node for which it is so.
async fn until(
    found: &impl Fn() -> anyhow::Result<Found>,
    state: State,
    node: Option<&NodeName>,
    seen: &mut Seen,
) -> anyhow::Result<String> {
    loop {
        // What is there may only just have appeared. A wrong configuration does not get better.
        let looked = found()?;
        match attend(&looked, state, node, seen).await {
            Ok(name) => return Ok(name),
            Err(Stopped::Never(failure)) => return Err(failure.into()),
            Err(Stopped::ForNow(why)) => seen.0 = why,
        }
        tokio::time::sleep(limits::CLIENT_RECONNECT_PAUSE).await;
    }
}

/// Why an agent is no longer listened to.
enum Stopped {
    /// Nor will it be.
    Never(Failure),
    /// It went away.
    ForNow(String),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Stopped {
        match failure.exit {
            Exit::NotPermitted | Exit::Usage => Stopped::Never(failure),
            _ => Stopped::ForNow(failure.message),
        }
    }
}

impl From<ClientError> for Stopped {
    fn from(error: ClientError) -> Stopped {
        Failure::from(error).into()
    }
}

/// Listens to one agent until it is so, or until the agent goes away.
async fn attend(
    found: &Found,
    state: State,
    node: Option<&NodeName>,
    seen: &mut Seen,
) -> Result<String, Stopped> {
    let client = found.connect(node.map(NodeName::as_str)).await?;
    let (mut own, mut signals) = client.follow().await?;
    loop {
        match is_so(&client, &own, state, node).await? {
            Ok(name) => return Ok(name),
            Err(why) => seen.0 = why,
        }
        // Not everything is announced.
        match tokio::time::timeout(limits::CLIENT_WAIT_POLL, signals.next_of_all()).await {
            Ok(None) => {
                return Err(Stopped::ForNow(format!("the agent of {} went away", own.name)));
            }
            Ok(Some(_)) | Err(_) => own = client.describe().await?,
        }
    }
}

/// Whether it is so, and for whom; or why not.
async fn is_so(
    client: &Client,
    own: &Describe,
    state: State,
    node: Option<&NodeName>,
) -> Result<Result<String, String>, ClientError> {
    let of = match node {
        Some(node) if node.as_str() != own.name => client.describe_peer(node.as_str()).await?,
        _ => own.clone(),
    };
    Ok(match state {
        State::Leader => of.leader.ok_or_else(|| format!("{} knows no leader", of.name)),
        State::Eligible if of.eligible => Ok(of.name),
        State::Eligible => Err(format!("{} is not: {}", of.name, of.ineligible.join("; "))),
        State::Active if of.active => Ok(of.name),
        State::Active if node.is_some() => Err(format!("{} is {}", of.name, of.role)),
        State::Active => {
            let view = ClusterView::new(own, client.describe_cluster().await?);
            let statuses = view.nodes.into_iter().filter_map(|node| node.status);
            let active = statuses.into_iter().find(|status| status.active);
            active.map(|status| status.name).ok_or_else(|| "no node is active".to_owned())
        }
        State::Quorum => {
            let quorum = ClusterView::new(own, client.describe_cluster().await?).quorum;
            let why = format!("{} of {} voters answer", quorum.reachable, quorum.voters);
            if quorum.held { Ok(of.name) } else { Err(why) }
        }
    })
}
