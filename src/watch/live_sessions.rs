//! How many live sessions a user has, and from where: looked at beside the login that made one more.

use std::net::IpAddr;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::Watch;
use super::places::About;
use super::sighting::Sighted;
use crate::monitor::{Concurrent, Evidence, FindingKind, MonitorRules, Place, far_apart};
use crate::store::{SessionsOf, StoreResult};

/// Users that are looked at at once.
const AT_ONCE: usize = 8;
/// Sessions of a user that are looked at for where they are.
const PLACES: usize = 32;
/// Parts of a listing that are read.
const PAGES: usize = 4;

impl Watch {
    /// Looks at the sessions of those of whom one came to be.
    pub(super) async fn judge_sessions(&self, rules: &MonitorRules, sighted: &[Sighted]) {
        if !rules.places.counts_sessions() {
            return;
        }
        let new = sighted.iter().filter(|one| one.came_to_be());
        stream::iter(new).for_each_concurrent(AT_ONCE, |one| self.look_at_sessions(rules, one)).await;
    }

    async fn look_at_sessions(&self, rules: &MonitorRules, one: &Sighted) {
        let Some(addresses) = self.noted(self.addresses_of_sessions(rules, one).await) else { return };
        let count = addresses.len();
        if let Some(rule) = rules.places.concurrent.as_ref().filter(|rule| count > rule.most()) {
            let evidence = Evidence::default().with("sessions", count).with("usual", rule.count);
            let (severity, actions) = (rule.severity, rule.actions.clone());
            let about = About { kind: FindingKind::Concurrent, severity, actions, again: String::new(), evidence };
            self.found(one.finding(rules.mode, about), one.origin());
        }
        let Some(rule) = &rules.places.locations else { return };
        let mut known: Vec<IpAddr> = addresses.into_iter().flatten().collect();
        known.sort_unstable();
        known.dedup();
        let places: Vec<Place> = known.iter().filter_map(|address| self.place_of(rules, *address)).collect();
        if let Some((from, to, km)) = far_apart(rule, &places) {
            let evidence = Evidence::default().with("place", from.name()).with("other_place", to.name()).with("km", km);
            let (severity, actions) = (rule.severity, rule.actions.clone());
            let about = About { kind: FindingKind::Locations, severity, actions, again: String::new(), evidence };
            self.found(one.finding(rules.mode, about), one.origin());
        }
    }

    /// Where the user's live sessions were made; one more than may be at most, or enough of them to say where they are.
    async fn addresses_of_sessions(&self, rules: &MonitorRules, one: &Sighted) -> StoreResult<Vec<Option<IpAddr>>> {
        let principal = &one.record.principal;
        let of = SessionsOf::User { tenant: principal.tenant.clone(), user: principal.user.clone() };
        let most = rules.places.concurrent.as_ref().map_or(0, Concurrent::most).saturating_add(1).max(PLACES);
        let (mut addresses, mut after) = (Vec::new(), None);
        for _ in 0..PAGES {
            let page = self.0.services.store.sessions(&of, after.as_ref(), most - addresses.len()).await?;
            addresses.extend(page.items.into_iter().map(|session| session.record.address));
            after = page.next;
            if after.is_none() || addresses.len() >= most {
                break;
            }
        }
        Ok(addresses)
    }

    /// What the store answered, where it did.
    fn noted<T>(&self, answered: StoreResult<T>) -> Option<T> {
        answered
            .inspect_err(|error| {
                tracing::debug!(%error, "sessions are not counted");
                self.0.services.metrics.monitor_dropped();
            })
            .ok()
    }
}
