//! A connection that has left HTTP at a client's wish.

use http::Response;

use super::answer::UpstreamBody;
use super::peer::Load;
use super::socket::Socket;
use crate::prefixed::Prefixed;

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
    /// The bytes, from the first after the 101: some were read together with the answer's head.
    pub(crate) io: Prefixed<Socket>,
    /// A tunnel is in use for as long as it is there.
    pub(super) _load: Load,
}
