//! Health and metrics, for probes and scrapers, and public keys, for backends: open, for they hold no session, user or
//! tenant.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::problem::Problem;
use super::state::AdminState;
use crate::health::Readiness;
use crate::signed::KEYS_PATH;
use crate::telemetry::Exposition;

/// What is open to all.
pub(super) fn routes() -> Router<AdminState> {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/startupz", get(started))
        .route("/metrics", get(metrics))
        .route(KEYS_PATH, get(keys))
}

async fn ready(State(state): State<AdminState>) -> Response {
    let readiness = &state.services.commons.readiness;
    let reasons = readiness.ready().err().unwrap_or_default();
    let body = serde_json::json!({
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "warnings": warnings(readiness),
    });
    details(reasons.is_empty(), &body)
}

async fn started(State(state): State<AdminState>) -> Response {
    let started = state.services.commons.readiness.started();
    details(started, &serde_json::json!({ "started": started }))
}

async fn metrics(State(state): State<AdminState>, headers: HeaderMap) -> Response {
    let exposition = Exposition::asked_for(&headers);
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(exposition.content_type()));
    let varies = (header::VARY, HeaderValue::from_static("Accept"));
    ([kind, varies], exposition.of(state.services.commons.metrics.encode())).into_response()
}

async fn keys(State(state): State<AdminState>) -> Response {
    match state.services.traffic.published_keys() {
        Some(keys) => {
            let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
            ([kind], keys.document).into_response()
        }
        None => Problem::NOT_FOUND.into_response(),
    }
}

fn warnings(readiness: &Readiness) -> Vec<serde_json::Value> {
    let warnings = readiness.warnings();
    warnings.into_iter().map(|(about, warning)| serde_json::json!({ "about": about, "warning": warning })).collect()
}

fn details(fine: bool, body: &serde_json::Value) -> Response {
    let status = if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (status, [kind], format!("{body}\n")).into_response()
}
