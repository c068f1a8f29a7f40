//! A lab: real systemd hosts on a bridge of their own, in private namespaces of this machine.
//!
//! ```ignore
//! #[test]
//! fn scenario() {
//!     lab::run(Setup { hosts: 3, ..Setup::default() }, |lab| {
//!         lab.host(1).run(&["true"]).ok();
//!         lab.cut(2, Cut::Everything);
//!     });
//! }
//! ```
//!
//! The body runs in another process than the test, as root of the private world: nothing that it
//! does outlives it. Hosts are `n1`, `n2`, ...; host `i` has the address 10.99.0.`i`.

mod active;
pub mod cgroup;
mod clock;
pub mod cluster;
mod command;
mod disk;
mod enter;
mod host;
mod life;
mod member;
mod network;
pub mod record;
mod sampler;
mod template;

use std::fs;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use clock::{now, wait_until};
pub use command::Output;
pub use enter::{enter, test_name};
pub use host::{Host, REBOOT};
pub use member::{Member, Stop};
pub use network::{Cut, Network, address, on};
pub use record::{Record, figure, trials};
pub use sampler::{Sampler, Samples};

use command::tool;
use template::Template;

/// Everything that must happen has happened by then, on a busy machine too.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How long a host may take to boot. Some hosts boot at once, on a machine that has other work.
const BOOT_MAX: Duration = Duration::from_secs(60);

/// How long a command on a host may take.
const COMMAND_MAX: Duration = Duration::from_secs(20);

/// Where the files of the lab are, on a tmpfs.
const PLACE: &str = "/run/lab";

/// What hosts boot from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// What is installed on this machine. Quick; a dependency that the package does not name, and
    /// this machine has, is not missed.
    Host,
    /// A minimal Debian, made once.
    Minimal,
}

/// What a scenario needs.
#[derive(Clone, Debug)]
pub struct Setup {
    pub hosts: usize,
    pub base: Base,
    /// Installed on every host, not configured.
    pub package: Option<PathBuf>,
    /// Each host has a disk of its own for `/var/lib/raftctl`.
    pub disk: bool,
    /// Whether the hosts are up when the body begins. If not, it may write files first.
    pub boot: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { hosts: 3, base: Base::Host, package: None, disk: false, boot: true }
    }
}

/// The hosts and what is between them.
pub struct Lab {
    hosts: Vec<Arc<Host>>,
    network: Arc<Network>,
}

/// Runs `body` in a new lab. Where that is impossible it says `SKIPPED` and why.
pub fn run(setup: Setup, body: impl FnOnce(&Lab)) {
    if let Some(id) = enter::inside() {
        let lab = Lab::new(&id, &setup);
        if setup.boot {
            lab.boot();
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(&lab))) {
            lab.explain();
            resume_unwind(panic);
        }
        return;
    }
    if !possible() {
        return;
    }
    if setup.base == Base::Minimal
        && let Err(why) = template::make_minimal()
    {
        println!("SKIPPED: no minimal Debian tree: {why}");
        return;
    }
    let status = enter(&enter::test_name());
    assert_eq!(status, 0, "failed in the lab, see above");
}

/// [`run`] with the package installed on every host. Without a package: `SKIPPED`.
pub fn run_package(setup: Setup, body: impl FnOnce(&Lab)) {
    match cluster::package() {
        Ok(package) => run(Setup { package: Some(package), ..setup }, body),
        Err(why) => println!("SKIPPED: {why}"),
    }
}

/// [`run_package`] with one host, n1, which leads when `body` begins.
pub fn run_alone(body: impl FnOnce(&Host)) {
    run_package(Setup { hosts: 1, boot: false, ..Setup::default() }, |lab| {
        lab.configure("");
        lab.host(1).enable("raftctl@n1.service");
        lab.boot();
        lab.leader();
        body(lab.host(1));
    });
}

/// Whether there can be a lab on this machine. If not, says `SKIPPED` and why.
pub fn possible() -> bool {
    let fit = enter::fit();
    if let Err(why) = &fit {
        println!("SKIPPED: {why}");
    }
    fit.is_ok()
}

impl Lab {
    fn new(id: &str, setup: &Setup) -> Lab {
        tool(&["mount", "-t", "tmpfs", "-o", "mode=755", "lab", "/run"]);
        // nspawn hides what was mounted before below the root of the host, where nobody sees it: a
        // disk of another host that is unmounted here has to go there, too.
        tool(&["mount", "--make-shared", "/run"]);
        fs::create_dir_all("/run/systemd/nspawn").unwrap();
        let place = Path::new(PLACE);
        let common = place.join("template");
        let template = Template::new(&common, setup.base, setup.package.as_deref());
        let network = Arc::new(Network::new(setup.hosts));
        let host = |index| {
            let network = Arc::clone(&network);
            Arc::new(Host::new((id, place, index), &template, network, setup.disk))
        };
        let hosts: Vec<Arc<Host>> = (1..=setup.hosts).map(host).collect();
        for host in &hosts {
            let machine = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
            host.write_file("/etc/machine-id", &machine.replace('-', ""));
            host.write_file("/etc/hostname", &format!("{}\n", host.name));
            let known = hosts.iter().map(|h| format!("{} {}\n", address(h.index), h.name));
            let known = known.collect::<String>();
            host.write_file("/etc/hosts", &format!("127.0.0.1 localhost\n{known}"));
        }
        Lab { hosts, network }
    }

    /// Switches all hosts on, and waits until all are up.
    pub fn boot(&self) {
        self.hosts.iter().for_each(|host| host.start());
        self.hosts.iter().for_each(|host| host.ready());
    }

    /// Host `n1` is number 1.
    pub fn host(&self, index: usize) -> &Host {
        &self.hosts[index - 1]
    }

    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().map(Arc::as_ref)
    }

    /// Watches which host has processes of which of the `units`; `%H` is the name of the host.
    pub fn watch(&self, units: &[&str]) -> Sampler {
        Sampler::start(&self.hosts, units)
    }

    /// For a failure: the end of every journal, and where the whole of it is.
    fn explain(&self) {
        let kept = enter::cache().join("failed").join(enter::tag(&enter::test_name()));
        fs::create_dir_all(&kept).unwrap();
        for host in self.hosts() {
            let journal = host.journalctl(&["-o", "short-monotonic"]);
            let lines: Vec<&str> = journal.lines().collect();
            let end = lines[lines.len().saturating_sub(EXPLAIN_LINES)..].join("\n");
            let file = kept.join(format!("{}.log", host.name));
            fs::write(&file, &journal).unwrap();
            println!("---- {} (all of it: {})\n{end}", host.name, file.display());
        }
    }
}

/// How much of each journal is shown when a scenario fails.
const EXPLAIN_LINES: usize = 40;

/// A lab is also its network.
impl Deref for Lab {
    type Target = Network;

    fn deref(&self) -> &Network {
        &self.network
    }
}
