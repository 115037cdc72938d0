//! The tables, and what each call of the store does to them within one write transaction.
//!
//! Knows nothing of threads, time or files: takes a transaction and `now`. A call decodes what it needs before it
//! changes anything, so that a record which cannot be read fails that call alone.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::super::walk::Outdated;
use super::super::{Creation, NewSession, REASON_KEPT, Touch, Unavailable, codec};
use crate::session::{
    End, EndReason, Exemption, Generation, Generations, LimitAction, Observation, Principal, Scope, SessionId,
    SessionRecord, Standing, StoreTime, TenantChange, TenantId, TenantNote, TenantStanding, TenantStatus, UserId,
    UserStanding, judge,
};

/// The layout of the tables.
pub(super) const FORMAT: u64 = 2;
pub(super) const FORMAT_KEY: &str = "format";
pub(super) const TIME_KEY: &str = "time";

/// The format, and the last time that was written down (µs).
pub(super) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
/// Session to record.
const SESSIONS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("sessions");
/// Session to touch deadline (µs), as long as it was not ended.
const TOUCHES: TableDefinition<'static, &str, u64> = TableDefinition::new("touches");
/// Session to the reason of its end.
const ENDS: TableDefinition<'static, &str, &str> = TableDefinition::new("ends");
/// Tenant to standing.
const TENANTS: TableDefinition<'static, &str, &str> = TableDefinition::new("tenants");
/// Tenant to the note of its last change.
const NOTES: TableDefinition<'static, &str, &str> = TableDefinition::new("tenant_notes");
/// Tenant and user to standing.
const USERS: TableDefinition<'static, (&str, &str), &str> = TableDefinition::new("users");
/// The sessions of a tenant's user, in the order in which they were made (µs).
const USER_INDEX: TableDefinition<'static, UserEntry, ()> = TableDefinition::new("user_index");
/// The sessions of a tenant, likewise.
const TENANT_INDEX: TableDefinition<'static, TenantEntry, ()> = TableDefinition::new("tenant_index");
/// When (µs) to look whether a session can be forgotten.
const EXPIRY: TableDefinition<'static, (u64, &str), ()> = TableDefinition::new("expiry");
/// Audit chain to where it stands.
pub(super) const AUDIT_ANCHORS: TableDefinition<'static, &str, &str> = TableDefinition::new("audit_anchors");

type UserEntry = (&'static str, &'static str, u64, &'static str);
type TenantEntry = (&'static str, u64, &'static str);

/// Sorts after every session id.
const AFTER_ALL_IDS: &str = "~";

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// What is stored is not what was written: this call alone fails.
    Garbled(String),
    /// So is what is stored of this one session.
    Unreadable(String),
    /// The storage failed: nothing of the transaction may be kept.
    Storage(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Storage(error.into())
    }
}

impl From<Fault> for Unavailable {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Garbled(cause) => Self::because(cause),
            Fault::Unreadable(cause) => Self { unreadable: true, ..Self::because(cause) },
            Fault::Storage(error) => Self::because(error),
        }
    }
}

fn garbled(what: impl std::fmt::Display) -> Fault {
    Fault::Garbled(what.to_string())
}

/// Makes all tables in an empty file.
pub(super) fn initialise(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    Tables::open(&transaction)?.meta.insert(FORMAT_KEY, FORMAT)?;
    transaction.commit()?;
    Ok(())
}

/// What is to be ended after a revocation, one by one.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) index: IndexOf,
    pub(super) outdated: Outdated,
    pub(super) reason: EndReason,
}

/// All that says what a session is, at one moment.
pub(super) struct Snapshot {
    sessions: ReadOnlyTable<&'static str, &'static [u8]>,
    touches: ReadOnlyTable<&'static str, u64>,
    ends: ReadOnlyTable<&'static str, &'static str>,
    tenants: ReadOnlyTable<&'static str, &'static str>,
    users: ReadOnlyTable<(&'static str, &'static str), &'static str>,
}

