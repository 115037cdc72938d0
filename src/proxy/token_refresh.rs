//! Getting another token for a session: by a request that finds the old one near its end, by one gateway at a time.
//!
//! A refresh token that is presented twice logs its user out in many apps (they rotate it and take the second for a
//! theft). So there is a turn, in the store, for a quarter of a minute and renewed while the app thinks; who does not have
//! it goes on with the old token until that is over, and then waits. The new token is stored only while the session lives.
//! An app that says no ends the session; one that says nothing keeps it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_TYPE, HeaderMap, USER_AGENT};
use http::{HeaderValue, Method, StatusCode};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::app_tokens::{AppTokens, Opened, Refreshing};
use super::exchange::Exchange;
use super::failure::Failure;
use super::forward::{Cleared, Content, send};
use super::lookup::LiveUse;
use super::questions::read_answer;
use super::services::Gateway;
use crate::custody::{AppToken, Left, RefreshRules, SentAs, TokenRules};
use crate::http::{RequestHost, Scheme};
use crate::jwt::unverified_claims;
use crate::login::read_json;
use crate::policy::{Denial, permit_login};
use crate::secret::Secret;
use crate::session::{By, DeniedUntil, EndReason, SessionId, SessionRecord, SessionToken, StoreTime, TokenDenial};
use crate::sessions::LONGEST_LEEWAY;
use crate::store::StoreResult;
use crate::telemetry::TokenRefresh;

/// For how long a turn is taken, and how often it is renewed.
const TURN: Duration = Duration::from_secs(15);
const RENEWED: Duration = Duration::from_secs(4);
/// How long the app may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a request waits for another gateway's turn, and how often it looks.
const WAIT: Duration = Duration::from_secs(45);
const LOOK: Duration = Duration::from_millis(100);
/// How soon it is looked for what another gateway got.
const ANOTHERS: Duration = Duration::from_secs(1);
/// How soon an app that did not answer is asked again, while the old token is good and when it is not.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_WHEN_OVER: Duration = Duration::from_secs(1);
/// Of a refresh that had begun already the outcome may be none: then it is begun again, so often.
const JOINED: usize = 3;
/// How often, and how long apart, it is tried to store what the app has handed out: nobody else has it.
const STORE_TRIES: usize = 60;

/// What is to be known to ask for another token, whoever still waits for it.
#[derive(Clone)]
pub(super) struct Asking {
    id: SessionId,
    record: Arc<SessionRecord>,
    cookie: SessionToken,
    exchange: Exchange,
    host: RequestHost,
    scheme: Scheme,
    via: HeaderValue,
    headers: HeaderMap,
}

/// A turn that is held; given back when it is dropped.
pub(super) struct Turn {
    gateway: Arc<Gateway>,
    id: SessionId,
    holder: String,
    _renewed: AbortOnDropHandle<()>,
}

/// Whose token is being changed in this process.
struct Here {
    tokens: Arc<AppTokens>,
    id: SessionId,
}

impl Asking {
    /// `None` where the session's token is not refreshed.
    pub(super) fn of(
        gateway: &Gateway,
        exchange: &Exchange,
        live: &LiveUse,
        cookie: &SessionToken,
        cleared: &Cleared,
    ) -> Option<Self> {
        gateway.token_rules(&live.record.principal.user)?.refresh.as_ref()?;
        let mut headers = HeaderMap::new();
        for name in [USER_AGENT, ACCEPT_LANGUAGE] {
            if let Some(value) = cleared.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let exchange = Exchange { decided: None, opened: None, opened_for: None, withheld: None, ..exchange.clone() };
        Some(Self {
            id: live.id,
            record: live.record.clone(),
            cookie: cookie.clone(),
            exchange,
            host: cleared.host.clone(),
            scheme: cleared.scheme,
            via: cleared.via.clone(),
            headers,
        })
    }
}

impl Gateway {
    /// Begins to get another token for a session, unless that has begun. What becomes of it may be waited for, or not.
    pub(super) fn begin_to_refresh(
        self: &Arc<Self>,
        tokens: &Arc<AppTokens>,
        asking: &Asking,
        old: &Arc<Opened>,
    ) -> watch::Receiver<Option<Refreshing>> {
        let id = asking.id;
        let mut under_way = tokens.under_way.lock();
        if let Some(outcome) = under_way.get(&id) {
            return outcome.clone();
        }
        let (tell, outcome) = watch::channel(None);
        under_way.insert(id, outcome.clone());
        // Taken away whatever becomes of it, a panic included.
        let done = Done { tokens: tokens.clone(), id };
        let (gateway, tokens, asking, old) = (self.clone(), tokens.clone(), asking.clone(), old.clone());
        self.tasks().spawn(async move {
            let done = done;
            let outcome = gateway.refresh(&tokens, asking, &old).await;
            // Whoever comes from here on begins anew.
            drop(done);
            let _ = tell.send(Some(outcome));
        });
        outcome
    }

