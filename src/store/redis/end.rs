//! Ending sessions: what says why is written first, which decides, and is heard of everywhere; then the record goes.
//!
//! A session that was rotated has several tokens. Its end is under the id of the first of them, so that it ends all of
//! them at once, by whichever it is asked for.

use redis::Value;

use super::answers::{exactly, time};
use super::commands::eval;
use super::fault::{Fault, number};
use super::index::entry_of;
use super::lane::Lanes;
use super::read::{observe, observed};
use super::scripts;
use super::store::RedisStore;
use super::times::{expires, kept_until};
use crate::session::{EndReason, SessionId, SessionRecord};

/// Tokens of a session that are followed to the one it has now. One more is found by nobody but its own.
const LONGEST: usize = 16;

impl RedisStore {
    /// Ends a session by any of its tokens. Answers whether it was live.
    pub(super) async fn end_on(&self, lanes: &Lanes, id: SessionId, reason: EndReason) -> Result<bool, Fault> {
        let mut tokens = vec![id];
        let (now, head, record, touch_deadline) = loop {
            let Some(head) = tokens.last().copied() else { return Ok(false) };
            let mut pipeline = redis::pipe();
            pipeline.cmd("TIME");
            observe(&mut pipeline, self.keys(), &head);
            let mut answers = lanes.careful.ask_each(&mut pipeline).await?.into_iter();
            let now = time(answers.next().unwrap_or(Value::Nil))?;
            let seen = observed(&mut answers)?;
            match seen.ended.and_then(|end| end.goes_on) {
                Some(on) if tokens.len() < LONGEST => tokens.push(on.next),
                _ => break (now, head, seen.record, seen.touch_deadline),
            }
        };
        // What time has ended is nobody's to end.
        let Some(record) = record.filter(|record| now < record.deadline) else { return Ok(false) };
        if touch_deadline.is_none_or(|deadline| now >= deadline) {
            return Ok(false);
        }
        let first = record.decided_by(head);
        tokens.extend(record.line.as_ref().map(|line| line.before));
        let ended = self.end_and_clear(lanes, (first, reason.as_str(), kept_until(&record)), &tokens, (head, &record));
        ended.await
    }

    /// Writes down the end of a session, and takes away what is left of it: the records of its tokens, and its place.
    /// Answers whether it was the first to write it down. That something could not be taken away ends it no less.
    pub(super) async fn end_and_clear(
        &self,
        lanes: &Lanes,
        (first, reason, until): (SessionId, &str, u64),
        tokens: &[SessionId],
        (placed, record): (SessionId, &SessionRecord),
    ) -> Result<bool, Fault> {
        let ended = self.end_line(lanes, &first, reason, until).await;
        // This gateway does not wait for the news of it; whatever was answered, it may have been done.
        tokens.iter().for_each(|id| self.forget(*id));
        let ended = ended?;
        let index = self.index(lanes, &record.principal.tenant);
        let entry = entry_of(self.keys(), placed, record);
        let mut pipeline = redis::pipe();
        for id in tokens {
            if *id != first {
                // That it is known why, whichever is shown.
                let mut end = eval(scripts::END, &[self.keys().ended(id)]);
                end.arg(reason).arg(until);
                pipeline.add_command(end);
            }
            pipeline.cmd("UNLINK").arg(self.keys().record(id));
            pipeline.cmd("UNLINK").arg(self.keys().sealed_token(id));
        }
        pipeline.add_command(index.take_out(&entry));
        let tidied = async {
            let answers = lanes.careful.ask_each(&mut pipeline).await?;
            if answers.last() == Some(&Value::Int(0)) {
                index.take_out_below(&lanes.careful, &entry).await?;
            }
            Ok::<_, Fault>(())
        };
        match tidied.await {
            // What is left of it is another master's, and expires there.
            Err(fault @ Fault::Shard(_)) => tracing::debug!(%fault, "an ended session could not be cleared away"),
            tidied => tidied?,
        }
        Ok(ended)
    }

    /// Writes down the end of the session whose first token this is. Answers whether that was the first to.
    pub(super) async fn end_line(
        &self,
        lanes: &Lanes,
        first: &SessionId,
        reason: &str,
        until: u64,
    ) -> Result<bool, Fault> {
        let mut end = eval(scripts::END, &[self.keys().ended(first)]);
        end.arg(reason).arg(until);
        let mut pipeline = redis::pipe();
        pipeline.add_command(end);
        let ended = lanes.careful.ask(&pipeline).await;
        self.forget(*first);
        let [ended] = exactly(ended?)?;
        Ok(number(&ended)? == 1)
    }

    /// Writes down that time ended a session. Answers whether that was the first to.
    pub(super) async fn note_on(
        &self,
        lanes: &Lanes,
        id: SessionId,
        record: &SessionRecord,
        reason: EndReason,
    ) -> Result<bool, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME").cmd("EXISTS").arg(self.keys().record(&id));
        let [now, there] = exactly(lanes.careful.ask(&pipeline).await?)?;
        if number(&there)? == 0 {
            return Ok(false);
        }
        // Of an end by disuse for an hour, of any other for as long as it would have lived, and an hour.
        let until = if reason == EndReason::IdleTimeout { expires(time(now)?) } else { kept_until(record) };
        let mut note = eval(scripts::NOTE, &[self.keys().ended(&id)]);
        note.arg(reason.as_str()).arg(until);
        let mut pipeline = redis::pipe();
        pipeline.add_command(note).cmd("UNLINK").arg(self.keys().sealed_token(&id));
        let [noted, _] = exactly(lanes.careful.ask(&pipeline).await?)?;
        Ok(number(&noted)? == 1)
    }
}
