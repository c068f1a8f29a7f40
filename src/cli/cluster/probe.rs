//! `raftctl cluster test`: is the cluster healthy, and does it hand over?

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Client;
use super::place::{LocalCluster, LocalNode};
use super::view::{self, Observed};
use crate::cli::output::{Format, Style};
use crate::dbus::describe::Describe;
use crate::exit::Exit;
use crate::limits;

/// Runs the checks and prints a line for each. [`Exit::Failure`] if one fails.
pub(super) fn run(
    cluster: &LocalCluster,
    client: &dyn Client,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let nodes = cluster.nodes(None)?;
    let mut probe = Probe { nodes, client, format, out, failed: 0 };
    let healthy = probe.health()?;
    match healthy {
        Some(leader) => probe.hand_over(&leader)?,
        None => probe.say(Verdict::Skip, "hand-over", "not tried without a healthy cluster")?,
    }
    Ok(if probe.failed == 0 { Exit::Ok } else { Exit::Failure })
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Pass,
    Fail,
    Skip,
}

/// One check.
#[derive(Serialize)]
struct Line<'a> {
    verdict: Verdict,
    check: &'a str,
    detail: &'a str,
}

struct Probe<'p, 'c> {
    nodes: Vec<LocalNode<'c>>,
    client: &'p dyn Client,
    format: Format,
    out: &'p mut dyn Write,
    failed: usize,
}

impl Probe<'_, '_> {
    fn say(&mut self, verdict: Verdict, check: &str, detail: &str) -> anyhow::Result<()> {
        self.failed += usize::from(verdict == Verdict::Fail);
        let line = Line { verdict, check, detail };
        let text = self.format.json(&line).unwrap_or_else(|| {
            let (word, style) = match verdict {
                Verdict::Pass => ("PASS", Style::Good),
                Verdict::Fail => ("FAIL", Style::Bad),
                Verdict::Skip => ("SKIP", Style::Dim),
            };
            format!("{}  {check}: {detail}\n", self.format.paint(style, word))
        });
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// Every check of a cluster at rest; the leader, if all of them pass.
    fn health(&mut self) -> anyhow::Result<Option<String>> {
        let begin = Instant::now();
        let deadline = begin + limits::CLUSTER_TEST_TIMEOUT;
        let checks: [(&str, Check); 5] = [
            ("every node answers", all_answer),
            ("one leader, agreed by all", one_leader),
            ("one term", one_term),
            ("the leader is active, nobody else", leader_is_active),
            ("applied indexes are equal", applied_equal),
        ];
        for (name, check) in checks {
            let verdict = self.eventually(deadline, |observed| check(&views(observed)?))?;
            let waited = begin.elapsed().as_millis();
            match verdict {
                Ok(detail) => {
                    self.say(Verdict::Pass, name, &format!("{detail} ({waited} ms)"))?;
                }
                Err(problem) => {
                    self.say(Verdict::Fail, name, &problem)?;
                    return Ok(None);
                }
            }
        }
        let observed = view::observe(&self.nodes, self.client, limits::REMOTE_STATUS_TIMEOUT)?;
        Ok(views(&observed).and_then(|views| one_leader(&views)).ok())
    }

    /// Hands leadership from `leader` to the node after it.
    fn hand_over(&mut self, leader: &str) -> anyhow::Result<()> {
        let at = self.nodes.iter().position(|n| n.name() == leader);
        let (Some(at), 2..) = (at, self.nodes.len()) else {
            return self.say(Verdict::Skip, "hand-over", "there is no other node here");
        };
        let from = self.nodes[at];
        let to = self.nodes[(at + 1) % self.nodes.len()].name().to_owned();
        let what = format!("hand-over from {leader} to {to}");
        let begin = Instant::now();
        let deadline = begin + limits::CLUSTER_TEST_TIMEOUT;
        let timeout = limits::CLUSTER_TEST_TIMEOUT;
        if let Err(error) = self.client.transfer(&from.socket(), Some(&to), timeout) {
            return self.say(Verdict::Fail, &what, &format!("{error:#}"));
        }
        let answered = begin.elapsed().as_millis();
        let agreed = self.eventually(deadline, |observed| {
            let views = views(observed)?;
            match one_leader(&views)? {
                now if now == to => leader_is_active(&views).map(|_| now),
                now => Err(format!("{now} leads")),
            }
        })?;
        let waited = begin.elapsed().as_millis();
        match agreed {
            Ok(_) => {
                let detail = format!("done after {answered} ms, agreed by all after {waited} ms");
                self.say(Verdict::Pass, &what, &detail)
            }
            Err(problem) => self.say(Verdict::Fail, &what, &problem),
        }
    }

    /// Repeats `check` until it passes or the deadline comes; the last verdict.
    fn eventually(
        &self,
        deadline: Instant,
        check: impl Fn(&[Observed]) -> Seen,
    ) -> anyhow::Result<Seen> {
        loop {
            let observed = view::observe(&self.nodes, self.client, limits::REMOTE_STATUS_TIMEOUT)?;
            let verdict = check(&observed);
            if verdict.is_ok() || Instant::now() >= deadline {
                return Ok(verdict);
            }
            thread::sleep(PAUSE);
        }
    }
}

/// What was seen, or what is wrong.
type Seen = Result<String, String>;
type Check = fn(&[Describe]) -> Seen;

fn views(observed: &[Observed]) -> Result<Vec<Describe>, String> {
    let view = |one: &Observed| match (&one.view, &one.process) {
        (Ok(view), _) => Ok(view.clone()),
        (Err(_), Err(reason)) => Err(format!("{} is not running: {reason}", one.node.name())),
        (Err(error), Ok(_)) => Err(format!("{}: {error:#}", one.node.name())),
    };
    observed.iter().map(view).collect()
}

fn all_answer(views: &[Describe]) -> Seen {
    Ok(views.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", "))
}

