//! Golden scripts of a cluster: `tests/scripts/replica/*.txt`, one scenario a file.
//!
//! A block is some verbs, a line `---`, and what the nodes tell while they are carried out; a blank
//! line ends it. `#` begins a comment. The nodes are the production ones over simulated disks and a
//! calm network (`tests/sim`): 0.1 ms for a message, 0.22 ms for a write with its sync, nothing for
//! computing. After the last block of every script all faults are taken back, and the cluster must
//! serve again and hold every acknowledged write.
//!
//! `UPDATE_GOLDEN=1` writes the outputs instead of comparing them. As etcd says of its own: only
//! commit a changed output if you understand why it changed and want it.

#[path = "golden/script.rs"]
mod script;
#[path = "sim/mod.rs"]
mod sim;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use script::Script;
use sim::plan::Settings;
use sim::world::World;

#[test]
fn clusters_behave_as_written_down() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|v| v == "1");
    let mut failures = String::new();
    for path in scripts() {
        let expected = std::fs::read_to_string(&path).expect("a script can be read");
        let told = play(&expected).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        if told == expected {
            continue;
        }
        if update {
            std::fs::write(&path, &told).expect("a script can be written");
        } else {
            let difference = first_difference(&expected, &told);
            writeln!(failures, "{}: {difference}", path.display()).expect("a string takes all");
        }
    }
    assert!(
        failures.is_empty(),
        "{failures}UPDATE_GOLDEN=1 writes what is told now; commit a changed output only if you \
         understand why it changed and want it"
    );
}

/// Without this no failure could be replayed.
#[test]
fn a_seed_replays_exactly() {
    let trace = |seed| {
        let mut world = World::new(seed, Settings::of(seed, None));
        world.trouble().expect("keeps the invariants");
        format!("{:?} {:?}", world.told, world.answers)
    };
    for seed in 0..4 {
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
}

fn scripts() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/replica");
    let entries = std::fs::read_dir(&directory).expect("the scripts are there");
    let paths = entries.map(|entry| entry.expect("an entry can be read").path());
    let mut paths: Vec<PathBuf> = paths.filter(|p| p.extension() == Some("txt".as_ref())).collect();
    paths.sort();
    assert!(paths.len() > 10, "too few scripts in {}", directory.display());
    paths
}

/// The script with the outputs that it has now.
fn play(text: &str) -> Result<String, String> {
    let mut script = Script::default();
    let mut out = String::new();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        out += line;
        out += "\n";
        if line == "---" {
            out += &script.take_output();
            lines.by_ref().find(|(line, _)| line.is_empty());
            out += "\n";
        } else if !line.is_empty() && !line.starts_with('#') {
            script.run(line).map_err(|e| format!("line {number}: {e}"))?;
        }
    }
    script.end()?;
    Ok(format!("{}\n", out.trim_end()))
}

fn first_difference(expected: &str, told: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), told.lines().collect());
    let at = old.iter().zip(&new).position(|(a, b)| a != b).unwrap_or(old.len().min(new.len()));
    let line = |lines: &[&str]| lines.get(at).copied().unwrap_or("(end)").to_owned();
    format!("line {}:\n  expected {}\n  told     {}", at + 1, line(&old), line(&new))
}
