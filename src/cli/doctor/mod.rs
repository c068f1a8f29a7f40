//! `raftctl doctor`: is this host fit for its node? One line for each check, with what to do.
//!
//! It only looks: nothing is changed, but for a few blocks of a file that it writes into the state
//! directory to see how long the disk takes, and removes. What this user may not see is a warning.

mod agent;
mod bus;
mod files;
pub mod host;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::args::Global;
use super::attach::{self, CONFIGURATION};
use super::config_check;
use super::discover::Found;
use super::exit::Exit;
use super::output::{Cell, Format, Style, Table};
use super::pager::Paging;
use crate::config::Config;
use crate::core::NodeName;
use crate::dbus::client::block_on;

/// Arguments of `doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct DoctorArgs {
    /// The node; if missing, every one of this host.
    #[arg(value_name = "NODE")]
    pub of: Option<NodeName>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Result {
    /// As it should be.
    Ok,
    /// Works, but not as well or not as safely as it could, or it could not be seen.
    Warn,
    /// Does not work.
    Fail,
}

/// One check: one line, and one object of the JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The node that it is about; none for the host.
    #[serde(default)]
    pub node: Option<String>,
    /// What was looked at, in a word.
    pub check: String,
    /// How it ended.
    pub result: Result,
    /// What was found.
    pub found: String,
    /// What to do; none if it is as it should be.
    #[serde(default)]
    pub advice: Option<String>,
}

impl Check {
    fn new(check: &str, result: Result, found: impl Into<String>, advice: &str) -> Check {
        let (check, found) = (check.to_owned(), found.into());
        let advice = (!advice.is_empty()).then(|| advice.to_owned());
        Check { node: None, check, result, found, advice }
    }

    /// As it should be.
    pub fn ok(check: &str, found: impl Into<String>) -> Check {
        Check::new(check, Result::Ok, found, "")
    }

    /// Could be better: with what to do.
    pub fn warn(check: &str, found: impl Into<String>, advice: &str) -> Check {
        Check::new(check, Result::Warn, found, advice)
    }

    /// Does not work: with what to do.
    pub fn fail(check: &str, found: impl Into<String>, advice: &str) -> Check {
        Check::new(check, Result::Fail, found, advice)
    }
}

/// Looks at the host, and at one node or all.
pub fn run(
    args: &DoctorArgs,
    global: &Global,
    found: impl Fn() -> anyhow::Result<Found>,
    (format, paging): (Format, &Paging),
) -> anyhow::Result<Exit> {
    let mut checks = block_on(bus::host());
    checks.extend([host::clock_source(), host::clock_rate()]);
    let only = args.of.as_ref().or(global.node.as_ref());
    let files = files_of(global.config.as_deref(), only);
    if files.is_empty() {
        let advice = "`raftctl init` writes a configuration";
        checks.push(Check::fail("configuration", format!("none in {CONFIGURATION}"), advice));
    }
    for file in files {
        checks.extend(node(&file, only, &found));
    }
    paging.print(&render(&checks, format))?;
    let failed = checks.iter().any(|check| check.result == Result::Fail);
    Ok(if failed { Exit::Failure } else { Exit::Ok })
}

/// The configuration files to look at.
fn files_of(given: Option<&Path>, only: Option<&NodeName>) -> Vec<PathBuf> {
    let directory = Path::new(CONFIGURATION);
    let file = |node: &NodeName| directory.join(format!("{node}.toml"));
    match (given, only) {
        (Some(given), _) => vec![given.to_owned()],
        (None, Some(node)) => vec![file(node)],
        (None, None) => attach::instances(directory).iter().map(file).collect(),
    }
}

/// Looks at the nodes of one file.
fn node(
    file: &Path,
    only: Option<&NodeName>,
    found: &impl Fn() -> anyhow::Result<Found>,
) -> Vec<Check> {
    let loaded = match config_check::load(file) {
        Ok(loaded) => loaded,
        Err(error) => {
            let advice = "put it right; `raftctl config check` says when it is";
            return vec![Check::fail("configuration", format!("{error:#}"), advice)];
        }
    };
    let wanted =
        |config: &&Config| only.is_none_or(|only| config.node.name.as_str() == only.as_str());
    let nodes: Vec<&Config> = loaded.nodes().iter().filter(wanted).collect();
    let mut checks = Vec::new();
    for config in nodes {
        let mut of_node = files::look(file, config);
        of_node.push(host::disk(&config.node.state_directory, config.raft.election_min));
        of_node.extend(block_on(async {
            let mut checks = bus::units(config, file.starts_with(CONFIGURATION)).await;
            checks.extend(agent::look(config, found().ok()).await);
            checks
        }));
        let name = config.node.name.to_string();
        checks.extend(of_node.into_iter().map(|check| Check { node: Some(name.clone()), ..check }));
    }
    checks
}

/// The checks in the form asked for.
pub fn render(checks: &[Check], format: Format) -> String {
    if let Some(json) = format.json(&checks) {
        return json;
    }
    let several = checks.iter().filter_map(|check| check.node.as_ref());
    let mut nodes: Vec<&String> = several.collect();
    nodes.dedup();
    let mut table = Table::new(&["", "CHECK", "FOUND"]);
    for Check { node, check, result, found, advice } in checks {
        let (word, style) = match result {
            Result::Ok => ("ok", Style::Good),
            Result::Warn => ("warn", Style::Dim),
            Result::Fail => ("fail", Style::Bad),
        };
        let check = match node {
            Some(node) if nodes.len() > 1 => format!("{node} {check}"),
            _ => check.clone(),
        };
        // A message may have several lines; this has one.
        let found = found.lines().collect::<Vec<_>>().join("; ");
        let advice = advice.as_ref().map_or(String::new(), |advice| format!(" → {advice}"));
        let found = Cell::plain(format!("{found}{advice}"));
        table.row(vec![Cell(word.to_owned(), style), Cell::plain(check), found]);
    }
    let count = |result| checks.iter().filter(|check| check.result == result).count();
    let mut text = table.render(format);
    if format.legend {
        text += &format!(
            "\n{} ok, {} to look at, {} failed.\n",
            count(Result::Ok),
            count(Result::Warn),
            count(Result::Fail)
        );
    }
    text
}
