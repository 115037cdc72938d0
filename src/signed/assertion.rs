//! Assertions: signed for a session and an upstream, and used for half their life.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::HeaderValue;
use bytes::Bytes;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use serde::Serialize;

use super::key::SigningKey;
use super::stated::{Stated, Unsigned};
use super::times::KeyTimes;
use crate::clock::{Clock, Monotonic, WallTime};
use crate::session::SessionId;

/// How many are kept. One takes about 700 bytes.
const MOST_KEPT: usize = 32_768;
/// How often what is no longer used is thrown away.
const SWEPT_EVERY: Duration = Duration::from_secs(60);
/// The longest that anybody may keep the keys.
const FRESH_AT_MOST: Duration = Duration::from_secs(60);

/// A set of public keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The set, as JSON.
    pub document: String,
    /// For how long it may be kept.
    pub fresh: Duration,
}

/// Makes assertions, and keeps them for as long as they are used.
pub(super) struct Assertions {
    times: KeyTimes,
    issuer: Box<str>,
    lifetime: Duration,
    /// Of a session there is nothing here any more once half an assertion's life and a sweep went by without it; and without
    /// the session none is asked for.
    kept: Cache<Whose, Arc<Kept>>,
    /// When it was last swept, in microseconds.
    swept: AtomicU64,
}

/// By what an assertion is kept: its session, and the upstream that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Whose(SessionId, Arc<str>);

/// The same, where it is asked for. Hashes as [`Whose`] does.
#[derive(Hash)]
struct AskedFor<'a>(SessionId, &'a str);

impl Equivalent<Whose> for AskedFor<'_> {
    fn equivalent(&self, whose: &Whose) -> bool {
        (self.0, self.1) == (whose.0, &*whose.1)
    }
}

/// An assertion, with what it says. The text of both lies in one piece, for of many sessions none is in the processor's own
/// caches.
pub(super) struct Kept {
    value: HeaderValue,
    /// See [`states`].
    says: Bytes,
    key: Arc<SigningKey>,
    made: WallTime,
}

impl Kept {
    fn new(token: String, stated: &Stated<'_>, key: &Arc<SigningKey>, made: WallTime) -> Result<Self, Unsigned> {
        let mut text = token.into_bytes();
        let length = text.len();
        for part in states(stated) {
            text.extend_from_slice(part.as_bytes());
        }
        let mut value = Bytes::from(text);
        let says = value.split_off(length);
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| Unsigned)?;
        Ok(Self { value, says, key: key.clone(), made })
    }

    /// The assertion.
    pub(super) const fn value(&self) -> &HeaderValue {
        &self.value
    }

    /// Whether it says this. Of which session it is, it is kept by.
    fn says(&self, stated: &Stated<'_>) -> bool {
        let rest = states(stated).iter().try_fold(&*self.says, |rest, part| rest.strip_prefix(part.as_bytes()));
        rest.is_some_and(<[u8]>::is_empty)
    }
}

/// What is stated, in parts that make another text wherever they state something else: no value has a line feed, for each is
/// one of a header, and what is not there begins otherwise than what is empty.
fn states<'a>(stated: &Stated<'a>) -> [&'a str; 7] {
    let is_there = |value: Option<&str>| if value.is_some() { "+" } else { "-" };
    let Stated { tenant, user, role, session: _ } = *stated;
    [is_there(tenant), tenant.unwrap_or_default(), "\n", user, "\n", is_there(role), role.unwrap_or_default()]
}

/// What an assertion says (docs/signed-identity.md).
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    sid: &'a str,
    iat: u64,
    exp: u64,
}

impl Assertions {
    pub(super) fn new(times: KeyTimes, issuer: &str, lifetime: Duration) -> Self {
        let (kept, swept) = (Cache::new(MOST_KEPT), AtomicU64::new(0));
        Self { times, issuer: issuer.into(), lifetime, kept, swept }
    }

    pub(super) const fn times(&self) -> &KeyTimes {
        &self.times
    }

    /// One that states this to the upstream, and counts for half its life at least.
    pub(super) fn of(
        &self,
        stated: &Stated<'_>,
        upstream: &Arc<str>,
        clock: &dyn Clock,
    ) -> Result<Arc<Kept>, Unsigned> {
        let key = self.times.signing(|| clock.monotonic()).ok_or(Unsigned)?;
        let now = clock.wall();
        if let Some(kept) = self.kept.get(&AskedFor(stated.session, upstream))
            && kept.says(stated)
            && Arc::ptr_eq(&kept.key, key)
            && self.is_young(&kept, now)
        {
            return Ok(kept);
        }
        let kept = Arc::new(Kept::new(self.made(stated, upstream, key, now)?, stated, key, now)?);
        self.sweep(now, clock.monotonic());
        self.kept.insert(Whose(stated.session, upstream.clone()), kept.clone());
        Ok(kept)
    }

    /// One of the future is none of this clock's: it was set back, and whoever checks may have the true time.
    fn is_young(&self, kept: &Kept, now: WallTime) -> bool {
        let age = now.as_micros().checked_sub(kept.made.as_micros()).map(Duration::from_micros);
        age.is_some_and(|age| age < self.lifetime / 2)
    }

