//! The gateway's own answers: to failures, in JSON, to health checks.
//!
//! What a failure is called and says is `failure`'s.

use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    LOCATION, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use http_body::Body as _;
use serde::Serialize;

use super::body::AnswerBody;
use super::exchange::Exchange;
use super::failure::{Failure, PublicError};
use crate::config::Config;
use crate::health::HealthAnswer;
use crate::http::{Page, Refusal, Rendered, USUAL_METHODS};
use crate::signed::Published;

const NOTHING_FROM_ELSEWHERE: HeaderValue =
    HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'");

/// Marks an answer that is the gateway's own, and not a backend's.
#[derive(Clone, Copy)]
pub(super) struct Own;

/// Marks an answer as the gateway's own.
pub(super) fn own(mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    response.extensions_mut().insert(Own);
    response
}

#[derive(Serialize)]
struct ErrorDocument<'a> {
    success: bool,
    error: &'a str,
    error_code: &'a str,
    message: &'a str,
    request_id: &'a str,
    login_url: &'a str,
}

/// The answer to a failure. `redirect` is where a browser navigation without a session is sent instead.
pub(super) fn failure(
    exchange: &mut Exchange,
    failure: &Failure,
    config: &Config,
    redirect: Option<HeaderValue>,
) -> Response<AnswerBody> {
    failure.log(exchange.id.as_str());
    let mut told = failure.told();
    if exchange.is_login && matches!(failure, Failure::Store(_)) {
        told.message = "Nobody can log in just now. Please try again in a moment.".into();
    }
    let sent_something = !matches!(exchange.method, Method::GET | Method::HEAD);
    if exchange.asks_for_page && sent_something && failure.asks_for_login() {
        told.message.to_mut().push_str(" What you sent has not reached the application: please send it again then.");
    }
    exchange.code = Some(told.code);
    let mut response = if let (true, Some(location)) = (failure.asks_for_login(), redirect) {
        let mut response = own(Response::new(AnswerBody::empty()));
        *response.status_mut() = StatusCode::FOUND;
        response.headers_mut().insert(LOCATION, location);
        response
    } else if exchange.asks_for_page {
        page(exchange, failure, &told, config)
    } else {
        let document = ErrorDocument {
            success: false,
            error: told.code,
            error_code: told.code,
            message: &told.message,
            request_id: exchange.id.as_str(),
            login_url: &config.login.login_url,
        };
        json(told.status, &document)
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if failure.asks_for_token() {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
    }
    match failure {
        Failure::MethodNotAllowed(allowed) => {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        Failure::Refused(Refusal::MethodNotAllowed) => {
            let methods = USUAL_METHODS.into_iter().chain(config.server.further_methods.iter().map(Method::as_str));
            let allowed = HeaderValue::try_from(methods.collect::<Vec<_>>().join(", "));
            headers.insert(ALLOW, allowed.unwrap_or(HeaderValue::from_static("GET")));
        }
        _ => {}
    }
    if told.status == StatusCode::SERVICE_UNAVAILABLE {
        let seconds = if let Failure::Maintenance(maintenance) = failure { maintenance.retry_after } else { 1 };
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if told.status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(
            RETRY_AFTER,
            HeaderValue::from(match failure {
                Failure::LoginLocked { seconds } | Failure::TooManyCalls { seconds } => *seconds,
                Failure::TooManyLogins => 1,
                // A place comes free when somebody logs out or a session times out.
                _ => 60,
            }),
        );
    }
    if failure.poisons_connection() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer for a person's browser.
fn page(exchange: &Exchange, failure: &Failure, told: &PublicError, config: &Config) -> Response<AnswerBody> {
    let page = Page {
        status: told.status.as_u16(),
        code: told.code,
        message: &told.message,
        request_id: exchange.id.as_str(),
        login_url: &config.login.login_url,
        asks_for_login: failure.asks_for_login(),
    };
    let Rendered { html, language, built_in } = config.errors.pages.render(exchange.languages.as_ref(), &page);
    let mut response = own(Response::new(AnswerBody::whole(html)));
    *response.status_mut() = told.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(language) = language.and_then(|language| HeaderValue::from_str(language).ok()) {
        headers.insert(CONTENT_LANGUAGE, language);
    }
    if built_in {
        headers.insert(CONTENT_SECURITY_POLICY, NOTHING_FROM_ELSEWHERE);
    }
    response
}

/// What HTTP/2 leaves to us of an answer's frame: there is no connection to speak of, and an answer to HEAD has the
/// length of its body but not the body. (In HTTP/1 hyper sees to the second, and the first tells it to close.)
pub(super) fn framed_for(exchange: &Exchange, mut response: Response<AnswerBody>) -> Response<AnswerBody> {
    if exchange.version != Version::HTTP_2 {
        return response;
    }
    response.headers_mut().remove(CONNECTION);
    if exchange.method != Method::HEAD || response.body().is_end_stream() {
        return response;
    }
    let length = response.body().size_hint().exact();
    if let (Some(length), None) = (length, response.headers().get(CONTENT_LENGTH)) {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response.map(|_| AnswerBody::empty())
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Response<AnswerBody> {
    // Our own documents are plain structs; should one not serialise, an empty body under the right status is left.
    let body = serde_json::to_vec(document).unwrap_or_default();
    let mut response = own(Response::new(AnswerBody::whole(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer to a health check.
pub(super) fn health(answer: &HealthAnswer) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if answer.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// The keys by which backends check what is signed.
pub(super) fn keys(keys: Published) -> Response<AnswerBody> {
    let mut response = own(Response::new(AnswerBody::whole(keys.document)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    let fresh = HeaderValue::try_from(format!("public, max-age={}", keys.fresh.as_secs()));
    headers.insert(CACHE_CONTROL, fresh.unwrap_or(HeaderValue::from_static("no-store")));
    response
}

/// Where the same is to be had over https.
pub(super) fn elsewhere(location: HeaderValue) -> Response<AnswerBody> {
    let mut response = own(Response::new(AnswerBody::empty()));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    response
}

/// Success, and nothing to say.
pub(super) fn nothing() -> Response<AnswerBody> {
    let mut response = own(Response::new(AnswerBody::empty()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The answer to a page that asks for permission: what is said of it.
pub(super) fn permission(said: HeaderMap) -> Response<AnswerBody> {
    let mut response = own(Response::new(AnswerBody::empty()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = said;
    response
}

/// The answer when the task of an exchange panicked. The panic itself is in the log.
pub(super) fn after_panic() -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
