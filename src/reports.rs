//! Reports: what happened is counted by tenant and day, in memory, and handed to the store every few seconds.
//!
//! It hears what is told and decides nothing. What it does not count costs a number in a report: a store that is away has some
//! of it later, and what finds no room meanwhile is dropped, which is counted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::WallTime;
use crate::monitor::{Action, CountBook, CountOf, Counted, Day, FindingKind, MonitorMode, Report};
use crate::session::TenantId;
use crate::store::StoreResult;
use crate::store::reports::ReportStore;
use crate::telemetry::Metrics;
use crate::told::{Listener, NoLogin, Origin, Source, Told};

/// Between two times that the store is told.
pub const REPORTED_EVERY: Duration = Duration::from_secs(5);
/// Tenants and days that it is told of in one step.
const STEP: usize = 100;

/// Counts, and puts reports together.
pub struct Reports {
    store: Arc<dyn ReportStore>,
    metrics: Arc<Metrics>,
    /// Whether anything is counted.
    counts: AtomicBool,
    book: Mutex<CountBook>,
}

impl Reports {
    /// Nothing was counted yet, and nothing is.
    #[must_use]
    pub fn new(store: Arc<dyn ReportStore>, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics, counts: AtomicBool::new(false), book: Mutex::default() }
    }

    /// From now on it counts, or does not: where nothing is monitored nobody asks.
    pub fn count(&self, counts: bool) {
        self.counts.store(counts, Ordering::Relaxed);
    }

    /// Hands the store what was counted since.
    pub async fn flush(&self) {
        let mut counted = self.book.lock().take();
        while !counted.is_empty() {
            let step = counted.split_off(counted.len().saturating_sub(STEP));
            if let Err(error) = self.store.add_counts(&step).await {
                tracing::debug!(%error, "what was counted for reports is told later");
                let mut book = self.book.lock();
                let lost: u64 = step.into_iter().chain(counted).map(|counts| book.give_back(counts)).sum();
                self.metrics.monitor_dropped_many(lost);
                return;
            }
        }
    }

    /// The report of these days, both included; with all that was counted here until now.
    ///
    /// # Errors
    /// When the store cannot say.
    pub async fn report(&self, of: &CountOf, first: Day, last: Day) -> StoreResult<Report> {
        self.flush().await;
        Ok(Report::of(of, &self.store.counts(of, first, last).await?))
    }

    fn add(&self, whose: Option<&TenantId>, day: Day, counted: &Counted) {
        let mut book = self.book.lock();
        let of = whose.map(|tenant| CountOf::Tenant(tenant.clone()));
        for of in of.into_iter().chain([CountOf::All]) {
            if !book.add(of, day, counted.clone(), 1) {
                self.metrics.monitor_dropped();
            }
        }
    }
}

