//! For whom something is open, and what the store is asked about it.

use std::sync::Arc;

use super::Kill;
use crate::clock::Monotonic;
use crate::session::{InTenant, SessionId, SessionRecord};

/// A session, or a token of an issuer, for which something is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub id: SessionId,
    /// What the store said of the session, or the token says of itself.
    pub record: Arc<SessionRecord>,
    /// Whether it is a token.
    pub is_token: bool,
    /// The tenant in which it was opened, for a session that has several.
    pub tenant: Option<Arc<InTenant>>,
}

impl Holder {
    /// A session, in its login's own tenant.
    #[must_use]
    pub fn session(id: SessionId, record: Arc<SessionRecord>) -> Self {
        let tenant = (!record.ends_with_its_tenant()).then(|| {
            let tenant = record.principal.tenant.clone();
            Arc::new(InTenant { tenant, generation: record.generations.tenant })
        });
        Self { id, record, is_token: false, tenant }
    }
}

/// What the store is asked about: the holder of something that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedAbout {
    /// It.
    pub holder: Holder,
    /// The tenants in which something is open for a session that has several.
    pub tenants: Vec<Arc<InTenant>>,
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
        let (mut outlived, mut tenants) = (true, Vec::new());
        for kill in open {
            outlived &= kill.has_outlived();
            match &kill.holder.tenant {
                Some(tenant) if !tenants.contains(tenant) => tenants.push(tenant.clone()),
                _ => {}
            }
        }
        Some(Self { holder, tenants, outlived, used_at: None })
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
