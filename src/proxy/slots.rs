//! The places that connections take, in all and of one client.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::in_force::ListenerLimits;
use crate::network::Network;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::OpenConnection;

/// How many connections there are, in all and per network.
#[derive(Debug, Default)]
pub struct Slots {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    per_network: HashMap<Network, usize>,
}

pub(super) struct Slot {
    slots: Arc<Slots>,
    network: Network,
    _counted: OpenConnection,
}

impl Slots {
    /// Takes a slot for a connection from `address`; `None` when there is none left.
    pub(super) fn take(slots: &Arc<Self>, address: IpAddr, limits: &ListenerLimits, metrics: &Metrics) -> Option<Slot> {
        let mut taken = slots.taken.lock();
        if taken.in_all >= limits.connections || !taken.take(address, limits) {
            return None;
        }
        taken.in_all += 1;
        drop(taken);
        Some(Slot { slots: slots.clone(), network: address.into(), _counted: metrics.connection_opened() })
    }
}

impl Taken {
    /// Counts a connection from `address`, unless there are too many.
    fn take(&mut self, address: IpAddr, limits: &ListenerLimits) -> bool {
        let exempt = limits.trusted_proxies.iter().any(|network| network.contains(&address));
        let count = self.per_network.entry(address.into()).or_default();
        let fits = exempt || *count < limits.connections_per_address;
        if fits {
            *count += 1;
        }
        fits
    }

    fn give_back(&mut self, network: Network) {
        if let Some(count) = self.per_network.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                self.per_network.remove(&network);
            }
        }
    }
}

impl Slot {
    /// Counts the connection for `address` from now on, which a proxy named as its client's; `false` when that one has
    /// too many.
    pub(super) fn move_to(&mut self, address: IpAddr, limits: &ListenerLimits) -> bool {
        let mut taken = self.slots.taken.lock();
        if !taken.take(address, limits) {
            return false;
        }
        taken.give_back(self.network);
        self.network = address.into();
        true
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.in_all = taken.in_all.saturating_sub(1);
        taken.give_back(self.network);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::ProxyProtocol;
    use crate::http::HeadLimits;
    use crate::proxy::ConnectionTimeouts;

    fn limits(connections: usize, connections_per_address: usize) -> ListenerLimits {
        let second = Duration::from_secs(1);
        ListenerLimits {
            connections,
            connections_per_address,
            trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
            proxy_protocol: ProxyProtocol::Off,
            head: HeadLimits { bytes: 1024, count: 10 },
            tls: None,
            timeouts: ConnectionTimeouts { header: second, keepalive: second, write: second },
        }
    }

    #[test]
    fn the_two_thousand_addresses_of_one_ipv6_network_get_the_connections_of_one_client() {
        let (slots, limits, metrics) = (Arc::new(Slots::default()), limits(2000, 512), Metrics::new());
        let take = |address: IpAddr| Slots::take(&slots, address, &limits, &metrics);
        let address = |network, host: u16| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, host, host]);
        let taken: Vec<Slot> = (0..2000).filter_map(|host| take(address(1, host))).collect();
        assert_eq!(taken.len(), 512);
        let other = take(address(2, 0)).expect("a place for another network");
        let proxied: Vec<Slot> = (0..1000).filter_map(|_| take([10, 0, 0, 1].into())).collect();
        assert_eq!(proxied.len(), 1000, "a trusted proxy is exempt");
        drop((taken, other, proxied));
        let left = slots.taken.lock();
        assert_eq!((left.in_all, left.per_network.len()), (0, 0), "all is given back");
    }
}
