//! `POST /v1/sessions/{id}/hold` and `/release`: a session is held until its user logs in again, or goes on.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Answer, unless_replicated};
use super::auth::{Caller, Operate};
use super::change::{Change, Target};
use super::input::{NoParameters, OptionalJson, Query, ReasonBody, SessionPath, words};
use super::problem::{Problem, ProblemBody};
use super::state::AdminState;
use crate::session::{SessionId, Words};
use crate::sessions::Holding;
use crate::told::Origin;

/// Whether a session is held
#[derive(Serialize, ToSchema)]
pub(super) struct Held {
    /// Whether it is
    held: bool,
    /// Whether this call changed that. What is held stays held for the reason that it was first held for
    changed: bool,
    /// `false` where not all replicas of the store have it yet. Else it is left out
    #[serde(skip_serializing_if = "Option::is_none")]
    replicated: Option<bool>,
}

impl Held {
    const fn of(holding: Holding, held: bool) -> Result<Self, Problem> {
        match holding {
            Holding::Changed { replicated } => {
                Ok(Self { held, changed: true, replicated: unless_replicated(replicated) })
            }
            Holding::AsItWas => Ok(Self { held, changed: false, replicated: None }),
            Holding::NoSession => Err(Problem::NO_SESSION),
        }
    }
}

/// Holds a session
///
/// From the answer on no instance accepts its requests (401 `reauth_required`); what is open for it is cut within a second. It
/// goes on where it was when it is released, and ends when its user logs in again, which makes another in its place, or by
/// time. Access tokens cannot be held: end them.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/hold", tag = "sessions", security(("token" = ["operate"])),
    params(("id" = String, Path, description = "The session's id")),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "It is held", body = Held),
        (status = 404, description = "There is no session of this id that is not over", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn hold_session(
    caller: Caller<Operate>,
    State(state): State<AdminState>,
    SessionPath(id): SessionPath,
    Query(NoParameters {}): Query<NoParameters>,
    OptionalJson(body): OptionalJson<ReasonBody>,
) -> Result<Answer<Held>, Problem> {
    let why = words(body.reason.as_deref())?;
    let change = of_session(state, caller, "hold_session", why.clone(), id);
    let hold = async move |state: AdminState, origin: Origin| {
        Held::of(state.services.commons.sessions.hold(&origin, id, why).await?, true)
    };
    change.run(hold).await.map(Answer)
}

/// Lets a session go on that is held
///
/// All instances accept it within a second. One that is not held stays as it is.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/release", tag = "sessions", security(("token" = ["operate"])),
    params(("id" = String, Path, description = "The session's id")),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "It is not held", body = Held),
        (status = 404, description = "There is no session of this id that is not over", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn release_session(
    caller: Caller<Operate>,
    State(state): State<AdminState>,
    SessionPath(id): SessionPath,
    Query(NoParameters {}): Query<NoParameters>,
    OptionalJson(body): OptionalJson<ReasonBody>,
) -> Result<Answer<Held>, Problem> {
    let change = of_session(state, caller, "release_session", words(body.reason.as_deref())?, id);
    let release = async move |state: AdminState, origin: Origin| {
        Held::of(state.services.commons.sessions.release(&origin, id).await?, false)
    };
    change.run(release).await.map(Answer)
}

fn of_session(state: AdminState, caller: Caller<Operate>, call: &'static str, words: Words, id: SessionId) -> Change {
    Change::new(state, caller.operator(), call, words, Target { session: Some(id), ..Target::default() })
}
