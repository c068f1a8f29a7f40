//! The HTTP surface of the running agent: bound before anything is changed, served on the driver's
//! runtime, and told of new settings at a reload.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::error::SetupError;
use crate::config::{self, Config};
use crate::dbus::describe::Describe;
use crate::http::token::{BearerToken, TokenError};
use crate::http::{self, Served, Settings, listen};
use crate::node::handle::NodeHandle;
use crate::node::metrics::Metrics;

/// A bound listener, if one is configured, and for whom it is.
pub(super) struct Bound {
    listener: Option<TcpListener>,
    settings: Settings,
}

/// Binds what is configured.
pub(super) fn bind(config: &Config) -> Result<Bound, SetupError> {
    let Some(address) = &config.http.listen else {
        return Ok(Bound { listener: None, settings: Settings::default() });
    };
    let settings = settings(&config.http).map_err(SetupError::HttpToken)?;
    let listener = listen::bind(address.as_str(), settings.token.is_some());
    let listener = listener.map_err(SetupError::Http)?;
    tracing::info!("HTTP is served on {address}");
    Ok(Bound { listener: Some(listener), settings })
}

/// What the file says, with the token that it names.
fn settings(http: &config::Http) -> Result<Settings, TokenError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    Ok(Settings {
        token: BearerToken::find(http.token_file.as_deref(), credentials.as_deref())?,
        origins: http.allow_origins.clone(),
        connections: http.connections,
        rate: http.rate,
    })
}

/// The running server, or none.
pub(super) struct Running {
    settings: watch::Sender<Arc<Settings>>,
    stop: watch::Sender<()>,
    task: Option<JoinHandle<()>>,
}

/// Serves what was bound.
pub(super) fn serve(bound: Bound, handle: NodeHandle, metrics: Arc<Metrics>) -> Running {
    let (settings, followed) = watch::channel(Arc::new(bound.settings));
    let (stop, stopped) = watch::channel(());
    let task = bound.listener.map(|listener| {
        let describe = |status: &_, host: &_| Describe::new(status, host).to_json();
        let served = Served { handle, describe, metrics };
        tokio::spawn(async move {
            if let Err(error) = http::serve(listener, served, followed, stopped).await {
                tracing::error!("HTTP is not served: {error}");
            }
        })
    });
    Running { settings, stop, task }
}

impl Running {
    /// Where new settings go.
    pub(super) fn settings(&self) -> watch::Sender<Arc<Settings>> {
        self.settings.clone()
    }

    /// Lets requests under way end, and no more begin.
    pub(super) async fn stop(self) {
        drop(self.stop);
        if let Some(task) = self.task {
            let _ = task.await;
        }
    }
}

/// Reads the token again and puts the new settings in force. What cannot be used changes nothing.
pub(super) fn reload(http: &config::Http, sender: &watch::Sender<Arc<Settings>>) {
    let Some(address) = &http.listen else { return };
    let new = match settings(http) {
        Ok(new) => new,
        Err(error) => {
            let why = super::error::error_chain(&error);
            tracing::error!("SIGHUP: {why}; [http] stays as it is");
            return;
        }
    };
    if new.token.is_none() && sender.borrow().token.is_some() {
        // Whether others than this host are served was decided when it was bound.
        tracing::error!("SIGHUP: no token for {address} any more; [http] stays as it is");
        return;
    }
    sender.send_replace(Arc::new(new));
}