fn one_leader(views: &[Describe]) -> Seen {
    let leading: Vec<&str> =
        views.iter().filter(|v| view::leads(v)).map(|v| v.name.as_str()).collect();
    let [leader] = leading[..] else {
        return Err(match leading[..] {
            [] => "nobody leads".to_owned(),
            _ => format!("{} lead at once", leading.join(" and ")),
        });
    };
    match views.iter().find(|v| v.leader.as_deref() != Some(leader)) {
        None => Ok(leader.to_owned()),
        Some(Describe { name, leader: other, .. }) => {
            let other = other.as_deref().unwrap_or("nobody");
            Err(format!("{leader} leads, but {name} follows {other}"))
        }
    }
}

fn one_term(views: &[Describe]) -> Seen {
    same(views, "term", |v| v.term)
}

fn applied_equal(views: &[Describe]) -> Seen {
    same(views, "applied index", |v| v.applied_index)
}

fn leader_is_active(views: &[Describe]) -> Seen {
    let active: Vec<&Describe> = views.iter().filter(|v| v.active).collect();
    match active[..] {
        [only] if view::leads(only) => {
            let token = only.token.map_or_else(|| "no token".to_owned(), |t| format!("token {t}"));
            Ok(format!("{} with {token}", only.name))
        }
        [] => Err("nobody is active".to_owned()),
        [only] => Err(format!("{} is active and does not lead", only.name)),
        _ => {
            let names: Vec<&str> = active.iter().map(|v| v.name.as_str()).collect();
            Err(format!("{} are active at once", names.join(" and ")))
        }
    }
}

fn same(views: &[Describe], what: &str, of: impl Fn(&Describe) -> u64) -> Seen {
    let Some(first) = views.first() else { return Err("no node".to_owned()) };
    match views.iter().find(|v| of(v) != of(first)) {
        None => Ok(format!("{what} {}", of(first))),
        Some(other) => {
            let (a, b) = (of(first), of(other));
            Err(format!("{what} {a} on {}, {b} on {}", first.name, other.name))
        }
    }
}

const PAUSE: Duration = Duration::from_millis(5);
