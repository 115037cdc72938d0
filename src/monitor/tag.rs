//! What stands for somebody in the tables that have one entry for each of many: eight bytes, spread evenly, whose place is
//! theirs without another hash.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// Eight bytes in halves: as one number they would be aligned to eight, and most entries have four bytes beside them for
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag([u32; 2]);

/// A table by tags.
pub(super) type TagMap<V> = HashMap<Tag, V, BuildHasherDefault<AsItIs>>;

impl From<u64> for Tag {
    fn from(number: u64) -> Self {
        Self([number, number >> 32].map(|bits| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or_default()))
    }
}

impl Hash for Tag {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let [lower, upper] = self.0;
        hasher.write_u64(u64::from(upper) << 32 | u64::from(lower));
    }
}

/// Spreads nothing: what stands for somebody is a hash already.
#[derive(Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, _: &[u8]) {
        // Nothing but the eight bytes of a tag is hashed by it.
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;

    use super::*;

    #[test]
    fn a_tag_is_its_number_in_any_half_and_leaves_no_gap_beside_four_bytes() {
        let hasher = BuildHasherDefault::<AsItIs>::default();
        for number in [0, 1, u64::from(u32::MAX), 1 << 32, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hasher.hash_one(Tag::from(number)), number);
        }
        assert_ne!(Tag::from(1), Tag::from(1 << 32));
        assert_eq!(size_of::<(Tag, u32)>(), 12);
    }
}
