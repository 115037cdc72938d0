//! An entry's way through the journal: written before the server is asked, completed after it, or left to be carried out
//! late.

use std::sync::Arc;

use super::super::Unavailable;
use super::super::journal::{Entry, Journal, Written};
use crate::session::{By, EndReason, StoreTime};

/// An entry of the journal, where there is one. Dropped before it is completed it is carried out late.
pub(super) struct Kept<'a> {
    journal: Option<&'a Arc<Journal>>,
    written: Option<Written>,
}

impl<'a> Kept<'a> {
    pub(super) async fn write(journal: Option<&'a Arc<Journal>>, entry: Entry, reason: EndReason, by: &By) -> Self {
        let written = match journal {
            Some(journal) => journal.write(entry, reason, by).await,
            None => None,
        };
        Self { journal, written }
    }

    /// One about many sessions: those made until now, by the server's clock.
    pub(super) async fn write_many(
        journal: Option<&'a Arc<Journal>>,
        entry: impl FnOnce(StoreTime) -> Entry,
        reason: EndReason,
        by: &By,
    ) -> Self {
        match journal.map(|journal| journal.server_time()) {
            // Of a server that was never there nothing is known, and nothing was made on it.
            Some(None) => Self { journal, written: None },
            Some(Some(now)) => Self::write(journal, entry(now), reason, by).await,
            None => Self { journal, written: None },
        }
    }

    /// Whether it outlives this process, where it was asked to.
    pub(super) fn is_kept(&self) -> bool {
        self.journal.is_none() || self.written.as_ref().is_some_and(Written::is_durable)
    }

    /// The server has it, and made this of it.
    pub(super) fn complete(mut self, standing: Option<&str>) {
        if let (Some(journal), Some(written)) = (self.journal, self.written.take()) {
            journal.complete(written, standing);
        }
    }

    /// The server did not take it, or nobody can tell.
    pub(super) fn fail(self, unavailable: Unavailable) -> Unavailable {
        Unavailable { comes_late: self.written.is_some(), ..unavailable }
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if let (Some(journal), Some(written)) = (self.journal, &self.written) {
            journal.failed(written);
        }
    }
}
