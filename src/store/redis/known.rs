//! Which tenants the server knows by name, as far as this instance wrote it down.
//!
//! Keys hold hashes of tenants, so that a list of their names is kept apart. A login need not write to it each time.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::session::{SessionRecord, StoreTime, TenantId};

/// Between two writes of one tenant.
const PAUSE: Duration = Duration::from_secs(60);
/// Tenants that are remembered. More than that, and all are written anew.
const MOST: usize = 20_000;

/// What was written lately.
#[derive(Default)]
pub(super) struct KnownTenants(Mutex<Written>);

#[derive(Default)]
struct Written {
    /// The connection it was written on: another may lead to a server that has lost it.
    epoch: u64,
    /// When each tenant was written, and until when it is known.
    tenants: HashMap<TenantId, (StoreTime, StoreTime)>,
}

impl KnownTenants {
    /// Until when a new session's tenant has to be made known; `None` when it is known for so long already.
    pub(super) fn unknown(&self, tenant: &TenantId, record: &SessionRecord, epoch: u64) -> Option<StoreTime> {
        let written = self.0.lock();
        let known = written
            .tenants
            .get(tenant)
            .filter(|_| written.epoch == epoch)
            .is_some_and(|(at, until)| record.deadline <= *until && record.created.since(*at) < PAUSE);
        // Those of the next minute as well.
        (!known).then(|| record.deadline.after(PAUSE))
    }

    pub(super) fn wrote(&self, tenant: &TenantId, until: StoreTime, now: StoreTime, epoch: u64) {
        let mut written = self.0.lock();
        if written.epoch != epoch || written.tenants.len() >= MOST {
            *written = Written { epoch, tenants: HashMap::new() };
        }
        written.tenants.insert(tenant.clone(), (now, until));
    }
}
