//! `raftctl cluster test`: is the cluster healthy, and does it hand over?

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use super::Client;
use super::place::{LocalCluster, LocalNode};
use super::view::{self, Observed, View};
use crate::cli::exit::Exit;
use crate::limits;

/// Runs the checks and prints a line for each. [`Exit::Failure`] if one fails.
pub(super) fn run(
    cluster: &LocalCluster,
    client: &dyn Client,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let nodes = cluster.nodes(None)?;
    let mut probe = Probe { nodes, client, out, failed: 0 };
    let healthy = probe.health()?;
    match healthy {
        Some(leader) => probe.hand_over(&leader)?,
        None => probe.say("FAIL", "hand-over: not tried without a healthy cluster")?,
    }
    Ok(if probe.failed == 0 { Exit::Ok } else { Exit::Failure })
}

struct Probe<'p, 'c> {
    nodes: Vec<LocalNode<'c>>,
    client: &'p dyn Client,
    out: &'p mut dyn Write,
    failed: usize,
}

impl Probe<'_, '_> {
    fn say(&mut self, verdict: &str, what: &str) -> anyhow::Result<()> {
        self.failed += usize::from(verdict == "FAIL");
        Ok(writeln!(self.out, "{verdict}  {what}")?)
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
                Ok(detail) => self.say("PASS", &format!("{name}: {detail} ({waited} ms)"))?,
                Err(problem) => {
                    self.say("FAIL", &format!("{name}: {problem}"))?;
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
            return self.say("SKIP", "hand-over: there is no other node here");
        };
        let from = self.nodes[at];
        let to = self.nodes[(at + 1) % self.nodes.len()].name().to_owned();
        let what = format!("hand-over from {leader} to {to}");
        let begin = Instant::now();
        let deadline = begin + limits::CLUSTER_TEST_TIMEOUT;
        let timeout = limits::CLUSTER_TEST_TIMEOUT;
        if let Err(error) = self.client.transfer(&from.socket(), Some(&to), timeout) {
            return self.say("FAIL", &format!("{what}: {error:#}"));
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
                self.say("PASS", &format!("{what}: {detail}"))
            }
            Err(problem) => self.say("FAIL", &format!("{what}: {problem}")),
        }
    }

    /// Repeats `check` until it passes or the deadline comes; the last verdict.
    fn eventually(
        &self,
        deadline: Instant,
        check: impl Fn(&[Observed]) -> Verdict,
    ) -> anyhow::Result<Verdict> {
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
type Verdict = Result<String, String>;
type Check = fn(&[View]) -> Verdict;

fn views(observed: &[Observed]) -> Result<Vec<View>, String> {
    let view = |one: &Observed| match (&one.view, &one.process) {
        (Ok(view), _) => Ok(view.clone()),
        (Err(_), Err(reason)) => Err(format!("{} is not running: {reason}", one.node.name())),
        (Err(error), Ok(_)) => Err(format!("{}: {error:#}", one.node.name())),
    };
    observed.iter().map(view).collect()
}

fn all_answer(views: &[View]) -> Verdict {
    Ok(views.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", "))
}

fn one_leader(views: &[View]) -> Verdict {
    let leading: Vec<&str> = views.iter().filter(|v| v.leads()).map(|v| v.name.as_str()).collect();
    let [leader] = leading[..] else {
        return Err(match leading[..] {
            [] => "nobody leads".to_owned(),
            _ => format!("{} lead at once", leading.join(" and ")),
        });
    };
    match views.iter().find(|v| v.leader.as_deref() != Some(leader)) {
        None => Ok(leader.to_owned()),
        Some(View { name, leader: other, .. }) => {
            let other = other.as_deref().unwrap_or("nobody");
            Err(format!("{leader} leads, but {name} follows {other}"))
        }
    }
}

fn one_term(views: &[View]) -> Verdict {
    same(views, "term", |v| v.term)
}

fn applied_equal(views: &[View]) -> Verdict {
    same(views, "applied index", |v| v.applied_index)
}

fn leader_is_active(views: &[View]) -> Verdict {
    let active: Vec<&View> = views.iter().filter(|v| v.active).collect();
    match active[..] {
        [only] if only.leads() => {
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

fn same(views: &[View], what: &str, of: impl Fn(&View) -> u64) -> Verdict {
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
