//! The network of a lab: a bridge, and a network namespace for each host with one cable to it.
//!
//! The namespace of the lab itself is the switch, with address 10.99.0.254: it reaches every host
//! also when the hosts do not reach each other. Host `i` is 10.99.0.`i`. Hosts know each other's
//! hardware addresses, so that a one-way cut is not made a two-way one by unanswered ARP.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

use super::command::tool;

/// How long a packet may be under way before it counts as lost.
const UNDER_WAY_MAX: Duration = Duration::from_millis(100);

/// Packets between hosts pass this chain; pairs of cables in the set do not.
const RULES: &str = "\
add table bridge lab
add set bridge lab cut { type ifname . ifname; }
add chain bridge lab passing { type filter hook forward priority 0; }
add rule bridge lab passing iifname . oifname @cut counter drop
";

/// What still gets through to or from a host that is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Everything,
    /// Only its own packets get through: it hears nobody.
    OnlyItsPacketsLeave,
    /// Only the packets of others get through: nobody hears it.
    OnlyPacketsArrive,
}

/// The switch and its cables.
pub struct Network {
    hosts: usize,
}

/// The address of host `index`.
pub fn address(index: usize) -> String {
    format!("10.99.0.{index}")
}

impl Network {
    /// Builds it in the namespace of this process.
    pub fn new(hosts: usize) -> Network {
        fs::create_dir_all("/run/netns").unwrap();
        let mut switch = String::from("link set lo up\nlink add br0 type bridge\n");
        switch += "addr add 10.99.0.254/24 dev br0\nlink set br0 up\n";
        let mut inside = vec![String::new(); hosts + 1];
        for (i, inside) in inside.iter_mut().enumerate().skip(1) {
            let _ = writeln!(switch, "netns add n{i}");
            let _ = write!(switch, "link add p{i} type veth peer name eth0 ");
            let _ = writeln!(switch, "address 02:00:00:00:00:0{i} netns n{i}");
            let _ = writeln!(switch, "link set p{i} master br0 up");
            let _ = writeln!(inside, "link set lo up\nlink set eth0 up");
            let _ = writeln!(inside, "addr add {}/24 dev eth0", address(i));
            for j in (1..=hosts).filter(|&j| j != i) {
                let _ = write!(inside, "neigh add {} lladdr 02:00:00:00:00:0{j} ", address(j));
                let _ = writeln!(inside, "dev eth0 nud permanent");
            }
        }
        feed(&["ip", "-batch", "-"], &switch);
        for (i, inside) in inside.iter().enumerate().skip(1) {
            feed(&["ip", "-n", &format!("n{i}"), "-batch", "-"], inside);
        }
        feed(&["nft", "-f", "-"], RULES);
        Network { hosts }
    }

    /// Cuts `host` off from all others.
    pub fn cut(&self, host: usize, cut: Cut) {
        let mut pairs = Vec::new();
        for other in (1..=self.hosts).filter(|&other| other != host) {
            if cut != Cut::OnlyItsPacketsLeave {
                pairs.push(format!("\"p{host}\" . \"p{other}\""));
            }
            if cut != Cut::OnlyPacketsArrive {
                pairs.push(format!("\"p{other}\" . \"p{host}\""));
            }
        }
        feed(
            &["nft", "-f", "-"],
            &format!("add element bridge lab cut {{ {} }}\n", pairs.join(", ")),
        );
    }

    /// Ends every cut.
    pub fn heal(&self) {
        feed(&["nft", "-f", "-"], "flush set bridge lab cut\n");
    }

    /// Pulls the cable of `host` out of the switch, or puts it in again.
    pub fn plug(&self, host: usize, plugged: bool) {
        tool(&["ip", "link", "set", &format!("p{host}"), if plugged { "up" } else { "down" }]);
    }

    /// Whether a packet sent by host `from` arrives at host `to`.
    pub fn passes(&self, from: usize, to: usize) -> bool {
        let (sender, receiver) = (socket_on(from), socket_on(to));
        sender.send_to(b"passes?", receiver.local_addr().unwrap()).unwrap();
        receiver.set_read_timeout(Some(UNDER_WAY_MAX)).unwrap();
        receiver.recv(&mut [0; 16]).is_ok()
    }
}

/// A socket on host `index`, made by a thread that goes there.
fn socket_on(index: usize) -> UdpSocket {
    on(index, move || UdpSocket::bind((address(index), 0)).unwrap())
}

/// Runs `act` in the network of host `index`: what it opens stays there.
pub fn on<T: Send + 'static>(index: usize, act: impl FnOnce() -> T + Send + 'static) -> T {
    let there = File::open(format!("/run/netns/n{index}")).unwrap();
    let thread = thread::spawn(move || {
        // SAFETY: setns(2) takes an open descriptor and moves this thread only.
        Errno::result(unsafe { libc::setns(there.as_raw_fd(), libc::CLONE_NEWNET) }).unwrap();
        act()
    });
    thread.join().unwrap()
}

/// Runs a program with `text` as its input; it must succeed.
#[track_caller]
fn feed(line: &[&str], text: &str) {
    let mut command = Command::new(line[0]);
    let mut child = command.args(&line[1..]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let status = child.wait().unwrap();
    assert!(status.success(), "{line:?}: {status}, for:\n{text}");
}
