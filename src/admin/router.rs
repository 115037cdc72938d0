//! Which path of the operator's listener answers what.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::AdminState;
use super::problem::Problem;
use crate::health::Readiness;
use crate::telemetry::metrics::CONTENT_TYPE;

const NO_STORE: (HeaderName, HeaderValue) = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// Everything that the listener answers.
pub(super) fn router(state: AdminState) -> Router {
    Router::new()
        .route("/healthz", get(async || ([NO_STORE], "ok\n")))
        .route("/readyz", get(ready))
        .route("/startupz", get(started))
        .route("/metrics", get(metrics))
        .fallback(async || Problem::NOT_FOUND)
        .method_not_allowed_fallback(async || Problem::METHOD_NOT_ALLOWED)
        .with_state(state)
}

async fn ready(State(state): State<AdminState>) -> Response {
    let reasons = state.readiness.ready().err().unwrap_or_default();
    let body = serde_json::json!({
        "ready": reasons.is_empty(),
        "reasons": reasons,
        "warnings": warnings(&state.readiness),
    });
    details(reasons.is_empty(), &body)
}

async fn started(State(state): State<AdminState>) -> Response {
    let started = state.readiness.started();
    details(started, &serde_json::json!({ "started": started }))
}

async fn metrics(State(state): State<AdminState>) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    ([kind, NO_STORE], state.metrics.encode()).into_response()
}

fn warnings(readiness: &Readiness) -> Vec<serde_json::Value> {
    let warnings = readiness.warnings();
    warnings.into_iter().map(|(about, warning)| serde_json::json!({ "about": about, "warning": warning })).collect()
}

fn details(fine: bool, body: &serde_json::Value) -> Response {
    let status = if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (status, [kind, NO_STORE], format!("{body}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderMap, Method, Request};
    use http_body_util::BodyExt as _;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::telemetry::Metrics;

    fn state() -> AdminState {
        AdminState { readiness: Arc::new(Readiness::new()), metrics: Arc::new(Metrics::new()) }
    }

    async fn call(state: &AdminState, method: Method, path: &str) -> (u16, HeaderMap, String) {
        let request = Request::builder().method(method).uri(path).body(String::new()).expect("a request");
        let service = TowerToHyperService::new(router(state.clone()));
        let (head, body) = service.call(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        (head.status.as_u16(), head.headers, String::from_utf8(body.to_vec()).expect("text"))
    }

    fn json(body: &str) -> serde_json::Value {
        serde_json::from_str(body).expect("JSON")
    }

    #[tokio::test]
    async fn readiness_says_its_reasons_and_warnings() {
        let state = state();
        state.readiness.configuration_loaded();
        state.readiness.store_seen(false);
        state.readiness.warn("identity.mode", Some("is `observe`: nothing is enforced".into()));
        let (status, headers, body) = call(&state, Method::GET, "/readyz").await;
        assert_eq!((status, &headers[header::CACHE_CONTROL]), (503, &HeaderValue::from_static("no-store")));
        assert_eq!(
            json(&body),
            serde_json::json!({
                "ready": false,
                "reasons": ["store_unreachable"],
                "warnings": [{ "about": "identity.mode", "warning": "is `observe`: nothing is enforced" }],
            })
        );
        state.readiness.store_seen(true);
        let (status, _, body) = call(&state, Method::GET, "/readyz").await;
        assert_eq!((status, &json(&body)["ready"]), (200, &serde_json::Value::Bool(true)));
    }

    #[tokio::test]
    async fn start_and_life_are_told_apart_from_readiness() {
        let state = state();
        assert_eq!(call(&state, Method::GET, "/healthz").await.0, 200);
        assert_eq!(call(&state, Method::GET, "/startupz").await.0, 503);
        state.readiness.configuration_loaded();
        state.readiness.store_seen(true);
        state.readiness.begin_draining();
        assert_eq!(call(&state, Method::GET, "/startupz").await.0, 200);
        assert_eq!(call(&state, Method::GET, "/readyz").await.0, 503);
    }

    #[tokio::test]
    async fn metrics_are_open_and_of_the_type_that_they_are_written_in() {
        let (status, headers, body) = call(&state(), Method::GET, "/metrics").await;
        assert_eq!((status, headers[header::CONTENT_TYPE].as_bytes()), (200, CONTENT_TYPE.as_bytes()));
        assert!(body.contains("session_gateway_store_up 0\n") && body.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn whatever_else_is_asked_is_a_problem_and_nothing_more() {
        let state = state();
        for (method, path, expected) in [
            (Method::GET, "/", 404),
            (Method::GET, "/v1/sessions", 404),
            (Method::POST, "/v1/sessions", 404),
            (Method::GET, "/readyz/", 404),
            (Method::GET, "//metrics", 404),
            (Method::POST, "/metrics", 405),
            (Method::DELETE, "/healthz", 405),
        ] {
            let (status, headers, body) = call(&state, method, path).await;
            assert_eq!(status, expected, "{path}");
            assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{path}");
            assert_eq!(json(&body)["status"], expected, "{path}");
        }
    }
}
