//! Questions of the gateway's own to the backend, during a login: asked as the client would ask them.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use super::exchange::Exchange;
use super::failure::Failure;
use super::forward::{Cleared, Content, send};
use super::services::Gateway;
use crate::http::{RequestHost, Scheme};
use crate::login::{Browser, LARGEST_ANSWER_TO_A_QUESTION, Question};
use crate::policy::{Permit, Route, permit_login};
use crate::upstream::{Unreadable, UpstreamBody, read_whole};

/// What the backend answered.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The backend that a login went to, and who is there to ask it in the name of.
pub(super) struct Questions {
    pub(super) browser: Browser,
    permit: Permit,
    host: RequestHost,
    scheme: Scheme,
    via: HeaderValue,
}

impl Questions {
    /// Questions from the sender of this login.
    pub(super) fn like(gateway: &Gateway, route: &Route, login: &Cleared) -> Self {
        let own_cookie = &gateway.config().cookie.name;
        Self {
            browser: Browser::of_request(own_cookie, &login.headers, login.host.host(), login.target.path()),
            permit: permit_login(route),
            host: login.host.clone(),
            scheme: login.scheme,
            via: login.via.clone(),
        }
    }

    /// The same, in nobody's name.
    pub(super) fn in_nobodys_name(self, gateway: &Gateway) -> Self {
        let (own_cookie, host) = (&gateway.config().cookie.name, self.host.host());
        Self { browser: Browser::of_request(own_cookie, &HeaderMap::new(), host, "/"), ..self }
    }

    /// The same, in the name of the browser as it is by now, to the upstream of that route.
    pub(super) fn about(self, browser: Browser, route: &Route) -> Self {
        Self { browser, permit: permit_login(route), ..self }
    }

    /// How long the backend may take for an answer.
    pub(super) fn patience(&self, gateway: &Gateway) -> Result<Duration, Failure> {
        Ok(gateway.upstream(&self.permit)?.patience())
    }

    /// Takes in the cookies of the login's answer.
    pub(super) fn receive_cookies(&mut self, gateway: &Gateway, answer: &HeaderMap) {
        self.browser.receive(answer, unix_seconds(gateway));
    }

    /// Asks.
    pub(super) async fn ask(
        &self,
        gateway: &Gateway,
        exchange: &mut Exchange,
        question: Question,
    ) -> Result<Reply, Failure> {
        let question = Cleared {
            method: Method::GET,
            target: question.target,
            host: self.host.clone(),
            scheme: self.scheme,
            via: self.via.clone(),
            headers: question.headers.into(),
            content: Content::Whole(Bytes::new()),
        };
        let (parts, body) = send(gateway, exchange, &self.permit, Box::new(question)).await?.into_parts();
        let body = read_answer(gateway, &self.permit, &parts.headers, body, LARGEST_ANSWER_TO_A_QUESTION).await?;
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }
}

/// The time that cookies expire by.
pub(super) fn unix_seconds(gateway: &Gateway) -> u64 {
    gateway.clock().wall().as_micros() / 1_000_000
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
