//! What the store knows of a tenant beside its sessions.

use super::generation::decimal;
use super::{By, EndReason, Generation, StoreTime, Words};

/// Whether a tenant may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TenantStatus {
    /// In use.
    #[default]
    Active,
    /// Shut out until it is restored.
    Suspended,
    /// Gone.
    Deleted,
}

impl TenantStatus {
    /// The name in the store and for operators.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deleted => "deleted",
        }
    }

    /// Reads what [`as_str`](Self::as_str) gave.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Suspended, Self::Deleted].into_iter().find(|status| status.as_str() == text)
    }
}

/// A tenant's generation and status, as kept under one key so that one read gives both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantStanding {
    /// The generation.
    pub generation: Generation,
    /// The status.
    pub status: TenantStatus,
}

impl TenantStanding {
    /// The text under the tenant's key: the generation in decimal, then ` suspended` or ` deleted` where it is not
    /// active.
    #[must_use]
    pub fn encode(self) -> String {
        let generation = self.generation.as_micros();
        match self.status {
            TenantStatus::Active => generation.to_string(),
            status => format!("{generation} {}", status.as_str()),
        }
    }

    /// Reads what [`encode`](Self::encode) wrote. `None` for anything else: the caller treats that as a broken store,
    /// never as an active tenant.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (generation, status) = match text.split_once(' ') {
            None => (text, TenantStatus::Active),
            Some((_, "active")) => return None,
            Some((generation, status)) => (generation, TenantStatus::parse(status)?),
        };
        Some(Self { generation: decimal(generation)?, status })
    }

    /// This standing after a change at `now`; `None` where it stays as it is.
    #[must_use]
    pub fn changed(self, status: TenantStatus, now: StoreTime) -> Option<Self> {
        let stays = (self.status, status) == (TenantStatus::Active, TenantStatus::Active);
        (!stays).then(|| Self { generation: self.generation.raised_at(now), status })
    }
}

/// What a tenant is made, and why. All but the making active of one that is active already ends all its sessions:
/// restoring revives none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantChange {
    /// The status it gets.
    pub status: TenantStatus,
    /// Why its sessions end.
    pub reason: EndReason,
    /// The operator's own words, for people.
    pub words: Words,
    /// Who asked for it.
    pub by: By,
}

/// What is kept of a tenant's last change, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantNote {
    /// When it was.
    pub since: StoreTime,
    /// Why.
    pub reason: EndReason,
    /// In the operator's words.
    pub words: Words,
}

impl TenantNote {
    /// The note of a change at `since`.
    #[must_use]
    pub fn of(change: &TenantChange, since: StoreTime) -> Self {
        Self { since, reason: change.reason, words: change.words.clone() }
    }

    /// The text that is kept: the time (µs), the reason and the words.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{} {} {}", self.since.as_micros(), self.reason.as_str(), self.words.as_str())
    }

    /// The text of a change whose time the store will put before it.
    #[must_use]
    pub fn without_time(change: &TenantChange) -> String {
        format!("{} {}", change.reason.as_str(), change.words.as_str())
    }

    /// Reads what [`encode`](Self::encode) wrote.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.splitn(3, ' ');
        let since = StoreTime::from_micros(decimal(parts.next()?)?.as_micros());
        let reason = EndReason::parse(parts.next()?.as_bytes())?;
        Some(Self { since, reason, words: Words::parse(parts.next()?)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_survives_the_store_and_garbage_is_never_an_active_tenant() {
        for status in [TenantStatus::Active, TenantStatus::Suspended, TenantStatus::Deleted] {
            let standing = TenantStanding { generation: Generation::from_micros(17), status };
            assert_eq!(TenantStanding::decode(standing.encode().as_bytes()), Some(standing));
        }
        for garbage in
            [&b""[..], b"x", b"1 frozen", b"1  deleted", b"1 active", b"\xff", b"-1", b"99999999999999999999999"]
        {
            assert_eq!(TenantStanding::decode(garbage), None, "{garbage:?}");
        }
    }
    #[test]
    fn every_change_of_status_raises_the_generation_and_a_restored_tenant_keeps_it() {
        let now = StoreTime::from_micros(100);
        let active = TenantStanding::default();
        assert_eq!(active.changed(TenantStatus::Active, now), None);
        let suspended = active.changed(TenantStatus::Suspended, now).expect("a change");
        assert_eq!(suspended.generation, Generation::from_micros(100));
        let restored = suspended.changed(TenantStatus::Active, now).expect("a change");
        assert_eq!(restored.encode(), "101");
    }

    #[test]
    fn a_note_survives_the_store() {
        let words = Words::parse("unpaid, see ticket 7").expect("one line");
        let note = TenantNote { since: StoreTime::from_micros(5), reason: EndReason::TenantRevoked, words };
        assert_eq!(note.encode(), "5 tenant_revoked unpaid, see ticket 7");
        assert_eq!(TenantNote::decode(note.encode().as_bytes()), Some(note));
        assert_eq!(TenantNote::decode(b"5 boredom x"), None);
    }
}
