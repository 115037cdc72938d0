//! Runs what the pipeline decided should be known: audit events and counters, from effects described as data.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::exchange::Exchange;
use super::lookup::EndedUse;
use super::services::Gateway;
use crate::audit::{Actor, AuditEvent, AuditType, ClientText, Details, Outcome};
use crate::session::{EndReason, Revocation, Scope, SessionId, SessionRecord, TenantId};
use crate::store::Revoked;
use crate::telemetry::metrics::{LoginOutcome, RevocationScope};

/// Something that happened and must be told.
#[derive(Debug)]
pub(super) enum Effect {
    /// A login made a session.
    SessionCreated { id: SessionId, record: SessionRecord },
    /// A session is over.
    SessionEnded { id: SessionId, record: Arc<SessionRecord>, reason: EndReason },
    /// A session goes on as another one: with a new token, for another tenant perhaps.
    SessionRotated { old: SessionId, old_record: Arc<SessionRecord>, id: SessionId, record: Arc<SessionRecord> },
    /// Many sessions are over; `event` is the name of the event that demanded it.
    SessionsEnded { revocation: Revocation, revoked: Revoked, event: Option<Arc<str>> },
    /// An event would have ended sessions, and did not: a guard refused (`Denied`), or it could not be done (`Failure`).
    EventEndedNothing { event: Arc<str>, outcome: Outcome, why: &'static str, tenant: Option<TenantId> },
    /// A backend gave an order that is not known, or not obeyed here.
    EventUnknown { event: Arc<str>, said: HeaderValue },
    /// An ended session was used.
    SessionRejected(EndedUse),
    /// A login failed.
    LoginFailed { status: StatusCode },
    /// A login was answered, and nobody is logged in yet: a second factor is due, say.
    LoginUndecided,
    /// Whether a login would have been one is unknown: the store or the backend failed.
    LoginUnanswered,
    /// The backend accepted a login, and the gateway did not.
    LoginRefused { why: &'static str },
    /// A client sent identity headers that are not its session's.
    IdentitySpoofed { headers: u64 },
}

impl Gateway {
    /// Runs an effect. Never blocks and never fails: what cannot be written is counted by the audit log itself.
    pub(super) fn run(&self, exchange: &Exchange, effect: Effect) {
        let event = |kind, outcome, actor| {
            let user_agent = exchange.user_agent.as_ref().map(HeaderValue::as_bytes);
            AuditEvent::new(self.clock().wall(), kind, outcome, actor).by_request(
                exchange.client.get(),
                user_agent,
                exchange.id.as_str(),
            )
        };
        match effect {
            Effect::SessionCreated { id, record } => {
                self.metrics().session_created();
                self.metrics().login(LoginOutcome::Success);
                let details = Details::none().flag("remembered", record.remembered);
                self.audit().record(
                    event(AuditType::SessionCreated, Outcome::Success, Actor::User)
                        .of_principal(&record.principal)
                        .of_session(id)
                        .with_details(details),
                );
            }
            Effect::SessionRotated { old, old_record, id, record } => {
                self.metrics().session_created();
                self.metrics().sessions_ended(EndReason::Replaced, 1);
                self.audit().record(
                    event(AuditType::SessionCreated, Outcome::Success, Actor::User)
                        .of_principal(&record.principal)
                        .of_session(id)
                        .with_details(
                            Details::none().flag("remembered", record.remembered).text("rotated_from", old.as_str()),
                        ),
                );
                self.audit().record(
                    event(AuditType::SessionEnded, Outcome::Success, Actor::User)
                        .of_principal(&old_record.principal)
                        .of_session(old)
                        .because(EndReason::Replaced),
                );
            }
            Effect::SessionEnded { id, record, reason } => {
                self.metrics().sessions_ended(reason, 1);
                if is_revocation(reason) {
                    self.metrics().revocation(RevocationScope::Session);
                }
                let actor = match reason {
                    EndReason::IdleTimeout | EndReason::Expired | EndReason::Limit => Actor::Gateway,
                    _ => Actor::User,
                };
                self.audit().record(
                    event(AuditType::SessionEnded, Outcome::Success, actor)
                        .of_principal(&record.principal)
                        .of_session(id)
                        .because(reason),
                );
            }
            Effect::SessionsEnded { revocation: Revocation { scope, reason, .. }, revoked, event: name } => {
                let mut ended = event(AuditType::SessionEnded, Outcome::Success, Actor::User).because(reason);
                let counted = match scope {
                    Scope::User { tenant, user } | Scope::OtherSessions { tenant, user, .. } => {
                        (ended.tenant, ended.user) = (Some(tenant), Some(user));
                        RevocationScope::User
                    }
                    Scope::Tenant { tenant } => {
                        ended.tenant = Some(tenant);
                        RevocationScope::Tenant
                    }
                };
                self.metrics().sessions_ended(reason, revoked.ended);
                self.metrics().revocation(counted);
                let details = of_event(exchange, name).count("invalidated_sessions", revoked.ended);
                let details = if revoked.complete { details } else { details.flag("counting", true) };
                self.audit().record(ended.with_details(details));
            }
            Effect::EventEndedNothing { event: name, outcome, why, tenant } => {
                let mut nothing = event(AuditType::SessionEnded, outcome, Actor::User).because(why);
                nothing.tenant = tenant;
                nothing.session_id = exchange.session;
                self.audit().record(nothing.with_details(of_event(exchange, Some(name))));
            }
            Effect::EventUnknown { event: name, said } => {
                let said = ClientText::of(said.as_bytes());
                let mut unknown = event(AuditType::EventUnknown, Outcome::Failure, Actor::User);
                unknown.session_id = exchange.session;
                self.audit().record(unknown.with_details(of_event(exchange, Some(name)).text("said", said)));
            }
            Effect::SessionRejected(ended) => {
                let rejected = event(AuditType::SessionRejected, Outcome::Denied, Actor::User)
                    .of_session(ended.id)
                    .because(ended.reason);
                self.audit().record(match &ended.record {
                    Some(record) => rejected.of_principal(&record.principal),
                    None => rejected,
                });
            }
            Effect::LoginFailed { status } => {
                self.metrics().login(LoginOutcome::Failure);
                self.audit().record(
                    event(AuditType::LoginFailed, Outcome::Failure, Actor::User)
                        .with_details(Details::none().count("status", u64::from(status.as_u16()))),
                );
            }
            Effect::LoginUndecided => self.metrics().login(LoginOutcome::Incomplete),
            Effect::LoginUnanswered => self.metrics().login(LoginOutcome::Error),
            Effect::LoginRefused { why } => {
                self.metrics().login(LoginOutcome::Denied);
                let refused = event(AuditType::LoginFailed, Outcome::Denied, Actor::User).because(why);
                self.audit().record(match &exchange.principal {
                    Some(principal) => refused.of_principal(principal),
                    None => refused,
                });
            }
            Effect::IdentitySpoofed { headers } => {
                self.metrics().spoofed_headers(headers);
                let spoofed = event(AuditType::IdentitySpoofed, Outcome::Denied, Actor::User)
                    .with_details(Details::none().text("path", &*exchange.path()).count("headers", headers));
                let spoofed = match exchange.session {
                    Some(id) => spoofed.of_session(id),
                    None => spoofed,
                };
                self.audit().record(match &exchange.principal {
                    Some(principal) => spoofed.of_principal(principal),
                    None => spoofed,
                });
            }
        }
    }
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

/// What is told of an event: its name, and by whose request it came to be.
fn of_event(exchange: &Exchange, name: Option<Arc<str>>) -> Details {
    let Some(name) = name else { return Details::none() };
    let details = Details::none().text("event", &*name);
    match &exchange.principal {
        Some(by) => details.text("by_tenant", by.tenant.as_str()).text("by_user", by.user.as_str()),
        None => details,
    }
}