impl Snapshot {
    pub(super) fn of(transaction: &ReadTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            sessions: transaction.open_table(SESSIONS)?,
            touches: transaction.open_table(TOUCHES)?,
            ends: transaction.open_table(ENDS)?,
            tenants: transaction.open_table(TENANTS)?,
            users: transaction.open_table(USERS)?,
        })
    }

    /// What a session is.
    pub(super) fn session(&self, id: SessionId, now: StoreTime) -> Result<Standing, Fault> {
        session(&self.sessions, &self.touches, &self.ends, (&self.tenants, &self.users), id, now)
    }

    pub(super) fn tenant(&self, tenant: &TenantId) -> Result<TenantStanding, Fault> {
        self.tenants.get(tenant.as_str())?.map_or(Ok(TenantStanding::default()), |text| standing_of(text.value()))
    }
}

/// What a session is, by all that says so.
fn session(
    sessions: &impl ReadableTable<&'static str, &'static [u8]>,
    touches: &impl ReadableTable<&'static str, u64>,
    ends: &impl ReadableTable<&'static str, &'static str>,
    (tenants, users): (
        &impl ReadableTable<&'static str, &'static str>,
        &impl ReadableTable<(&'static str, &'static str), &'static str>,
    ),
    session: SessionId,
    now: StoreTime,
) -> Result<Standing, Fault> {
    let id = session.as_str();
    let record = match sessions.get(id)? {
        Some(bytes) => Some(codec::decode(bytes.value()).map_err(|error| Fault::Unreadable(error.to_string()))?),
        None => None,
    };
    let touch_deadline = touches.get(id)?.map(|at| StoreTime::from_micros(at.value()));
    let ended = match ends.get(id)? {
        Some(end) => Some(end_of(end.value())?),
        None => None,
    };
    let (mut tenant, mut user) = (TenantStanding::default(), UserStanding::default());
    if let Some(SessionRecord { principal, .. }) = &record {
        if let Some(text) = tenants.get(principal.tenant.as_str())? {
            tenant = standing_of(text.value())?;
        }
        if let Some(text) = users.get((principal.tenant.as_str(), principal.user.as_str()))? {
            user = user_of(text.value())?;
        }
    }
    Ok(judge(Observation { id: session, record, touch_deadline, ended, tenant, user, now }))
}

/// The lists, at one moment.
pub(super) struct Lists {
    user_index: ReadOnlyTable<UserEntry, ()>,
    tenant_index: ReadOnlyTable<TenantEntry, ()>,
    notes: ReadOnlyTable<&'static str, &'static str>,
}

impl Lists {
    pub(super) fn of(transaction: &ReadTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            user_index: transaction.open_table(USER_INDEX)?,
            tenant_index: transaction.open_table(TENANT_INDEX)?,
            notes: transaction.open_table(NOTES)?,
        })
    }

    pub(super) fn entries(&self, of: &IndexOf, after: &Place, most: usize) -> Result<Vec<Place>, redb::Error> {
        entries(&self.user_index, &self.tenant_index, of, after, most)
    }

    pub(super) fn note(&self, tenant: &TenantId) -> Result<Option<TenantNote>, Fault> {
        let Some(text) = self.notes.get(tenant.as_str())? else { return Ok(None) };
        let note = TenantNote::decode(text.value().as_bytes());
        note.map(Some).ok_or_else(|| garbled("the note of a tenant's change cannot be read"))
    }

    /// The first known tenant after another: one with sessions, or with a note.
    pub(super) fn tenant_after(&self, after: Option<&TenantId>) -> Result<Option<TenantId>, redb::Error> {
        let name = after.map_or("", TenantId::as_str);
        let of_sessions = match self.tenant_index.range((name, u64::MAX, AFTER_ALL_IDS)..)?.next() {
            Some(entry) => TenantId::parse(entry?.0.value().0).ok(),
            None => None,
        };
        let of_notes = match self.notes.range::<&str>((Bound::Excluded(name), Bound::Unbounded))?.next() {
            Some(entry) => TenantId::parse(entry?.0.value()).ok(),
            None => None,
        };
        Ok(match (of_sessions, of_notes) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        })
    }
}

/// Whose sessions an index lists.
#[derive(Clone, Debug)]
pub(super) enum IndexOf {
    User(TenantId, UserId),
    Tenant(TenantId),
}

/// A session's place in an index: when it was made (µs), and its id. A time that never changes, whatever becomes of
/// the session's deadlines.
pub(super) type Place = (u64, String);

