//! Holds sessions, and lets them go on. From the answer on no request of a session that is held is accepted anywhere, and what
//! was open for it is cut; but it lives, and goes on where it was when it is released.

use super::Sessions;
use crate::session::{Barred, By, EndReason, HoldWord, SessionId, Words};
use crate::store::{Going, Said, StoreResult, gone_on};
use crate::told::{Origin, Told};

/// What became of a session that was to be held, or to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// It is so from now on.
    Changed {
        /// Whether that outlives the server that took it (see [`SessionStore::is_replicated`](crate::store::SessionStore)).
        replicated: bool,
    },
    /// It was so already.
    AsItWas,
    /// There is no session of this id that is not over.
    NoSession,
}

impl Sessions {
    /// Holds a session, by any of its tokens. One that is held already stays held for the reason that it was first held for.
    ///
    /// A token of the app's that its browser was left is denied: it would be the session without its cookie. It stays denied
    /// when the session goes on, and the next login gives another.
    ///
    /// # Errors
    /// When nothing can be said of it.
    pub async fn hold(&self, origin: &Origin, id: SessionId, why: Words) -> StoreResult<Holding> {
        let Some(Going { id, live, .. }) = gone_on(&*self.store, id).await? else { return Ok(Holding::NoSession) };
        let denied = if origin.by == By::Gateway { EndReason::SecurityAnomaly } else { EndReason::Revoked };
        self.deny_left(origin, id, &live.record, denied).await?;
        let asked = self.teller.clock().monotonic();
        let said = self.store.hold(id, &live.record, &HoldWord::Hold(why.clone()), &origin.by).await?;
        if said == Said::Over {
            return Ok(Holding::NoSession);
        }
        // Also what another call has held just now.
        for id in [Some(id), live.record.line.as_ref().map(|line| line.before)].into_iter().flatten() {
            self.open.cut_for(id, Barred::Held);
        }
        if said == Said::Nothing {
            return Ok(Holding::AsItWas);
        }
        self.teller.tell(origin, &Told::SessionHeld { id, principal: live.record.principal.clone(), why });
        Ok(Holding::Changed { replicated: self.store.is_replicated(asked).await })
    }

    /// Lets a session go on that is held, by any of its tokens.
    ///
    /// # Errors
    /// When nothing can be said of it.
    pub async fn release(&self, origin: &Origin, id: SessionId) -> StoreResult<Holding> {
        let Some(Going { id, live, hold }) = gone_on(&*self.store, id).await? else { return Ok(Holding::NoSession) };
        let asked = self.teller.clock().monotonic();
        match self.store.hold(id, &live.record, &HoldWord::Release, &origin.by).await? {
            Said::News => {}
            Said::Nothing => return Ok(Holding::AsItWas),
            Said::Over => return Ok(Holding::NoSession),
        }
        let principal = live.record.principal.clone();
        self.teller.tell(origin, &Told::SessionReleased { id, principal, held: hold, by: None });
        Ok(Holding::Changed { replicated: self.store.is_replicated(asked).await })
    }
}
