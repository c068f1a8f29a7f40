//! `raftctl status [NODE]`: the cluster at a glance, or one node in detail.
//!
//! Under the table is what enforces that only one host is active, and what should be put right.
//! Everything comes from the agents: who leads is what the reachable node with the highest term
//! says, not what the agent that was asked happens to believe.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::discover::Found;
use super::exit::{Exit, Failure};
use super::output::{
    Cell, Format, STAR, Style, Table, active_cell, date, headline, no_cell, role_cell,
};
use super::pager::Paging;
use crate::core::NodeName;
use crate::dbus::client::{Client, block_on};
use crate::dbus::describe::{Describe, DescribeFence, DescribeStore, DescribeUnit, PeerView};

/// The cluster as the local agent and its peers tell it: the JSON of `raftctl status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// Name of the cluster.
    pub cluster_name: String,
    /// Its identity, once committed.
    pub cluster_id: Option<String>,
    /// Who leads, if anyone.
    pub leader: Option<String>,
    /// The highest term seen.
    pub term: u64,
    /// Whether enough voters are there.
    pub quorum: Quorum,
    /// The node whose agent was asked.
    pub asked: String,
    /// Whether the cluster is paused.
    #[serde(default)]
    pub paused: bool,
    /// Every member and what it says about itself.
    pub nodes: Vec<PeerView>,
    /// What should be put right, with the names of the nodes before it.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Whether enough voters are there to elect and to commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// Members with a vote.
    pub voters: usize,
    /// How many of them it takes.
    pub needed: usize,
    /// How many answered.
    pub reachable: usize,
    /// Whether these are enough.
    pub held: bool,
}

/// Shows the cluster, or node `of`. The exit status tells whether there is a leader.
pub fn run(
    found: &Found,
    (format, paging): (Format, &Paging),
    of: Option<&NodeName>,
) -> Result<Exit, Failure> {
    if let Some(of) = of {
        let node = block_on(async {
            let client = found.connect(Some(of.as_str())).await?;
            Ok::<_, Failure>(client.describe_peer(of.as_str()).await?)
        })?;
        paging.print(&render_node(&node, format))?;
        return Ok(if node.leader.is_some() { Exit::Ok } else { Exit::NoLeader });
    }
    let view = block_on(async {
        let client = found.connect(None).await?;
        ask(&client).await
    })?;
    paging.print(&render(&view, format))?;
    Ok(if view.leader.is_some() { Exit::Ok } else { Exit::NoLeader })
}

async fn ask(client: &Client) -> Result<ClusterView, Failure> {
    // Both questions are on their way before either is answered.
    let (own, nodes) = tokio::join!(client.describe(), client.describe_cluster());
    Ok(ClusterView::new(&own?, nodes?))
}

impl ClusterView {
    /// What the agent of `own` and the `nodes` it asked say together.
    pub fn new(own: &Describe, nodes: Vec<PeerView>) -> ClusterView {
        let reachable = nodes.iter().filter_map(|view| view.status.as_ref());
        let newest = reachable.chain([own]).max_by_key(|status| {
            // In the same term, a leader knows best, then whoever knows of one.
            (status.term, status.role == "leader", status.leader.is_some())
        });
        let newest = newest.unwrap_or(own);
        let votes = |view: &&PeerView| view.kind != "learner";
        let voters = nodes.iter().filter(votes).count();
        let reachable = nodes.iter().filter(votes).filter(|view| view.status.is_some()).count();
        let needed = voters / 2 + 1;
        ClusterView {
            cluster_name: own.cluster_name.clone(),
            cluster_id: own.cluster_id.clone(),
            leader: newest.leader.clone(),
            term: newest.term,
            quorum: Quorum { voters, needed, reachable, held: reachable >= needed },
            asked: own.name.clone(),
            paused: newest.paused,
            warnings: warnings(&nodes),
            nodes,
        }
    }
}

/// Each warning once, with all the nodes that have it.
fn warnings(nodes: &[PeerView]) -> Vec<String> {
    let all = statuses(nodes).flat_map(|status| {
        status.warnings.iter().map(|text| (text.as_str(), status.name.as_str()))
    });
    let grouped = grouped(all);
    grouped.into_iter().map(|(text, names)| format!("{}: {text}", names.join(", "))).collect()
}

fn statuses(nodes: &[PeerView]) -> impl Iterator<Item = &Describe> {
    nodes.iter().filter_map(|node| node.status.as_ref())
}

fn grouped<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (key, name) in pairs {
        groups.entry(key).or_default().push(name);
    }
    groups
}

