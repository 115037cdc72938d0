//! Making sessions.
//!
//! A place in the index comes first, with which the one script that counts decides who has to go; then the record, with
//! which the session is live. Two round trips, or four where the user's other sessions have to be looked at. Whoever gives
//! up in between leaves it to [`Unfinished`] that the session does not live.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, Value};

use super::answers::{NEVER, end, exactly, micros, record, tenant_standing, time, touch_deadline, user_standing};
use super::commands::{eval, know};
use super::entry::Entry;
use super::fault::{Fault, number, text, unexpected};
use super::index::{Index, Node, entry_of, is_split};
use super::lane::Lanes;
use super::making::Making;
use super::read::{around, ask_around, observe, observed};
use super::store::RedisStore;
use super::times::{expires, first_touch_deadline, kept_after, kept_until};
use super::{order, scripts};
use crate::session::{
    End, EndReason, Generation, Generations, LimitAction, Line, Principal, SessionId, SessionLimit, SessionRecord,
    StoreTime, TenantId, TenantStanding, TenantStatus, UserStanding,
};
use crate::store::{Creation, NewSession, codec};

/// How long the place of a session that is being made is left to it.
const BEING_MADE: Duration = Duration::from_secs(10);

/// As far as the clocks of two masters may be apart for a limit to be exact.
const APART: Duration = Duration::from_secs(10);

/// A deadline that caps none: the largest number that the scripts' language has.
const NEVER_LATER: u64 = (1 << 53) - 1;

/// A rotation: from which session, and until when that has its moment.
pub(super) struct From<'a> {
    pub(super) id: SessionId,
    pub(super) record: &'a SessionRecord,
    pub(super) grace: Duration,
}

/// A place that was taken.
struct Place {
    node: Node,
    made: StoreTime,
    deadline: StoreTime,
    entries: i64,
    /// Who has to go for it, with their absolute deadlines (ms).
    displaced: Vec<(Entry, u64)>,
}

/// What came of asking for one.
enum Asked {
    Taken(Place),
    /// There is none beside these.
    Full(Vec<Entry>),
}

/// What is known of whom a session is made for.
#[derive(Clone, PartialEq, Eq)]
struct Standings {
    tenant: TenantStanding,
    user: UserStanding,
    /// The same of each tenant that may be chosen.
    elsewhere: Vec<(TenantStanding, UserStanding)>,
}

impl Standings {
    fn ask<'a>(
        pipeline: &mut Pipeline,
        store: &RedisStore,
        principal: &'a Principal,
        elsewhere: impl Iterator<Item = &'a TenantId>,
    ) {
        for tenant in std::iter::once(&principal.tenant).chain(elsewhere) {
            pipeline.cmd("GET").arg(store.keys().tenant(tenant));
            pipeline.cmd("GET").arg(store.keys().user(tenant, &principal.user));
        }
    }

    /// The next answers, of so many tenants that may be chosen.
    fn of(mut next: impl FnMut() -> Value, elsewhere: usize) -> Result<Self, Fault> {
        let (tenant, user) = (tenant_standing(next())?, user_standing(next())?);
        let both = |_| Ok((tenant_standing(next())?, user_standing(next())?));
        Ok(Self { tenant, user, elsewhere: (0..elsewhere).map(both).collect::<Result<_, Fault>>()? })
    }

    fn generations_elsewhere(&self) -> Vec<Generations> {
        let both = |(tenant, user): &(TenantStanding, UserStanding)| Generations {
            tenant: tenant.generation,
            user: user.generation,
        };
        self.elsewhere.iter().map(both).collect()
    }

    const fn generations(&self) -> Generations {
        Generations { tenant: self.tenant.generation, user: self.user.generation }
    }

    /// Why there is no session, if there is none.
    fn refuse(&self, began: StoreTime) -> Option<Creation> {
        if self.tenant.status != TenantStatus::Active {
            return Some(Creation::TenantRefused(self.tenant.status));
        }
        // Whoever revoked the user anywhere meant this login. A tenant is lost to it alone.
        let is_raised = |(_, user): &(_, UserStanding)| user.generation.is_newer_than(began);
        let is_over = self.generations().newer_than(began) || self.elsewhere.iter().any(is_raised);
        is_over.then_some(Creation::Superseded)
    }
}

