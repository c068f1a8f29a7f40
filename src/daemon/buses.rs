//! The D-Bus surface of the running agent: the private socket always, the system bus where systemd
//! has started the agent. Each on a thread of its own: whatever clients do, heartbeats go on, and
//! a crowd on the one is not felt on the other.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::error::SetupError;
use super::host;
use super::logging::Level;
use crate::config::{Config, LogLevel, LogTarget};
use crate::dbus::log_control::Log;
use crate::dbus::objects::Served;
use crate::dbus::system::SystemBus;
use crate::dbus::{peer, private};
use crate::node::handle::NodeHandle;

/// Serves `handle` on the bound socket and, as a service, on the system bus. Returns what stops
/// both and removes the socket.
pub(super) fn serve(
    config: &Config,
    socket: private::Listener,
    handle: NodeHandle,
    level: Level,
) -> Result<impl FnOnce(), SetupError> {
    let log = AgentLog { level, target: target(&config.log.target) };
    let served = Served::new(handle, Arc::new(log));
    let (stop, stopped) = watch::channel(());
    let mut threads = Vec::new();
    if host::is_service() {
        let bus = SystemBus::new(&config.node.name, peer::administrators());
        let bus = bus.map_err(SetupError::SystemBus)?;
        let (served, stopped) = (served.clone(), stopped.clone());
        let serving = async move {
            bus.serve(served).await;
            Ok(())
        };
        threads.push(thread("system-bus", serving, stopped)?);
    }
    threads.push(thread("dbus", private::serve(socket, served), stopped)?);
    Ok(move || {
        drop(stop);
        threads.into_iter().for_each(|thread| drop(thread.join()));
    })
}

/// Runs `serving` on a thread of its own until the other end of `stopped` is gone.
fn thread(
    name: &'static str,
    serving: impl Future<Output = io::Result<()>> + Send + 'static,
    mut stopped: watch::Receiver<()>,
) -> Result<JoinHandle<()>, SetupError> {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = runtime.and_then(|runtime| {
            runtime.block_on(async {
                tokio::select! {
                    served = serving => served,
                    _ = stopped.changed() => Ok(()),
                }
            })
        });
        if let Err(error) = result {
            tracing::error!("{name} is not served: {error}");
        }
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(SetupError::System)
}

/// The log of this process.
struct AgentLog {
    level: Level,
    target: &'static str,
}

impl Log for AgentLog {
    fn level(&self) -> LogLevel {
        self.level.get()
    }

    fn set_level(&self, level: LogLevel) {
        self.level.set(level);
    }

    fn target(&self) -> &'static str {
        self.target
    }
}

/// Where the log goes. What systemd starts has the journal behind its standard error, and says so
/// (systemd.exec(5), `$JOURNAL_STREAM`).
fn target(target: &LogTarget) -> &'static str {
    match target {
        LogTarget::Stderr if std::env::var_os("JOURNAL_STREAM").is_some() => "journal",
        LogTarget::Stderr => "console",
        LogTarget::File(_) => "file",
    }
}
