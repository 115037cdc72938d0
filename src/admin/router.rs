//! Which path of the operator's listener answers what.

use axum::Router;
use axum::extract::{Extension, Request};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, header};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::openapi::{Document, complete, frame};
use super::problem::Problem;
use super::state::AdminState;
use super::{
    change_tenant, console, end_session, health, hold_session, host, judge_anomaly, list_activities, list_alerts,
    list_anomalies, list_orphans, list_sessions, list_tenants, locks, maintenance, mint_session, openapi, query_audit,
    revoke_tenant, revoke_user, show_report, show_session, show_tenant,
};

/// Everything that the listener answers.
pub(super) fn router(state: AdminState) -> Router {
    let api = TowerToHyperService::new(calls(&state));
    let health = health::routes().with_state(state.clone());
    let console = console::pages(state.clone(), TowerToHyperService::new(calls(&state).merge(health)));
    let console = TowerToHyperService::new(console);
    let of_state = state.clone();
    // Without any token there is no API and no console, and not even an Allow header tells that there could be one.
    let or_calls = async move |request: Request| {
        if of_state.config().admin.tokens.is_empty() {
            return Problem::NOT_FOUND.into_response();
        }
        let service = if console::is_for(request.uri().path()) { &console } else { &api };
        service.call(request).await.unwrap_or_else(|never| match never {})
    };
    Router::new()
        .merge(health::routes())
        .fallback(or_calls)
        .method_not_allowed_fallback(async || Problem::METHOD_NOT_ALLOWED)
        .layer(from_fn_with_state(state.clone(), host::check))
        .layer(map_response(guard))
        .with_state(state)
}

/// The calls that ask for a token.
fn calls(state: &AdminState) -> Router {
    let (api, document) = api().split_for_parts();
    // It is made of texts and numbers: it cannot fail.
    let text = complete(document).to_json().unwrap_or_default();
    api.fallback(async || Problem::NOT_FOUND)
        .method_not_allowed_fallback(async || Problem::METHOD_NOT_ALLOWED)
        .layer(Extension(Document(text.into())))
        .with_state(state.clone())
}

/// The calls, each with its part of the document.
fn api() -> OpenApiRouter<AdminState> {
    OpenApiRouter::with_openapi(frame())
        .routes(routes!(list_sessions::list_sessions, mint_session::mint_session))
        .routes(routes!(show_session::show_session, end_session::end_session))
        .routes(routes!(hold_session::hold_session))
        .routes(routes!(hold_session::release_session))
        .routes(routes!(list_tenants::list_tenants))
        .routes(routes!(show_tenant::show_tenant, change_tenant::change_tenant))
        .routes(routes!(revoke_tenant::revoke_tenant))
        .routes(routes!(list_orphans::list_orphans))
        .routes(routes!(revoke_user::revoke_user))
        .routes(routes!(maintenance::show_maintenance, maintenance::set_maintenance))
        .routes(routes!(list_anomalies::list_anomalies))
        .routes(routes!(list_anomalies::show_anomaly))
        .routes(routes!(judge_anomaly::judge_anomaly))
        .routes(routes!(list_alerts::list_alerts))
        .routes(routes!(show_report::show_report))
        .routes(routes!(list_activities::list_activities))
        .routes(routes!(locks::list_locks))
        .routes(routes!(locks::end_lock))
        .routes(routes!(query_audit::query_audit))
        .routes(routes!(openapi::openapi))
}

/// No answer is kept by a cache, or taken for what it is not.
async fn guard(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}
