//! The places of connections and exchanges: in all, and of one client.
//!
//! What a client can have under way is bounded by the places of its network, whatever it does with its connections: an
//! exchange that runs to its end although its client is gone holds its connection's place, or one of its own, until then.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::exchange::Downstream;
use super::limits::ListenerLimits;
use crate::network::Network;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::Counted;

/// How many connections and exchanges there are.
#[derive(Debug, Default)]
pub struct Slots {
    taken: Mutex<Taken>,
    /// Exchanges under way; each may hold a connection to a backend.
    exchanges: AtomicUsize,
}

#[derive(Debug, Default)]
struct Taken {
    connections: usize,
    /// Exchanges that run to their end, whoever waits for them.
    detached: usize,
    /// Connections, and what runs in places of its own.
    per_network: HashMap<Network, usize>,
}

/// Who is at the other end of a connection, and its place.
pub(super) struct Client {
    pub(super) downstream: Downstream,
    pub(super) slot: Arc<Slot>,
}

/// A connection's place. It is free again once the connection and all that was lent of it are gone.
pub(super) struct Slot {
    slots: Arc<Slots>,
    network: Network,
    limits: Arc<ListenerLimits>,
    /// An exchange that runs to its end shares the place.
    shared: AtomicBool,
    metrics: Arc<Metrics>,
    _counted: Counted,
}

impl Slots {
    /// Takes a slot for a connection from `address`; `None` when there is none left.
    pub(super) fn take(
        slots: &Arc<Self>,
        address: IpAddr,
        limits: &Arc<ListenerLimits>,
        metrics: &Arc<Metrics>,
    ) -> Option<Slot> {
        let mut taken = slots.taken.lock();
        if taken.connections >= limits.connections || !taken.take(address, limits) {
            return None;
        }
        taken.connections += 1;
        drop(taken);
        Some(Slot {
            slots: slots.clone(),
            network: address.into(),
            limits: limits.clone(),
            shared: AtomicBool::new(false),
            metrics: metrics.clone(),
            _counted: metrics.connection_opened(),
        })
    }
}

