//! The configuration file and the event scripts: what runs as root must be root's alone.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Check;
use crate::cli::attach::CONFIGURATION;
use crate::config::Config;

/// Looks at `file` and at the scripts that it names.
pub fn look(file: &Path, config: &Config) -> Vec<Check> {
    let mut checks = vec![configuration(file)];
    checks.extend(config.events.scripts.iter().map(|(event, script)| {
        let check = format!("{event} script");
        match fs::metadata(script) {
            Err(error) => {
                let found = format!("{}: {error}", script.display());
                Check::fail(&check, found, "create it, or remove it from [events]")
            }
            Ok(meta) if !meta.is_file() => {
                let found = format!("{} is not a file", script.display());
                Check::fail(&check, found, "name a program in [events]")
            }
            Ok(meta) if meta.mode() & 0o111 == 0 && !is_javascript(script) => {
                let found = format!("{} is not executable", script.display());
                Check::fail(&check, found, &format!("chmod 755 {}", script.display()))
            }
            // Somewhere else than under systemd, scripts run as whoever starts the agent.
            Ok(_) if !file.starts_with(CONFIGURATION) => {
                Check::ok(&check, script.display().to_string())
            }
            Ok(_) => roots_alone(&check, script),
        }
    }));
    checks
}

fn is_javascript(script: &Path) -> bool {
    script.extension().is_some_and(|extension| extension == "js")
}

fn configuration(file: &Path) -> Check {
    const CHECK: &str = "configuration";
    let shown = file.display();
    if !file.starts_with(CONFIGURATION) {
        return Check::ok(CHECK, format!("{shown} can be used"));
    }
    let check = roots_alone(CHECK, file);
    if check.result != super::Result::Ok {
        return check;
    }
    match fs::metadata(file) {
        // The agent and its helpers are other users.
        Ok(meta) if meta.mode() & 0o004 == 0 => {
            let found = format!("{shown} has mode {:04o}", meta.mode() & 0o7777);
            Check::fail(CHECK, found, &format!("chmod 644 {shown}: the agent has to read it"))
        }
        Ok(_) => Check::ok(CHECK, format!("{shown} can be used")),
        Err(error) => Check::fail(CHECK, format!("{shown}: {error}"), "look at the file system"),
    }
}

/// Whether `path` and all above it belong to root, and nobody else can write them.
fn roots_alone(check: &str, path: &Path) -> Check {
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) => {
            let found = format!("{}: {error}", path.display());
            return Check::fail(check, found, "create it");
        }
    };
    let others_write = |meta: &Metadata| {
        let others = if meta.gid() == 0 { 0o002 } else { 0o022 };
        meta.uid() != 0 || meta.mode() & others != 0
    };
    for part in real.ancestors() {
        match fs::metadata(part) {
            Ok(meta) if others_write(&meta) => {
                let shown = part.display();
                let found = format!(
                    "{shown} belongs to user {} and has mode {:04o}",
                    meta.uid(),
                    meta.mode() & 0o7777
                );
                let advice = format!("chown root: {shown}; chmod go-w {shown}: it runs as root");
                return Check::fail(check, found, &advice);
            }
            Ok(_) => {}
            Err(error) => {
                let found = format!("{}: {error}", part.display());
                return Check::warn(check, found, "run raftctl doctor as root");
            }
        }
    }
    Check::ok(check, format!("{} is root's alone", path.display()))
}
