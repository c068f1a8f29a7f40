//! The rules over Rust sources. Each takes one source and returns what it found, as sentences.

use crate::lex::{self, Path, Token};

/// The floors, lowest first (DESIGN, "The house"). A folder may use only lower floors.
pub const FLOORS: &[(u8, &[&str])] = &[
    (0, &["core", "config", "limits"]),
    (1, &["consensus"]),
    (2, &["storage", "transport"]),
    (3, &["node"]),
    (4, &["dbus", "events", "http", "log", "systemd"]),
    (5, &["exit", "daemon", "cli", "generator", "helper", "bin"]),
];

/// Who may use a folder of its own floor: everybody needs the limits, configuration is made of
/// core values, all programs share the exit statuses, and a binary is a door to one of them.
const SAME_FLOOR: &[(&str, &str)] = &[
    ("core", "limits"),
    ("config", "limits"),
    ("config", "core"),
    ("daemon", "exit"),
    ("cli", "exit"),
    ("helper", "exit"),
    ("bin", "daemon"),
    ("bin", "helper"),
    ("bin", "cli"),
    ("bin", "generator"),
];

/// Longest source file, in lines that are not tests.
pub const FILE_LINES_MAX: usize = 400;

/// Longest line, in characters.
pub const LINE_CHARS_MAX: usize = 100;

/// One Rust file of the repository.
pub struct Source {
    /// Relative to the package, with `/`.
    pub path: String,
    text: String,
    tokens: Vec<Token>,
    paths: Vec<Path>,
}

impl Source {
    /// Reads `text` as the content of `path`.
    pub fn new(path: &str, text: &str) -> Source {
        let tokens = lex::tokens(text);
        let paths = lex::paths(&tokens);
        Source { path: path.to_owned(), text: text.to_owned(), tokens, paths }
    }

    /// Names below `src/`, the last without `.rs`; `None` outside of `src/`.
    fn modules(&self) -> Option<Vec<&str>> {
        Some(self.path.strip_prefix("src/")?.strip_suffix(".rs")?.split('/').collect())
    }

    /// The folder of the floor table that this file belongs to; `None` for the crate root.
    fn folder(&self) -> Option<&str> {
        self.modules()?.first().copied().filter(|&name| name != "lib")
    }

    fn in_src(&self) -> bool {
        self.path.starts_with("src/")
    }

    /// Whether the whole file is test code.
    fn is_test_file(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
    }

    fn is_test(&self, path: &Path) -> bool {
        path.test || self.is_test_file()
    }

    fn finding(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// Findings for every path that `judge` has something against.
    fn judge<M: std::fmt::Display>(&self, judge: impl Fn(&Path) -> Option<M>) -> Vec<String> {
        let judged = self.paths.iter().filter_map(|p| Some(self.finding(p.line, judge(p)?)));
        judged.collect()
    }
}

fn floor(folder: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, folders)| folders.contains(&folder)).map(|&(floor, _)| floor)
}

fn starts(path: &Path, with: &[&str]) -> bool {
    path.segments.len() >= with.len() && path.segments.iter().zip(with).all(|(a, b)| a == b)
}

fn ends(path: &Path, with: &[&str]) -> bool {
    let skip = path.segments.len().checked_sub(with.len());
    skip.is_some_and(|skip| path.segments[skip..].iter().zip(with).all(|(a, b)| a == b))
}

fn names(path: &Path, name: &str) -> bool {
    path.segments.iter().any(|segment| segment == name)
}

/// A folder uses lower floors only, and `super` stays inside its folder.
pub fn arrows(source: &Source) -> Vec<String> {
    let Some(from) = source.folder() else { return Vec::new() };
    let Some(from_floor) = floor(from) else {
        return vec![source.finding(1, format!("folder {from:?} is not in the floor table"))];
    };
    source.judge(|path| {
        let to = match path.segments.first()?.as_str() {
            "crate" | "raftctl" => path.segments.get(1)?.as_str(),
            "super" => return escapes(source, path).then(|| "super leaves the folder".to_owned()),
            _ => return None,
        };
        if to == from || SAME_FLOOR.contains(&(from, to)) {
            return None;
        }
        match floor(to) {
            Some(to_floor) if to_floor < from_floor => None,
            Some(to_floor) => Some(format!(
                "{from:?} (floor {from_floor}) must not use {to:?} (floor {to_floor})"
            )),
            None => Some(format!("{to:?} is not a folder of the floor table")),
        }
    })
}

/// Whether a path of `super`s reaches the crate root.
fn escapes(source: &Source, path: &Path) -> bool {
    let modules = source.modules().unwrap_or_default();
    let own = modules.len() - usize::from(modules.last() == Some(&"mod"));
    let supers = path.segments.iter().take_while(|s| *s == "super").count();
    supers >= own + path.inline_mods
}

/// The crate root declares modules; a re-export there would hide an arrow.
pub fn root_declares_only(source: &Source) -> Vec<String> {
    if source.path != "src/lib.rs" {
        return Vec::new();
    }
    let uses = source.tokens.iter().filter(|t| t.text == "use");
    uses.map(|t| source.finding(t.line, "the crate root only declares modules")).collect()
}

/// Only `src/consensus` names the engine and its codec.
pub fn engine_is_named_once(source: &Source) -> Vec<String> {
    if source.path.starts_with("src/consensus") {
        return Vec::new();
    }
    source.judge(|path| {
        let first = path.segments.first()?.as_str();
        let engine = (first == "raft" && path.segments.len() > 1)
            || matches!(first, "eraftpb" | "protobuf" | "raft_proto")
            || names(path, "eraftpb");
        engine.then_some("only src/consensus names the raft crate and its codec")
    })
}

