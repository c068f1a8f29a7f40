//! One host: a systemd that booted as process 1, its files, its power, its processes.
//!
//! The lab is the parent of systemd-nspawn(1) and learns from it when the host is up and how it
//! ended; nothing is polled. Whatever asks the host has a deadline, because a host may be frozen.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::cgroup::Groups;
use super::clock::{now, wait_for};
use super::command::{self, Output, PATH};
use super::disk::Disk;
use super::life::{End, Told, hear};
use super::network::Network;
use super::template::{Template, overlay};
use super::{BOOT_MAX, COMMAND_MAX, DEADLINE};

/// How long the journal of a host may take to write what it has.
const SYNC_MAX: Duration = Duration::from_secs(5);

/// How often it is looked whether a host that says nothing has ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The exit status of a host that wants to be started again.
pub const REBOOT: i32 = 133;

/// A host of the lab. All methods take `&self`: threads of a scenario may share it.
pub struct Host {
    /// From 1; its address ends with it.
    pub index: usize,
    /// `n1`, ...; also the name of its node and of its instance of the agent.
    pub name: String,
    /// Unique on the machine.
    machine: String,
    place: PathBuf,
    groups: Groups,
    network: Arc<Network>,
    disk: Option<Disk>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    lives: Vec<Life>,
}

/// From the start of a host to its end, on [`now`]'s scale.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub from: Duration,
    /// `None`: it runs.
    pub until: Option<Duration>,
}

struct Running {
    told: Arc<Mutex<Told>>,
    ended: Arc<End>,
}

impl Host {
    /// A host that is switched off. Its files are there already.
    pub fn new(
        (id, place, index): (&str, &Path, usize),
        template: &Template,
        network: Arc<Network>,
        with_disk: bool,
    ) -> Host {
        let name = format!("n{index}");
        let place = place.join(&name);
        let (upper, work, root) = (place.join("upper"), place.join("work"), place.join("root"));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        overlay(&template.layers, &upper, &work, &root);
        let groups = Groups::new(id, &name);
        let disk = with_disk.then(|| Disk::new(&place));
        let machine = format!("{id}-{name}");
        let state = Mutex::default();
        Host { index, name, machine, place, groups, network, disk, state }
    }

    /// Switches it on, and waits until its systemd says that it is up.
    pub fn boot(&self) {
        self.start();
        self.ready();
    }

