//! The control groups of a lab: one below each hierarchy, in it one for each host.
//!
//! systemd-nspawn makes `payload` and `supervisor` below the group that it is started in, so two
//! hosts must never share one. What processes of a host run, in which unit, is read here from
//! outside, without asking the host.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use super::clock::wait_until;

/// Hierarchies in which a host gets a group of its own, where they exist: what systemd tracks
/// processes with, and what a host can be slowed down with.
const OWN: &[&str] = &["name=systemd", "freezer", "cpu", "blkio"];

/// Where the hierarchies are mounted.
struct Mounts {
    /// The one of version 2.
    unified: PathBuf,
    /// Those of version 1 that are in [`OWN`].
    others: Vec<PathBuf>,
}

/// `None`: there is no hierarchy of version 2.
fn mounts() -> Option<Mounts> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let (mut unified, mut others) = (None, Vec::new());
    for line in table.lines() {
        // proc_pid_mountinfo(5): root and mount point are fields 4 and 5, the type follows " - ".
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let at = before.split(' ').nth(4).map(PathBuf::from);
        let (kind, options) = (after.split(' ').next(), after.split(' ').next_back());
        let own = || options.is_some_and(|all| all.split(',').any(|one| OWN.contains(&one)));
        match kind {
            Some("cgroup2") if unified.is_none() => unified = at,
            Some("cgroup") if own() => others.extend(at),
            _ => {}
        }
    }
    Some(Mounts { unified: unified?, others })
}

/// Whether the machine has what the lab needs; otherwise why not.
pub fn fit() -> Result<(), String> {
    let Some(mounts) = mounts() else { return Err("no cgroup version 2 is mounted".to_owned()) };
    let probe = mounts.unified.join(format!("{PREFIX}{}-probe", std::process::id()));
    fs::create_dir(&probe).map_err(|error| format!("{}: {error}", probe.display()))?;
    fs::remove_dir(&probe).map_err(|error| format!("{}: {error}", probe.display()))
}

/// Names of groups of labs begin with this; the process that owns the lab follows, and a dash.
pub const PREFIX: &str = "raftctl-lab-";

/// Makes the groups of lab `id`; that of version 2 is the first. In it, `inside` is for what is in
/// the lab and on no host.
pub fn make(id: &str) -> Vec<PathBuf> {
    let Mounts { unified, others } = mounts().expect("it was looked at before");
    let groups: Vec<PathBuf> = [unified].iter().chain(&others).map(|at| at.join(id)).collect();
    groups.iter().for_each(|group| fs::create_dir(group).unwrap());
    fs::create_dir(groups[0].join("inside")).unwrap();
    groups
}

/// Removes what labs left behind whose guard was killed, too. One that is used cannot be removed.
pub fn sweep() {
    for group in labs() {
        let alive = owner(&group).is_none_or(|pid| Path::new("/proc").join(pid).exists());
        if !alive && let Some(name) = group.file_name() {
            groups_of(&name.to_string_lossy()).iter().for_each(|group| _ = remove_tree(group));
        }
    }
}

/// The groups of the labs of process `pid`, in the hierarchy of version 2.
pub fn of_owner(pid: u32) -> Vec<PathBuf> {
    let pid = pid.to_string();
    labs().into_iter().filter(|group| owner(group).as_deref() == Some(&pid)).collect()
}

/// The processes in `group`, as numbers that are valid here.
pub fn processes(group: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(group.join(PROCS)).unwrap_or_default();
    text.lines().map(|line| Pid::from_raw(line.parse().unwrap())).collect()
}

fn labs() -> Vec<PathBuf> {
    let Some(mounts) = mounts() else { return Vec::new() };
    let entries = fs::read_dir(&mounts.unified).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| owner(path).is_some()).collect()
}

fn owner(lab: &Path) -> Option<String> {
    let name = lab.file_name()?.to_str()?.strip_prefix(PREFIX)?;
    name.split('-').next().map(str::to_owned)
}

