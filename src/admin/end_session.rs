//! `DELETE /v1/sessions/{id}`: one session ends.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::Answer;
use super::auth::{Caller, Operate};
use super::change::{Change, Done, Target, Teller};
use super::input::{Query, ReasonParameter, SessionPath, words};
use super::problem::{Problem, ProblemBody};
use super::state::AdminState;
use crate::audit::{AuditType, Outcome};
use crate::session::{EndReason, SessionId, Standing};
use crate::telemetry::metrics::RevocationScope;

/// That the session was ended
#[derive(Serialize, ToSchema)]
pub(super) struct Ended {
    /// Always 1
    invalidated_sessions: u64,
}

/// Ends a session
///
/// From the answer on no instance accepts it; what is open for it is cut within a second.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", tag = "sessions", security(("token" = ["operate"])),
    params(("id" = String, Path, description = "The session's id"), ReasonParameter),
    responses(
        (status = 200, description = "It was ended", body = Ended),
        (status = 404, description = "There is no live session of this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn end_session(
    caller: Caller<Operate>,
    State(state): State<AdminState>,
    SessionPath(id): SessionPath,
    Query(query): Query<ReasonParameter>,
) -> Result<Answer<Ended>, Problem> {
    let words = words(query.reason.as_deref())?;
    let target = Target { session: Some(id), ..Target::default() };
    let change = Change::new(state, caller.operator(), "end_session", words, target);
    change.run(move |state, teller| end(state, teller, id)).await.map(Answer)
}

async fn end(state: AdminState, teller: Teller, id: SessionId) -> Result<Done<Ended>, Problem> {
    let services = &state.services;
    let Standing::Live(live) = services.store.read(id).await? else { return Err(Problem::NO_SESSION) };
    if !services.store.end(id, &live.record, EndReason::Revoked, &teller.by()).await? {
        return Err(Problem::NO_SESSION);
    }
    services.traffic.session_ended(id, EndReason::Revoked);
    services.metrics.sessions_ended(EndReason::Revoked, 1);
    services.metrics.revocation(RevocationScope::Session);
    let event = teller
        .event(&state, AuditType::SessionEnded, Outcome::Success)
        .of_principal(&live.record.principal)
        .because(EndReason::Revoked)
        .with_details(teller.words());
    Ok(Done { answer: Ended { invalidated_sessions: 1 }, events: vec![event] })
}