    /// Another token for a session, waited for.
    pub(super) async fn refreshed(
        self: &Arc<Self>,
        tokens: &Arc<AppTokens>,
        asking: &Asking,
        old: &Arc<Opened>,
    ) -> Result<Arc<Opened>, Failure> {
        for _ in 0..JOINED {
            let mut outcome = self.begin_to_refresh(tokens, asking, old);
            let outcome = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
            match outcome {
                Some(Refreshing::Done(opened)) => return Ok(opened),
                Some(Refreshing::Refused) => {
                    return Err(Failure::Denied(Denial::SessionEnded(EndReason::TokenRefused)));
                }
                Some(Refreshing::Gone) => return Err(Failure::Denied(Denial::SessionEnded(EndReason::Revoked))),
                Some(Refreshing::Unavailable) | None => return Err(Failure::TokenUnavailable),
                // It was good when that began, and may be over by now.
                Some(Refreshing::Elsewhere) if old.is_over(self.clock().wall()) => {}
                Some(Refreshing::Elsewhere) => break,
            }
        }
        Err(Failure::TokenUnavailable)
    }

    async fn refresh(self: &Arc<Self>, tokens: &Arc<AppTokens>, asking: Asking, old: &Opened) -> Refreshing {
        let outcome = self.refresh_in_turn(tokens, asking, old).await.unwrap_or(Refreshing::Unavailable);
        let now = self.clock().monotonic();
        match &outcome {
            Refreshing::Elsewhere => old.rest_until(now.after(ANOTHERS)),
            Refreshing::Unavailable => {
                old.rest_until(now.after(AGAIN));
                old.rest_when_over_until(now.after(AGAIN_WHEN_OVER));
            }
            Refreshing::Done(_) | Refreshing::Refused | Refreshing::Gone => {}
        }
        outcome
    }

    async fn refresh_in_turn(
        self: &Arc<Self>,
        tokens: &Arc<AppTokens>,
        asking: Asking,
        old: &Opened,
    ) -> StoreResult<Refreshing> {
        let Ok(Ok(_at_a_time)) = tokio::time::timeout(PATIENCE, tokens.at_a_time.acquire()).await else {
            return Ok(self.not_refreshed(&asking, &"too many are being refreshed"));
        };
        let began = self.clock().monotonic();
        let _turn = loop {
            if let Some(turn) = self.take_turn(tokens, asking.id).await? {
                break turn;
            }
            if !old.is_over(self.clock().wall()) {
                return Ok(Refreshing::Elsewhere);
            }
            tokio::time::sleep(LOOK).await;
            match self.kept_token(asking.id, &asking.record.principal, &asking.cookie).await {
                Ok(Some(token)) if !token.is_over(self.clock().wall()) => {
                    return Ok(self.adopt(tokens, &asking, &token));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Refreshing::Gone),
                Err(_) => return Ok(Refreshing::Unavailable),
            }
            if self.clock().monotonic().since(began) >= WAIT {
                return Ok(Refreshing::Unavailable);
            }
        };
        let kept = match self.kept_token(asking.id, &asking.record.principal, &asking.cookie).await {
            Ok(Some(kept)) => kept,
            Ok(None) => return Ok(Refreshing::Gone),
            Err(_) => return Ok(Refreshing::Unavailable),
        };
        let config = self.shared_config();
        let login = config.login.of_token(&asking.record.principal.user);
        let rules = login.and_then(|login| login.rules.tokens());
        let (Some(rules), Some(login)) = (rules, login) else { return Ok(Refreshing::Unavailable) };
        let (Some(refresh), Some(presented)) = (&rules.refresh, &kept.refresh) else {
            // It goes on by another cookie.
            return Ok(self.adopt(tokens, &asking, &kept));
        };
        if kept.due(refresh.before).is_some_and(|due| self.clock().wall() < due) {
            // Another gateway was here.
            return Ok(self.adopt(tokens, &asking, &kept));
        }
        let answer =
            match tokio::time::timeout(PATIENCE, self.ask_for_token(&asking, refresh, presented, login.max_body)).await
            {
                Ok(Ok(answer)) => answer,
                Ok(Err(failure)) => return Ok(self.not_refreshed(&asking, &failure.code())),
                Err(_) => return Ok(self.not_refreshed(&asking, &"it did not answer in time")),
            };
        let answer = match answer {
            Answer::Granted(answer) => answer,
            Answer::Refused(status) => return self.refused(tokens, &asking, &kept, status).await,
            Answer::Unclear(status) => return Ok(self.not_refreshed(&asking, &status.as_u16())),
        };
        let another = rules.take(&answer, self.clock().wall());
        let another = match another {
            Ok(Some(another)) => another,
            Ok(None) => return Ok(self.not_refreshed(&asking, &"there is no token in its answer")),
            Err(why) => return Ok(self.not_refreshed(&asking, &why)),
        };
        let claims = unverified_claims(another.access.expose_secret()).ok().flatten().unwrap_or_default();
        let is_theirs = login.rules.may_be_of(&Value::Object(claims), &asking.record.principal, &config.identity.rules);
        if !is_theirs || self.verify_taken(&another).await.is_err() {
            return Ok(self.not_refreshed(&asking, &"its token is another's, or is not good"));
        }
        // Another refresh token takes the place of the one before; an app that hands out none takes that one again.
        let another = AppToken {
            refresh: another.refresh.or_else(|| kept.refresh.clone()),
            place: kept.place.clone(),
            refresh_place: kept.refresh_place.clone().or(another.refresh_place),
            ..another
        };
        if self.is_stored(tokens, &asking, &another, rules.left == Left::Token).await? {
            if let Some(denial) = Self::denial_of_left(rules, &kept, &asking.record) {
                let origin = asking.exchange.origin(By::Gateway);
                if let Err(error) = self.sessions().deny(&origin, denial).await {
                    tracing::warn!(%error, "a token that was refreshed is good beside the new one until it is over");
                }
            }
            self.metrics().token_refreshed(TokenRefresh::Refreshed);
            Ok(self.adopt(tokens, &asking, &another))
        } else {
            tokens.forget(asking.id);
            Ok(Refreshing::Gone)
        }
    }

