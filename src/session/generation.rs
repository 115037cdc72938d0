//! Generations: the counter of a tenant or user whose raising ends all older sessions at once.

use super::{SessionId, StoreTime};

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

    /// Whether it was raised after `time`.
    #[must_use]
    pub const fn is_newer_than(self, time: StoreTime) -> bool {
        self.0 > time.as_micros()
    }

    /// This one; but one that nothing was ever made under where it was raised after `time`.
    #[must_use]
    pub fn unless_raised_since(self, time: StoreTime) -> Self {
        if self.is_newer_than(time) { Self(u64::MAX) } else { self }
    }

    /// The generation that a revocation at `now` raises this one to.
    #[must_use]
    pub fn raised_at(self, now: StoreTime) -> Self {
        Self(now.as_micros().max(self.0.saturating_add(1)))
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
    pub fn newer_than(self, time: StoreTime) -> bool {
        self.tenant.is_newer_than(time) || self.user.is_newer_than(time)
    }
}

/// The one session that the ending of all others left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemption {
    /// The session.
    pub session: SessionId,
    /// The user's generation that it was made under.
    pub generation: Generation,
}

/// What the store knows of a user beside the sessions: the generation, and which older session is exempt from it. Under
/// one key, so that ending all sessions but one is one write: there is no moment in which that one is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserStanding {
    /// The generation.
    pub generation: Generation,
    /// The exempt session.
    pub exempt: Option<Exemption>,
}

impl UserStanding {
    /// Whether a session of this user, made under that generation, was not ended with the others.
    #[must_use]
    pub fn admits(self, session: SessionId, generation: Generation) -> bool {
        self.generation == generation || self.exempt == Some(Exemption { session, generation })
    }

    /// This standing raised at `now`, with `keep` exempt: unless it is over already.
    #[must_use]
    pub fn raised_at(self, now: StoreTime, keep: Option<Exemption>) -> Self {
        let exempt = keep.filter(|keep| self.admits(keep.session, keep.generation));
        Self { generation: self.generation.raised_at(now), exempt }
    }

    /// The text under the user's key: the generation in decimal, then the exempt session and its own generation.
    #[must_use]
    pub fn encode(self) -> String {
        let generation = self.generation.as_micros();
        match self.exempt {
            None => generation.to_string(),
            Some(exempt) => format!("{generation} {} {}", exempt.session, exempt.generation.as_micros()),
        }
    }

    /// Reads what [`encode`](Self::encode) wrote. `None` for anything else: the caller treats that as a broken store.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.split(' ');
        let generation = decimal(parts.next()?)?;
        let exempt = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => None,
            (Some(session), Some(own), None) => {
                Some(Exemption { session: SessionId::parse(session.as_bytes())?, generation: decimal(own)? })
            }
            _ => return None,
        };
        Some(Self { generation, exempt })
    }
}

/// A generation in decimal, in its one spelling.
pub(super) fn decimal(text: &str) -> Option<Generation> {
    let micros: u64 = text.parse().ok()?;
    (micros.to_string() == text).then_some(Generation(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(letter: u8) -> SessionId {
        SessionId::parse(&[letter; 22]).expect("22 characters of base64url")
    }

    #[test]
    fn a_standing_survives_the_store_and_garbage_is_none() {
        let generation = Generation::from_micros(17);
        let exempt = Exemption { session: session(b'-'), generation: Generation::from_micros(3) };
        for exempt in [None, Some(exempt)] {
            let standing = UserStanding { generation, exempt };
            assert_eq!(UserStanding::decode(standing.encode().as_bytes()), Some(standing));
        }
        let id = session(b'A');
        for garbage in ["", "x", "-1", "+1", "01", "1 ", &format!("1 {id}"), &format!("1 {id} 2 3"), "1 short 2"] {
            assert_eq!(UserStanding::decode(garbage.as_bytes()), None, "{garbage:?}");
        }
    }

    #[test]
    fn only_the_kept_session_of_the_generation_before_is_admitted() {
        let (kept, other) = (session(b'K'), session(b'O'));
        let (first, now) = (Generation::from_micros(5), StoreTime::from_micros(100));
        let before = UserStanding { generation: first, exempt: None };
        let after = before.raised_at(now, Some(Exemption { session: kept, generation: first }));
        assert!(after.admits(kept, first));
        assert!(!after.admits(other, first));
        assert!(!after.admits(kept, Generation::NONE));
        assert!(after.admits(other, after.generation));
        // It may keep itself again; the whole user's revocation ends it, too.
        assert!(after.raised_at(now, after.exempt).admits(kept, first));
        assert!(!after.raised_at(now, None).admits(kept, first));
    }

    #[test]
    fn a_session_that_is_over_is_not_kept() {
        let kept = Exemption { session: session(b'K'), generation: Generation::from_micros(5) };
        let ended = UserStanding { generation: Generation::from_micros(9), exempt: None };
        assert_eq!(ended.raised_at(StoreTime::from_micros(100), Some(kept)).exempt, None);
    }

    #[test]
    fn a_generation_always_rises_even_when_the_clock_stands_back() {
        let old = Generation::from_micros(500);
        assert_eq!(old.raised_at(StoreTime::from_micros(100)), Generation::from_micros(501));
        assert_eq!(old.raised_at(StoreTime::from_micros(900)), Generation::from_micros(900));
    }
}
