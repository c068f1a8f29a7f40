//! Tokens increase (DESIGN 5.1): each activation has a larger token than every one before it, also
//! across a restored backup.

use std::collections::BTreeMap;

use raftctl::core::command::Body;
use raftctl::core::{Index, Token};

use crate::sim::recorder::AppliedCommand;

#[derive(Default)]
pub struct TokensIncrease {
    largest: Option<Token>,
    /// Tokens by history and index: every node applies the same.
    known: BTreeMap<(u32, Index), Token>,
}

impl TokensIncrease {
    /// A command took effect on some node, in the history that began with the restore of this
    /// number.
    pub fn applied(&mut self, history: u32, command: &AppliedCommand) -> Result<(), String> {
        let (Body::Activate(_), Some(after)) = (&command.body, &command.after) else {
            return Ok(());
        };
        let (token, at) = (after.token(), (history, command.index));
        if let Some(known) = self.known.get(&at) {
            if *known == token {
                return Ok(());
            }
            return Err(format!("tokens_increase: entry {at:?} has tokens {known} and {token}"));
        }
        self.known.insert(at, token);
        if self.largest.is_some_and(|largest| token <= largest) {
            return Err(format!("tokens_increase: token {token} comes after {:?}", self.largest));
        }
        self.largest = Some(token);
        Ok(())
    }
}
