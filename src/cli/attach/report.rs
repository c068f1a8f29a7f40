//! What attach has written, or would write, and what to type next.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::dropin::Wish;
use super::unit::{Facts, On, StopTimeout};
use crate::cli::output::Format;

/// The outcome of attach: the JSON of `raftctl attach`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The unit.
    pub unit: String,
    /// The node.
    pub node: String,
    /// The target that it joins.
    pub target: String,
    /// The drop-in.
    pub dropin: PathBuf,
    /// Its content.
    pub text: String,
    /// The link that starts the unit with the target.
    pub link: PathBuf,
    /// Where the link leads.
    pub points_to: String,
    /// Whether anything had to be written.
    pub new: bool,
    /// What it no longer starts with.
    pub disabled: Vec<String>,
    /// Whether the target is up here; `None` where no service manager was asked.
    pub active_here: Option<bool>,
    /// Whether it was started.
    pub started: bool,
    /// Whether it was stopped.
    pub stopped: bool,
    /// What should be known.
    pub warnings: Vec<String>,
    /// What went wrong after it was written.
    pub failed: Option<String>,
    /// Whether nothing was written because that was asked for.
    pub dry_run: bool,
    /// All nodes of the cluster.
    #[serde(skip)]
    pub members: Vec<String>,
    #[serde(skip)]
    on: On,
    #[serde(skip)]
    timeout: Option<(Duration, String)>,
}

impl Report {
    /// Nothing is done yet.
    pub fn new(wish: &Wish, facts: &Facts, timeout: Option<Duration>, text: String) -> Report {
        let own = match facts.stop_timeout {
            StopTimeout::After(own) if own > wish.limit => {
                humantime::format_duration(own).to_string()
            }
            StopTimeout::Infinite => "no limit".to_owned(),
            _ => "longer".to_owned(),
        };
        Report {
            unit: facts.name.to_string(),
            node: wish.node.to_string(),
            target: wish.target(),
            dropin: PathBuf::new(),
            text,
            link: PathBuf::new(),
            points_to: facts.fragment.clone(),
            new: true,
            disabled: Vec::new(),
            active_here: None,
            started: false,
            stopped: false,
            warnings: Vec::new(),
            failed: None,
            dry_run: false,
            members: Vec::new(),
            on: wish.on,
            timeout: timeout.map(|timeout| (timeout, own)),
        }
    }

    /// In the form asked for.
    pub fn render(&self, format: Format) -> String {
        if let Some(json) = format.json(self) {
            return json;
        }
        let (unit, target) = (&self.unit, &self.target);
        let would = |done: &str, would: &str| if self.dry_run { would } else { done }.to_owned();
        let mut text = String::new();
        if !self.disabled.is_empty() {
            let word = would("No longer starts", "Would no longer start");
            text += &format!("{word} {unit} with {}\n", self.disabled.join(", "));
        }
        if self.new {
            let (dropin, link) = (self.dropin.display(), self.link.display());
            text += &format!("{} {dropin}:\n", would("Wrote", "Would write"));
            let indented = self.text.lines().map(|line| match line {
                "" => "\n".to_owned(),
                line => format!("    {line}\n"),
            });
            text += &indented.collect::<String>();
            let word = would("Linked", "Would link");
            text += &format!("{word} {link} to {}\n", self.points_to);
            text += &format!("\n{}", self.meaning());
        } else {
            text += &format!("{unit} is attached to {target} already; nothing to write\n");
        }
        text + &self.next()
    }

    /// What the lines of the drop-in do.
    fn meaning(&self) -> String {
        let (unit, target) = (&self.unit, &self.target);
        let mut text = format!("{unit} starts with {target} and stops before it has stopped.\n");
        if let Some((timeout, own)) = &self.timeout {
            text += &format!(
                "It is killed when its stop takes longer than {} (before: {own}): 300 ms before \
                 the end of demote_timeout in /etc/raftctl/{}.toml.\n",
                humantime::format_duration(*timeout),
                self.node
            );
        }
        text
    }

    /// What came of it, and what to do now.
    fn next(&self) -> String {
        let Report { unit, node, .. } = self;
        let now = match (&self.failed, self.active_here) {
            (Some(failed), _) => failed.clone(),
            (None, None) => "No service manager was told.".to_owned(),
            (None, Some(_)) if self.dry_run => "Nothing was changed.".to_owned(),
            (None, Some(true)) if self.started => {
                format!("Node {node} is {}: {unit} was started.", self.here())
            }
            (None, Some(true)) => format!("Node {node} is {}: {unit} runs.", self.here()),
            (None, Some(false)) if self.stopped => {
                format!("Node {node} is not {}: {unit} was stopped.", self.here())
            }
            (None, Some(false)) => {
                format!("Node {node} is not {}: {unit} starts when it is.", self.here())
            }
        };
        let others: Vec<_> = self.members.iter().filter(|name| *name != node).cloned().collect();
        let on = if self.on == On::Leader { "" } else { " --on follower" };
        let next = match (self.dry_run, others.as_slice()) {
            (true, _) => format!("Next: raftctl attach {unit}{on}\n"),
            (false, []) => format!("Next: raftctl status {node}\n"),
            (false, _) => {
                let others = others.join(", ");
                format!(
                    "Next: raftctl attach {unit}{on} on the hosts of {others}, then raftctl \
                     status\n"
                )
            }
        };
        format!("{now}\n{next}")
    }

    fn here(&self) -> &'static str {
        match self.on {
            On::Leader => "active",
            On::Follower => "standing by",
        }
    }
}
