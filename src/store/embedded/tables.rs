//! The tables, and what each call of the store does to them within one write transaction.
//!
//! Knows nothing of threads, time or files: takes a transaction and `now`. A call decodes what it needs before it
//! changes anything, so that a record which cannot be read fails that call alone.

use std::sync::Arc;
use std::time::Duration;

use redb::{Database, ReadableTable as _, Table, WriteTransaction};

use super::super::walk::Outdated;
use super::super::{Claim, Creation, LONGEST_LINE, NewSession, REASON_KEPT, Said, Touch, codec};
use super::end_notes::keep_notes;
use super::lists::{IndexOf, Place, entries};
use super::look::{Look, look};
use super::schema::{
    APP_KEY, APPS, AUDIT_ANCHORS, ENDS, EXPIRY, FORMAT, FORMAT_KEY, Fault, HOLDS, META, NOTES, NOTICES, SEALED_TOKENS,
    SESSIONS, TENANT_INDEX, TENANTS, TIME_KEY, TOUCHES, TenantEntry, USER_INDEX, USERS, UserEntry, end_of, garbled,
    last_word_of, standing_of, user_of,
};
use crate::monitor::EndNote;
use crate::session::{
    DeniedUntil, End, EndReason, Exemption, Generation, Generations, HeldSession, HoldWord, Keep, LastWord,
    LimitAction, Line, Principal, Scope, SessionId, SessionRecord, Standing, StoreTime, TenantChange, TenantId,
    TenantNote, TenantStanding, TenantStatus, UserId, UserStanding,
};

/// Makes all tables that a file does not have yet.
pub(super) fn initialise(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    Tables::open(&transaction)?.meta.insert(FORMAT_KEY, FORMAT)?;
    transaction.commit()?;
    Ok(())
}

/// Says which app has sessions in it, unless another has that still live: that one's name is answered.
pub(super) fn claim(database: &Database, claim: &Claim, now: StoreTime) -> Result<Option<String>, redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut apps = transaction.open_table(APPS)?;
        let expiry = transaction.open_table(EXPIRY)?;
        let lives = expiry.range((now.as_micros(), "")..)?.next().is_some();
        let before = apps.get(APP_KEY)?.map(|app| app.value().to_owned());
        if let Some(other) = before.filter(|before| lives && !claim.shared && *before != claim.app) {
            return Ok(Some(other));
        }
        apps.insert(APP_KEY, claim.app.as_str())?;
    }
    transaction.commit()?;
    Ok(None)
}

/// What is to be ended after a revocation, one by one.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) index: IndexOf,
    pub(super) outdated: Outdated,
    pub(super) reason: EndReason,
    /// Whether it is remembered whose they were, and where their logins came from.
    pub(super) remembers: bool,
}

