//! The floors of the store: what the disk, the network and HTTP alone take on this machine.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use super::http;
use crate::stats::Samples;

/// How often each step is taken.
const STEPS: usize = 1_000;

/// What one record is, without the log around it.
const RECORD_BYTES: usize = 512;

/// One fdatasync of 512 bytes after another, into blocks that are there already.
pub fn syncs(directory: &Path) -> Result<Samples> {
    let log = File::create(directory.join("steps"))?;
    log.write_all_at(&vec![0; STEPS * RECORD_BYTES], 0)?;
    log.sync_all()?;
    let mut samples = Samples::default();
    for step in 0..STEPS {
        let began = Instant::now();
        log.write_all_at(&[1; RECORD_BYTES], (step * RECORD_BYTES) as u64)?;
        log.sync_data()?;
        samples.push_since(began);
    }
    Ok(samples)
}

/// 64 bytes to another thread and back, over the loopback.
pub fn round_trips() -> Result<Samples> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut here = TcpStream::connect(listener.local_addr()?)?;
    let (mut there, _) = listener.accept()?;
    for stream in [&here, &there] {
        stream.set_nodelay(true)?;
    }
    let echo = thread::spawn(move || {
        let mut bytes = [0; 64];
        while there.read_exact(&mut bytes).is_ok() && there.write_all(&bytes).is_ok() {}
    });
    let (mut samples, mut bytes) = (Samples::default(), [0; 64]);
    for _ in 0..STEPS {
        let began = Instant::now();
        here.write_all(&bytes)?;
        here.read_exact(&mut bytes)?;
        samples.push_since(began);
    }
    drop(here);
    let _ = echo.join();
    Ok(samples)
}

/// A process that answers every request with 256 bytes, and does nothing else. Ends when dropped.
pub struct HttpFloor {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Drop for HttpFloor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl HttpFloor {
    /// Starts it.
    pub fn start() -> Result<HttpFloor> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(http::CHILD_FLAG).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the HTTP floor")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("it has an output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().context("the HTTP floor did not start")?;
        Ok(HttpFloor { child, address })
    }
}
