//! Holds: the last word about a session is a key of its own beside the record, under the id of the first of its line. So what
//! holds it holds all its tokens, also those that come to be later, and nothing else of it changes.

use std::sync::Arc;

use super::super::journal::Entry;
use super::super::{Said, StoreResult};
use super::answers::{exactly, last_word};
use super::commands::eval;
use super::connection::CALL_TIMEOUT;
use super::kept::Kept;
use super::lane::Lanes;
use super::scripts;
use super::store::RedisStore;
use super::times::kept_until;
use crate::session::{By, EndReason, HoldWord, SessionId, SessionRecord, StoreTime};

impl RedisStore {
    /// Says whether a session is held; the journal has it first. Answers what came of it.
    pub(super) async fn say_hold(
        &self,
        id: SessionId,
        record: &SessionRecord,
        word: &HoldWord,
        by: &By,
    ) -> StoreResult<Said> {
        let first = record.decided_by(id);
        let owner = &record.principal;
        let entry = |now: StoreTime| Entry::Hold {
            id: first.to_string(),
            word: word.encode(),
            floor: now.as_micros(),
            deadline: record.deadline.as_micros(),
            standing: None,
            owner: (owner.tenant.kept().to_owned(), owner.user.kept().to_owned()),
        };
        let kept = Kept::write_many(self.link.journal(), entry, EndReason::SecurityAnomaly, by).await;
        let mut hold = eval(scripts::HOLD, &[self.keys().hold(&first), self.keys().ended(&first)]);
        hold.arg(word.encode()).arg(kept_until(record));
        let mut pipeline = redis::pipe();
        pipeline.add_command(hold);
        let work = |lanes: Arc<Lanes>| async move {
            let [answer] = exactly(lanes.careful.ask(&pipeline).await?)?;
            last_word(answer)
        };
        let said = self.link.call("hold", CALL_TIMEOUT, work).await;
        // Whatever was answered: it may have been done.
        self.forget(id);
        self.forget(first);
        match said {
            Ok((last, came_of_it)) => {
                kept.complete(Some(&last));
                Ok(match came_of_it {
                    1 => Said::News,
                    0 => Said::Nothing,
                    _ => Said::Over,
                })
            }
            Err(unavailable) => Err(kept.fail(unavailable)),
        }
    }
}
