//! Tells of what came late: ends and changes that the journal had, and no store confirmed.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, join_all};

use crate::audit::{Actor, AuditEvent, AuditLog, AuditType, ClientText, Details, Outcome};
use crate::clock::SharedClock;
use crate::session::{By, TenantStatus};
use crate::store::journal::Late;
use crate::telemetry::Metrics;

/// What is told with.
#[derive(Clone)]
pub(super) struct LateTeller {
    pub(super) audit: Arc<AuditLog>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: SharedClock,
}

impl LateTeller {
    /// Answers whether it is on disk.
    pub(super) fn tell(&self, late: &Late) -> BoxFuture<'static, bool> {
        self.metrics.sessions_ended(late.reason, late.ended);
        let (audit, lines) = (Arc::clone(&self.audit), self.lines(late));
        async move {
            join_all(lines.into_iter().map(|line| audit.record_durably(line))).await.iter().all(Result::is_ok)
        }
        .boxed()
    }

    fn lines(&self, late: &Late) -> Vec<AuditEvent> {
        let status = late.status.map(|status| {
            let details = details(late).text("status", status.as_str());
            self.line(late, AuditType::TenantChanged).with_details(details)
        });
        let ended = (late.status != Some(TenantStatus::Active)).then(|| {
            let details = details(late).count("invalidated_sessions", late.ended);
            self.line(late, AuditType::SessionEnded).because(late.reason).with_details(details)
        });
        status.into_iter().chain(ended).collect()
    }

    /// By whoever had asked for it.
    fn line(&self, late: &Late, kind: AuditType) -> AuditEvent {
        let actor = match &late.by {
            By::Operator { name, .. } => Actor::Operator(ClientText::from(&**name)),
            By::User | By::Event(_) => Actor::User,
            By::Gateway => Actor::Gateway,
        };
        let mut line = AuditEvent::new(self.clock.wall(), kind, Outcome::Success, actor);
        if let By::Operator { request_id, .. } = &late.by {
            line.request_id = Some(ClientText::from(&**request_id));
        }
        (line.tenant, line.user, line.session_id) = (late.tenant.clone(), late.user.clone(), late.session);
        line
    }
}

/// That it is the delayed effect of a call that failed, and what is known of that call.
fn details(late: &Late) -> Details {
    let mut details = Details::none().flag("late", true).text("asked_at", late.asked.rfc3339().as_str());
    if late.already {
        details = details.flag("already", true);
    }
    match &late.by {
        By::Operator { words, .. } if !words.as_str().is_empty() => details.text("words", words.as_str()),
        By::Event(name) => details.text("event", &**name),
        _ => details,
    }
}
