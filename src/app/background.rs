//! What goes on beside the requests, for as long as the process serves.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::tls::seconds;
use crate::audit::AuditLog;
use crate::commons::Commons;
use crate::geo::{self, GeoWatch};
use crate::health::probe_store;
use crate::maintenance::Maintenance;
use crate::monitor::{GeoFiles, MonitorMode};
use crate::proxy::Current;
use crate::reports::REPORTED_EVERY;
use crate::watch::{KEPT_EVERY, Watch};

const BETWEEN_COUNTS: Duration = Duration::from_secs(10);
/// What went over many keys rests for so many times as long; what may not, for so long.
const REST: u32 = 4;
const UNTIL_ASKED_AGAIN: Duration = Duration::from_secs(600);

/// Begins all of it: overdue streams are cut, ended ones are found, the store is looked at, the maintenance mode is followed,
/// locks on logins are counted, and so are what has ended and who paid and has no tenant, calls are exchanged with the other
/// gateways, it is asked what is open of sessions, new databases of places are taken over, and alerts are sent.
pub(super) fn begin(background: &mut JoinSet<()>, commons: &Commons, current: &Current, audit: &Arc<AuditLog>) {
    let streams = commons.sessions.open().clone();
    background.spawn(async move { streams.cut_overdue().await });
    background.spawn(look_at_the_store(commons.clone(), current.clone(), audit.clone()));
    background.spawn(follow_the_maintenance(commons.clone()));
    background.spawn(cut_what_has_ended(current.clone()));
    background.spawn(commons.watch.alerts().clone().run());
    background.spawn(count_the_locks(commons.watch.clone(), current.clone()));
    background.spawn(exchange_calls(commons.watch.clone(), current.clone()));
    background.spawn(follow_risks(commons.watch.clone(), current.clone()));
    background.spawn(judge_places(commons.watch.clone(), current.clone()));
    background.spawn(count_for_reports(commons.watch.clone()));
    background.spawn(keep_what_is_reported(commons.watch.clone()));
    background.spawn(count_what_has_ended(commons.clone()));
    background.spawn(count_the_orphans(commons.clone(), current.clone()));
    let databases = Databases { commons: commons.clone(), current: current.clone() };
    background.spawn(geo::follow(commons.watch.geo().clone(), databases));
}

/// The databases of places, as the configuration in force names them.
struct Databases {
    commons: Commons,
    current: Current,
}

impl GeoWatch for Databases {
    fn files(&self) -> Option<GeoFiles> {
        let in_force = self.current.load();
        in_force.gateway.config().monitor.as_ref()?.places.geo.clone()
    }

    fn now(&self) -> u64 {
        seconds(&self.commons.clock)
    }

    fn warn(&self, warning: Option<String>) {
        self.commons.readiness.warn("geo", warning);
    }

    fn ages(&self, ages: &[(&'static str, u64)]) {
        self.commons.metrics.geo_ages(ages);
    }
}

/// Each look tells operators of what else they should know by now.
async fn look_at_the_store(commons: Commons, current: Current, audit: Arc<AuditLog>) {
    let Commons { store, metrics, readiness, clock, .. } = commons;
    let seen = |up| {
        metrics.store_state(up);
        let in_force = current.load();
        readiness.warn("identity", in_force.gateway.config().routes.migration_warning(clock.wall()));
        let warning = audit.is_failing().then(|| String::from("audit lines cannot be written; they are kept"));
        readiness.warn("audit", warning);
    };
    probe_store(store, &readiness, seen).await;
}

async fn follow_the_maintenance(commons: Commons) {
    let Commons { maintenance, metrics, readiness, .. } = commons;
    let seen = |known: Option<&Maintenance>| {
        metrics.maintenance(known.is_some());
        readiness.warn("maintenance", known.map(|_| String::from("the maintenance mode is on")));
    };
    maintenance.follow(seen).await;
}

/// For the metrics, while logins are looked at.
async fn count_the_locks(watch: Watch, current: Current) {
    loop {
        tokio::time::sleep(BETWEEN_COUNTS).await;
        if current.load().gateway.config().monitor.is_some() {
            watch.count_locks().await;
        }
    }
}

/// The same of those who paid and have no tenant, while the backend is asked about that. What the store cannot say is left
/// as it was.
async fn count_the_orphans(Commons { memberships, metrics, .. }: Commons, current: Current) {
    loop {
        tokio::time::sleep(BETWEEN_COUNTS).await;
        let asks = current.load().gateway.config().tenants.is_some();
        if asks && let Ok(count) = memberships.count_orphans().await {
            metrics.orphans(count);
        }
    }
}

/// Has this gateway know what is open of sessions, while backends are told.
async fn follow_risks(watch: Watch, current: Current) {
    loop {
        let config = current.load().gateway.shared_config();
        let are_told = config.monitor.as_ref().is_some_and(|rules| rules.mode == MonitorMode::Enforce);
        watch.follow_risks(are_told).await;
    }
}

/// Judges where sessions are used from, by the rules that are then in force.
async fn judge_places(watch: Watch, current: Current) {
    loop {
        let sighted = watch.sightings().await;
        let config = current.load().gateway.shared_config();
        if let Some(rules) = &config.monitor {
            watch.judge(rules, &sighted).await;
        }
    }
}

/// Hands the store what was counted for reports.
async fn count_for_reports(watch: Watch) {
    loop {
        tokio::time::sleep(REPORTED_EVERY).await;
        watch.reports().flush().await;
    }
}

/// Hands the store what front ends report.
async fn keep_what_is_reported(watch: Watch) {
    loop {
        tokio::time::sleep(KEPT_EVERY).await;
        watch.keep_reported().await;
    }
}

/// Has gateways know of each other's calls, while they are counted.
async fn exchange_calls(watch: Watch, current: Current) {
    loop {
        let rules = current.load().gateway.shared_config();
        let calls = rules.monitor.as_ref().and_then(|rules| rules.calls.as_ref());
        watch.exchange_calls(calls.map(|calls| calls.rule.count)).await;
    }
}

/// For the metrics.
async fn count_what_has_ended(commons: Commons) {
    let Commons { store, metrics, clock, .. } = commons;
    loop {
        let began = clock.monotonic();
        let counted = store.count_ended().await;
        let pause = match &counted {
            Ok(None) => UNTIL_ASKED_AGAIN,
            Ok(Some(_)) | Err(_) => BETWEEN_COUNTS.max(clock.monotonic().since(began) * REST),
        };
        metrics.ended_sessions(counted.ok().flatten());
        tokio::time::sleep(pause).await;
    }
}

async fn cut_what_has_ended(current: Current) {
    loop {
        let gateway = current.load().gateway.clone();
        gateway.cut_ended_streams().await;
    }
}
