//! `POST /v1/anomalies/{id}/verdict`: what is to be thought of a finding.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::auth::{Caller, Operate};
use super::change::{Change, Target};
use super::input::{FindingPath, Json, NoParameters, Query, words};
use super::problem::{Problem, ProblemBody};
use super::state::AdminState;
use crate::monitor::{FindingNote, Verdict};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SayVerdict)]
pub(super) struct Body {
    verdict: Said,
    /// Why, in the operator's words: one line
    #[schema(max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: Option<String>,
}

/// What is to be thought of a finding
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Verdict)]
pub(super) enum Said {
    /// Nothing is wrong
    Expected,
    /// It was an attack
    Malicious,
}

impl From<Said> for Verdict {
    fn from(said: Said) -> Self {
        match said {
            Said::Expected => Self::Expected,
            Said::Malicious => Self::Malicious,
        }
    }
}

/// That it was noted
#[derive(Serialize, ToSchema)]
pub(super) struct Judged {
    verdict: Said,
}

/// Says what is to be thought of a finding
///
/// The last word counts.
#[utoipa::path(
    post, path = "/v1/anomalies/{id}/verdict", tag = "monitoring", security(("token" = ["operate"])),
    params(("id" = String, Path, description = "The finding's id")),
    request_body = Body,
    responses(
        (status = 200, description = "It was noted", body = Judged),
        (status = 404, description = "There is no finding of this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn judge_anomaly(
    caller: Caller<Operate>,
    State(state): State<AdminState>,
    FindingPath(id): FindingPath,
    Query(NoParameters {}): Query<NoParameters>,
    Json(body): Json<Body>,
) -> Result<Answer<Judged>, Problem> {
    let words = words(body.reason.as_deref())?;
    let operator = caller.operator();
    let by = operator.name().to_owned();
    let said = body.verdict;
    let change = Change::new(state, operator, "judge_anomaly", words, Target::default());
    let work = move |state: AdminState, origin| async move {
        let commons = &state.services.commons;
        let note = FindingNote { verdict: said.into(), by, at: commons.clock.wall().as_micros() };
        if !commons.watch.note_verdict(&origin, id, &note).await? {
            return Err(Problem::NO_FINDING);
        }
        Ok(Judged { verdict: said })
    };
    change.run(work).await.map(Answer)
}
