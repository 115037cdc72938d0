//! A connection that has left HTTP at a client's wish.

use http::Response;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use super::answer::{Lease, UpstreamBody};

/// The answer to a request for another protocol.
#[derive(Debug)]
pub enum Switched {
    /// A 101: HTTP has ended on its connection. Whether the head says what it should is for the caller to judge.
    Yes(Response<()>, UpstreamTunnel),
    /// Any other: an ordinary answer.
    No(Response<UpstreamBody>),
}

/// A peer's end of a tunnel. Dropping it closes the connection.
#[derive(Debug)]
pub struct UpstreamTunnel {
    /// The bytes, from the first after the 101.
    pub io: TokioIo<Upgraded>,
    /// A tunnel is in use for as long as it is there.
    pub(super) _lease: Lease,
}
