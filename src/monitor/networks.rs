//! From which networks a login comes, from the narrowest on.
//!
//! A provider gives a customer an IPv6 network of 64 bits, or one of 56 or 48 of which the customer has hundreds or
//! thousands of narrower ones at will: with a limit for the narrowest alone, each would be a new client.

use std::net::{IpAddr, Ipv6Addr};

use sha2::{Digest as _, Sha256};
use smallvec::{SmallVec, smallvec};

/// A network that a client may have for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetworkRange {
    first: IpAddr,
    bits: u8,
    /// By how much its limits are those of the narrowest.
    times: u32,
}

impl NetworkRange {
    /// By how much its limits are those of the narrowest.
    #[must_use]
    pub const fn times(self) -> u32 {
        self.times
    }

    /// What it stands as among many, in eight bytes.
    #[must_use]
    pub fn short(self) -> u64 {
        let hash: [u8; 32] = Sha256::digest(self.to_string()).into();
        hash.first_chunk().copied().map_or(0, u64::from_be_bytes)
    }
}

impl std::fmt::Display for NetworkRange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.first {
            IpAddr::V4(address) => address.fmt(formatter),
            IpAddr::V6(address) => write!(formatter, "{address}/{}", self.bits),
        }
    }
}

/// The networks of an address, the narrowest first.
#[must_use]
pub fn ranges_of(address: IpAddr) -> SmallVec<[NetworkRange; 3]> {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => smallvec![NetworkRange { first: address, bits: 32, times: 1 }],
        IpAddr::V6(address) => [(64, 1), (56, 4), (48, 16)].map(|(bits, times)| range(address, bits, times)).into(),
    }
}

fn range(address: Ipv6Addr, bits: u8, times: u32) -> NetworkRange {
    let first = Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - u32::from(bits))));
    NetworkRange { first: IpAddr::V6(first), bits, times }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_its_network_and_of_the_wider_ones_that_a_customer_may_have() {
        for (address, networks) in [
            ("192.0.2.1", &["192.0.2.1"][..]),
            ("::ffff:192.0.2.1", &["192.0.2.1"]),
            ("2001:db8:1:2fe::7", &["2001:db8:1:2fe::/64", "2001:db8:1:200::/56", "2001:db8:1::/48"]),
        ] {
            let ranges = ranges_of(address.parse().expect("an address"));
            assert_eq!(ranges.iter().map(ToString::to_string).collect::<Vec<_>>(), networks);
        }
        assert_eq!(
            ranges_of(Ipv6Addr::LOCALHOST.into()).iter().map(|range| range.times()).collect::<Vec<_>>(),
            [1, 4, 16]
        );
    }
}
