//! Ends sessions: one, all of a user's or a tenant's, or what time has ended already. From the answer on none of them is
//! accepted anywhere, and what was open for them is cut.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Ending, Issued, Sessions};
use crate::clock::Monotonic;
use crate::custody::CustodyKeys;
use crate::session::{
    By, DeniedUntil, EndReason, Principal, Revocation, Scope, SessionId, SessionRecord, StoreTime, TenantChange,
    TenantId, TokenDenial,
};
use crate::store::{Revoked, StoreResult, gone_on};
use crate::told::{EndedFrom, Origin, Told};

/// For so long after its end a token may be believed (`bearer.leeway`).
pub const LONGEST_LEEWAY: Duration = Duration::from_secs(300);

impl Sessions {
    /// Ends one session. One that was over already is not told of again; answers whether it was not.
    ///
    /// # Errors
    /// When nothing can be said of it.
    pub async fn end(
        &self,
        origin: &Origin,
        id: SessionId,
        record: &SessionRecord,
        reason: EndReason,
    ) -> StoreResult<bool> {
        self.end_told(origin, id, record, reason).await.map(|ending| ending.ended)
    }

    async fn end_told(
        &self,
        origin: &Origin,
        id: SessionId,
        record: &SessionRecord,
        reason: EndReason,
    ) -> StoreResult<Ending> {
        let asked = self.teller.clock().monotonic();
        self.deny_left(origin, id, record, reason).await?;
        let ended = self.store.end(id, record, reason, &origin.by).await?;
        if ended {
            self.is_over(origin, id, record, reason);
        } else {
            self.open.cut_for(id, reason);
        }
        Ok(self.ending(ended, asked).await)
    }

    /// With whether it outlives the store's server. What was over before is nothing new to be lost.
    async fn ending(&self, ended: bool, asked: Monotonic) -> Ending {
        Ending { ended, replicated: !ended || self.store.is_replicated(asked).await, was: None }
    }

    /// Ends one session of which nothing but an id is known, be it of a token that was replaced, also one that cannot be
    /// read; answers whether there was one.
    ///
    /// # Errors
    /// When nothing can be said of it.
    pub async fn end_by_id(&self, origin: &Origin, id: SessionId, reason: EndReason) -> StoreResult<Ending> {
        match gone_on(&*self.store, id).await {
            Ok(Some(was)) => {
                let ending = self.end_told(origin, was.id, &was.live.record, reason).await?;
                Ok(Ending { was: ending.ended.then(|| Box::new(was)), ..ending })
            }
            Ok(None) => Ok(Ending { ended: false, replicated: true, was: None }),
            Err(unavailable) if unavailable.unreadable => {
                let asked = self.teller.clock().monotonic();
                let ended = self.store.end_unreadable(id, reason, &origin.by).await?;
                self.open.cut_for(id, reason);
                if ended {
                    self.teller.tell(origin, &Told::SessionEnded { id, principal: None, reason, from: None });
                }
                Ok(self.ending(ended, asked).await)
            }
            Err(unavailable) => Err(unavailable),
        }
    }

    /// Ends what has this id: a session, or a token of an issuer, of which nothing is kept, and which is denied for as long as
    /// any could live. `owner` is whose it is, where that is known. Answers whether there was one.
    ///
    /// # Errors
    /// When nothing can be said of it.
    pub async fn end_whatever(
        &self,
        origin: &Origin,
        id: SessionId,
        owner: Option<&Arc<Principal>>,
        reason: EndReason,
    ) -> StoreResult<Ending> {
        let ending = self.end_by_id(origin, id, reason).await?;
        let longest = Duration::from_micros(self.tokens_live.load(Ordering::Relaxed));
        if ending.ended || longest.is_zero() {
            return Ok(ending);
        }
        let until = DeniedUntil::For(longest);
        self.deny(origin, TokenDenial { id, owner: owner.cloned(), until, reason }).await
    }

