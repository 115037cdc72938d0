//! The token of a session that goes on in another tenant: the one that the app hands out for it, or the one that it had.
//!
//! The session that is left has a moment more, in which its token is as good as it was, and is no longer refreshed: what
//! was got by it then nobody would have.

use std::sync::Arc;

use serde_json::Value;

use super::failure::Failure;
use super::lookup::LiveUse;
use super::services::Gateway;
use super::token_refresh::Turn;
use crate::custody::{AppToken, Left, TokenRules};
use crate::jwt::unverified_claims;
use crate::login::read_json;
use crate::session::{EndReason, Principal, SessionToken};
use crate::sessions::{Deposit, Issued};
use crate::told::Origin;

/// A token on its way from one session to the next.
pub(super) struct Moving<'a> {
    old: AppToken,
    new: AppToken,
    rules: &'a TokenRules,
    cookie: &'a SessionToken,
    /// Nobody refreshes it meanwhile.
    _turn: Option<Turn>,
}

impl Gateway {
    /// What a session that goes on as `principal` is to have. `None` where it has no token. `body` is the app's answer.
    pub(super) async fn move_token<'a>(
        self: &'a Arc<Self>,
        live: &LiveUse,
        cookie: Option<&'a SessionToken>,
        principal: &Principal,
        body: &[u8],
    ) -> Result<Option<Moving<'a>>, Failure> {
        let (Some(_), Some(cookie), None) = (self.app_tokens(), cookie, &live.token) else { return Ok(None) };
        let whose = &live.record.principal;
        if self.kept_token(live.id, whose, cookie).await?.is_none() {
            return Ok(None);
        }
        let turn = self.wait_for_turn(live.id).await?;
        let Some(old) = self.kept_token(live.id, whose, cookie).await? else { return Ok(None) };
        let Some(login) = self.config().login.of_token(&principal.user) else { return Ok(None) };
        let Some(rules) = login.rules.tokens() else { return Ok(None) };
        let handed_out = match read_json(body) {
            Some(answer) => rules.take(&answer, self.clock().wall()).map_err(Failure::BadIdentity)?,
            None => None,
        };
        let new = match handed_out {
            Some(new) => {
                self.verify_taken(&new).await?;
                AppToken { refresh: new.refresh.clone().or_else(|| old.refresh.clone()), ..new }
            }
            None => old.clone(),
        };
        let claims = unverified_claims(new.access.expose_secret()).ok().flatten().unwrap_or_default();
        if !login.rules.may_be_of(&Value::Object(claims), principal, &self.config().identity.rules) {
            return Err(Failure::BadIdentity(
                "the session would go on in a tenant that its token does not name: the app is to answer a switch with \
                 another token, where `login.token` looks",
            ));
        }
        Ok(Some(Moving { old, new, rules, cookie, _turn: turn }))
    }
}

impl Moving<'_> {
    pub(super) const fn token(&self) -> &AppToken {
        &self.new
    }

    pub(super) const fn left(&self) -> Left {
        self.rules.left
    }

    pub(super) fn deposit(&self, gateway: &Gateway) -> Option<Deposit> {
        gateway.deposit(&self.new, self.rules)
    }

    /// It has moved.
    pub(super) async fn moved(self, gateway: &Gateway, origin: &Origin, live: &LiveUse, issued: &Issued) {
        let Some(tokens) = gateway.app_tokens() else { return };
        tokens.remember(issued.id, Some(&self.new), Some(self.rules));
        let is_another = self.old.access != self.new.access;
        if is_another && self.rules.left == Left::Token {
            let denied = gateway.sessions().deny_left(origin, live.id, &live.record, EndReason::Replaced).await;
            if let Err(error) = denied {
                tracing::warn!(%error, "the token of a session that was left is good until it is over");
            }
        }
        // Without what could refresh it, and without a denial that would be the new one's.
        let left = AppToken { refresh: None, ..self.old };
        let sealed = tokens.keys.seal(self.cookie, &live.record.principal, &left, false, gateway.entropy());
        if let Ok(sealed) = sealed {
            // Should it fail, the token of the session that goes on is refused once, and looked at again.
            let _ = gateway.store().replace_sealed_token(live.id, &sealed).await;
        }
        tokens.forget(live.id);
    }
}
