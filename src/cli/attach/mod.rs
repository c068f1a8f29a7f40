//! `raftctl attach UNIT` and `raftctl detach UNIT`: a unit of this host joins a target of its node,
//! and leaves it.
//!
//! Writes one drop-in and one link, no more, and says what and why; detach removes exactly these.
//! Refuses what could not work. With a service manager (no `--root`) it asks that one what the unit
//! is, has it read its files again and starts the member where the target is up; without, the files
//! are all there is. Never starts or stops the target: that is the agent's.

pub mod dropin;
pub mod judge;
mod leave;
mod live;
pub mod place;
mod report;
pub mod tree;
pub mod unit;

use std::path::{Path, PathBuf};

use super::args::Global;
use super::config_check;
use super::exit::{Exit, Failure};
use super::output::{Format, complain, print};
use super::service_manager::ServiceManager;
use crate::core::NodeName;
use crate::dbus::client::block_on;
use crate::limits;
use dropin::Wish;
use judge::{Case, judge};
pub use leave::run as detach;
use place::{Place, Present};
use report::Report;
use unit::{Facts, On, UnitName};

/// Arguments of `attach`.
#[derive(Clone, Debug, clap::Args)]
pub struct AttachArgs {
    /// The unit, for example nginx.service; without a suffix a service is meant.
    #[arg(value_name = "UNIT")]
    pub unit: UnitName,
    /// Where it shall run: on the active host, or on those that stand by.
    #[arg(long, value_enum, value_name = "ROLE", default_value_t = On::Leader)]
    pub on: On,
    /// The node of this host; if missing, the only one in /etc/raftctl.
    #[arg(long, value_name = "NODE")]
    pub instance: Option<NodeName>,
    /// Have it no longer start elsewhere, and stop it where the target is down, as `systemctl
    /// disable --now` would.
    #[arg(long)]
    pub disable: bool,
    /// Say what would be written, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Work on the files below DIR, without a service manager.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// Arguments of `detach`.
#[derive(Clone, Debug, clap::Args)]
pub struct DetachArgs {
    /// The unit.
    #[arg(value_name = "UNIT")]
    pub unit: UnitName,
    /// Stop it as well.
    #[arg(long)]
    pub now: bool,
    /// Say what would be removed, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Work on the files below DIR, without a service manager.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// Attaches a unit.
pub fn attach(args: &AttachArgs, global: &Global, format: Format) -> anyhow::Result<Exit> {
    let place = place("attach", args.root.as_deref(), args.dry_run)?;
    let instance = args.instance.as_ref().or(global.node.as_ref());
    let (wish, members) = wish(args, &place, instance)?;
    let live = args.root.is_none();
    let report = block_on(async {
        let manager = if live { Some(ServiceManager::connect().await?) } else { None };
        Attaching { args, place, manager, wish, members }.run().await
    })?;
    report.warnings.iter().for_each(|warning| complain(&format!("warning: {warning}")));
    print(&report.render(format))?;
    Ok(if report.failed.is_some() { Exit::Failure } else { Exit::Ok })
}

/// Where to work, if this user may.
fn place(verb: &str, root: Option<&Path>, dry_run: bool) -> anyhow::Result<Place> {
    let root_user = nix::unistd::geteuid().is_root();
    if root.is_none() && !dry_run && !root_user {
        let message = format!("{verb}: changes units of this host: run it as root, or --dry-run");
        return Err(Exit::NotPermitted.because(message));
    }
    if let Some(root) = root.filter(|root| !root.is_dir()) {
        let message = format!("{verb}: --root {}: expected a directory", root.display());
        return Err(Exit::Usage.because(message));
    }
    Ok(Place::new(root.unwrap_or(Path::new("/"))))
}

/// What is wanted, and the names of all members of the cluster.
fn wish(
    args: &AttachArgs,
    place: &Place,
    instance: Option<&NodeName>,
) -> anyhow::Result<(Wish, Vec<String>)> {
    let node = match instance {
        Some(node) => node.clone(),
        None => only_instance(place)?,
    };
    let path = place.path(CONFIGURATION).join(format!("{node}.toml"));
    let file = config_check::load(&path)?;
    let config = file.node(Some(node.as_str()));
    let config = config.map_err(|error| Exit::Usage.because(error.to_string()))?;
    // What a member may take, so that systemd ends it before the fence does.
    let limit = config.authority.demote_timeout - limits::FENCE_AHEAD;
    let members = config.cluster.members.iter().map(|member| member.name.to_string()).collect();
    Ok((Wish { unit: args.unit.clone(), node, on: args.on, limit }, members))
}

/// The only node with a configuration.
fn only_instance(place: &Place) -> anyhow::Result<NodeName> {
    let mut nodes = instances(&place.path(CONFIGURATION));
    match (nodes.pop(), nodes.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => {
            let place = place.path(CONFIGURATION);
            let message = format!(
                "no node is configured in {}: `raftctl init` writes a configuration",
                place.display()
            );
            Err(Exit::Usage.because(message))
        }
        (Some(last), _) => {
            nodes.push(last);
            let names: Vec<_> = nodes.iter().map(NodeName::as_str).collect();
            let names = names.join(", ");
            let message = format!("this host has several nodes, {names}: expected --instance NODE");
            Err(Exit::Usage.because(message))
        }
    }
}

/// The nodes with a configuration in `directory`, in order.
pub fn instances(directory: &Path) -> Vec<NodeName> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let node = |name: &str| name.strip_suffix(".toml")?.parse().ok();
    let mut nodes: Vec<NodeName> =
        entries.filter_map(|entry| node(entry.file_name().to_str()?)).collect();
    nodes.sort();
    nodes
}

/// One attachment under way.
struct Attaching<'a> {
    args: &'a AttachArgs,
    place: Place,
    manager: Option<ServiceManager>,
    wish: Wish,
    members: Vec<String>,
}

