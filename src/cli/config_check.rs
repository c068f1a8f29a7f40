//! `raftctl config check`, and how the command line opens a configuration file.

use std::fs::File;
use std::io::{Read as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::exit::Exit;
use crate::config::{Config, ConfigFile, EventName};
use crate::limits;

/// Arguments of `config check`.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigCheckArgs {
    /// Configuration files to check, beside that of --config.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Checks `config` and every other file; the verdicts go to `out`, what is wrong to `err`.
/// [`Exit::Usage`] if one of them cannot be used.
pub fn run(
    args: &ConfigCheckArgs,
    config: Option<&Path>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let files: Vec<&Path> = config.into_iter().chain(args.files.iter().map(|f| &**f)).collect();
    if files.is_empty() {
        return Err(Exit::Usage.because("config check: expected FILE"));
    }
    let mut exit = Exit::Ok;
    for path in files {
        match load(path) {
            Ok(file) => {
                for warning in file.nodes().iter().flat_map(script_warnings) {
                    writeln!(err, "{}: warning: {warning}", file.file())?;
                }
                writeln!(out, "{}", verdict(&file))?;
            }
            Err(error) => {
                writeln!(err, "{error}")?;
                exit = Exit::Usage;
            }
        }
    }
    Ok(exit)
}

/// Reads and checks the configuration file at `path`; relative paths in it are relative to its
/// directory. The error is ready to be shown, one line for each problem, with [`Exit::Usage`].
pub fn load(path: &Path) -> anyhow::Result<ConfigFile> {
    let shown = path.display();
    let refuse = |problem: std::io::Error| {
        let hint = "expected a readable configuration file";
        Exit::Usage.because(format!("{shown}: {problem}: {hint}"))
    };
    let absolute = std::path::absolute(path).map_err(refuse)?;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(refuse)?;
    // One byte more than allowed tells that the file is too large without reading all of it.
    file.take(limits::CONFIG_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(refuse)?;
    let base = absolute.parent().unwrap_or(Path::new("/"));
    ConfigFile::parse_bytes(&bytes, &shown.to_string(), base)
        .map_err(|errors| Exit::Usage.because(errors.to_string()))
}

fn verdict(file: &ConfigFile) -> String {
    let names: Vec<&str> = file.nodes().iter().map(|c| c.node.name.as_str()).collect();
    let what = if names.len() == 1 { "node" } else { "nodes" };
    let cluster = &file.nodes()[0].cluster;
    let (names, members) = (names.join(", "), cluster.members.len());
    format!("{}: ok: {what} {names} of {members} in cluster {}", file.file(), cluster.name)
}

/// Scripts that could not run on this host; not an error, since the file may be for another one.
fn script_warnings(config: &Config) -> Vec<String> {
    let problem = |(event, path): (&EventName, &PathBuf)| {
        let script = format!("{event} script {path:?} of {}", config.node.name);
        match std::fs::metadata(path) {
            Err(error) => Some(format!("{script}: {error}")),
            Ok(meta) if !meta.is_file() => Some(format!("{script} is not a file")),
            Ok(_) if path.extension().is_some_and(|e| e == "js") => None,
            Ok(meta) if meta.permissions().mode() & 0o111 == 0 => {
                Some(format!("{script} is not executable"))
            }
            Ok(_) => None,
        }
    };
    config.events.scripts.iter().filter_map(problem).collect()
}
