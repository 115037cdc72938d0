//! Who paid and has no tenant yet, noted for operators: what the backend says of somebody, and what it failed them in.
//!
//! Nothing of it ever costs a login: what the store does not take is not noted.

use super::services::Gateway;
use super::verify::Answered;
use crate::login::Membership;
use crate::session::UserId;
use crate::store::Unavailable;
use crate::store::membership::{Attempts, OrphanNoted};

impl Gateway {
    /// Notes what the backend said of somebody: whoever has a tenant, or has not paid, waits for none. Answers of who does
    /// whether they are new among those, where the store can say.
    pub(super) async fn note_answer(&self, user: &UserId, answered: &Answered) -> Option<bool> {
        if !self.knows_who_paid() {
            return None;
        }
        let store = self.memberships();
        let noted = match &answered.said {
            Membership::Yes(_) | Membership::No { paid: false } => store.forget_orphan(user).await.map(|_| None),
            Membership::No { paid: true } => {
                let noted = store.note_orphan(user, &Attempts::new(answered.asked, None)).await;
                noted.map(|noted| Some(noted == OrphanNoted::New))
            }
            Membership::Unclear(why) => {
                store.note_attempts(user, &Attempts::new(answered.asked, Some(why))).await.map(|_| None)
            }
        };
        noted.unwrap_or_else(|unavailable| {
            not_noted(&unavailable);
            None
        })
    }

    /// Notes that the backend failed somebody who waits.
    pub(super) async fn note_failure(&self, user: &UserId, why: &str) {
        if self.knows_who_paid()
            && let Err(unavailable) = self.memberships().note_attempts(user, &Attempts::new(0, Some(why))).await
        {
            not_noted(&unavailable);
        }
    }

    fn knows_who_paid(&self) -> bool {
        self.config().tenants.as_ref().is_some_and(crate::config::TenantsConfig::knows_who_paid)
    }
}

fn not_noted(error: &Unavailable) {
    tracing::debug!(%error, "what is so of somebody without a tenant could not be noted");
}
