//! What all hosts have in common: the tree they boot from, with the package installed in it.
//!
//! A host is an overlay of three layers: a base, the template and its own. The base is this
//! machine, with what belongs to it hidden, or a minimal Debian tree. The template holds what is
//! hidden and what the package brought; it is built once and kept. Layers other than the base are
//! on a tmpfs: the kernel refuses a second layer below the file system that is the first.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::command::{self, PATH, tool};
use super::{Base, enter};

/// How long a package may take to be installed.
const INSTALL_MAX: Duration = Duration::from_secs(60);

/// How long the minimal tree may take to be made. It is made once.
const MINIMAL_MAX: Duration = Duration::from_secs(300);

/// The directories of this machine that a host sees; not what people and services keep in theirs.
const SHOWN: &[&str] = &["bin", "sbin", "usr", "etc", "var", "boot", "dev", "proc", "sys", "run"];

/// The directories of `/var` that a host sees, and those of `/var/lib`.
const SHOWN_VAR: &[&str] = &["lib", "run", "lock"];
const SHOWN_LIB: &[&str] = &["apt", "dbus", "dpkg", "misc", "pam", "polkit-1", "ucf"];

/// Files of this machine that a host must not have: who the machine is, what it starts, and what
/// makes a container image special (policy-rc.d lets maintainer scripts start nothing, silently).
const HIDDEN: &[&str] = &[
    "etc/systemd/system",
    "etc/systemd/network",
    "etc/machine-id",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "etc/fstab",
    "etc/raftctl",
    "etc/dpkg/dpkg.cfg.d",
    "etc/apt/apt.conf.d/docker-clean",
    "var/lib/dbus/machine-id",
    "usr/sbin/policy-rc.d",
];

