//! The object `/org/freedesktop/LogControl1` with the interface `org.freedesktop.LogControl1`, by
//! which `systemctl service-log-level` changes what the agent logs while it runs.
//!
//! The levels are those of syslog; the agent has fewer and takes the next one. Where the log goes
//! is the configuration's to say: the target can be read, and "set" to what it is.

use std::sync::Arc;

use zbus::message::Header;

use super::access::{Access, Action};
use super::error::{Denied, Failure};
use crate::config::LogLevel;
use crate::limits;

/// The log of the agent, as this surface needs it.
pub trait Log: Send + Sync {
    /// The least important level that is written.
    fn level(&self) -> LogLevel;
    /// Writes what is at least as important as `level` from now on.
    fn set_level(&self, level: LogLevel);
    /// Where it goes, in the words of org.freedesktop.LogControl1(5).
    fn target(&self) -> &'static str;
}

/// The object as one connection sees it.
pub(super) struct LogControl {
    log: Arc<dyn Log>,
    access: Access,
}

impl LogControl {
    pub(super) fn new(log: Arc<dyn Log>, access: Access) -> LogControl {
        LogControl { log, access }
    }

    /// Whether the caller may change the log. While a person is asked for a password the tree of
    /// objects cannot change; it does so only with the members of the cluster.
    async fn allow(&self, header: Option<Header<'_>>, what: &str) -> Result<(), Denied> {
        let no_call = || Denied::AccessDenied("not a call".to_owned());
        let header = header.ok_or_else(no_call)?;
        let caller = self.access.to_change(Action::SetLogLevel, &header).await?;
        tracing::info!(uid = caller.uid, pid = caller.pid, "{what} requested");
        Ok(())
    }
}

#[zbus::interface(name = "org.freedesktop.LogControl1", introspection_docs = false)]
impl LogControl {
    /// The least important level that is written.
    #[zbus(property(emits_changed_signal = "false"))]
    fn log_level(&self) -> &'static str {
        word(self.log.level())
    }

    #[zbus(property)]
    async fn set_log_level(
        &self,
        level: &str,
        #[zbus(header)] header: Option<Header<'_>>,
    ) -> Result<(), Failure> {
        let level = parse(level).ok_or_else(|| unknown("log level", level, LEVELS))?;
        self.allow(header, &format!("log level {:?}", word(level))).await?;
        self.log.set_level(level);
        Ok(())
    }

    /// Where the log goes.
    #[zbus(property(emits_changed_signal = "false"))]
    fn log_target(&self) -> &'static str {
        self.log.target()
    }

    #[zbus(property)]
    async fn set_log_target(
        &self,
        target: &str,
        #[zbus(header)] header: Option<Header<'_>>,
    ) -> Result<(), Failure> {
        let current = self.log.target();
        // "auto" is what the configuration says.
        if target != current && target != "auto" {
            return Err(unknown("log target", target, current).into());
        }
        self.allow(header, "the log target that is in use").await?;
        Ok(())
    }

    /// The name under which the log appears in the journal.
    #[zbus(property(emits_changed_signal = "const"))]
    fn syslog_identifier(&self) -> &'static str {
        "raftctld"
    }
}

const LEVELS: &str = "emerg, alert, crit, err, warning, notice, info or debug";

/// A level of the agent for a level of syslog(3).
fn parse(word: &str) -> Option<LogLevel> {
    match word {
        "emerg" | "alert" | "crit" | "err" => Some(LogLevel::Error),
        "warning" => Some(LogLevel::Warn),
        "notice" | "info" => Some(LogLevel::Info),
        "debug" => Some(LogLevel::Debug),
        _ => None,
    }
}

fn word(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "err",
        LogLevel::Warn => "warning",
        LogLevel::Info => "info",
        LogLevel::Debug | LogLevel::Trace => "debug",
    }
}

fn unknown(what: &str, value: &str, expected: &str) -> Denied {
    let value: String = value.chars().take(limits::LOG_WORD_MAX_CHARS).collect();
    Denied::InvalidArgs(format!("{what} {value:?}: expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_that_is_told_is_understood() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug] {
            assert_eq!(parse(word(level)), Some(level));
        }
        assert_eq!(word(LogLevel::Trace), "debug");
        for wrong in ["", "Debug", "trace", "warn", "7", "null"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