    /// Stores what the app has handed out, for as long as the session lives. Nobody else has it, and the one before may be
    /// worth nothing any more: so it is tried for long.
    async fn is_stored(
        &self,
        tokens: &AppTokens,
        asking: &Asking,
        token: &AppToken,
        is_left: bool,
    ) -> StoreResult<bool> {
        let whose = &asking.record.principal;
        let sealed = tokens
            .keys
            .seal(&asking.cookie, whose, token, is_left, self.entropy())
            .map_err(crate::store::Unavailable::because)?;
        let mut last = self.store().replace_sealed_token(asking.id, &sealed).await;
        for _ in 0..STORE_TRIES {
            if last.is_ok() {
                break;
            }
            tokio::time::sleep(LOOK * 5).await;
            last = self.store().replace_sealed_token(asking.id, &sealed).await;
        }
        if let Err(error) = &last {
            tracing::error!(
                session_id = asking.id.as_str(),
                %error,
                "another token of a session could not be stored: it ends when the app refuses the one before"
            );
        }
        last
    }

    fn adopt(&self, tokens: &AppTokens, asking: &Asking, token: &AppToken) -> Refreshing {
        let rules = self.token_rules(&asking.record.principal.user);
        Refreshing::Done(tokens.remember(asking.id, Some(token), rules))
    }

    /// The denial of a token that its browser has, and that another takes the place of.
    fn denial_of_left(rules: &TokenRules, token: &AppToken, record: &SessionRecord) -> Option<TokenDenial> {
        let (Left::Token, Some(id), Some(expires)) = (rules.left, token.id(), token.expires) else { return None };
        let until = DeniedUntil::At(StoreTime::from_micros(expires.as_micros()).after(LONGEST_LEEWAY));
        Some(TokenDenial { id, owner: Some(record.principal.clone()), until, reason: EndReason::Replaced })
    }

    fn not_refreshed(&self, asking: &Asking, why: &dyn std::fmt::Display) -> Refreshing {
        self.metrics().token_refreshed(TokenRefresh::Failed);
        let (request_id, session_id) = (asking.exchange.id.as_str(), asking.id.as_str());
        tracing::warn!(request_id, session_id, %why, "the token of a session could not be refreshed; it is tried again");
        Refreshing::Unavailable
    }

