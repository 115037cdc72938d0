//! The last word about each tenant that is shut out: kept for as long as it counts, however long that is.
//!
//! Sessions end by themselves, so that an entry about them is good for nothing once they would all be over. A tenant that
//! is suspended stays so until somebody says otherwise, also on a server that lost it years later.

use redb::{ReadTransaction, ReadableTable as _, Table, TableDefinition, WriteTransaction};

use super::record::{Record, Word};

/// Tenant to the entry that shut it out, and the generation of that.
const LAST_WORDS: TableDefinition<'static, &str, (u64, u64)> = TableDefinition::new("journal_last_words");

/// A word that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct LastWord {
    pub(in crate::store) tenant: String,
    pub(in crate::store) sequence: u64,
    pub(in crate::store) generation: u64,
}

/// Makes the table.
pub(super) fn make(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(LAST_WORDS)?;
    Ok(())
}

/// What an entry that was written means for how long entries are kept.
pub(super) struct Spoken {
    /// It is the last word, and is kept until there is another.
    pub(super) counts: bool,
    /// The one that was, and is not any more.
    pub(super) before: Option<u64>,
}

/// The words, open for writing.
pub(super) struct LastWords<'txn>(Table<'txn, &'static str, (u64, u64)>);

impl<'txn> LastWords<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self(transaction.open_table(LAST_WORDS)?))
    }

    /// Takes an entry that was written.
    pub(super) fn take(&mut self, sequence: u64, record: &Record) -> Result<Spoken, redb::Error> {
        let nothing = Spoken { counts: false, before: None };
        let Some(Word { tenant, generation, shuts_out }) = record.word() else { return Ok(nothing) };
        let before = self.0.get(tenant.as_str())?.map(|word| word.value());
        if before.is_some_and(|(_, known)| known > generation) {
            return Ok(nothing);
        }
        if shuts_out {
            self.0.insert(tenant.as_str(), (sequence, generation))?;
        } else {
            self.0.remove(tenant.as_str())?;
        }
        Ok(Spoken { counts: shuts_out, before: before.map(|(known, _)| known).filter(|known| *known != sequence) })
    }

    /// An entry is gone.
    pub(super) fn forget(&mut self, sequence: u64, record: &Record) -> Result<(), redb::Error> {
        let Some(Word { tenant, .. }) = record.word() else { return Ok(()) };
        let is_this = self.0.get(tenant.as_str())?.is_some_and(|word| word.value().0 == sequence);
        if is_this {
            self.0.remove(tenant.as_str())?;
        }
        Ok(())
    }
}

/// Whether an entry is the last word about its tenant.
pub(super) fn counts(transaction: &ReadTransaction, sequence: u64, record: &Record) -> Result<bool, redb::Error> {
    let Some(Word { tenant, .. }) = record.word() else { return Ok(false) };
    let word = transaction.open_table(LAST_WORDS)?.get(tenant.as_str())?;
    Ok(word.is_some_and(|word| word.value().0 == sequence))
}

/// The first words after a tenant, in the order of their names, of a generation before that one.
pub(super) fn older_than(
    transaction: &ReadTransaction,
    generation: u64,
    after: &str,
    most: usize,
) -> Result<Vec<LastWord>, redb::Error> {
    use std::ops::Bound::{Excluded, Unbounded};
    let mut words = Vec::new();
    for entry in transaction.open_table(LAST_WORDS)?.range::<&str>((Excluded(after), Unbounded))? {
        let (tenant, word) = entry?;
        let (sequence, known) = word.value();
        if known < generation {
            words.push(LastWord { tenant: tenant.value().to_owned(), sequence, generation: known });
        }
        if words.len() >= most {
            break;
        }
    }
    Ok(words)
}
