//! Who asks, and what is theirs to see.

use std::sync::Arc;

use super::super::lookup::LiveUse;
use crate::session::Principal;

/// Who asks.
pub(super) struct Asker<'a> {
    pub(super) live: &'a LiveUse,
    pub(super) principal: Arc<Principal>,
    /// Whether all of the tenant is theirs to see.
    pub(super) is_admin: bool,
}

impl Asker<'_> {
    /// Whether something of this principal is theirs to see.
    pub(super) fn may_see(&self, whose: &Principal) -> bool {
        whose.tenant == self.principal.tenant && (self.is_admin || whose.user == self.principal.user)
    }
}
