//! What is compared: three nodes of this project, or of etcd, seen alike from here.
//!
//! Every node is a process of this one on the loopback, with its state in the directory of the
//! run and the settings that it ships with; killed when dropped. Nothing of an installed etcd
//! service is used but its program.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::http::{self, Request};
use crate::nodes::{Programs, free_addresses};
use crate::process;
use crate::stats::Samples;

/// Longest wait for anything that a healthy cluster does.
const DEADLINE: Duration = Duration::from_secs(30);

/// How often is asked again.
const POLL: Duration = Duration::from_millis(2);

/// How long one question may take before it is asked again on a new connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of a value.
pub const VALUE_BYTES: usize = 256;

/// Whose nodes they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This project.
    Raftctl,
    /// Debian's `etcd-server`.
    Etcd,
}

/// What a client asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// A write of [`VALUE_BYTES`].
    Put,
    /// A read that sees every write before it.
    Read,
    /// A read of what the node has.
    StaleRead,
}

impl Kind {
    /// The name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Raftctl => "raftctl",
            Kind::Etcd => "etcd",
        }
    }

    /// The request for key `number`.
    pub fn request(self, ask: Ask, number: usize) -> Request {
        let key = format!("key{number:09}");
        let value = vec![b'v'; VALUE_BYTES];
        match (self, ask) {
            (Kind::Raftctl, Ask::Put) => {
                Request { method: "PUT", path: format!("/v1/kv/{key}"), body: value }
            }
            (Kind::Raftctl, Ask::Read) => {
                Request { method: "GET", path: format!("/v1/kv/{key}"), body: Vec::new() }
            }
            (Kind::Raftctl, Ask::StaleRead) => {
                let path = format!("/v1/kv/{key}?consistency=stale");
                Request { method: "GET", path, body: Vec::new() }
            }
            (Kind::Etcd, Ask::Put) => {
                let (key, value) = (BASE64.encode(key), BASE64.encode(value));
                let body = format!("{{\"key\":\"{key}\",\"value\":\"{value}\"}}").into_bytes();
                Request { method: "POST", path: "/v3/kv/put".into(), body }
            }
            (Kind::Etcd, Ask::Read | Ask::StaleRead) => {
                let (key, stale) = (BASE64.encode(key), ask == Ask::StaleRead);
                let body = format!("{{\"key\":\"{key}\",\"serializable\":{stale}}}").into_bytes();
                Request { method: "POST", path: "/v3/kv/range".into(), body }
            }
        }
    }
}

/// Three nodes.
pub struct Subject {
    /// Whose.
    pub kind: Kind,
    program: PathBuf,
    directory: PathBuf,
    clients: Vec<SocketAddr>,
    peers: Vec<SocketAddr>,
    children: Vec<Option<Child>>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Subject {
    /// Starts three nodes with empty state, and waits until all of them answer.
    pub async fn start(kind: Kind, programs: &Programs, directory: &Path) -> Result<Subject> {
        let directory = directory.join(kind.name());
        fs::create_dir_all(&directory)?;
        let mut addresses = free_addresses(6)?;
        let program = match kind {
            Kind::Raftctl => programs.raftctld.clone(),
            Kind::Etcd => PathBuf::from("etcd"),
        };
        let peers = addresses.split_off(3);
        let children = vec![None, None, None];
        let mut subject = Subject { kind, program, directory, clients: addresses, peers, children };
        subject.configure()?;
        for at in 0..3 {
            subject.run(at)?;
        }
        subject.settle().await?;
        Ok(subject)
    }

    fn configure(&self) -> Result<()> {
        if self.kind == Kind::Etcd {
            return Ok(());
        }
        let member = |at: usize| format!("n{at} = \"{}\"", self.peers[at]);
        let members: Vec<String> = (0..3).map(member).collect();
        let mut text = format!("[cluster]\nmembers = {{ {} }}\n", members.join(", "));
        for (at, address) in self.clients.iter().enumerate() {
            text += &format!("[nodes.n{at}.http]\nlisten = \"{address}\"\n");
        }
        fs::write(self.directory.join("c.toml"), text).context("cannot write a configuration")
    }

    /// Starts the process of node `at`.
    pub fn run(&mut self, at: usize) -> Result<()> {
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Raftctl => {
                command.arg("--config").arg(self.directory.join("c.toml"));
                command.args(["--node", &format!("n{at}")]);
            }
            Kind::Etcd => {
                let url = |address: SocketAddr| format!("http://{address}");
                let (client, peer) = (url(self.clients[at]), url(self.peers[at]));
                let member = |at: usize| format!("n{at}={}", url(self.peers[at]));
                let members: Vec<String> = (0..3).map(member).collect();
                command.args(["--name", &format!("n{at}"), "--log-level", "error"]);
                command.arg("--data-dir").arg(self.directory.join(format!("n{at}")));
                command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
                command.args(["--listen-peer-urls", &peer]);
                command.args(["--initial-advertise-peer-urls", &peer]);
                command.args(["--initial-cluster", &members.join(",")]);
            }
        }
        let path = self.directory.join(format!("n{at}.log"));
        let log = fs::File::options().create(true).append(true).open(path)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let program = self.program.display();
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        self.children[at] = Some(child);
        Ok(())
    }

