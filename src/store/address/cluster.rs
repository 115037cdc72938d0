//! Where the nodes of a cluster are that are asked for the others, and how all of them are spoken to.
//!
//! Opens no connection.

use std::collections::BTreeMap;
use std::fmt;

use super::form::{AddressError, connection_info, credentials, demand_certificates};
use super::manner::{Manner, login_of};
use super::node::Node;

/// Where a node listens if nobody says otherwise.
const PORT: u16 = 6379;
/// The most that may be named.
const MOST: usize = 64;

/// What addresses begin with: with TLS, or without.
const SCHEMES: [(&str, bool); 8] = [
    ("redis+cluster://", false),
    ("rediss+cluster://", true),
    ("redis-cluster://", false),
    ("rediss-cluster://", true),
    ("valkey+cluster://", false),
    ("valkeys+cluster://", true),
    ("valkey-cluster://", false),
    ("valkeys-cluster://", true),
];

const NO_NODES: AddressError =
    AddressError::Url("names no nodes of a cluster; write them as \"redis+cluster://n1:6379,n2:6379\"");
const DATABASE: AddressError = AddressError::Url("has a path; a cluster has no database but 0, remove it");

/// Some nodes of a cluster.
pub(crate) struct ClusterNodes {
    seeds: Vec<Node>,
    servers: Manner,
    addresses: BTreeMap<Node, Node>,
}

impl ClusterNodes {
    /// Whether a URL names nodes of a cluster.
    pub(super) fn are_named_by(url: &str) -> bool {
        url.starts_with("cluster:") || SCHEMES.iter().any(|(scheme, _)| url.starts_with(scheme))
    }

    pub(super) fn parse(
        url: &str,
        password: Option<&str>,
        authorities: Option<&[u8]>,
        addresses: BTreeMap<Node, Node>,
    ) -> Result<Self, AddressError> {
        let (tls, login, nodes) = written(url)?;
        let seeds = nodes.split(',').map(|node| Node::parse(node, Some(PORT)).ok_or(NO_NODES));
        let seeds = seeds.collect::<Result<Vec<_>, _>>()?;
        let first = seeds.first().filter(|_| seeds.len() <= MOST).ok_or(NO_NODES)?;
        let info = connection_info(&format!("redis://{login}{first}/0"))?;
        let mut servers = Manner { info: credentials(info, password)?, tls, authorities: None };
        if let Some(authorities) = authorities {
            if !tls {
                return Err(AddressError::Authorities(
                    "is of no use without TLS; write `rediss+cluster://`, or remove it",
                ));
            }
            demand_certificates(authorities)?;
            servers.authorities = Some(authorities.into());
        }
        // What cannot be made now never can.
        servers.client_at(first)?;
        Ok(Self { seeds, servers, addresses })
    }

    /// Those that were configured.
    pub(crate) fn seeds(&self) -> &[Node] {
        &self.seeds
    }

    /// A client of a node that is called this.
    pub(crate) fn server(&self, node: &Node) -> Result<redis::Client, AddressError> {
        self.servers.client_at(self.addresses.get(node).unwrap_or(node))
    }
}

/// Without user and password, for people.
impl fmt::Display for ClusterNodes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.servers.tls { "rediss" } else { "redis" };
        let seeds: Vec<String> = self.seeds.iter().map(Node::to_string).collect();
        write!(formatter, "{scheme}+cluster://{}", seeds.join(","))
    }
}

/// Whether it is with TLS, who logs in, and the nodes.
fn written(url: &str) -> Result<(bool, &str, &str), AddressError> {
    if let Some(rest) = url.strip_prefix("cluster:") {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (login, rest) = rest.find("@[").map_or(("", rest), |at| rest.split_at(at + 1));
        let (nodes, path) = rest.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')).ok_or(NO_NODES)?;
        return if matches!(path, "" | "/" | "/0") { Ok((false, login, nodes)) } else { Err(DATABASE) };
    }
    let mut schemes = SCHEMES.into_iter();
    let found = schemes.find_map(|(scheme, tls)| Some((tls, url.strip_prefix(scheme)?)));
    let (tls, rest) = found.ok_or(NO_NODES)?;
    let (login, rest) = login_of(rest);
    let (nodes, database) = rest.split_once('/').unwrap_or((rest, ""));
    if matches!(database, "" | "0") { Ok((tls, login, nodes)) } else { Err(DATABASE) }
}
