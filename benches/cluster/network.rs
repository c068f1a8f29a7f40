//! Network namespaces, so that a node can be cut off without a word to anybody.
//!
//! One namespace holds a bridge; each node has a namespace of its own with one cable to it. A node
//! is cut off by taking its cable out of the bridge: frames are lost, no interface goes down,
//! nobody is told. Nothing outside of these namespaces is touched. They go with the value.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A bridge and the nodes on it.
pub struct Network {
    prefix: String,
    nodes: usize,
    /// `ip -batch` in the bridge's namespace, already running: a cut costs one write.
    hands: Option<Child>,
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(mut hands) = self.hands.take() {
            drop(hands.stdin.take());
            let _ = hands.wait();
        }
        for name in (0..self.nodes).map(|node| self.node(node)).chain([self.bridge()]) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

impl Network {
    /// Lays the cables for `nodes` nodes. Needs root and `ip`.
    pub fn lay(nodes: usize) -> Result<Network> {
        if !nix::unistd::geteuid().is_root() {
            bail!("needs root, for network namespaces");
        }
        let prefix = format!("rb{}", std::process::id());
        let mut network = Network { prefix, nodes, hands: None };
        let bridge = network.bridge();
        ip(&["netns", "add", &bridge])?;
        ip(&["-n", &bridge, "link", "add", "name", "switch", "type", "bridge"])?;
        ip(&["-n", &bridge, "link", "set", "dev", "switch", "up"])?;
        for at in 0..nodes {
            let (node, cable) = (network.node(at), cable(at));
            ip(&["netns", "add", &node])?;
            ip(&[
                "-n", &bridge, "link", "add", "name", &cable, "type", "veth", "peer", "name",
                "eth0", "netns", &node,
            ])?;
            ip(&["-n", &bridge, "link", "set", "dev", &cable, "master", "switch", "up"])?;
            let address = format!("{}/24", network.address(at));
            ip(&["-n", &node, "address", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &node, "link", "set", "eth0", "up"])?;
            ip(&["-n", &node, "link", "set", "lo", "up"])?;
        }
        let hands = Command::new("ip")
            .args(["-n", &bridge, "-force", "-batch", "-"])
            .stdin(Stdio::piped())
            .spawn();
        network.hands = Some(hands.context("cannot run ip")?);
        Ok(network)
    }

    fn bridge(&self) -> String {
        format!("{}br", self.prefix)
    }

    /// Name of the namespace of node `at`.
    pub fn node(&self, at: usize) -> String {
        format!("{}n{at}", self.prefix)
    }

    /// Address of node `at`; one of the range for documentation, so nobody else's.
    pub fn address(&self, at: usize) -> String {
        format!("192.0.2.{}", at + 1)
    }

    /// Cuts node `at` off.
    pub fn cut(&mut self, at: usize) -> Result<()> {
        self.order(&format!("link set dev {} nomaster\n", cable(at)))
    }

    /// Connects node `at` again.
    pub fn heal(&mut self, at: usize) -> Result<()> {
        self.order(&format!("link set dev {} master switch\n", cable(at)))
    }

    fn order(&mut self, line: &str) -> Result<()> {
        let hands = self.hands.as_mut().and_then(|hands| hands.stdin.as_mut());
        hands.context("ip has ended")?.write_all(line.as_bytes()).context("ip has ended")
    }
}

fn cable(at: usize) -> String {
    format!("cable{at}")
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("cannot run ip")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", arguments.join(" "), why.trim());
    }
    Ok(())
}
