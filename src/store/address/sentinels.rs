//! Where the Sentinels are that name a master, and how they and what they name are spoken to.
//!
//! Opens no connection. The Sentinels' login and TLS are said by themselves, in `store.sentinel`: what is meant for the
//! servers is never sent to them.

use std::collections::BTreeMap;
use std::fmt;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionInfo, IntoConnectionInfo as _};

use super::form::{AddressError, SentinelLogin, connection_info, credentials, demand_certificates, protocol, reason};
use super::manner::{Manner, login_of};
use super::node::Node;

/// Where a Sentinel listens if nobody says otherwise.
const PORT: u16 = 26379;
/// The most that may be named.
const MOST: usize = 32;

/// What addresses begin with that list Sentinels and then the name: with TLS to the servers, or without.
const LISTED: [(&str, bool); 4] = [
    ("redis+sentinel://", false),
    ("rediss+sentinel://", true),
    ("valkey+sentinel://", false),
    ("valkeys+sentinel://", true),
];
/// The same with the name in the query, as Lettuce writes it.
const QUERIED: [(&str, bool); 4] = [
    ("redis-sentinel://", false),
    ("rediss-sentinel://", true),
    ("valkey-sentinel://", false),
    ("valkeys-sentinel://", true),
];

const NO_NAME: AddressError = AddressError::Url(
    "does not say what the Sentinels call the master; write it as \"redis+sentinel://s1:26379,s2:26379/mymaster/0\"",
);
const NO_SENTINELS: AddressError =
    AddressError::Url("names no Sentinels; write them as \"redis+sentinel://s1:26379,s2:26379/mymaster/0\"");
const UNKNOWN_QUERY: AddressError =
    AddressError::Url("has a query that is not understood; write `?sentinelMasterId=mymaster` and nothing else");

/// The Sentinels, and what they know.
pub(crate) struct Sentinels {
    seeds: Vec<Node>,
    name: Box<str>,
    servers: Manner,
    sentinels: Manner,
    addresses: BTreeMap<Node, Node>,
    strict: bool,
}

/// What stands beside the URL.
pub(super) struct Beside<'a> {
    pub(super) password: Option<&'a str>,
    pub(super) authorities: Option<&'a [u8]>,
    pub(super) sentinel: Option<&'a SentinelLogin>,
    pub(super) addresses: BTreeMap<Node, Node>,
    pub(super) strict: bool,
}

/// The parts of a URL.
struct Written<'a> {
    tls: bool,
    /// User and password, with the `@`.
    login: &'a str,
    nodes: &'a str,
    name: &'a str,
    database: &'a str,
}

impl Sentinels {
    /// Whether a URL names Sentinels.
    pub(super) fn are_named_by(url: &str) -> bool {
        url.starts_with("sentinel:") || LISTED.iter().chain(&QUERIED).any(|(scheme, _)| url.starts_with(scheme))
    }

    pub(super) fn parse(url: &str, beside: Beside<'_>) -> Result<Self, AddressError> {
        let Written { tls, login, nodes, name, database } = written(url)?;
        let seeds = nodes.split(',').map(|node| Node::parse(node, Some(PORT)).ok_or(NO_SENTINELS));
        let seeds = seeds.collect::<Result<Vec<_>, _>>()?;
        let fits = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if name.is_empty() || !fits(name) {
            return Err(NO_NAME);
        }
        let first = seeds.first().filter(|_| seeds.len() <= MOST).ok_or(NO_SENTINELS)?;
        let info = connection_info(&format!("redis://{login}{first}/{database}"))?;
        let servers = Manner { info: credentials(info, beside.password)?, tls, authorities: None };
        let own = beside.sentinel;
        // What is said to a Sentinel in the clear could be answered by anybody: nobody is to choose that unaware.
        let sentinel_tls = match own.and_then(|own| own.tls) {
            Some(tls) => tls,
            None if tls => {
                return Err(AddressError::Sentinel(
                    "does not say whether the Sentinels speak TLS, too; add `tls = true`, or `tls = false`",
                ));
            }
            None => false,
        };
        let sentinels = Manner { info: own_info(first, own)?, tls: sentinel_tls, authorities: None };
        let mut parsed =
            Self { name: name.into(), servers, sentinels, addresses: beside.addresses, strict: beside.strict, seeds };
        if let Some(authorities) = beside.authorities {
            if !tls && !sentinel_tls {
                return Err(AddressError::Authorities(
                    "is of no use without TLS; write `rediss+sentinel://` or `store.sentinel.tls = true`, or remove it",
                ));
            }
            demand_certificates(authorities)?;
            parsed.servers.authorities = Some(authorities.into());
            parsed.sentinels.authorities = Some(authorities.into());
        }
        // What cannot be made now never can.
        let first = &parsed.seeds[..1];
        for node in first {
            parsed.server(node)?;
            parsed.sentinel(node)?;
        }
        Ok(parsed)
    }

