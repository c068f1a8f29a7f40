//! `raftctl version`.

use super::exit::{Exit, Failure};
use super::output::{Format, print};

/// Prints the version of this program.
pub fn run(format: Format) -> Result<Exit, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let json = format.json(&serde_json::json!({ "version": version }));
    print(&json.unwrap_or_else(|| format!("raftctl {version}\n")))?;
    Ok(Exit::Ok)
}