impl RedisStore {
    /// Makes a session, or goes on with one as another.
    pub(super) async fn create_on(
        &self,
        lanes: &Lanes,
        new: NewSession,
        from: Option<From<'_>>,
    ) -> Result<Creation, Fault> {
        self.link.unfinished().bury_of(self.link.indexes(lanes), lanes, &new.principal).await?;
        let making = Making::begin(&self.link, new.id, &new.principal);
        let tenant = new.principal.tenant.clone();
        let index = self.index(lanes, &tenant);
        let not_after = from.as_ref().map(|from| from.record.deadline);
        let placed = match self.place(lanes, &index, &new, not_after).await {
            // Nothing was begun.
            Err(full) if full.is_out_of_memory() => {
                making.known();
                return Err(full);
            }
            placed => placed?,
        };
        let creation = self.made(lanes, &index, new, from, placed).await?;
        making.known();
        Ok(creation)
    }

    async fn made(
        &self,
        lanes: &Lanes,
        index: &Index<'_>,
        new: NewSession,
        from: Option<From<'_>>,
        placed: (Standings, Asked),
    ) -> Result<Creation, Fault> {
        let (id, began, has_limit) = (new.id, new.began, new.limit.is_some());
        let (standings, place) = match placed {
            (standings, Asked::Taken(place)) => (standings, place),
            (standings, Asked::Full(_)) => return Ok(standings.refuse(began).unwrap_or(Creation::LimitReached)),
        };
        let entry = Entry { user: self.keys().user_hash(&new.principal.user), created: place.made, id };
        if let Some(refused) = standings.refuse(began) {
            let mut pipeline = redis::pipe();
            pipeline.cmd("ZREM").arg(&place.node.key).arg(&entry.encode()[..]);
            lanes.careful.ask(&pipeline).await?;
            if matches!(refused, Creation::Superseded) {
                // Should the order have lost it, the next login is not to fail as well.
                let Generations { tenant, user } = standings.generations();
                let elsewhere = standings.elsewhere.iter().map(|(_, user)| user.generation).max().unwrap_or_default();
                let newest = StoreTime::from_micros(tenant.max(user).max(elsewhere).as_micros());
                order::reach(&lanes.careful, self.keys(), newest).await?;
            }
            return Ok(refused);
        }
        let line = from.as_ref().map(|from| {
            let until = place.made.after(from.grace);
            Box::new(Line::from(from.id, from.record, until, &new.principal))
        });
        let mut new = new;
        let sealed = new.sealed_token.take();
        let mut record = new.record(place.made, standings.generations(), &standings.generations_elsewhere());
        (record.deadline, record.line) = (place.deadline, line);
        let (after, displaced) = self.store(lanes, id, (&record, sealed.as_deref()), &place, has_limit).await?;
        index.relieve(&lanes.careful, &place.node, place.entries).await;
        if after != standings {
            // Revoked while it was made. Where others went for it, it is stored, and dead: they are told of.
            return if displaced.is_empty() {
                self.discard(lanes, id, record, after.tenant.status).await
            } else {
                Ok(Creation::Stored { record, displaced })
            };
        }
        match from {
            Some(from) if !self.replace(lanes, &from, id, &record).await? => {
                self.discard(lanes, id, record, TenantStatus::Active).await?;
                Ok(Creation::Superseded)
            }
            _ => Ok(Creation::Stored { record, displaced }),
        }
    }

    /// Takes a place. Under a limit that would be passed, the user's other sessions are looked at first: those that are
    /// over count for nothing.
    async fn place(
        &self,
        lanes: &Lanes,
        index: &Index<'_>,
        new: &NewSession,
        not_after: Option<StoreTime>,
    ) -> Result<(Standings, Asked), Fault> {
        let (standings, asked) = self.ask_place(lanes, index, new, not_after, ("look", &[])).await?;
        let (Some(limit), Asked::Full(theirs)) = (new.limit, &asked) else { return Ok((standings, asked)) };
        if standings.refuse(new.began).is_some() {
            return Ok((standings, asked));
        }
        let over = self.over_among(lanes, theirs, &standings).await?;
        let action = match limit.action {
            LimitAction::Deny if over.is_empty() => return Ok((standings, asked)),
            LimitAction::Deny => "deny",
            LimitAction::RevokeOldest => "displace",
        };
        self.ask_place(lanes, index, new, not_after, (action, &over)).await
    }

