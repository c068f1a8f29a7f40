//! The agents of a lab as one cluster: configuration, what they say, what their scripts saw.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::clock::{from_realtime, within};
use super::command::{self, PATH};
use super::host::Host;
use super::network::address;
use super::{DEADLINE, Lab};

/// The port of every agent.
pub const PORT: u16 = 7100;

/// Where the package is looked for, instead of where `make deb` puts it.
const PACKAGE: &str = "RAFTCTL_DEB";

/// What goes into the package, below the sources: it is older than none of them.
const PACKED: &[&str] =
    &["src", "systemd", "dbus", "completions", "debian", "man", "Cargo.toml", "Cargo.lock"];

/// The script of every event, and the file to which it appends.
const SCRIPT: &str = "/etc/raftctl/record-event";
const RECORDED: &str = "/var/lib/lab/events";

/// What one event script was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The host on which it ran.
    pub host: usize,
    pub event: String,
    /// 0: there is no activation.
    pub token: u64,
    pub sequence: u64,
    /// When it ran, on the scale of [`super::now`].
    pub at: Duration,
}

/// Who leads, as all running agents say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    pub host: usize,
    pub term: u64,
    pub token: u64,
}

/// The package that `make deb` built from these sources, or why there is none.
pub fn package() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os(PACKAGE) {
        return Ok(PathBuf::from(named));
    }
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("deb");
    let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
    let packages =
        entries.map(|entry| entry.path()).filter(|p| p.extension() == Some("deb".as_ref()));
    let missing = || format!("no package in {}: make lab builds it", place.display());
    let package = packages.max_by_key(|path| changed(path)).ok_or_else(missing)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let newest = PACKED.iter().map(|path| newest(&root.join(path))).max();
    match newest {
        Some((at, path)) if at > changed(&package) => {
            let (package, path) = (package.display(), path.display());
            Err(format!("{package} is older than {path}: make lab builds it"))
        }
        _ => Ok(package),
    }
}

fn changed(path: &Path) -> SystemTime {
    std::fs::metadata(path).unwrap().modified().unwrap()
}

/// The file that was changed last. What debhelper leaves behind does not count.
fn newest(path: &Path) -> (SystemTime, PathBuf) {
    if !path.is_dir() {
        return (changed(path), path.to_owned());
    }
    let ignored = std::fs::read_to_string(path.join(".gitignore")).unwrap_or_default();
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        !name.starts_with('.')
            && !ignored.lines().any(|line| match line.trim_matches('/').split_once('*') {
                Some((begin, end)) => name.starts_with(begin) && name.ends_with(end),
                None => line.trim_matches('/') == name,
            })
    };
    let files = entries.filter(ours).map(|path| newest(&path));
    files.max().unwrap_or((SystemTime::UNIX_EPOCH, path.to_owned()))
}

/// The agents.
impl Lab {
    /// Writes the configuration of every host, with `more` sections in it. Every event script
    /// leaves a line for [`Lab::events`].
    pub fn configure(&self, more: &str) {
        let events = format!("[events]\nleader = \"{SCRIPT}\"\nfollower = \"{SCRIPT}\"\n{more}");
        self.configure_plain(&events);
    }

    /// Writes the configuration of every host, with `more` sections in it and no event scripts.
    pub fn configure_plain(&self, more: &str) {
        let member = |host: &Host| format!("{} = \"{}:{PORT}\"", host.name, address(host.index));
        let members = self.hosts().map(member).collect::<Vec<_>>().join(", ");
        let record = format!(
            "#!/bin/sh\necho \"$RAFTCTL_EVENT ${{RAFTCTL_TOKEN:-0}} $RAFTCTL_SEQUENCE \
             $(date +%s%6N)\" >>{RECORDED}\n"
        );
        for host in self.hosts() {
            host.write_script(SCRIPT, &record);
            host.write_file(RECORDED, "");
            let text = format!(
                "[node]\nname = \"{}\"\n[cluster]\nname = \"lab\"\nmembers = {{ {members} }}\n\
                 {more}",
                host.name
            );
            host.write_file(&format!("/etc/raftctl/{}.toml", host.name), &text);
        }
    }

    /// Waits until every running host says the same about who leads, and that it is active.
    pub fn leader(&self) -> Leader {
        let running = self.hosts().filter(|host| host.is_running());
        let running: Vec<usize> = running.map(|host| host.index).collect();
        self.leader_among(&running, 0)
    }

    /// Waits until all of `hosts` say that the same one of them leads and is active, with a token
    /// above `beyond`. What the others believe is not asked.
    pub fn leader_among(&self, hosts: &[usize], beyond: u64) -> Leader {
        let mut said = Vec::new();
        let found = within(DEADLINE, || {
            said = hosts.iter().map(|&host| self.host(host).status()).collect();
            agreed(&said).filter(|leader| leader.token > beyond)
        });
        found.unwrap_or_else(|| panic!("{hosts:?} agree on no leader beyond {beyond}: {said:#?}"))
    }

    /// What the event scripts of all hosts were told, in the order in which they ran.
    pub fn events(&self) -> Vec<Event> {
        let mut events: Vec<Event> = self.hosts().flat_map(recorded).collect();
        events.sort_by_key(|event| event.at);
        events
    }
}

impl Host {
    /// The unit of its agent.
    pub fn agent(&self) -> String {
        format!("raftctl@{}.service", self.name)
    }

    /// Enables units as the administrator does who prepares a host that is off.
    pub fn enable(&self, unit: &str) {
        let root = self.path("/");
        let mut command = Command::new("systemctl");
        command.env_clear().env("PATH", PATH).arg("--root").arg(root).args(["enable", unit]);
        command::run(&mut command, DEADLINE).expect("it ends").ok();
    }

    /// What the agent says about itself in `raftctl status --json`; if it does not answer, what
    /// `raftctl` says about that.
    pub fn status(&self) -> Value {
        let output = self.run(&["raftctl", "--json=short", "status"]);
        let said: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        let mut nodes = said["nodes"].as_array().into_iter().flatten();
        let own = nodes.find(|node| node["name"] == self.name.as_str());
        let own = own.map(|own| own["status"].clone()).filter(Value::is_object);
        own.unwrap_or_else(|| output.stderr.into())
    }
}

/// What all of `said` agree on: one of them leads and is active, the others follow it.
fn agreed(said: &[Value]) -> Option<Leader> {
    let [leader] = said.iter().filter(|own| own["active"] == true).collect::<Vec<_>>()[..] else {
        return None;
    };
    let same = |own: &Value, key: &str| own[key] == leader[key];
    let fits =
        |own: &Value| own["leader"] == leader["name"] && same(own, "term") && same(own, "token");
    let number = |key: &str| leader[key].as_u64();
    let host = leader["name"].as_str()?.strip_prefix('n')?.parse().ok()?;
    let found = Leader { host, term: number("term")?, token: number("token")? };
    said.iter().all(fits).then_some(found)
}

fn recorded(host: &Host) -> Vec<Event> {
    let text = host.read_file(RECORDED).unwrap_or_default();
    let event = |line: &str| {
        let [event, token, sequence, usec] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{}: {line:?} in {RECORDED}", host.name);
        };
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{line:?}"));
        let at = from_realtime(number(usec));
        let (token, sequence) = (number(token), number(sequence));
        Event { host: host.index, event: event.to_owned(), token, sequence, at }
    };
    text.lines().map(event).collect()
}
