//! Each rule against a text that breaks it, and against its nearest innocent neighbour.

use crate::lex;
use crate::rules::{self, Source};
use crate::text;

#[track_caller]
fn catches(rule: fn(&Source) -> Vec<String>, path: &str, guilty: &str) {
    let found = rule(&Source::new(path, guilty));
    assert!(!found.is_empty(), "not caught in {path}: {guilty}");
    assert!(found[0].starts_with(path), "{}", found[0]);
}

#[track_caller]
fn passes(rule: fn(&Source) -> Vec<String>, path: &str, innocent: &str) {
    assert_eq!(rule(&Source::new(path, innocent)), Vec::<String>::new(), "in {path}: {innocent}");
}

#[test]
fn comments_and_strings_are_not_code() {
    let text = r##"a /* b /* c */ d */ e "f \" g" r#"h " i"# 'j' '\'' k::<'static>() // l
m"##;
    let names: Vec<String> = lex::tokens(text).into_iter().map(|t| t.text).collect();
    let names: Vec<&str> =
        names.iter().map(String::as_str).filter(|t| t.chars().all(char::is_alphanumeric)).collect();
    assert_eq!(names, ["a", "e", "k", "static", "m"]);
    assert_eq!(lex::mask(text).lines().count(), 2);
}

#[test]
fn use_groups_are_written_out() {
    let tokens = lex::tokens("use a::{b, c::{d as x, *}}; e::f::<G>();");
    let paths: Vec<String> =
        lex::paths(&tokens).iter().map(|p| p.segments.join("::")).filter(|p| p != "use").collect();
    assert_eq!(paths, ["a::b", "a::c::d", "a::c::*", "e::f", "G"]);
}

#[test]
fn an_arrow_that_points_up_is_caught() {
    let rule = rules::arrows;
    catches(rule, "src/core/id.rs", "use crate::node::handle;");
    catches(rule, "src/core/id.rs", "use crate::{limits, config::Config};");
    catches(rule, "src/limits.rs", "pub fn f() -> crate::core::Term { 1 }");
    catches(rule, "src/storage/log.rs", "use crate::transport::Frame;");
    catches(rule, "src/events/mod.rs", "fn f() { crate::dbus::emit() }");
    catches(rule, "src/cli/status.rs", "use crate::daemon;");
    catches(rule, "src/core/id.rs", "#[cfg(test)] mod tests { use crate::node::Role; }");
    catches(rule, "src/node/driver.rs", "use raftctl::daemon::run;");
    catches(rule, "src/utils/mod.rs", "//! A folder that nobody agreed on.");
    catches(rule, "src/core/id.rs", "use crate::*;");
    passes(rule, "src/core/id.rs", "use crate::limits; use crate::core::Term;");
    passes(rule, "src/core/id.rs", "// use crate::node::handle;\nconst A: &str = \"crate::node\";");
    passes(rule, "src/config/mod.rs", "use crate::{core::NodeName, limits};");
    passes(rule, "src/daemon.rs", "use crate::{core, dbus, node::handle};");
    passes(rule, "src/bin/raftctld.rs", "fn main() { raftctl::daemon::main() }");
    passes(rule, "src/node/driver.rs", "pub(crate) fn f() {} pub(in crate::node) fn g() {}");
}

#[test]
fn super_stays_in_its_folder() {
    let rule = rules::arrows;
    catches(rule, "src/core/id.rs", "use super::super::node::handle;");
    catches(rule, "src/core/mod.rs", "use super::node;");
    catches(rule, "src/limits.rs", "use super::core;");
    catches(rule, "src/core/id.rs", "mod tests { use super::super::super::node; }");
    passes(rule, "src/core/id.rs", "use super::Term;");
    passes(rule, "src/core/id.rs", "mod tests { use super::super::Term; }");
    passes(rule, "src/node/flush/order.rs", "use super::super::handle;");
    passes(rule, "src/limits.rs", "mod tests { use super::*; }");
}

#[test]
fn a_root_that_re_exports_is_caught() {
    catches(rules::root_declares_only, "src/lib.rs", "pub mod core; pub use core::Term;");
    passes(rules::root_declares_only, "src/lib.rs", "//! use it\npub mod core;");
}

#[test]
fn the_engine_outside_consensus_is_caught() {
    let rule = rules::engine_is_named_once;
    catches(rule, "src/node/driver.rs", "use raft::RawNode;");
    catches(rule, "src/node/driver.rs", "fn f(m: ::raft::prelude::Message) {}");
    catches(rule, "src/transport/mod.rs", "use protobuf::Message;");
    catches(rule, "tests/sim.rs", "use raft::eraftpb::Entry;");
    passes(rule, "src/consensus/mod.rs", "use raft::eraftpb::Entry;");
    passes(rule, "src/node/driver.rs", "let e = config.raft.election_min; crate::config::raft::X;");
}

