//! What the journal has and no server is known to have: the calls that failed, or were cut off. It is carried out late,
//! and told.
//!
//! Ends are never undone, so they are carried out whatever happened since; but what was made since goes on. A change of
//! a tenant's status is dropped where the status was changed since: the last word counts.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;

use super::super::journal::{Entry, Journal, Late, Record};
use super::super::walk::{Outdated, Tally};
use super::answers::{exactly, last_word, tenant_standing, time, touch_deadline};
use super::commands::{end_as_written, eval, know};
use super::fault::{Fault, number, text, unexpected};
use super::keys::Keys;
use super::lane::Lane;
use super::times::kept_after;
use super::walk::{self, Walk, Walked};
use super::{order, scripts};
use crate::session::{EndReason, HoldWord, SessionId, StoreTime, TenantId, TenantStatus, UserId};

/// Entries taken in one step.
const STEP: usize = 200;

/// Nodes of an index that one step looks at: of 25,000 sessions at the most, which takes milliseconds.
const NODES: usize = 150;
/// How often in a row an index is looked at that was split meanwhile.
const LOOKS: usize = 8;

/// By how much at most the time of a call is known too late: the server told its time a moment before it was made.
const IN_DOUBT: Duration = Duration::from_secs(1);
/// The same on a cluster, where it may be the time of another master.
const IN_DOUBT_BETWEEN_MASTERS: Duration = Duration::from_secs(10);

/// What a late deed came to.
#[derive(Default)]
struct Arrived {
    /// What the server made of it. `None`: it was done session by session.
    standing: Option<String>,
    ended: u64,
    already: bool,
    status: Option<TenantStatus>,
    /// Whether there is nothing to tell: a later word counts, and nothing was to end.
    nothing: bool,
}

/// When a call was made that comes late.
#[derive(Clone, Copy)]
struct Since {
    floor: StoreTime,
    /// How long a session lives at most.
    longest: Duration,
    /// When it had come, if it is done again.
    told: Option<StoreTime>,
}

/// Whose sessions end.
enum Whose {
    User(TenantId, UserId, Option<SessionId>),
    Tenant(TenantId),
}

/// Carries out what is yet to be carried out.
pub(super) async fn carry_out(lane: &Lane, keys: &Keys, journal: &Arc<Journal>) -> Result<(), Fault> {
    let (mut after, mut count) = (0, 0_usize);
    loop {
        let failed = journal.failed_ones(after, STEP);
        let Some((last, _)) = failed.last() else { break };
        after = *last;
        for (sequence, record) in failed {
            let arrived = match carry_out_one(lane, keys, &record, journal.longest()).await {
                Ok(Some(arrived)) => arrived,
                // What is no tenant, user or session was never written.
                Ok(None) => {
                    journal.forget(sequence);
                    continue;
                }
                // It waits for its master.
                Err(Fault::Shard(_)) => continue,
                Err(fault) => return Err(fault),
            };
            if arrived.nothing {
                tracing::warn!(?record, "a call that failed is superseded by a later one");
                journal.forget(sequence);
                continue;
            }
            let late = Late { status: arrived.status, ended: arrived.ended, already: arrived.already, ..record.late() };
            journal.tell(sequence, arrived.standing.as_deref(), late);
            count += 1;
        }
    }
    if count > 0 {
        tracing::warn!(calls = count, "calls that had failed had their effect late; the audit log has a line of each");
    }
    redo_all(lane, keys, journal, journal.owed()).await.map(drop)
}

