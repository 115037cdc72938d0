//! Which calls a server refuses while it answers others (out of memory, no permission), so that each trouble is logged when
//! it starts and when it is over, and not once per request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::fault::Fault;

/// The troubles there are.
#[derive(Default)]
pub(super) struct Troubles {
    open: AtomicUsize,
    by_command: Mutex<HashMap<&'static str, String>>,
    /// The last connection, counted from 1, on which something unreadable was logged.
    unreadable_on: AtomicU64,
}

impl Troubles {
    pub(super) fn noticed(&self, command: &'static str, epoch: u64, fault: &Fault) {
        let Some(trouble) = fault.trouble() else {
            // About one session, which a client could ask for again and again: once per connection.
            if self.unreadable_on.swap(epoch + 1, Ordering::Relaxed) != epoch + 1 {
                tracing::warn!(command, cause = %fault, "the session store holds something that cannot be read");
            }
            return;
        };
        let mut troubles = self.by_command.lock();
        if troubles.get(command).is_none_or(|known| known != trouble) {
            tracing::warn!(command, cause = %fault, "the session store refuses a command");
            troubles.insert(command, trouble.to_owned());
            self.open.store(troubles.len(), Ordering::Relaxed);
        }
    }

    pub(super) fn over(&self, command: &'static str) {
        if self.open.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut troubles = self.by_command.lock();
        if troubles.remove(command).is_some() {
            tracing::info!(command, "the session store takes the command again");
            self.open.store(troubles.len(), Ordering::Relaxed);
        }
    }
}