    /// Denies the token that the browser of a session was left, before the session ends: after it nobody knows which it is.
    ///
    /// # Errors
    /// When nothing can be said of it.
    pub async fn deny_left(
        &self,
        origin: &Origin,
        id: SessionId,
        record: &SessionRecord,
        reason: EndReason,
    ) -> StoreResult<()> {
        if !self.leaves_tokens.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Some(sealed) = self.store.sealed_token(id).await? else { return Ok(()) };
        let Some((token, until)) = CustodyKeys::denies(&sealed) else { return Ok(()) };
        let until = DeniedUntil::At(StoreTime::from_micros(until.as_micros()).after(LONGEST_LEEWAY));
        let owner = Some(record.principal.clone());
        self.deny(origin, TokenDenial { id: token, owner, until, reason }).await.map(drop)
    }

    /// Denies a token of an issuer. One that was denied already is not told of again; answers whether it was not.
    ///
    /// # Errors
    /// When nothing can be said of it.
    pub async fn deny(&self, origin: &Origin, denial: TokenDenial) -> StoreResult<Ending> {
        let asked = self.teller.clock().monotonic();
        let denied = self.store.deny(&denial, &origin.by).await?;
        let TokenDenial { id, owner: principal, reason, .. } = denial;
        self.open.cut_for(id, reason);
        if denied {
            self.teller.tell(origin, &Told::TokenRevoked { id, principal, reason });
        }
        Ok(self.ending(denied, asked).await)
    }

    /// Ends a session whose token nobody was told, and nobody will be. Where the store cannot do it now it does it later.
    pub async fn take_back(&self, origin: &Origin, made: &Issued) {
        let origin = origin.but_by(By::Gateway);
        if let Err(error) = self.end(&origin, made.id, &made.record, EndReason::Revoked).await {
            tracing::debug!(%error, session_id = made.id.as_str(), "a session that nobody has is ended later");
            self.store.abandon(made.id, &made.record.principal);
        }
    }

    /// Ends many sessions, whatever their number.
    ///
    /// # Errors
    /// When nothing can be said of them.
    pub async fn end_all_of(&self, origin: &Origin, scope: Scope, reason: EndReason) -> StoreResult<Revoked> {
        let revocation = Revocation { scope, reason, by: origin.by.clone() };
        let asked = self.teller.clock().monotonic();
        let revoked = self.store.revoke(&revocation).await?;
        // Which they were the store knows.
        self.open.ask_now();
        let revoked = Revoked { replicated: self.store.is_replicated(asked).await, ..revoked };
        self.teller.tell(origin, &Told::SessionsEnded { revocation, revoked });
        Ok(revoked)
    }

    /// Changes a tenant's status, which ends all its sessions unless it was and stays active.
    ///
    /// # Errors
    /// When nothing can be said of it.
    pub async fn change_tenant(&self, origin: &Origin, tenant: TenantId, change: TenantChange) -> StoreResult<Revoked> {
        let asked = self.teller.clock().monotonic();
        let revoked = self.store.change_tenant(&tenant, &change).await?;
        self.open.ask_now();
        let revoked = Revoked { replicated: self.store.is_replicated(asked).await, ..revoked };
        self.teller.tell(origin, &Told::TenantChanged { tenant, change, revoked });
        Ok(revoked)
    }

    /// Writes down the end of a session that was over without it, if this is the first to notice.
    pub async fn note_end(&self, origin: &Origin, id: SessionId, record: &SessionRecord, reason: EndReason) {
        if self.deny_left(origin, id, record, reason).await.is_err() {
            // The next use notes it.
            return;
        }
        // Should this fail, the session is over all the same, and the next use notes it.
        if let Ok(true) = self.store.note_end(id, record, reason).await {
            self.tell_end(origin, id, record, reason);
            self.teller.written().await;
        }
    }

    /// A session was ended: what is open for it is cut, and it is told.
    pub(super) fn is_over(&self, origin: &Origin, id: SessionId, record: &SessionRecord, reason: EndReason) {
        self.open.cut_for(id, reason);
        self.tell_end(origin, id, record, reason);
    }

    fn tell_end(&self, origin: &Origin, id: SessionId, record: &SessionRecord, reason: EndReason) {
        let (principal, from) = (Some(record.principal.clone()), Some(EndedFrom::of(id, record)));
        self.teller.tell(origin, &Told::SessionEnded { id, principal, reason, from });
    }
}