/// Does once more what came late, and was told. Answers what a master could not be asked for: it is tried again with what is
/// carried out.
pub(super) async fn redo_all(
    lane: &Lane,
    keys: &Keys,
    journal: &Journal,
    records: Vec<Record>,
) -> Result<Vec<Record>, Fault> {
    let mut owed = Vec::new();
    for record in records {
        match carry_out_one(lane, keys, &record, journal.longest()).await {
            Ok(_) => journal.is_done(&record),
            Err(Fault::Shard(_)) => {
                journal.owe(record.clone());
                owed.push(record);
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(owed)
}

/// `longest` is how long a session lives at most.
async fn carry_out_one(lane: &Lane, keys: &Keys, record: &Record, longest: Duration) -> Result<Option<Arrived>, Fault> {
    let reason = record.reason();
    let since = |floor| Since { floor: StoreTime::from_micros(floor), longest, told: record.told_at() };
    match &record.entry {
        Entry::Session { id, reason, deadline, .. } => match SessionId::parse(id.as_bytes()) {
            Some(id) => end_one(lane, keys, &id, reason, *deadline).await.map(Some),
            None => Ok(None),
        },
        Entry::Token { id, reason, deadline, .. } => match SessionId::parse(id.as_bytes()) {
            Some(id) => deny(lane, keys, &id, reason, *deadline).await.map(Some),
            None => Ok(None),
        },
        Entry::Hold { id, word, floor, deadline, .. } => {
            let (Some(id), Some(word)) = (SessionId::parse(id.as_bytes()), HoldWord::decode(word)) else {
                return Ok(None);
            };
            hold(lane, keys, &id, &word, StoreTime::from_micros(*floor), *deadline).await.map(Some)
        }
        Entry::User { tenant, user, floor, keep, .. } => {
            let (Ok(tenant), Ok(user)) = (TenantId::parse_kept(tenant), UserId::parse_kept(user)) else {
                return Ok(None);
            };
            let keep = keep.as_ref().and_then(|keep| SessionId::parse(keep.as_bytes()));
            end_many(lane, keys, &Whose::User(tenant, user, keep), since(*floor), reason).await.map(Some)
        }
        Entry::Tenant { tenant, floor, status, note, .. } => {
            let Ok(tenant) = TenantId::parse_kept(tenant) else { return Ok(None) };
            match TenantStatus::parse(status) {
                Some(status) => change(lane, keys, tenant, since(*floor), (status, note), reason).await.map(Some),
                None => end_many(lane, keys, &Whose::Tenant(tenant), since(*floor), reason).await.map(Some),
            }
        }
    }
}

const fn in_doubt(lane: &Lane) -> Duration {
    match lane {
        Lane::One(_) => IN_DOUBT,
        Lane::All(_) => IN_DOUBT_BETWEEN_MASTERS,
    }
}

/// Holds a session, or lets it go on, unless something was said of it since.
async fn hold(
    lane: &Lane,
    keys: &Keys,
    id: &SessionId,
    word: &HoldWord,
    floor: StoreTime,
    deadline: u64,
) -> Result<Arrived, Fault> {
    // Nobody is let in again by a call that may have been before somebody was held.
    let since = if word.holds() { floor } else { floor.before(in_doubt(lane)) };
    let mut say = eval(scripts::HOLD_LATE, &[keys.hold(id), keys.ended(id)]);
    say.arg(floor.as_micros()).arg(since.as_micros()).arg(word.encode()).arg(kept_after(deadline.div_ceil(1000)));
    let mut pipeline = redis::pipe();
    pipeline.cmd("TIME").add_command(say);
    let [now, answer] = exactly(lane.ask(&pipeline).await?)?;
    let (last, came_of_it) = last_word(answer)?;
    // Of one that is over by now there is nothing to tell.
    let nothing = came_of_it < 1 || time(now)? >= StoreTime::from_micros(deadline);
    Ok(Arrived { standing: Some(last), already: came_of_it == 2, nothing, ..Arrived::default() })
}

async fn end_one(lane: &Lane, keys: &Keys, id: &SessionId, reason: &str, deadline: u64) -> Result<Arrived, Fault> {
    let mut look = redis::pipe();
    look.cmd("TIME").cmd("PEXPIRETIME").arg(keys.record(id)).cmd("GET").arg(keys.ended(id));
    let [now, touch, ended] = exactly(lane.ask(&look).await?)?;
    let now = time(now)?;
    // One that was rotated goes on under another id.
    let goes_on = super::answers::end(ended)?.is_some_and(|end| !end.is_of_the_line());
    let is_live = goes_on || touch_deadline(&touch)?.is_some_and(|deadline| now < deadline);
    if !is_live || now >= StoreTime::from_micros(deadline) {
        return Ok(Arrived { already: true, ..Arrived::default() });
    }
    let mut pipeline = redis::pipe();
    pipeline.add_command(end_as_written(keys, id, reason, deadline)).cmd("UNLINK").arg(keys.record(id));
    pipeline.cmd("UNLINK").arg(keys.sealed_token(id));
    let [ended, _, _] = exactly(lane.ask(&pipeline).await?)?;
    let ended = number(&ended)? == 1;
    Ok(Arrived { ended: u64::from(ended), already: !ended, ..Arrived::default() })
}

/// Denies a token: nothing but the denial says whether it may be used.
async fn deny(lane: &Lane, keys: &Keys, id: &SessionId, reason: &str, deadline: u64) -> Result<Arrived, Fault> {
    let mut pipeline = redis::pipe();
    pipeline.add_command(end_as_written(keys, id, reason, deadline));
    let [denied] = exactly(lane.ask(&pipeline).await?)?;
    let denied = number(&denied)? == 1;
    Ok(Arrived { ended: u64::from(denied), already: !denied, ..Arrived::default() })
}

/// Ends what was made until `floor`. By a generation, unless something was made since that this would end as well.
async fn end_many(lane: &Lane, keys: &Keys, whose: &Whose, since: Since, reason: EndReason) -> Result<Arrived, Fault> {
    let Since { floor, longest, told } = since;
    let (key, walked, keep) = match whose {
        Whose::User(tenant, user, keep) => {
            (keys.user(tenant, user), walk::Whose { tenant: tenant.clone(), user: Some(user.clone()) }, *keep)
        }
        Whose::Tenant(tenant) => (keys.tenant(tenant), walk::Whose { tenant: tenant.clone(), user: None }, None),
    };
    let mut look = redis::pipe();
    look.cmd("TIME");
    look.cmd("GET").arg(&key).cmd("GET").arg(keys.choosers());
    let [now, standing, choosers] = exactly(lane.ask(&look).await?)?;
    // The call was in the past, whatever this gateway took the server's time for. In the order of revocations it is where it
    // was: a clock that was set back since, or before, does not put it behind those that were earlier.
    let call = floor.min(time(now)?);
    let standing = text(standing)?.and_then(|text| String::from_utf8(text).ok());
    let generation = standing.as_deref().and_then(|standing| standing.split(' ').next()?.parse::<u64>().ok());
    if generation.is_some_and(|generation| generation >= floor.as_micros()) {
        return Ok(Arrived { standing, already: true, ..Arrived::default() });
    }
    let has_choosers = text(choosers)?.is_some();
    let tally = Tally::default();
    for _ in 0..LOOKS {
        let outdated = Outdated::MadeUntil { of_tenant: matches!(whose, Whose::Tenant(_)), call, keep, longest, told };
        let walk = Walk::new(keys.clone(), walked.clone(), outdated, reason, tally.clone());
        let Walked { left, leaves } = walk.run_on(lane).await?;
        // Sessions of other tenants that may choose this one are on no list of its own: what is not raised lets them in. Then
        // better one that was made since ends as well.
        if left && !has_choosers {
            return Ok(Arrived { ended: tally.so_far(), ..Arrived::default() });
        }
        // First, so that no login which begins from now on is before what is raised.
        order::reach(lane, keys, floor).await?;
        let unless_in = if has_choosers { &[][..] } else { &leaves };
        let (came_of_it, standing) = raise(lane, keys, (whose, &key), (floor, call), unless_in).await?;
        let ended = tally.so_far();
        match came_of_it {
            Raised::Is => return Ok(Arrived { standing: Some(standing), ended, ..Arrived::default() }),
            // They logged in after they were looked for.
            Raised::WouldEndOthers => return Ok(Arrived { ended, ..Arrived::default() }),
            Raised::IndexIsSplit | Raised::NotYet => {}
        }
    }
    // Each was split while it was looked at, which nobody does but who writes what is no index.
    tracing::warn!(key, "a late revocation ended each session by itself: the index has been split again and again");
    Ok(Arrived { ended: tally.so_far(), ..Arrived::default() })
}

/// What became of a generation that was to be raised late.
enum Raised {
    /// It is that, or newer.
    Is,
    /// It is as it was: something was made since.
    WouldEndOthers,
    /// It is as it was: a node of the index has its entries elsewhere by now.
    IndexIsSplit,
    /// It is as it was, as was asked for: nothing was made since.
    NotYet,
}

/// Raises a generation to `floor`, unless these nodes of the index have anything that was made after the call. In one step:
/// whoever logs in takes a place first, and looks at the generation after it. Of very many nodes all but the last are looked
/// at in steps before it, so that none keeps the server from others for long.
async fn raise(
    lane: &Lane,
    keys: &Keys,
    of: (&Whose, &str),
    times: (StoreTime, StoreTime),
    unless_in: &[String],
) -> Result<(Raised, String), Fault> {
    let mut parts = unless_in.chunks(NODES);
    let last = parts.next_back().unwrap_or_default();
    for part in parts {
        match raise_unless_in(lane, keys, of, times, (part, "look")).await? {
            (Raised::NotYet, _) => {}
            came_of_it => return Ok(came_of_it),
        }
    }
    raise_unless_in(lane, keys, of, times, (last, "")).await
}

async fn raise_unless_in(
    lane: &Lane,
    keys: &Keys,
    (whose, key): (&Whose, &str),
    (floor, call): (StoreTime, StoreTime),
    (unless_in, looks): (&[String], &str),
) -> Result<(Raised, String), Fault> {
    let (user, otherwise) = match whose {
        Whose::User(_, user, _) => (Some(keys.user_hash(user)), ""),
        // One that cannot be read may have been shut out.
        Whose::Tenant(_) => (None, " suspended"),
    };
    let all: Vec<String> = [key.to_owned()].into_iter().chain(unless_in.iter().cloned()).collect();
    let mut raise = eval(scripts::RAISE_LATE, &all);
    raise.arg(floor.as_micros()).arg(otherwise).arg(call.as_micros());
    raise.arg(user.as_ref().map_or(&[][..], |user| &user[..])).arg(looks);
    let mut pipeline = redis::pipe();
    pipeline.add_command(raise);
    let [answer] = exactly(lane.ask(&pipeline).await?)?;
    let Value::Array(parts) = answer else { return Err(unexpected("a generation raised late", &answer)) };
    let [came_of_it, standing] = exactly(parts)?;
    let standing = text(standing)?.map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
    let raised = match number(&came_of_it)? {
        1 => Raised::Is,
        2 => Raised::NotYet,
        0 => Raised::WouldEndOthers,
        _ => Raised::IndexIsSplit,
    };
    Ok((raised, standing))
}

/// Changes a tenant's status, unless that was changed since; then its sessions end all the same, where they were to.
async fn change(
    lane: &Lane,
    keys: &Keys,
    tenant: TenantId,
    since: Since,
    (status, note): (TenantStatus, &str),
    reason: EndReason,
) -> Result<Arrived, Fault> {
    let Since { floor, .. } = since;
    let mut change = eval(scripts::CHANGE_TENANT_LATE, &[keys.tenant(&tenant), keys.tenant_note(&tenant)]);
    // Nobody is let in again by a call that may have been before somebody shut them out.
    let another = if status == TenantStatus::Active { floor.before(in_doubt(lane)) } else { floor };
    change.arg(floor.as_micros()).arg(status.as_str()).arg(note).arg(another.as_micros());
    let mut pipeline = redis::pipe();
    // As for one that comes in time: it must be in the list by which operators find it.
    pipeline.add_command(know(keys, &tenant, "+inf", StoreTime::from_micros(0)));
    pipeline.add_command(change);
    let [_, answer] = exactly(lane.ask(&pipeline).await?)?;
    let Value::Array(parts) = answer else { return Err(unexpected("a changed tenant", &answer)) };
    let [standing, changed] = exactly(parts)?;
    let changed = number(&changed)?;
    match (changed, status) {
        (0, TenantStatus::Active) => return Ok(Arrived { nothing: true, ..Arrived::default() }),
        (0, _) => return end_many(lane, keys, &Whose::Tenant(tenant), since, reason).await,
        _ => {}
    }
    // Where a later word counts it may be unreadable, which is nothing to this one.
    let standing = tenant_standing(standing)?;
    order::reach(lane, keys, StoreTime::from_micros(standing.generation.as_micros())).await?;
    let tally = Tally::default();
    if status != TenantStatus::Active {
        let outdated = Outdated::OfTenant(standing.generation);
        let whose = walk::Whose { tenant, user: None };
        Walk::new(keys.clone(), whose, outdated, reason, tally.clone()).run_on(lane).await?;
    }
    let (ended, already) = (tally.so_far(), changed == 2);
    Ok(Arrived { standing: Some(standing.encode()), ended, already, status: Some(status), nothing: false })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use redis::Cmd;

    use super::super::lane::{Answer, Router};
    use super::super::slot::Slot;
    use super::*;
    use crate::clock::{ManualClock, Monotonic, WallTime};
    use crate::session::By;

    const CALL: u64 = 1_700_000_000_000_000;

    /// The masters: one of them is away, or all say that it was done.
    #[derive(Default)]
    struct Cluster {
        is_whole: AtomicBool,
    }

    #[async_trait]
    impl Router for Cluster {
        async fn send(&self, commands: &[&Cmd], _timed: bool) -> Result<Vec<Answer>, Fault> {
            if !self.is_whole.load(Ordering::Relaxed) {
                return Err(Fault::Shard(String::from("away")));
            }
            let now = StoreTime::from_micros(CALL);
            let answer = |command: &&Cmd| {
                let is_time = command.get_packed_command().ends_with(b"TIME\r\n");
                let value = if is_time {
                    let [seconds, micros] = [b"1700000000".to_vec(), b"0".to_vec()].map(Value::BulkString);
                    Value::Array(vec![seconds, micros])
                } else {
                    Value::BulkString(CALL.to_string().into_bytes())
                };
                Answer { value, server: 0, slot: Slot::of(b"acme"), now }
            };
            Ok(commands.iter().map(answer).collect())
        }

        fn has_server_of(&self, _key: &str) -> bool {
            true
        }

        fn since(&self, _key: &str) -> Option<Monotonic> {
            None
        }

        fn each(&self) -> Result<Vec<Lane>, Fault> {
            Ok(Vec::new())
        }
    }

    #[tokio::test]
    async fn what_cannot_be_done_again_while_a_master_is_away_is_done_once_it_is_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::starting_at(WallTime::from_micros(CALL)));
        let tell = |_| Box::pin(async { true }) as _;
        let lifetime = Duration::from_secs(3600);
        let path = folder.path().join("journal.redb");
        let journal = Journal::open(&path, clock, lifetime, Box::new(|_| ()), Box::new(tell)).expect("a journal");
        let (tenant, user) = (String::from("acme"), String::from("7"));
        let entry = Entry::User { tenant, user, floor: CALL, standing: None, keep: None };
        let written = journal.write(entry, EndReason::UserRevoked, &By::User).await.expect("written");
        journal.failed(&written);
        let [(sequence, record)] = &journal.failed_ones(0, 1)[..] else { panic!("one failed") };
        journal.tell(*sequence, None, record.late());
        assert!(!journal.has_failed(), "it was carried out");

        let (masters, keys) = (Arc::new(Cluster::default()), Keys::of_cluster("sg:"));
        let lane = Lane::All(masters.clone());
        for _ in 0..2 {
            redo_all(&lane, &keys, &journal, vec![record.clone()]).await.expect("the others are served");
            assert_eq!(journal.owed(), vec![record.clone()]);
        }
        carry_out(&lane, &keys, &journal).await.expect("the others are served");
        assert!(journal.has_failed(), "the master is away");
        masters.is_whole.store(true, Ordering::Relaxed);
        carry_out(&lane, &keys, &journal).await.expect("all are there");
        assert!(!journal.has_failed());
    }
}
