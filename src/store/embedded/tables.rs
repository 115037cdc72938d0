//! The tables, and what each call of the store does to them within one write transaction.
//!
//! Knows nothing of threads, time or files: takes a transaction and `now`. A call decodes what it needs before it
//! changes anything, so that a record which cannot be read fails that call alone.

use redb::{Database, ReadTransaction, ReadableTable as _, Table, TableDefinition, WriteTransaction};

use super::super::{Creation, NewSession, REASON_KEPT, Touch, Unavailable, codec};
use crate::session::{
    EndReason, Generation, Generations, Observation, Principal, SessionId, SessionRecord, Standing, StoreTime,
    TenantId, TenantStanding, TenantStatus, UserId, judge,
};

/// The layout of the tables.
pub(super) const FORMAT: u64 = 1;
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
/// Tenant and user to generation (µs).
const USERS: TableDefinition<'static, (&str, &str), u64> = TableDefinition::new("users");
/// The sessions of a tenant's user.
const USER_INDEX: TableDefinition<'static, (&str, &str, &str), ()> = TableDefinition::new("user_index");
/// The sessions of a tenant.
const TENANT_INDEX: TableDefinition<'static, (&str, &str), ()> = TableDefinition::new("tenant_index");
/// When (µs) to look whether a session can be forgotten.
const EXPIRY: TableDefinition<'static, (u64, &str), ()> = TableDefinition::new("expiry");
/// Audit chain to where it stands.
pub(super) const AUDIT_ANCHORS: TableDefinition<'static, &str, &str> = TableDefinition::new("audit_anchors");

/// Sorts after every session id.
const AFTER_ALL_IDS: &str = "~";

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// What is stored is not what was written: this call alone fails.
    Garbled(String),
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

/// What a session is, from a snapshot.
pub(super) fn read(transaction: &ReadTransaction, id: SessionId, now: StoreTime) -> Result<Standing, Fault> {
    let id = id.as_str();
    let record = match transaction.open_table(SESSIONS)?.get(id)? {
        Some(bytes) => Some(codec::decode(bytes.value()).map_err(garbled)?),
        None => None,
    };
    let touch_deadline = transaction.open_table(TOUCHES)?.get(id)?.map(|at| StoreTime::from_micros(at.value()));
    let ended = match transaction.open_table(ENDS)?.get(id)? {
        Some(reason) => Some(reason_of(reason.value())?),
        None => None,
    };
    let (mut tenant, mut user) = (TenantStanding::default(), Generation::NONE);
    if let Some(SessionRecord { principal, .. }) = &record {
        if let Some(text) = transaction.open_table(TENANTS)?.get(principal.tenant.as_str())? {
            tenant = standing_of(text.value())?;
        }
        if let Some(raised) =
            transaction.open_table(USERS)?.get((principal.tenant.as_str(), principal.user.as_str()))?
        {
            user = Generation::from_micros(raised.value());
        }
    }
    Ok(judge(Observation { record, touch_deadline, ended, tenant, user, now }))
}

fn reason_of(text: &str) -> Result<EndReason, Fault> {
    EndReason::parse(text.as_bytes()).ok_or_else(|| garbled("an unknown reason of an end"))
}

fn standing_of(text: &str) -> Result<TenantStanding, Fault> {
    TenantStanding::decode(text.as_bytes()).ok_or_else(|| garbled("a tenant's standing cannot be read"))
}

