//! Load by `wrk`, the same on both sides: kept-alive connections, each in a closed loop, over
//! requests that are made before the clock starts.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;

use super::http::Connection;
use super::subject::{Ask, Kind};

/// How many different keys a load asks for, at random: spread over all that there are.
const KEYS: usize = 4_096;

/// Requests from a file, in a random order; the numbers of `wrk` in one line at the end.
const SCRIPT: &str = r#"
local requests = {}
function init(arguments)
  math.randomseed(os.time())
  for line in io.lines(FILE) do
    if METHOD == "POST" then
      local headers = { ["Content-Type"] = "application/json" }
      requests[#requests + 1] = wrk.format(METHOD, PATH, headers, line)
    elseif METHOD == "PUT" then
      requests[#requests + 1] = wrk.format(METHOD, line, nil, BODY)
    else
      requests[#requests + 1] = wrk.format(METHOD, line)
    end
  end
end
function request()
  return requests[math.random(#requests)]
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d %d %d %d %d\n",
    summary.requests, summary.duration, e.status, e.connect, e.read, e.write, e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"#;

/// What one run of `wrk` saw.
#[derive(Clone, Copy)]
pub struct Outcome {
    /// Answers in a second.
    pub rate: f64,
    /// Latencies, in ms.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// Answers other than 2xx and 3xx.
    pub refused: u64,
    /// Connections that failed, and answers that did not come.
    pub failed: u64,
}

/// A load that can be run again and again.
pub struct Load {
    script: PathBuf,
    address: SocketAddr,
}

impl Load {
    /// Prepares asking the node at `address` for keys below `keys`; `directory` is for its files.
    pub fn prepare(
        kind: Kind,
        ask: Ask,
        keys: usize,
        address: SocketAddr,
        directory: &Path,
    ) -> Result<Load> {
        let count = KEYS.min(keys);
        let number = |at: usize| at * (keys / count);
        let first = kind.request(ask, 0);
        let mut lines = String::new();
        for at in 0..count {
            let request = kind.request(ask, number(at));
            let by_body = request.method == "POST";
            let line = if by_body { String::from_utf8(request.body)? } else { request.path };
            writeln!(lines, "{line}")?;
        }
        let name = format!("{}-{}", kind.name(), ask as u8);
        let (file, script) =
            (directory.join(format!("{name}.txt")), directory.join(format!("{name}.lua")));
        fs::write(&file, lines)?;
        let body = if first.method == "PUT" { String::from_utf8(first.body)? } else { "".into() };
        let head = format!(
            "local FILE, METHOD, PATH, BODY = {file:?}, {:?}, {:?}, {body:?}\n",
            first.method, first.path
        );
        fs::write(&script, head + SCRIPT)?;
        Ok(Load { script, address })
    }

    /// Starts it; [`Running::end`] waits for the end.
    pub fn start(&self, clients: usize, seconds: u64) -> Result<Running> {
        let mut command = Command::new("wrk");
        command.args(["--threads", "1", "--timeout", "10s", "--latency"]);
        command.args(["--connections", &clients.to_string()]);
        command.args(["--duration", &format!("{seconds}s")]).arg("--script").arg(&self.script);
        command.arg(format!("http://{}", self.address));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Running { child: Some(command.spawn().context("cannot run wrk")?) })
    }

    /// Runs it.
    pub fn run(&self, clients: usize, seconds: u64) -> Result<Outcome> {
        self.start(clients, seconds)?.end()
    }
}

/// A load under way. Killed when dropped.
pub struct Running {
    child: Option<Child>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Running {
    /// Waits for its end.
    pub fn end(mut self) -> Result<Outcome> {
        let output = self.child.take().context("taken only here")?.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let result = text.lines().find_map(|line| line.strip_prefix("RESULT "));
        let numbers: Vec<u64> = result
            .map(|result| result.split(' ').filter_map(|word| word.parse().ok()).collect())
            .unwrap_or_default();
        let [requests, duration, refused, connect, read, write, timeout, p50, p99, max] =
            numbers[..]
        else {
            bail!("wrk said: {text}{}", String::from_utf8_lossy(&output.stderr));
        };
        let ms = |us: u64| us as f64 / 1e3;
        Ok(Outcome {
            rate: requests as f64 / (duration as f64 / 1e6),
            p50: ms(p50),
            p99: ms(p99),
            max: ms(max),
            refused,
            failed: connect + read + write + timeout,
        })
    }
}

/// Writes keys `0..count`, or fewer if `within` is over; returns how many. Fails at the first
/// write that is not accepted.
pub async fn fill(
    kind: Kind,
    address: SocketAddr,
    count: usize,
    keys: usize,
    within: Duration,
) -> Result<usize> {
    /// More does not make it faster.
    const CLIENTS: usize = 256;
    let next = Arc::new(AtomicUsize::new(0));
    let (mut clients, began) = (JoinSet::new(), Instant::now());
    for _ in 0..CLIENTS {
        let next = Arc::clone(&next);
        clients.spawn(async move {
            let (mut connection, mut written) = (Connection::open(address).await?, 0);
            while began.elapsed() < within {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    break;
                }
                let answer = connection.ask(&kind.request(Ask::Put, number % keys)).await?;
                if !answer.is_good() {
                    let text = String::from_utf8_lossy(&answer.body).trim().to_owned();
                    bail!("a write was answered with {}: {text}", answer.status);
                }
                written += 1;
            }
            Ok(written)
        });
    }
    let mut written = 0;
    while let Some(client) = clients.join_next().await {
        written += client??;
    }
    Ok(written)
}