    /// Switches it on, with its cable plugged.
    pub fn start(&self) {
        let mut state = self.state.lock().unwrap();
        assert!(state.running.is_none(), "{} runs", self.name);
        if self.groups.is_frozen() {
            self.groups.freeze(false);
        }
        self.network.plug(self.index, true);
        let socket = self.place.join("notify");
        let _ = fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).unwrap();
        notify.set_read_timeout(Some(LOOK_EVERY)).unwrap();
        let ended = Arc::new(End::default());
        let child = self.nspawn(&socket).spawn().unwrap();
        let end = Arc::clone(&ended);
        thread::spawn(move || end.wait(child));
        state.lives.push(Life { from: now(), until: None });
        let running = Running { told: Arc::default(), ended };
        let (told, ended) = (Arc::clone(&running.told), Arc::clone(&running.ended));
        thread::spawn(move || hear(&notify, &told, &ended));
        state.running = Some(running);
    }

    fn nspawn(&self, notify: &Path) -> Command {
        let mut command = Command::new("systemd-nspawn");
        command.arg("--quiet").arg("-D").arg(self.root());
        command.args(["--boot", "--register=no", "--keep-unit", "--console=pipe"]);
        // Without bpf(2) the limits of addresses and devices are silently not enforced.
        command.args(["--notify-ready=yes", "--system-call-filter=bpf"]);
        // A host may change its addresses.
        command.arg("--capability=CAP_NET_ADMIN");
        command.arg(format!("--network-namespace-path=/run/netns/{}", self.name));
        command.arg(format!("--machine={}", self.machine));
        command.arg(format!("--hostname={}", self.name));
        if let Some(disk) = &self.disk {
            command.arg(format!("--bind={}:/var/lib/raftctl", disk.mounted().display()));
        }
        let console = File::options().create(true).append(true).open(self.console()).unwrap();
        command.stdin(Stdio::null()).stderr(console.try_clone().unwrap()).stdout(console);
        command.env_clear().env("PATH", PATH).env("NOTIFY_SOCKET", notify);
        command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1").process_group(0);
        let doors = self.groups.doors();
        // SAFETY: write(2) may be called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                doors.iter().try_for_each(|door| Ok(nix::unistd::write(door, b"0").map(drop)?))
            });
        }
        command
    }

    /// Waits until its systemd says that it is up.
    pub fn ready(&self) {
        let up = wait_for(&format!("{} is up", self.name), BOOT_MAX, || {
            let state = self.state.lock().unwrap();
            let running = state.running.as_ref().expect("it was started");
            let ready = running.told.lock().unwrap().ready;
            ready.then_some(Ok(())).or_else(|| running.ended.known().map(Err))
        });
        if let Err((status, _)) = up {
            panic!("{} ended with {status}:\n{}", self.name, self.said());
        }
    }

    /// The state of a host that is up: process 1, as its number is here.
    pub fn leader_pid(&self) -> Pid {
        let state = self.state.lock().unwrap();
        let leader = state.running.as_ref().and_then(|r| r.told.lock().unwrap().leader);
        leader.unwrap_or_else(|| panic!("{} does not run", self.name))
    }

    pub fn is_running(&self) -> bool {
        self.state.lock().unwrap().running.is_some()
    }

    /// Waits until it ends by itself; the exit status: 0 after a power-off, [`REBOOT`].
    pub fn wait_end(&self, deadline: Duration) -> i32 {
        let ended = match &self.state.lock().unwrap().running {
            Some(running) => Arc::clone(&running.ended),
            None => panic!("{} does not run", self.name),
        };
        let status = ended.status.lock().unwrap();
        let (status, _) =
            ended.known.wait_timeout_while(status, deadline, |s| s.is_none()).unwrap();
        let Some((status, at)) = *status else {
            panic!("{} still runs after {deadline:?}:\n{}", self.name, self.said());
        };
        let mut state = self.state.lock().unwrap();
        state.running = None;
        state.lives.last_mut().expect("it lived").until = Some(at);
        status
    }

    /// Waits until it reboots, and does what firmware does: starts it again.
    pub fn boot_again(&self, deadline: Duration) {
        let status = self.wait_end(deadline);
        assert_eq!(status, REBOOT, "{} did not reboot:\n{}", self.name, self.said());
        self.boot();
    }

    /// Power cut: all at once, and silent for everybody else. What a disk of its own had not
    /// synced is lost; other files stay. [`Host::boot`] starts it again.
    pub fn power_cut(&self) {
        self.network.plug(self.index, false);
        if let Some(disk) = &self.disk {
            // Nobody lives to see the errors.
            self.groups.freeze(true);
            disk.die();
        }
        self.groups.kill();
        self.wait_end(DEADLINE);
        if let Some(disk) = &self.disk {
            disk.replug();
        }
    }

    /// Stops every process, as a hypervisor pauses a machine: others hear nothing, either.
    pub fn freeze(&self) {
        self.network.plug(self.index, false);
        self.groups.freeze(true);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.groups.freeze(false);
        self.network.plug(self.index, true);
    }

    /// Its disk, if the lab was set up with one for each host.
    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().expect("Setup::disk")
    }

    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// When it ran.
    pub fn lives(&self) -> Vec<Life> {
        self.state.lock().unwrap().lives.clone()
    }
}

/// Commands and files.
impl Host {
    /// Runs a command on the host, as root, and waits for its end.
    #[track_caller]
    pub fn run(&self, line: &[&str]) -> Output {
        let output = self.try_run(line, COMMAND_MAX);
        output.unwrap_or_else(|| panic!("{}: {line:?} has not ended", self.name))
    }

