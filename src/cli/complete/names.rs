//! The nodes and units of this host, for completions: what can be had without waiting.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::Names;
use crate::cli::attach::place::{Place, Present};
use crate::cli::attach::unit::UnitName;
use crate::cli::attach::{CONFIGURATION, instances};
use crate::cli::discover::Found;
use crate::dbus::client::block_on;
use crate::dbus::key_value::ReadOptions;
use crate::limits;

/// This host.
pub struct Host<'a> {
    /// How its agents are found.
    pub found: &'a dyn Fn() -> anyhow::Result<Found>,
    /// Where its units are.
    pub root: &'a Path,
}

impl Names for Host<'_> {
    fn nodes(&self) -> Vec<String> {
        let mut nodes: BTreeSet<String> = BTreeSet::new();
        if let Ok(found) = (self.found)() {
            nodes.extend(found.instances().iter().map(|instance| instance.name.clone()));
            let asked = async {
                // The agent may be the one that hangs.
                let members = async {
                    let client = found.connect(None).await.ok()?;
                    Some(client.describe().await.ok()?.members)
                };
                tokio::time::timeout(limits::REMOTE_STATUS_TIMEOUT, members).await.ok()?
            };
            let members = block_on(asked).unwrap_or_default();
            nodes.extend(members.into_iter().map(|member| member.name));
        }
        if nodes.is_empty() {
            let configured = instances(&Place::new(self.root).path(CONFIGURATION));
            nodes.extend(configured.iter().map(ToString::to_string));
        }
        nodes.into_iter().collect()
    }

    fn units(&self, attached: bool) -> Vec<String> {
        let place = Place::new(self.root);
        let mut units: BTreeSet<String> = BTreeSet::new();
        for directory in DIRECTORIES {
            let entries = fs::read_dir(place.path(directory)).into_iter().flatten().flatten();
            for entry in entries.take(limits::COMPLETE_FILES_MAX) {
                let Ok(file) = entry.file_name().into_string() else { continue };
                let name = if attached { file.strip_suffix(".d") } else { Some(file.as_str()) };
                let Some(name) = name.filter(|name| !name.ends_with(".d")) else { continue };
                // A name without a suffix is no file of a unit.
                let Ok(unit) = name.parse::<UnitName>() else { continue };
                if unit.as_str() != name || unit.is_own() || unit.is_template() {
                    continue;
                }
                let ours = || matches!(place.present(&unit), Ok(Present::Ours(_)));
                if !attached || ours() {
                    units.insert(unit.to_string());
                }
            }
        }
        units.into_iter().collect()
    }

    fn keys(&self, prefix: &str) -> Vec<String> {
        let Ok(found) = (self.found)() else { return Vec::new() };
        let asked = async {
            tokio::time::timeout(limits::REMOTE_STATUS_TIMEOUT, keys(&found, prefix)).await.ok()?
        };
        block_on(asked).unwrap_or_default()
    }
}

/// Keys that are text, as far as the agent knows them without asking anybody.
async fn keys(found: &Found, prefix: &str) -> Option<Vec<String>> {
    let client = found.connect(None).await.ok()?;
    let options = ReadOptions {
        consistency: Some("stale".to_owned()),
        limit: Some(limits::COMPLETE_KEYS_MAX),
        keys_only: Some(true),
        ..ReadOptions::default()
    };
    let (rows, ..) = client.kv_range(prefix.as_bytes(), &options).await.ok()?;
    Some(rows.into_iter().filter_map(|row| String::from_utf8(row.key).ok()).collect())
}

const DIRECTORIES: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