    async fn ask_place(
        &self,
        lanes: &Lanes,
        index: &Index<'_>,
        new: &NewSession,
        not_after: Option<StoreTime>,
        (action, over): (&str, &[Entry]),
    ) -> Result<(Standings, Asked), Fault> {
        let user = self.keys().user_hash(&new.principal.user);
        let mut node = index.leaf(user);
        loop {
            let mut place = eval(scripts::PLACE, std::slice::from_ref(&node.key));
            place.arg(&user[..]).arg(&new.id.to_bytes()[..]).arg(crate::clock::micros(new.absolute));
            place.arg(not_after.map_or(NEVER_LATER, StoreTime::as_micros));
            place.arg(new.limit.map_or(0, |SessionLimit { count, .. }| count.get())).arg(action);
            match new.replaces {
                Some(replaced) => place.arg(&replaced.to_bytes()[..]),
                None => place.arg(""),
            };
            for entry in over {
                place.arg(&entry.encode()[..]);
            }
            let mut pipeline = redis::pipe();
            // First: a revocation that comes late is not carried out by a generation once it finds the place (see `late`).
            pipeline.add_command(place);
            let elsewhere = new.candidates.iter().map(|candidate| &candidate.tenant);
            Standings::ask(&mut pipeline, self, &new.principal, elsewhere);
            let mut answers = lanes.ask_same_data(&lanes.careful, self.keys(), pipeline).await?.into_iter();
            let mut next = || answers.next().unwrap_or(Value::Nil);
            let answer = next();
            let standings = Standings::of(&mut next, new.candidates.len())?;
            let Value::Array(answer) = answer else { return Err(unexpected("a place", &answer)) };
            if is_split(&answer) {
                node = index.below(&node, user)?;
                continue;
            }
            return Ok((standings, asked(node, answer)?));
        }
    }

