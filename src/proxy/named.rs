//! Maps by the names that the configuration gives.
//!
//! Each request looks up its route and its upstream. Both names are the configuration's own, in the map and in the
//! question, so nobody outside chooses what meets in one place, and the hash needs no key and no rounds.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// What there is under each name.
pub(super) type Named<V> = HashMap<Arc<str>, V, BuildHasherDefault<Fnv>>;

/// FNV-1a. Never for what clients or backends choose.
pub(super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher as _;

    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        for (text, hash) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            let mut fnv = Fnv::default();
            fnv.write(text.as_bytes());
            assert_eq!(fnv.finish(), hash, "{text}");
        }
    }

    #[test]
    fn what_was_put_under_a_name_is_found_under_it() {
        let named: Named<usize> = (0..100).map(|number| (format!("/route/{number}").into(), number)).collect();
        assert!((0..100).all(|number| named.get(&*format!("/route/{number}")) == Some(&number)));
        assert_eq!(named.get("/route"), None);
    }
}