    /// `None`: it has not ended within `deadline`.
    pub fn try_run(&self, line: &[&str], deadline: Duration) -> Option<Output> {
        let leader = self.leader_pid().to_string();
        let path = format!("PATH={PATH}");
        let mut command = Command::new("nsenter");
        command.args(["--target", &leader, "--all", "env", "-i", &path, "LANG=C.UTF-8"]);
        command::run(command.args(line), deadline)
    }

    /// Runs `systemctl`, which must succeed; what it says.
    #[track_caller]
    pub fn systemctl(&self, arguments: &[&str]) -> String {
        self.run(&[&["systemctl"], arguments].concat()).ok()
    }

    /// One property of a unit, as `systemctl show` prints it.
    #[track_caller]
    pub fn property(&self, unit: &str, property: &str) -> String {
        self.systemctl(&["show", "--value", "-p", property, unit])
    }

    /// Writes a file of the host, which may be off; directories are made.
    #[track_caller]
    pub fn write_file(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// The same, and everybody may execute it.
    #[track_caller]
    pub fn write_script(&self, path: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        self.write_file(path, text);
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `None`: it is not there.
    pub fn read_file(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok()
    }

    /// A path of the host as it is called here. Absolute links in it are not followed correctly.
    pub fn path(&self, path: &str) -> PathBuf {
        let root = match self.is_running() {
            // What is mounted inside, such as /run, is seen only this way.
            true => PathBuf::from(format!("/proc/{}/root", self.leader_pid())),
            false => self.root(),
        };
        root.join(path.trim_start_matches('/'))
    }

    /// What its journal has for `matches` (journalctl(1)), of all its lives.
    pub fn journal(&self, matches: &[&str]) -> Vec<Value> {
        if self.is_running() && !self.groups.is_frozen() {
            self.try_run(&["journalctl", "--sync"], SYNC_MAX);
        }
        let text = self.journalctl(&[&["-o", "json", "--all"], matches].concat());
        let parse = |line: &str| serde_json::from_str(line).ok();
        text.lines().filter_map(parse).collect()
    }

    /// Runs `journalctl` of this machine on the journal of the host.
    pub fn journalctl(&self, arguments: &[&str]) -> String {
        let directory = self.root().join("var/log/journal");
        let mut command = Command::new("journalctl");
        command.arg("-D").arg(directory).args(["--no-pager", "--quiet"]).args(arguments);
        command::run(&mut command, DEADLINE).map(|output| output.stdout).unwrap_or_default()
    }

    /// What it wrote to its console.
    pub fn said(&self) -> String {
        fs::read_to_string(self.console()).unwrap_or_default()
    }

    fn root(&self) -> PathBuf {
        self.place.join("root")
    }

    fn console(&self) -> PathBuf {
        self.place.join("console")
    }
}

/// Processes.
impl Host {
    /// The main process of a service, as its number is here.
    #[track_caller]
    pub fn main_pid(&self, unit: &str) -> Pid {
        let pids = self.groups.pids(unit);
        if let [only] = pids[..] {
            return only;
        }
        let inside = self.property(unit, "MainPID");
        // proc_pid_status(5): the innermost namespace is the last.
        let is_main = |pid: &&Pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            numbers.and_then(|all| all.split_whitespace().next_back()) == Some(inside.as_str())
        };
        let main = pids.iter().find(is_main);
        *main.unwrap_or_else(|| panic!("{}: {unit} has no main process: {pids:?}", self.name))
    }

    /// All its processes.
    pub fn pids(&self, unit: &str) -> Vec<Pid> {
        self.groups.pids(unit)
    }

    /// Sends a signal to the main process of a service, without help of the host; when.
    #[track_caller]
    pub fn kill(&self, unit: &str, signal: Signal) -> Duration {
        let pid = self.main_pid(unit);
        let at = now();
        kill(pid, signal).unwrap_or_else(|error| panic!("{}: {unit}: {error}", self.name));
        at
    }
}
