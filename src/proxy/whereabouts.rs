//! Where sessions are used from (docs/monitoring.md, "Places"): seen here, judged beside the request.

use std::net::IpAddr;
use std::sync::Arc;

use super::exchange::Exchange;
use super::lookup::LiveUse;
use super::services::Gateway;
use crate::monitor::MonitorRules;
use crate::session::{SessionId, SessionRecord};
use crate::sessions::Issued;
use crate::watch::{Arrival, Presence};

/// A session that a login made.
pub(super) struct Made {
    pub(super) id: SessionId,
    pub(super) record: Arc<SessionRecord>,
    /// The held one that its user logged in again for.
    releases: Option<SessionId>,
}

impl Made {
    pub(super) fn of(issued: &Issued, releases: Option<SessionId>) -> Self {
        Self { id: issued.id, record: issued.record.clone(), releases }
    }
}

impl Gateway {
    /// Whether an address is that of a proxy of the operator's own.
    pub(super) fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        self.config().server.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// Sees from where a session is used. Of an issuer's token, which programs share, nothing is said.
    pub(super) fn see(&self, exchange: &Exchange, live: &LiveUse, counts: bool) {
        let Some(rules) = &self.config().monitor else { return };
        if live.token.is_some() {
            return;
        }
        let address = exchange.client.get();
        let presence = Presence { id: live.id, record: &live.record, address, now: live.now, counts };
        self.watch().seen(rules, presence, || self.is_trusted_proxy(address));
    }

    /// Sees from where somebody logged in.
    pub(super) fn see_login(&self, exchange: &Exchange, rules: &MonitorRules, made: &Made, known_device: bool) {
        let (address, now) = (exchange.client.get(), made.record.created);
        let presence = Presence { id: made.id, record: &made.record, address, now, counts: true };
        let arrival = Arrival { known_device, releases: made.releases };
        self.watch().logged_in(rules, presence, arrival, || self.is_trusted_proxy(address));
    }
}
