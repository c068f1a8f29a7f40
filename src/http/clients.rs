//! How many requests each client address makes: a bucket that fills with time.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::limits;

/// The buckets of the addresses that were here lately.
#[derive(Debug, Default)]
pub(super) struct Clients {
    known: Mutex<BTreeMap<IpAddr, Arc<Bucket>>>,
}

/// One client's allowance.
#[derive(Debug)]
pub(super) struct Bucket(Mutex<Level>);

#[derive(Debug)]
struct Level {
    /// Requests that were made and have not been forgotten with time.
    used: f64,
    at: Instant,
}

impl Clients {
    /// The bucket of an address. Of IPv6 a whole /64 is one client.
    pub(super) fn bucket(&self, address: IpAddr) -> Arc<Bucket> {
        let client = match address.to_canonical() {
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
            }
            address => address,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= limits::HTTP_CLIENTS_MAX && !known.contains_key(&client) {
            let connected = |bucket: &Arc<Bucket>| Arc::strong_count(bucket) > 1;
            known.retain(|_, bucket| connected(bucket) || !bucket.is_full());
            if known.len() >= limits::HTTP_CLIENTS_MAX {
                known.retain(|_, bucket| connected(bucket));
            }
        }
        let new = || Arc::new(Bucket(Mutex::new(Level { used: 0.0, at: Instant::now() })));
        Arc::clone(known.entry(client).or_insert_with(new))
    }
}

impl Bucket {
    /// Takes one of `rate` requests a second; else after how many seconds there is one.
    pub(super) fn take(&self, rate: u32, now: Instant) -> Result<(), u32> {
        let mut level = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = f64::from(rate);
        let passed = now.saturating_duration_since(level.at).as_secs_f64();
        level.used = (level.used - passed * rate).max(0.0);
        level.at = now;
        if level.used + 1.0 > rate.max(1.0) {
            let wait = (level.used + 1.0 - rate.max(1.0)) / rate;
            return Err((wait.ceil() as u32).max(1));
        }
        level.used += 1.0;
        Ok(())
    }

    /// Whether nothing is used up, as of the last request: a second has passed since.
    fn is_full(&self) -> bool {
        let level = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        level.at.elapsed().as_secs() >= 1
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_fills_with_time() {
        let bucket = Clients::default().bucket("192.0.2.1".parse().unwrap());
        let start = Instant::now();
        assert_eq!((0..10).filter(|_| bucket.take(10, start).is_ok()).count(), 10);
        assert_eq!(bucket.take(10, start), Err(1));
        assert_eq!(bucket.take(10, start + Duration::from_millis(100)), Ok(()));
        assert_eq!(bucket.take(10, start + Duration::from_millis(100)), Err(1));
        let later = start + Duration::from_secs(10);
        assert_eq!((0..20).filter(|_| bucket.take(10, later).is_ok()).count(), 10);
        // Time that goes backwards is no time.
        assert_eq!(bucket.take(10, start), Err(1));
    }

    #[test]
    fn neighbours_share_and_strangers_do_not() {
        let clients = Clients::default();
        let same = |a: &str, b: &str| {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            Arc::ptr_eq(&clients.bucket(a), &clients.bucket(b))
        };
        assert!(same("192.0.2.1", "192.0.2.1"));
        assert!(same("192.0.2.1", "::ffff:192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
        assert!(same("2001:db8::1", "2001:db8::2"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
    }

    #[test]
    fn the_table_is_bounded() {
        let clients = Clients::default();
        let kept = clients.bucket(IpAddr::from([10, 0, 0, 0]));
        for at in 0..2 * limits::HTTP_CLIENTS_MAX as u32 {
            clients.bucket(IpAddr::from((0x0b00_0000 + at).to_be_bytes()));
            assert!(clients.known.lock().unwrap().len() <= limits::HTTP_CLIENTS_MAX);
        }
        assert!(Arc::ptr_eq(&kept, &clients.bucket(IpAddr::from([10, 0, 0, 0]))));
    }
}
