//! Generations: the counter of a tenant or user whose raising ends all older sessions at once.

/// A generation, in microseconds of the store's clock when it was made; 0 when there was never one.
///
/// A session is valid only while the generations it was made under *equal* the current ones. Equality and not "at
/// least": a generation rolled back by a failover then still refuses newer sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u64);

impl Generation {
    /// The generation of a tenant or user that was never revoked.
    pub const NONE: Self = Self(0);

    /// A generation as the store keeps it.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// As the store keeps it.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }
}

/// The two generations that a session depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// The tenant's.
    pub tenant: Generation,
    /// The user's, within the tenant.
    pub user: Generation,
}

impl Generations {
    /// Whether either was raised after `time`: a login that began at `time` must then make no session.
    #[must_use]
    pub fn newer_than(self, time: super::StoreTime) -> bool {
        self.tenant.0 > time.as_micros() || self.user.0 > time.as_micros()
    }
}
