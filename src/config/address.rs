//! Addresses that several sections take: sockets, hosts with ports, files.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::value::{Parsed, quoted};
use crate::http::RequestHost;

/// An address to listen on.
pub(super) fn socket_address(text: &str) -> Parsed<SocketAddr> {
    text.parse().map_err(|_| {
        format!("{} is not an address and port; write it as \"127.0.0.1:8080\" or \"[::]:8080\"", quoted(text))
    })
}

/// Whether two listeners cannot both be opened: the same port on the same address, or on every address.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_address = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && same_address
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`. `None` when it is none of these.
pub(super) fn host_and_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    let parsed = RequestHost::parse(text)?;
    let host = parsed.host().trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), parsed.port().unwrap_or(default_port)))
}

/// A file's path.
pub(super) fn file_path(path: &str) -> Parsed<PathBuf> {
    if path.is_empty() || path.contains('\0') || path.ends_with('/') {
        return Err(format!("{} is not a file's path", quoted(path)));
    }
    Ok(PathBuf::from(path))
}