/// The cluster in the form asked for.
pub fn render(view: &ClusterView, format: Format) -> String {
    if let Some(json) = format.json(view) {
        return json;
    }
    let mut table = Table::new(&["NODE", "ROLE", "ACTIVE", ">TERM", ">COMMIT", "ADDRESS", "STATE"]);
    for node in &view.nodes {
        table.row(row(view, node));
    }
    let mut text = format!("{}\n\n{}", summary(view, format), table.render(format));
    if format.legend {
        let notes = notes(view, format);
        if !notes.is_empty() {
            text += &format!("\n{notes}");
        }
        let noun = if view.nodes.len() == 1 { "node" } else { "nodes" };
        text += &format!("\n{} {noun} listed, asked {}.\n", view.nodes.len(), view.asked);
    }
    text
}

/// The lines under the table.
fn notes(view: &ClusterView, format: Format) -> String {
    let mut notes = String::new();
    let told = statuses(&view.nodes).filter(|status| !status.fence_armed.is_empty());
    let armed = grouped(told.map(|status| (status.fence_armed.as_str(), status.name.as_str())));
    // In a cluster where nothing is armed that is either not wanted or a warning.
    if armed.keys().any(|action| *action != "none") {
        let groups = armed.iter().map(|(action, names)| format!("{action} ({})", names.join(", ")));
        notes += &format!("Fence armed: {}\n", groups.collect::<Vec<_>>().join(", "));
    }
    for status in statuses(&view.nodes) {
        if let Some(fence) = &status.last_fence {
            notes += &format!("Last fence of {}: {}\n", status.name, fence_text(fence));
        }
    }
    if view.paused {
        let word = format.paint(Style::Bad, "Paused:");
        notes += &format!("{word} nothing becomes active before `raftctl resume`\n");
    }
    for status in statuses(&view.nodes).filter(|status| !status.eligible) {
        notes += &format!("Not eligible: {} ({})\n", status.name, why_not(status));
    }
    let asked = statuses(&view.nodes).find(|status| status.name == view.asked);
    if let Some(store) = asked.and_then(|status| status.store.as_ref()) {
        notes += &format!("Store: {}\n", store_text(store));
    }
    for warning in &view.warnings {
        notes += &format!("{} {warning}\n", format.paint(Style::Bad, "Warning:"));
    }
    notes
}

fn fence_text(DescribeFence { when_usec, what, why }: &DescribeFence) -> String {
    format!("{what} at {}: {why}", date(*when_usec))
}

/// How full the store is.
fn store_text(store: &DescribeStore) -> String {
    let &DescribeStore { keys, bytes, quota_bytes, .. } = store;
    let noun = if keys == 1 { "key" } else { "keys" };
    let percent = bytes.saturating_mul(100) / quota_bytes.max(1);
    let mut text = format!("{keys} {noun}, {} of {} ({percent} %)", size(bytes), size(quota_bytes));
    for snapshot in &store.snapshots {
        let way = if snapshot.incoming { "from" } else { "to" };
        let (bytes, total) = (size(snapshot.bytes), size(snapshot.total_bytes));
        text += &format!("; snapshot {way} {}: {bytes} of {total}", snapshot.peer);
    }
    text
}

/// Bytes in the largest unit of which there is one at least.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => {
            let tenths = bytes / (unit / 10);
            match tenths % 10 {
                0 => format!("{} {name}", tenths / 10),
                tenth => format!("{}.{tenth} {name}", tenths / 10),
            }
        }
        None => format!("{bytes} bytes"),
    }
}

/// Why the host may not be active, and until when that holds if nobody does anything.
fn why_not(status: &Describe) -> String {
    let mut why = status.ineligible.join("; ");
    if let Some(until) = status.held_down_until_usec {
        why += &format!("; held down until {}, `raftctl clear` ends it", date(until));
    }
    why
}

/// Whether a node that answers is in order, in a word.
fn state_cell(status: &Describe) -> Cell {
    let bad = |text: &str| Cell(text.to_owned(), Style::Bad);
    match status {
        Describe { maintenance: true, .. } => bad("maintenance"),
        Describe { held_down_until_usec: Some(_), .. } => bad("held down"),
        Describe { eligible: false, .. } => bad("not eligible"),
        _ => Cell::plain("up"),
    }
}

/// The units of a node, each with its state; a unit that failed with how often.
fn units(status: &Describe, format: Format) -> Vec<(&'static str, String)> {
    let one = |unit: &DescribeUnit| {
        let style = match unit.state.as_str() {
            "active" => Style::Good,
            "failed" => Style::Bad,
            _ => Style::Plain,
        };
        let state = format.paint(style, &unit.state);
        let failures = match unit.failures {
            0 => String::new(),
            1 => ", failed once".to_owned(),
            times => format!(", failed {times} times"),
        };
        ("Unit", format!("{} {state} (on {}{failures})", unit.name, unit.on))
    };
    status.units.iter().map(one).collect()
}

/// The role, and what the host is at if it is neither active nor at rest.
fn role_text(status: &Describe) -> String {
    match status.authority.as_str() {
        // Older agents do not tell.
        "" | "idle" | "active" => status.role.clone(),
        authority => format!("{}, {authority}", status.role),
    }
}

