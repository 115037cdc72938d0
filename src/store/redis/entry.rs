//! What a tenant's index holds of a session: whose it is, when it was made, and its id, in 31 bytes that sort by user.
//!
//! The score is the absolute deadline (ms); negative from the moment that a login displaced the session until it is
//! ended, so that none is lost sight of should the gateway die in between.

use crate::session::{SessionId, StoreTime};

/// What stands in an index for a user: the beginning of the hash of its id. Two users that share one are told apart by
/// their records.
pub(super) type UserHash = [u8; 8];

const CREATED: usize = 7;
const ID: usize = 16;
const LENGTH: usize = 8 + CREATED + ID;

/// The member of an index that has no session: its entries are in its children.
pub(super) const SPLIT: &[u8] = b"/";

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) user: UserHash,
    /// When the place was taken, which is when the session was made.
    pub(super) created: StoreTime,
    pub(super) id: SessionId,
}

impl Entry {
    pub(super) fn encode(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let (user, rest) = bytes.split_at_mut(8);
        let (created, id) = rest.split_at_mut(CREATED);
        user.copy_from_slice(&self.user);
        created.copy_from_slice(&self.created.as_micros().to_be_bytes()[1..]);
        id.copy_from_slice(&self.id.to_bytes());
        bytes
    }

    /// `None` for what is no entry of ours.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LENGTH] = bytes.try_into().ok()?;
        let (user, rest) = bytes.split_first_chunk::<8>()?;
        let (created, id) = rest.split_first_chunk::<CREATED>()?;
        let mut micros = [0; 8];
        micros[1..].copy_from_slice(created);
        let created = StoreTime::from_micros(u64::from_be_bytes(micros));
        Some(Self { user: *user, created, id: SessionId::from_bytes(id) })
    }

    /// Where it stands in listings: in the order in which indexes are split.
    pub(super) fn place(&self) -> (u64, SessionId) {
        (u64::from_be_bytes(self.user), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_the_index_and_sorts_by_user() {
        let id = SessionId::from_bytes(&[7; 16]);
        let entry =
            |user: u64, created| Entry { user: user.to_be_bytes(), created: StoreTime::from_micros(created), id };
        let one = entry(3, 1_764_000_000_000_000);
        assert_eq!(Entry::decode(&one.encode()), Some(one));
        assert!(one.encode() < entry(4, 1).encode() && one.place() < entry(4, 1).place());
        for garbage in [SPLIT, b"", &[0; LENGTH - 1], &[0; LENGTH + 1]] {
            assert_eq!(Entry::decode(garbage), None);
        }
    }
}
