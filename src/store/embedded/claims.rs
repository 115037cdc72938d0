//! Who asks the backend about whom. In memory: nobody but this process has the file.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::super::membership::Subject;
use crate::session::StoreTime;

/// From so many on, those that are over are looked for.
const MANY: usize = 1024;

/// Who is asked about, and until when nobody else asks.
#[derive(Default)]
pub(super) struct Claims(Mutex<Claimed>);

#[derive(Default)]
struct Claimed {
    until: HashMap<Subject, StoreTime>,
    /// At how many those that are over are looked for again.
    crowded: usize,
}

impl Claims {
    /// Claims it for so long. `false`: it is claimed.
    pub(super) fn take(&self, subject: &Subject, lasts: Duration, now: StoreTime) -> bool {
        let mut claimed = self.0.lock();
        if claimed.until.len() >= claimed.crowded.max(MANY) {
            claimed.until.retain(|_, until| now < *until);
            claimed.crowded = 2 * claimed.until.len();
        }
        let is_free = claimed.until.get(subject).is_none_or(|until| now >= *until);
        if is_free {
            claimed.until.insert(subject.clone(), now.after(lasts));
        }
        is_free
    }
}
