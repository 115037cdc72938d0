//! The PROXY protocol on a connection that was just accepted: who is believed, and how much and how long is read.
//!
//! It comes before TLS and before HTTP. Only a trusted proxy is asked for a header; what anybody else sends in its
//! place reaches the HTTP parser or the TLS handshake, which refuse it. The wait is the caller's to bound.

use std::io;
use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::config::ProxyProtocol;
use crate::http::{MalformedProxyHeader, ProxiedFor, ProxyHeader};
use crate::prefixed::Prefixed;

/// How much is read at a time. Most headers, with the request behind them, come in one piece.
const PIECE: usize = 2048;

/// Why a connection goes no further.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoHeader {
    /// The peer is not one that may send it, and there is no other way in.
    #[error("the PROXY protocol is required, and the peer is no trusted proxy")]
    NotTrusted,
    /// It was required and something else came.
    #[error("the PROXY protocol is required, and no header came")]
    Missing,
    #[error(transparent)]
    Malformed(#[from] MalformedProxyHeader),
    /// The connection broke, or ended before it said anything.
    #[error("the connection ended before its PROXY header: {0}")]
    Io(#[from] io::Error),
}

/// Reads the header where one is due. Answers the address to go by, and the stream from the header's end on.
pub(super) async fn read_header<S: AsyncRead + Unpin>(
    mut stream: S,
    peer: IpAddr,
    mode: ProxyProtocol,
    trusted_proxies: &[IpNet],
) -> Result<(IpAddr, Prefixed<S>), NoHeader> {
    let trusted = trusted_proxies.iter().any(|network| network.contains(&peer));
    match (mode, trusted) {
        (ProxyProtocol::Off, _) | (ProxyProtocol::Optional, false) => {
            return Ok((peer, Prefixed::new(Bytes::new(), stream)));
        }
        (ProxyProtocol::Required, false) => return Err(NoHeader::NotTrusted),
        (ProxyProtocol::Optional | ProxyProtocol::Required, true) => {}
    }
    let mut read = BytesMut::with_capacity(PIECE);
    loop {
        match ProxyHeader::read(&read)? {
            ProxyHeader::Present { proxied_for, length } => {
                let rest = read.split_off(length).freeze();
                let client = match proxied_for {
                    ProxiedFor::Client(address) => address,
                    ProxiedFor::Itself => peer,
                };
                return Ok((client, Prefixed::new(rest, stream)));
            }
            ProxyHeader::Absent if mode == ProxyProtocol::Required => return Err(NoHeader::Missing),
            ProxyHeader::Absent => return Ok((peer, Prefixed::new(read.freeze(), stream))),
            // Never for long: the parser knows within 4 KiB what it has.
            ProxyHeader::Incomplete => {
                read.reserve(PIECE);
                if stream.read_buf(&mut read).await? == 0 {
                    return Err(NoHeader::Io(io::ErrorKind::UnexpectedEof.into()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    const TRUSTED: &str = "10.0.0.1";
    const STRANGER: &str = "198.51.100.7";
    const HEADER: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 1 2\r\n";

    /// The address and all that follows the header, when these pieces are sent one after the other.
    async fn outcome(peer: &str, mode: ProxyProtocol, pieces: &[&[u8]]) -> Result<(String, Vec<u8>), NoHeader> {
        let (mut client, server) = tokio::io::duplex(64);
        let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
        tokio::spawn(async move {
            for piece in pieces {
                // The reader may have given up.
                let _ = client.write_all(&piece).await;
                tokio::task::yield_now().await;
            }
        });
        let networks = ["10.0.0.0/8".parse().expect("a network")];
        let (address, mut stream) = read_header(server, peer.parse().expect("an address"), mode, &networks).await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
        Ok((address.to_string(), rest))
    }

    #[tokio::test]
    async fn the_header_of_a_trusted_proxy_names_the_client_and_is_gone_from_the_stream() {
        let request: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
        let bytes: Vec<&[u8]> = HEADER.chunks(1).collect();
        for mode in [ProxyProtocol::Optional, ProxyProtocol::Required] {
            for pieces in [&[HEADER, request][..], &[&[HEADER, request].concat()], &[&bytes[..], &[request]].concat()] {
                let (address, rest) = outcome(TRUSTED, mode, pieces).await.expect("a header");
                assert_eq!((address.as_str(), &rest[..]), ("203.0.113.9", request), "{mode:?}");
            }
        }
    }

    #[tokio::test]
    async fn without_a_header_the_connections_own_address_counts_or_none() {
        let request: &[u8] = b"POST / HTTP/1.1\r\n\r\n";
        let split: Vec<&[u8]> = request.chunks(1).collect();
        let (address, rest) = outcome(TRUSTED, ProxyProtocol::Optional, &split).await.expect("an optional header");
        assert_eq!((address.as_str(), &rest[..]), (TRUSTED, request));
        assert!(matches!(outcome(TRUSTED, ProxyProtocol::Required, &[request]).await, Err(NoHeader::Missing)));
        assert!(matches!(outcome(TRUSTED, ProxyProtocol::Required, &[]).await, Err(NoHeader::Io(_))));
        assert!(matches!(
            outcome(TRUSTED, ProxyProtocol::Optional, &[b"PROXY TCP9 x\r\n"]).await,
            Err(NoHeader::Malformed(_))
        ));
    }

    #[tokio::test]
    async fn a_stranger_is_never_believed_and_where_a_header_is_required_never_served() {
        for mode in [ProxyProtocol::Off, ProxyProtocol::Optional] {
            let (address, rest) = outcome(STRANGER, mode, &[HEADER]).await.expect("bytes that nobody looked at");
            assert_eq!((address.as_str(), &rest[..]), (STRANGER, HEADER), "{mode:?}");
        }
        assert!(matches!(outcome(STRANGER, ProxyProtocol::Required, &[HEADER]).await, Err(NoHeader::NotTrusted)));
        let (address, rest) = outcome(TRUSTED, ProxyProtocol::Off, &[HEADER]).await.expect("bytes");
        assert_eq!((address.as_str(), &rest[..]), (TRUSTED, HEADER));
    }
}