impl Listener for Reports {
    fn hear(&self, _: &Origin, told: &Told, now: WallTime) {
        if !self.counts.load(Ordering::Relaxed) {
            return;
        }
        let day = Day::of(now);
        match told {
            Told::SessionCreated { record, from: Source::Login | Source::Followed, .. } => {
                self.add(Some(&record.principal.tenant), day, &Counted::Login);
            }
            Told::NoLogin { why: NoLogin::Failed(_), .. } => self.add(None, day, &Counted::FailedLogin),
            Told::Found { finding, taken, .. } => {
                let whose = finding.session.as_ref().map(|(_, principal)| &**principal);
                let tenant = whose.map(|principal| &principal.tenant);
                let observed = finding.mode == MonitorMode::Observe;
                let (kind, severity) = (finding.kind.as_str().into(), finding.severity.as_str().into());
                self.add(tenant, day, &Counted::Finding { kind, severity, observed });
                for taken in taken.iter().filter(|taken| taken.done || observed) {
                    let (action, observed) = (taken.action.as_str().into(), !taken.done);
                    self.add(tenant, day, &Counted::Action { action, observed });
                    if finding.kind == FindingKind::FailedLogins && taken.done && taken.action == Action::Lock.as_str()
                    {
                        self.add(None, day, &Counted::Lock);
                    }
                }
                if let Some(principal) = whose {
                    let (tenant, user) = (principal.tenant.clone(), principal.user.clone());
                    self.add(Some(&principal.tenant), day, &Counted::FindingAbout { tenant, user });
                }
            }
            Told::FindingJudged { verdict, kind, tenant, .. } => {
                self.add(tenant.as_ref(), day, &Counted::Verdict { kind: kind.clone(), verdict: *verdict });
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reports").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::monitor::{Counts, DayCounts, Evidence, Finding, Severity, Taken, Verdict};
    use crate::session::{By, Principal, SessionId, UserId};
    use crate::store::Unavailable;

    /// A store that can be away.
    #[derive(Default)]
    struct Kept {
        is_away: AtomicBool,
        counts: Mutex<Vec<DayCounts>>,
    }

    #[async_trait]
    impl ReportStore for Kept {
        async fn add_counts(&self, counts: &[DayCounts]) -> StoreResult<()> {
            if self.is_away.load(Ordering::Relaxed) {
                return Err(Unavailable::because("away"));
            }
            self.counts.lock().extend_from_slice(counts);
            Ok(())
        }

        async fn counts(&self, of: &CountOf, first: Day, last: Day) -> StoreResult<Vec<(Day, Counts)>> {
            let kept = self.counts.lock();
            let on = |day| kept.iter().filter(move |counts| counts.of == *of && counts.day == day);
            let all = |day| on(day).flat_map(|counts| counts.counts.clone()).collect();
            Ok(first.until(last).map(|day| (day, all(day))).collect())
        }
    }

    const DAY: Day = Day::from_number(20_000);

    fn reports(store: &Arc<Kept>) -> (Reports, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        let reports = Reports::new(store.clone(), metrics.clone());
        reports.count(true);
        (reports, metrics)
    }

    fn hear(reports: &Reports, told: &Told) {
        reports.hear(&Origin::of(By::Gateway), told, DAY.begins());
    }

    fn found(of: Option<&str>, mode: MonitorMode, taken: &[(Action, bool)]) -> Told {
        let principal = |tenant| Principal {
            tenant: TenantId::parse(tenant).expect("a tenant"),
            user: UserId::parse("7").expect("a user"),
            role: None,
        };
        let id = SessionId::parse(b"AAAAAAAAAAAAAAAAAAAAAA").expect("an id");
        let finding = Finding {
            kind: FindingKind::FailedLogins,
            severity: Severity::High,
            mode,
            actions: taken.iter().map(|(action, _)| *action).collect(),
            subject: String::new(),
            session: of.map(|tenant| (id, Arc::new(principal(tenant)))),
            account: None,
            address: None,
            evidence: Evidence::default(),
        };
        let taken = taken.iter().map(|(action, done)| Taken::of(*action, *done)).collect();
        Told::Found { finding: Box::new(finding), id: None, taken }
    }

    #[tokio::test]
    async fn what_is_told_counts_for_its_tenant_and_for_all_and_what_was_not_done_for_nobody() {
        let store = Arc::<Kept>::default();
        let (reports, _) = reports(&store);
        hear(&reports, &Told::NoLogin { why: NoLogin::Failed(401), principal: None });
        hear(&reports, &Told::NoLogin { why: NoLogin::Undecided, principal: None });
        hear(&reports, &found(None, MonitorMode::Enforce, &[(Action::Lock, true), (Action::Alert, false)]));
        hear(&reports, &found(Some("acme"), MonitorMode::Observe, &[(Action::Lock, false)]));
        let tenant = TenantId::parse("acme").ok();
        let kind = "IMPOSSIBLE_TRAVEL".into();
        hear(&reports, &Told::FindingJudged { id: String::new(), verdict: Verdict::Expected, kind, tenant });
        let all = reports.report(&CountOf::All, DAY, DAY).await.expect("a report");
        assert_eq!((all.days[0].findings, all.days[0].failures, all.days[0].locks), (2, Some(1), Some(1)));
        let actions: Vec<_> =
            all.actions.iter().map(|done| (done.action.as_str(), done.observed, done.count)).collect();
        assert_eq!(actions, [("lock", false, 1), ("lock", true, 1)]);
        let acme = CountOf::Tenant(TenantId::parse("acme").expect("a tenant"));
        let acme = reports.report(&acme, DAY, DAY).await.expect("a report");
        assert_eq!((acme.days[0].findings, acme.top_users.len(), acme.verdicts.len()), (1, 1, 1));
        assert!(acme.findings[0].observed && acme.actions[0].observed);
    }

    #[tokio::test]
    async fn what_a_store_that_is_away_does_not_take_it_has_later_and_once() {
        let store = Arc::<Kept>::default();
        let (reports, metrics) = reports(&store);
        store.is_away.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            hear(&reports, &found(Some("acme"), MonitorMode::Enforce, &[]));
            reports.flush().await;
        }
        store.is_away.store(false, Ordering::Relaxed);
        reports.flush().await;
        reports.flush().await;
        let report = reports.report(&CountOf::All, DAY, DAY).await.expect("a report");
        assert_eq!(report.days[0].findings, 3);
        assert!(metrics.encode().contains("session_gateway_monitor_dropped_total 0"));
    }

    #[tokio::test]
    async fn where_nothing_is_monitored_nothing_is_counted() {
        let store = Arc::<Kept>::default();
        let (reports, _) = reports(&store);
        reports.count(false);
        hear(&reports, &found(Some("acme"), MonitorMode::Enforce, &[]));
        reports.flush().await;
        assert!(store.counts.lock().is_empty());
    }
}
