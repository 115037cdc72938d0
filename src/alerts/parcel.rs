//! What is handed over, and what became of it.

use super::letter::Subject;
use crate::secret::Secret;
use crate::session::StoreTime;
use crate::store::alerts::Waiting;

/// What became of an alert that was to be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// It was taken.
    Over,
    /// It never will be.
    Never(String),
    /// It was not taken now; others may be.
    NotNow(String),
    /// Nothing can be handed over now.
    ToNobody(String),
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
