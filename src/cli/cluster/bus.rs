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
    let answer = block_on(async { tokio::time::timeout(deadline, answer).await });
    let waited_ms = deadline.as_millis() as u64;
    Ok(answer.unwrap_or(Err(ClientError::TimedOut { call, waited_ms }))?)
}
