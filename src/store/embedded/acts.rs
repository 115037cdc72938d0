//! Acts that count within a window, and what is remembered of ended sessions, in the file.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use redb::ReadTransaction;

use super::super::StoreResult;
use super::super::acts::ActStore;
use super::EmbeddedStore;
use super::end_notes::keep_notes;
use super::expiring::Expiring;
use super::schema::{ACT_EXPIRY, ACTS, END_NOTES, Fault, garbled};
use super::tables::Tables;
use super::there::there;
use crate::monitor::{Act, ActTally, EndNote};
use crate::session::{SessionId, StoreTime};

#[async_trait]
impl ActStore for EmbeddedStore {
    async fn count_acts(&self, acts: &[Act]) -> StoreResult<Vec<Option<u64>>> {
        if acts.is_empty() {
            return Ok(Vec::new());
        }
        let acts = acts.to_vec();
        self.write("acts_count", move |tables, now| count(tables, &acts, now)).await
    }

    fn remember_ends(&self, remembers: bool) {
        self.shared.remembers_ends.store(remembers, Ordering::Relaxed);
    }

    async fn keep_end_notes(&self, notes: &[(SessionId, EndNote, StoreTime)]) -> StoreResult<()> {
        if notes.is_empty() {
            return Ok(());
        }
        let notes = notes.to_vec();
        self.write("end_notes", move |tables, now| keep_notes(tables.transaction, &notes, now)).await
    }

    async fn end_notes(&self, sessions: &[SessionId]) -> StoreResult<Vec<Option<EndNote>>> {
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        let sessions = sessions.to_vec();
        let look = move |transaction: &ReadTransaction, now: StoreTime| {
            let Some(kept) = there(transaction, END_NOTES)? else { return Ok(vec![None; sessions.len()]) };
            let note = |id: &SessionId| -> Result<Option<EndNote>, Fault> {
                let Some(note) = kept.get(id.as_str())? else { return Ok(None) };
                let (note, until) = note.value();
                Ok(if until > now.as_micros() { EndNote::decode(note) } else { None })
            };
            sessions.iter().map(note).collect()
        };
        self.look_long("end_notes", look).await
    }
}

fn count(tables: &Tables<'_>, acts: &[Act], now: StoreTime) -> Result<Vec<Option<u64>>, Fault> {
    let mut kept = Expiring::open(tables.transaction, ACTS, ACT_EXPIRY)?;
    kept.sweep(acts.len(), now)?;
    let mut fired = Vec::with_capacity(acts.len());
    for act in acts {
        // What another version wrote counts for nothing, as after its time.
        let tally = kept.get(&act.key, now)?.and_then(|(tally, _)| serde_json::from_slice(&tally).ok());
        let mut tally: ActTally = tally.unwrap_or_default();
        fired.push(tally.count(act, now));
        kept.put(&act.key, &serde_json::to_vec(&tally).map_err(garbled)?, now.after(act.window))?;
    }
    Ok(fired)
}