    /// Those that were configured.
    pub(crate) fn seeds(&self) -> &[Node] {
        &self.seeds
    }

    /// What they call the master.
    pub(crate) const fn name(&self) -> &str {
        &self.name
    }

    /// Whether a server is used that nobody vouches for but the Sentinels.
    pub(crate) const fn is_strict(&self) -> bool {
        self.strict
    }

    /// A client of a server that is called this.
    pub(crate) fn server(&self, node: &Node) -> Result<redis::Client, AddressError> {
        self.servers.client_at(self.reached_at(node))
    }

    /// A client of a Sentinel that is called this.
    pub(crate) fn sentinel(&self, node: &Node) -> Result<redis::Client, AddressError> {
        self.sentinels.client_at(self.reached_at(node))
    }

    fn reached_at<'a>(&'a self, node: &'a Node) -> &'a Node {
        self.addresses.get(node).unwrap_or(node)
    }
}

/// Without user and password, for people.
impl fmt::Display for Sentinels {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.servers.tls { "rediss" } else { "redis" };
        let seeds: Vec<String> = self.seeds.iter().map(Node::to_string).collect();
        let database = self.servers.info.redis_settings().db();
        write!(formatter, "{scheme}+sentinel://{}/{}/{database}", seeds.join(","), self.name)
    }
}

fn own_info(any: &Node, own: Option<&SentinelLogin>) -> Result<ConnectionInfo, AddressError> {
    let info = format!("redis://{any}").into_connection_info().map_err(|error| reason(&error))?;
    let mut login = protocol(info.redis_settings().clone());
    if let Some(SentinelLogin { user, password, .. }) = own {
        if user.is_some() && password.is_none() {
            return Err(AddressError::Sentinel("has a user and no password; add `password_file`"));
        }
        if let Some(user) = user {
            login = login.set_username(user);
        }
        if let Some(password) = password {
            login = login.set_password(password.expose_secret());
        }
    }
    Ok(info.set_redis_settings(login).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

fn written(url: &str) -> Result<Written<'_>, AddressError> {
    if let Some(rest) = url.strip_prefix("sentinel:") {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (login, rest) = match rest.find("@[") {
            Some(at) => rest.split_at(at + 1),
            None => ("", rest),
        };
        let (nodes, rest) = rest.strip_prefix('[').and_then(|rest| rest.rsplit_once("]/")).ok_or(NO_SENTINELS)?;
        let (name, database) = rest.split_once('/').unwrap_or((rest, "0"));
        return Ok(Written { tls: false, login, nodes, name, database: or_first(database) });
    }
    for (scheme, tls) in LISTED {
        let Some(rest) = url.strip_prefix(scheme) else { continue };
        let (login, rest) = login_of(rest);
        let (nodes, rest) = rest.split_once('/').ok_or(NO_NAME)?;
        let (name, database) = rest.split_once('/').unwrap_or((rest, "0"));
        return Ok(Written { tls, login, nodes, name, database: or_first(database) });
    }
    for (scheme, tls) in QUERIED {
        let Some(rest) = url.strip_prefix(scheme) else { continue };
        let (rest, query) = rest.split_once('?').ok_or(NO_NAME)?;
        let name = query.strip_prefix("sentinelMasterId=").ok_or(UNKNOWN_QUERY)?;
        if name.contains('&') {
            return Err(UNKNOWN_QUERY);
        }
        let (login, rest) = login_of(rest);
        let (nodes, database) = rest.split_once('/').unwrap_or((rest, "0"));
        return Ok(Written { tls, login, nodes, name, database: or_first(database) });
    }
    Err(NO_SENTINELS)
}

const fn or_first(database: &str) -> &str {
    if database.is_empty() { "0" } else { database }
}
