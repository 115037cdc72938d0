//! One peer of an upstream: its address, its idle connections, how much it has to do, and how it stands.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use super::address::PeerAddress;
use super::balance::{Candidate, Standing, fingerprint};
use super::connection::Connection;
use super::dial::dial;
use super::health::{Ejection, Health};
use super::observe::{PeerObserver, UpstreamObserver};
use super::pool::Pool;
use super::resolve::Addresses;
use super::settings::UpstreamSettings;
use super::tls::Trust;
use crate::clock::{Monotonic, SharedClock, micros};

/// How long a peer that could not be connected is tried last.
const REST: Duration = Duration::from_secs(1);

/// One peer.
pub(super) struct Peer {
    /// The upstream's name, for the log.
    upstream: Arc<str>,
    address: PeerAddress,
    /// It has a name, whose addresses may change.
    is_named: bool,
    fingerprint: u64,
    health: Health,
    observer: Box<dyn PeerObserver>,
    load: AtomicUsize,
    clock: SharedClock,
    /// Microseconds on the clock until which it is tried last; 0 when it never failed.
    rests_until: AtomicU64,
    origin: Monotonic,
    names: Arc<Addresses>,
    /// Who vouches for it, over TLS.
    trust: Option<Trust>,
    pool: Option<Arc<Pool>>,
}

impl Peer {
    pub(super) fn new(
        settings: &UpstreamSettings,
        address: PeerAddress,
        clock: SharedClock,
        observer: &dyn UpstreamObserver,
    ) -> Self {
        let (upstream, keepalive, trust) = (Arc::clone(&settings.name), settings.keepalive, settings.trust.clone());
        let pool = keepalive.map(|keepalive| {
            Arc::new(Pool::new(Arc::clone(&upstream), address.to_string(), keepalive, Arc::clone(&clock)))
        });
        let observer = observer.peer(&upstream, &address);
        observer.stands(true);
        Self {
            upstream,
            fingerprint: fingerprint(&address.to_string()),
            health: Health::default(),
            observer,
            load: AtomicUsize::new(0),
            is_named: is_named(&address),
            address,
            origin: clock.monotonic(),
            names: Arc::new(Addresses::new(Arc::clone(&clock))),
            trust,
            clock,
            rests_until: AtomicU64::new(0),
            pool,
        }
    }

    pub(super) const fn address(&self) -> &PeerAddress {
        &self.address
    }

    /// Where its connections go when they are done; `None` when none is kept.
    pub(super) fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref().filter(|pool| pool.is_open())
    }

    /// What the choice among peers needs to know.
    pub(super) fn candidate(&self) -> Candidate {
        let standing = if self.is_out() {
            Standing::Out
        } else if self.now() < self.rests_until.load(Ordering::Relaxed) {
            Standing::Resting
        } else {
            Standing::In
        };
        Candidate { standing, load: self.load.load(Ordering::Relaxed), fingerprint: self.fingerprint }
    }

    /// Whether it is to be tried last.
    pub(super) fn is_out(&self) -> bool {
        self.health.is_out()
    }

    /// Counts a request until the answer is over.
    pub(super) fn begin(self: &Arc<Self>) -> Load {
        self.load.fetch_add(1, Ordering::Relaxed);
        Load(Arc::clone(self))
    }

    /// A check was answered, or why not.
    pub(super) fn note_check(&self, outcome: Result<(), String>) {
        let changed = self.health.note_check(outcome.is_ok());
        match outcome {
            Ok(()) if changed => {
                tracing::info!(upstream = &*self.upstream, peer = %self.address, "a backend is healthy again");
            }
            Err(cause) if changed => {
                tracing::warn!(upstream = &*self.upstream, peer = %self.address, %cause, "a backend failed its checks and is tried last");
            }
            _ => {}
        }
        self.tell(changed);
    }

    /// A request was answered.
    pub(super) fn note_answer(&self) {
        self.health.note_answer();
    }

    /// A request failed at this peer. It is taken out when that was one too many, unless it is the `last` that is in.
    pub(super) fn note_failure(self: &Arc<Self>, ejection: Option<Ejection>, last: impl FnOnce() -> bool) {
        let Some(ejection) = ejection else { return };
        if !self.health.note_failure(ejection) || last() || !self.health.eject() {
            return;
        }
        let Ejection { failures, rest } = ejection;
        tracing::warn!(upstream = &*self.upstream, peer = %self.address, failures, ?rest, "a backend failed requests in a row and is tried last");
        self.tell(true);
        tokio::spawn(readmit_after(rest, Arc::downgrade(self)));
    }

    /// The rest of an ejected peer is over.
    pub(super) fn readmit(&self) {
        self.health.readmit();
        tracing::info!(upstream = &*self.upstream, peer = %self.address, "a backend has its turn again");
        self.tell(true);
    }

    fn tell(&self, changed: bool) {
        if changed {
            self.observer.stands(!self.health.is_out());
        }
    }

    /// An idle connection, if there is one.
    pub(super) fn idle_connection(&self) -> Option<Box<Connection>> {
        let pool = self.pool()?;
        std::iter::from_fn(|| pool.take()).find(|connection| self.leads_here(connection))
    }

    /// Whether a connection still leads to where the peer's name does: a backend that moved is followed also by those
    /// that keep their connections.
    fn leads_here(&self, connection: &Connection) -> bool {
        match (&self.address, connection.remote) {
            (PeerAddress::Tcp { host, port } | PeerAddress::Tls { host, port }, Some(remote)) if self.is_named => {
                self.names.still_have(remote, host, *port)
            }
            _ => true,
        }
    }

    /// A new connection.
    pub(super) async fn fresh_connection(&self, limit: Duration) -> io::Result<Box<Connection>> {
        // Boxed: most requests find a connection, and would carry all of this along.
        let dialled = Box::pin(dial(&self.address, &self.names, self.trust.as_ref(), limit)).await;
        let rests_until = if dialled.is_ok() { 0 } else { self.now() + micros(REST) };
        self.rests_until.store(rests_until, Ordering::Relaxed);
        dialled
    }

    fn now(&self) -> u64 {
        micros(self.clock.monotonic().since(self.origin))
    }
}

/// Brings an ejected peer back after its rest.
async fn readmit_after(rest: Duration, peer: Weak<Peer>) {
    sleep(rest).await;
    if let Some(peer) = peer.upgrade() {
        peer.readmit();
    }
}

fn is_named(address: &PeerAddress) -> bool {
    match address {
        PeerAddress::Tcp { host, .. } | PeerAddress::Tls { host, .. } => host.parse::<IpAddr>().is_err(),
        PeerAddress::Unix(_) => false,
    }
}

/// A request under way at a peer, counted until it is dropped.
pub(super) struct Load(Arc<Peer>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Load").field(&self.0.address).finish()
    }
}
