//! Questions of the gateway's own to the backend, during a login: asked as the client would ask them.

use bytes::Bytes;
use http::header::{COOKIE, HeaderMap};
use http::{Method, StatusCode};

use super::exchange::Exchange;
use super::forward::{Cleared, Content, send};
use super::respond::Failure;
use super::services::Gateway;
use crate::http::{
    BrowserJar, IdentityPointers, LARGEST_ANSWER_TO_A_QUESTION, LoginIdentity, RequestHost, Scheme, Target,
    question_headers,
};
use crate::policy::{Permit, Route};
use crate::upstream::{Unreadable, UpstreamBody, read_whole};

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
        Self {
            permit: Permit::anonymous(route),
            headers: question_headers(&login.headers),
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

    /// The names of the first cookies that the browser has.
    pub(super) fn cookie_names(&self, most: usize) -> Vec<&str> {
        self.jar.names(most)
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
        Ok(LoginIdentity::from_whoami(status, &body, pointers, &gateway.config().identity.rules))
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
            headers: headers.into(),
            content: Content::Whole(Bytes::new()),
        };
        let (parts, body) = send(gateway, exchange, &self.permit, Box::new(question)).await?.into_parts();
        let body = read_answer(gateway, &self.permit, &parts.headers, body, LARGEST_ANSWER_TO_A_QUESTION).await?;
        Ok((parts.status, body))
    }
}

/// The whole of an answer, readable, and at most `max` bytes of it.
pub(super) async fn read_answer(
    gateway: &Gateway,
    permit: &Permit,
    headers: &HeaderMap,
    body: UpstreamBody,
    max: usize,
) -> Result<Bytes, Failure> {
    let within = gateway.upstream(permit)?.patience();
    read_whole(headers, body, max, within).await.map_err(|unreadable| match unreadable {
        Unreadable::Content(why) => Failure::BadIdentity(why),
        Unreadable::Broken(error) => Failure::Upstream(error),
    })
}
