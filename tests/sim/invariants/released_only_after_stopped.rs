//! Released only after stopped (DESIGN 5.6): when somebody says that an activation is released, and
//! when the log says so, nothing of it runs any more: target, members, scripts. And nothing of it
//! starts later.

use std::collections::BTreeSet;

use raftctl::core::Token;
use raftctl::core::command::Release;

#[derive(Default)]
pub struct ReleasedOnlyAfterStopped {
    released: BTreeSet<(usize, Token)>,
}

impl ReleasedOnlyAfterStopped {
    /// The node on `host` announces `release`; what of it runs there.
    pub fn says(&self, host: usize, release: &Release, runs: Option<String>) -> Result<(), String> {
        let Some(what) = runs else { return Ok(()) };
        Err(format!(
            "released_only_after_stopped: host {host} says that token {} is released, and has \
             {what}",
            release.token
        ))
    }

    /// The log says that `token`, which ran on `host`, is released; what of it runs there.
    pub fn applied(
        &mut self,
        host: usize,
        token: Token,
        runs: Option<String>,
    ) -> Result<(), String> {
        let new = self.released.insert((host, token));
        let Some(what) = runs.filter(|_| new) else { return Ok(()) };
        Err(format!(
            "released_only_after_stopped: token {token} was released, and host {host} has {what}"
        ))
    }

    /// The target starts on `host` under `token`.
    pub fn starts(&self, host: usize, token: Token) -> Result<(), String> {
        if !self.released.contains(&(host, token)) {
            return Ok(());
        }
        Err(format!(
            "released_only_after_stopped: host {host} starts under token {token}, which is released"
        ))
    }
}
