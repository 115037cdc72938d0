//! A peer's name and the addresses it stands for.
//!
//! Looked up by the operating system, on a blocking thread, and remembered for a second: with keep-alive off each
//! request connects, and a look-up for each would cost more than the request and, when the name server hangs, fill
//! the blocking threads. Forgotten as soon as connecting fails, so that a backend that moved is found at once. A kept
//! connection that leads to none of the name's addresses any more is not used again; for that the name is looked up in
//! the background every few seconds, so that no request waits for it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::lookup_host;

use crate::clock::{Monotonic, SharedClock};

/// How long addresses are remembered.
const REMEMBERED: Duration = Duration::from_secs(1);

/// How old an answer may be by which kept connections are judged.
const JUDGED_BY: Duration = Duration::from_secs(5);

/// The addresses of one peer.
pub(super) struct Addresses {
    clock: SharedClock,
    known: Mutex<Option<Known>>,
    looking: AtomicBool,
}

struct Known {
    at: Monotonic,
    addresses: Arc<[SocketAddr]>,
}

impl Addresses {
    pub(super) const fn new(clock: SharedClock) -> Self {
        Self { clock, known: Mutex::new(None), looking: AtomicBool::new(false) }
    }

    /// The addresses of `host`, in the order of the operating system.
    pub(super) async fn of(&self, host: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
        if let Some(known) = &*self.known.lock()
            && self.clock.monotonic().since(known.at) < REMEMBERED
        {
            return Ok(Arc::clone(&known.addresses));
        }
        self.look_up(host, port).await
    }

    async fn look_up(&self, host: &str, port: u16) -> io::Result<Arc<[SocketAddr]>> {
        let addresses: Arc<[SocketAddr]> = lookup_host((host, port)).await?.collect();
        *self.known.lock() = Some(Known { at: self.clock.monotonic(), addresses: Arc::clone(&addresses) });
        Ok(addresses)
    }

    /// Whether `host` still has the address `remote`, as far as is known. Never waits.
    pub(super) fn still_have(self: &Arc<Self>, remote: SocketAddr, host: &str, port: u16) -> bool {
        let (old, has) = match &*self.known.lock() {
            None => (true, true),
            Some(known) => (self.clock.monotonic().since(known.at) >= JUDGED_BY, known.addresses.contains(&remote)),
        };
        if old && !self.looking.swap(true, Ordering::Relaxed) {
            let (this, host) = (Arc::clone(self), host.to_owned());
            tokio::spawn(async move {
                // Who cannot be looked up stays where it was: its connections still work, or they end.
                let _ = this.look_up(&host, port).await;
                this.looking.store(false, Ordering::Relaxed);
            });
        }
        has
    }

    pub(super) fn forget(&self) {
        *self.known.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock, WallTime};

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
    async fn a_kept_connection_is_judged_by_the_names_addresses_of_the_last_seconds() {
        let clock = Arc::new(ManualClock::starting_at(WallTime::from_micros(0)));
        let addresses = Arc::new(Addresses::new(Arc::<ManualClock>::clone(&clock)));
        let (here, moved): (SocketAddr, SocketAddr) =
            ("127.0.0.1:80".parse().unwrap(), "192.0.2.1:80".parse().unwrap());
        assert!(addresses.still_have(moved, "localhost", 80), "nothing is known yet");
        while addresses.known.lock().is_none() {
            tokio::task::yield_now().await;
        }
        assert!(addresses.still_have(here, "localhost", 80));
        assert!(!addresses.still_have(moved, "localhost", 80));
        // The name moves: what is known is replaced without anyone waiting for it.
        *addresses.known.lock() = Some(Known { at: clock.monotonic(), addresses: Arc::new([moved]) });
        assert!(addresses.still_have(moved, "localhost", 80));
        clock.advance(JUDGED_BY);
        assert!(addresses.still_have(moved, "localhost", 80), "the last answer counts until there is a newer one");
        while addresses.known.lock().as_ref().unwrap().addresses.contains(&moved) {
            tokio::task::yield_now().await;
        }
        assert!(!addresses.still_have(moved, "localhost", 80));
    }

    #[tokio::test]
    async fn a_failed_look_up_is_not_remembered() {
        let addresses = Addresses::new(Arc::new(ManualClock::starting_at(WallTime::from_micros(0))));
        assert!(addresses.of("no-such-host.invalid", 80).await.is_err());
        assert!(addresses.of("127.0.0.1", 80).await.is_ok());
    }
}