fn summary(view: &ClusterView, format: Format) -> String {
    let Quorum { voters, needed, reachable, held } = view.quorum;
    let headline = headline(&view.cluster_name, view.leader.as_deref(), format);
    let word = if held { "yes" } else { "no" };
    let word = format.paint(if held { Style::Plain } else { Style::Bad }, word);
    format!(
        "{headline}, term {}, quorum {word} ({reachable} of {voters} voters reachable, \
         {needed} needed)",
        view.term
    )
}

fn row(view: &ClusterView, node: &PeerView) -> Vec<Cell> {
    let leads = view.leader.as_deref() == Some(&node.name);
    let (name, address) = (Cell::plain(&node.name), Cell::plain(&node.address));
    let Some(status) = &node.status else {
        let role = if leads { Cell::plain(format!("leader {STAR}")) } else { no_cell() };
        let state = Cell("unreachable".to_owned(), Style::Bad);
        return vec![name, role, no_cell(), no_cell(), no_cell(), address, state];
    };
    let mut role = role_text(status);
    if node.kind == "witness" {
        role += " (witness)";
    }
    vec![
        name,
        role_cell(&role, leads),
        active_cell(status.active),
        Cell::plain(status.term.to_string()),
        Cell::plain(status.commit_index.to_string()),
        address,
        state_cell(status),
    ]
}

/// One node in detail in the form asked for.
pub fn render_node(node: &Describe, format: Format) -> String {
    if let Some(json) = format.json(node) {
        return json;
    }
    let own = node.members.iter().find(|member| member.name == node.name);
    let kind = own.map_or("not a member", |member| &member.kind);
    let address = own.map_or("no address", |member| &member.address);
    let leads = node.role == "leader";
    let role = match leads {
        true => format.paint(Style::Good, &format!("{} {STAR}", role_text(node))),
        false => role_text(node),
    };
    let leader = match (&node.leader, &node.leader_address) {
        (Some(leader), Some(address)) => format!("{leader} ({address})"),
        (Some(leader), None) => leader.clone(),
        (None, _) => format.paint(Style::Bad, "none"),
    };
    let token = node.token.map_or("none".to_owned(), |token| token.to_string());
    let mark = match node.leader {
        Some(_) => format.paint(Style::Good, "●"),
        None => format.paint(Style::Bad, "○"),
    };
    let peers: Vec<_> = node.members.iter().filter(|member| member.name != node.name).collect();
    let connected = peers.iter().filter(|member| member.connected).count();
    let last_fence = node.last_fence.as_ref().map_or("never".to_owned(), fence_text);
    let eligible = match node.eligible {
        true => "yes".to_owned(),
        false => format!("{} ({})", format.paint(Style::Bad, "no"), why_not(node)),
    };
    let tells_fence = !node.fence_armed.is_empty();
    let mut fields = vec![
        ("Address", format!("{address} ({kind})")),
        ("Role", role),
        ("Active", if node.active { "yes" } else { "no" }.to_owned()),
        ("Eligible", eligible),
        ("Paused", if node.paused { "yes" } else { "" }.to_owned()),
        ("Fence armed", node.fence_armed.clone()),
        ("Last fence", if tells_fence { last_fence } else { String::new() }),
        ("Term", node.term.to_string()),
        ("Token", token),
        ("Leader", leader),
        ("Log", format!("commit {}, applied {}", node.commit_index, node.applied_index)),
        ("Peers", format!("{connected} of {} connected", peers.len())),
        ("Store", node.store.as_ref().map_or_else(String::new, store_text)),
        ("Cluster id", node.cluster_id.clone().unwrap_or_else(|| "not committed".to_owned())),
        ("Version", node.version.clone()),
    ];
    fields.extend(units(node, format));
    fields.extend(node.warnings.iter().map(|warning| ("Warning", warning.clone())));
    let mut text = format!("{mark} Node {} of cluster {}\n", node.name, node.cluster_name);
    // What an older agent does not tell is empty.
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        text += &format!("{name:>12}: {value}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dbus::describe::DescribeSnapshot;

    #[test]
    fn a_snapshot_under_way_is_told_with_its_progress() {
        let (peer, index) = ("n3".to_owned(), 9);
        let (bytes, total_bytes) = (12 << 20, 100 << 20);
        let snapshot = DescribeSnapshot { peer, incoming: false, index, bytes, total_bytes };
        let (keys, bytes, quota_bytes) = (1, 64 << 20, 256 << 20);
        let store = DescribeStore { keys, bytes, quota_bytes, snapshots: vec![snapshot] };
        let expected = "1 key, 64 MiB of 256 MiB (25 %); snapshot to n3: 12 MiB of 100 MiB";
        assert_eq!(store_text(&store), expected);
    }
}
