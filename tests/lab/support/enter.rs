//! From a test process into a world of its own, and out of it without a trace.
//!
//! The test binary runs itself again, only the one test, in private namespaces: whatever ends it,
//! or the test process that waits for it, ends every process, mount and network in there. Only
//! empty control groups are left, and a guard that waits outside removes those.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher as _;
use std::io::{self, PipeReader, PipeWriter};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;

use super::{cgroup, command};

/// Set in the private world: the name of the lab.
const INSIDE: &str = "RAFTCTL_LAB_ID";

/// What the private world cannot do to the machine: set its clock, load modules into its kernel.
/// CLOCK_REALTIME has no namespace, and nsenter(1) would keep these capabilities.
const FORBIDDEN: &str = "-sys_time,-sys_module";

/// The first process of the private world. It reaps what loses its parent: a zombie would keep the
/// process namespace of a host from ending. The test cannot, it waits for children of its own.
/// The guard finds everything in here by the group `$0`.
const INIT: &str = r#"echo 0 >"$0/inside/cgroup.procs" && "$@" </dev/null; exit $?"#;

/// Waits outside until the lab has ended, however it did, and the test process with it. It thaws
/// disks, because a process that waits for a frozen one cannot be killed, and removes what then is
/// left: empty control groups. Arguments: the group of version 2, and the others.
const GUARD: &str = r#"read -r _
for _ in $(seq 600); do
    for pid in $(find "$1" -name cgroup.procs -exec cat {} +); do
        nsenter --target "$pid" --mount fsfreeze -u /var/lib/raftctl
    done
    find "$@" -depth -type d -exec rmdir {} +
    test -e "$1" || exit 0
    sleep 0.05
done"#;

const NAMESPACES: &[&str] = &["--mount", "--net", "--pid", "--ipc", "--uts"];

/// Programs that the lab cannot do without.
const PROGRAMS: &[&str] = &[
    "systemd-nspawn",
    "setpriv",
    "unshare",
    "nsenter",
    "nft",
    "ip",
    "mkfs.ext4",
    "dbus-daemon",
    "journalctl",
];

/// The name of the lab, if this process is in it.
pub fn inside() -> Option<String> {
    std::env::var(INSIDE).ok()
}

/// Whether there can be a lab on this machine; otherwise why not.
pub fn fit() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("a lab of systemd hosts needs root".to_owned());
    }
    let found = |name: &&&str| command::PATH.split(':').any(|at| Path::new(at).join(name).exists());
    if let Some(missing) = PROGRAMS.iter().find(|name| !found(name)) {
        return Err(format!("a lab of systemd hosts needs {missing}"));
    }
    let mut probe = Command::new("unshare");
    let probe = command::run(probe.args(NAMESPACES).args(["--fork", "true"]), super::DEADLINE);
    if probe.is_none_or(|output| output.code != 0) {
        return Err("a lab of systemd hosts needs private namespaces".to_owned());
    }
    cgroup::fit()
}

/// Runs the test `name` of this binary again, in a new lab, and waits for it; its exit status.
pub fn enter(name: &str) -> i32 {
    static LABS: AtomicU32 = AtomicU32::new(0);
    cgroup::sweep();
    let count = LABS.fetch_add(1, Ordering::Relaxed);
    let id = format!("{}{}-{count}", cgroup::PREFIX, std::process::id());
    // Nobody writes: the reader learns that the last writer has gone. The first process of the
    // lab has the one end as its standard input, and passes it to nobody.
    let (guarding, guarded) = io::pipe().unwrap();
    let groups = cgroup::make(&id);
    let mut guard = guard(&groups, guarding).spawn().unwrap();
    let status = private(name, &groups[0], guarded).status().unwrap();
    guard.wait().unwrap();
    command::code(status)
}

/// The lab, in which the test runs.
fn private(name: &str, group: &Path, guarded: PipeWriter) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("setpriv");
    command.arg(format!("--inh-caps={FORBIDDEN}")).arg(format!("--bounding-set={FORBIDDEN}"));
    command.arg("unshare").args(NAMESPACES);
    command.args(["--fork", "--kill-child", "--mount-proc", "--propagation", "private"]);
    command.args(["sh", "-c", INIT]).arg(group).arg(program);
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(INSIDE, group.file_name().unwrap()).stdin(guarded);
    // SAFETY: prctl(2) may be called between fork and exec. Should the test be killed, its lab
    // goes with it.
    unsafe {
        command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
    }
    command
}

/// Outlives the test, and the signals to its process group.
fn guard(groups: &[PathBuf], guarding: PipeReader) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, "lab-guard"]).args(groups).process_group(0);
    command.stdin(guarding).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The test that this thread runs. libtest names the thread after it, unless there is only one.
pub fn test_name() -> String {
    let thread = std::thread::current().name().map(str::to_owned);
    let argument = || std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let named = thread.filter(|name| name != "main").or_else(argument);
    named.expect("the name of the test is an argument, or that of its thread")
}

/// A short number for `text`, the same in every run.
pub fn tag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    format!("{:08x}", hasher.finish() as u32)
}

/// Where things are kept from one run to the next, which only their owner may enter.
pub fn cache() -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab");
    fs::create_dir_all(&cache).unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).unwrap();
    cache
}
