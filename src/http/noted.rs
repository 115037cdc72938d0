//! A request's headers with a note of their names, so that nothing is looked for that is not there.
//!
//! The pipeline asks for a dozen headers of each request, of which most are missing, and to miss one costs as much as to
//! find it: a hash of its name. The note is one bit for each of 64 kinds of names. It may say that something is there
//! that is not, and then the map is asked; never the other way round.

use std::ops::Deref;

use ::http::header::{HeaderMap, HeaderName, HeaderValue, ValueIter};

/// A name to be asked for, with its kind.
#[derive(Debug)]
pub struct KnownName {
    name: HeaderName,
    kind: u64,
}

impl KnownName {
    /// A name in lower case. Anything else is refused by the compiler where this is a constant's value.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name: HeaderName::from_static(name), kind: kind_of(name.as_bytes()) }
    }

    /// The name itself.
    #[must_use]
    pub const fn name(&self) -> &HeaderName {
        &self.name
    }
}

/// One bit. Length and ends tell most of the usual names apart.
const fn kind_of(name: &[u8]) -> u64 {
    let (first, last) = match name {
        [] => (0, 0),
        [only] => (*only, *only),
        [first, .., last] => (*first, *last),
    };
    1 << ((name.len() + 5 * first as usize + 11 * last as usize) % 64)
}

/// The kinds of all names that were noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note(u64);

impl Note {
    /// Of all names in a map.
    fn of(map: &HeaderMap) -> Self {
        let mut note = Self::default();
        map.keys().for_each(|name| note.add(name));
        note
    }

    /// Notes a name.
    pub(super) fn add(&mut self, name: &HeaderName) {
        self.0 |= kind_of(name.as_str().as_bytes());
    }

    /// Whether this name may have been noted. If not, it was not.
    #[must_use]
    pub const fn may_have(self, known: &KnownName) -> bool {
        self.0 & known.kind != 0
    }
}

/// A request's headers. To be read like any other map of headers; what changes it keeps the note true.
#[derive(Clone, Debug, Default)]
pub struct NotedHeaders {
    map: HeaderMap,
    /// Of all names in the map, perhaps of some that were in it.
    note: Note,
}

impl From<HeaderMap> for NotedHeaders {
    fn from(map: HeaderMap) -> Self {
        Self { note: Note::of(&map), map }
    }
}

impl Deref for NotedHeaders {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        &self.map
    }
}

impl NotedHeaders {
    /// The lines of this name.
    #[must_use]
    pub fn lines(&self, known: &KnownName) -> Lines<'_> {
        Lines((self.note.may_have(known)).then(|| self.map.get_all(&known.name).into_iter()))
    }

    /// Whether there is a line of this name.
    #[must_use]
    pub fn has(&self, known: &KnownName) -> bool {
        self.note.may_have(known) && self.map.contains_key(&known.name)
    }

    /// Removes all lines of this name.
    pub fn remove(&mut self, known: &KnownName) {
        if self.note.may_have(known) {
            self.map.remove(&known.name);
        }
    }

    /// Removes all lines of a name that is there; answers whether it was.
    pub fn remove_named(&mut self, name: &HeaderName) -> bool {
        self.map.remove(name).is_some()
    }

    /// Puts one line in the place of all of this name.
    pub fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        self.note.add(&name);
        self.map.insert(name, value);
    }

    /// The headers alone.
    #[must_use]
    pub fn into_map(self) -> HeaderMap {
        self.map
    }
}

/// The lines of one name.
#[derive(Debug)]
pub struct Lines<'a>(Option<ValueIter<'a, HeaderValue>>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a HeaderValue;

    fn next(&mut self) -> Option<&'a HeaderValue> {
        self.0.as_mut()?.next()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    static EXPECT: KnownName = KnownName::new("expect");
    static OWN: KnownName = KnownName::new("x-own");

    /// Names of which many are of one kind.
    fn name() -> impl Strategy<Value = HeaderName> {
        "expect|x-own|cookie|e[a-z]{0,4}t|x-[a-z]{2}n|[a-z]{1,3}".prop_map(|name| name.parse().expect("a name"))
    }

    proptest! {
        #[test]
        fn whatever_was_put_in_and_removed_the_note_hides_nothing_that_is_there(
            before in proptest::collection::vec(name(), 0..8),
            changes in proptest::collection::vec((name(), any::<bool>()), 0..8),
        ) {
            let value = HeaderValue::from_static("x");
            let mut map = HeaderMap::new();
            for name in before {
                map.append(name, value.clone());
            }
            let mut noted = NotedHeaders::from(map.clone());
            for (name, puts) in changes {
                if puts {
                    noted.insert(name.clone(), value.clone());
                    map.insert(name, value.clone());
                } else {
                    prop_assert_eq!(noted.remove_named(&name), map.remove(&name).is_some());
                }
                for known in [&EXPECT, &OWN] {
                    prop_assert_eq!(noted.has(known), map.contains_key(&known.name));
                    prop_assert!(noted.lines(known).eq(map.get_all(&known.name)));
                }
            }
            noted.remove(&EXPECT);
            map.remove(EXPECT.name());
            prop_assert_eq!(&noted.clone().into_map(), &map);
            prop_assert_eq!(&*noted, &map);
        }
    }
}
