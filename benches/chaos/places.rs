//! Which part of the store has what, and since when: one part where there is one master, one for each master of a cluster.

use std::collections::BTreeMap;

use base64::Engine as _;
use sha2::Digest as _;

use crate::model::At;
use crate::slot::{SLOTS, Slot};

/// A slot that goes from one part to another with all that is in it.
struct Move {
    to: usize,
    began: At,
    ended: At,
}

/// Some parts of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts(u8);

impl Parts {
    pub const fn with(self, part: usize) -> Self {
        Self(self.0 | 1 << part)
    }

    pub const fn has(self, part: usize) -> bool {
        self.0 & 1 << part != 0
    }

    /// Whether one of these is one of those.
    pub const fn meet(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

/// What has which slots.
pub struct Places {
    parts: usize,
    moves: BTreeMap<u16, Vec<Move>>,
}

impl Default for Places {
    fn default() -> Self {
        Self::of(1)
    }
}

impl Places {
    /// So many parts, each with as many slots that follow each other.
    pub const fn of(parts: usize) -> Self {
        Self { parts, moves: BTreeMap::new() }
    }

    /// How many parts there are.
    pub const fn count(&self) -> usize {
        self.parts
    }

    pub const fn are_several(&self) -> bool {
        self.parts > 1
    }

    /// A slot goes to another part. It is not known yet when it will have come.
    pub fn goes(&mut self, slot: u16, to: usize, began: At) {
        self.moves.entry(slot).or_default().push(Move { to, began, ended: At::MAX });
    }

    pub fn has_come(&mut self, slot: u16, ended: At) {
        if let Some(last) = self.moves.get_mut(&slot).and_then(|moves| moves.last_mut()) {
            last.ended = ended;
        }
    }

    /// The parts that may have had a slot at some time between.
    pub fn having(&self, slot: u16, from: At, to: At) -> Parts {
        let (mut parts, mut owner, mut since) = (Parts::default(), self.at_first(slot), At::ZERO);
        for next in self.moves.get(&slot).into_iter().flatten() {
            if since <= to && next.ended >= from {
                parts = parts.with(owner);
            }
            (owner, since) = (next.to, next.began);
        }
        if since <= to { parts.with(owner) } else { parts }
    }

    /// When what is in a slot came to that part last, before then.
    pub fn came(&self, slot: u16, part: usize, before: At) -> At {
        let moves = self.moves.get(&slot).into_iter().flatten().rev();
        let mut came = moves.filter(|other| other.to == part && other.began <= before).map(|last| last.ended);
        came.next().unwrap_or(At::ZERO)
    }

    fn at_first(&self, slot: u16) -> usize {
        let first = |part: &usize| usize::from(SLOTS) * part / self.parts;
        (0..self.parts).rfind(|part| first(part) <= usize::from(slot)).unwrap_or_default()
    }
}

/// Where the record of a session is.
pub fn slot_of_session(id: &str) -> u16 {
    Slot::of(format!("{{{id}}}").as_bytes()).number()
}

/// Where the standing of a tenant is, and that of its users.
pub fn slot_of_tenant(tenant: usize) -> u16 {
    let sum = &sha2::Sha256::digest(format!("t{tenant}"))[..16];
    let tag = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(sum);
    Slot::of(format!("{{{tag}}}").as_bytes()).number()
}
