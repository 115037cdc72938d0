//! What is handed over, and what became of it.

use std::fmt;
use std::time::Duration;

use super::letter::Subject;
use crate::secret::Secret;
use crate::session::StoreTime;
use crate::store::alerts::Waiting;

/// What became of an alert that was to be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// It was taken, with these words.
    Over(String),
    /// It never will be.
    Never(String),
    /// It was not taken now; others may be.
    NotNow(String),
    /// Nothing can be handed over now, nor before this is over, if the other side says so.
    ToNobody(String, Option<Duration>),
}

impl Handed {
    /// Nothing can be handed over now.
    pub(super) fn to_nobody(why: impl fmt::Display) -> Self {
        Self::ToNobody(why.to_string(), None)
    }
}

/// What is handed over.
pub(super) struct Parcel<'a> {
    /// Where it goes, and its id.
    pub(super) waiting: &'a Waiting,
    /// What it tells of.
    pub(super) subject: &'a Subject,
    /// The user that it goes to, and their address; else it is an operator's.
    pub(super) user: Option<&'a Secret>,
    /// The store's time.
    pub(super) now: StoreTime,
}
