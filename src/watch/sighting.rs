//! What is seen of where sessions are used from, and waits to be judged.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::monitor::{network_tag, session_tag};
use crate::session::{By, SessionId, SessionRecord, StoreTime};
use crate::told::Origin;

/// Sightings that wait to be judged; more are seen again at the next use, and counted.
pub(super) const MOST_SIGHTINGS: usize = 4096;
/// A session that nothing is known of is new where it is no older than this.
const NEW: Duration = Duration::from_secs(900);

/// A use of a live session.
#[derive(Clone, Copy, Debug)]
pub struct Presence<'a> {
    /// Which session.
    pub id: SessionId,
    /// Its record.
    pub record: &'a Arc<SessionRecord>,
    /// The client's address.
    pub address: IpAddr,
    /// The store's time.
    pub now: StoreTime,
    /// Whether it is a person's use, and not what a page does by itself.
    pub counts: bool,
}

/// A login that made a session.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Whether the account knows the device.
    pub known_device: bool,
    /// The held session that its own user logged in again for: the first of its tokens.
    pub releases: Option<SessionId>,
}

/// What is to be judged.
#[derive(Debug)]
pub struct Sighted {
    pub(super) id: SessionId,
    pub(super) record: Arc<SessionRecord>,
    pub(super) address: IpAddr,
    /// Whether that is the address of a proxy of the operator's own.
    pub(super) is_proxy: bool,
    pub(super) now: StoreTime,
    /// Whether nothing was known of the session here.
    pub(super) is_first: bool,
    /// The network before, and when the session was last used there.
    pub(super) before: Option<(u32, StoreTime)>,
    /// `None`: it is a use.
    pub(super) arrival: Option<Arrival>,
}

impl Sighted {
    /// Stands for the session.
    pub(super) fn session(&self) -> u64 {
        session_tag(self.record.decided_by(self.id))
    }

    /// Stands for the network.
    pub(super) fn network(&self) -> u32 {
        network_tag(self.address)
    }

    /// Whether it is a session that was just made.
    pub(super) fn is_new(&self) -> bool {
        self.now.since(self.record.created) < NEW
    }

    /// Whether it says that a session came to be.
    pub(super) fn came_to_be(&self) -> bool {
        self.arrival.is_some() || (self.is_first && self.is_new())
    }

    /// Where the finding comes from.
    pub(super) fn origin(&self) -> Origin {
        Origin::of(By::User).from_address(self.address)
    }
}

/// A queue of sightings.
pub(super) fn queue() -> (mpsc::Sender<Sighted>, mpsc::Receiver<Sighted>) {
    mpsc::channel(MOST_SIGHTINGS)
}
