//! What was looked up: what is noted of it for log and audit, and a session looked at once more, because the look was too
//! long ago, or because it ended meanwhile.

use super::exchange::{Decided, Exchange};
use super::failure::Failure;
use super::lookup::{BadTokenUse, EndedUse, HeldUse, Lookup, look_at};
use super::services::Gateway;
use super::token::look_at_token;
use crate::session::{Barred, By, EndReason, SessionId, Standing};
use crate::store::STALE_AT_MOST;
use crate::told::Told;

impl Gateway {
    /// Keeps what the look-up showed for log and audit, and writes down an end by time that is first noticed here.
    pub(super) async fn note(&self, exchange: &mut Exchange, lookup: &Lookup) {
        match lookup {
            Lookup::Live(live) => {
                exchange.session = Some(live.id);
                exchange.principal = Some(live.record.principal.clone());
            }
            Lookup::Ended(ended) => {
                exchange.session = Some(ended.id);
                Box::pin(self.note_end(exchange, ended)).await;
                let principal = ended.record.as_ref().map(|record| record.principal.clone());
                self.tell(exchange, &Told::SessionRejected { id: ended.id, principal, reason: ended.reason.into() });
                self.note_use_after_end(exchange, ended);
            }
            Lookup::Held(HeldUse { id, record }) => {
                exchange.session = Some(*id);
                let principal = Some(record.principal.clone());
                self.tell(exchange, &Told::SessionRejected { id: *id, principal, reason: Barred::Held });
            }
            Lookup::Unknown(id) => exchange.session = *id,
            Lookup::BadToken(BadTokenUse { token, why, .. }) => {
                exchange.session = token.as_ref().map(|(id, _)| *id);
                self.tell(exchange, &Told::TokenRejected { token: token.clone(), why });
            }
            Lookup::NoCredential | Lookup::Unavailable(..) => {}
        }
    }

    async fn note_end(&self, exchange: &Exchange, ended: &EndedUse) {
        let (Some(record), false) = (&ended.record, ended.noted) else { return };
        self.sessions().note_end(&exchange.origin(By::Gateway), ended.id, record, ended.reason).await;
    }

    /// Asks once more about a session that a request was accepted for, just before the backend is.
    pub(super) async fn look_again(&self, decided: Decided) -> Result<(), Failure> {
        let Decided { id, cuts, token, tenant, .. } = decided;
        let lookup = match token {
            Some(token) => look_at_token(self.store(), self.clock(), token, STALE_AT_MOST).await,
            None => look_at(self.store(), self.clock(), id, &self.config().session.limits, STALE_AT_MOST).await,
        };
        match (lookup.over(), lookup) {
            (_, Lookup::BadToken(token)) => Err(Failure::Denied(token.bad.denial())),
            (Some(barred), _) if cuts.includes(barred) => Err(Failure::Denied(barred.into())),
            (None, Lookup::Unavailable(_, unavailable)) => Err(Failure::Store(unavailable)),
            _ => self.look_again_in(tenant.as_deref()).await,
        }
    }

    /// Why a session ended between its look-up and its use.
    pub(super) async fn why_gone(&self, id: SessionId) -> Result<Barred, Failure> {
        match self.store().read(id).await.map_err(Failure::Store)? {
            Standing::Ended(ended) => Ok(ended.reason.into()),
            Standing::Held(_) => Ok(Barred::Held),
            Standing::Absent | Standing::Live(_) => Ok(EndReason::IdleTimeout.into()),
        }
    }
}
