//! Which keys are published, and which of them signs, over time. Pure: the time is an argument.
//!
//! Whoever checks has the keys of a moment ago. So a key that comes by a reload is published first, and signs once that
//! moment has passed; and one that goes stays published until nothing that it signed counts any more.

use std::sync::Arc;
use std::time::Duration;

use super::key::SigningKey;
use crate::clock::Monotonic;

/// For how long more than its own life an assertion may be believed: by how much clocks differ, and what is under way.
const LEEWAY: Duration = Duration::from_secs(60);

/// A key that is configured.
#[derive(Clone, Debug)]
struct Configured {
    key: Arc<SigningKey>,
    /// From when everybody can have seen it; `None`: from the start.
    signs_from: Option<Monotonic>,
}

/// A key that is so no longer.
#[derive(Clone, Debug)]
struct Retired {
    key: Arc<SigningKey>,
    until: Monotonic,
}

/// The keys of a configuration, and what is left of those before it.
#[derive(Clone, Debug)]
pub(super) struct KeyTimes {
    /// The first of them is to sign.
    configured: Vec<Configured>,
    retired: Vec<Retired>,
    /// Signs until the first may.
    meanwhile: Option<Arc<SigningKey>>,
}

impl Configured {
    fn may_sign(&self, now: Monotonic) -> bool {
        self.signs_from.is_none_or(|from| now >= from)
    }
}

impl KeyTimes {
    /// Those of a gateway that begins: nobody knows any others.
    pub(super) fn of(keys: &[Arc<SigningKey>]) -> Self {
        let configured = keys.iter().map(|key| Configured { key: key.clone(), signs_from: None });
        Self { configured: configured.collect(), retired: Vec::new(), meanwhile: None }
    }

    /// What becomes of them when others are configured. Nothing that was signed counts for longer than `lifetime`.
    pub(super) fn followed_by(&self, keys: &[Arc<SigningKey>], lifetime: Duration, now: Monotonic) -> Self {
        let known = |key: &Arc<SigningKey>| {
            let before = self.configured.iter().find(|before| before.key == *key);
            match before {
                Some(before) => before.signs_from,
                None if self.is_published(key, now) => None,
                None => Some(now.after(lifetime)),
            }
        };
        let configured: Vec<Configured> =
            keys.iter().map(|key| Configured { key: key.clone(), signs_from: known(key) }).collect();
        let waits = configured.first().filter(|first| !first.may_sign(now));
        let switch = waits.and_then(|first| first.signs_from).unwrap_or(now);
        let meanwhile = waits.and_then(|_| self.signing(|| now).cloned());
        let until = switch.after(lifetime).after(LEEWAY);
        let went = |key: &Arc<SigningKey>| !keys.contains(key);
        // What has gone before is of no more use than it was, unless it still signs.
        let of_before = self.retired.iter().filter(|old| old.until > now && went(&old.key)).map(|old| {
            let signs = meanwhile.as_ref() == Some(&old.key);
            Retired { key: old.key.clone(), until: if signs { old.until.max(until) } else { old.until } }
        });
        let gone = self.configured.iter().filter(|old| went(&old.key));
        let gone = gone.map(|old| Retired { key: old.key.clone(), until });
        let retired = of_before.chain(gone).collect();
        Self { configured, retired, meanwhile }
    }

    /// The key that signs, which seldom depends on the time. `None` where none is configured.
    pub(super) fn signing(&self, now: impl FnOnce() -> Monotonic) -> Option<&Arc<SigningKey>> {
        let first = self.configured.first()?;
        match &self.meanwhile {
            Some(meanwhile) if !first.may_sign(now()) => Some(meanwhile),
            _ => Some(&first.key),
        }
    }

    /// All that backends may still meet, or will.
    pub(super) fn published(&self, now: Monotonic) -> impl Iterator<Item = &Arc<SigningKey>> {
        let retired = self.retired.iter().filter(move |old| now < old.until).map(|old| &old.key);
        self.configured.iter().map(|configured| &configured.key).chain(retired)
    }

    fn is_published(&self, key: &Arc<SigningKey>, now: Monotonic) -> bool {
        self.published(now).any(|published| published == key)
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::new_signing_key;
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(120);

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_micros(seconds * 1_000_000)
    }

    fn key() -> Arc<SigningKey> {
        let pem = new_signing_key().expect("randomness");
        Arc::new(SigningKey::from_pem(pem.as_bytes()).expect("a key"))
    }

    fn signs(times: &KeyTimes, second: u64) -> String {
        times.signing(|| at(second)).expect("one signs").kid().to_owned()
    }

    fn published(times: &KeyTimes, second: u64) -> Vec<String> {
        times.published(at(second)).map(|key| key.kid().to_owned()).collect()
    }

    #[test]
    fn a_new_key_is_published_before_it_signs_and_the_old_one_until_nothing_of_it_counts() {
        let (old, new) = (key(), key());
        let (of_old, of_new) = (old.kid().to_owned(), new.kid().to_owned());
        let times = KeyTimes::of(&[old]).followed_by(&[new], LIFETIME, at(1000));
        for (second, signing, both) in [(1000, &of_old, true), (1119, &of_old, true), (1120, &of_new, true)] {
            assert_eq!((signs(&times, second), published(&times, second).len() == 2), (signing.clone(), both));
        }
        assert_eq!(published(&times, 1120 + 179), [of_new.clone(), of_old]);
        assert_eq!(published(&times, 1120 + 180), [of_new]);
    }

    #[test]
    fn a_key_that_was_published_before_signs_at_once() {
        let (old, new) = (key(), key());
        let (of_old, of_new) = (old.kid().to_owned(), new.kid().to_owned());
        let times = KeyTimes::of(&[old.clone(), new.clone()]);
        assert_eq!((signs(&times, 10), published(&times, 10).len()), (of_old, 2));
        let times = times.followed_by(&[new, old], LIFETIME, at(10));
        assert_eq!((signs(&times, 10), published(&times, 10).len()), (of_new, 2));
    }

    #[test]
    fn reloads_in_a_row_lose_no_key_that_anybody_may_meet() {
        let keys = [key(), key(), key()];
        let kid = |number: usize| keys[number].kid().to_owned();
        let mut times = KeyTimes::of(&keys[..1]);
        times = times.followed_by(&keys[1..2], LIFETIME, at(100));
        // Before the second has signed, a third takes its place.
        times = times.followed_by(&keys[2..], LIFETIME, at(150));
        assert_eq!(signs(&times, 150), kid(0));
        assert_eq!(signs(&times, 269), kid(0));
        assert_eq!(signs(&times, 270), kid(2));
        assert_eq!(published(&times, 270 + 179), [kid(2), kid(0), kid(1)]);
        assert_eq!(published(&times, 270 + 180), [kid(2)]);
        // The same once more changes nothing.
        times = times.followed_by(&keys[2..], LIFETIME, at(200));
        assert_eq!((signs(&times, 269), signs(&times, 270)), (kid(0), kid(2)));
        assert_eq!(published(&times, 270 + 179).len(), 3);
        // Back to the first: it is published still, and signs at once.
        times = times.followed_by(&keys[..1], LIFETIME, at(300));
        assert_eq!(signs(&times, 300), kid(0));
        assert_eq!(published(&times, 270 + 179), [kid(0), kid(1), kid(2)]);
        assert_eq!(published(&times, 300 + 179), [kid(0), kid(2)]);
    }
}
