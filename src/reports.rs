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
                (0..lost).for_each(|_| self.metrics.monitor_dropped());
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

    fn add(&self, whose: Option<&TenantId>, day: Day, counted: Counted) {
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
                self.add(Some(&record.principal.tenant), day, Counted::Login);
            }
            Told::NoLogin { why: NoLogin::Failed(_), .. } => self.add(None, day, Counted::FailedLogin),
            Told::Found { finding, taken, .. } => {
                let whose = finding.session.as_ref().map(|(_, principal)| &**principal);
                let tenant = whose.map(|principal| &principal.tenant);
                let observed = finding.mode == MonitorMode::Observe;
                let (kind, severity) = (finding.kind.as_str().into(), finding.severity.as_str().into());
                self.add(tenant, day, Counted::Finding { kind, severity, observed });
                for taken in taken.iter().filter(|taken| taken.done || observed) {
                    let (action, observed) = (taken.action.as_str().into(), !taken.done);
                    self.add(tenant, day, Counted::Action { action, observed });
                    if finding.kind == FindingKind::FailedLogins && taken.done && taken.action == Action::Lock.as_str()
                    {
                        self.add(None, day, Counted::Lock);
                    }
                }
                if let Some(principal) = whose {
                    let (tenant, user) = (principal.tenant.clone(), principal.user.clone());
                    self.add(Some(&principal.tenant), day, Counted::FindingAbout { tenant, user });
                }
            }
            Told::FindingJudged { verdict, kind, tenant, .. } => {
                self.add(tenant.as_ref(), day, Counted::Verdict { kind: kind.clone(), verdict: *verdict });
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
