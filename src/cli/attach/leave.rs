//! `raftctl detach UNIT`: removes what attach wrote, and nothing else.

use super::dropin::target_of;
use super::place::{Place, Present};
use super::unit::UnitName;
use super::{DetachArgs, live};
use crate::cli::exit::Exit;
use crate::cli::output::{Format, print};
use crate::cli::service_manager::ServiceManager;
use crate::dbus::client::block_on;

/// What was done.
#[derive(Debug, serde::Serialize)]
struct Left {
    unit: String,
    target: Option<String>,
    removed: Vec<String>,
    /// Whether it still runs; `None` where no service manager was asked.
    running: Option<bool>,
    stopped: bool,
    dry_run: bool,
}

/// Detaches a unit.
pub fn run(args: &DetachArgs, format: Format) -> anyhow::Result<Exit> {
    let place = super::place("detach", args.root.as_deref(), args.dry_run)?;
    let left = block_on(leave(args, &place))?;
    print(&left.render(format))?;
    Ok(Exit::Ok)
}

async fn leave(args: &DetachArgs, place: &Place) -> anyhow::Result<Left> {
    let manager = match args.root {
        None => Some(ServiceManager::connect().await?),
        Some(_) => None,
    };
    let unit = canonical(&args.unit, place, manager.as_ref()).await?;
    let dropin = place.dropin(&unit);
    let text = match place.present(&unit)? {
        Present::Ours(text) => text,
        Present::Nothing => String::new(),
        Present::Foreign => {
            let message = format!(
                "{} was not written by raftctl attach: remove it by hand if it is not needed",
                dropin.display()
            );
            return Err(Exit::Failure.because(message));
        }
    };
    let target = target_of(&text).filter(|target| super::judge::is_role_target(target));
    let mut removed = Vec::new();
    let link = target.map(|target| place.link(target, &unit));
    for path in [Some(dropin), link].into_iter().flatten() {
        // The link first starts the unit with a target that it is not bound to: last in, first out.
        if path.symlink_metadata().is_ok() && !text.is_empty() {
            removed.insert(0, path);
        }
    }
    if !args.dry_run {
        for path in &removed {
            place.remove(path)?;
        }
    }
    let shown = removed.iter().map(|path| path.display().to_string()).collect();
    let mut left = Left {
        unit: unit.to_string(),
        target: target.map(str::to_owned),
        removed: shown,
        running: None,
        stopped: false,
        dry_run: args.dry_run,
    };
    let Some(manager) = &manager else { return Ok(left) };
    if !args.dry_run && !removed.is_empty() {
        manager.reload().await?;
    }
    let now = live::read(&unit, &manager.properties(unit.as_str()).await?);
    let running = !matches!(now.active.as_str(), "" | "inactive" | "failed");
    left.running = Some(running);
    if running && args.now && !args.dry_run && !removed.is_empty() {
        left.stopped = manager.stop(unit.as_str()).await? == "done";
        left.running = Some(!left.stopped);
    }
    Ok(left)
}

/// The unit's own name, if it was called by an alias. One that is gone has only this one.
async fn canonical(
    unit: &UnitName,
    place: &Place,
    manager: Option<&ServiceManager>,
) -> anyhow::Result<UnitName> {
    if place.present(unit)? != Present::Nothing || unit.is_template() {
        return Ok(unit.clone());
    }
    Ok(match manager {
        None => super::tree::facts(place, unit).name,
        Some(manager) => live::read(unit, &manager.properties(unit.as_str()).await?).name,
    })
}

impl Left {
    fn render(&self, format: Format) -> String {
        if let Some(json) = format.json(self) {
            return json;
        }
        let unit = &self.unit;
        if self.removed.is_empty() {
            return format!("{unit} is not attached; nothing to do\n");
        }
        let word = if self.dry_run { "Would remove" } else { "Removed" };
        let mut text: String = self.removed.iter().map(|path| format!("{word} {path}\n")).collect();
        if self.stopped {
            text += &format!("Stopped {unit}\n");
        }
        let target = self.target.as_deref().unwrap_or("its target");
        if self.running == Some(true) {
            text += &format!(
                "{unit} runs on here, and nothing stops it any more when {target} goes down. Where \
                 it must not run: systemctl stop {unit}\n"
            );
        }
        text += &format!(
            "Next: raftctl detach {unit} on the other hosts; systemctl enable --now {unit} where \
             it shall start at boot\n"
        );
        text
    }
}
