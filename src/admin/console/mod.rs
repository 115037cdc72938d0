//! The console: pages for operators at `/console` (docs/behaviour.md, "Console").
//!
//! It is a client of the admin API inside the process: what a page shows it asked for by a call, what a form does is done by
//! one, in the name of who signed in. Pages need no script; the one there is asks for an open page again. Nothing comes from
//! elsewhere, and nothing may be framed.
//!
//! One page a file; `browser` and `visit` know who asks, `layout` and `parts` how it looks.

mod audit;
mod browser;
mod calls;
mod chart;
mod finding;
mod findings;
mod layout;
mod locks;
mod observed;
mod orphans;
mod overview;
mod parts;
mod paths;
mod sessions;
mod sign_in;
mod sign_ins;
mod tenants;
mod visit;
mod words;

use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, StatusCode, header};
use maud::html;

pub(super) use self::calls::Calls;
pub(super) use self::paths::is_for;
pub(super) use self::sign_ins::SignIns;

use self::visit::Console;
use super::state::AdminState;

/// What a page may do: load what is ours, and send forms to us. No script of ours makes HTML of a text.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'; \
                      require-trusted-types-for 'script'";

/// All pages. `calls` answers the admin API's calls, and health.
pub(super) fn pages(admin: AdminState, calls: Calls) -> Router {
    Router::new()
        .route(paths::HOME, get(overview::show))
        .route(paths::SIGN_IN, get(sign_in::ask).post(sign_in::begin))
        .route(paths::SIGN_OUT, post(sign_in::end))
        .route(paths::FINDINGS, get(findings::list))
        .route("/console/findings/{id}", get(findings::show))
        .route("/console/findings/{id}/verdict", post(findings::judge))
        .route(paths::OBSERVED, get(observed::show))
        .route(paths::SESSIONS, get(sessions::list))
        .route("/console/sessions/end-all", get(sessions::ask_end_all).post(sessions::end_all))
        .route("/console/sessions/{id}", get(sessions::show))
        .route("/console/sessions/{id}/end", post(sessions::end))
        .route("/console/sessions/{id}/hold", post(sessions::hold))
        .route("/console/sessions/{id}/release", post(sessions::release))
        .route(paths::LOCKS, get(locks::list))
        .route("/console/locks/{id}/unlock", post(locks::unlock))
        .route(paths::TENANTS, get(tenants::list))
        .route(paths::ORPHANS, get(orphans::list))
        .route(paths::TENANT, get(tenants::show))
        .route("/console/tenant/change", get(tenants::ask).post(tenants::change))
        .route(paths::AUDIT, get(audit::list))
        .route(paths::STYLE, get(async || file("text/css; charset=utf-8", include_str!("style.css"))))
        .route(paths::SCRIPT, get(async || file("text/javascript; charset=utf-8", include_str!("live.js"))))
        .route(paths::ICON, get(async || file("image/svg+xml", include_str!("icon.svg"))))
        .fallback(async || nothing(StatusCode::NOT_FOUND, "There is nothing here"))
        .method_not_allowed_fallback(async || nothing(StatusCode::METHOD_NOT_ALLOWED, "Not in this way"))
        .layer(axum::middleware::map_response(guard))
        .with_state(Console { admin, calls })
}

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

fn nothing(status: StatusCode, title: &str) -> Response {
    layout::plain_page(status, title, &html! { p { a href=(paths::HOME) { "To the overview" } } })
}

/// What every answer of the console says of itself. That it is kept nowhere, and is what it says, all of the listener say.
async fn guard(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // With `no-referrer` a form of ours would come without its origin.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}
