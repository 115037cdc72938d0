//! Makes a connection: look-up, connect, TLS, HTTP handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::address::PeerAddress;
use super::connection::Connection;
use super::resolve::Addresses;
use super::tls::Trust;
use super::wire::{Socket, Wire, WireStream};

/// The most bytes an answer's head may have, and with it the buffers of a connection.
pub(super) const MAX_ANSWER_HEAD: usize = 64 * 1024;

/// The most header lines an answer may have.
pub(super) const MAX_ANSWER_HEADERS: usize = 200;

/// Connects within `limit`, look-up and TLS included.
pub(super) async fn dial(
    address: &PeerAddress,
    names: &Addresses,
    trust: Option<&Trust>,
    limit: Duration,
) -> io::Result<Connection> {
    let deadline = Instant::now() + limit;
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
    let socket = match address {
        PeerAddress::Unix(path) => Socket::Unix(timeout_at(deadline, UnixStream::connect(path)).await.map_err(late)??),
        PeerAddress::Tcp { host, port } => Socket::Tcp(connect(names, host, *port, deadline).await?),
        PeerAddress::Tls { host, port } => {
            let trust = trust.ok_or_else(|| io::Error::other("nobody is trusted, so nobody can be verified"))?;
            let socket = connect(names, host, *port, deadline).await?;
            Socket::Tls(Box::new(timeout_at(deadline, trust.connect(host, socket)).await.map_err(late)??))
        }
    };
    handshake(socket).await
}

async fn connect(names: &Addresses, host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the name's look-up took too long");
    let found = timeout_at(deadline, names.of(host, port)).await.map_err(late)??;
    connect_to_any(&found, deadline).await.inspect_err(|_| names.forget())
}

/// Tries the addresses in turn. Each gets its share of the time left, so that one that swallows packets (an IPv6
/// address without a route, say) leaves time for the next.
async fn connect_to_any(addresses: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (left, address) in (1..=u32::try_from(addresses.len()).unwrap_or(u32::MAX)).rev().zip(addresses) {
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                // Heads and small bodies go out at once; waiting for an ACK would cost 40 ms.
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::Error::new(io::ErrorKind::TimedOut, "connecting took too long"),
        }
    }
    Err(failure)
}

async fn handshake(socket: Socket) -> io::Result<Connection> {
    let (wire, remote) = (Arc::new(Wire::new()), socket.remote());
    let stream = TokioIo::new(WireStream::new(socket, Arc::clone(&wire)));
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_ANSWER_HEAD)
        .max_header_size(MAX_ANSWER_HEAD)
        .max_headers(MAX_ANSWER_HEADERS)
        .handshake(stream)
        .await
        .map_err(io::Error::other)?;
    Ok(Connection::new(sender, connection, wire, remote))
}
