//! Runs what the pipeline decided should be known: audit events and counters, from effects described as data.

use http::StatusCode;

use super::exchange::Exchange;
use super::lookup::EndedUse;
use super::services::Gateway;
use crate::audit::{Actor, AuditEvent, AuditType, Details, Outcome};
use crate::session::{EndReason, Principal, SessionId, SessionRecord};
use crate::store::Revoked;
use crate::telemetry::metrics::{LoginOutcome, RevocationScope};

/// Something that happened and must be told.
#[derive(Debug)]
pub(super) enum Effect {
    /// A login made a session.
    SessionCreated { id: SessionId, record: SessionRecord },
    /// A session is over.
    SessionEnded { id: SessionId, record: SessionRecord, reason: EndReason },
    /// All sessions of a user are over.
    UserSessionsEnded { principal: Principal, reason: EndReason, revoked: Revoked },
    /// An ended session was used.
    SessionRejected(EndedUse),
    /// A login failed.
    LoginFailed { status: StatusCode },
    /// A login was answered, and nobody is logged in yet: a second factor is due, or the backend is unwell.
    LoginUndecided,
    /// The backend accepted a login, and the gateway did not.
    LoginRefused,
    /// A client sent identity headers that are not its session's.
    IdentitySpoofed { headers: u64 },
}

impl Gateway {
    /// Runs an effect. Never blocks and never fails: what cannot be written is counted by the audit log itself.
    pub(super) fn run(&self, exchange: &Exchange, effect: Effect) {
        let event = |kind, outcome, actor| {
            let user_agent = exchange.user_agent.as_ref().map(http::HeaderValue::as_bytes);
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
            Effect::SessionEnded { id, record, reason } => {
                self.metrics().sessions_ended(reason, 1);
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
            Effect::UserSessionsEnded { principal, reason, revoked } => {
                self.metrics().sessions_ended(reason, revoked.ended);
                self.metrics().revocation(RevocationScope::User);
                let details = Details::none().count("invalidated_sessions", revoked.ended);
                let details = if revoked.complete { details } else { details.flag("counting", true) };
                self.audit().record(
                    event(AuditType::SessionEnded, Outcome::Success, Actor::User)
                        .of_principal(&principal)
                        .because(reason)
                        .with_details(details),
                );
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
            Effect::LoginRefused => self.metrics().login(LoginOutcome::Denied),
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
