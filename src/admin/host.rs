//! Under which names the listener answers: a page that a browser loaded from elsewhere must not read it by having its own
//! name lead here (DNS rebinding). Addresses cannot be made to lead elsewhere, so that every one is fine.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::Version;
use http::header::HOST;

use super::problem::Problem;
use super::state::AdminState;
use crate::http::{AllowedHosts, RequestHost, request_host};

/// Answers 421 to a request for a name that is not the listener's.
pub(super) async fn check(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    if is_ours(&request, &state.config().admin.hosts) {
        next.run(request).await
    } else {
        Problem::HOST_NOT_ALLOWED.into_response()
    }
}

fn is_ours(request: &Request, named: &AllowedHosts) -> bool {
    // Browsers name one always, and probes in HTTP/1.0 need not.
    if request.version() == Version::HTTP_10 && !request.headers().contains_key(HOST) {
        return true;
    }
    let Ok(host) = request_host(request.headers(), request.uri()) else { return false };
    is_here(&host) || named.allows(&host)
}

/// Whether it is an address, or the one name that is always this machine's.
fn is_here(host: &RequestHost) -> bool {
    let text = host.host();
    let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    address.parse::<std::net::IpAddr>().is_ok() || text == "localhost"
}
