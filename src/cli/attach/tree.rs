//! What the files below a root directory say of a unit, where no service manager can be asked.
//!
//! Reads only what attach has to know. Drop-ins of the unit count, in the order of their names;
//! those of its type or of a prefix of its name do not.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::place::Place;
use super::unit::{Facts, StopTimeout, UnitName};
use crate::limits;

/// Where units are looked for, the first file wins (systemd.unit(5), "Unit File Load Path").
const PATHS: [&str; 8] = [
    "/etc/systemd/system",
    "/run/systemd/transient",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator",
    "/run/systemd/generator.late",
];

/// `DefaultTimeoutStopSec=` (systemd-system.conf(5)).
const DEFAULT_STOP: Duration = Duration::from_secs(90);

/// Follows links between names at most so often.
const ALIASES_MAX: usize = 8;

/// What is known of `unit`.
pub fn facts(place: &Place, unit: &UnitName) -> Facts {
    let mut facts = Facts {
        name: unit.clone(),
        aliases: vec![unit.to_string()],
        load: "not-found".to_owned(),
        load_error: String::new(),
        file_state: String::new(),
        fragment: String::new(),
        transient: false,
        active: String::new(),
        binds_to: Vec::new(),
        before: Vec::new(),
        in_the_way: None,
        triggered_by: Vec::new(),
        stop_timeout: default_timeout(unit),
        killed_at_last: true,
    };
    for _ in 0..ALIASES_MAX {
        let Some(path) = find(place, &facts.name) else { return facts };
        facts.fragment = path;
        let real = place.path(&facts.fragment);
        let Ok(to) = fs::read_link(&real) else { break };
        if to == Path::new("/dev/null") {
            facts.load = "masked".to_owned();
            return facts;
        }
        // A link to a file of another name is an alias; to one of the same name, another place.
        let other = to.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let same = other == facts.name.as_str() || Some(other) == facts.name.template().as_deref();
        match other.parse::<UnitName>() {
            Ok(name) if !same => {
                facts.aliases.push(name.to_string());
                facts.name = name;
            }
            _ => break,
        }
    }
    facts.load = "loaded".to_owned();
    if facts.fragment.starts_with("/run/systemd/generator") {
        facts.file_state = "generated".to_owned();
    }
    facts.transient = facts.fragment.starts_with("/run/systemd/transient");
    let texts: Vec<_> = files(place, &facts).iter().filter_map(|path| read(path)).collect();
    if texts.first().is_none_or(|text| text.trim().is_empty()) {
        facts.load = "masked".to_owned();
    }
    texts.iter().for_each(|text| learn(&mut facts, text));
    facts
}

fn default_timeout(unit: &UnitName) -> StopTimeout {
    unit.stop_setting().map_or(StopTimeout::None, |_| StopTimeout::After(DEFAULT_STOP))
}

/// The path of a unit's file, or of its template's, without the root.
fn find(place: &Place, unit: &UnitName) -> Option<String> {
    let names = [Some(unit.to_string()), unit.template()];
    let mut candidates = names
        .into_iter()
        .flatten()
        .flat_map(|name| PATHS.into_iter().map(move |directory| format!("{directory}/{name}")));
    candidates.find(|path| place.path(path).symlink_metadata().is_ok())
}

/// The unit's file and its drop-ins but ours.
fn files(place: &Place, facts: &Facts) -> Vec<PathBuf> {
    let mut dropins = Vec::new();
    for directory in PATHS {
        let directory = place.path(directory).join(format!("{}.d", facts.name));
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        dropins.extend(entries.map(|entry| entry.path()));
    }
    dropins.retain(|path| {
        path.extension().is_some_and(|extension| extension == "conf")
            && path.file_name() != Some(super::dropin::FILE_NAME.as_ref())
    });
    dropins.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    let file = place.path(&facts.fragment);
    // A link of `systemctl link` or `enable` names a path below the root.
    let linked = fs::read_link(&file).ok().filter(|to| to.is_absolute());
    let file = linked.and_then(|to| Some(place.path(to.to_str()?))).unwrap_or(file);
    [file].into_iter().chain(dropins).collect()
}

fn read(path: &Path) -> Option<String> {
    if !path.is_file() {
        return None;
    }
    let mut text = Vec::new();
    File::open(path).ok()?.take(limits::CONFIG_MAX_BYTES).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Takes in what one file says.
fn learn(facts: &mut Facts, text: &str) {
    let setting = facts.name.stop_setting();
    for (section, key, value) in settings(text) {
        let words = || value.split_whitespace().map(str::to_owned);
        match (section.as_str(), key.as_str()) {
            ("Unit", "BindsTo") => facts.binds_to.extend(words()),
            ("Unit", "Before") => facts.before.extend(words()),
            ("Service", "Sockets") => facts.triggered_by.extend(words()),
            (_, "SendSIGKILL") => {
                facts.killed_at_last = !matches!(value.as_str(), "no" | "false" | "off" | "0");
            }
            (of, key)
                if setting.is_some_and(|(section, name)| {
                    of == section && (key == name || key == "TimeoutSec")
                }) =>
            {
                facts.stop_timeout = stop_timeout(&value);
            }
            _ => {}
        }
    }
}

/// The settings of a unit file (systemd.syntax(7)): section, key and value. Lines that are none are
/// passed over.
fn settings(text: &str) -> Vec<(String, String, String)> {
    let (mut found, mut section) = (Vec::new(), String::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.trim().to_owned();
        if line.starts_with(['#', ';']) {
            continue;
        }
        while line.ends_with('\\') {
            line.pop();
            let Some(next) = lines.next() else { break };
            let comment = next.trim_start().starts_with(['#', ';']);
            line += if comment { "\\" } else { next.trim() };
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            found.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    found
}

/// A time span of systemd.time(7); what is not understood counts as too long, zero as infinite.
fn stop_timeout(value: &str) -> StopTimeout {
    let plain = value.parse::<u64>().map(Duration::from_secs);
    match plain.or_else(|_| humantime::parse_duration(value).map_err(drop)) {
        Ok(Duration::ZERO) | Err(()) => StopTimeout::Infinite,
        Ok(time) => StopTimeout::After(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_systemd_reads_them() {
        let text = "stray\n[Unit]\n# BindsTo=x\nBefore = a \\\n# in between\n  b\n;c\n[Service]\n\
                    TimeoutStopSec=2min 5s\n=\n[Broken\nSendSIGKILL=no\\";
        let got = settings(text);
        let has = |section: &str, key: &str| {
            let found = got.iter().find(|(s, k, _)| s == section && k == key);
            found.map(|(_, _, value)| value.clone())
        };
        assert_eq!(has("Unit", "BindsTo"), None);
        assert!(has("Unit", "Before").unwrap().split_whitespace().eq(["a", "b"]));
        assert_eq!(has("Service", "TimeoutStopSec").unwrap(), "2min 5s");
        assert_eq!(has("Service", "SendSIGKILL").unwrap(), "no");
        for (text, expected) in [
            ("5", StopTimeout::After(Duration::from_secs(5))),
            ("2min 5s", StopTimeout::After(Duration::from_secs(125))),
            ("infinity", StopTimeout::Infinite),
            ("0", StopTimeout::Infinite),
            ("99999999999999999999999", StopTimeout::Infinite),
        ] {
            assert_eq!(stop_timeout(text), expected, "{text}");
        }
    }
}
