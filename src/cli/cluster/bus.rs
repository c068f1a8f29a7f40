//! The agents of a local cluster, asked over their private buses.

use std::path::Path;
use std::time::Duration;

use super::Client;
use crate::dbus::client::{self, ClientError, block_on};
use crate::dbus::describe::Describe;

/// The real [`Client`]: a connection for each question.
#[derive(Debug)]
pub struct BusClient;

impl Client for BusClient {
    fn describe(&self, socket: &Path, deadline: Duration) -> anyhow::Result<Describe> {
        ask("Describe", deadline, async {
            client::Client::connect(socket, deadline).await?.describe().await
        })
    }

    fn transfer(
        &self,
        socket: &Path,
        to: Option<&str>,
        deadline: Duration,
    ) -> anyhow::Result<String> {
        ask("TransferLeadership", deadline, async {
            client::Client::connect(socket, deadline).await?.transfer(to).await
        })
    }
}

/// The deadline is one for connecting and for the answer.
fn ask<T>(
    call: &'static str,
    deadline: Duration,
    answer: impl Future<Output = Result<T, ClientError>>,
) -> anyhow::Result<T> {
    Ok(block_on(within(call, deadline, answer))?)
}

/// The `answer` to `call`, unless it takes longer than `deadline`. To be awaited on a runtime.
pub(crate) async fn within<T>(
    call: &'static str,
    deadline: Duration,
    answer: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    let waited_ms = deadline.as_millis() as u64;
    let answer = tokio::time::timeout(deadline, answer).await;
    answer.unwrap_or(Err(ClientError::TimedOut { call, waited_ms }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_silent_agent_is_waited_for_until_the_deadline() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("bus");
        let deadline = Duration::from_millis(50);
        let error = BusClient.describe(&socket, deadline).unwrap_err().to_string();
        assert!(error.starts_with("no agent answers on "), "{error}");
        let _listener = UnixListener::bind(&socket).unwrap();
        let error = BusClient.describe(&socket, deadline).unwrap_err().to_string();
        assert!(error.ends_with(" within 50 ms"), "{error}");
        let error = BusClient.transfer(&socket, None, deadline).unwrap_err().to_string();
        assert!(error.ends_with(" within 50 ms"), "{error}");
    }
}
