//! A peer's name and the addresses it stands for.
//!
//! Looked up by the operating system, on a blocking thread, and remembered for a second: with keep-alive off each
//! request connects, and a look-up for each would cost more than the request and, when the name server hangs, fill
//! the blocking threads. Forgotten as soon as connecting fails, so that a backend that moved is found at once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::lookup_host;

use crate::clock::{Monotonic, SharedClock};

/// How long addresses are remembered.
const REMEMBERED: Duration = Duration::from_secs(1);

/// The addresses of one peer.
pub(super) struct Addresses {
    clock: SharedClock,
    known: Mutex<Option<(Monotonic, Arc<[SocketAddr]>)>>,
}

impl Addresses {
    pub(super) const fn new(clock: SharedClock) -> Self {
        Self { clock, known: Mutex::new(None) }
    }

    /// The addresses of `host`, in the order of the operating system.
    pub(super) async fn of(&self, host: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
        if let Some((until, addresses)) = &*self.known.lock()
            && self.clock.monotonic() < *until
        {
            return Ok(Arc::clone(addresses));
        }
        let addresses: Arc<[SocketAddr]> = lookup_host((host, port)).await?.collect();
        *self.known.lock() = Some((self.clock.monotonic().after(REMEMBERED), Arc::clone(&addresses)));
        Ok(addresses)
    }

    pub(super) fn forget(&self) {
        *self.known.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, WallTime};

    #[tokio::test]
    async fn addresses_are_remembered_for_a_second_or_until_forgotten() {
        let clock = Arc::new(ManualClock::starting_at(WallTime::from_micros(0)));
        let addresses = Addresses::new(Arc::<ManualClock>::clone(&clock));
        let first = addresses.of("127.0.0.1", 80).await.unwrap();
        assert_eq!(*first, ["127.0.0.1:80".parse().unwrap()]);
        assert!(Arc::ptr_eq(&first, &addresses.of("127.0.0.1", 80).await.unwrap()));
        clock.advance(REMEMBERED);
        let second = addresses.of("127.0.0.1", 80).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &second), "its second is over");
        addresses.forget();
        assert!(!Arc::ptr_eq(&second, &addresses.of("127.0.0.1", 80).await.unwrap()), "connecting failed");
    }

    #[tokio::test]
    async fn a_failed_look_up_is_not_remembered() {
        let addresses = Addresses::new(Arc::new(ManualClock::starting_at(WallTime::from_micros(0))));
        assert!(addresses.of("no-such-host.invalid", 80).await.is_err());
        assert!(addresses.of("127.0.0.1", 80).await.is_ok());
    }
}
