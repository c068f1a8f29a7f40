//! `raftctl cluster status`: one line for each node.

use std::io::Write;

use super::Client;
use super::place::LocalCluster;
use super::view::{self, Observed};
use crate::cli::exit::Exit;
use crate::limits;

/// Shows the nodes. [`Exit::NotRunning`] if one does not run or answer, [`Exit::NoLeader`] if all
/// do and none leads.
pub(super) fn run(
    cluster: &LocalCluster,
    node: Option<&str>,
    client: &dyn Client,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let nodes = cluster.nodes(node)?;
    let observed = view::observe(&nodes, client, limits::REMOTE_STATUS_TIMEOUT)?;
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(observed.iter().map(row));
    write_table(&rows, out)?;
    for one in observed.iter().filter(|one| one.process.is_ok()) {
        if let Err(error) = &one.view {
            writeln!(out, "{}: {error:#}", one.node.name())?;
        }
    }
    let views: Vec<_> = observed.iter().filter_map(|o| o.view.as_ref().ok()).collect();
    Ok(if views.len() < observed.len() {
        Exit::NotRunning
    } else if views.iter().all(|v| v.leader.is_none()) {
        Exit::NoLeader
    } else {
        Exit::Ok
    })
}

fn row(observed: &Observed) -> [String; HEADINGS.len()] {
    let none = || "-".to_owned();
    let number = |n: Option<u64>| n.map_or_else(none, |n| n.to_string());
    let view = observed.view.as_ref().ok();
    let role = match (&observed.process, view) {
        (_, Some(view)) if view.leads() => "leader ★".to_owned(),
        (_, Some(view)) => view.role.clone(),
        (Ok(_), None) => "unreachable".to_owned(),
        (Err(_), None) => "stopped".to_owned(),
    };
    let active = view.map(|v| if v.active { "active" } else { "no" });
    let node = &observed.node.config.node;
    [
        observed.node.name().to_owned(),
        number(observed.process.as_ref().ok().and_then(|p| u64::try_from(p.pid()).ok())),
        role,
        number(view.map(|v| v.term)),
        active.map_or_else(none, str::to_owned),
        number(view.and_then(|v| v.token)),
        number(view.map(|v| v.commit_index)),
        node.address.to_string(),
        node.state_directory.display().to_string(),
    ]
}

/// Columns as wide as their widest cell, two spaces apart, the last one open.
fn write_table<const N: usize>(rows: &[[String; N]], out: &mut dyn Write) -> std::io::Result<()> {
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

const HEADINGS: [&str; 9] =
    ["NODE", "PID", "ROLE", "TERM", "ACTIVE", "TOKEN", "COMMIT", "ADDRESS", "STATE DIRECTORY"];
