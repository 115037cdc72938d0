//! The name of one server: a host and a port, as they are written and as servers say them of each other.

use std::fmt;
use std::net::Ipv6Addr;

/// Longer ones are no name (RFC 1035, section 2.3.4).
const LONGEST_HOST: usize = 253;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Node {
    host: Box<str>,
    port: u16,
}

impl Node {
    /// What is written as `host`, `host:port` or `[address]:port`, or as an IPv6 address alone.
    pub(crate) fn parse(text: &str, default_port: Option<u16>) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
            }
            None if text.parse::<Ipv6Addr>().is_ok() => (text, None),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        match port {
            Some(port) => Self::of(host, port),
            None => Self::new(host, default_port?),
        }
    }

    /// A host and a port apart, as servers say them.
    pub(crate) fn of(host: &str, port: &str) -> Option<Self> {
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        Self::new(host, digits.then(|| port.parse().ok())??)
    }

    pub(crate) fn new(host: &str, port: u16) -> Option<Self> {
        (is_host(host) && port != 0).then(|| Self { host: host.into(), port })
    }

    pub(crate) const fn host(&self) -> &str {
        &self.host
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }
}

/// Whether it is a name or an address, by its letters.
pub(super) fn is_host(host: &str) -> bool {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let fits = !host.is_empty() && host.len() <= LONGEST_HOST;
    fits && (host.bytes().all(named) || host.parse::<Ipv6Addr>().is_ok())
}

impl fmt::Display for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(formatter, "[{host}]:{port}") } else { write!(formatter, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_read_as_it_is_shown() {
        for (text, shown) in [
            ("redis.internal:6380", "redis.internal:6380"),
            ("redis_1", "redis_1:26379"),
            ("10.0.0.5", "10.0.0.5:26379"),
            ("[::1]:7000", "[::1]:7000"),
            ("[::1]", "[::1]:26379"),
            ("fe80::1", "[fe80::1]:26379"),
        ] {
            let node = Node::parse(text, Some(26379)).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(node.to_string(), shown);
            assert_eq!(Node::parse(shown, None), Some(node));
        }
    }

    #[test]
    fn what_is_no_node_is_refused() {
        let long = "a".repeat(LONGEST_HOST + 1);
        for text in
            ["", "?", ":6379", "a:", "a:x", "a:0", "a:65536", "a:+1", "a:6379:1", "a b:1", "[::1", "[]:1", "[a", &long]
        {
            assert_eq!(Node::parse(text, Some(26379)), None, "{text}");
        }
        assert_eq!(Node::parse("a", None), None, "a port is missing");
    }
}
