//! What calls are answered with.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::store::Revoked;

/// 200 with JSON.
pub(super) struct Answer<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        match serde_json::to_string(&self.0) {
            Ok(text) => {
                let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                (StatusCode::OK, [kind], text).into_response()
            }
            Err(error) => Problem::internal(&error).into_response(),
        }
    }
}

/// What the end of many sessions came to
#[derive(Serialize, ToSchema)]
pub(super) struct Revocation {
    /// How many sessions were live; each is counted by one call only
    pub(super) invalidated_sessions: u64,
    /// Only there if counting them takes longer than 5 s and goes on: true. All have ended all the same
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub(super) pending: bool,
}

impl Revocation {
    pub(super) const fn of(revoked: Revoked) -> Self {
        Self { invalidated_sessions: revoked.ended, pending: !revoked.complete }
    }
}
