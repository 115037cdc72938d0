//! What callers and the commit thread share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwapOption;
use redb::{Database, ReadableDatabase as _};

use super::super::observe::SharedObserver;
use super::look::Snapshot;
use super::time::StoreClock;

/// What callers and the commit thread share.
pub(super) struct Shared {
    /// `None` while the storage has failed.
    pub(super) database: ArcSwapOption<Database>,
    /// What the last commit left, opened once and not for each request. Replaced by the commit thread before it answers
    /// anybody, so that whoever was answered reads what was written.
    pub(super) latest: ArcSwapOption<Snapshot>,
    pub(super) clock: StoreClock,
    pub(super) observer: SharedObserver,
    /// Whether something is remembered of sessions that are ended many at once.
    pub(super) remembers_ends: AtomicBool,
}

impl Shared {
    /// Has readers see what was committed.
    pub(super) fn refresh(&self) -> Result<(), redb::Error> {
        let Some(database) = self.database.load_full() else { return Ok(()) };
        self.latest.store(Some(Arc::new(Snapshot::of(&database.begin_read()?)?)));
        Ok(())
    }

    /// Lets go of the file: nobody reads from it or writes to it any more.
    pub(super) fn let_go(&self) {
        self.latest.store(None);
        self.database.store(None);
    }
}
