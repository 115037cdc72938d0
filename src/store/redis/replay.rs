//! The journal applied again, before a connection is used: a server that came back with older data would revive what
//! was ended.
//!
//! With the generation that each revocation got then, and never a newer one: sessions made since go on.

use std::sync::Arc;

use redis::{Cmd, Pipeline};

use super::super::journal::{Entry, Journal, Record, generation_of};
use super::answers::tenant_standing;
use super::commands::{end_as_written, eval, know};
use super::fault::Fault;
use super::keys::Keys;
use super::lane::Lane;
use super::route::slot_of;
use super::slot::Slot;
use super::times::kept_after;
use super::{late, order, scripts};
use crate::session::{LastWord, SessionId, StoreTime, TenantId, TenantStatus, UserId};

/// Entries applied in one step.
const STEP: usize = 200;

/// Applies what `server`, as it calls itself, may not have: all that any server ever had, unless it is the one that was
/// seen last, with the same data. Then what none is known to have.
pub(super) async fn replay(
    lane: &Lane,
    keys: &Keys,
    journal: &Arc<Journal>,
    server: Option<&str>,
) -> Result<(), Fault> {
    let known = server.is_some() && journal.server().as_deref() == server;
    if !known {
        let (newest, late) = redo_all(lane, keys, journal, |_| true).await?;
        late::redo_all(lane, keys, journal, late).await?;
        // And what is known of another server's order, of which this one may have lost the end.
        let newest = journal.server_time().map_or(newest, |time| time.max(newest));
        order::reach(lane, keys, newest).await?;
    }
    late::carry_out(lane, keys, journal).await?;
    reconcile(lane, keys, journal).await?;
    if let (false, Some(server)) = (known, server) {
        journal.note_server(server);
    }
    Ok(())
}

/// Applies to a master of a cluster what that may not have of its slots. Answers what came late, which belongs to the others
/// as well (see [`late::redo_all`]).
pub(super) async fn replay_to(
    master: &Lane,
    keys: &Keys,
    journal: &Arc<Journal>,
    has: impl Fn(Slot) -> bool + Send + Sync,
) -> Result<Vec<Record>, Fault> {
    let (newest, late) = redo_all(master, keys, journal, |command| slot_of(command).is_none_or(&has)).await?;
    let newest = journal.server_time().map_or(newest, |time| time.max(newest));
    order::reach_on(master, keys.orders().into_iter().filter(|order| has(Slot::of(order.as_bytes()))), newest).await?;
    Ok(late)
}

/// Answers the newest generation, and what came late and is yet to be done again.
async fn redo_all(
    lane: &Lane,
    keys: &Keys,
    journal: &Journal,
    is_its: impl Fn(&Cmd) -> bool + Send + Sync,
) -> Result<(StoreTime, Vec<Record>), Fault> {
    let (mut after, mut count, mut newest, mut late) = (0, 0, 0, Vec::new());
    loop {
        let (records, last) = journal.carried_out(after, STEP).map_err(Fault::Unfit)?;
        let Some(last) = last else { break };
        after = last;
        let mut pipeline = redis::pipe();
        count += records.len();
        for record in records {
            newest = newest.max(record.generation());
            if record.is_applied() {
                let mut again = redis::pipe();
                // What is no tenant, user or session was never written.
                let _ = redo(&mut again, keys, &record.entry);
                for command in again.cmd_iter().filter(|command| is_its(command)) {
                    pipeline.add_command(command.clone());
                }
            } else {
                // One by one: so it does again.
                late.push(record);
            }
        }
        if !pipeline.is_empty() {
            lane.ask(&pipeline).await?;
        }
        // Others have their turn, too: of a slot that has just come there may be nothing in very much.
        tokio::task::yield_now().await;
    }
    if count > 0 {
        tracing::info!(revocations = count, "the journal was applied to the session store again");
    }
    Ok((StoreTime::from_micros(newest), late))
}

/// Has the server do again what an entry says.
fn redo(pipeline: &mut Pipeline, keys: &Keys, entry: &Entry) -> Option<()> {
    match entry {
        Entry::Session { id, reason, deadline, .. } | Entry::Token { id, reason, deadline, .. } => {
            pipeline.add_command(end_as_written(keys, &SessionId::parse(id.as_bytes())?, reason, *deadline));
        }
        Entry::Hold { id, deadline, standing, .. } => {
            let (id, text) = (SessionId::parse(id.as_bytes())?, standing.as_deref()?);
            let mut hold = eval(scripts::HOLD_AGAIN, &[keys.hold(&id)]);
            hold.arg(LastWord::decode(text.as_bytes())?.at.as_micros()).arg(text);
            hold.arg(kept_after(deadline.div_ceil(1000)));
            pipeline.add_command(hold);
        }
        Entry::User { tenant, user, floor, standing, .. } => {
            let (tenant, user) = (TenantId::parse_kept(tenant).ok()?, UserId::parse_kept(user).ok()?);
            let mut raise = eval(scripts::RAISE_USER_AGAIN, &[keys.user(&tenant, &user)]);
            raise.arg(generation_of(standing.as_deref(), *floor)).arg(standing.as_deref().unwrap_or_default());
            pipeline.add_command(raise);
        }
        Entry::Tenant { tenant, floor, status, note, standing } => {
            let tenant = TenantId::parse_kept(tenant).ok()?;
            if !status.is_empty() {
                // It must be in the list by which operators find it.
                pipeline.add_command(know(keys, &tenant, "+inf", StoreTime::from_micros(0)));
            }
            let mut raise = eval(scripts::RAISE_TENANT_AGAIN, &[keys.tenant(&tenant), keys.tenant_note(&tenant)]);
            raise.arg(generation_of(standing.as_deref(), *floor)).arg(standing.as_deref().unwrap_or_default());
            raise.arg(status).arg(note);
            pipeline.add_command(raise);
        }
    }
    Some(())
}

/// Forgets who was shut out by this gateway so long ago that only the word still counts, and let in by another since.
pub(super) async fn reconcile(lane: &Lane, keys: &Keys, journal: &Arc<Journal>) -> Result<(), Fault> {
    let mut after = String::new();
    loop {
        let words = journal.old_words(&after, STEP).map_err(Fault::Garbled)?;
        let Some(last) = words.last() else { return Ok(()) };
        after.clone_from(&last.tenant);
        let mut pipeline = redis::pipe();
        for word in &words {
            // What is no tenant was never written, and nobody is let in by a key that is not there.
            let key = TenantId::parse_kept(&word.tenant).map_or_else(|_| keys.birth(), |tenant| keys.tenant(&tenant));
            pipeline.cmd("GET").arg(key);
        }
        for (word, standing) in words.iter().zip(lane.ask(&pipeline).await?) {
            let Ok(standing) = tenant_standing(standing) else { continue };
            if standing.status == TenantStatus::Active && standing.generation.as_micros() > word.generation {
                journal.forget(word.sequence);
            }
        }
    }
}
