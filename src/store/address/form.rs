//! How the URL of a store is read, whichever form it has, and why it cannot be used.

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::node::is_host;
use crate::secret::Secret;

/// What addresses of sockets begin with.
const UNIX: [&str; 2] = ["redis+unix:", "valkey+unix:"];
/// What other addresses begin with.
const TCP: [&str; 4] = ["redis://", "rediss://", "valkey://", "valkeys://"];

const NO_HOST: AddressError = AddressError::Url("has no valid host and port; write it as \"redis://127.0.0.1:6379/0\"");
const NO_DATABASE: AddressError = AddressError::Url("has a path that is not a database's number; end it with `/0`");
pub(super) const NO_AUTHORITIES: AddressError = AddressError::Authorities("is not a PEM file of certificates");

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
    /// How Sentinels are spoken to.
    #[error("{0}")]
    Sentinel(&'static str),
    /// Where servers are reached that call themselves something else.
    #[error("{0}")]
    Addresses(&'static str),
    /// Which proof of a master counts.
    #[error("{0}")]
    StrictFailover(&'static str),
}

/// Who logs in to Sentinels, and whether they speak TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentinelLogin {
    /// The user; `None`: the default one.
    pub user: Option<String>,
    /// The password; `None`: they ask for none.
    pub password: Option<Secret>,
    /// Whether they speak TLS; `None`: it is not said.
    pub tls: Option<bool>,
}

/// With the password that stands apart, where one does.
pub(super) fn credentials(info: ConnectionInfo, password: Option<&str>) -> Result<ConnectionInfo, AddressError> {
    let mut login = protocol(info.redis_settings().clone());
    if let Some(password) = password {
        if login.password().is_some() {
            return Err(AddressError::TwoPasswords);
        }
        login = login.set_password(password);
    }
    if login.username().is_some() && login.password().is_none() {
        return Err(AddressError::UserWithoutPassword);
    }
    Ok(info.set_redis_settings(login).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// Its driver tells at once when the connection is lost.
pub(super) fn protocol(login: RedisConnectionInfo) -> RedisConnectionInfo {
    login.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name()
}

/// Characters that no form has.
pub(super) fn demand_plain(url: &str) -> Result<(), AddressError> {
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(AddressError::Url("has a space or a character outside ASCII; write it percent-encoded"));
    }
    // Or an attempt to turn certificate checks off.
    if url.contains('#') {
        return Err(AddressError::Url("has a `#`; write it as `%23` in a password, else remove it"));
    }
    Ok(())
}

pub(super) fn connection_info(url: &str) -> Result<ConnectionInfo, AddressError> {
    if let Some(path) = UNIX.iter().find_map(|scheme| url.strip_prefix(scheme)) {
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') || path.split('?').next().is_none_or(|file| file.len() < 2) {
            return Err(AddressError::Url("names no socket; write it as \"redis+unix:///run/redis.sock\""));
        }
    } else if !TCP.iter().any(|scheme| url.starts_with(scheme)) {
        return Err(AddressError::Url(
            "is not a store's address; start it with `redis://`, `rediss://`, `redis+unix:`, `sentinel:` or `cluster:`",
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

/// What the library says, in words that cannot hold a part of the URL.
pub(super) fn reason(error: &redis::RedisError) -> AddressError {
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

/// The client would take a file without any, and then trust nobody.
pub(super) fn demand_certificates(authorities: &[u8]) -> Result<(), AddressError> {
    let mut certificates = CertificateDer::pem_slice_iter(authorities).peekable();
    if certificates.peek().is_none() || !certificates.all(|certificate| certificate.is_ok()) {
        return Err(NO_AUTHORITIES);
    }
    Ok(())
}
