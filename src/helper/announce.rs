//! Saying to the other members that an invocation is over, and asking them about it.
//!
//! One short connection for each word: no handshake, no identity, nothing that could be taken for
//! the agent. Guarantees: an answer counts only if it has the form of one; nothing here decides
//! that anything *is* released. Does not: end by itself; the caller has a deadline.

use std::collections::BTreeSet;
use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::config::{Config, Member};
use crate::core::command::Release;
use crate::core::release::{ReleaseOutcome, SECRET_BYTES};
use crate::core::{Invocation, NodeName};
use crate::limits;
use crate::transport::frame::{self, Decoded, FrameType};
use crate::transport::handshake::Mismatch;
use crate::transport::wire::{Announce, Announced, PROTOCOL_VERSIONS, Refusal};

/// The other members, as those who have to hear it.
#[derive(Clone, Debug)]
pub struct Audience {
    cluster_name: String,
    members: Vec<Member>,
    node: u64,
}

/// What the members know of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// This leader knows nothing of it that is not released.
    Over(NodeName),
    /// This leader knows an activation of it that is not released.
    Owed(NodeName),
}

impl Audience {
    /// Everybody but the node of `config`.
    pub fn new(config: &Config) -> Audience {
        let others = config.cluster.members.iter().filter(|m| m.id != config.node.id);
        Audience {
            cluster_name: config.cluster.name.clone(),
            members: others.cloned().collect(),
            node: config.node.id.0,
        }
    }

    /// Whether there is nobody.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Asks about `invocation` until a leader knows. The question is an announcement with a secret
    /// that is nobody's, so it changes nothing, whoever gets it: "forged" means that there is
    /// something to release.
    pub async fn ask(&self, invocation: Invocation) -> Known {
        let (who, outcome) = self.talk(invocation, [0; SECRET_BYTES], true).await;
        if outcome == ReleaseOutcome::Over { Known::Over(who) } else { Known::Owed(who) }
    }

    /// Says that `invocation` is over, again and again, until a leader says that nothing of it is
    /// left to release; returns who.
    pub async fn announce(&self, invocation: Invocation, secret: [u8; SECRET_BYTES]) -> NodeName {
        self.talk(invocation, secret, false).await.0
    }

    /// Talks to all members at once until one says `Over`, or `Forged` if that is an answer too.
    async fn talk(
        &self,
        invocation: Invocation,
        secret: [u8; SECRET_BYTES],
        forged_ends: bool,
    ) -> (NodeName, ReleaseOutcome) {
        let release = Release {
            node: self.node,
            invocation: invocation.0.to_vec(),
            token: 0,
            secret: secret.to_vec(),
        };
        let mut talks = JoinSet::new();
        for member in &self.members {
            let announce = Announce {
                // The oldest that is spoken: there is no handshake that could find a newer one.
                protocol: PROTOCOL_VERSIONS.0,
                cluster_name: self.cluster_name.clone(),
                receiver: member.name.to_string(),
                release: Some(release.clone()),
            };
            let mut frame = Vec::new();
            frame::encode_into(&mut frame, FrameType::Announce, &announce);
            talks.spawn(talk_to(member.clone(), frame, forged_ends));
        }
        match talks.join_next().await {
            Some(ended) => ended.expect("a talk neither panics nor is aborted"),
            // There is nobody: the caller's deadline ends this.
            None => std::future::pending().await,
        }
    }
}

