//! The configuration file, from the table of its keys.

use std::fmt::Write as _;

use raftctl::config::keys::{KEYS, Key, SECTIONS};

use crate::mdoc;

/// Every section with its keys.
pub fn sections() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        write!(out, ".Ss [{}]\n{}\n", section.name, mdoc::text(section.doc)).expect("text");
        let keys = KEYS.iter().filter(|key| key.section == section.name).collect::<Vec<_>>();
        if !keys.is_empty() {
            out.push_str(".Bl -tag -width Ds\n");
            keys.into_iter().for_each(|key| item(&mut out, key));
            out.push_str(".El\n");
        }
    }
    out
}

fn item(out: &mut String, key: &Key) {
    assert!(!key.doc.is_empty(), "[{}] {} has no text", key.section, key.name);
    let kind = mdoc::argument(&format!("({})", key.kind.as_str()));
    writeln!(out, ".It Cm {} No {kind}", mdoc::argument(key.name)).expect("text");
    writeln!(out, "{}", mdoc::text(key.doc)).expect("text can be written to");
    if let Some(default) = key.default {
        writeln!(out, "Default: {}.", mdoc::text(default)).expect("text can be written to");
    }
}

/// What the values of each kind look like.
pub fn values() -> String {
    let mut out = String::from(".Bl -tag -width Ds\n");
    let mut seen = Vec::new();
    for kind in KEYS.iter().map(|key| key.kind) {
        if !seen.contains(&kind) {
            seen.push(kind);
            let (name, expected) = (mdoc::argument(kind.as_str()), mdoc::text(kind.expected()));
            write!(out, ".It {name}\n{expected}.\n").expect("text can be written to");
        }
    }
    out + ".El\n"
}

/// The keys of `[events]`, as they are written in a file.
pub fn events() -> String {
    let mut out = String::from(".Bd -literal\n[events]\n");
    for key in KEYS.iter().filter(|key| key.section == "events") {
        let value = key.default.map(str::to_owned);
        let value = value.unwrap_or_else(|| format!("/etc/raftctl/{}.sh", key.name));
        let line = format!("{:<15} = \"{value}\"", key.name);
        writeln!(out, "{}", mdoc::literal(&line)).expect("text can be written to");
    }
    out + ".Ed\n"
}
