//! A session that was looked up, looked at once more: because that was too long ago, or because it ended meanwhile.

use super::exchange::Decided;
use super::failure::Failure;
use super::lookup::{Lookup, look_at};
use super::services::Gateway;
use super::token::look_at_token;
use crate::policy::Denial;
use crate::session::{EndReason, SessionId, Standing};
use crate::store::STALE_AT_MOST;

impl Gateway {
    /// Asks once more about a session that a request was accepted for, just before the backend is.
    pub(super) async fn look_again(&self, decided: Decided) -> Result<(), Failure> {
        let Decided { id, cuts, token, tenant, .. } = decided;
        let lookup = match token {
            Some(token) => look_at_token(self.store(), self.clock(), token, STALE_AT_MOST).await,
            None => look_at(self.store(), self.clock(), id, &self.config().session.limits, STALE_AT_MOST).await,
        };
        match (lookup.over(), lookup) {
            (_, Lookup::BadToken(token)) => Err(Failure::Denied(token.bad.denial())),
            (Some(reason), _) if cuts.includes(reason) => Err(Failure::Denied(Denial::SessionEnded(reason))),
            (None, Lookup::Unavailable(_, unavailable)) => Err(Failure::Store(unavailable)),
            _ => self.look_again_in(tenant.as_deref()).await,
        }
    }

    /// Why a session ended between its look-up and its use.
    pub(super) async fn why_gone(&self, id: SessionId) -> Result<EndReason, Failure> {
        match self.store().read(id).await.map_err(Failure::Store)? {
            Standing::Ended(ended) => Ok(ended.reason),
            Standing::Absent | Standing::Live(_) => Ok(EndReason::IdleTimeout),
        }
    }
}