impl Taken {
    /// Counts one more of the network of `address`, unless there are too many.
    fn take(&mut self, address: IpAddr, limits: &ListenerLimits) -> bool {
        let exempt = limits.trusted_proxies.iter().any(|network| network.contains(&address));
        let count = self.per_network.entry(address.into()).or_default();
        // There is one at least, so that a network that is refused has others.
        let fits = exempt || *count < limits.connections_per_address;
        *count += usize::from(fits);
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
    pub(super) fn move_to(&mut self, address: IpAddr) -> bool {
        let mut taken = self.slots.taken.lock();
        if !taken.take(address, &self.limits) {
            return false;
        }
        taken.give_back(self.network);
        self.network = address.into();
        true
    }

    /// An exchange begins; whether there is room for it.
    pub(super) fn begin_exchange(&self) -> bool {
        self.slots.exchanges.fetch_add(1, Ordering::Relaxed) < self.limits.exchanges
    }

    /// An exchange that began is over.
    pub(super) fn end_exchange(&self) {
        self.slots.exchanges.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes a place for an exchange that runs to its end, whoever waits for it, and that counts for `client` until then:
    /// the connection's own for the first, another for each beyond. `None` when there is none left.
    pub(super) fn lend(this: &Arc<Self>, client: IpAddr) -> Option<Lent> {
        let network = Network::from(client);
        let mut taken = this.slots.taken.lock();
        if taken.detached >= this.limits.detached {
            return None;
        }
        let shares = network == this.network && !this.shared.load(Ordering::Relaxed);
        if shares {
            this.shared.store(true, Ordering::Relaxed);
        } else if !taken.take(client, &this.limits) {
            return None;
        }
        taken.detached += 1;
        drop(taken);
        let own = (!shares).then_some(network);
        Some(Lent { slot: this.clone(), own, _counted: this.metrics.exchange_detached() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.connections = taken.connections.saturating_sub(1);
        taken.give_back(self.network);
    }
}

/// The place of an exchange that runs to its end.
pub(super) struct Lent {
    slot: Arc<Slot>,
    /// The network for which it counts; `None`: it shares its connection's place.
    own: Option<Network>,
    _counted: Counted,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut taken = self.slot.slots.taken.lock();
        taken.detached = taken.detached.saturating_sub(1);
        match self.own {
            Some(network) => taken.give_back(network),
            None => self.slot.shared.store(false, Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::ProxyProtocol;
    use crate::http::HeadLimits;
    use crate::proxy::ConnectionTimeouts;

    fn limits(connections: usize, connections_per_address: usize) -> Arc<ListenerLimits> {
        let second = Duration::from_secs(1);
        Arc::new(ListenerLimits {
            connections,
            detached: 10,
            exchanges: 5,
            connections_per_address,
            trusted_proxies: vec!["10.0.0.0/8".parse().expect("a network")],
            proxy_protocol: ProxyProtocol::Off,
            head: HeadLimits { bytes: 1024, count: 10 },
            tls: None,
            timeouts: ConnectionTimeouts { header: second, keepalive: second, write: second },
        })
    }

    #[test]
    fn the_two_thousand_addresses_of_one_ipv6_network_get_the_connections_of_one_client() {
        let (slots, limits, metrics) = (Arc::new(Slots::default()), limits(2000, 512), Arc::new(Metrics::new()));
        let take = |address: IpAddr| Slots::take(&slots, address, &limits, &metrics);
        let address = |network, host: u16| IpAddr::from([0x2001, 0xdb8, 0, network, 0, 0, host, host]);
        let taken: Vec<Slot> = (0..2000).filter_map(|host| take(address(1, host))).collect();
        assert_eq!(taken.len(), 512);
        let other = take(address(2, 0)).expect("a place for another network");
        let proxied: Vec<Slot> = (0..1000).filter_map(|_| take([10, 0, 0, 1].into())).collect();
        assert_eq!(proxied.len(), 1000, "a trusted proxy is exempt");
        drop((taken, other, proxied));
        let left = slots.taken.lock();
        assert_eq!((left.connections, left.per_network.len()), (0, 0), "all is given back");
    }
    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn what_runs_on_without_its_client_holds_a_place_of_the_clients_network() {
        let (slots, limits, metrics) = (Arc::new(Slots::default()), limits(100, 3), Arc::new(Metrics::new()));
        let take = |last| Slots::take(&slots, address(last), &limits, &metrics).map(Arc::new);
        let slot = take(1).expect("a place");
        let mut running: Vec<Lent> = (0..10).filter_map(|_| Slot::lend(&slot, address(1))).collect();
        assert_eq!(running.len(), 3, "the first shares the connection's place");
        assert!(take(1).is_none(), "and the others count as connections");
        drop(slot);
        assert!(take(1).is_none(), "so does the connection's, when it is gone");
        let proxied = take(2).expect("a place for another");
        assert!(Slot::lend(&proxied, address(1)).is_none(), "whatever connection it came by");
        let _its_own = Slot::lend(&proxied, address(2)).expect("a place for another's login");
        running.pop();
        let again = take(1).expect("a place that is free again");
        drop((running, again));
        assert_eq!(slots.taken.lock().per_network.get(&address(1).into()), None);
    }

    #[test]
    fn what_runs_on_and_what_is_under_way_are_bounded_in_all() {
        let (slots, limits, metrics) = (Arc::new(Slots::default()), limits(100, 50), Arc::new(Metrics::new()));
        let slot = Arc::new(Slots::take(&slots, address(1), &limits, &metrics).expect("a place"));
        let running: Vec<Lent> = (0..20).filter_map(|last| Slot::lend(&slot, address(last))).collect();
        assert_eq!(running.len(), 10);
        assert_eq!((0..20).filter(|_| slot.begin_exchange()).count(), 5);
        (0..20).for_each(|_| slot.end_exchange());
        drop((running, slot));
        assert_eq!(slots.exchanges.load(Ordering::Relaxed), 0);
        let left = slots.taken.lock();
        assert_eq!((left.connections, left.detached, left.per_network.len()), (0, 0, 0), "all is given back");
    }
}