/// Says `frame` to `member` until its answer is one that ends the talk.
async fn talk_to(member: Member, frame: Vec<u8>, forged_ends: bool) -> (NodeName, ReleaseOutcome) {
    let name = &member.name;
    let mut pause = limits::ANNOUNCE_PAUSE_MIN;
    let mut said = BTreeSet::new();
    loop {
        let exchange = exchange(&member, &frame);
        let answer = match timeout(limits::ANNOUNCE_EXCHANGE, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(ExchangeError::Silent),
        };
        match answer {
            Ok(ReleaseOutcome::Over) => return (member.name, ReleaseOutcome::Over),
            Ok(ReleaseOutcome::Forged) if forged_ends => {
                return (member.name, ReleaseOutcome::Forged);
            }
            Ok(ReleaseOutcome::Forged) => {
                if said.insert("forged".to_owned()) {
                    tracing::error!("{name} does not believe the secret of this invocation");
                }
            }
            Ok(ReleaseOutcome::Proposed | ReleaseOutcome::NotLeader) => {}
            Err(error) => {
                let text = error.to_string();
                if said.len() < limits::COMPLAINTS_MAX && said.insert(text) {
                    tracing::info!("{name} at {}: {error}, trying again", member.address);
                }
            }
        }
        sleep(pause).await;
        pause = (pause + pause / 8).min(limits::ANNOUNCE_PAUSE_MAX);
    }
}

/// Why a member gave no answer.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error("no answer within {} ms", limits::ANNOUNCE_EXCHANGE.as_millis())]
    Silent,
    #[error("no connection: {0}")]
    Io(#[from] io::Error),
    #[error("closed without an answer")]
    Closed,
    #[error("it refuses: {0}")]
    Refused(Mismatch),
    #[error("an answer that is none")]
    NotUnderstood,
}

/// One connection: says `frame`, reads the answer.
async fn exchange(member: &Member, frame: &[u8]) -> Result<ReleaseOutcome, ExchangeError> {
    let mut stream = TcpStream::connect(member.address.as_str()).await?;
    stream.set_nodelay(true)?;
    stream.write_all(frame).await?;
    let mut bytes = Vec::new();
    loop {
        let decoded = frame::decode(&bytes, limits::HANDSHAKE_PAYLOAD_MAX_BYTES);
        match decoded.map_err(|_| ExchangeError::NotUnderstood)? {
            Decoded::Frame { kind, payload, .. } => return read_answer(kind, payload),
            Decoded::Incomplete { .. } => {}
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(ExchangeError::Closed);
        }
    }
}

fn read_answer(kind: FrameType, payload: &[u8]) -> Result<ReleaseOutcome, ExchangeError> {
    use prost::Message as _;
    match kind {
        FrameType::Announced => {
            let announced = Announced::decode(payload).map_err(|_| ExchangeError::NotUnderstood)?;
            Ok(announced.outcome())
        }
        FrameType::Refused => {
            let refusal = Refusal::decode(payload).map_err(|_| ExchangeError::NotUnderstood)?;
            Err(ExchangeError::Refused(Mismatch::from_refusal(&refusal)))
        }
        _ => Err(ExchangeError::NotUnderstood),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// A fast election takes some ten milliseconds: its leader must be asked soon.
    #[test]
    fn the_first_words_come_quickly() {
        let (mut pause, mut at, mut count) = (limits::ANNOUNCE_PAUSE_MIN, Duration::ZERO, 0);
        while pause < limits::ANNOUNCE_PAUSE_MAX {
            at += pause;
            count += 1;
            pause = (pause + pause / 8).min(limits::ANNOUNCE_PAUSE_MAX);
        }
        assert!(at < Duration::from_millis(500) && count > 15, "{count} words in {at:?}");
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for kind in [FrameType::Hello, FrameType::Announce, FrameType::Message] {
            assert!(matches!(read_answer(kind, &[]), Err(ExchangeError::NotUnderstood)));
        }
        assert!(read_answer(FrameType::Announced, &[0xff]).is_err());
        // An outcome of a newer version, or none: ask again.
        for payload in [&[][..], &[8, 77][..]] {
            let outcome = read_answer(FrameType::Announced, payload).unwrap();
            assert_eq!(outcome, ReleaseOutcome::NotLeader);
        }
        assert_eq!(read_answer(FrameType::Announced, &[8, 1]).unwrap(), ReleaseOutcome::Over);
    }
}