/// All tables, open for writing in one transaction.
pub(super) struct Tables<'txn> {
    /// For what is rarely used, and opened by who does.
    pub(super) transaction: &'txn WriteTransaction,
    meta: Table<'txn, &'static str, u64>,
    sessions: Table<'txn, &'static str, &'static [u8]>,
    sealed_tokens: Table<'txn, &'static str, &'static [u8]>,
    touches: Table<'txn, &'static str, u64>,
    ends: Table<'txn, &'static str, (&'static str, u64)>,
    holds: Table<'txn, &'static str, (&'static str, u64)>,
    tenants: Table<'txn, &'static str, &'static str>,
    notes: Table<'txn, &'static str, &'static str>,
    users: Table<'txn, (&'static str, &'static str), &'static str>,
    user_index: Table<'txn, UserEntry, ()>,
    tenant_index: Table<'txn, TenantEntry, ()>,
    expiry: Table<'txn, (u64, &'static str), ()>,
    pub(super) audit_anchors: Table<'txn, &'static str, &'static str>,
    pub(super) notices: Table<'txn, &'static str, &'static str>,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            transaction,
            meta: transaction.open_table(META)?,
            sessions: transaction.open_table(SESSIONS)?,
            sealed_tokens: transaction.open_table(SEALED_TOKENS)?,
            touches: transaction.open_table(TOUCHES)?,
            ends: transaction.open_table(ENDS)?,
            holds: transaction.open_table(HOLDS)?,
            tenants: transaction.open_table(TENANTS)?,
            notes: transaction.open_table(NOTES)?,
            users: transaction.open_table(USERS)?,
            user_index: transaction.open_table(USER_INDEX)?,
            tenant_index: transaction.open_table(TENANT_INDEX)?,
            expiry: transaction.open_table(EXPIRY)?,
            audit_anchors: transaction.open_table(AUDIT_ANCHORS)?,
            notices: transaction.open_table(NOTICES)?,
        })
    }

    /// Writes down the time, after which no later run of the store starts.
    pub(super) fn note_time(&mut self, now: StoreTime) -> Result<(), redb::Error> {
        self.meta.insert(TIME_KEY, now.as_micros())?;
        Ok(())
    }

    /// Makes a session, or goes on with one as another: from which, and until when that has its moment.
    pub(super) fn create(
        &mut self,
        new: NewSession,
        from: Option<(SessionId, &SessionRecord, StoreTime)>,
        now: StoreTime,
    ) -> Result<Creation, Fault> {
        let tenant = self.standing(&new.principal.tenant)?;
        let user = self.user_standing(&new.principal.tenant, &new.principal.user)?;
        let generations = Generations { tenant: tenant.generation, user: user.generation };
        if tenant.status != TenantStatus::Active {
            return Ok(Creation::TenantRefused(tenant.status));
        }
        if generations.newer_than(new.began) {
            return Ok(Creation::Superseded);
        }
        let mut elsewhere = Vec::with_capacity(new.candidates.len());
        for candidate in &new.candidates {
            let tenant = self.standing(&candidate.tenant)?.generation;
            let user = self.user_standing(&candidate.tenant, &new.principal.user)?.generation;
            // Whoever revoked the user anywhere meant this login. A tenant is lost to it alone.
            if user.is_newer_than(new.began) {
                return Ok(Creation::Superseded);
            }
            elsewhere.push(Generations { tenant, user });
        }
        let mut displaced = Vec::new();
        if let Some(limit) = new.limit {
            displaced = self.live_of(&new.principal, now)?;
            displaced.retain(|(id, _)| Some(*id) != new.replaces);
            let many = (displaced.len() + 1).saturating_sub(usize::from(limit.count.get()));
            if many > 0 && limit.action == LimitAction::Deny {
                return Ok(Creation::LimitReached);
            }
            displaced.truncate(many);
        }
        let (id, mut new) = (new.id, new);
        if let Some(sealed) = new.sealed_token.take() {
            self.sealed_tokens.insert(id.as_str(), sealed.as_slice())?;
        }
        let mut record = new.record(now, generations, &elsewhere);
        if let Some((old, old_record, until)) = from {
            record.deadline = record.deadline.min(old_record.deadline);
            record.line = Some(Box::new(Line::from(old, old_record, until, &record.principal)));
        }
        let touch_deadline = record.idle.map_or(record.deadline, |idle| idle.deadline_of_use_at(now));
        let id = id.as_str();
        let bytes = codec::encode(&record).map_err(garbled)?;
        let (tenant, user) = (record.principal.tenant.kept(), record.principal.user.kept());
        self.sessions.insert(id, bytes.as_slice())?;
        self.touches.insert(id, touch_deadline.as_micros())?;
        self.user_index.insert((tenant, user, now.as_micros(), id), ())?;
        self.tenant_index.insert((tenant, now.as_micros(), id), ())?;
        self.expiry.insert((kept_after(touch_deadline), id), ())?;
        for (id, _) in &displaced {
            self.end(*id, EndReason::Limit, now)?;
        }
        Ok(Creation::Stored { record, displaced })
    }

    /// Goes on with a live session as another, and leaves its token a moment.
    pub(super) fn rotate(
        &mut self,
        old: SessionId,
        old_record: &SessionRecord,
        new: NewSession,
        grace: Duration,
        now: StoreTime,
    ) -> Result<Creation, Fault> {
        // What is held goes on as held.
        if self.ended(old)?.is_some() || self.session(old, now)?.not_over().is_none() {
            return Ok(Creation::Superseded);
        }
        let (id, until) = (new.id, now.after(grace));
        let creation = self.create(new, Some((old, old_record, until)), now)?;
        if matches!(creation, Creation::Stored { .. }) {
            self.write_end(old, End::replaced(id, until), kept_after(old_record.deadline))?;
            self.unindex(old, old_record)?;
            if let Some(line) = old_record.line.as_deref().filter(|line| now < line.until) {
                // Of one session two tokens are good at most.
                if let Some((end, kept)) = self.ended(line.before)?
                    && !end.is_of_the_line()
                {
                    self.write_end(line.before, End::replaced(old, now), kept)?;
                }
            }
        }
        Ok(creation)
    }

    /// The sessions of a user that are not over, oldest first.
    fn live_of(&self, principal: &Principal, now: StoreTime) -> Result<Vec<(SessionId, Arc<SessionRecord>)>, Fault> {
        let index = IndexOf::User(principal.tenant.clone(), principal.user.clone());
        let mut live = Vec::new();
        for (_, id) in entries(&self.user_index, &self.tenant_index, &index, &Place::default(), usize::MAX)? {
            let Some(id) = SessionId::parse(id.as_bytes()) else { continue };
            // What cannot be read is not live for anybody.
            match self.session(id, now) {
                Ok(Standing::Live(session) | Standing::Held(HeldSession { live: session, .. })) => {
                    live.push((id, session.record));
                }
                Ok(Standing::Absent | Standing::Ended(_)) | Err(Fault::Garbled(_) | Fault::Unreadable(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(live)
    }

    pub(super) fn touch(&mut self, touches: &[Touch], now: StoreTime) -> Result<Vec<bool>, Fault> {
        let mut moved = Vec::with_capacity(touches.len());
        for touch in touches {
            let current = self.live_touch(touch.id.as_str(), now)?;
            if current.is_some_and(|current| current < touch.deadline) {
                self.touches.insert(touch.id.as_str(), touch.deadline.as_micros())?;
            }
            moved.push(current.is_some());
        }
        Ok(moved)
    }

    pub(super) fn tighten(
        &mut self,
        id: SessionId,
        record: &SessionRecord,
        touch_deadline: StoreTime,
        now: StoreTime,
    ) -> Result<bool, Fault> {
        let bytes = codec::encode(record).map_err(garbled)?;
        let id = id.as_str();
        if self.live_touch(id, now)?.is_none() || self.ends.get(id)?.is_some() || self.sessions.get(id)?.is_none() {
            return Ok(false);
        }
        self.sessions.insert(id, bytes.as_slice())?;
        self.touches.insert(id, touch_deadline.as_micros())?;
        self.expiry.insert((kept_after(touch_deadline), id), ())?;
        Ok(true)
    }

    /// Ends a session by any of its tokens. Answers whether it was live.
    pub(super) fn end(&mut self, id: SessionId, reason: EndReason, now: StoreTime) -> Result<bool, Fault> {
        let mut tokens = vec![id];
        let mut head = id;
        while tokens.len() < LONGEST_LINE
            && let Some(on) = self.ended(head)?.and_then(|(end, _)| end.goes_on)
        {
            head = on.next;
            tokens.push(head);
        }
        let Some(record) = self.record(head)? else { return Ok(false) };
        // What time has ended is nobody's to end.
        if self.live_touch(head.as_str(), now)?.is_none() || now >= record.deadline {
            return Ok(false);
        }
        let first = record.decided_by(head);
        let is_over = self.ended(first)?.is_some_and(|(end, _)| end.is_of_the_line());
        if !is_over {
            self.write_end(first, End::now(reason), kept_after(record.deadline))?;
        }
        tokens.extend(record.line.as_ref().map(|line| line.before));
        for token in &tokens {
            self.sessions.remove(token.as_str())?;
            self.sealed_tokens.remove(token.as_str())?;
            self.touches.remove(token.as_str())?;
            // That it is known why, whichever is shown.
            if *token != first {
                self.write_end(*token, End::now(reason), kept_after(record.deadline))?;
            }
        }
        self.unindex(head, &record)?;
        Ok(!is_over)
    }

    /// Says whether a session is held.
    pub(super) fn hold(
        &mut self,
        first: SessionId,
        word: HoldWord,
        deadline: StoreTime,
        now: StoreTime,
    ) -> Result<Said, Fault> {
        if self.ended(first)?.is_some_and(|(end, _)| end.is_of_the_line()) {
            return Ok(Said::Over);
        }
        let before = match self.last_word(first) {
            // One that cannot be read is replaced by any.
            Err(Fault::Unreadable(_)) => None,
            before => before?,
        };
        let Some(last) = LastWord::after(before.as_ref(), word, now) else { return Ok(Said::Nothing) };
        let until = kept_after(deadline);
        self.holds.insert(first.as_str(), (last.encode().as_str(), until))?;
        self.expiry.insert((until, first.as_str()), ())?;
        Ok(Said::News)
    }

    /// Denies a token. Answers whether it was not denied already.
    pub(super) fn deny(
        &mut self,
        id: SessionId,
        until: DeniedUntil,
        reason: EndReason,
        now: StoreTime,
    ) -> Result<bool, Fault> {
        if self.ended(id)?.is_some() {
            return Ok(false);
        }
        self.write_end(id, End::now(reason), kept_after(until.moment(now)))?;
        Ok(true)
    }

    /// The record goes, so that the reason alone is found.
    pub(super) fn end_unreadable(&mut self, id: SessionId, reason: EndReason, now: StoreTime) -> Result<bool, Fault> {
        self.sealed_tokens.remove(id.as_str())?;
        let touched = self.touches.remove(id.as_str())?.is_some();
        let found = self.sessions.remove(id.as_str())?.is_some() || touched;
        if found {
            self.write_end(id, End::now(reason), kept_after(now))?;
        }
        Ok(found)
    }

    /// Takes back a session that nobody has, if it came to be.
    pub(super) fn take_back(&mut self, id: SessionId) -> Result<(), Fault> {
        if let Some(record) = self.record(id)? {
            self.sessions.remove(id.as_str())?;
            self.sealed_tokens.remove(id.as_str())?;
            self.touches.remove(id.as_str())?;
            self.unindex(id, &record)?;
        }
        Ok(())
    }

    /// Keeps another token for a session, if one is kept.
    pub(super) fn replace_sealed_token(&mut self, id: SessionId, sealed: &[u8]) -> Result<bool, Fault> {
        let kept = self.sealed_tokens.get(id.as_str())?.is_some();
        if kept {
            self.sealed_tokens.insert(id.as_str(), sealed)?;
        }
        Ok(kept)
    }

    pub(super) fn note_end(&mut self, id: SessionId, reason: EndReason, now: StoreTime) -> Result<bool, Fault> {
        let Some(record) = self.record(id)?.filter(|_| matches!(self.ended(id), Ok(None))) else { return Ok(false) };
        // Of an end by disuse for an hour, of any other for as long as it would have lived, and an hour.
        let until = if reason == EndReason::IdleTimeout { now } else { record.deadline };
        self.write_end(id, End::now(reason), kept_after(until))?;
        self.sealed_tokens.remove(id.as_str())?;
        Ok(true)
    }

    fn write_end(&mut self, id: SessionId, end: End, until: u64) -> Result<(), redb::Error> {
        self.ends.insert(id.as_str(), (end.encode().as_str(), until))?;
        self.expiry.insert((until, id.as_str()), ())?;
        Ok(())
    }

    /// Raises a generation. Answers what that has ended.
    pub(super) fn raise(&mut self, scope: &Scope, now: StoreTime) -> Result<Outdated, Fault> {
        let (tenant, user, keep) = match scope {
            Scope::User { tenant, user } => (tenant, user, None),
            Scope::OtherSessions { tenant, user, keep: Keep::Session(keep) } => {
                (tenant, user, self.exemption(tenant, user, *keep)?)
            }
            Scope::OtherSessions { tenant, user, keep: Keep::Token(exempt) } => (tenant, user, Some(*exempt)),
            Scope::Tenant { tenant } => {
                let standing = self.standing(tenant)?;
                let raised = TenantStanding { generation: standing.generation.raised_at(now), ..standing };
                self.tenants.insert(tenant.kept(), raised.encode().as_str())?;
                return Ok(Outdated::OfTenant(raised.generation));
            }
        };
        // One that cannot be read is replaced like an absent one: the new one differs from it, which is what ends.
        let standing = match self.user_standing(tenant, user) {
            Err(Fault::Garbled(_)) => UserStanding::default().raised_at(now, None),
            standing => standing?.raised_at(now, keep),
        };
        self.users.insert((tenant.kept(), user.kept()), standing.encode().as_str())?;
        Ok(Outdated::OfUser { standing, tenant: self.standing(tenant)?.generation })
    }

    /// The generation of the session that is to stay, if it is the user's. Of one that has just been replaced it is the
    /// one that goes on.
    fn exemption(&self, tenant: &TenantId, user: &UserId, keep: SessionId) -> Result<Option<Exemption>, Fault> {
        let keep = self.ended(keep)?.and_then(|(end, _)| end.goes_on).map_or(keep, |on| on.next);
        let Some(record) = self.record(keep)? else { return Ok(None) };
        let under = record.generations_in(tenant).filter(|_| record.principal.user == *user);
        Ok(under.map(|under| Exemption { session: keep, generation: under.user }))
    }

    /// Changes a tenant's status. Answers what that has ended; `None` if it stays as it was.
    pub(super) fn change_tenant(
        &mut self,
        tenant: &TenantId,
        change: &TenantChange,
        now: StoreTime,
    ) -> Result<Option<Outdated>, Fault> {
        // A status mends a standing that cannot be read.
        let changed = match self.standing(tenant) {
            Err(Fault::Garbled(_)) => {
                let generation = Generation::NONE.raised_at(now);
                Some(TenantStanding { generation, status: change.status })
            }
            standing => standing?.changed(change.status, now),
        };
        let Some(changed) = changed else {
            // It was said again, which counts as the last word.
            self.notes.insert(tenant.kept(), TenantNote::of(change, now).encode().as_str())?;
            return Ok(None);
        };
        self.tenants.insert(tenant.kept(), changed.encode().as_str())?;
        let note = TenantNote::of(change, StoreTime::from_micros(changed.generation.as_micros()));
        self.notes.insert(tenant.kept(), note.encode().as_str())?;
        Ok(Some(Outdated::OfTenant(changed.generation)))
    }

    /// Ends what is outdated among the first `most` entries of an index after a place. Answers how many were live, and
    /// the place to go on from, if there is more.
    pub(super) fn end_outdated(
        &mut self,
        walk: &Walk,
        after: &Place,
        most: usize,
        now: StoreTime,
    ) -> Result<(u64, Option<Place>), Fault> {
        let places = entries(&self.user_index, &self.tenant_index, &walk.index, after, most)?;
        let (mut ended, mut notes) = (0, Vec::new());
        for (_, id) in &places {
            let record = match self.sessions.get(id.as_str())? {
                Some(bytes) => codec::decode(bytes.value()),
                None => continue,
            };
            // One that cannot be read is not live for anybody.
            let (Ok(record), Some(id)) = (record, SessionId::parse(id.as_bytes())) else { continue };
            if walk.outdated.covers(id, &record) {
                let is_ended = self.end(id, walk.reason, now)?;
                if is_ended && walk.remembers {
                    let note = (id, EndNote::of(&record.principal, record.address), record.deadline.after(REASON_KEPT));
                    notes.push((record.decided_by(id), note.1.clone(), note.2));
                    notes.push(note);
                }
                ended += u64::from(is_ended);
                self.unindex(id, &record)?;
            }
        }
        keep_notes(self.transaction, &notes, now)?;
        Ok((ended, places.last().filter(|_| places.len() == most).cloned()))
    }

    /// Looks at up to `most` sessions that may be forgotten. Answers at how many it looked.
    pub(super) fn sweep(&mut self, most: usize, now: StoreTime) -> Result<usize, redb::Error> {
        let mut due = Vec::new();
        for entry in self.expiry.range(..(now.as_micros(), ""))?.take(most) {
            let (key, ()) = entry.map(|(key, _)| (key, ()))?;
            let (at, id) = key.value();
            due.push((at, id.to_owned()));
        }
        for (at, id) in &due {
            self.expiry.remove((*at, id.as_str()))?;
            self.forget(id, now)?;
        }
        Ok(due.len())
    }

    /// Forgets a session that need no longer be known. One that was used since is looked at again later.
    fn forget(&mut self, id: &str, now: StoreTime) -> Result<(), redb::Error> {
        let end_is_kept = self.ends.get(id)?.is_some_and(|kept| now.as_micros() < kept.value().1);
        let touched = self.touches.get(id)?.map(|at| kept_after(StoreTime::from_micros(at.value())));
        match touched {
            Some(until) if now.as_micros() < until => {
                self.expiry.insert((until, id), ())?;
            }
            _ => {
                self.sealed_tokens.remove(id)?;
                let record = self.sessions.remove(id)?.map(|bytes| codec::decode(bytes.value()));
                self.touches.remove(id)?;
                if let (Some(Ok(record)), Some(id)) = (record, SessionId::parse(id.as_bytes())) {
                    self.unindex(id, &record)?;
                }
            }
        }
        if !end_is_kept {
            self.ends.remove(id)?;
        }
        let word_is_kept = self.holds.get(id)?.is_some_and(|kept| now.as_micros() < kept.value().1);
        if !word_is_kept {
            self.holds.remove(id)?;
        }
        Ok(())
    }

    fn unindex(&mut self, id: SessionId, record: &SessionRecord) -> Result<(), redb::Error> {
        let (tenant, user) = (record.principal.tenant.kept(), record.principal.user.kept());
        let made = record.created.as_micros();
        self.user_index.remove((tenant, user, made, id.as_str()))?;
        self.tenant_index.remove((tenant, made, id.as_str()))?;
        Ok(())
    }

    /// The touch deadline, unless it has passed.
    fn live_touch(&self, id: &str, now: StoreTime) -> Result<Option<StoreTime>, redb::Error> {
        let deadline = self.touches.get(id)?.map(|at| StoreTime::from_micros(at.value()));
        Ok(deadline.filter(|deadline| now < *deadline))
    }
}

look!(Tables<'_>);

/// Until when (µs) it is known of a session, or of its end, that it would have been over then.
fn kept_after(over: StoreTime) -> u64 {
    over.after(REASON_KEPT).as_micros()
}
