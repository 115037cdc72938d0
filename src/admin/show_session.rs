//! `GET /v1/sessions/{id}`: one live session.

use axum::extract::State;

use super::answer::Answer;
use super::auth::{Caller, Read};
use super::input::{NoParameters, Query, SessionPath};
use super::problem::{Problem, ProblemBody};
use super::session_view::Session;
use super::state::AdminState;
use crate::store::SessionView;

/// Shows a live session
#[utoipa::path(
    get, path = "/v1/sessions/{id}", tag = "sessions", security(("token" = ["read"])),
    params(("id" = String, Path, description = "The session's id")),
    responses(
        (status = 200, description = "The session", body = Session),
        (status = 404, description = "There is no live session of this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show_session(
    _: Caller<Read>,
    State(state): State<AdminState>,
    SessionPath(id): SessionPath,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Answer<Session>, Problem> {
    let standing = state.services.commons.store.read(id).await?;
    SessionView::of_standing(id, standing).map(|view| Answer(view.into())).ok_or(Problem::NO_SESSION)
}