impl Attaching<'_> {
    async fn run(mut self) -> anyhow::Result<Report> {
        let target = self.wish.target();
        let (facts, target_up) = self.look(&target).await?;
        self.wish.unit = facts.name.clone();
        let present = self.place.present(&facts.name)?;
        let links = self.place.links(&facts.aliases);
        let case = Case {
            wish: &self.wish,
            facts: &facts,
            present: &present,
            links: &links,
            target_up,
            disable: self.args.disable,
        };
        let verdict = judge(&case);
        if !verdict.refused.is_empty() {
            return Err(Failure::new(Exit::Failure, verdict.refused.join("\n")).into());
        }
        let before = match &present {
            Present::Ours(text) => Some(text.as_str()),
            _ => None,
        };
        let timeout = self.wish.stop_timeout(facts.stop_timeout, before);
        let text = self.wish.text(timeout);
        let mut report = Report::new(&self.wish, &facts, timeout, text);
        (report.warnings, report.dry_run) = (verdict.warnings, self.args.dry_run);
        report.members = self.members.clone();
        report.dropin = self.place.dropin(&facts.name);
        report.link = self.place.link(&target, &facts.name);
        report.active_here = target_up;
        let elsewhere = links.into_iter().filter(|(of, _)| !judge::is_role_target(of));
        report.disabled = elsewhere.map(|(of, _)| of).collect();
        report.disabled.dedup();
        report.new = before != Some(report.text.as_str())
            || std::fs::read_link(&report.link).ok() != Some(PathBuf::from(&facts.fragment));
        if !self.args.dry_run {
            self.carry_out(&facts, &mut report).await?;
        }
        Ok(report)
    }

    async fn look(&self, target: &str) -> Result<(Facts, Option<bool>), Failure> {
        let unit = &self.wish.unit;
        let Some(manager) = &self.manager else {
            return Ok((tree::facts(&self.place, unit), None));
        };
        // Those are told apart without asking; the manager refuses to look at a template.
        if unit.is_template() || unit.is_own() {
            return Ok((tree::facts(&self.place, unit), None));
        }
        let facts = live::facts(manager, unit, target).await?;
        Ok((facts, Some(live::is_up(manager, target).await?)))
    }

    async fn carry_out(&self, facts: &Facts, report: &mut Report) -> anyhow::Result<()> {
        let unit = facts.name.as_str();
        let up = |state: &str| !matches!(state, "inactive" | "failed");
        if !report.disabled.is_empty() {
            self.disable(facts).await?;
        }
        if let (Some(manager), Some(false)) = (&self.manager, report.active_here)
            && up(&facts.active)
        {
            // BEFORE it is bound: systemd would stop it by itself, and nobody would have said so.
            manager.stop(unit).await?;
            report.stopped = true;
        }
        if report.new {
            self.place.write(&report.dropin, &report.text)?;
            self.place.point(&report.link, &facts.fragment)?;
        }
        let Some(manager) = &self.manager else { return Ok(()) };
        if report.new || !report.disabled.is_empty() {
            manager.reload().await?;
        }
        let now = live::read(&facts.name, &manager.properties(unit).await?);
        let target = self.wish.target();
        if !now.binds_to.contains(&target) {
            report.failed = Some(format!(
                "{unit} is still not bound to {target}: `systemctl cat {unit}` shows what it reads"
            ));
            return Ok(());
        }
        // Now: a target that has come up since did not know of its new member.
        report.active_here = Some(live::is_up(manager, &target).await?);
        if report.active_here == Some(true) && !up(&now.active) {
            let result = manager.start(unit).await?;
            report.started = result == "done";
            if !report.started {
                report.failed = Some(format!(
                    "{unit} did not start ({result}): `systemctl status {unit}` says why"
                ));
            }
        }
        Ok(())
    }

    /// Takes back what starts the unit elsewhere.
    async fn disable(&self, facts: &Facts) -> anyhow::Result<()> {
        if let Some(manager) = &self.manager {
            return Ok(manager.disable(facts.name.as_str()).await?);
        }
        for (of, directory) in self.place.links(&facts.aliases) {
            if !judge::is_role_target(&of) {
                for name in &facts.aliases {
                    self.place.remove(&directory.join(name))?;
                }
            }
        }
        Ok(())
    }
}

/// Where the configuration of each node is.
pub const CONFIGURATION: &str = "/etc/raftctl";
