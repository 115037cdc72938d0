//! What the store knows of a tenant beside its sessions.

use super::Generation;

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
            TenantStatus::Suspended => format!("{generation} suspended"),
            TenantStatus::Deleted => format!("{generation} deleted"),
        }
    }

    /// Reads what [`encode`](Self::encode) wrote. `None` for anything else: the caller treats that as a broken store,
    /// never as an active tenant.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (generation, status) = match text.split_once(' ') {
            None => (text, TenantStatus::Active),
            Some((generation, "suspended")) => (generation, TenantStatus::Suspended),
            Some((generation, "deleted")) => (generation, TenantStatus::Deleted),
            Some(_) => return None,
        };
        let generation = Generation::from_micros(generation.parse().ok()?);
        Some(Self { generation, status })
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
        for garbage in [&b""[..], b"x", b"1 frozen", b"1  deleted", b"\xff", b"-1", b"99999999999999999999999"] {
            assert_eq!(TenantStanding::decode(garbage), None, "{garbage:?}");
        }
    }
}
