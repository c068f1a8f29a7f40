//! What differs between two configurations, key by key, in the words of the file.

use super::keys::{KEYS, Key};
use super::kv::show;
use super::{Config, Eligibility, Enforcement, Health, Http, LogFormat, LogTarget};
use crate::core::role::EventName;

/// A key with two values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: &'static Key,
    /// Its value before, as text.
    pub old: String,
    /// Its value after.
    pub new: String,
}

impl Config {
    /// The keys that mean something else in `new`, in the order of the manual.
    pub fn differences(&self, new: &Config) -> Vec<Difference> {
        let both = KEYS.iter().map(|key| (key, value(self, key), value(new, key)));
        let changed = both.filter(|(_, old, new)| old != new);
        changed.map(|(key, old, new)| Difference { key, old, new }).collect()
    }
}

/// What `key` comes to, defaults included.
fn value(config: &Config, key: &Key) -> String {
    let Config { node, cluster, raft, authority, eligibility, health, events, http, kv, log } =
        config;
    match (key.section, key.name) {
        ("node", "name") => node.name.to_string(),
        ("node", "address") => node.address.to_string(),
        ("node", "listen") => node.listen.to_string(),
        ("node", "state_directory") => node.state_directory.display().to_string(),
        ("node", "runtime_directory") => node.runtime_directory.display().to_string(),
        ("cluster", "name") => cluster.name.clone(),
        ("cluster", "members") => {
            let members = cluster.members.iter().map(|m| format!("{} = {}", m.name, m.address));
            members.collect::<Vec<_>>().join(", ")
        }
        ("raft", "heartbeat") => duration(raft.heartbeat),
        ("raft", "election_min") => duration(raft.election_min),
        ("raft", "election_max") => duration(raft.election_max),
        ("authority", "demote_timeout") => duration(authority.demote_timeout),
        ("authority", "watchdog") => duration(authority.watchdog),
        ("authority", "grace") => duration(authority.grace),
        ("authority", "on_demote_timeout") => authority.on_demote_timeout.as_str().to_owned(),
        ("authority", "enforcement") => match authority.enforcement {
            Some(Enforcement::Systemd) => "systemd".to_owned(),
            Some(Enforcement::None) => "none".to_owned(),
            None => "by default".to_owned(),
        },
        ("eligibility", name) => of_eligibility(eligibility, name),
        ("health", name) => of_health(health, name),
        ("http", name) => of_http(http, name),
        ("kv", "quota") => show(kv.quota_bytes),
        ("kv", "snapshot_rate") => show(kv.snapshot_rate),
        ("events", "timeout") => duration(events.timeout),
        ("events", "kill_after") => duration(events.kill_after),
        ("events", event) => {
            let event = EventName::ALL.into_iter().find(|name| name.as_str() == event);
            let script = event.and_then(|event| events.scripts.get(&event));
            script.map_or("none".to_owned(), |path| path.display().to_string())
        }
        ("log", "level") => log.level.to_string(),
        ("log", "file") => match &log.target {
            LogTarget::Stderr => "standard error".to_owned(),
            LogTarget::File(path) => path.display().to_string(),
        },
        ("log", "format") => match log.format {
            LogFormat::Text => "text".to_owned(),
            LogFormat::Json => "json".to_owned(),
        },
        (section, name) => unreachable!("[{section}] {name} has no value here"),
    }
}

fn of_eligibility(eligibility: &Eligibility, name: &str) -> String {
    match name {
        "priority" => eligibility.priority.to_string(),
        "preempt" => eligibility.preempt.to_string(),
        "eligible_while" => {
            let units: Vec<&str> = eligibility.eligible_while.iter().map(|u| u.as_str()).collect();
            if units.is_empty() { "none".to_owned() } else { units.join(" ") }
        }
        "failures" => eligibility.failures.to_string(),
        "window" => duration(eligibility.window),
        "hold_down" => duration(eligibility.hold_down),
        "hold_down_max" => duration(eligibility.hold_down_max),
        _ => unreachable!("[eligibility] {name} has no value here"),
    }
}