    fn made(&self, stated: &Stated<'_>, upstream: &str, key: &SigningKey, now: WallTime) -> Result<String, Unsigned> {
        let iat = now.as_micros() / 1_000_000;
        let claims = Claims {
            iss: &self.issuer,
            aud: upstream,
            sub: stated.user,
            tenant: stated.tenant,
            role: stated.role,
            sid: stated.session.as_str(),
            iat,
            exp: iat.saturating_add(self.lifetime.as_secs()),
        };
        let claims = serde_json::to_vec(&claims).map_err(|_| Unsigned)?;
        key.token(&claims)
    }

    /// Throws away what is used no more.
    fn sweep(&self, now: WallTime, monotonic: Monotonic) {
        let last = self.swept.load(Ordering::Relaxed);
        if monotonic.since(Monotonic::from_micros(last)) < SWEPT_EVERY {
            return;
        }
        // One sweeps, and the others go on.
        if self.swept.compare_exchange(last, monotonic.as_micros(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.kept.retain(|_, kept| self.is_young(kept, now));
        }
    }

    /// The set of keys.
    pub(super) fn published(&self, now: Monotonic) -> Published {
        let keys: Vec<_> = self.times.published(now).map(|key| key.public()).collect();
        let document = serde_json::json!({ "keys": keys }).to_string();
        // A key that comes signs an assertion's life later: by then nobody has the set without it.
        Published { document, fresh: (self.lifetime / 2).min(FRESH_AT_MOST) }
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::new_signing_key;
    use super::*;
    use crate::clock::ManualClock;
    use crate::entropy::SystemEntropy;
    use crate::session::SessionToken;

    fn assertions() -> Assertions {
        let pem = new_signing_key().expect("randomness");
        let key = Arc::new(SigningKey::from_pem(pem.as_bytes()).expect("a key"));
        Assertions::new(KeyTimes::of(&[key]), "https://a.test", Duration::from_secs(120))
    }

    fn session() -> SessionId {
        SessionToken::generate(&SystemEntropy).expect("entropy").id()
    }

    fn stated(session: SessionId, tenant: Option<&str>) -> Stated<'_> {
        Stated { tenant, user: "7", role: None, session }
    }

    #[test]
    fn one_is_used_for_half_its_life_by_one_session_one_upstream_and_what_it_says() {
        let (assertions, clock) =
            (assertions(), ManualClock::starting_at(WallTime::from_micros(1_700_000_000_000_000)));
        let (one, other) = (session(), session());
        let upstreams: [Arc<str>; 2] = ["default".into(), "billing".into()];
        let of = |session, tenant, upstream: usize| {
            let kept = assertions.of(&stated(session, tenant), &upstreams[upstream], &clock).expect("signed");
            kept.value().clone()
        };
        let first = of(one, Some("42"), 0);
        assert_eq!(of(one, Some("42"), 0), first);
        clock.advance(Duration::from_secs(59));
        assert_eq!(of(one, Some("42"), 0), first);
        for another in [of(one, Some("77"), 0), of(one, None, 0), of(one, Some("42"), 1), of(other, Some("42"), 0)] {
            assert_ne!(another, first);
        }
        let second = of(one, Some("42"), 0);
        assert_ne!(second, first, "what was said last is kept");
        clock.advance(Duration::from_secs(60));
        assert_ne!(of(one, Some("42"), 0), second);
    }

    #[test]
    fn what_is_kept_says_nothing_but_what_was_stated() {
        let (assertions, clock) = (assertions(), ManualClock::starting_at(WallTime::from_micros(0)));
        let (session, upstream): (_, Arc<str>) = (session(), "default".into());
        let values = [None, Some(""), Some("-"), Some("+"), Some("1"), Some("12")];
        let all = values.iter().flat_map(|tenant| values.iter().map(move |role| (*tenant, *role)));
        let all: Vec<_> = all.flat_map(|(tenant, role)| ["-", "2", "12"].map(|user| (tenant, user, role))).collect();
        for (tenant, user, role) in &all {
            let kept = assertions.of(&Stated { tenant: *tenant, user, role: *role, session }, &upstream, &clock);
            let kept = kept.expect("signed");
            for (other_tenant, other_user, other_role) in &all {
                let other = Stated { tenant: *other_tenant, user: other_user, role: *other_role, session };
                let is_same = (tenant, user, role) == (other_tenant, other_user, other_role);
                assert_eq!(kept.says(&other), is_same, "{tenant:?} {user} {role:?}: {other:?}");
            }
        }
    }

    #[test]
    fn what_is_not_asked_for_again_is_thrown_away() {
        let (assertions, clock) =
            (assertions(), ManualClock::starting_at(WallTime::from_micros(1_700_000_000_000_000)));
        let upstream: Arc<str> = "default".into();
        for _ in 0..100 {
            assertions.of(&stated(session(), Some("42")), &upstream, &clock).expect("signed");
        }
        assert!(assertions.kept() >= 100);
        clock.advance(Duration::from_secs(61));
        assertions.of(&stated(session(), Some("42")), &upstream, &clock).expect("signed");
        assert_eq!(assertions.kept(), 1);
    }
}
