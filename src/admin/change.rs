//! A change that an operator asks for: done to its end even when the caller hangs up, on disk in the audit log as begun
//! before it has any effect, and as done before it is acknowledged (docs/behaviour.md, "Admin API").
//!
//! What cannot be written down is not begun. So whatever ends this process, nothing was changed of which the log knows
//! nothing: a change that is begun there and has no other line may have been made. Should the log fail between the
//! change and its line, the answer says so: what has ended has ended, and ending it again is harmless.

use futures_util::future::join_all;

use super::auth::Operator;
use super::problem::Problem;
use super::state::AdminState;
use crate::audit::{AuditEvent, AuditType, AuditUnavailable, ClientText, Details, Outcome, Reason};
use crate::session::{By, SessionId, TenantId, UserId, Words};
use crate::store::Revoked;

/// A change that was asked for.
pub(super) struct Change {
    state: AdminState,
    operator: Operator,
    /// The operation, as the OpenAPI document names it.
    call: &'static str,
    words: Words,
    target: Target,
}

/// Whom a change is about, as far as the call says.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    pub(super) tenant: Option<TenantId>,
    pub(super) user: Option<UserId>,
    pub(super) session: Option<SessionId>,
}

/// A change that was made.
pub(super) struct Done<T> {
    /// What the caller is told.
    pub(super) answer: T,
    /// What the audit log is told, beside that there was a call.
    pub(super) events: Vec<AuditEvent>,
}

/// What a change writes its events with.
pub(super) struct Teller {
    operator: Operator,
    words: Words,
    target: Target,
    /// What all lines of one change have in common.
    request_id: ClientText,
}

impl Change {
    pub(super) const fn new(
        state: AdminState,
        operator: Operator,
        call: &'static str,
        words: Words,
        target: Target,
    ) -> Self {
        Self { state, operator, call, words, target }
    }

    /// Makes the change and writes it down.
    pub(super) async fn run<T, F>(
        self,
        work: impl FnOnce(AdminState, Teller) -> F + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<Done<T>, Problem>> + Send + 'static,
    {
        let mut random = [0; 8];
        self.state.services.entropy.fill(&mut random).map_err(|error| Problem::internal(&error))?;
        let request_id = ClientText::from(&*format!("{:016x}", u64::from_be_bytes(random)));
        let tasks = self.state.services.tasks.clone();
        let done = tasks.spawn(self.run_to_the_end(request_id, work)).await;
        done.unwrap_or_else(|error| Err(Problem::internal(&error)))
    }

    async fn run_to_the_end<T, F>(
        self,
        request_id: ClientText,
        work: impl FnOnce(AdminState, Teller) -> F,
    ) -> Result<T, Problem>
    where
        F: Future<Output = Result<Done<T>, Problem>>,
    {
        let audit = &self.state.services.audit;
        let begun = audit.record_durably(self.called(&request_id, Outcome::Begun, Details::none())).await;
        let outcome = match begun {
            Ok(()) => work(self.state.clone(), self.teller(&request_id)).await,
            Err(AuditUnavailable) => Err(Problem::NOT_AUDITED),
        };
        match outcome {
            Ok(Done { answer, mut events }) => {
                events.push(self.called(&request_id, Outcome::Success, Details::none()));
                self.write(events).await.map_err(|_| Problem::AUDIT_UNCONFIRMED)?;
                Ok(answer)
            }
            Err(problem) => {
                // The caller is told that it failed, which may be wrong where the store did not answer: there is
                // nothing to acknowledge that the line would have to precede.
                let code = Details::none().text("code", problem.code());
                audit.record(self.called(&request_id, Outcome::Failure, code));
                Err(problem)
            }
        }
    }

    fn teller(&self, request_id: &ClientText) -> Teller {
        Teller {
            operator: self.operator.clone(),
            words: self.words.clone(),
            target: self.target.clone(),
            request_id: request_id.clone(),
        }
    }

    /// That there is a call, and how it went.
    fn called(&self, request_id: &ClientText, outcome: Outcome, details: Details) -> AuditEvent {
        let details = details.text("call", self.call);
        let event = self.teller(request_id).event(&self.state, AuditType::AdminCalled, outcome);
        let mut event = event.with_details(details);
        event.reason = told(&self.words);
        event
    }

    /// Waits until all of it is on disk.
    async fn write(&self, events: Vec<AuditEvent>) -> Result<(), AuditUnavailable> {
        // Together, so that they share a write; in order, because each is queued when it is first polled.
        join_all(events.into_iter().map(|event| self.state.services.audit.record_durably(event)))
            .await
            .into_iter()
            .collect()
    }
}

impl Teller {
    /// An event that is the operator's act, about the call's target.
    pub(super) fn event(&self, state: &AdminState, kind: AuditType, outcome: Outcome) -> AuditEvent {
        let mut event = self.operator.event(state.services.clock.wall(), kind, outcome);
        event.tenant.clone_from(&self.target.tenant);
        event.user.clone_from(&self.target.user);
        event.session_id = self.target.session;
        event.request_id = Some(self.request_id.clone());
        event
    }

    /// The details of an end of many sessions.
    pub(super) fn revoked(&self, revoked: Revoked) -> Details {
        let mut details = self.words().count("invalidated_sessions", revoked.ended);
        if !revoked.complete {
            details = details.flag("counting", true);
        }
        if !revoked.journalled {
            details = details.flag("journalled", false);
        }
        details
    }

    /// Who asks for it, for the store.
    pub(super) fn by(&self) -> By {
        By::Operator {
            name: self.operator.name().into(),
            words: self.words.clone(),
            request_id: self.request_id.as_str().into(),
        }
    }

    /// The operator's words, for an event whose reason is the gateway's own.
    pub(super) fn words(&self) -> Details {
        match told(&self.words) {
            Some(words) => Details::none().text("words", words.as_str()),
            None => Details::none(),
        }
    }
}

fn told(words: &Words) -> Option<Reason> {
    let text = words.as_str();
    (!text.is_empty()).then(|| Reason::Words(ClientText::from(text)))
}
