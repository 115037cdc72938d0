//! What an upstream is made of, as its configuration says.

use std::sync::Arc;
use std::time::Duration;

use super::address::PeerAddress;
use super::balance::Balance;
use super::health::{Ejection, HealthCheck};
use super::pool::Keepalive;
use super::tls::Trust;

/// An upstream's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSettings {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its peers.
    pub peers: Vec<PeerAddress>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// What they are asked every two seconds, if anything.
    pub health: Option<HealthCheck>,
    /// When one is taken out for failing requests; `None`: never.
    pub eject: Option<Ejection>,
    /// Who vouches for peers over TLS.
    pub trust: Option<Trust>,
    /// How idle connections are kept; `None`: each request has its own, closed afterwards.
    pub keepalive: Option<Keepalive>,
    /// The time for one peer to be looked up and connected.
    pub connect_timeout: Duration,
    /// The longest time without progress until the answer's head. It starts anew as the request's body moves.
    pub response_timeout: Duration,
}