    /// Those of some entries of a user whose session is over, or was never stored.
    async fn over_among(&self, lanes: &Lanes, theirs: &[Entry], standings: &Standings) -> Result<Vec<Entry>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        for entry in theirs {
            pipeline.cmd("PEXPIRETIME").arg(self.keys().record(&entry.id));
        }
        let (clocks, answers) = lanes.careful.ask_timed(&mut pipeline).await?;
        let newest = standings.tenant.generation.max(standings.user.generation);
        let (mut over, mut doubtful) = (Vec::new(), Vec::new());
        for (place, (entry, answer)) in theirs.iter().zip(answers).enumerate() {
            let now = clocks.at(place)?;
            let is_over = match touch_deadline(&answer)? {
                Some(deadline) => now >= deadline,
                None => now.since(entry.created) >= BEING_MADE,
            };
            if is_over {
                over.push(*entry);
            } else if Generation::from_micros(entry.created.before(APART).as_micros()) <= newest {
                // Perhaps made before something was raised, and not tidied up.
                doubtful.push(*entry);
            }
        }
        if !doubtful.is_empty() {
            let mut pipeline = redis::pipe();
            for entry in &doubtful {
                pipeline.cmd("GET").arg(self.keys().record(&entry.id));
            }
            let Standings { tenant, user, .. } = standings;
            for (entry, kept) in doubtful.iter().zip(lanes.careful.ask_each(&mut pipeline).await?) {
                let Ok(Some(kept)) = record(kept) else { continue };
                let Generations { tenant: in_tenant, user: of_user } = kept.generations;
                let is_tenants = kept.ends_with_its_tenant() && in_tenant != tenant.generation;
                if is_tenants || !user.admits(entry.id, of_user) {
                    over.push(*entry);
                }
            }
        }
        Ok(over)
    }

    /// Stores the record, ends whom it displaces, and reads tenant and user again after it. Answers them, and who ended
    /// by it.
    async fn store(
        &self,
        lanes: &Lanes,
        id: SessionId,
        (record, sealed): (&SessionRecord, Option<&[u8]>),
        place: &Place,
        has_limit: bool,
    ) -> Result<(Standings, Vec<(SessionId, Arc<SessionRecord>)>), Fault> {
        let (keys, tenant) = (self.keys(), &record.principal.tenant);
        let bytes = codec::encode(record).map_err(Fault::garbled)?;
        let (mut pipeline, mut turns) = (redis::pipe(), Vec::with_capacity(2));
        if let Some(sealed) = sealed {
            // Before the session is live: none of its requests goes without.
            let set = pipeline.cmd("SET").arg(keys.sealed_token(&id)).arg(sealed);
            set.arg("PXAT").arg(kept_until(record));
        }
        // Not over what says that it must not live.
        let set = pipeline.cmd("SET").arg(keys.record(&id)).arg(bytes).arg("NX");
        set.arg("PXAT").arg(expires(first_touch_deadline(record)));
        // What is raised from here on is against a session that is there.
        turns.push(pipeline.len());
        let chosen = record.choices.as_ref().map_or(&[][..], |choices| choices.as_slice());
        let elsewhere = chosen.iter().map(|choosable| &choosable.tenant);
        Standings::ask(&mut pipeline, self, &record.principal, elsewhere);
        for (entry, deadline) in &place.displaced {
            let mut end = eval(scripts::END, &[keys.ended(&entry.id)]);
            end.arg(EndReason::Limit.as_str()).arg(kept_after(*deadline));
            pipeline.add_command(end);
            // Several logins may have been told to end it: whoever takes its record tells of it, if that was the reason.
            pipeline.cmd("GET").arg(keys.ended(&entry.id));
            pipeline.cmd("GETDEL").arg(keys.record(&entry.id));
            pipeline.cmd("UNLINK").arg(keys.sealed_token(&entry.id));
        }
        if has_limit {
            pipeline.cmd("GET").arg(keys.ended(&id));
        }
        if !chosen.is_empty() {
            // Revocations that come late have to know.
            pipeline.cmd("SET").arg(keys.choosers()).arg("1");
        }
        if !place.displaced.is_empty() {
            // Once they are over: until then their places are marked, and whoever comes next is told to end them.
            turns.push(pipeline.len());
            for (entry, _) in &place.displaced {
                pipeline.cmd("ZREM").arg(&place.node.key).arg(&entry.encode()[..]);
            }
        }
        let stored = lanes.careful.ask_in_turn(&pipeline, &turns);
        let (stored, known) = tokio::join!(stored, self.make_known(lanes, tenant, record));
        known?;
        let mut answers = stored?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        if sealed.is_some() {
            match next() {
                Value::Okay => {}
                other => return Err(unexpected("a token that is kept", &other)),
            }
        }
        match next() {
            Value::Okay => {}
            Value::Nil => return Err(Fault::garbled("a session was taken back while it was made")),
            other => return Err(unexpected("a stored session", &other)),
        }
        let standings = Standings::of(&mut next, chosen.len())?;
        let mut displaced = Vec::with_capacity(place.displaced.len());
        for (entry, deadline) in &place.displaced {
            let (_, why, kept, _) = (number(&next())?, end(next())?, next(), next());
            // One that cannot be read is over all the same; one that is not stored yet is told of by whoever makes it.
            let Ok(Some(kept)) = super::answers::record(kept) else { continue };
            if let Some(line) = &kept.line {
                self.end_line(lanes, &line.first, EndReason::Limit.as_str(), kept_after(*deadline)).await?;
            }
            if is_displaced(why) {
                displaced.push((entry.id, Arc::new(kept)));
            }
        }
        if has_limit && is_displaced(end(next())?) && self.take_record(lanes, &id).await? {
            // Later logins displaced it before it was stored.
            displaced.push((id, Arc::new(record.clone())));
        }
        Ok((standings, displaced))
    }

    /// Has the tenant in the list by which operators find it. That its master cannot be asked keeps nobody out: the next login
    /// tries again.
    async fn make_known(&self, lanes: &Lanes, tenant: &TenantId, record: &SessionRecord) -> Result<(), Fault> {
        let Some(until) = self.known.unknown(tenant, record, lanes.epoch) else { return Ok(()) };
        let until_then = until.as_millis_rounded_up().to_string();
        let mut pipeline = redis::pipe();
        pipeline.add_command(know(self.keys(), tenant, &until_then, record.created));
        match lanes.careful.ask(&pipeline).await {
            Ok(_) => self.known.wrote(tenant, until, record.created, lanes.epoch),
            Err(fault @ Fault::Shard(_)) => tracing::debug!(%fault, "a tenant could not be listed"),
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Takes back a session that must not come to be. If somebody else ended it first, it did exist for a moment, and was
    /// counted: then it is stored, and dead.
    async fn discard(
        &self,
        lanes: &Lanes,
        id: SessionId,
        record: SessionRecord,
        status: TenantStatus,
    ) -> Result<Creation, Fault> {
        let until = kept_after(record.created.as_millis_rounded_up());
        let never = self.end_and_clear(lanes, (id, NEVER, until), &[id], (id, &record)).await?;
        Ok(match status {
            _ if !never => Creation::Stored { record, displaced: Vec::new() },
            TenantStatus::Active => Creation::Superseded,
            refused => Creation::TenantRefused(refused),
        })
    }

    /// Has the session before give way to this one, which is stored. `false` if it is over, or did so already.
    ///
    /// All that it depends on is read after that is written: a revocation from here on finds the new session going on from
    /// it, and one before it wins.
    async fn replace(
        &self,
        lanes: &Lanes,
        from: &From<'_>,
        id: SessionId,
        record: &SessionRecord,
    ) -> Result<bool, Fault> {
        let keys = self.keys();
        let until = record.line.as_ref().map_or(record.created, |line| line.until);
        let mut note = eval(scripts::NOTE, &[keys.ended(&from.id)]);
        note.arg(End::replaced(id, until).encode()).arg(kept_until(from.record));
        let mut pipeline = redis::pipe();
        pipeline.add_command(note);
        let written = pipeline.len();
        pipeline.cmd("TIME");
        observe(&mut pipeline, keys, &from.id);
        ask_around(&mut pipeline, keys, &from.id, from.record);
        let mut answers = lanes.careful.ask_in_turn(&pipeline, &[written]).await?.into_iter();
        let (noted, now) = (answers.next().unwrap_or(Value::Nil), time(answers.next().unwrap_or(Value::Nil))?);
        let (noted, seen) = (number(&noted)? == 1, observed(&mut answers)?);
        let around = around(&mut answers, &from.id, from.record)?;
        let mut tidy = redis::pipe();
        if seen.record.is_none() && noted {
            // It was never made, or is long gone.
            tidy.cmd("UNLINK").arg(keys.ended(&from.id));
            lanes.careful.ask(&tidy).await?;
            return Ok(false);
        }
        // What is held goes on as held.
        if !noted || seen.judged(from.id, around, now).not_over().is_none() {
            return Ok(false);
        }
        if let Some(line) = from.record.line.as_deref().filter(|line| now < line.until) {
            // Of one session two tokens are good at most.
            let mut cut = eval(scripts::CUT_SHORT, &[keys.ended(&line.before)]);
            cut.arg(End::replaced(from.id, now).encode());
            tidy.add_command(cut);
        }
        let index = self.index(lanes, &from.record.principal.tenant);
        tidy.add_command(index.take_out(&entry_of(keys, from.id, from.record)));
        lanes.careful.ask(&tidy).await?;
        Ok(true)
    }

    /// Takes a record away. Answers whether it was there.
    async fn take_record(&self, lanes: &Lanes, id: &SessionId) -> Result<bool, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("GETDEL").arg(self.keys().record(id));
        let [taken] = exactly(lanes.careful.ask(&pipeline).await?)?;
        Ok(record(taken)?.is_some())
    }
}

/// Whether an end says that somebody had to go for others.
fn is_displaced(end: Option<End>) -> bool {
    end == Some(End::now(EndReason::Limit))
}

/// What [`scripts::PLACE`] answers.
fn asked(node: Node, answer: Vec<Value>) -> Result<Asked, Fault> {
    let mut answer = answer.into_iter();
    let mut next = || answer.next().unwrap_or(Value::Nil);
    if number(&next())? == 0 {
        let entries = answer.map(|member| text(member).map(|member| member.as_deref().and_then(Entry::decode)));
        return Ok(Asked::Full(entries.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()));
    }
    let (made, deadline, entries) = (micros(next())?, micros(next())?, number(&next())?);
    let mut displaced = Vec::new();
    while let (Some(member), Some(until)) = (answer.next(), answer.next()) {
        let entry = text(member)?.as_deref().and_then(Entry::decode);
        let entry = entry.ok_or_else(|| Fault::garbled("an index has an entry that was never written"))?;
        displaced.push((entry, micros(until)?.as_micros()));
    }
    Ok(Asked::Taken(Place { node, made, deadline, entries, displaced }))
}
