//! `DELETE /v1/sessions/{id}`: one session ends.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, unless_replicated};
use super::auth::{Caller, Operate};
use super::change::{Change, Target};
use super::input::{Query, ReasonParameter, SessionPath, words};
use super::problem::{Problem, ProblemBody};
use super::state::AdminState;
use crate::session::{EndReason, SessionId};
use crate::sessions::Ending;
use crate::told::Origin;

/// That the session was ended
#[derive(Serialize, ToSchema)]
pub(super) struct Ended {
    /// Always 1
    invalidated_sessions: u64,
    /// `false` where not all replicas of the store have it yet: should its master be lost now, the gateway that was asked
    /// refuses the session at once, the others at most 1 s after it serves from the new master. Else it is left out
    #[serde(skip_serializing_if = "Option::is_none")]
    replicated: Option<bool>,
}

impl Ended {
    fn of(ending: &Ending) -> Self {
        Self { invalidated_sessions: 1, replicated: unless_replicated(ending.replicated) }
    }
}

/// Ends a session
///
/// From the answer on no instance accepts it; what is open for it is cut within a second. With `[bearer]` it may be the id
/// of an access token, which is then denied; of one that nobody has seen, too.
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
    change.run(move |state, origin| end(state, origin, id)).await.map(Answer)
}

async fn end(state: AdminState, origin: Origin, id: SessionId) -> Result<Ended, Problem> {
    let sessions = &state.services.commons.sessions;
    let ending = sessions.end_whatever(&origin, id, None, EndReason::Revoked).await?;
    if ending.ended { Ok(Ended::of(&ending)) } else { Err(Problem::NO_SESSION) }
}