/// The first entries of an index after a place in it, which need not exist.
fn entries(
    users: &impl ReadableTable<UserEntry, ()>,
    tenants: &impl ReadableTable<TenantEntry, ()>,
    of: &IndexOf,
    (order, id): &Place,
    most: usize,
) -> Result<Vec<Place>, redb::Error> {
    let mut places = Vec::new();
    let id = id.as_str();
    match of {
        IndexOf::User(tenant, user) => {
            let (tenant, user) = (tenant.as_str(), user.as_str());
            let from = Bound::Excluded((tenant, user, *order, id));
            let to = Bound::Included((tenant, user, u64::MAX, AFTER_ALL_IDS));
            for entry in users.range((from, to))?.take(most) {
                let (key, _) = entry?;
                places.push((key.value().2, key.value().3.to_owned()));
            }
        }
        IndexOf::Tenant(tenant) => {
            let from = Bound::Excluded((tenant.as_str(), *order, id));
            let to = Bound::Included((tenant.as_str(), u64::MAX, AFTER_ALL_IDS));
            for entry in tenants.range((from, to))?.take(most) {
                let (key, _) = entry?;
                places.push((key.value().1, key.value().2.to_owned()));
            }
        }
    }
    Ok(places)
}

fn end_of(text: &str) -> Result<End, Fault> {
    End::decode(text.as_bytes()).ok_or_else(|| Fault::Unreadable(String::from("an unknown reason of an end")))
}

fn standing_of(text: &str) -> Result<TenantStanding, Fault> {
    TenantStanding::decode(text.as_bytes()).ok_or_else(|| garbled("a tenant's standing cannot be read"))
}

fn user_of(text: &str) -> Result<UserStanding, Fault> {
    UserStanding::decode(text.as_bytes()).ok_or_else(|| garbled("a user's standing cannot be read"))
}

/// All tables, open for writing in one transaction.
pub(super) struct Tables<'txn> {
    meta: Table<'txn, &'static str, u64>,
    sessions: Table<'txn, &'static str, &'static [u8]>,
    touches: Table<'txn, &'static str, u64>,
    ends: Table<'txn, &'static str, &'static str>,
    tenants: Table<'txn, &'static str, &'static str>,
    notes: Table<'txn, &'static str, &'static str>,
    users: Table<'txn, (&'static str, &'static str), &'static str>,
    user_index: Table<'txn, UserEntry, ()>,
    tenant_index: Table<'txn, TenantEntry, ()>,
    expiry: Table<'txn, (u64, &'static str), ()>,
    pub(super) audit_anchors: Table<'txn, &'static str, &'static str>,
}