/// What a host has in place of what is hidden.
const MADE: &[(&str, u32)] = &[
    ("etc/systemd/system", 0o755),
    ("etc/dpkg/dpkg.cfg.d", 0o755),
    ("root", 0o700),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("srv", 0o755),
    ("tmp", 0o1777),
    ("var/backups", 0o755),
    ("var/cache/apt/archives/partial", 0o755),
    ("var/lib/systemd", 0o755),
    // Present: the journal is kept.
    ("var/log/journal", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];

/// The programs of the minimal tree beside what every Debian has.
const MINIMAL: &str = "systemd,systemd-sysv,dbus,libpam-systemd,polkitd,iproute2";

/// The lower layers of every host.
pub struct Template {
    /// As overlayfs wants it: uppermost first.
    pub layers: String,
}

impl Template {
    /// The layers of hosts on `base`, with `package` installed. Works in `place`, a tmpfs.
    pub fn new(place: &Path, base: Base, package: Option<&Path>) -> Template {
        let base = match base {
            Base::Host => PathBuf::from("/"),
            Base::Minimal => minimal_tree().expect("it was made before the lab was entered"),
        };
        let upper = place.join("upper");
        fs::create_dir_all(&upper).unwrap();
        let kept = package.map(|package| kept_as(&base, package));
        match &kept {
            Some(kept) if kept.exists() => unpack(kept, &upper),
            _ => make(place, &base, package),
        }
        if let Some(kept) = kept.filter(|kept| !kept.exists()) {
            pack(&upper, &kept);
        }
        Template { layers: format!("{}:{}", upper.display(), base.display()) }
    }
}

/// The archive of the template for this package on this base in this state.
fn kept_as(base: &Path, package: &Path) -> PathBuf {
    let state = fs::read_to_string(base.join("var/lib/dpkg/status")).unwrap();
    let package = fs::read(package).unwrap();
    let how = format!("{SHOWN:?}{SHOWN_VAR:?}{SHOWN_LIB:?}{HIDDEN:?}{MADE:?}{}", base.display());
    let crc = crc32c::crc32c(&package);
    enter::cache().join(format!(
        "template-{}-{}-{crc:08x}{:x}.tar",
        enter::tag(&state),
        enter::tag(&how),
        package.len()
    ))
}

/// Two tests may do this at once: the last rename wins, and both archives are the same.
fn pack(upper: &Path, archive: &Path) {
    let part = archive.with_extension(format!("part-{}", lab_id()));
    let (part_name, upper) = (part.to_str().unwrap(), upper.to_str().unwrap());
    let attributes = "--xattrs-include=trusted.*";
    tool(&["tar", "--xattrs", attributes, "-cf", part_name, "-C", upper, "."]);
    fs::rename(&part, archive).unwrap();
}

fn unpack(archive: &Path, upper: &Path) {
    let (archive, upper) = (archive.to_str().unwrap(), upper.to_str().unwrap());
    tool(&["tar", "--xattrs", "--xattrs-include=trusted.*", "-xpf", archive, "-C", upper]);
}

fn lab_id() -> String {
    enter::inside().expect("templates are made inside of a lab")
}

/// Hides, makes and installs into the upper directory of `place`.
fn make(place: &Path, base: &Path, package: Option<&Path>) {
    let upper = place.join("upper");
    if base == Path::new("/") {
        hidden().iter().for_each(|path| hide(&upper, path));
    }
    let (work, root) = (place.join("work"), place.join("root"));
    fs::create_dir_all(&work).unwrap();
    overlay(&base.display().to_string(), &upper, &work, &root);
    for &(path, mode) in MADE {
        let path = root.join(path);
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let _ = fs::remove_file(root.join("var/lib/dbus/machine-id"));
    if let Some(package) = package {
        install(&root, package);
    }
    tool(&["umount", "--recursive", root.to_str().unwrap()]);
}

/// Mounts an overlay on `root`, which is made.
pub fn overlay(lower: &str, upper: &Path, work: &Path, root: &Path) {
    fs::create_dir_all(root).unwrap();
    let (upper, work) = (upper.display(), work.display());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    tool(&["mount", "-t", "overlay", "-o", &options, "lab", root.to_str().unwrap()]);
}

/// Everything of this machine that a host does not see.
fn hidden() -> Vec<PathBuf> {
    let others = |of: &str, shown: &[&str]| -> Vec<PathBuf> {
        let entries = fs::read_dir(Path::new("/").join(of)).unwrap().map(Result::unwrap);
        let shown = |name: &str| shown.contains(&name) || (of.is_empty() && is_lib(name));
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| !shown(name)).map(|name| Path::new(of).join(name)).collect()
    };
    let mut all = others("", SHOWN);
    all.extend(others("var", SHOWN_VAR));
    all.extend(others("var/lib", SHOWN_LIB));
    let there = HIDDEN.iter().filter(|path| Path::new("/").join(path).symlink_metadata().is_ok());
    all.extend(there.map(PathBuf::from));
    all
}

/// `lib`, `lib64` and the like.
fn is_lib(name: &str) -> bool {
    name.starts_with("lib")
}

/// Puts a whiteout into `upper` (overlayfs: a character device 0/0 hides what is below it).
fn hide(upper: &Path, path: &Path) {
    let mut at = PathBuf::new();
    for part in path.parent().into_iter().flat_map(Path::components) {
        at.push(part);
        if !upper.join(&at).exists() {
            // A directory of both layers has the attributes that it has in the upper one.
            let like = fs::metadata(Path::new("/").join(&at)).unwrap();
            fs::create_dir(upper.join(&at)).unwrap();
            let mode = fs::Permissions::from_mode(like.mode() & 0o7777);
            fs::set_permissions(upper.join(&at), mode).unwrap();
            let (owner, group) = (Some(like.uid()), Some(like.gid()));
            std::os::unix::fs::chown(upper.join(&at), owner, group).unwrap();
        }
    }
    tool(&["mknod", upper.join(path).to_str().unwrap(), "c", "0", "0"]);
}

fn install(root: &Path, package: &Path) {
    fs::copy(package, root.join("tmp/package.deb")).unwrap();
    for (kind, at) in [("/dev", "dev"), ("/proc", "proc")] {
        tool(&["mount", "--bind", kind, root.join(at).to_str().unwrap()]);
    }
    let mut dpkg = Command::new("chroot");
    dpkg.arg(root).args(["dpkg", "-i", "/tmp/package.deb"]);
    dpkg.env_clear().env("PATH", PATH).env("DEBIAN_FRONTEND", "noninteractive");
    let output = command::run(&mut dpkg, INSTALL_MAX).expect("dpkg ends");
    assert_eq!(output.code, 0, "dpkg -i: {}{}", output.stdout, output.stderr);
    fs::remove_file(root.join("tmp/package.deb")).unwrap();
}

/// The minimal Debian tree, if it was made.
pub fn minimal_tree() -> Option<PathBuf> {
    let tree = enter::cache().join(format!("minimal-{}", enter::tag(MINIMAL)));
    tree.exists().then_some(tree)
}

/// Makes the minimal Debian tree, unless there is one. Needs the mirror that this machine uses,
/// so it is done outside of the lab. Whoever comes meanwhile waits.
pub fn make_minimal() -> Result<(), String> {
    let lock = fs::File::create(enter::cache().join("minimal.lock")).unwrap();
    lock.lock().unwrap();
    if minimal_tree().is_some() {
        return Ok(());
    }
    let (mirror, suite) = mirror().ok_or("apt-cache policy names no Debian mirror")?;
    let part = enter::cache().join("minimal.part");
    let _ = fs::remove_dir_all(&part);
    let mut make = Command::new("eatmydata");
    make.args(["mmdebstrap", "--quiet", "--variant=apt", "--dpkgopt=force-unsafe-io"]);
    for unread in ["man", "locale", "doc"] {
        make.arg(format!("--dpkgopt=path-exclude=/usr/share/{unread}/*"));
    }
    // How this machine reaches its mirror, it must be reached for the tree as well.
    let settings = tool(&["apt-config", "dump"]);
    let reaches =
        |line: &&str| ["Acquire::Check-", "Acquire::http"].iter().any(|o| line.starts_with(o));
    make.args(settings.lines().filter(reaches).map(|line| format!("--aptopt={line}")));
    make.arg(format!("--include={MINIMAL}")).args([&suite]).arg(&part).arg(&mirror);
    let output = command::run(&mut make, MINIMAL_MAX).ok_or("mmdebstrap has not ended")?;
    if output.code != 0 {
        return Err(format!("mmdebstrap: {}{}", output.stdout, output.stderr));
    }
    let tree = enter::cache().join(format!("minimal-{}", enter::tag(MINIMAL)));
    fs::rename(&part, tree).map_err(|error| format!("the minimal tree: {error}"))
}

/// Address and suite of the mirror from which apt gets this machine's packages.
fn mirror() -> Option<(String, String)> {
    let policy = tool(&["apt-cache", "policy"]);
    policy.lines().map(str::split_whitespace).find_map(|mut words| {
        let (_, address, place) = (words.next()?, words.next()?, words.next()?);
        let (suite, component) = place.split_once('/')?;
        let main = component == "main" && !suite.contains('-') && address.contains("://");
        main.then(|| (address.to_owned(), suite.to_owned()))
    })
}
