//! What is kept until some moment, and then forgotten: looked for by the way, whenever something is written.

use redb::{ReadableTable as _, Table, TableDefinition, WriteTransaction};

use super::schema::Fault;
use crate::session::StoreTime;

/// How many are forgotten by the way: twice as many as are put, at least and at most these.
const SWEPT: (usize, usize) = (16, 1024);

/// A name to what is kept, and until when (µs).
pub(super) type Kept = TableDefinition<'static, &'static str, (&'static [u8], u64)>;
/// When (µs) what has this name can be forgotten.
pub(super) type Expiry = TableDefinition<'static, (u64, &'static str), ()>;

/// What is kept until some moment, in one transaction.
pub(super) struct Expiring<'txn> {
    kept: Table<'txn, &'static str, (&'static [u8], u64)>,
    expiry: Table<'txn, (u64, &'static str), ()>,
}

impl<'txn> Expiring<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction, kept: Kept, expiry: Expiry) -> Result<Self, Fault> {
        Ok(Self { kept: transaction.open_table(kept)?, expiry: transaction.open_table(expiry)? })
    }

    /// What is kept under a name, and until when.
    pub(super) fn get(&self, name: &str, now: StoreTime) -> Result<Option<(Vec<u8>, StoreTime)>, Fault> {
        let Some(kept) = self.kept.get(name)? else { return Ok(None) };
        let (bytes, until) = kept.value();
        Ok((until > now.as_micros()).then(|| (bytes.to_vec(), StoreTime::from_micros(until))))
    }

    /// Keeps something under a name until then.
    pub(super) fn put(&mut self, name: &str, bytes: &[u8], until: StoreTime) -> Result<(), Fault> {
        let until = until.as_micros();
        let before = self.kept.insert(name, (bytes, until))?.map(|kept| kept.value().1);
        if let Some(before) = before {
            self.expiry.remove((before, name))?;
        }
        self.expiry.insert((until, name), ())?;
        Ok(())
    }

    /// Forgets some of what can be, more than are put now: what is put faster than it is forgotten would grow without bound.
    pub(super) fn sweep(&mut self, put: usize, now: StoreTime) -> Result<(), Fault> {
        let most = put.saturating_mul(2).clamp(SWEPT.0, SWEPT.1);
        let mut due = Vec::new();
        for entry in self.expiry.range(..(now.as_micros(), ""))?.take(most) {
            let (key, ()) = entry.map(|(key, _)| (key, ()))?;
            let (at, name) = key.value();
            due.push((at, name.to_owned()));
        }
        for (at, name) in &due {
            self.expiry.remove((*at, name.as_str()))?;
            self.kept.remove(name.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;
    use redb::{Builder, ReadableTableMetadata as _};

    use super::super::schema::{ACT_EXPIRY, ACTS};
    use super::*;

    #[test]
    fn more_is_forgotten_than_is_put_however_much_that_is() {
        let database = Builder::new().create_with_backend(InMemoryBackend::new()).expect("memory");
        let transaction = database.begin_write().expect("memory");
        let mut kept = Expiring::open(&transaction, ACTS, ACT_EXPIRY).expect("memory");
        for round in 0..10_u64 {
            let now = StoreTime::from_micros(1000 * round);
            kept.sweep(256, now).expect("memory");
            for number in 0..256 {
                kept.put(&format!("{round} {number}"), b"", now.after(std::time::Duration::from_micros(500)))
                    .expect("memory");
            }
            assert_eq!(kept.kept.len().expect("memory"), 256);
        }
    }
}
