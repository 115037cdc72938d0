//! What is remembered of ended sessions, written.

use redb::WriteTransaction;

use super::expiring::Expiring;
use super::schema::{END_NOTE_EXPIRY, END_NOTES, Fault};
use crate::monitor::EndNote;
use crate::session::{SessionId, StoreTime};

/// Remembers something of ended sessions, each until then.
pub(super) fn keep_notes(
    transaction: &WriteTransaction,
    notes: &[(SessionId, EndNote, StoreTime)],
    now: StoreTime,
) -> Result<(), Fault> {
    if notes.is_empty() {
        return Ok(());
    }
    let mut kept = Expiring::open(transaction, END_NOTES, END_NOTE_EXPIRY)?;
    kept.sweep(notes.len(), now)?;
    notes.iter().try_for_each(|(id, note, until)| kept.put(id.as_str(), note.encode().as_bytes(), *until))
}
