//! Where a Redis or Valkey server is and who logs in to it: read once, so that no store starts with an address that cannot
//! work.
//!
//! Opens no connection. Never shows a user or a password, which the URL may hold.

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, TlsCertificates};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::secret::Secret;

/// What addresses of sockets begin with.
const UNIX: [&str; 2] = ["redis+unix:", "valkey+unix:"];
/// What other addresses begin with.
const TCP: [&str; 4] = ["redis://", "rediss://", "valkey://", "valkeys://"];

const NO_HOST: AddressError = AddressError::Url("has no valid host and port; write it as \"redis://127.0.0.1:6379/0\"");
const NO_DATABASE: AddressError = AddressError::Url("has a path that is not a database's number; end it with `/0`");
const NO_AUTHORITIES: AddressError = AddressError::Authorities("is not a PEM file of certificates");

/// Why an address cannot be used, and what to do. Never shows a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The URL.
    #[error("{0}")]
    Url(&'static str),
    /// A password stands in the URL, and another one beside it.
    #[error("stands beside a password in `store.redis`; keep one of the two")]
    TwoPasswords,
    /// A user without a password.
    #[error("names a user without a password; put one into it or into `store.password_file`")]
    UserWithoutPassword,
    /// The certificate authorities.
    #[error("{0}")]
    Authorities(&'static str),
}

/// Where a server is, who logs in to it, and whose certificates are believed.
#[derive(Clone)]
pub struct StoreAddress {
    url: Secret,
    password: Option<Secret>,
    authorities: Option<Box<[u8]>>,
    /// Behind a pointer: it is large, and a configuration has an address or none.
    client: Arc<redis::Client>,
}

impl StoreAddress {
    /// Takes a URL (`redis://`, `rediss://`, `redis+unix:`, the `valkey` forms of these), a password kept apart from it,
    /// and the certificate authorities (PEM) to trust instead of the system's.
    ///
    /// # Errors
    /// When no server could be reached with it.
    pub fn parse(url: &Secret, password: Option<&Secret>, authorities: Option<&[u8]>) -> Result<Self, AddressError> {
        let info = connection_info(url.expose_secret())?;
        let mut login = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3) // its driver tells at once when the connection is lost
            .set_skip_set_lib_name();
        if let Some(password) = password {
            if login.password().is_some() {
                return Err(AddressError::TwoPasswords);
            }
            login = login.set_password(password.expose_secret());
        }
        if login.username().is_some() && login.password().is_none() {
            return Err(AddressError::UserWithoutPassword);
        }
        let info = info.set_redis_settings(login).set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Arc::new(client(info, authorities)?);
        Ok(Self { url: url.clone(), password: password.cloned(), authorities: authorities.map(Into::into), client })
    }

    pub(super) fn client(&self) -> &redis::Client {
        &self.client
    }

    /// The URL and the password, as they were written. The name is long so that each use is noticed in review.
    #[must_use]
    pub fn expose_secret(&self) -> [&str; 2] {
        [self.url.expose_secret(), self.password.as_ref().map_or("", Secret::expose_secret)]
    }
}

impl PartialEq for StoreAddress {
    fn eq(&self, other: &Self) -> bool {
        (&self.url, &self.password, &self.authorities) == (&other.url, &other.password, &other.authorities)
    }
}

impl Eq for StoreAddress {}

/// Without user and password, for people.
impl fmt::Display for StoreAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.client.get_connection_info();
        let database = info.redis_settings().db();
        match info.addr() {
            ConnectionAddr::Tcp(host, port) => write!(formatter, "redis://{}:{port}/{database}", bracketed(host)),
            ConnectionAddr::TcpTls { host, port, .. } => {
                write!(formatter, "rediss://{}:{port}/{database}", bracketed(host))
            }
            ConnectionAddr::Unix(path) => write!(formatter, "redis+unix:{}?db={database}", path.display()),
            _ => formatter.write_str("redis"),
        }
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn connection_info(url: &str) -> Result<ConnectionInfo, AddressError> {
    if url.starts_with("sentinel:") || url.starts_with("cluster:") {
        return Err(AddressError::Url(
            "a `sentinel:` or `cluster:` store is not supported by this version; name one server",
        ));
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AddressError::Url("has a space or a character outside ASCII; write it percent-encoded"));
    }
    // Or an attempt to turn certificate checks off.
    if url.contains('#') {
        return Err(AddressError::Url("has a `#`; write it as `%23` in a password, else remove it"));
    }
    if let Some(path) = UNIX.iter().find_map(|scheme| url.strip_prefix(scheme)) {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') || path.split('?').next().is_none_or(|file| file.len() < 2) {
            return Err(AddressError::Url("names no socket; write it as \"redis+unix:///run/redis.sock\""));
        }
    } else if !TCP.iter().any(|scheme| url.starts_with(scheme)) {
        return Err(AddressError::Url(
            "is not a store's address; start it with `redis://`, `rediss://` or `redis+unix:`",
        ));
    }
    // What the library cannot split into parts has no host, or a port that is none.
    if redis::parse_redis_url(url).is_none() {
        return Err(NO_HOST);
    }
    let info = url.into_connection_info().map_err(|error| reason(&error))?;
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } if !is_host(host) || *port == 0 => {
            Err(NO_HOST)
        }
        _ if u16::try_from(info.redis_settings().db()).is_err() => Err(NO_DATABASE),
        _ => Ok(info),
    }
}

