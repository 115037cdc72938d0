//! The app's own token on the path of a request: taken out of a login's answer, kept for the session, and sent in the place of
//! whatever the client sends.
//!
//! The store has it sealed; to open it takes the cookie's token, which is looked at here and kept nowhere.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, Response, StatusCode};

use super::app_tokens::{AppTokens, Opened, Sent};
use super::body::AnswerBody;
use super::exchange::Exchange;
use super::failure::Failure;
use super::forward::Cleared;
use super::lookup::{LiveUse, Lookup};
use super::newcomer::DIGESTS;
use super::respond::json;
use super::services::Gateway;
use super::token_refresh::Asking;
use crate::bearer::BadBearer;
use crate::config::Login;
use crate::custody::{AppToken, Cleaned, Left, StandIns, TokenRules};
use crate::http::keep_nowhere;
use crate::jwt::may_be_anothers;
use crate::login::read_json;
use crate::policy::Denial;
use crate::session::{Principal, SessionId, SessionToken, UserId};
use crate::sessions::Deposit;

impl Gateway {
    /// The token that a request's session has, refreshed where it is time to. `None` for requests without a session of the
    /// gateway's, and for sessions without a token.
    pub(super) async fn token_for(
        self: &Arc<Self>,
        exchange: &Exchange,
        lookup: &Lookup,
        cookie: Option<&SessionToken>,
        cleared: &Cleared,
    ) -> Result<Option<Sent>, Failure> {
        let (Some(tokens), Lookup::Live(live), Some(cookie)) = (self.app_tokens(), lookup, cookie) else {
            return Ok(None);
        };
        if live.token.is_some() {
            return Ok(None);
        }
        if let Some(opened) = tokens.opened.get(&live.id)
            && !opened.is_due(self.clock().wall())
        {
            return Ok(opened.sent());
        }
        // What is rare is boxed: the memory of its future is that of every request under way.
        Box::pin(self.token_slowly(tokens, exchange, live, cookie, cleared)).await
    }

    async fn token_slowly(
        self: &Arc<Self>,
        tokens: &Arc<AppTokens>,
        exchange: &Exchange,
        live: &LiveUse,
        cookie: &SessionToken,
        cleared: &Cleared,
    ) -> Result<Option<Sent>, Failure> {
        let opened = match tokens.opened.get(&live.id) {
            Some(opened) => opened,
            None => self.open_token(live, cookie).await?,
        };
        let (now, monotonic) = (self.clock().wall(), self.clock().monotonic());
        if !opened.is_due(now) {
            return Ok(opened.sent());
        }
        let is_over = opened.is_over(now);
        if !opened.may_be_tried(is_over, monotonic) {
            return if is_over { Err(Failure::TokenUnavailable) } else { Ok(opened.sent()) };
        }
        let Some(asking) = Asking::of(self, exchange, live, cookie, cleared) else {
            // It is not refreshed under this configuration.
            return if is_over { Err(Failure::TokenUnavailable) } else { Ok(opened.sent()) };
        };
        if is_over {
            return self.refreshed(tokens, &asking, &opened).await.map(|opened| opened.sent());
        }
        self.begin_to_refresh(tokens, &asking, &opened);
        Ok(opened.sent())
    }

    /// The same for who leaves: as it is, and nothing where it cannot be had.
    pub(super) async fn token_as_it_is(&self, lookup: &Lookup, cookie: Option<&SessionToken>) -> Option<Sent> {
        let (tokens, Lookup::Live(live), cookie) = (self.app_tokens()?, lookup, cookie?) else { return None };
        if live.token.is_some() {
            return None;
        }
        match tokens.opened.get(&live.id) {
            Some(opened) => opened.sent(),
            None => Box::pin(self.open_token(live, cookie)).await.ok()?.sent(),
        }
    }

    /// Answers a front end that asks the app for another token: with what stands for the one that its session has by then.
    /// `None` where it has none, or where there is no session: the app answers.
    pub(super) async fn answer_for_token(
        self: &Arc<Self>,
        exchange: &Exchange,
        lookup: &Lookup,
        cookie: Option<&SessionToken>,
        cleared: &Cleared,
    ) -> Result<Option<Response<AnswerBody>>, Failure> {
        let (Some(tokens), Lookup::Live(live), Some(cookie)) = (self.app_tokens(), lookup, cookie) else {
            return Ok(None);
        };
        let whose = &live.record.principal;
        let Some(rules) = self.token_rules(&whose.user).filter(|_| live.token.is_none()) else { return Ok(None) };
        let opened = match tokens.opened.get(&live.id) {
            Some(opened) => opened,
            None => self.open_token(live, cookie).await?,
        };
        if opened.is_due(self.clock().wall())
            && let Some(asking) = Asking::of(self, exchange, live, cookie, cleared)
        {
            match self.refreshed(tokens, &asking, &opened).await {
                Err(Failure::TokenUnavailable) if !opened.is_over(self.clock().wall()) => {}
                refreshed => drop(refreshed?),
            }
        }
        let Some(token) = self.kept_token(live.id, whose, cookie).await? else { return Ok(None) };
        let mut response = json(StatusCode::OK, &StandIns::of(&token, rules.left).answer());
        keep_nowhere(response.headers_mut());
        Ok(Some(response))
    }

