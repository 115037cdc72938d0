//! A token of the app's, and when it is to be refreshed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::WallTime;
use crate::jwt::Compact;
use crate::secret::Secret;
use crate::session::SessionId;

/// The longest header line that gunicorn reads, its default `limit_request_field_size`, in bytes.
const LONGEST_FIELD: usize = 8190;
const AUTHORIZATION: &str = "Authorization: Bearer ";

/// Why a line with a token is worth a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongestField {
    /// How long it is, in bytes.
    pub length: usize,
    /// What gunicorn reads.
    pub limit: usize,
}

/// What an app handed out at a login: `Debug` shows nothing of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppToken {
    /// What the backend gets as `Bearer`.
    pub access: Secret,
    /// What gets another one, where that is configured.
    pub refresh: Option<Secret>,
    /// When it was taken.
    pub taken: WallTime,
    /// Its `exp`; `None` where it says none.
    pub expires: Option<WallTime>,
    /// Where the answer had it, and where the refresh token: another answer in its shape has them there, too.
    pub place: Box<str>,
    /// See there.
    pub refresh_place: Option<Box<str>>,
}

/// As it stands in the plaintext.
#[derive(Serialize, Deserialize)]
struct Written<'a>(&'a str, Option<&'a str>, u64, Option<u64>, &'a str, Option<&'a str>);

impl AppToken {
    /// The text that is sealed.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let written = Written(
            self.access.expose_secret(),
            self.refresh.as_ref().map(Secret::expose_secret),
            self.taken.as_micros(),
            self.expires.map(WallTime::as_micros),
            &self.place,
            self.refresh_place.as_deref(),
        );
        rmp_serde::to_vec(&written).ok()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let Written(access, refresh, taken, expires, place, refresh_place) = rmp_serde::from_slice(bytes).ok()?;
        Some(Self {
            access: Secret::new(access),
            refresh: refresh.map(Secret::new),
            taken: WallTime::from_micros(taken),
            expires: expires.map(WallTime::from_micros),
            place: place.into(),
            refresh_place: refresh_place.map(Box::from),
        })
    }

    /// What it is called where tokens are denied; `None` for one that no `[bearer]` could believe.
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        Compact::parse(self.access.expose_secret()).ok().map(|compact| compact.id())
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self, now: WallTime) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// For how long it is good; `None`: it does not say.
    #[must_use]
    pub fn left(&self, now: WallTime) -> Option<Duration> {
        let left = |expires: WallTime| Duration::from_micros(expires.as_micros().saturating_sub(now.as_micros()));
        self.expires.map(left)
    }

    /// From when on a request is to have it refreshed: at 80 % of its life, or `before` its end where that is earlier, but
    /// not in the first half. `None`: never.
    #[must_use]
    pub fn due(&self, before: Duration) -> Option<WallTime> {
        self.refresh.as_ref()?;
        let (taken, expires) = (self.taken.as_micros(), self.expires?.as_micros());
        let life = expires.saturating_sub(taken);
        let before = expires.saturating_sub(u64::try_from(before.as_micros()).unwrap_or(u64::MAX));
        let due = taken.saturating_add(life / 5 * 4).min(before).max(taken.saturating_add(life / 2));
        Some(WallTime::from_micros(due))
    }

    /// Whether the line that the backend gets is longer than gunicorn reads.
    #[must_use]
    pub fn too_long_for_gunicorn(&self) -> Option<LongestField> {
        let length = AUTHORIZATION.len() + self.access.expose_secret().len();
        (length > LONGEST_FIELD).then_some(LongestField { length, limit: LONGEST_FIELD })
    }
}