/// Floors 0 and 1: no runtime, no clock, no files, no sockets, no chance, no hash order.
/// What their tests use is not looked at.
pub fn low_floors_are_pure(source: &Source) -> Vec<String> {
    if source.folder().and_then(floor).is_none_or(|floor| floor > 1) {
        return Vec::new();
    }
    source.judge(|path| {
        if source.is_test(path) {
            return None;
        }
        impurity(path).map(|what| format!("floors 0 and 1 have no {what}"))
    })
}

fn impurity(path: &Path) -> Option<&'static str> {
    let socket = |s: &String| s.starts_with("Tcp") || s.starts_with("Udp") || s.starts_with("Unix");
    let is = |with: &[&str]| starts(path, with);
    if names(path, "tokio") {
        Some("runtime (tokio)")
    } else if is(&["std", "fs"]) || is(&["nix"]) || is(&["std", "process"]) {
        Some("files or processes")
    } else if is(&["std", "thread"]) || is(&["std", "env"]) {
        Some("threads or environment")
    } else if is(&["std", "net"]) && path.segments.iter().any(socket) {
        Some("sockets")
    } else if names(path, "SystemTime")
        || (is(&["std", "time"]) && ends(path, &["Instant"]))
        || ends(path, &["Instant", "now"])
    {
        Some("clock")
    } else if names(path, "HashMap") || names(path, "HashSet") || names(path, "RandomState") {
        Some("hash order: use BTreeMap or BTreeSet")
    } else if ["rand", "getrandom", "fastrand"].iter().any(|name| names(path, name)) {
        Some("randomness: take a seed")
    } else {
        None
    }
}

/// No channel without a bound, anywhere.
pub fn queues_are_bounded(source: &Source) -> Vec<String> {
    source.judge(|path| {
        let named = path.segments.iter().any(|s| {
            matches!(s.as_str(), "unbounded_channel" | "UnboundedSender" | "UnboundedReceiver")
        });
        let std_sender = ends(path, &["std", "sync", "mpsc", "Sender"])
            || ends(path, &["std", "sync", "mpsc", "channel"]);
        let called = ends(path, &["mpsc", "channel"]) && path.called_empty;
        (named || std_sender || called).then_some("a queue without a bound")
    })
}

/// Errors are typed by operation; only the composition roots may use `anyhow`.
pub fn anyhow_stays_on_top(source: &Source) -> Vec<String> {
    if !source.in_src() || matches!(source.folder(), Some("daemon" | "cli" | "exit" | "bin")) {
        return Vec::new();
    }
    source.judge(|path| names(path, "anyhow").then_some("anyhow below daemon, cli and bin"))
}

/// Every source file says first what it owns, guarantees and does not do.
pub fn opens_with_module_doc(source: &Source) -> Vec<String> {
    if !source.in_src() || source.text.starts_with("//!") {
        return Vec::new();
    }
    vec![source.finding(1, "the file does not open with //!")]
}

/// A file fits into a head, a line into a screen.
pub fn fits_the_screen(source: &Source) -> Vec<String> {
    let too_long = |line: &&str| line.chars().count() > LINE_CHARS_MAX;
    let long = source.text.lines().zip(1..).filter(|(line, _)| too_long(line));
    let mut found: Vec<String> = long
        .map(|(_, at)| source.finding(at, format!("line over {LINE_CHARS_MAX} characters")))
        .collect();
    let lines = source.text.lines().count() - test_lines(&source.tokens);
    if source.in_src() && !source.is_test_file() && lines > FILE_LINES_MAX {
        found.push(source.finding(1, format!("{lines} lines, over {FILE_LINES_MAX}")));
    }
    found
}

/// Lines from the first to the last token of each stretch of test items.
fn test_lines(tokens: &[Token]) -> usize {
    let stretches = tokens.chunk_by(|a, b| a.test == b.test).filter(|s| s[0].test);
    stretches.map(|s| s[s.len() - 1].line - s[0].line + 1).sum()
}

/// Nothing unfinished, nothing dead, no test that does not run.
pub fn nothing_left_undone(source: &Source) -> Vec<String> {
    let text = |at: usize| source.tokens.get(at).map_or("", |t: &Token| t.text.as_str());
    let mut found = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        let what = match token.text.as_str() {
            "todo" | "unimplemented" if text(at + 1) == "!" => "unfinished code",
            "ignore" if at >= 2 && text(at - 1) == "[" && text(at - 2) == "#" => {
                "an ignored test: say what is missing and report SKIPPED instead"
            }
            "dead_code" => "dead code allowed: delete it",
            // What several test programs share, each of them uses in part.
            "unused" if source.path.ends_with("_support/mod.rs") => continue,
            "unused" if text(at.wrapping_sub(2)) == "allow" => "dead code allowed: delete it",
            _ => continue,
        };
        found.push(source.finding(token.line, what));
    }
    found
}

/// No test sleeps; each waits for an event with a deadline.
pub fn tests_do_not_sleep(source: &Source) -> Vec<String> {
    source.judge(|path| {
        let sleeps = path.segments.windows(2).any(|pair| {
            matches!(pair[0].as_str(), "thread" | "time") && pair[1].starts_with("sleep")
        });
        (sleeps && source.is_test(path))
            .then_some("a test that sleeps: wait for the event, with a deadline")
    })
}
