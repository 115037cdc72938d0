//! Calls of users: counted here as they come, and with the other gateways while somebody makes many.
//!
//! A call costs a look into a table in memory. The store is asked once a second at most, by all gateways, while somebody
//! makes so many calls that the limit could be reached; else once in a while, so that gateways know how many they are.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Watch;
use super::findings::of_user;
use crate::monitor::{Called, Evidence, Finding, FindingKind, Minute, MonitorRules};
use crate::session::{Principal, SessionId, StoreTime};
use crate::told::Origin;

/// Between two exchanges while somebody makes many calls.
const OFTEN: Duration = Duration::from_secs(1);
/// Between two exchanges while nobody does. Less than what is told is kept for.
const RARELY: Duration = Duration::from_secs(10);

/// A call that is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// Seconds until the minute is over, rounded up.
    pub seconds: u64,
    /// Whether it was not found yet in this minute.
    pub first: bool,
    /// Which one of the minute it is.
    pub calls: u32,
    /// How many of them were made at other gateways.
    elsewhere: u32,
    minute: Minute,
}

impl Watch {
    /// Counts a call of a user, at this time of the store's. `Some`: it is one too many.
    #[must_use]
    pub fn called(&self, rules: &MonitorRules, principal: &Principal, now: StoreTime) -> Option<TooMany> {
        let most = rules.calls.as_ref()?.rule.count;
        let (user, minute) = (self.0.services.keys.user(principal), Minute::of(now));
        match self.0.calls.call(user, minute, most, rules.throttles()) {
            Called::Within { .. } => None,
            Called::Over { first, calls, elsewhere } => {
                let left = minute.left(now).as_millis().div_ceil(1000);
                let seconds = u64::try_from(left).unwrap_or(u64::MAX).max(1);
                Some(TooMany { seconds, first, calls, elsewhere, minute })
            }
            Called::Uncounted => {
                self.0.services.metrics.monitor_dropped();
                None
            }
        }
    }

    /// A user made too many calls, the last of them in this session.
    pub fn found_calls(
        &self,
        rules: &MonitorRules,
        too_many: TooMany,
        session: (SessionId, Arc<Principal>),
        origin: Origin,
    ) {
        let Some(calls) = &rules.calls else { return };
        let evidence = Evidence::default()
            .with("calls", too_many.calls)
            .with("within_seconds", 60)
            .with("minute", too_many.minute.begins().rfc3339())
            .with("at_other_gateways", too_many.elsewhere);
        let finding = Finding {
            kind: FindingKind::Calls,
            severity: calls.rule.severity,
            mode: rules.mode,
            actions: calls.rule.actions.clone(),
            subject: of_user(&session.1),
            session: Some(session),
            account: None,
            address: origin.address,
            evidence,
        };
        self.found(finding, origin);
    }

    /// Waits until there is something to exchange with the other gateways, and does. `None`: calls are not counted. To be
    /// called for ever, each time with the limit in force.
    pub async fn exchange_calls(&self, most: Option<u32>) {
        let Some(most) = most else { return sleep(OFTEN).await };
        if self.0.calls.may_rest() {
            tokio::select! {
                () = sleep(RARELY) => {}
                () = self.0.calls.heated() => {}
                () = self.0.services.calls.call_news() => {}
            }
        }
        self.exchange(most).await;
        sleep(OFTEN).await;
    }

    /// Tells the others what was counted here, and takes what they told.
    async fn exchange(&self, most: u32) {
        let services = &self.0.services;
        let began = services.clock.monotonic();
        let (counts, is_hot) = self.0.calls.to_tell();
        match services.calls.exchange_calls(&self.0.gateway, &counts, is_hot).await {
            Ok(told) => {
                for _ in 0..self.0.calls.take(told, most, is_hot) {
                    services.metrics.monitor_dropped();
                }
            }
            Err(error) => {
                tracing::debug!(%error, "calls at other gateways are not known");
                services.metrics.monitor_dropped();
            }
        }
        services.metrics.monitor_took(services.clock.monotonic().since(began));
    }
}
