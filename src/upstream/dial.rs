//! Makes a connection: look-up, connect, TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::address::PeerAddress;
use super::connection::Connection;
use super::resolve::Addresses;
use super::socket::Socket;
use super::tls::Trust;

/// Connects within `limit`, look-up and TLS included.
pub(super) async fn dial(
    address: &PeerAddress,
    names: &Addresses,
    trust: Option<&Trust>,
    limit: Duration,
) -> io::Result<Box<Connection>> {
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
    Ok(Box::new(Connection::new(socket)))
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
