//! How many answers of the store may be in memory at once, for all connections together.
//!
//! A place is taken BEFORE the store is asked and given back when the answer has been written to
//! its caller. Reads that need a leader do not take the places of those that do not.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::limits;
use crate::node::kv::{Consistency, KvError};

/// The places.
#[derive(Clone, Debug)]
pub struct Reads {
    linearizable: Arc<Semaphore>,
    stale: Arc<Semaphore>,
}

impl Default for Reads {
    fn default() -> Reads {
        let places = |count| Arc::new(Semaphore::new(count));
        Reads {
            linearizable: places(limits::DBUS_READS_MAX),
            stale: places(limits::DBUS_STALE_READS_MAX),
        }
    }
}

impl Reads {
    /// A place for a read, and what is left of the time that it has.
    pub(super) async fn enter(
        &self,
        consistency: Consistency,
        within: Duration,
    ) -> Result<(OwnedSemaphorePermit, Duration), KvError> {
        let places = match consistency {
            Consistency::Linearizable => &self.linearizable,
            Consistency::Stale => &self.stale,
        };
        let began = Instant::now();
        let place = timeout(within, Arc::clone(places).acquire_owned()).await;
        let waited_ms = within.as_millis() as u64;
        let place = place.map_err(|_| KvError::Unavailable { waited_ms })?;
        let place = place.map_err(|_| KvError::Stopping)?;
        Ok((place, within.saturating_sub(began.elapsed())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_that_wait_for_a_leader_leave_room_for_those_that_do_not() {
        let reads = Reads::default();
        let within = Duration::from_millis(30);
        let mut places = Vec::new();
        for _ in 0..limits::DBUS_READS_MAX {
            places.push(reads.enter(Consistency::Linearizable, within).await.unwrap().0);
        }
        let late = reads.enter(Consistency::Linearizable, within).await;
        assert_eq!(late.unwrap_err(), KvError::Unavailable { waited_ms: 30 });
        assert!(reads.enter(Consistency::Stale, within).await.is_ok());
        drop(places.pop());
        assert!(reads.enter(Consistency::Linearizable, within).await.unwrap().1 <= within);
    }
}
