//! Whom a client's address stands for: what is counted by client is counted by this, everywhere, so that one limit is not
//! another's way round.
//!
//! A provider gives a customer an IPv6 network of 64 bits or more (RFC 6177), and its hosts choose the rest at will (RFC
//! 8981): counted by address, one client would be as many as it likes. It is a key alone. Rules that an operator
//! writes for addresses (`server.trusted_proxies`) and what is told of a client are about addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpAddr);

impl Network {
    /// The network that stands for it; for an IPv6 network its lowest address.
    #[must_use]
    pub const fn first_address(self) -> IpAddr {
        self.0
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            address => address,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(formatter),
            IpAddr::V6(address) => write!(formatter, "{address}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_one_client_has_at_will_are_one_network_however_they_are_written() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("2001:db8:0:1::", "2001:db8:0:1:ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
            ("::1", "::", true),
        ] {
            let network = |text: &str| Network::from(text.parse::<IpAddr>().expect("an address"));
            assert_eq!(network(one) == network(other), same, "{one} {other}");
        }
    }

    #[test]
    fn it_is_written_as_what_it_is() {
        for (address, text) in
            [("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8:0:1::7", "2001:db8:0:1::/64"), ("::1", "::/64")]
        {
            assert_eq!(Network::from(address.parse::<IpAddr>().expect("an address")).to_string(), text);
        }
    }
}