#[test]
fn impure_low_floors_are_caught() {
    let rule = rules::low_floors_are_pure;
    for guilty in [
        "use tokio::sync::mpsc;",
        "fn f() { std::fs::read(\"x\"); }",
        "use std::{fs, io};",
        "use std::net::TcpStream;",
        "use std::time::{Duration, Instant};",
        "use std::time::SystemTime;",
        "fn f() { let now = Instant::now(); }",
        "use std::collections::HashMap;",
        "use std::collections::{BTreeMap, HashSet};",
        "fn f() { getrandom::fill(&mut x); }",
        "fn f() { rand::random::<u64>(); }",
        "fn f() { std::thread::spawn(g); }",
    ] {
        catches(rule, "src/core/role.rs", guilty);
        catches(rule, "src/consensus/replica.rs", guilty);
        passes(rule, "src/storage/disk.rs", guilty);
        passes(rule, "src/core/role/tests.rs", guilty);
        passes(rule, "src/core/role.rs", &format!("#[cfg(test)]\nmod tests {{ {guilty} }}"));
        catches(rule, "src/core/role.rs", &format!("#[cfg(not(test))]\nmod x {{ {guilty} }}"));
    }
    let innocent = "use std::time::Duration; use crate::core::Instant; use std::net::Ipv6Addr;";
    passes(rule, "src/core/time.rs", innocent);
}

#[test]
fn a_queue_without_bound_is_caught() {
    let rule = rules::queues_are_bounded;
    catches(rule, "src/node/driver.rs", "let (a, b) = mpsc::unbounded_channel();");
    catches(rule, "src/node/driver.rs", "let (a, b) = std::sync::mpsc::channel();");
    catches(rule, "src/node/driver.rs", "let (a, b) = mpsc::channel::<Vec<u8>>();");
    catches(rule, "tests/process.rs", "use std::sync::mpsc::{Sender, Receiver};");
    passes(rule, "src/node/driver.rs", "let (a, b) = mpsc::channel(limits::DRIVER_QUEUE_EVENTS);");
    passes(rule, "src/node/driver.rs", "let (a, b) = std::sync::mpsc::sync_channel(4);");
    passes(rule, "src/node/handle.rs", "use tokio::sync::mpsc; struct A(mpsc::Sender<u8>);");
}

#[test]
fn anyhow_below_the_roots_is_caught() {
    let rule = rules::anyhow_stays_on_top;
    catches(rule, "src/storage/log.rs", "fn f() -> anyhow::Result<()> { Ok(()) }");
    catches(rule, "src/dbus/mod.rs", "use anyhow::Context;");
    passes(rule, "src/daemon.rs", "use anyhow::Context;");
    passes(rule, "src/cli/mod.rs", "use anyhow::Context;");
    passes(rule, "tests/process.rs", "use anyhow::Context;");
}

#[test]
fn a_file_without_doc_is_caught() {
    catches(rules::opens_with_module_doc, "src/core/x.rs", "use std::fmt;\n//! late");
    passes(rules::opens_with_module_doc, "src/core/x.rs", "//! What it owns.\n");
}

#[test]
fn what_does_not_fit_the_screen_is_caught() {
    let rule = rules::fits_the_screen;
    let lines = |n: usize| "fn f() {}\n".repeat(n);
    catches(rule, "src/core/x.rs", &lines(rules::FILE_LINES_MAX + 1));
    passes(rule, "src/core/x.rs", &lines(rules::FILE_LINES_MAX));
    let tests = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(390), lines(200));
    passes(rule, "src/core/x.rs", &tests);
    catches(rule, "src/core/x.rs", &format!("{tests}{}", lines(11)));
    passes(rule, "src/core/x/tests.rs", &lines(2000));
    catches(rule, "tests/x.rs", &format!("// {}", "é".repeat(98)));
    passes(rule, "tests/x.rs", &format!("// {}", "é".repeat(97)));
}