    /// Asks the store for a session's token, and remembers it.
    async fn open_token(&self, live: &LiveUse, cookie: &SessionToken) -> Result<Arc<Opened>, Failure> {
        let Some(tokens) = self.app_tokens() else { return Err(Failure::TokenUnavailable) };
        let token = self.kept_token(live.id, &live.record.principal, cookie).await?;
        let rules = self.token_rules(&live.record.principal.user);
        Ok(tokens.remember(live.id, token.as_ref(), rules))
    }

    /// How the token of a user's session is seen to.
    pub(super) fn token_rules(&self, user: &UserId) -> Option<&TokenRules> {
        self.config().login.of_token(user)?.rules.tokens()
    }

    /// The token that the store keeps for a session.
    pub(super) async fn kept_token(
        &self,
        id: SessionId,
        whose: &Principal,
        cookie: &SessionToken,
    ) -> Result<Option<AppToken>, Failure> {
        let Some(tokens) = self.app_tokens() else { return Ok(None) };
        let Some(sealed) = self.store().sealed_token(id).await.map_err(Failure::Store)? else { return Ok(None) };
        match tokens.keys.open(cookie, whose, &sealed) {
            Some(token) => Ok(Some(token)),
            None => {
                tracing::error!(
                    session_id = id.as_str(),
                    "the token of a session cannot be opened: was secrets.key changed without secrets.previous_files?"
                );
                Err(Failure::TokenUnavailable)
            }
        }
    }

    /// Takes the token out of a login's answer. `None` where it captures none.
    pub(super) async fn take_token(
        &self,
        exchange: &Exchange,
        login: &Login,
        body: &[u8],
    ) -> Result<Option<AppToken>, Failure> {
        let Some(rules) = login.rules.tokens() else { return Ok(None) };
        let none = Failure::BadIdentity("there is no token in the login's answer");
        let Some(answer) = read_json(body) else { return Err(none) };
        let token = rules.take(&answer, self.clock().wall()).map_err(Failure::BadIdentity)?.ok_or(none)?;
        self.verify_taken(&token).await?;
        if let (Some(field), Some(tokens)) = (token.too_long_for_gunicorn(), self.app_tokens())
            && tokens.too_long.is_due(self.clock().monotonic())
        {
            let (request_id, length, limit) = (exchange.id.as_str(), field.length, field.limit);
            tracing::warn!(
                request_id,
                length,
                limit,
                "the line with a login's token is longer than gunicorn reads: raise its limit_request_field_size"
            );
        }
        Ok(Some(token))
    }

    /// A token that `[bearer]` has a key for is a good one, or none at all.
    pub(super) async fn verify_taken(&self, token: &AppToken) -> Result<(), Failure> {
        let Some(bearer) = self.bearer() else { return Ok(()) };
        match bearer.verify(token.access.expose_secret().as_bytes()).await {
            Ok(_) => Ok(()),
            // Whose it is, the login's own rules say.
            Err(BadBearer::Token(fault)) if may_be_anothers(fault, token.access.expose_secret()) => Ok(()),
            Err(BadBearer::Token(fault)) => {
                tracing::warn!(why = fault.as_str(), "the token in an answer is not one of the issuer that it names");
                Err(Failure::BadIdentity("its token is not good by `[bearer]`"))
            }
            Err(BadBearer::KeysUnavailable) => Err(Failure::Denied(Denial::KeysUnavailable)),
        }
    }

    /// What is kept for a session that is made with a token.
    pub(super) fn deposit(&self, token: &AppToken, rules: &TokenRules) -> Option<Deposit> {
        let keys = self.app_tokens()?.keys.clone();
        let is_refreshed = rules.refresh.is_some() && token.refresh.is_some();
        let at_most = if is_refreshed { None } else { token.left(self.clock().wall()) };
        Some(Deposit { keys, token: token.clone(), at_most, is_left: rules.left == Left::Token })
    }
}

/// Takes the tokens out of an answer. Answers its body.
pub(super) fn without_tokens(token: &AppToken, left: Left, headers: &mut HeaderMap, body: Bytes) -> Bytes {
    let stand_ins = StandIns::of(token, left);
    stand_ins.clean_headers(headers);
    let Some(document) = read_json(&body) else { return body };
    let cleaned = stand_ins.cleaned(body, &document, read_json);
    if !matches!(cleaned, Cleaned::AsItWas(_)) {
        DIGESTS.iter().for_each(|name| drop(headers.remove(name)));
    }
    match cleaned {
        Cleaned::AsItWas(body) | Cleaned::Changed(body) => body,
        Cleaned::Rewritten(body) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            body
        }
    }
}
