//! `/metrics` as text: the exposition format 0.0.4 of Prometheus, and OpenMetrics 1.0.0.
//!
//! Names are stable; `docs/metrics.md` says what each means, and a test keeps the two together.

use std::fmt::{Display, Write as _};

use crate::node::metrics::{BOUNDS_USEC, Histogram, Metrics};
use crate::node::status::{NodeStatus, Role};
use crate::node::store::StoreStatus;

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Version 0.0.4.
    Text,
    /// OpenMetrics.
    OpenMetrics,
}

impl Syntax {
    /// For `Content-Type:`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Syntax::Text => "text/plain; version=0.0.4; charset=utf-8",
            Syntax::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Everything that is known now.
pub fn render(
    status: &NodeStatus,
    store: &StoreStatus,
    metrics: &Metrics,
    syntax: Syntax,
) -> String {
    let mut page = Page { out: String::with_capacity(16 << 10), syntax };
    of_node(&mut page, status, metrics);
    of_log(&mut page, status, store, metrics);
    of_store(&mut page, store, metrics);
    of_scripts(&mut page, metrics);
    of_http(&mut page, metrics);
    if syntax == Syntax::OpenMetrics {
        page.out.push_str("# EOF\n");
    }
    page.out
}

fn of_node(page: &mut Page, status: &NodeStatus, metrics: &Metrics) {
    let labels = format!(
        "version=\"{}\",node=\"{}\",cluster=\"{}\"",
        env!("CARGO_PKG_VERSION"),
        status.name,
        status.cluster_name
    );
    page.info("raftctl_build", "What runs, and where.", &labels);
    page.gauge("raftctl_node_id", "Number of this node.", status.id.0);
    page.head("raftctl_role", "gauge", "1 for the role of this node, 0 for the others.");
    for role in [Role::Follower, Role::Candidate, Role::Leader, Role::Learner] {
        let labels = format!("role=\"{}\"", role.as_str());
        page.sample("raftctl_role", &labels, u8::from(role == status.role));
    }
    let flag = u64::from;
    page.gauge("raftctl_active", "Whether this node is the active one.", flag(status.active));
    let help = "Whether a leader is known, and so a quorum.";
    page.gauge("raftctl_has_leader", help, flag(status.leader.is_some()));
    let help = "Number of the leader; 0 if none is known.";
    page.gauge("raftctl_leader_id", help, status.leader.map_or(0, |id| id.0));
    page.gauge("raftctl_paused", "Whether the cluster is paused.", flag(status.paused));
    page.gauge("raftctl_term", "Current term.", status.term);
    let help = "Token of the activation in force; 0 if there is none.";
    page.gauge("raftctl_token", help, status.token.map_or(0, |token| token.0));
    page.head("raftctl_member_connected", "gauge", "Whether a member is connected to this node.");
    for member in &status.members {
        let labels = format!("member=\"{}\"", member.name);
        page.sample("raftctl_member_connected", &labels, u8::from(member.connected));
    }
    let help = "On the leader: entries of the log that a member is behind.";
    page.head("raftctl_member_lag_entries", "gauge", help);
    let last = metrics.last_index().max(status.commit_index);
    for member in &status.members {
        if let Some(matched) = member.matched {
            let labels = format!("member=\"{}\"", member.name);
            page.sample("raftctl_member_lag_entries", &labels, last.saturating_sub(matched));
        }
    }
    let help = "Changes of this node's role.";
    page.counter("raftctl_role_changes", help, metrics.role_changes.get());
    let help = "Elections that this node has won.";
    page.counter("raftctl_elections_won", help, metrics.elections_won.get());
    let help = "Activations of this node.";
    page.counter("raftctl_activations", help, metrics.activations.get());
    let help = "Times without a known leader.";
    page.histogram("raftctl_leader_gap_seconds", help, &metrics.leader_gap);
    let help = "Messages of peers that no correct peer sends.";
    page.counter("raftctl_refused_messages", help, metrics.refused_messages.get());
}

fn of_log(page: &mut Page, status: &NodeStatus, store: &StoreStatus, metrics: &Metrics) {
    let last = metrics.last_index().max(status.commit_index);
    page.gauge("raftctl_log_last_index", "Last index of the log.", last);
    page.gauge("raftctl_log_first_index", "First index that the log still has.", store.log_first);
    page.gauge("raftctl_log_bytes", "Bytes of the log's entries.", store.log_bytes);
    page.gauge("raftctl_commit_index", "Last index that is committed.", status.commit_index);
    page.gauge("raftctl_applied_index", "Last index that is applied.", status.applied_index);
    page.histogram("raftctl_fsync_seconds", "One write and sync of the log.", &metrics.fsync);
    let help = "Writes that wait for the disk.";
    page.gauge("raftctl_disk_queue", help, metrics.disk_queue.get());
    let help = "Appends that were dropped because the disk did not keep up.";
    page.counter("raftctl_dropped_appends", help, metrics.dropped_appends.get());
}

fn of_store(page: &mut Page, store: &StoreStatus, metrics: &Metrics) {
    page.gauge("raftctl_store_keys", "Keys in the store.", store.keys);
    page.gauge("raftctl_store_bytes", "Bytes that count towards the quota.", store.bytes);
    page.gauge("raftctl_store_quota_bytes", "The quota.", store.quota_bytes);
    let help = "Last index that is applied durably.";
    page.gauge("raftctl_store_durable_index", help, store.durable);
    let help = "Clients whose last write is remembered.";
    page.gauge("raftctl_store_clients", help, store.clients);
    let help = "Requests of the store that wait on this node.";
    page.gauge("raftctl_store_queue", help, metrics.store_queue.get());
    let help = "From the arrival of a write on this node to its answer.";
    page.histogram("raftctl_commit_seconds", help, &metrics.commit);
    let help = "From the arrival of a read on this node to its answer.";
    page.histogram("raftctl_read_seconds", help, &metrics.read);
    let help = "Snapshots that this node has sent.";
    page.counter("raftctl_snapshots_sent", help, store.snapshots_sent);
    let help = "Snapshots that this node has installed.";
    page.counter("raftctl_snapshots_installed", help, store.snapshots_installed);
    let help = "Bytes of a snapshot under way that are there.";
    page.head("raftctl_snapshot_bytes", "gauge", help);
    let labels: Vec<String> = store
        .snapshots
        .iter()
        .map(|snapshot| {
            let direction = if snapshot.incoming { "in" } else { "out" };
            format!("peer=\"{}\",direction=\"{direction}\"", snapshot.peer)
        })
        .collect();
    for (snapshot, labels) in store.snapshots.iter().zip(&labels) {
        page.sample("raftctl_snapshot_bytes", labels, snapshot.bytes);
    }
    let help = "Bytes that a snapshot under way will have, about.";
    page.head("raftctl_snapshot_total_bytes", "gauge", help);
    for (snapshot, labels) in store.snapshots.iter().zip(&labels) {
        page.sample("raftctl_snapshot_total_bytes", labels, snapshot.total_bytes);
    }
}

fn of_scripts(page: &mut Page, metrics: &Metrics) {
    let scripts = &metrics.scripts;
    page.histogram("raftctl_script_seconds", "Event scripts that have ended.", &scripts.run);
    let help = "Event scripts that did not succeed.";
    page.counter("raftctl_scripts_failed", help, scripts.failed.get());
    let help = "Events that newer ones replaced before their scripts started.";
    page.counter("raftctl_scripts_coalesced", help, scripts.coalesced.get());
}

fn of_http(page: &mut Page, metrics: &Metrics) {
    let http = &metrics.http;
    page.head("raftctl_http_answers", "counter", "Answers by the class of their status.");
    for (class, count) in http.answers() {
        page.sample("raftctl_http_answers_total", &format!("class=\"{class}xx\""), count);
    }
    let help = "From the head of a request to its answer.";
    page.histogram("raftctl_http_request_seconds", help, &http.request);
    page.gauge("raftctl_http_connections", "Open connections.", http.open());
    let help = "Connections that had no place.";
    page.counter("raftctl_http_refused_connections", help, http.refused());
}

struct Page {
    out: String,
    syntax: Syntax,
}

impl Page {
    /// What precedes the samples of a family. In OpenMetrics a counter is named without `_total`.
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let suffix = match (self.syntax, kind) {
            (Syntax::Text, "counter") => "_total",
            (Syntax::Text, "info") => "_info",
            _ => "",
        };
        let kind = if self.syntax == Syntax::Text && kind == "info" { "gauge" } else { kind };
        self.line(format_args!("# HELP {name}{suffix} {help}"));
        self.line(format_args!("# TYPE {name}{suffix} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        match labels {
            "" => self.line(format_args!("{name} {value}")),
            labels => self.line(format_args!("{name}{{{labels}}} {value}")),
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        self.sample(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "counter", help);
        self.sample(&format!("{name}_total"), "", value);
    }

    fn info(&mut self, name: &str, help: &str, labels: &str) {
        self.head(name, "info", help);
        self.sample(&format!("{name}_info"), labels, 1);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let counts = histogram.cumulative();
        let bucket = format!("{name}_bucket");
        for (bound, count) in BOUNDS_USEC.iter().zip(counts) {
            self.sample(&bucket, &format!("le=\"{:?}\"", *bound as f64 / 1e6), count);
        }
        let all = counts[BOUNDS_USEC.len()];
        self.sample(&bucket, "le=\"+Inf\"", all);
        self.sample(&format!("{name}_sum"), "", histogram.sum_usec() as f64 / 1e6);
        self.sample(&format!("{name}_count"), "", all);
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        writeln!(self.out, "{text}").expect("text can be written to");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::node::status::MemberStatus;
    use crate::node::store::SnapshotProgress;

    fn page(syntax: Syntax) -> String {
        let status = NodeStatus {
            name: "n1".parse().unwrap(),
            id: crate::core::NodeId(1),
            cluster_name: "main".to_owned(),
            cluster_id: None,
            role: Role::Leader,
            active: true,
            phase: crate::core::authority::Phase::Active,
            term: 3,
            token: None,
            leader: Some(crate::core::NodeId(1)),
            paused: false,
            commit_index: 9,
            applied_index: 9,
            members: vec![MemberStatus {
                id: crate::core::NodeId(1),
                name: "n1".parse().unwrap(),
                address: "a:1".parse().unwrap(),
                kind: crate::core::command::MemberKind::Voter,
                connected: true,
                matched: Some(7),
                eligible: None,
                priority: None,
            }],
        };
        let (peer, index, bytes, total_bytes) = ("n2".to_owned(), 5, 1, 2);
        let snapshot = SnapshotProgress { peer, incoming: true, index, bytes, total_bytes };
        let store = StoreStatus { snapshots: vec![snapshot], ..StoreStatus::default() };
        let metrics = Metrics::default();
        metrics.fsync.record(std::time::Duration::from_micros(150));
        metrics.http.answered(200, std::time::Duration::ZERO);
        render(&status, &store, &metrics, syntax)
    }

    /// Names of the families and their kinds.
    fn families(text: &str) -> BTreeSet<(&str, &str)> {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|line| line.split_once(' ').unwrap()).collect()
    }

    #[test]
    fn every_metric_is_documented_and_every_documented_one_is_there() {
        let text = page(Syntax::Text);
        let rows = include_str!("../../docs/metrics.md").lines();
        let documented = rows.filter_map(|line| line.strip_prefix("| `raftctl_")).map(|row| {
            let (name, rest) = row.split_once("` |").unwrap();
            (format!("raftctl_{name}"), rest.split('|').next().unwrap().trim())
        });
        let documented: BTreeSet<_> = documented.collect();
        let there = families(&text);
        let there: BTreeSet<_> =
            there.iter().map(|(name, kind)| (name.to_string(), *kind)).collect();
        let missing: Vec<_> = there.difference(&documented).collect();
        let gone: Vec<_> = documented.difference(&there).collect();
        assert!(missing.is_empty() && gone.is_empty(), "undocumented {missing:?}, gone {gone:?}");
    }

    #[test]
    fn the_text_is_what_prometheus_reads() {
        for syntax in [Syntax::Text, Syntax::OpenMetrics] {
            let text = page(syntax);
            let mut family = "";
            let (mut families, mut seen) = (BTreeSet::new(), BTreeSet::new());
            for line in text.lines().filter(|line| *line != "# EOF") {
                if let Some(head) = line.strip_prefix("# TYPE ") {
                    family = head.split(' ').next().unwrap();
                    assert!(families.insert(family.to_owned()), "{family} twice");
                } else if !line.starts_with("# HELP ") {
                    let (name, value) = line.rsplit_once(' ').unwrap();
                    value.parse::<f64>().unwrap();
                    let bare = name.split('{').next().unwrap();
                    assert!(bare.starts_with(family), "{line} in {family}");
                    assert!(seen.insert(name.to_owned()), "{name} twice");
                }
            }
        }
        let text = page(Syntax::Text);
        assert!(text.contains("\n# TYPE raftctl_role_changes_total counter\n"), "{text}");
        assert!(text.contains("\nraftctl_fsync_seconds_bucket{le=\"0.0001\"} 0\n"), "{text}");
        assert!(text.contains("\nraftctl_fsync_seconds_bucket{le=\"0.0002\"} 1\n"), "{text}");
        assert!(text.contains("\nraftctl_fsync_seconds_sum 0.00015\n"), "{text}");
        assert!(text.contains("\nraftctl_member_lag_entries{member=\"n1\"} 2\n"), "{text}");
        let text = page(Syntax::OpenMetrics);
        assert!(text.contains("\n# TYPE raftctl_role_changes counter\n"), "{text}");
        assert!(text.contains("\nraftctl_role_changes_total 0\n"), "{text}");
        assert!(text.ends_with("\n# EOF\n"), "{text}");
    }
}
