//! Where a Redis or Valkey server is and who logs in to it: read once, so that no store starts with an address that cannot
//! work.
//!
//! Opens no connection. Never shows a user or a password, which the URL may hold.

mod cluster;
mod form;
mod manner;
mod node;
mod sentinels;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use redis::{ConnectionAddr, ConnectionInfo, TlsCertificates};

pub(crate) use self::cluster::ClusterNodes;
pub use self::form::{AddressError, SentinelLogin};
pub(crate) use self::node::Node;
pub(crate) use self::sentinels::Sentinels;

use self::form::{NO_AUTHORITIES, connection_info, credentials, demand_certificates, demand_plain, reason};
use self::sentinels::Beside as BesideSentinels;
use crate::secret::Secret;

/// What stands beside a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// A password that is kept apart from it.
    pub password: Option<Secret>,
    /// The certificate authorities (PEM) to trust instead of the system's.
    pub authorities: Option<Vec<u8>>,
    /// How Sentinels are spoken to.
    pub sentinel: Option<SentinelLogin>,
    /// Where servers are reached that call themselves something else, by `host:port`.
    pub addresses: BTreeMap<String, String>,
    /// Whether no server is used that its replicas do not vouch for; `None`: it is not said.
    pub strict_failover: Option<bool>,
}

/// One server, those who know which one it is, or some of those that are a cluster.
#[derive(Clone)]
pub(crate) enum Place {
    Server(Arc<redis::Client>),
    Sentinels(Arc<Sentinels>),
    Cluster(Arc<ClusterNodes>),
}

/// Where a server is, or who says it; who logs in to it, and whose certificates are believed.
#[derive(Clone)]
pub struct StoreAddress {
    url: Secret,
    /// Behind a pointer: it is large, and a configuration has an address or none.
    beside: Arc<Beside>,
    place: Place,
}

impl StoreAddress {
    /// Takes a URL (`redis://`, `rediss://`, `redis+unix:`, the `valkey` forms of these), a password kept apart from it,
    /// and the certificate authorities (PEM) to trust instead of the system's.
    ///
    /// # Errors
    /// When no server could be reached with it.
    pub fn parse(url: &Secret, password: Option<&Secret>, authorities: Option<&[u8]>) -> Result<Self, AddressError> {
        let (password, authorities) = (password.cloned(), authorities.map(Into::into));
        Self::with(url, Beside { password, authorities, ..Beside::default() })
    }

    /// The same, and what Sentinels need beside it (`sentinel:[…]/name`, `redis+sentinel://`, `redis-sentinel://`, the
    /// forms of these with TLS), or a cluster (`cluster:[…]`, `redis+cluster://` and so on).
    ///
    /// # Errors
    /// When no server could be reached with it.
    pub fn with(url: &Secret, beside: Beside) -> Result<Self, AddressError> {
        let text = url.expose_secret();
        demand_plain(text)?;
        let password = beside.password.as_ref().map(Secret::expose_secret);
        let authorities = beside.authorities.as_deref();
        let place = if Sentinels::are_named_by(text) {
            let addresses = addresses(&beside.addresses)?;
            let (sentinel, strict) = (beside.sentinel.as_ref(), beside.strict_failover.unwrap_or(false));
            let parts = BesideSentinels { password, authorities, sentinel, addresses, strict };
            Place::Sentinels(Arc::new(Sentinels::parse(text, parts)?))
        } else if ClusterNodes::are_named_by(text) {
            beside.demand_no_sentinels()?;
            let addresses = addresses(&beside.addresses)?;
            Place::Cluster(Arc::new(ClusterNodes::parse(text, password, authorities, addresses)?))
        } else {
            beside.demand_no_sentinels()?;
            if !beside.addresses.is_empty() {
                return Err(AddressError::Addresses(
                    "belongs to a `sentinel:` or a `cluster:` address in `store.redis`; remove it",
                ));
            }
            let info = credentials(connection_info(text)?, password)?;
            Place::Server(Arc::new(client(info, authorities)?))
        };
        Ok(Self { url: url.clone(), beside: Arc::new(beside), place })
    }

    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Whether Sentinels say which server it is.
    #[must_use]
    pub const fn has_sentinels(&self) -> bool {
        matches!(self.place, Place::Sentinels(_))
    }

    /// The URL and the passwords, as they were written. The name is long so that each use is noticed in review.
    #[must_use]
    pub fn expose_secret(&self) -> [&str; 2] {
        [self.url.expose_secret(), self.beside.password.as_ref().map_or("", Secret::expose_secret)]
    }
}

impl Beside {
    fn demand_no_sentinels(&self) -> Result<(), AddressError> {
        const NEEDS: &str = "belongs to a `sentinel:` address in `store.redis`; remove it";
        if self.sentinel.is_some() {
            return Err(AddressError::Sentinel(NEEDS));
        }
        if self.strict_failover.is_some() {
            return Err(AddressError::StrictFailover(NEEDS));
        }
        Ok(())
    }
}

fn addresses(written: &BTreeMap<String, String>) -> Result<BTreeMap<Node, Node>, AddressError> {
    const WRONG: AddressError = AddressError::Addresses(
        "has an entry that is not a host and a port on both sides; write it as \"10.0.0.5:6379\" = \"redis-1.internal:6379\"",
    );
    let node = |text: &str| Node::parse(text, None).ok_or(WRONG);
    written.iter().map(|(from, to)| Ok((node(from)?, node(to)?))).collect()
}

impl PartialEq for StoreAddress {
    fn eq(&self, other: &Self) -> bool {
        (&self.url, &self.beside) == (&other.url, &other.beside)
    }
}

impl Eq for StoreAddress {}

/// Without user and password, for people.
impl fmt::Display for StoreAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = match &self.place {
            Place::Server(client) => client,
            Place::Sentinels(sentinels) => return sentinels.fmt(formatter),
            Place::Cluster(nodes) => return nodes.fmt(formatter),
        };
        let info = client.get_connection_info();
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

fn client(info: ConnectionInfo, authorities: Option<&[u8]>) -> Result<redis::Client, AddressError> {
    let Some(authorities) = authorities else {
        return redis::Client::open(info).map_err(|error| reason(&error));
    };
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Err(AddressError::Authorities("is of no use without a `rediss://` address; write one, or remove it"));
    }
    demand_certificates(authorities)?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(authorities.to_vec()) };
    redis::Client::build_with_tls(info, certificates).map_err(|_| NO_AUTHORITIES)
}

#[cfg(test)]
mod tests;
