//! What waits to be counted by the store, beside requests: bounded, taken out many at once.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::monitor::{Act, Counting, EndNote, Finding};
use crate::session::{SessionId, StoreTime};
use crate::told::Origin;

/// What waits at most, of each kind; what is more is dropped.
const MOST: usize = 4096;

/// An act, and what it comes to if it fires.
pub(super) struct Noted {
    pub(super) act: Act,
    pub(super) finding: Finding,
    /// What its count is called there.
    pub(super) unit: &'static str,
    pub(super) origin: Origin,
}

/// The use of a session that was ended on purpose.
pub(super) struct UsedAfterEnd {
    pub(super) session: SessionId,
    /// What is known of it; `None`: what was remembered when it ended.
    pub(super) note: Option<EndNote>,
    pub(super) finding: Finding,
    pub(super) origin: Origin,
}

/// What waits.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) acts: Vec<Noted>,
    /// Amounts by what they count with: they add up while they wait.
    pub(super) amounts: HashMap<String, Noted>,
    pub(super) notes: Vec<(SessionId, EndNote, StoreTime)>,
    pub(super) uses: Vec<UsedAfterEnd>,
}

/// What became of something that was to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It waits.
    Waits,
    /// It waits, and somebody has to begin to take out.
    First,
    /// There is no room.
    Dropped,
}

/// What waits, and whether somebody takes it out.
#[derive(Default)]
pub(super) struct ActQueue(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: Waiting,
    is_emptied: bool,
}

impl ActQueue {
    pub(super) fn act(&self, noted: Noted) -> Put {
        self.put(|waiting| {
            let Counting::Amount(amount) = noted.act.counting else { return push(&mut waiting.acts, noted) };
            if let Some(before) = waiting.amounts.get_mut(&noted.act.key) {
                let Counting::Amount(waits) = before.act.counting else { return false };
                let counting = Counting::Amount(waits.saturating_add(amount));
                *before = Noted { act: Act { counting, ..noted.act }, ..noted };
                return true;
            }
            let has_room = waiting.amounts.len() < MOST;
            if has_room {
                waiting.amounts.insert(noted.act.key.clone(), noted);
            }
            has_room
        })
    }

    pub(super) fn note(&self, session: SessionId, note: EndNote, until: StoreTime) -> Put {
        self.put(|waiting| push(&mut waiting.notes, (session, note, until)))
    }

    pub(super) fn used(&self, used: UsedAfterEnd) -> Put {
        self.put(|waiting| push(&mut waiting.uses, used))
    }

    fn put(&self, into: impl FnOnce(&mut Waiting) -> bool) -> Put {
        let mut state = self.0.lock();
        if !into(&mut state.waiting) {
            return Put::Dropped;
        }
        if std::mem::replace(&mut state.is_emptied, true) { Put::Waits } else { Put::First }
    }

    /// All that waits; `None`: nothing, and whoever comes next has to begin anew.
    pub(super) fn take(&self) -> Option<Waiting> {
        let mut state = self.0.lock();
        let Waiting { acts, amounts, notes, uses } = &state.waiting;
        if acts.is_empty() && amounts.is_empty() && notes.is_empty() && uses.is_empty() {
            state.is_emptied = false;
            return None;
        }
        Some(std::mem::take(&mut state.waiting))
    }
}

fn push<T>(list: &mut Vec<T>, what: T) -> bool {
    let has_room = list.len() < MOST;
    if has_room {
        list.push(what);
    }
    has_room
}
