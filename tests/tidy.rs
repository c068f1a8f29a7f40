//! Keeps the house in order: the arrows between floors and the rules that no compiler checks.
//!
//! The rules are functions of text (`tests/tidy/rules.rs`, `tests/tidy/text.rs`). Here they are
//! run over the repository; `tests/tidy/planted.rs` runs them over small texts with a violation
//! in each, because a rule that has never caught anything is not known to work.

#[path = "tidy/lex.rs"]
mod lex;
#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/text.rs"]
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use rules::Source;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Folders that are not ours to judge: what builds and clusters leave behind.
const NOT_OURS: &[&str] = &["target", ".git", ".raftctl"];

/// Every file of the repository, in order.
fn files() -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::from(ROOT)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let path = entry.expect("an entry of the repository can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match path.is_dir() {
                true if !NOT_OURS.contains(&name) => folders.push(path),
                false if !NOT_OURS.contains(&name) => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(ROOT).expect("below the root").to_str().expect("UTF-8 name").to_owned()
}

fn read(name: &str) -> String {
    let path = Path::new(ROOT).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources() -> Vec<Source> {
    let rust = files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let sources: Vec<Source> =
        rust.map(|path| relative(&path)).map(|name| Source::new(&name, &read(&name))).collect();
    assert!(sources.iter().any(|s| s.path == "src/lib.rs"), "the sources were not found");
    sources
}

#[track_caller]
fn assert_clean(found: Vec<String>) {
    assert!(found.is_empty(), "{} finding(s):\n{}", found.len(), found.join("\n"));
}

#[track_caller]
fn assert_sources_pass(rule: fn(&Source) -> Vec<String>) {
    assert_clean(sources().iter().flat_map(rule).collect());
}

#[test]
fn arrows_point_down() {
    assert_sources_pass(rules::arrows);
    assert_sources_pass(rules::root_declares_only);
}

#[test]
fn only_consensus_names_the_engine() {
    assert_sources_pass(rules::engine_is_named_once);
}

#[test]
fn the_low_floors_are_pure() {
    assert_sources_pass(rules::low_floors_are_pure);
}

#[test]
fn every_queue_has_a_bound() {
    assert_sources_pass(rules::queues_are_bounded);
}

#[test]
fn anyhow_stays_in_the_composition_roots() {
    assert_sources_pass(rules::anyhow_stays_on_top);
}

#[test]
fn every_source_file_opens_with_its_doc() {
    assert_sources_pass(rules::opens_with_module_doc);
}

#[test]
fn files_and_lines_fit_the_screen() {
    assert_sources_pass(rules::fits_the_screen);
}

#[test]
fn nothing_is_left_undone() {
    assert_sources_pass(rules::nothing_left_undone);
}

#[test]
fn no_test_sleeps() {
    assert_sources_pass(rules::tests_do_not_sleep);
}

#[test]
fn every_dependency_has_a_reason() {
    assert_clean(text::dependencies_have_reasons(&read("Cargo.toml")));
}

#[test]
fn every_ignored_advisory_has_a_reason() {
    assert_clean(text::advisories_have_reasons(&read("deny.toml")));
}

#[test]
fn every_crate_comes_from_one_place() {
    assert_clean(text::crates_come_from_one_place(&read("Cargo.lock")));
}

#[test]
fn every_make_target_is_explained() {
    assert_clean(text::targets_are_explained(&read("Makefile")));
}

#[test]
fn the_text_names_no_build_machine() {
    let here = format!("{ROOT}/");
    let mut found = Vec::new();
    for path in files() {
        // What is not text is not looked at.
        if let Ok(text) = fs::read_to_string(&path) {
            found.extend(text::names_no_build_machine(&relative(&path), &text, &[&here]));
        }
    }
    assert_clean(found);
}
