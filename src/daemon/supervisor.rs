//! The agent's life under whoever started it: signals come in, notifications go out. Without
//! systemd the notifications go nowhere, and the signals mean the same.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use super::error::SetupError;
use crate::core::story::tell;
use crate::limits;
use crate::node::handle::NodeHandle;
use crate::systemd::notify::{Notifier, NotifyState, status_text};

/// SIGTERM and SIGINT ask the node to hand over and stop. The task also asks for the time that
/// takes, so it has to live until the end.
pub(super) fn stop_on_signal(
    handle: NodeHandle,
    notifier: Notifier,
) -> Result<JoinHandle<()>, SetupError> {
    let mut term = signal(SignalKind::terminate()).map_err(SetupError::System)?;
    let mut int = signal(SignalKind::interrupt()).map_err(SetupError::System)?;
    Ok(tokio::spawn(async move {
        let mut extended = Duration::ZERO;
        let mut stopping = false;
        loop {
            let name = tokio::select! {
                _ = term.recv() => "SIGTERM",
                _ = int.recv() => "SIGINT",
                () = extend(&notifier, &mut extended), if stopping => continue,
            };
            if !stopping {
                let node = &handle.status().name;
                tell!(Stopping, reason = name; "{node} hands over and stops, because of {name}.");
                stopping = true;
                let status = NotifyState::Status("stopping: handing over");
                notifier.tell(&[NotifyState::Stopping, status]).await;
            }
            handle.shutdown().await;
        }
    }))
}

/// Asks for more time to stop, and waits until it is time to ask again.
async fn extend(notifier: &Notifier, extended: &mut Duration) {
    if *extended >= limits::STOP_EXTEND_MAX {
        return std::future::pending().await;
    }
    let micros = limits::STOP_EXTEND_STEP.as_micros() as u32;
    notifier.tell(&[NotifyState::ExtendTimeoutUsec(micros)]).await;
    tokio::time::sleep(limits::STOP_EXTEND_STEP / 2).await;
    *extended += limits::STOP_EXTEND_STEP / 2;
}

/// Keeps the line of `systemctl status` true.
pub(super) async fn announce(notifier: Notifier, handle: NodeHandle) {
    let mut changes = handle.changes();
    let mut told = String::new();
    loop {
        let text = status_text(&handle.status());
        if text != told {
            notifier.tell(&[NotifyState::Status(&text)]).await;
            told = text;
        }
        match changes.recv().await {
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
