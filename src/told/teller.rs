//! Has everyone hear of it who listens.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::happened::{NoLogin, Source, Spoof, Told};
use super::lines::{ends_sessions, lines};
use super::origin::Origin;
use crate::audit::AuditLog;
use crate::clock::{SharedClock, WallTime};
use crate::session::{By, EndReason, Scope};
use crate::store::journal::Late;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{LoginOutcome, RevocationScope};

/// Hears what is told, beside the metrics and the audit log. Must not block.
pub trait Listener: Send + Sync + 'static {
    /// Something happened.
    fn hear(&self, origin: &Origin, told: &Told, now: WallTime);
}

/// Who hears of it, beside the metrics and the audit log.
type Listeners = ArcSwap<Vec<Arc<dyn Listener>>>;

/// Has everyone hear of what happened who listens.
#[derive(Clone)]
pub struct Teller {
    audit: Arc<AuditLog>,
    metrics: Arc<Metrics>,
    clock: SharedClock,
    listeners: Arc<Listeners>,
}

impl Teller {
    /// A teller to these listeners.
    #[must_use]
    pub fn new(audit: Arc<AuditLog>, metrics: Arc<Metrics>, clock: SharedClock) -> Self {
        Self { audit, metrics, clock, listeners: Arc::default() }
    }

    /// From now on this one hears of it, too. Said by one alone, while nothing is told yet.
    pub fn tell_to(&self, listener: Arc<dyn Listener>) {
        let mut all = Vec::clone(&self.listeners.load());
        all.push(listener);
        self.listeners.store(Arc::new(all));
    }

    /// Whose time stands in what is told.
    #[must_use]
    pub const fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Tells. Never blocks and never fails.
    pub fn tell(&self, origin: &Origin, told: &Told) {
        self.count(origin, told);
        let now = self.clock.wall();
        self.have_heard(origin, told, now);
        let lines = lines(origin, told, now);
        match &origin.held {
            Some(held) => held.lock().extend(lines),
            None => lines.for_each(|line| self.audit.record(line)),
        }
    }

    /// Waits until the audit lines of all that was told so far are in the file; see [`AuditLog::written`].
    pub async fn written(&self) -> bool {
        self.audit.written().await
    }

    /// Tells, and answers whether all of it is on disk.
    pub async fn tell_durably(&self, origin: &Origin, told: &Told) -> bool {
        self.count(origin, told);
        let now = self.clock.wall();
        self.have_heard(origin, told, now);
        let lines = lines(origin, told, now).map(|line| self.audit.record_durably(line));
        futures_util::future::join_all(lines).await.iter().all(Result::is_ok)
    }

    /// Who listens hears.
    fn have_heard(&self, origin: &Origin, told: &Told, now: WallTime) {
        for listener in self.listeners.load().iter() {
            listener.hear(origin, told, now);
        }
    }

    /// What the metrics hear.
    fn count(&self, origin: &Origin, told: &Told) {
        let metrics = &self.metrics;
        match told {
            Told::SessionCreated { from, .. } => {
                metrics.session_created();
                if matches!(from, Source::Login | Source::Followed) {
                    metrics.login(LoginOutcome::Success);
                }
            }
            Told::SessionEnded { reason, .. } => {
                metrics.sessions_ended(*reason, 1);
                if is_revocation(*reason) {
                    metrics.revocation(RevocationScope::Session);
                }
            }
            Told::SessionHeld { .. } => metrics.session_held(held_by(origin)),
            Told::SessionReleased { by, .. } => {
                metrics.session_released(if by.is_some() { "login" } else { "operator" });
            }
            Told::TokenRevoked { .. } => metrics.revocation(RevocationScope::Token),
            Told::SessionsEnded { revocation, revoked } => {
                metrics.sessions_ended(revocation.reason, revoked.ended);
                metrics.revocation(match revocation.scope {
                    Scope::User { .. } | Scope::OtherSessions { .. } => RevocationScope::User,
                    Scope::Tenant { .. } => RevocationScope::Tenant,
                });
            }
            Told::TenantChanged { change, revoked, .. } => {
                if ends_sessions(change, *revoked) {
                    metrics.sessions_ended(change.reason, revoked.ended);
                    metrics.revocation(RevocationScope::Tenant);
                }
            }
            // What was held is counted when it is said, be that late.
            Told::CameLate(Late { word: Some(word), .. }) if word.holds() => metrics.session_held(held_by(origin)),
            Told::CameLate(Late { word: Some(_), .. }) => metrics.session_released("operator"),
            Told::CameLate(late) => metrics.sessions_ended(late.reason, late.ended),
            Told::NoLogin { why, .. } => metrics.login(match why {
                NoLogin::Failed(_) => LoginOutcome::Failure,
                NoLogin::Undecided => LoginOutcome::Incomplete,
                NoLogin::Unnamed => LoginOutcome::Unnamed,
                NoLogin::Unanswered => LoginOutcome::Error,
                NoLogin::Refused(_) => LoginOutcome::Denied,
                NoLogin::Locked(_) => LoginOutcome::Locked,
            }),
            Told::Found { finding, .. } => metrics.finding(finding.kind.as_str(), finding.severity.as_str()),
            Told::FindingJudged { verdict, .. } => metrics.finding_verdict(verdict.as_str()),
            Told::IdentitySpoofed { by: Spoof::Headers(count), .. } => metrics.spoofed_headers(*count),
            Told::IdentitySpoofed { by: Spoof::Cookies(count), .. } => metrics.spoofed_cookies(*count),
            Told::IdentitySpoofed { by: Spoof::Place(_), .. } => {}
            Told::SessionRejected { .. }
            | Told::TokenRejected { .. }
            | Told::EventEndedNothing { .. }
            | Told::EventUnknown { .. }
            | Told::LoginOrphaned { .. }
            | Told::FindingReported { .. }
            | Told::LoginUnlocked(_) => {}
        }
    }
}

/// Who held a session, as it is counted.
fn held_by(origin: &Origin) -> &'static str {
    if origin.by == By::Gateway { "finding" } else { "operator" }
}

/// Whether a session that ended for this reason was ended by force, and neither by its own user nor by time.
const fn is_revocation(reason: EndReason) -> bool {
    !matches!(
        reason,
        EndReason::Logout
            | EndReason::LogoutAll
            | EndReason::Replaced
            | EndReason::IdleTimeout
            | EndReason::Expired
            | EndReason::Limit
    )
}
