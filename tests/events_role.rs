//! The role table as a person reads it, against the committed rendering.
//!
//! `UPDATE_GOLDEN=1 cargo test --test events_role` rewrites the file. Commit a changed table only
//! if you understand the change and want it.

use std::fmt::Write as _;
use std::path::Path;

use raftctl::core::role::{Rule, TABLE};

#[test]
fn the_role_table_is_the_committed_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/role/table.txt");
    let rendered = render();
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&path, &rendered).expect("the golden file is writable");
    }
    let committed = std::fs::read_to_string(&path).expect("the golden file is readable");
    for (row, (ours, theirs)) in rendered.lines().zip(committed.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {} of {}", row + 1, path.display());
    }
    assert_eq!(rendered, committed, "the number of lines differs from {}", path.display());
}

fn render() -> String {
    let mut text = String::from(
        "# What follows when a node in one state is seen to do something: src/core/role/table.rs.\n\
         # A dot stands for no action; the actions of one row are carried out in their order.\n\n",
    );
    line(&mut text, ["from", "observed", "to", "actions", "comment"]);
    let mut from = None;
    for rule in TABLE {
        if from.replace(rule.from) != Some(rule.from) {
            text.push('\n');
        }
        let actions = actions(rule);
        let Rule { from, observed, to, comment, .. } = rule;
        line(&mut text, [from.as_str(), observed.as_str(), to.as_str(), &actions, comment]);
    }
    text
}

fn actions(rule: &Rule) -> String {
    let words: Vec<String> = rule.scripts.iter().map(|event| format!("run {event}")).collect();
    if words.is_empty() { ".".to_owned() } else { words.join(", ") }
}

fn line(text: &mut String, [from, observed, to, actions, comment]: [&str; 5]) {
    let row = format!("{from:<10} {observed:<12} {to:<10} {actions:<33} {comment}");
    writeln!(text, "{}", row.trim_end()).expect("a string takes everything");
}
