//! The kinds of events, their catalog and their table in the manual, held together: no number
//! without an entry, no entry without a kind, and systemd takes the catalog as it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use raftctl::core::story::Kind;

const CATALOG: &str = include_str!("../systemd/raftctl.catalog");

/// Facts of every message, whatever its kind.
const ALWAYS: [&str; 2] = ["RAFTCTL_CLUSTER", "RAFTCTL_NODE"];

/// One entry of the catalog: its headers and its text.
struct Entry {
    headers: BTreeMap<String, String>,
    body: String,
}

/// The entries, in order.
fn entries() -> Vec<(String, Entry)> {
    let text: Vec<&str> = CATALOG.lines().filter(|line| !line.starts_with('#')).collect();
    let text = text.join("\n");
    let mut found = Vec::new();
    for part in text.split("\n-- ").skip(1) {
        let (id, rest) = part.split_once('\n').unwrap();
        let (headers, body) = rest.split_once("\n\n").unwrap_or_else(|| panic!("{id}: no text"));
        let headers = headers.lines().map(|line| {
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{id}: {line:?}"));
            (name.to_owned(), value.to_owned())
        });
        let entry = Entry { headers: headers.collect(), body: body.trim().to_owned() };
        found.push((id.to_owned(), entry));
    }
    found
}

/// Names between `@`.
fn variables(text: &str) -> Vec<String> {
    let is_name =
        |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    text.split('@').filter(is_name).map(str::to_owned).collect()
}

#[test]
fn every_kind_has_its_entry_and_every_entry_its_kind() {
    let entries = entries();
    let ids: Vec<&str> = entries.iter().map(|(id, _)| id.as_str()).collect();
    let expected: Vec<&str> = Kind::ALL.iter().map(|kind| kind.id()).collect();
    assert_eq!(ids, expected, "the catalog has the order of src/core/story.rs");
    for (id, Entry { headers, body }) in &entries {
        let kind = Kind::from_id(id).unwrap();
        let names: Vec<&str> = headers.keys().map(String::as_str).collect();
        assert_eq!(names, ["Defined-By", "Documentation", "Subject", "Support"], "{kind:?}");
        assert_eq!(headers["Defined-By"], "raftctl");
        assert!(headers["Documentation"].starts_with("man:raftctl"), "{kind:?}");
        assert!(body.ends_with('.') || body.ends_with("\"."), "{kind:?}: {body}");
        assert!(body.len() > 40, "{kind:?}: {body}");
        for name in variables(&format!("{}\n{body}", headers["Subject"])) {
            let field = name.strip_prefix("RAFTCTL_").unwrap_or_default().to_ascii_lowercase();
            assert!(
                ALWAYS.contains(&name.as_str()) || kind.has(&field),
                "{kind:?} is not told with @{name}@"
            );
        }
    }
}

#[test]
fn systemd_reads_the_catalog() {
    if Command::new("journalctl").arg("--version").output().is_err() {
        println!("SKIPPED: reading the catalog needs journalctl");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("usr/lib/systemd/catalog");
    fs::create_dir_all(&directory).unwrap();
    fs::create_dir_all(root.path().join("var/lib/systemd/catalog")).unwrap();
    fs::write(directory.join("raftctl.catalog"), CATALOG).unwrap();
    let journalctl = |arguments: &[&str]| {
        let root = format!("--root={}", root.path().display());
        let done = Command::new("journalctl").arg(root).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success() && said.is_empty(), "{arguments:?}: {said}");
        String::from_utf8(done.stdout).unwrap()
    };
    journalctl(&["--update-catalog"]);
    let listed = journalctl(&["--list-catalog"]);
    for kind in Kind::ALL {
        assert!(listed.contains(&format!("{} raftctl: ", kind.id())), "{kind:?}: {listed}");
    }
    assert_eq!(listed.lines().count(), Kind::ALL.len());
    let shown = journalctl(&["--dump-catalog", Kind::TransferFailed.id()]);
    assert!(shown.contains("The cluster is as safe as before"), "{shown}");
}

#[test]
fn the_manual_has_the_table() {
    let (begin, end) = ("<!-- kinds: generated -->\n\n", "\n<!-- end -->");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/journal.md");
    let committed = fs::read_to_string(&path).unwrap();
    let (before, rest) = committed.split_once(begin).expect("where the table begins");
    let (_, after) = rest.split_once(end).expect("where the table ends");
    let mut table =
        String::from("| kind | what has happened | priority | fields | `MESSAGE_ID=` |\n");
    table += "|---|---|---|---|---|\n";
    for kind in Kind::ALL {
        let fields = kind.fields().iter().map(|f| format!("`_{}`", f.to_ascii_uppercase()));
        let fields = fields.collect::<Vec<_>>().join(" ");
        let (name, title, priority) = (kind.name(), kind.title(), kind.priority().as_str());
        table += &format!("| {name} | {title} | {priority} | {fields} | `{}` |\n", kind.id());
    }
    let generated = format!("{before}{begin}{table}{end}{after}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, generated).unwrap();
        return;
    }
    assert!(committed == generated, "docs/journal.md: UPDATE_GOLDEN=1 cargo test --test journal");
}

/// Kinds that nobody tells are promises that are not kept.
#[test]
fn every_kind_is_told_somewhere() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source];
    let mut text = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => text += &fs::read_to_string(&path).unwrap(),
            }
        }
    }
    let text: String = text.split_whitespace().collect::<Vec<_>>().join("");
    let told = |kind: &&Kind| {
        let name = kind.name();
        text.contains(&format!("tell!({name},")) || text.contains(&format!("tell!({name};"))
    };
    let silent: Vec<Kind> = Kind::ALL.iter().filter(|kind| !told(kind)).copied().collect();
    assert_eq!(silent, []);
}
