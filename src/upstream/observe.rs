//! Who hears how the peers stand.

use super::address::PeerAddress;

/// Hears of the peers of upstreams.
pub trait UpstreamObserver: Send + Sync {
    /// A peer is there, until the answer is dropped.
    fn peer(&self, upstream: &str, address: &PeerAddress) -> Box<dyn PeerObserver>;
}

/// Hears of one peer.
pub trait PeerObserver: Send + Sync {
    /// It is in, or out.
    fn stands(&self, is_in: bool);
}

/// Hears of nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl UpstreamObserver for Unobserved {
    fn peer(&self, _upstream: &str, _address: &PeerAddress) -> Box<dyn PeerObserver> {
        Box::new(Self)
    }
}

impl PeerObserver for Unobserved {
    fn stands(&self, _is_in: bool) {}
}
