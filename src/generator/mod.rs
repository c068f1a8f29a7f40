//! Floor 5: `raftctl-generator`, a systemd generator (systemd.generator(7)): what unit files have
//! to say about an instance comes from its configuration, so that there is one place to change it.
//!
//! For each `NODE.toml` it writes drop-ins for the units of NODE. A file that cannot be used costs
//! a line in the journal and this node's drop-ins, nothing else: neither other nodes nor the boot.
//! It runs before the file systems are mounted and before any service, as root: it waits for
//! nobody, and trusts only files that root alone can write.

mod dropins;
mod report;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{Config, ConfigFile};
use crate::core::id::{NAME_GRAMMAR, is_valid_name};
use crate::limits;
use crate::systemd::root_file::{self, Owner};
pub use report::Severity;

/// Where the configuration of each instance is.
pub const CONFIGURATION: &str = "/etc/raftctl";

/// Runs as systemd calls it: with three output directories, of which the first is used.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(output), count) = (arguments.next(), arguments.count() + 1) else {
        report::tell(Severity::Error, "expected the output directories of systemd.generator(7)");
        return ExitCode::FAILURE;
    };
    if count != 1 && count != 3 {
        report::tell(Severity::Error, &format!("{count} arguments: expected 1 or 3 directories"));
        return ExitCode::FAILURE;
    }
    let (from, to) = (Path::new(CONFIGURATION), PathBuf::from(output));
    match generate(from, &to, Owner::ROOT, &mut report::tell) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::tell(Severity::Error, &format!("{}: {error}", to.display()));
            ExitCode::FAILURE
        }
    }
}

/// Writes the drop-ins of every `NODE.toml` in `from` below `to`, and tells what is wrong with the
/// others. Fails only if `to` cannot be written.
pub fn generate(
    from: &Path,
    to: &Path,
    owner: Owner,
    tell: &mut dyn FnMut(Severity, &str),
) -> io::Result<()> {
    for path in files(from, tell) {
        let found = match instance(&path, owner) {
            Ok(config) => dropins::of(&config, &path),
            Err(problems) => Err(problems),
        };
        match found {
            Ok((dropins, notes)) => {
                notes.iter().for_each(|note| tell(Severity::Notice, note));
                for dropin in dropins {
                    let directory = to.join(format!("{}.d", dropin.unit));
                    std::fs::create_dir_all(&directory)?;
                    std::fs::write(directory.join(FILE_NAME), dropin.text)?;
                }
            }
            Err(problems) => {
                problems.iter().for_each(|problem| tell(Severity::Error, problem));
            }
        }
    }
    Ok(())
}

/// The files to look at, by name. Without a directory there are none, which is no problem.
fn files(from: &Path, tell: &mut dyn FnMut(Severity, &str)) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tell(Severity::Error, &format!("cannot read {}: {error}", from.display()));
            return Vec::new();
        }
    };
    let is_ours = |path: &PathBuf| {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        !hidden && path.extension().is_some_and(|extension| extension == "toml")
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_ours);
    let mut paths: Vec<PathBuf> = paths.take(limits::GENERATOR_FILES_MAX + 1).collect();
    if paths.len() > limits::GENERATOR_FILES_MAX {
        let (from, limit) = (from.display(), limits::GENERATOR_FILES_MAX);
        tell(Severity::Error, &format!("{from}: more than {limit} files, ignoring the rest"));
        paths.truncate(limit);
    }
    paths.sort();
    paths
}

/// The configuration of the instance that `path` is named after, or what is wrong, in lines.
fn instance(path: &Path, owner: Owner) -> Result<Config, Vec<String>> {
    let one = |problem: String| vec![problem];
    let shown = path.display().to_string();
    let stem = path.file_stem().unwrap_or_default();
    let Some(name) = stem.to_str().filter(|name| is_valid_name(name)) else {
        let expected = format!("expected a node's name before .toml, which is {NAME_GRAMMAR}");
        return Err(one(format!("{shown:?}: {expected}")));
    };
    let bytes = root_file::read(path, owner).map_err(|error| one(error.to_string()))?;
    let base = path.parent().unwrap_or(Path::new("/"));
    let file = ConfigFile::parse_bytes(&bytes, &shown, base)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let [config] = file.nodes() else {
        let count = file.nodes().len();
        let expected = format!("expected only {name:?}, since the file is named so");
        return Err(one(format!("{shown}: describes {count} nodes: {expected}")));
    };
    if config.node.name.as_str() != name {
        let found = &config.node.name;
        return Err(one(format!(
            "{shown}: [node] name = \"{found}\": expected {name:?}, since the file is named so"
        )));
    }
    Ok(config.clone())
}

/// Sorts after what a package could ship and before what an administrator writes.
const FILE_NAME: &str = "50-raftctl.conf";