fn of_health(health: &Health, name: &str) -> String {
    match name {
        "command" if health.command.is_empty() => "none".to_owned(),
        "command" => format!("{:?}", health.command),
        "interval" => duration(health.interval),
        "timeout" => duration(health.timeout),
        "rise" => health.rise.to_string(),
        "fall" => health.fall.to_string(),
        _ => unreachable!("[health] {name} has no value here"),
    }
}

fn of_http(http: &Http, name: &str) -> String {
    let listed = |texts: &[String]| match texts {
        [] => "none".to_owned(),
        texts => texts.join(" "),
    };
    match name {
        "listen" => http.listen.as_ref().map_or("off".to_owned(), |a| a.to_string()),
        "token_file" => match &http.token_file {
            Some(path) => path.display().to_string(),
            None => "none".to_owned(),
        },
        "allow_origins" => listed(&http.allow_origins),
        "connections" => http.connections.to_string(),
        "rate" => http.rate.to_string(),
        _ => unreachable!("[http] {name} has no value here"),
    }
}

fn duration(duration: std::time::Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::ConfigFile;

    fn config(text: &str) -> Config {
        let file = ConfigFile::parse(text, "n1.toml", Path::new("/etc/raftctl")).unwrap();
        file.node(None).unwrap().clone()
    }

    const BASE: &str = "node.name = \"n1\"\ncluster.members = { n1 = \"a:1\", n2 = \"b:1\" }\n";

    #[test]
    fn the_same_file_has_no_difference_and_every_key_a_value() {
        assert_eq!(config(BASE).differences(&config(BASE)), []);
    }

    #[test]
    fn every_key_that_changed_is_named_with_both_values() {
        let new = "node.name = \"n1\"\ncluster.members = { n1 = \"a:2\", n2 = \"b:1\" }\n\
                   raft.election_min = \"300ms\"\nauthority.on_demote_timeout = \"none\"\n\
                   eligibility.priority = 7\n\
                   eligibility.eligible_while = [\"a.service\"]\n\
                   health.command = [\"/bin/true\"]\nhealth.interval = \"1s\"\n\
                   events.leader = \"x.sh\"\nevents.quorum-lost = \"q.sh\"\n\
                   http.listen = \"127.0.0.1:80\"\nhttp.rate = 5\n\
                   kv.quota = \"1GiB\"\nkv.snapshot_rate = \"1536KiB\"\n\
                   events.timeout = \"1s\"\nlog.level = \"debug\"\n";
        let differences = config(BASE).differences(&config(new));
        let lines: Vec<String> = differences
            .iter()
            .map(|d| format!("[{}] {}: {} -> {}", d.key.section, d.key.name, d.old, d.new))
            .collect();
        let expected = [
            "[node] address: a:1 -> a:2",
            "[node] listen: a:1 -> a:2",
            "[cluster] members: n1 = a:1, n2 = b:1 -> n1 = a:2, n2 = b:1",
            "[raft] heartbeat: 40ms -> 60ms",
            "[raft] election_min: 200ms -> 300ms",
            "[raft] election_max: 400ms -> 600ms",
            "[authority] watchdog: 500ms -> 750ms",
            "[authority] on_demote_timeout: kill -> none",
            "[eligibility] priority: 100 -> 7",
            "[eligibility] eligible_while: none -> a.service",
            "[health] command: none -> [\"/bin/true\"]",
            "[health] interval: 5s -> 1s",
            "[health] timeout: 5s -> 1s",
            "[events] leader: none -> /etc/raftctl/x.sh",
            "[events] quorum-lost: none -> /etc/raftctl/q.sh",
            "[events] timeout: 30s -> 1s",
            "[http] listen: off -> 127.0.0.1:80",
            "[http] rate: 100000 -> 5",
            "[kv] quota: 256MiB -> 1GiB",
            "[kv] snapshot_rate: 32MiB -> 1536KiB",
            "[log] level: info -> debug",
        ];
        assert_eq!(lines, expected);
    }
}