/// All tables, open for writing in one transaction.
pub(super) struct Tables<'txn> {
    meta: Table<'txn, &'static str, u64>,
    sessions: Table<'txn, &'static str, &'static [u8]>,
    touches: Table<'txn, &'static str, u64>,
    ends: Table<'txn, &'static str, &'static str>,
    tenants: Table<'txn, &'static str, &'static str>,
    users: Table<'txn, (&'static str, &'static str), u64>,
    user_index: Table<'txn, (&'static str, &'static str, &'static str), ()>,
    tenant_index: Table<'txn, (&'static str, &'static str), ()>,
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

    pub(super) fn create(&mut self, new: NewSession, now: StoreTime) -> Result<Creation, Fault> {
        let tenant = self.standing(&new.principal.tenant)?;
        let user = self.generation(&new.principal.tenant, &new.principal.user)?;
        let generations = Generations { tenant: tenant.generation, user };
        if tenant.status != TenantStatus::Active {
            return Ok(Creation::TenantRefused(tenant.status));
        }
        if generations.newer_than(new.began) {
            return Ok(Creation::Superseded);
        }
        let id = new.id;
        let record = new.record(now, generations);
        let touch_deadline = record.idle.map_or(record.deadline, |idle| idle.deadline_of_use_at(now));
        let id = id.as_str();
        let bytes = codec::encode(&record).map_err(garbled)?;
        let (tenant, user) = (record.principal.tenant.as_str(), record.principal.user.as_str());
        self.sessions.insert(id, bytes.as_slice())?;
        self.touches.insert(id, touch_deadline.as_micros())?;
        self.user_index.insert((tenant, user, id), ())?;
        self.tenant_index.insert((tenant, id), ())?;
        self.expiry.insert((kept_until(&record), id), ())?;
        Ok(Creation::Stored(record))
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
        self.unindex(id, &record.principal)?;
        if !live || self.ends.get(id.as_str())?.is_some() {
            return Ok(false);
        }
        self.ends.insert(id.as_str(), reason.as_str())?;
        Ok(true)
    }

    pub(super) fn note_end(&mut self, id: SessionId, reason: EndReason) -> Result<bool, Fault> {
        if self.sessions.get(id.as_str())?.is_none() || self.ends.get(id.as_str())?.is_some() {
            return Ok(false);
        }
        self.ends.insert(id.as_str(), reason.as_str())?;
        Ok(true)
    }

    pub(super) fn end_user(
        &mut self,
        tenant: &TenantId,
        user: &UserId,
        reason: EndReason,
        now: StoreTime,
    ) -> Result<u64, Fault> {
        let standing = self.standing(tenant)?;
        let old = self.generation(tenant, user)?;
        let raised = now.as_micros().max(old.as_micros().saturating_add(1));
        let current = Generations { tenant: standing.generation, user: Generation::from_micros(raised) };
        self.users.insert((tenant.as_str(), user.as_str()), raised)?;
        let mut ended = 0;
        for id in self.sessions_of(tenant, user)? {
            let record = match self.sessions.get(id.as_str())? {
                Some(bytes) => codec::decode(bytes.value()),
                None => continue,
            };
            // One that cannot be read is not live for anybody. One of an older generation of its tenant was over
            // before, and is counted by what ended the tenant.
            let Ok(record) = record else { continue };
            if record.generations.user != current.user && record.generations.tenant == current.tenant {
                ended += u64::from(self.end(id, &record, reason, now)?);
            }
        }
        Ok(ended)
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
            self.unindex(id, &record.principal)?;
        }
        Ok(())
    }

    fn unindex(&mut self, id: SessionId, principal: &Principal) -> Result<(), redb::Error> {
        let (tenant, user) = (principal.tenant.as_str(), principal.user.as_str());
        self.user_index.remove((tenant, user, id.as_str()))?;
        self.tenant_index.remove((tenant, id.as_str()))?;
        Ok(())
    }

    /// The touch deadline, unless it has passed.
    fn live_touch(&self, id: &str, now: StoreTime) -> Result<Option<StoreTime>, redb::Error> {
        let deadline = self.touches.get(id)?.map(|at| StoreTime::from_micros(at.value()));
        Ok(deadline.filter(|deadline| now < *deadline))
    }

    fn sessions_of(&self, tenant: &TenantId, user: &UserId) -> Result<Vec<SessionId>, redb::Error> {
        let (tenant, user) = (tenant.as_str(), user.as_str());
        let mut ids = Vec::new();
        for entry in self.user_index.range((tenant, user, "")..(tenant, user, AFTER_ALL_IDS))? {
            let (key, _) = entry?;
            ids.extend(SessionId::parse(key.value().2.as_bytes()));
        }
        Ok(ids)
    }

    fn standing(&self, tenant: &TenantId) -> Result<TenantStanding, Fault> {
        match self.tenants.get(tenant.as_str())? {
            Some(text) => standing_of(text.value()),
            None => Ok(TenantStanding::default()),
        }
    }

    fn generation(&self, tenant: &TenantId, user: &UserId) -> Result<Generation, Fault> {
        let raised = self.users.get((tenant.as_str(), user.as_str()))?;
        Ok(raised.map_or(Generation::NONE, |raised| Generation::from_micros(raised.value())))
    }
}

/// Until when record and reason are kept, in microseconds.
fn kept_until(record: &SessionRecord) -> u64 {
    record.deadline.after(REASON_KEPT).as_micros()
}
