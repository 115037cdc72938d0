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
    /// `false` where not all replicas of the store have it yet: should its master be lost now, the gateway that was asked
    /// refuses these sessions at once, the others at most 1 s after it serves from the new master. Else it is left out
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replicated: Option<bool>,
}

impl Revocation {
    pub(super) const fn of(revoked: Revoked) -> Self {
        let replicated = unless_replicated(revoked.replicated);
        Self { invalidated_sessions: revoked.ended, pending: !revoked.complete, replicated }
    }
}

/// What is said of that something outlives the store's server: that it may not.
pub(super) const fn unless_replicated(replicated: bool) -> Option<bool> {
    if replicated { None } else { Some(false) }
}
