//! Whose turn it is to change something of a session. In memory: nobody but this process has the file, and what was begun by
//! one that ended is begun anew.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::session::{SessionId, StoreTime};

/// From so many on, those that are over are looked for.
const MANY: usize = 1024;

/// The turns that are held: by whom, and until when.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<SessionId, (Box<str>, StoreTime)>>);

impl Turns {
    /// Takes one, or goes on holding it. `false`: it is another's.
    pub(super) fn take(&self, id: SessionId, holder: &str, lasts: Duration, now: StoreTime) -> bool {
        let mut turns = self.0.lock();
        if turns.len() >= MANY {
            turns.retain(|_, (_, until)| now < *until);
        }
        let is_free = turns.get(&id).is_none_or(|(held, until)| **held == *holder || now >= *until);
        if is_free {
            turns.insert(id, (holder.into(), now.after(lasts)));
        }
        is_free
    }

    /// Gives one back, if it is this holder's.
    pub(super) fn end(&self, id: SessionId, holder: &str) {
        let mut turns = self.0.lock();
        if turns.get(&id).is_some_and(|(held, _)| **held == *holder) {
            turns.remove(&id);
        }
    }
}
