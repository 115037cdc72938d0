//! Questions of the gateway's own to the backend, during a login: asked as the client would ask them.

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_ENCODING, COOKIE, HeaderMap, HeaderValue, USER_AGENT,
};
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::exchange::Exchange;
use super::forward::{Cleared, Content, send};
use super::respond::Failure;
use super::services::Gateway;
use crate::http::{BrowserJar, IdentityPointers, LoginIdentity, RequestHost, Scheme, Target};
use crate::policy::{Permit, Route};
use crate::upstream::{UpstreamBody, UpstreamError};

/// The largest answer to a question.
const MAX_ANSWER: usize = 64 * 1024;

/// The backend that a login went to, and what a question to it must have of the login: address and user agent, for
/// backends bind their sessions to them, and the cookies that the browser has by now.
pub(super) struct Questions {
    permit: Permit,
    headers: HeaderMap,
    host: RequestHost,
    scheme: Scheme,
    path: String,
    jar: BrowserJar,
}

impl Questions {
    /// Questions from the sender of this login.
    pub(super) fn like(route: &Route, login: &Cleared) -> Self {
        let mut headers = HeaderMap::new();
        for name in [USER_AGENT, ACCEPT_LANGUAGE] {
            if let Some(value) = login.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        Self {
            permit: Permit::anonymous(route),
            headers,
            host: login.host.clone(),
            scheme: login.scheme,
            path: login.target.path().to_owned(),
            jar: BrowserJar::of_request(&login.headers, login.host.host()),
        }
    }

    /// Takes in the cookies of the login's answer.
    pub(super) fn receive_cookies(&mut self, gateway: &Gateway, answer: &HeaderMap) {
        self.jar.receive(answer, &self.path, gateway.clock().wall().as_micros() / 1_000_000);
    }

    /// Who the backend takes the browser for. A browser without cookies is nobody, unasked.
    pub(super) async fn whoami(
        &self,
        gateway: &Gateway,
        exchange: &mut Exchange,
        target: &Target,
        pointers: &IdentityPointers,
    ) -> Result<LoginIdentity, Failure> {
        if self.jar.cookie_header(target.path()).is_none() {
            return Ok(LoginIdentity::None);
        }
        let (status, body) = self.ask(gateway, exchange, target).await?;
        if status.is_server_error() {
            return Err(Failure::BadIdentity("the whoami path answered with a server error"));
        }
        if !status.is_success() {
            return Ok(LoginIdentity::None);
        }
        Ok(LoginIdentity::from_json(&body, pointers, &[], &gateway.config().identity.rules))
    }

    /// Asks, by GET.
    pub(super) async fn ask(
        &self,
        gateway: &Gateway,
        exchange: &mut Exchange,
        target: &Target,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let mut headers = self.headers.clone();
        if let Some(cookies) = self.jar.cookie_header(target.path()) {
            headers.insert(COOKIE, cookies);
        }
        let question = Cleared {
            method: Method::GET,
            target: target.clone(),
            host: self.host.clone(),
            scheme: self.scheme,
            headers,
            content: Content::Whole(Bytes::new()),
        };
        let (parts, body) = send(gateway, exchange, &self.permit, question).await?.into_parts();
        let body = read_answer(&parts.headers, body, MAX_ANSWER).await?;
        Ok((parts.status, body))
    }
}

/// The whole of an answer, readable, and at most `max` bytes of it.
pub(super) async fn read_answer(headers: &HeaderMap, body: UpstreamBody, max: usize) -> Result<Bytes, Failure> {
    let encoded =
        headers.get(CONTENT_ENCODING).is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(Failure::BadIdentity("it is compressed although `Accept-Encoding: identity` was sent"));
    }
    match Limited::new(body, max).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Failure::BadIdentity("it is larger than the limit")),
        Err(error) => Err(Failure::Upstream(UpstreamError::Broken { cause: error.to_string() })),
    }
}