fn groups_of(id: &str) -> Vec<PathBuf> {
    let Some(Mounts { unified, mut others }) = mounts() else { return Vec::new() };
    others.push(unified);
    others.iter().map(|mount| mount.join(id)).filter(|group| group.exists()).collect()
}

fn remove_tree(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_tree(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

/// The groups of one host.
pub struct Groups {
    all: Vec<PathBuf>,
    payload: PathBuf,
}

/// What a group holds at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// No process.
    Empty,
    /// Processes that cannot run, because the whole host is frozen.
    Frozen,
    /// Processes.
    Running,
}

impl Groups {
    /// Makes the groups of host `name` in lab `id`.
    pub fn new(id: &str, name: &str) -> Groups {
        let Mounts { unified, others } = mounts().expect("it was looked at before");
        let place = |mount: &PathBuf| mount.join(id).join(name);
        let payload = place(&unified).join("payload");
        let all: Vec<PathBuf> = others.iter().chain([&unified]).map(place).collect();
        all.iter().for_each(|group| fs::create_dir_all(group).unwrap());
        Groups { all, payload }
    }

    /// Files into which a process writes `0` to move into the groups.
    pub fn doors(&self) -> Vec<File> {
        let open = |group: &PathBuf| OpenOptions::new().write(true).open(group.join(PROCS));
        self.all.iter().map(|group| open(group).unwrap()).collect()
    }

    /// Kills every process of the host at once.
    pub fn kill(&self) {
        fs::write(self.payload.join("cgroup.kill"), "1").unwrap();
    }

    /// Stops every process of the host, or lets them go on; returns when it is so.
    pub fn freeze(&self, frozen: bool) {
        fs::write(self.payload.join("cgroup.freeze"), if frozen { "1" } else { "0" }).unwrap();
        wait_until("the host is frozen or thawed", super::DEADLINE, || self.is_frozen() == frozen);
    }

    pub fn is_frozen(&self) -> bool {
        let events = fs::read_to_string(self.payload.join(EVENTS)).unwrap_or_default();
        events.contains("frozen 1")
    }

    /// The processes of `unit`, as numbers that are valid here.
    pub fn pids(&self, unit: &str) -> Vec<Pid> {
        self.places(unit).iter().flat_map(|place| processes(place)).collect()
    }

    /// What `unit` holds now.
    pub fn activity(&self, unit: &UnitPlaces) -> Activity {
        let events = unit.0.iter().filter_map(|file| fs::read_to_string(file).ok());
        let judge = |text: String| match (text.contains("populated 1"), text.contains("frozen 1")) {
            (false, _) => Activity::Empty,
            (true, true) => Activity::Frozen,
            (true, false) => Activity::Running,
        };
        events.map(judge).max().unwrap_or(Activity::Empty)
    }

    /// The files in which [`Groups::activity`] looks.
    pub fn watched(&self, unit: &str) -> UnitPlaces {
        UnitPlaces(self.places(unit).into_iter().map(|place| place.join(EVENTS)).collect())
    }

    /// Instances of a template live in a slice of their own (systemd.special(7)), unless the
    /// template says that it lives in system.slice.
    fn places(&self, unit: &str) -> Vec<PathBuf> {
        let system = self.payload.join("system.slice");
        let slice = unit.split_once('@').map(|(template, _)| {
            // systemd.unit(5), "String Escaping": a dash would be a level of slices.
            format!("system-{}.slice", template.replace('-', "\\x2d"))
        });
        let own = slice.map(|slice| system.join(slice).join(unit));
        own.into_iter().chain([system.join(unit)]).collect()
    }
}

/// The files that tell what one unit of one host holds.
pub struct UnitPlaces(Vec<PathBuf>);

const EVENTS: &str = "cgroup.events";
const PROCS: &str = "cgroup.procs";