#[test]
fn what_is_left_undone_is_caught() {
    let rule = rules::nothing_left_undone;
    catches(rule, "src/core/x.rs", "fn f() { todo!() }");
    catches(rule, "src/core/x.rs", "fn f() { unimplemented!(\"later\") }");
    catches(rule, "tests/x.rs", "#[test]\n#[ignore]\nfn f() {}");
    catches(rule, "tests/x.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}");
    catches(rule, "src/core/x.rs", "#[allow(dead_code)]\nfn f() {}");
    catches(rule, "tests/sim/x.rs", "#![allow(clippy::all, dead_code)]");
    catches(rule, "tests/sim/x.rs", "#![allow(unused)]");
    passes(rule, "src/core/x.rs", "// todo!()\nlet todo = ignore(); log(\"todo!()\", unused);");
}

#[test]
fn a_test_that_sleeps_is_caught() {
    let rule = rules::tests_do_not_sleep;
    catches(rule, "tests/process.rs", "std::thread::sleep(DELAY);");
    catches(rule, "tests/process.rs", "use std::thread::{self, sleep};");
    catches(rule, "tests/sim/x.rs", "tokio::time::sleep(DELAY).await;");
    catches(rule, "src/node/x.rs", "#[cfg(test)] mod tests { fn f() { thread::sleep(DELAY); } }");
    catches(rule, "src/node/x.rs", "#[tokio::test] async fn f() { time::sleep_until(LATER) }");
    passes(rule, "src/node/x.rs", "fn f() { tokio::time::sleep(DELAY); }");
    passes(rule, "tests/process.rs", "Command::new(\"sleep\").spawn(); rx.recv_timeout(DEADLINE);");
}

#[test]
fn a_dependency_without_reason_is_caught() {
    let rule = text::dependencies_have_reasons;
    let good = "[dependencies]\n# the wire and the disk\nprost = { version = \"0.14\" }\n";
    assert_eq!(rule(good), Vec::<String>::new());
    let list =
        "[dependencies]\n# system calls\nnix = { version = \"1\", features = [\n \"fs\",\n] }\n";
    assert_eq!(rule(list), Vec::<String>::new());
    for bad in [
        "[dependencies]\nprost = \"0.14\"\n",
        "[dev-dependencies]\n#\nprost = \"0.14\"\n",
        "[dependencies]\n# the wire and the disk\n\nprost = \"0.14\"\n",
        "[dependencies]\n# the wire and the disk\nprost = \"0.14\"\nredb = \"4\"\n",
        "[target.'cfg(unix)'.dependencies]\nnix = \"1\"\n",
        "[dependencies.nix]\n# system calls\nversion = \"1\"\n",
    ] {
        assert_eq!(rule(bad).len(), 1, "{bad}");
    }
}

#[test]
fn an_advisory_without_reason_is_caught() {
    let rule = text::advisories_have_reasons;
    let reason = "network bytes never reach this code";
    let good = format!(
        "[advisories]\nignore = [{{ id = \"RUSTSEC-2024-0437\", reason = \"{reason}\" }}]\n"
    );
    assert_eq!(rule(&good), Vec::<String>::new());
    assert_eq!(rule("[advisories]\nignore = [\"RUSTSEC-2024-0437\"]\n").len(), 1);
    assert_eq!(rule("[advisories]\nignore = [{ id = \"RUSTSEC-2024-0437\" }]\n").len(), 1);
    assert_eq!(rule("[advisories\n").len(), 1);
}

#[test]
fn a_crate_from_elsewhere_is_caught() {
    let lock = |source: &str| format!("[[package]]\nname = \"x\"\nversion = \"1.0.0\"\n{source}");
    let rule = |source: &str| text::crates_come_from_one_place(&lock(source));
    assert_eq!(rule("source = \"git+https://example.org/x\"").len(), 1);
    assert_eq!(rule("").len(), 1);
    let crates_io = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    assert_eq!(rule(crates_io), Vec::<String>::new());
}

#[test]
fn a_path_of_the_build_machine_is_caught() {
    let rule = |line: &str| text::names_no_build_machine("x.md", line, &["/srv/build/"]);
    assert_eq!(rule(concat!("see /wo", "rk/notes")).len(), 1);
    assert_eq!(rule(concat!("see (/ho", "me/jane/notes)")).len(), 1);
    assert_eq!(rule("in /srv/build/target").len(), 1);
    assert_eq!(rule(concat!("from https://index.crates", ".io/x")).len(), 1);
    assert_eq!(rule(concat!("docs/wo", "rk/notes and net", "wo", "rk/x")), Vec::<String>::new());
}

#[test]
fn an_unexplained_target_is_caught() {
    let rule = text::targets_are_explained;
    assert_eq!(rule(".PHONY: a b\na: ## does a\nb:\n\ttrue\n").len(), 1);
    assert_eq!(rule(".PHONY: a\na: b ## does a\n"), Vec::<String>::new());
}