    /// The app refuses the refresh token: the session is over, unless it has another by now.
    async fn refused(
        &self,
        tokens: &AppTokens,
        asking: &Asking,
        presented: &AppToken,
        status: StatusCode,
    ) -> StoreResult<Refreshing> {
        match self.kept_token(asking.id, &asking.record.principal, &asking.cookie).await {
            Ok(Some(kept)) if kept.refresh != presented.refresh => return Ok(self.adopt(tokens, asking, &kept)),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Refreshing::Gone),
            Err(_) => return Ok(Refreshing::Unavailable),
        }
        self.metrics().token_refreshed(TokenRefresh::Refused);
        let (request_id, session_id) = (asking.exchange.id.as_str(), asking.id.as_str());
        tracing::info!(
            request_id,
            session_id,
            status = status.as_u16(),
            "the app refused a refresh token: its session ends"
        );
        let origin = asking.exchange.origin(By::Gateway);
        self.sessions().end(&origin, asking.id, &asking.record, EndReason::TokenRefused).await?;
        self.teller().written().await;
        tokens.forget(asking.id);
        Ok(Refreshing::Refused)
    }

    async fn ask_for_token(
        &self,
        asking: &Asking,
        refresh: &RefreshRules,
        presented: &Secret,
        max: usize,
    ) -> Result<Answer, Failure> {
        let segments: Vec<_> = refresh.target.segments().collect();
        let routes = &self.config().routes;
        let permit = permit_login(routes.pick(&Method::POST, &segments, refresh.target.path().ends_with('/')));
        let mut headers = asking.headers.clone();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut body = Bytes::new();
        match &refresh.send {
            SentAs::Body(field) => {
                let document = serde_json::json!({ &**field: presented.expose_secret() });
                body = document.to_string().into();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            SentAs::Bearer => {
                let value = HeaderValue::from_str(&format!("Bearer {}", presented.expose_secret()));
                let mut value =
                    value.map_err(|_| Failure::BadIdentity("the refresh token cannot stand in a header"))?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
        }
        let request = Cleared {
            method: Method::POST,
            target: refresh.target.clone(),
            host: asking.host.clone(),
            scheme: asking.scheme,
            via: asking.via.clone(),
            headers: headers.into(),
            content: Content::Whole(body),
        };
        let mut exchange = asking.exchange.clone();
        let (parts, body) = send(self, &mut exchange, &permit, Box::new(request)).await?.into_parts();
        match parts.status {
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Ok(Answer::Refused(parts.status))
            }
            status if status.is_success() => {
                let body = read_answer(self, &permit, &parts.headers, body, max).await?;
                Ok(read_json(&body).map_or(Answer::Unclear(status), Answer::Granted))
            }
            status => Ok(Answer::Unclear(status)),
        }
    }

    /// Takes the turn to change a session's token, if nobody has it.
    async fn take_turn(self: &Arc<Self>, tokens: &Arc<AppTokens>, id: SessionId) -> StoreResult<Option<Turn>> {
        if !tokens.in_turn.lock().insert(id) {
            return Ok(None);
        }
        let here = Here { tokens: tokens.clone(), id };
        let holder = tokens.next_holder();
        if !self.store().take_turn(id, &holder, TURN).await? {
            return Ok(None);
        }
        let (gateway, name) = (self.clone(), holder.clone());
        let renewed = tokio::spawn(async move {
            let _here = here;
            loop {
                tokio::time::sleep(RENEWED).await;
                // Should it be lost, what was got is looked at before anybody is logged out.
                let _ = gateway.store().take_turn(id, &name, TURN).await;
            }
        });
        Ok(Some(Turn { gateway: self.clone(), id, holder, _renewed: AbortOnDropHandle::new(renewed) }))
    }

    /// The same, once whoever has it is done.
    pub(super) async fn wait_for_turn(self: &Arc<Self>, id: SessionId) -> Result<Option<Turn>, Failure> {
        let Some(tokens) = self.app_tokens() else { return Ok(None) };
        let began = self.clock().monotonic();
        loop {
            if let Some(turn) = self.take_turn(tokens, id).await.map_err(Failure::Store)? {
                return Ok(Some(turn));
            }
            if self.clock().monotonic().since(began) >= WAIT {
                return Err(Failure::TokenUnavailable);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What an app answered.
enum Answer {
    Granted(Value),
    Refused(StatusCode),
    Unclear(StatusCode),
}

/// Takes a session from those that are under way.
struct Done {
    tokens: Arc<AppTokens>,
    id: SessionId,
}

impl Drop for Done {
    fn drop(&mut self) {
        self.tokens.under_way.lock().remove(&self.id);
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.tokens.in_turn.lock().remove(&self.id);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (gateway, id, holder) = (self.gateway.clone(), self.id, std::mem::take(&mut self.holder));
        // Nobody has to wait for it; should it fail, the turn is over by itself.
        self.gateway.tasks().spawn(async move { gateway.store().end_turn(id, &holder).await });
    }
}
