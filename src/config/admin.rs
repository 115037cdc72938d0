//! `[admin]`: the listener for operators.

use std::net::SocketAddr;

use super::Mode;
use super::error::Problems;
use super::raw::RawAdmin;
use super::secrets::{demand_strength, secret_or_file};
use super::server::socket_address;
use crate::secret::Secret;

/// The listener for operators.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What operators show; without it the listener serves health and metrics only.
    pub token: Option<Secret>,
}

pub(super) fn admin(raw: &RawAdmin, mode: Mode, traffic: &[SocketAddr], problems: &mut Problems) -> AdminConfig {
    let listen = raw.listen.parse_or(SocketAddr::from(([127, 0, 0, 1], 9090)), problems, |text| socket_address(text));
    if let Some(shared) = traffic.iter().find(|address| collide(**address, listen)) {
        problems.error(
            raw.listen.place(),
            format!("{listen} collides with {shared} of `server.listen`; give operators an address of their own"),
        );
    }
    let token = secret_or_file(&raw.token, &raw.token_file, problems);
    if let Some(token) = &token {
        demand_strength(token, mode, problems);
    }
    AdminConfig { listen, token: token.map(|token| token.value) }
}

/// Whether two listeners cannot both be opened: the same port on the same address, or on every address.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_address = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && same_address
}
