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
use crate::audit::{AuditEvent, AuditType, AuditUnavailable, Details, Outcome};
use crate::session::{SessionId, TenantId, UserId, Words};
use crate::told::{Origin, reason_of};

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

    /// Makes the change and writes it down. `work` tells of what it does as coming from the origin that it is given.
    pub(super) async fn run<T, F>(
        self,
        work: impl FnOnce(AdminState, Origin) -> F + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        self.run_or_undo(work, |_, _, _| std::future::ready(())).await
    }

    /// The same; and undoes what was done, should it be impossible to write it down.
    pub(super) async fn run_or_undo<T, F, U>(
        self,
        work: impl FnOnce(AdminState, Origin) -> F + Send + 'static,
        undo: impl FnOnce(AdminState, Origin, T) -> U + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Problem>> + Send + 'static,
        U: Future<Output = ()> + Send + 'static,
    {
        let mut random = [0; 8];
        self.state.services.commons.entropy.fill(&mut random).map_err(|error| Problem::internal(&error))?;
        let request_id = format!("{:016x}", u64::from_be_bytes(random));
        let tasks = self.state.services.commons.tasks.clone();
        let done = tasks.spawn(self.run_to_the_end(request_id, work, undo)).await;
        done.unwrap_or_else(|error| Err(Problem::internal(&error)))
    }

    async fn run_to_the_end<T, F, U>(
        self,
        request_id: String,
        work: impl FnOnce(AdminState, Origin) -> F,
        undo: impl FnOnce(AdminState, Origin, T) -> U,
    ) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Problem>>,
        U: Future<Output = ()>,
    {
        let audit = &self.state.services.audit;
        let origin = self.operator.origin(&self.words, &request_id).holding();
        let begun = audit.record_durably(self.called(&origin, Outcome::Begun, Details::none())).await;
        let outcome = match begun {
            Ok(()) => work(self.state.clone(), origin.clone()).await,
            Err(AuditUnavailable) => Err(Problem::NOT_AUDITED),
        };
        let mut lines = origin.take_held();
        match outcome {
            Ok(answer) => {
                lines.push(self.called(&origin, Outcome::Success, Details::none()));
                if self.write(lines).await.is_ok() {
                    return Ok(answer);
                }
                undo(self.state.clone(), origin.at_once(), answer).await;
                Err(Problem::AUDIT_UNCONFIRMED)
            }
            Err(problem) => {
                // The caller is told that it failed, which may be wrong where the store did not answer: there is
                // nothing to acknowledge that the line would have to precede.
                let code = Details::none().text("code", problem.code());
                lines.push(self.called(&origin, Outcome::Failure, code));
                lines.into_iter().for_each(|line| audit.record(line));
                Err(problem)
            }
        }
    }

    /// That there is a call, and how it went.
    fn called(&self, origin: &Origin, outcome: Outcome, details: Details) -> AuditEvent {
        let mut event = origin.event(self.state.services.commons.clock.wall(), AuditType::AdminCalled, outcome);
        event.tenant.clone_from(&self.target.tenant);
        event.user.clone_from(&self.target.user);
        event.session_id = self.target.session;
        event.reason = reason_of(&self.words);
        event.with_details(details.text("call", self.call))
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