impl<'txn> Tables<'txn> {
    pub(super) fn open(transaction: &'txn WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            meta: transaction.open_table(META)?,
            sessions: transaction.open_table(SESSIONS)?,
            touches: transaction.open_table(TOUCHES)?,
            ends: transaction.open_table(ENDS)?,
            tenants: transaction.open_table(TENANTS)?,
            notes: transaction.open_table(NOTES)?,
            users: transaction.open_table(USERS)?,
            user_index: transaction.open_table(USER_INDEX)?,
            tenant_index: transaction.open_table(TENANT_INDEX)?,
            expiry: transaction.open_table(EXPIRY)?,
            audit_anchors: transaction.open_table(AUDIT_ANCHORS)?,
        })
    }

    /// Writes down the time, after which no later run of the store starts.
    pub(super) fn note_time(&mut self, now: StoreTime) -> Result<(), redb::Error> {
        self.meta.insert(TIME_KEY, now.as_micros())?;
        Ok(())
    }

    /// Makes a session, which ends at `not_after` at the latest.
    pub(super) fn create(
        &mut self,
        new: NewSession,
        not_after: Option<StoreTime>,
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
        let id = new.id;
        let mut record = new.record(now, generations);
        record.deadline = not_after.map_or(record.deadline, |latest| latest.min(record.deadline));
        let touch_deadline = record.idle.map_or(record.deadline, |idle| idle.deadline_of_use_at(now));
        let id = id.as_str();
        let bytes = codec::encode(&record).map_err(garbled)?;
        let (tenant, user) = (record.principal.tenant.as_str(), record.principal.user.as_str());
        self.sessions.insert(id, bytes.as_slice())?;
        self.touches.insert(id, touch_deadline.as_micros())?;
        self.user_index.insert((tenant, user, now.as_micros(), id), ())?;
        self.tenant_index.insert((tenant, now.as_micros(), id), ())?;
        self.expiry.insert((kept_until(&record), id), ())?;
        for (id, record) in &displaced {
            self.end(*id, record, EndReason::Limit, now)?;
        }
        Ok(Creation::Stored { record, displaced })
    }

    /// Makes a session in the place of a live one, which ends after `grace`.
    pub(super) fn rotate(
        &mut self,
        old: SessionId,
        old_record: &SessionRecord,
        new: NewSession,
        grace: Duration,
        now: StoreTime,
    ) -> Result<Creation, Fault> {
        if self.ends.get(old.as_str())?.is_some() || !matches!(self.session(old, now)?, Standing::Live(_)) {
            return Ok(Creation::Superseded);
        }
        let creation = self.create(new, Some(old_record.deadline), now)?;
        if matches!(creation, Creation::Stored { .. }) {
            let end = End { reason: EndReason::Replaced, at: Some(now.after(grace)) };
            self.ends.insert(old.as_str(), end.encode().as_str())?;
        }
        Ok(creation)
    }

    /// The live sessions of a user, oldest first.
    fn live_of(&self, principal: &Principal, now: StoreTime) -> Result<Vec<(SessionId, Arc<SessionRecord>)>, Fault> {
        let index = IndexOf::User(principal.tenant.clone(), principal.user.clone());
        let mut live = Vec::new();
        for (_, id) in entries(&self.user_index, &self.tenant_index, &index, &Place::default(), usize::MAX)? {
            let Some(id) = SessionId::parse(id.as_bytes()) else { continue };
            // What cannot be read is not live for anybody.
            match self.session(id, now) {
                Ok(Standing::Live(session)) => live.push((id, session.record)),
                Ok(Standing::Absent | Standing::Ended(_)) | Err(Fault::Garbled(_) | Fault::Unreadable(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(live)
    }

    /// What a session is.
    fn session(&self, id: SessionId, now: StoreTime) -> Result<Standing, Fault> {
        session(&self.sessions, &self.touches, &self.ends, (&self.tenants, &self.users), id, now)
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
        self.expiry.insert((kept_until(record), id), ())?;
        Ok(true)
    }

    pub(super) fn end(
        &mut self,
        id: SessionId,
        record: &SessionRecord,
        reason: EndReason,
        now: StoreTime,
    ) -> Result<bool, Fault> {
        let live = self.live_touch(id.as_str(), now)?.is_some() && now < record.deadline;
        self.touches.remove(id.as_str())?;
        self.unindex(id, record)?;
        let noted = match self.ends.get(id.as_str())? {
            Some(end) => Some(end_of(end.value())?),
            None => None,
        };
        // An end that is written down for later comes now, and was counted then.
        let end = End::now(noted.map_or(reason, |end| end.reason));
        if live {
            self.ends.insert(id.as_str(), end.encode().as_str())?;
        }
        Ok(live && noted.is_none())
    }

    /// The record goes, so that the reason alone is found.
    pub(super) fn end_unreadable(&mut self, id: SessionId, reason: EndReason, now: StoreTime) -> Result<bool, Fault> {
        let touched = self.touches.remove(id.as_str())?.is_some();
        let found = self.sessions.remove(id.as_str())?.is_some() || touched;
        if found {
            self.ends.insert(id.as_str(), reason.as_str())?;
            // It may have had no moment at which to be forgotten.
            self.expiry.insert((now.after(REASON_KEPT).as_micros(), id.as_str()), ())?;
        }
        Ok(found)
    }

    pub(super) fn note_end(&mut self, id: SessionId, reason: EndReason) -> Result<bool, Fault> {
        if self.sessions.get(id.as_str())?.is_none() || self.ends.get(id.as_str())?.is_some() {
            return Ok(false);
        }
        self.ends.insert(id.as_str(), reason.as_str())?;
        Ok(true)
    }

    /// Raises a generation. Answers what that has ended.
    pub(super) fn raise(&mut self, scope: &Scope, now: StoreTime) -> Result<Outdated, Fault> {
        let (tenant, user, keep) = match scope {
            Scope::User { tenant, user } => (tenant, user, None),
            Scope::OtherSessions { tenant, user, keep } => (tenant, user, self.exemption(tenant, user, *keep)?),
            Scope::Tenant { tenant } => {
                let standing = self.standing(tenant)?;
                let raised = TenantStanding { generation: standing.generation.raised_at(now), ..standing };
                self.tenants.insert(tenant.as_str(), raised.encode().as_str())?;
                return Ok(Outdated::OfTenant(raised.generation));
            }
        };
        // One that cannot be read is replaced like an absent one: the new one differs from it, which is what ends.
        let standing = match self.user_standing(tenant, user) {
            Err(Fault::Garbled(_)) => UserStanding::default().raised_at(now, None),
            standing => standing?.raised_at(now, keep),
        };
        self.users.insert((tenant.as_str(), user.as_str()), standing.encode().as_str())?;
        Ok(Outdated::OfUser { standing, tenant: self.standing(tenant)?.generation })
    }

    /// The generation of the session that is to stay, if it is the user's.
    fn exemption(&self, tenant: &TenantId, user: &UserId, keep: SessionId) -> Result<Option<Exemption>, Fault> {
        let record = match self.sessions.get(keep.as_str())? {
            Some(bytes) => codec::decode(bytes.value()).map_err(garbled)?,
            None => return Ok(None),
        };
        let theirs = record.principal.tenant == *tenant && record.principal.user == *user;
        Ok(theirs.then_some(Exemption { session: keep, generation: record.generations.user }))
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
            self.notes.insert(tenant.as_str(), TenantNote::of(change, now).encode().as_str())?;
            return Ok(None);
        };
        self.tenants.insert(tenant.as_str(), changed.encode().as_str())?;
        let note = TenantNote::of(change, StoreTime::from_micros(changed.generation.as_micros()));
        self.notes.insert(tenant.as_str(), note.encode().as_str())?;
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
        let mut ended = 0;
        for (_, id) in &places {
            let record = match self.sessions.get(id.as_str())? {
                Some(bytes) => codec::decode(bytes.value()),
                None => continue,
            };
            // One that cannot be read is not live for anybody.
            let (Ok(record), Some(id)) = (record, SessionId::parse(id.as_bytes())) else { continue };
            if walk.outdated.covers(id, &record) {
                ended += u64::from(self.end(id, &record, walk.reason, now)?);
            }
        }
        Ok((ended, places.last().filter(|_| places.len() == most).cloned()))
    }

    /// Forgets up to `most` sessions whose reason need no longer be known. Answers how many it looked at.
    pub(super) fn sweep(&mut self, most: usize, now: StoreTime) -> Result<usize, redb::Error> {
        let mut due = Vec::new();
        for entry in self.expiry.range(..(now.as_micros(), ""))?.take(most) {
            let (key, ()) = entry.map(|(key, _)| (key, ()))?;
            let (at, id) = key.value();
            due.push((at, id.to_owned()));
        }
        for (at, id) in &due {
            self.expiry.remove((*at, id.as_str()))?;
            self.forget(id)?;
        }
        Ok(due.len())
    }

    fn forget(&mut self, id: &str) -> Result<(), redb::Error> {
        let record = self.sessions.remove(id)?.map(|bytes| codec::decode(bytes.value()));
        self.touches.remove(id)?;
        self.ends.remove(id)?;
        if let (Some(Ok(record)), Some(id)) = (record, SessionId::parse(id.as_bytes())) {
            self.unindex(id, &record)?;
        }
        Ok(())
    }

    fn unindex(&mut self, id: SessionId, record: &SessionRecord) -> Result<(), redb::Error> {
        let (tenant, user) = (record.principal.tenant.as_str(), record.principal.user.as_str());
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

    fn standing(&self, tenant: &TenantId) -> Result<TenantStanding, Fault> {
        match self.tenants.get(tenant.as_str())? {
            Some(text) => standing_of(text.value()),
            None => Ok(TenantStanding::default()),
        }
    }

    fn user_standing(&self, tenant: &TenantId, user: &UserId) -> Result<UserStanding, Fault> {
        self.users
            .get((tenant.as_str(), user.as_str()))?
            .map_or(Ok(UserStanding::default()), |text| user_of(text.value()))
    }
}

/// Until when record and reason are kept, in microseconds.
fn kept_until(record: &SessionRecord) -> u64 {
    record.deadline.after(REASON_KEPT).as_micros()
}
