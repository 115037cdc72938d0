//! The last of an exchange: what every answer gets, what a refusal takes away, and the account that is closed with it.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue, SET_COOKIE, STRICT_TRANSPORT_SECURITY, WWW_AUTHENTICATE};
use http::uri::PathAndQuery;
use http::{Method, Response, StatusCode};

use super::account::Account;
use super::body::AnswerBody;
use super::exchange::Exchange;
use super::failure::Failure;
use super::lookup::LiveUse;
use super::once_more;
use super::respond::{self, Own};
use super::services::Gateway;
use crate::config::Mode;
use crate::http::{Scheme, expire_set_cookie, login_redirect};
use crate::policy::Denial;

const EXPIRES_IN: HeaderName = HeaderName::from_static("x-session-expires-in");
const IDLE_EXPIRES_IN: HeaderName = HeaderName::from_static("x-session-idle-expires-in");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

impl Gateway {
    /// Tells the page how long its session has, where that is wanted.
    pub(super) fn expose_lifetime(&self, headers: &mut HeaderMap, live: &LiveUse) {
        if !self.config().session.expose {
            return;
        }
        headers.insert(EXPIRES_IN, HeaderValue::from(live.record.deadline.since(live.now).as_secs()));
        if let Some(expiry) = live.idle_expiry() {
            headers.insert(IDLE_EXPIRES_IN, HeaderValue::from(expiry.since(live.now).as_secs()));
        }
    }

    /// The answer to a failure. Whoever is sent to the login page leaves behind what would send them back from there: the
    /// cookies of the backend's own session, and a gateway cookie that is none. The answer to a call takes nothing: it may
    /// come late, when a new login's cookies are in the browser already. A store that cannot say never costs anyone
    /// theirs.
    pub(super) fn refuse(&self, exchange: &mut Exchange, failure: &Failure) -> Response<AnswerBody> {
        match failure {
            Failure::Upstream(error) => self.metrics().upstream_error(error.kind()),
            Failure::CameBack(_) => self.metrics().upstream_error("loop"),
            _ => {}
        }
        if exchange.may_have_cookie && matches!(failure, Failure::Denied(Denial::SessionRequired)) {
            return once_more::page(exchange.target.as_ref());
        }
        let login_url = &self.config().login.login_url;
        // What a form sent would be lost on the way, and the login page itself would lead in a circle.
        let goes_to_login = exchange.asks_for_page
            && failure.asks_for_login()
            && matches!(exchange.method, Method::GET | Method::HEAD)
            && login_url.split('?').next() != exchange.target.as_ref().map(PathAndQuery::path);
        let target = exchange.target.as_ref().filter(|_| goes_to_login);
        let redirect = target.map(|target| login_redirect(login_url, target));
        let is_sent_to_login = redirect.is_some();
        let mut response = respond::failure(exchange, failure, self.config(), redirect);
        if failure.asks_for_login() || failure.asks_for_token() {
            self.metrics().session_rejected(exchange.code.unwrap_or_default());
        }
        if is_sent_to_login {
            // That of a session that is held says whose place the next login takes, and is good again should it be released.
            let keeps_cookie = matches!(failure, Failure::Denied(Denial::ReauthRequired));
            if exchange.had_cookie && !keeps_cookie {
                response.headers_mut().append(SET_COOKIE, expire_set_cookie(&self.config().cookie));
            }
            self.expire_backend_cookies(response.headers_mut());
        }
        response
    }

    /// Appends the lines that expire the gateway's cookie and the backend's own.
    pub(super) fn expire_cookies(&self, headers: &mut HeaderMap) {
        headers.append(SET_COOKIE, expire_set_cookie(&self.config().cookie));
        self.expire_backend_cookies(headers);
    }

    /// Tells browsers to come by TLS only (ASVS 3.4.1), where that is how they came. What the backend says of it by
    /// itself stays: it may go further.
    fn demand_tls(&self, exchange: &Exchange, headers: &mut HeaderMap) {
        let server = &self.config().server;
        let wanted = server.mode == Mode::Production && server.public_url.scheme() == Scheme::Https;
        if let (true, Scheme::Https, Some(hsts)) = (wanted, exchange.scheme, &server.hsts) {
            headers.entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| hsts.clone());
        }
    }

    /// Says by what a client shows who it is: by a session, for which no browser has a dialog. Some clients take a 401
    /// without it for a broken answer (RFC 9110 §15.5.2), be it the backend's. What the backend says itself stays.
    fn challenge(&self, headers: &mut HeaderMap) {
        let realm = format!("Session realm=\"{}\"", self.config().server.public_url.host());
        if let Ok(challenge) = HeaderValue::try_from(realm) {
            headers.entry(WWW_AUTHENTICATE).or_insert(challenge);
        }
    }

    /// Names the exchange in its answer, and accounts for it once the answer is over, sent or cut.
    pub(super) fn finish(
        self: &Arc<Self>,
        mut account: Box<Account>,
        mut response: Response<AnswerBody>,
    ) -> Response<AnswerBody> {
        let exchange = &mut account.exchange;
        // The gateway's own share: what the answer's head took, less the backend's part of it.
        let until_head = self.clock().monotonic().since(exchange.started);
        exchange.added = Some(until_head.saturating_sub(exchange.upstream.unwrap_or_default()));
        let is_own = response.extensions().get::<Own>().is_some();
        let is_unauthorised = response.status() == StatusCode::UNAUTHORIZED;
        self.keep_back(exchange, &mut response);
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, exchange.id.header_value().clone());
        if is_unauthorised {
            self.challenge(headers);
        }
        self.config().cors.write(headers, exchange.reader.as_ref(), is_own);
        self.demand_tls(exchange, headers);
        let mut response = respond::framed_for(exchange, response);
        account.answered(response.status());
        if let Some(open) = response.body().open() {
            account.guard().cut_by(open.kill());
        }
        // A tunnel is over when it is, not when its 101 has been sent.
        if let Some(then) = response.body_mut().take_continuation() {
            let connection = account.guard().connection();
            connection.switch(then(self.clone(), account));
            return response;
        }
        response.map(|body| body.accounted_in(account))
    }
}
