//! For whom something is open, and what the store is asked about it.

use std::sync::Arc;

use super::Kill;
use crate::clock::Monotonic;
use crate::session::{SessionId, SessionRecord};

/// A session, or a token of an issuer, for which something is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub id: SessionId,
    /// What the store said of the session, or the token says of itself.
    pub record: Arc<SessionRecord>,
    /// Whether it is a token.
    pub is_token: bool,
}

impl Holder {
    /// A session.
    #[must_use]
    pub const fn session(id: SessionId, record: Arc<SessionRecord>) -> Self {
        Self { id, record, is_token: false }
    }
}

/// What the store is asked about: the holder of something that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedAbout {
    /// It.
    pub holder: Holder,
    /// Whether time ended it, and what is open goes on for as long as nobody ends it on purpose.
    pub outlived: bool,
    /// When it was last used by something that is open, if it was since this was asked before.
    pub used_at: Option<Monotonic>,
}

impl AskedAbout {
    /// What is asked about these, which are open for one; nothing where there is none.
    pub(super) fn of<'a>(open: impl Iterator<Item = &'a Arc<Kill>>) -> Option<Self> {
        let mut open = open.peekable();
        let holder = open.peek()?.holder.clone();
        Some(Self { holder, outlived: open.all(|kill| kill.has_outlived()), used_at: None })
    }
}

#[cfg(test)]
impl Holder {
    /// A session of somebody, for tests.
    pub(crate) fn of_somebody(id: SessionId) -> Self {
        use crate::session::{Principal, StoreTime, TenantId, UserId};

        let principal = Principal {
            tenant: TenantId::parse("42").expect("a tenant"),
            user: UserId::parse("7").expect("a user"),
            role: None,
        };
        let (made, over) = (StoreTime::from_micros(0), StoreTime::from_micros(u64::MAX));
        Self::session(id, Arc::new(SessionRecord::of_token(Arc::new(principal), made, over)))
    }
}
