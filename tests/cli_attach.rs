//! `raftctl attach` and `detach` on trees of files (`--root`), as processes: what is written, what
//! is refused, and that nothing else is touched.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

const CONFIG: &str = "[node]\nname = \"n1\"\n[cluster]\nmembers = { n1 = \"192.0.2.1:7100\", \
                      n2 = \"192.0.2.2:7100\" }\n[authority]\ndemote_timeout = \"2s\"\n";
const NGINX: &str = "[Unit]\nDescription=a web server\n[Service]\nExecStart=/bin/true\n\
                     [Install]\nWantedBy=multi-user.target\n";
const DROPIN: &str = "etc/systemd/system/nginx.service.d/50-raftctl.conf";
const LINK: &str = "etc/systemd/system/raftctl-leader@n1.target.wants/nginx.service";

/// A host's files.
struct Tree(TempDir);

impl Tree {
    fn new() -> Tree {
        let tree = Tree(tempfile::tempdir().unwrap());
        tree.put("etc/raftctl/n1.toml", CONFIG);
        tree.put("usr/lib/systemd/system/nginx.service", NGINX);
        fs::create_dir_all(tree.path("etc/systemd/system")).unwrap();
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, to: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Exit status, standard output, standard error.
    fn run(&self, arguments: &str) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_raftctl"));
        command.args(arguments.split_whitespace()).arg("--root").arg(self.0.path());
        // A umask that would hide what is written.
        let output = command.stdin(Stdio::null()).env_remove("RAFTCTL_RUNTIME_DIRECTORY");
        let output = output.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    fn good(&self, arguments: &str) -> String {
        let (status, out, error) = self.run(arguments);
        assert_eq!(status, 0, "{out}{error}");
        out
    }

    #[track_caller]
    fn refused(&self, arguments: &str) -> String {
        let before = self.everything();
        let (status, out, error) = self.run(arguments);
        assert_eq!((status, out.as_str()), (1, ""), "{error}");
        assert_eq!(self.everything(), before, "a refusal changes nothing");
        error
    }

    /// All paths below the root, with what links name.
    fn everything(&self) -> Vec<(PathBuf, Option<PathBuf>)> {
        let (mut found, mut left) = (Vec::new(), vec![self.0.path().to_owned()]);
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let is_directory = path.symlink_metadata().unwrap().is_dir();
                found.push((path.clone(), fs::read_link(&path).ok()));
                if is_directory {
                    left.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

#[test]
fn attach_writes_a_dropin_and_a_link_and_detach_removes_them() {
    let tree = Tree::new();
    let before = tree.everything();
    let said = tree.good("attach nginx --dry-run");
    assert!(said.contains("Would write") && said.contains("TimeoutStopSec=1700ms"), "{said}");
    assert_eq!(tree.everything(), before, "a dry run writes nothing");

    let said = tree.good("attach nginx");
    let expected = "# Written by \"raftctl attach\" for node n1; \"raftctl detach nginx.service\" \
        removes it.\n\n[Unit]\nBindsTo=raftctl-leader@n1.target\n\
        After=raftctl-leader@n1.target\nConditionPathExists=/run/raftctl/n1/active\n\n\
        [Service]\nTimeoutStopSec=1700ms\n\n\
        [Install]\nWantedBy=\nRequiredBy=\nWantedBy=raftctl-leader@n1.target\n";
    assert_eq!(tree.read(DROPIN), expected);
    let mode = fs::metadata(tree.path(DROPIN)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    let to = fs::read_link(tree.path(LINK)).unwrap();
    assert_eq!(to, Path::new("/usr/lib/systemd/system/nginx.service"));
    for part in ["Wrote", "BindsTo=raftctl-leader@n1.target", "before: 1m 30s", "Next: ", "of n2"] {
        assert!(said.contains(part), "{part}: {said}");
    }

    // Again: nothing to do, and the time limit stays although the unit's own is ours by now.
    let after = tree.everything();
    let said = tree.good("attach nginx.service --instance n1");
    assert!(said.contains("already; nothing to write"), "{said}");
    assert_eq!((tree.everything(), tree.read(DROPIN).as_str()), (after, expected));

    let json = tree.good("attach nginx --json=short");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["new"], &json["target"]),
        (&false.into(), &"raftctl-leader@n1.target".into())
    );

    let said = tree.good("detach nginx --dry-run");
    assert!(said.contains("Would remove") && tree.path(LINK).is_symlink(), "{said}");
    let said = tree.good("detach nginx");
    assert!(said.contains(DROPIN) && said.contains(LINK), "{said}");
    assert_eq!(tree.everything(), before);
    let said = tree.good("detach nginx");
    assert!(said.contains("not attached"), "{said}");
}

#[test]
fn a_changed_configuration_changes_the_dropin() {
    let tree = Tree::new();
    tree.good("attach nginx");
    tree.put("etc/raftctl/n1.toml", &CONFIG.replace("2s", "5s"));
    assert!(tree.good("attach nginx").contains("Wrote"));
    assert!(tree.read(DROPIN).contains("TimeoutStopSec=4700ms"));
}

#[test]
fn followers_instances_and_short_stops() {
    let tree = Tree::new();
    tree.put(
        "etc/systemd/system/pg@.service",
        "[Service]\nExecStart=/bin/true\nTimeoutSec=2min\nTimeoutStopSec=500ms\n",
    );
    tree.good("attach pg@16-main --on follower");
    let dropin = tree.read("etc/systemd/system/pg@16-main.service.d/50-raftctl.conf");
    assert!(dropin.contains("BindsTo=raftctl-follower@n1.target"), "{dropin}");
    assert!(!dropin.contains("Timeout") && !dropin.contains("Condition"), "{dropin}");
    let link = "etc/systemd/system/raftctl-follower@n1.target.wants/pg@16-main.service";
    let to = fs::read_link(tree.path(link)).unwrap();
    assert_eq!(to, Path::new("/etc/systemd/system/pg@.service"));
    let error = tree.refused("attach pg@16-main");
    assert!(error.contains("attached to raftctl-follower@n1.target already"), "{error}");
    tree.good("detach pg@16-main");
    tree.good("attach pg@16-main");
    let dropin = tree.read("etc/systemd/system/pg@16-main.service.d/50-raftctl.conf");
    assert!(!dropin.contains("Timeout"), "it stops soon enough by itself: {dropin}");
}

#[test]
fn what_cannot_work_is_refused_and_nothing_is_written() {
    let tree = Tree::new();
    let error = tree.refused("attach absent");
    assert!(error.contains("absent.service was not found"), "{error}");

    tree.link("etc/systemd/system/off.service", "/dev/null");
    let error = tree.refused("attach off");
    assert!(error.contains("systemctl unmask off.service"), "{error}");

    tree.put("run/systemd/generator/made.service", NGINX);
    let error = tree.refused("attach made");
    assert!(error.contains("made by a generator"), "{error}");

    let error = tree.refused("attach pg@.service");
    assert!(error.contains("is a template"), "{error}");
    for own in ["raftctl@n1", "raftctl-leader@n1.target", "raftctl-fence@n1"] {
        assert!(tree.refused(&format!("attach {own}")).contains("raftctl itself"));
    }

    tree.put(
        "usr/lib/systemd/system/early.service",
        "[Unit]\nBefore=network.target x\n[Service]\n",
    );
    let error = tree.refused("attach early");
    assert!(error.contains("before network.target"), "{error}");

    let wants = "etc/systemd/system/multi-user.target.wants/nginx.service";
    tree.link(wants, "/usr/lib/systemd/system/nginx.service");
    let error = tree.refused("attach nginx");
    assert!(error.contains("with multi-user.target") && error.contains("--disable"), "{error}");
    let said = tree.good("attach nginx --disable");
    assert!(said.contains("No longer starts nginx.service with multi-user.target"), "{said}");
    assert!(!tree.path(wants).is_symlink() && tree.path(LINK).is_symlink());
}

#[test]
fn an_alias_is_attached_by_its_real_name() {
    let tree = Tree::new();
    tree.link("etc/systemd/system/web.service", "/usr/lib/systemd/system/nginx.service");
    let said = tree.good("attach web");
    assert!(said.contains("nginx.service.d/50-raftctl.conf"), "{said}");
    assert!(!tree.path("etc/systemd/system/web.service.d").exists());
    // What starts it by its other name counts as well.
    tree.good("detach web");
    tree.link("etc/systemd/system/a.target.wants/web.service", "../web.service");
    assert!(tree.refused("attach web").contains("with a.target"));
    // A circle of links is no unit, and no endless loop.
    tree.link("etc/systemd/system/a.service", "/etc/systemd/system/b.service");
    tree.link("etc/systemd/system/b.service", "/etc/systemd/system/a.service");
    tree.refused("attach a");
}

#[test]
fn what_somebody_else_wrote_is_neither_overwritten_nor_removed() {
    let tree = Tree::new();
    tree.put(DROPIN, "[Unit]\nBindsTo=raftctl-leader@n1.target\n");
    let error = tree.refused("attach nginx");
    assert!(error.contains("did not write"), "{error}");
    let error = tree.refused("detach nginx");
    assert!(error.contains("was not written by raftctl attach"), "{error}");

    // Others of the same directory stay.
    fs::remove_file(tree.path(DROPIN)).unwrap();
    tree.put("etc/systemd/system/nginx.service.d/10-mine.conf", "[Service]\nNice=1\n");
    tree.good("attach nginx");
    tree.good("detach nginx");
    assert_eq!(tree.read("etc/systemd/system/nginx.service.d/10-mine.conf"), "[Service]\nNice=1\n");
}

#[test]
fn a_tree_cannot_lead_out_of_itself() {
    let (tree, outside) = (Tree::new(), tempfile::tempdir().unwrap());
    let to = outside.path().to_str().unwrap();
    tree.link("etc/systemd/system/nginx.service.d", to);
    let error = tree.refused("attach nginx");
    assert!(error.contains("expected a directory below --root"), "{error}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);

    // A link in place of the file itself is replaced by nothing and read through by nobody.
    let tree = Tree::new();
    let victim = outside.path().join("victim");
    fs::write(&victim, "# Written by \"raftctl attach\"\nBindsTo=raftctl-leader@n1.target\n")
        .unwrap();
    tree.link(DROPIN, victim.to_str().unwrap());
    tree.refused("attach nginx");
    tree.refused("detach nginx");
    assert!(victim.exists());
}

#[test]
fn hostile_files_are_read_to_an_end() {
    let tree = Tree::new();
    // A drop-in of ours that names something else than a target is no way to remove other files.
    let text = "# Written by \"raftctl attach\"\nBindsTo=../../../../victim\n";
    tree.put(DROPIN, text);
    tree.put("victim.wants/nginx.service", "x");
    tree.good("detach nginx");
    assert!(tree.path("victim.wants/nginx.service").exists() && !tree.path(DROPIN).exists());

    nix::unistd::mkfifo(
        &tree.path("etc/systemd/system/pipe.service"),
        nix::sys::stat::Mode::S_IRUSR,
    )
    .unwrap();
    tree.refused("attach pipe");
    fs::write(tree.path("etc/systemd/system/bytes.service"), [0xff, 0, b'=', b'\n', b'[']).unwrap();
    tree.run("attach bytes");
    let huge = fs::File::create(tree.path("etc/systemd/system/huge.service")).unwrap();
    huge.set_len(1 << 40).unwrap();
    tree.run("attach huge");
    for wrong in ["../../x", "a/b", "x@y@z", "%n", "system.slice"] {
        let (status, _, error) = tree.run(&format!("attach {wrong}"));
        assert_eq!(status, 2, "{wrong}");
        assert!(error.contains("expected"), "{wrong}: {error}");
    }
}

#[test]
fn the_node_of_this_host_has_to_be_clear() {
    let tree = Tree::new();
    tree.put("etc/raftctl/n2.toml", &CONFIG.replace("name = \"n1\"", "name = \"n2\""));
    let (status, _, error) = tree.run("attach nginx");
    assert_eq!(status, 2);
    assert!(error.contains("n1, n2") && error.contains("--instance"), "{error}");
    tree.good("attach nginx --instance n2");
    let text = tree.read(DROPIN);
    assert!(text.contains("BindsTo=raftctl-leader@n2.target"), "{text}");
    let error = tree.refused("attach nginx --instance n1");
    assert!(error.contains("attached to raftctl-leader@n2.target already"), "{error}");

    let (status, _, error) = tree.run("attach nginx --instance n3");
    assert_eq!(status, 2);
    assert!(error.contains("n3.toml"), "{error}");
    fs::remove_dir_all(tree.path("etc/raftctl")).unwrap();
    let (status, _, error) = tree.run("attach nginx");
    assert_eq!(status, 2);
    assert!(error.contains("no node is configured") && error.contains("raftctl init"), "{error}");
}
