//! `raftctl log-level [LEVEL]`: what the agent writes about itself, until it is started again.

use super::discover::Found;
use super::exit::{Exit, Failure};
use super::output::{Format, print};
use super::password::PasswordAgent;
use crate::core::NodeName;
use crate::dbus::client::block_on;

/// How much is written, least first, in the words of syslog(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Level {
    /// Failures only.
    #[value(name = "err", alias = "error")]
    Error,
    /// And what is wrong and survived.
    #[value(name = "warning", alias = "warn")]
    Warning,
    /// And what an operator wants to know.
    #[value(name = "info", alias = "notice")]
    Info,
    /// And what a developer wants to know.
    #[value(name = "debug", alias = "trace")]
    Debug,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Level::Error => "err",
            Level::Warning => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

/// Shows the level, or makes it `level`.
pub fn run(
    found: &Found,
    format: Format,
    level: Option<Level>,
    node: Option<&NodeName>,
) -> Result<Exit, Failure> {
    let (name, now) = block_on(async {
        let client = found.only(node, "raftctl log-level").await?;
        if let Some(level) = level {
            let _asks = PasswordAgent::start(&client);
            client.set_log_level(level.as_str()).await?;
        }
        Ok::<_, Failure>((client.describe().await?.name, client.log_level().await?))
    })?;
    let json = format.json(&serde_json::json!({ "node": name, "level": now }));
    let text = || match level {
        None => format!("{now}\n"),
        Some(_) => format!("{name} logs at level {now} until it is reloaded or started again\n"),
    };
    print(&json.unwrap_or_else(text))?;
    Ok(Exit::Ok)
}
