//! Where a peer listens. Pure: parsing and printing, no look-up.

use std::fmt;
use std::path::PathBuf;

use http::Uri;

/// The longest path that a Unix socket's address holds (Linux: 108 bytes with the closing NUL).
const MAX_SOCKET_PATH: usize = 107;

/// A peer's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// HTTP over TCP.
    Tcp {
        /// A name or an IP address; IPv6 without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// HTTP over TLS.
    Tls {
        /// A name or an IP address, by which the peer is verified; IPv6 without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// HTTP over a Unix socket.
    Unix(PathBuf),
}

/// Why a text is no peer's address. The message says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither `http://`, `https://` nor `unix:`.
    #[error("not a backend's address; write \"http://host:port\", \"https://host:port\" or \"unix:/path/to/socket\"")]
    Shape,
    /// Something after the port.
    #[error("a backend's address has no path, query or fragment; end it after the port")]
    NotOnlyOrigin,
    /// A user name or password.
    #[error("a backend's address has no user name or password; take out what stands before the \"@\"")]
    UserInfo,
    /// Port 0, or none that is a number up to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// No path, one that is too long, or one with a NUL.
    #[error("a socket's path must have 1 to 107 bytes, none of them NUL")]
    SocketPath,
}

impl PeerAddress {
    /// Reads `http://host:port` (port 80 if there is none), `https://host:port` (443) or `unix:/path`.
    ///
    /// # Errors
    /// When the text is something else; the message says what to write instead.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() || path.len() > MAX_SOCKET_PATH || path.contains('\0') {
                return Err(AddressError::SocketPath);
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let tls = has_scheme(text, "https://");
        if !tls && !has_scheme(text, "http://") {
            return Err(AddressError::Shape);
        }
        if text.contains('#') {
            return Err(AddressError::NotOnlyOrigin);
        }
        let uri: Uri = text.parse().map_err(|_| AddressError::Shape)?;
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(AddressError::NotOnlyOrigin);
        }
        let authority = uri.authority().ok_or(AddressError::Shape)?;
        if authority.as_str().contains('@') {
            return Err(AddressError::UserInfo);
        }
        let host = authority.host();
        let written_port = authority.as_str().get(host.len()..).unwrap_or_default();
        let port = match written_port.strip_prefix(':') {
            None if tls => 443,
            None => 80,
            Some(digits) => digits.parse().ok().filter(|&port| port != 0).ok_or(AddressError::Port)?,
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(AddressError::Shape);
        }
        let host = host.to_owned();
        Ok(if tls { Self::Tls { host, port } } else { Self::Tcp { host, port } })
    }
}

fn has_scheme(text: &str, scheme: &str) -> bool {
    text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write_origin(formatter, "http", host, *port),
            Self::Tls { host, port } => write_origin(formatter, "https", host, *port),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

fn write_origin(formatter: &mut fmt::Formatter<'_>, scheme: &str, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') {
        write!(formatter, "{scheme}://[{host}]:{port}")
    } else {
        write!(formatter, "{scheme}://{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> PeerAddress {
        PeerAddress::Tcp { host: host.to_owned(), port }
    }

    fn tls(host: &str, port: u16) -> PeerAddress {
        PeerAddress::Tls { host: host.to_owned(), port }
    }

    #[test]
    fn an_address_is_read_and_printed_as_it_was_meant() {
        for (text, address, printed) in [
            ("http://127.0.0.1:5059", tcp("127.0.0.1", 5059), "http://127.0.0.1:5059"),
            ("http://127.0.0.1:5059/", tcp("127.0.0.1", 5059), "http://127.0.0.1:5059"),
            ("HTTP://app.internal:8000", tcp("app.internal", 8000), "http://app.internal:8000"),
            ("http://app", tcp("app", 80), "http://app:80"),
            ("https://app.internal:8443", tls("app.internal", 8443), "https://app.internal:8443"),
            ("HTTPS://app", tls("app", 443), "https://app:443"),
            ("https://[::1]", tls("::1", 443), "https://[::1]:443"),
            ("http://[::1]:5059", tcp("::1", 5059), "http://[::1]:5059"),
            ("http://[::1]", tcp("::1", 80), "http://[::1]:80"),
            ("unix:/run/app.sock", PeerAddress::Unix("/run/app.sock".into()), "unix:/run/app.sock"),
            ("unix:run/app.sock", PeerAddress::Unix("run/app.sock".into()), "unix:run/app.sock"),
        ] {
            let parsed = PeerAddress::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(parsed, address, "{text}");
            assert_eq!(parsed.to_string(), printed, "{text}");
            assert_eq!(PeerAddress::parse(printed), Ok(address), "{printed} is read again as the same");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_own_reason() {
        let long = format!("unix:/{}", "x".repeat(MAX_SOCKET_PATH));
        for (text, reason) in [
            ("https://", AddressError::Shape),
            ("https://app:443/api", AddressError::NotOnlyOrigin),
            ("https://user@app", AddressError::UserInfo),
            ("", AddressError::Shape),
            ("app:5059", AddressError::Shape),
            ("127.0.0.1:5059", AddressError::Shape),
            ("ftp://app", AddressError::Shape),
            ("http://", AddressError::Shape),
            ("http://:5059", AddressError::Shape),
            ("http://a b", AddressError::Shape),
            ("http://app:5059/api", AddressError::NotOnlyOrigin),
            ("http://app:5059?x=1", AddressError::NotOnlyOrigin),
            ("http://app:5059/?x=1", AddressError::NotOnlyOrigin),
            ("http://app:5059#top", AddressError::NotOnlyOrigin),
            ("http://user@app:5059", AddressError::UserInfo),
            ("http://user:secret@app", AddressError::UserInfo),
            ("http://app:0", AddressError::Port),
            ("http://app:65536", AddressError::Port),
            ("http://app:", AddressError::Port),
            ("unix:", AddressError::SocketPath),
            ("unix:/a\0b", AddressError::SocketPath),
            (&long, AddressError::SocketPath),
        ] {
            assert_eq!(PeerAddress::parse(text), Err(reason), "{text:?}");
        }
    }
}