    /// Ends node `at` with SIGKILL; returns the moment before. Its process is left unburied.
    pub fn kill(&self, at: usize) -> Result<Instant> {
        let pid = Pid::from_raw(self.pid(at)? as i32);
        let began = Instant::now();
        kill(pid, Signal::SIGKILL)?;
        Ok(began)
    }

    /// Waits for the end of node `at`, which was killed.
    pub fn bury(&mut self, at: usize) -> Result<()> {
        let child = self.children[at].take();
        child.context("the node was not started")?.wait()?;
        Ok(())
    }

    fn pid(&self, at: usize) -> Result<u32> {
        Ok(self.children[at].as_ref().context("the node was not started")?.id())
    }

    /// Where clients of node `at` go.
    pub fn address(&self, at: usize) -> SocketAddr {
        self.clients[at]
    }

    /// Waits until every node answers a linearizable read; returns the leader.
    pub async fn settle(&mut self) -> Result<usize> {
        for at in 0..3 {
            self.serves(at, DEADLINE).await?;
        }
        let began = Instant::now();
        while began.elapsed() < DEADLINE {
            for at in 0..3 {
                if self.leads(at).await.unwrap_or(false) {
                    return Ok(at);
                }
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("{}: no leader within {DEADLINE:?}", self.kind.name())
    }

    /// Waits until node `at` answers a linearizable read; returns when it did.
    pub async fn serves(&mut self, at: usize, within: Duration) -> Result<Instant> {
        // A key that nobody writes: not found is an answer here, an error is not.
        let request = self.kind.request(Ask::Read, 999_999_999);
        let (began, mut why) = (Instant::now(), anyhow::anyhow!("never asked"));
        while began.elapsed() < within {
            let answer = tokio::time::timeout(PATIENCE, http::ask(self.clients[at], &request));
            match answer.await {
                Ok(Ok(answer)) if answer.is_good() || answer.status == 404 => {
                    return Ok(Instant::now());
                }
                Ok(Ok(answer)) => {
                    let text = String::from_utf8_lossy(&answer.body).trim().to_owned();
                    why = anyhow::anyhow!("status {}: {text}", answer.status);
                }
                Ok(Err(error)) => why = error,
                Err(_) => why = anyhow::anyhow!("no answer"),
            }
            let child = self.children[at].as_mut().context("the node was not started")?;
            if let Some(status) = child.try_wait()? {
                why = anyhow::anyhow!("it ended with {status}; {}", self.last_words(at));
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        let name = self.kind.name();
        Err(why.context(format!("node {at} of {name} does not serve")))
    }

    /// The end of what node `at` wrote.
    fn last_words(&self, at: usize) -> String {
        let log = fs::read_to_string(self.directory.join(format!("n{at}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(3)..].join("; ")
    }

    /// Whether node `at` leads, as it says itself.
    async fn leads(&self, at: usize) -> Result<bool> {
        let (method, path) = match self.kind {
            Kind::Raftctl => ("GET", "/health"),
            Kind::Etcd => ("POST", "/v3/maintenance/status"),
        };
        let body = if method == "POST" { b"{}".to_vec() } else { Vec::new() };
        let request = Request { method, path: path.to_owned(), body };
        let answer =
            tokio::time::timeout(PATIENCE, http::ask(self.clients[at], &request)).await??;
        let value: serde_json::Value = serde_json::from_slice(&answer.body)?;
        Ok(match self.kind {
            Kind::Raftctl => value["is_leader"] == true,
            Kind::Etcd => value["leader"] == value["header"]["member_id"],
        })
    }

    /// Resident memory of the nodes, in MiB.
    pub fn resident(&self) -> Result<Samples> {
        let mut samples = Samples::default();
        for at in 0..3 {
            samples.push_value(process::memory_mib(self.pid(at)?, "Rss")?);
        }
        Ok(samples)
    }
}
