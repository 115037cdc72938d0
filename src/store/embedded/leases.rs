//! Who has taken an alert from the outbox. In memory: nobody but this process has the file, and what was taken by one that is
//! gone is nobody's.

use std::collections::HashMap;

use parking_lot::{Mutex, MutexGuard};

/// What is taken, and until when (ms), by which its taker is known.
#[derive(Default)]
pub(super) struct Leases(Mutex<HashMap<String, u64>>);

impl Leases {
    /// All of them; nobody takes anything meanwhile.
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock()
    }

    /// Whether it is this taker's still.
    pub(super) fn is_held(&self, id: &str, lease: u64) -> bool {
        self.0.lock().get(id) == Some(&lease)
    }

    /// Gives it back, if it is this taker's.
    pub(super) fn end(&self, id: &str, lease: u64) {
        let mut leases = self.0.lock();
        if leases.get(id) == Some(&lease) {
            leases.remove(id);
        }
    }
}
