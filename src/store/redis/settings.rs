//! Which Redis, as whom: parsed once, so that a store never starts with an address that cannot work.

use std::fmt;
use std::sync::Arc;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, TlsCertificates};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::clock::SharedClock;
use crate::entropy::{Entropy, EntropyError};
use crate::secret::Secret;
use crate::store::journal::Journal;

/// Why the settings of a Redis store cannot be used. Never shows the URL, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The URL starts with something else.
    #[error("the URL must start with redis://, rediss:// or redis+unix:")]
    Scheme,
    /// The URL has a fragment: an unescaped `#` in the password, or an attempt to turn certificate checks off.
    #[error("the URL has a `#`: write it as %23 in a password; certificates are always checked")]
    Fragment,
    /// The URL does not parse.
    #[error("the URL cannot be read: {0}")]
    Url(&'static str),
    /// A user without a password.
    #[error("the URL names a user but there is no password: put it into the URL or into a password file")]
    UserWithoutPassword,
    /// The certificate authority is not PEM, or is given for a connection without TLS.
    #[error("{0}")]
    Authority(&'static str),
}

/// Where a Redis is and how to log in to it.
#[derive(Clone)]
pub struct RedisSettings {
    pub(super) client: redis::Client,
    pub(super) prefix: String,
    pub(super) journal: Option<Arc<Journal>>,
    pub(super) cache: Option<CacheSettings>,
}

/// What a cache needs.
#[derive(Clone)]
pub(super) struct CacheSettings {
    pub(super) entries: usize,
    pub(super) clock: SharedClock,
    /// Another one for each instance.
    pub(super) instance: String,
    pub(super) warn: SharedWarn,
}

/// Is told of what keeps the cache from working, or that nothing does (`None`).
pub type SharedWarn = Arc<dyn Fn(Option<String>) + Send + Sync>;

impl RedisSettings {
    /// Takes a URL (`redis://`, `rediss://`, `redis+unix:`, the `valkey` forms of these), a password kept apart from
    /// it (which wins), the prefix of all keys, and the certificate authorities (PEM) to trust instead of the
    /// system's.
    ///
    /// # Errors
    /// When no server could be reached with it.
    pub fn new(
        url: &Secret,
        password: Option<&Secret>,
        prefix: &str,
        authorities: Option<&[u8]>,
    ) -> Result<Self, SettingsError> {
        let url = url.expose_secret();
        if redis::parse_redis_url(url).is_none() {
            let known = ["redis:", "rediss:", "valkey:", "valkeys:", "redis+unix:", "valkey+unix:", "unix:"];
            let known = known.iter().any(|scheme| url.starts_with(scheme));
            return Err(if known { SettingsError::Url("it is not a URL") } else { SettingsError::Scheme });
        }
        if url.contains('#') {
            return Err(SettingsError::Fragment);
        }
        let info = url.into_connection_info().map_err(|error| SettingsError::Url(reason(&error)))?;
        let mut login = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3) // its driver tells at once when the connection is lost
            .set_skip_set_lib_name();
        if login.db() < 0 {
            return Err(SettingsError::Url("the database number is negative"));
        }
        if let Some(password) = password {
            login = login.set_password(password.expose_secret());
        }
        if login.username().is_some() && login.password().is_none() {
            return Err(SettingsError::UserWithoutPassword);
        }
        let info = info.set_redis_settings(login).set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = client(info, authorities)?;
        Ok(Self { client, prefix: prefix.to_owned(), journal: None, cache: None })
    }

    /// Keeps what is ended in a journal, and applies it to a server that may have lost it.
    #[must_use]
    pub fn with_journal(self, journal: Arc<Journal>) -> Self {
        Self { journal: Some(journal), ..self }
    }

    /// Keeps what is known of so many sessions at most, for as long as the server tells of changes.
    ///
    /// # Errors
    /// When the operating system has no randomness for the instance's name.
    pub fn with_cache(
        self,
        entries: usize,
        clock: SharedClock,
        entropy: &dyn Entropy,
        warn: SharedWarn,
    ) -> Result<Self, EntropyError> {
        let mut bytes = [0_u8; 8];
        entropy.fill(&mut bytes)?;
        let instance = format!("{:016x}", u64::from_be_bytes(bytes));
        Ok(Self { cache: Some(CacheSettings { entries, clock, instance, warn }), ..self })
    }

    /// The address without user and password, for the log.
    #[must_use]
    pub fn address(&self) -> String {
        let info = self.client.get_connection_info();
        let database = info.redis_settings().db();
        match info.addr() {
            ConnectionAddr::Tcp(host, port) => format!("redis://{}:{port}/{database}", bracketed(host)),
            ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{}:{port}/{database}", bracketed(host)),
            ConnectionAddr::Unix(path) => format!("redis+unix:{}?db={database}", path.display()),
            _ => String::from("redis"),
        }
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address();
        formatter.debug_struct("RedisSettings").field("address", &address).field("prefix", &self.prefix).finish()
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn client(info: ConnectionInfo, authorities: Option<&[u8]>) -> Result<redis::Client, SettingsError> {
    let Some(authorities) = authorities else {
        return redis::Client::open(info).map_err(|error| SettingsError::Url(reason(&error)));
    };
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Err(SettingsError::Authority("a certificate authority is given, but the URL is not rediss://"));
    }
    let wrong = SettingsError::Authority("the certificate authority is not a PEM file of certificates");
    // The client would take a file without any, and then trust nobody.
    let mut certificates = CertificateDer::pem_slice_iter(authorities).peekable();
    if certificates.peek().is_none() || !certificates.all(|certificate| certificate.is_ok()) {
        return Err(wrong);
    }
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(authorities.to_vec()) };
    redis::Client::build_with_tls(info, certificates).map_err(|_| wrong)
}

