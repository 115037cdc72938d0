//! Which sessions there are of a user or a tenant, and which tenants.

use std::ops::Bound;

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable};

use super::schema::{AFTER_ALL_IDS, Fault, NOTES, TENANT_INDEX, TenantEntry, USER_INDEX, UserEntry, garbled};
use crate::session::{TenantId, TenantNote, UserId};

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
        let Some(text) = self.notes.get(tenant.kept())? else { return Ok(None) };
        let note = TenantNote::decode(text.value().as_bytes());
        note.map(Some).ok_or_else(|| garbled("the note of a tenant's change cannot be read"))
    }

    /// The first known tenant after another: one with sessions, or with a note.
    pub(super) fn tenant_after(&self, after: Option<&TenantId>) -> Result<Option<TenantId>, redb::Error> {
        let after = after.map(TenantId::kept);
        let from = after.map_or(("", 0, ""), |after| (after, u64::MAX, AFTER_ALL_IDS));
        let of_sessions = match self.tenant_index.range(from..)?.next() {
            Some(entry) => TenantId::parse_kept(entry?.0.value().0).ok(),
            None => None,
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let of_notes = match self.notes.range::<&str>((from, Bound::Unbounded))?.next() {
            Some(entry) => TenantId::parse_kept(entry?.0.value()).ok(),
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
pub(super) fn entries(
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
            let (tenant, user) = (tenant.kept(), user.kept());
            let from = Bound::Excluded((tenant, user, *order, id));
            let to = Bound::Included((tenant, user, u64::MAX, AFTER_ALL_IDS));
            for entry in users.range((from, to))?.take(most) {
                let (key, _) = entry?;
                places.push((key.value().2, key.value().3.to_owned()));
            }
        }
        IndexOf::Tenant(tenant) => {
            let from = Bound::Excluded((tenant.kept(), *order, id));
            let to = Bound::Included((tenant.kept(), u64::MAX, AFTER_ALL_IDS));
            for entry in tenants.range((from, to))?.take(most) {
                let (key, _) = entry?;
                places.push((key.value().1, key.value().2.to_owned()));
            }
        }
    }
    Ok(places)
}