fn is_host(host: &str) -> bool {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !host.is_empty() && (host.bytes().all(named) || host.parse::<Ipv6Addr>().is_ok())
}

/// What the library says, in words that cannot hold a part of the URL.
fn reason(error: &redis::RedisError) -> AddressError {
    let text = error.to_string();
    if text.contains("Invalid database number") {
        return NO_DATABASE;
    }
    if text.contains("Missing hostname") {
        return NO_HOST;
    }
    if text.contains("wildcard address") {
        return AddressError::Url("names every address of a machine, which is none to connect to; name one server");
    }
    AddressError::Url("has a part that is not understood; write it as \"redis://127.0.0.1:6379/0\"")
}

fn client(info: ConnectionInfo, authorities: Option<&[u8]>) -> Result<redis::Client, AddressError> {
    let Some(authorities) = authorities else {
        return redis::Client::open(info).map_err(|error| reason(&error));
    };
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Err(AddressError::Authorities("is of no use without a `rediss://` address; write one, or remove it"));
    }
    // The client would take a file without any, and then trust nobody.
    let mut certificates = CertificateDer::pem_slice_iter(authorities).peekable();
    if certificates.peek().is_none() || !certificates.all(|certificate| certificate.is_ok()) {
        return Err(NO_AUTHORITIES);
    }
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(authorities.to_vec()) };
    redis::Client::build_with_tls(info, certificates).map_err(|_| NO_AUTHORITIES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<StoreAddress, AddressError> {
        StoreAddress::parse(&Secret::new(url), None, None)
    }

    #[test]
    fn every_promised_form_is_understood() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("redis://redis.internal", "redis://redis.internal:6379/0"),
            ("redis://redis_1", "redis://redis_1:6379/0"),
            ("redis://gateway:pa%23ss@[::1]:7000/3", "redis://[::1]:7000/3"),
            ("rediss://:secret@redis.internal:6380/1", "rediss://redis.internal:6380/1"),
            ("redis+unix:/run/redis.sock", "redis+unix:/run/redis.sock?db=0"),
            ("redis+unix:///run/redis.sock?db=2&user=gateway&pass=secret", "redis+unix:/run/redis.sock?db=2"),
            ("valkey://127.0.0.1", "redis://127.0.0.1:6379/0"),
            ("valkeys://valkey.internal", "rediss://valkey.internal:6379/0"),
            ("valkey+unix:/run/valkey.sock", "redis+unix:/run/valkey.sock?db=0"),
        ] {
            let address = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(address.to_string(), shown, "{url}");
        }
    }

    #[test]
    fn what_cannot_work_says_why_and_never_shows_the_password() {
        for url in [
            "http://u:hunter2@127.0.0.1",
            "127.0.0.1:6379",
            "",
            "redis:127.0.0.1",
            "unix:/run/redis.sock",
            "redis://u:hunter2@",
            "redis://u:hunter2@127.0.0.1:x",
            "redis://u:hunter2@127.0.0.1:0",
            "redis://u:hunter2@127.0.0.1/x",
            "redis://u:hunter2@127.0.0.1/-1",
            "redis://u:hunter2@127.0.0.1/70000",
            "redis://u:hunter2@0.0.0.0",
            "redis://u:hunter2@a,b",
            "redis://u:hunt#er2@127.0.0.1",
            "rediss://u:hunter2@127.0.0.1/#insecure",
            "redis://gateway@127.0.0.1",
        ] {
            let error = parse(url).expect_err(url).to_string();
            assert!(!error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_stands_in_one_place_and_is_shown_in_none() {
        let beside = |url: &str| StoreAddress::parse(&Secret::new(url), Some(&Secret::new("hunter3")), None);
        let address = beside("redis://gateway@127.0.0.1").expect("a user and a password");
        let shown = format!("{address:?} {address}");
        assert!(!shown.contains("hunter") && !shown.contains("gateway"), "{shown}");
        assert_eq!(address.client.get_connection_info().redis_settings().password(), Some("hunter3"));
        for url in ["redis://gateway:hunter2@127.0.0.1", "redis+unix:/run/redis.sock?pass=hunter2"] {
            assert_eq!(beside(url).expect_err(url), AddressError::TwoPasswords);
        }
    }

    #[test]
    fn a_certificate_authority_needs_tls_and_must_be_one() {
        let with = |url: &str| StoreAddress::parse(&Secret::new(url), None, Some(b"no PEM"));
        assert!(matches!(with("redis://127.0.0.1"), Err(AddressError::Authorities(_))));
        assert_eq!(with("rediss://127.0.0.1").expect_err("no PEM"), NO_AUTHORITIES);
    }
}