/// What the parser says, in words that cannot hold a part of the URL.
fn reason(error: &redis::RedisError) -> &'static str {
    let text = error.to_string();
    ["Missing hostname", "Invalid database number", "wildcard address", "Missing path", "Invalid protocol version"]
        .into_iter()
        .find(|known| text.contains(known))
        .unwrap_or("it has a part that is not understood")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<RedisSettings, SettingsError> {
        RedisSettings::new(&Secret::new(url), None, "sg:", None)
    }

    #[test]
    fn every_promised_form_is_understood() {
        for (url, address) in [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("redis://redis.internal", "redis://redis.internal:6379/0"),
            ("redis://gateway:pa%23ss@[::1]:7000/3", "redis://[::1]:7000/3"),
            ("rediss://:secret@redis.internal:6380/1", "rediss://redis.internal:6380/1"),
            ("redis+unix:/run/redis.sock", "redis+unix:/run/redis.sock?db=0"),
            ("redis+unix:///run/redis.sock?db=2&user=gateway&pass=secret", "redis+unix:/run/redis.sock?db=2"),
            ("valkey://127.0.0.1", "redis://127.0.0.1:6379/0"),
        ] {
            let settings = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!(settings.address(), address, "{url}");
        }
    }

    #[test]
    fn what_cannot_work_says_why_and_never_shows_the_password() {
        for url in [
            "http://u:hunter2@127.0.0.1",
            "127.0.0.1:6379",
            "",
            "redis://u:hunter2@",
            "redis://u:hunter2@127.0.0.1:x",
            "redis://u:hunter2@127.0.0.1/x",
            "redis://u:hunter2@127.0.0.1/-1",
            "redis://u:hunter2@0.0.0.0",
            "redis://u:hunt#er2@127.0.0.1",
            "rediss://u:hunter2@127.0.0.1/#insecure",
            "redis://gateway@127.0.0.1",
        ] {
            let error = parse(url).expect_err(url).to_string();
            assert!(!error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn neither_debug_nor_the_address_shows_the_password() {
        let settings = RedisSettings::new(
            &Secret::new("redis://gateway:hunter2@127.0.0.1"),
            Some(&Secret::new("hunter3")),
            "sg:",
            None,
        );
        let settings = settings.expect("a good URL");
        let shown = format!("{settings:?} {}", settings.address());
        assert!(!shown.contains("hunter") && !shown.contains("gateway"), "{shown}");
        assert_eq!(settings.client.get_connection_info().redis_settings().password(), Some("hunter3"));
    }

    #[test]
    fn a_certificate_authority_needs_tls_and_must_be_one() {
        let with = |url: &str| RedisSettings::new(&Secret::new(url), None, "sg:", Some(b"no PEM"));
        assert!(matches!(with("redis://127.0.0.1"), Err(SettingsError::Authority(_))));
        assert!(matches!(with("rediss://127.0.0.1"), Err(SettingsError::Authority(_))));
    }
}
