//! Numbers by chance, the same each time.

/// Numbers by chance, the same each time (SplitMix64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below this.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// From one to before the other.
    pub(super) fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }

    /// From one to the other, both included.
    pub(super) fn through(&mut self, from: u64, to: u64) -> u64 {
        self.within(from, to + 1)
    }

    /// In so many of a thousand cases.
    pub(super) fn mille(&mut self, of: u64) -> bool {
        self.below(1000) < of
    }

    pub(super) fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[usize::try_from(self.below(list.len() as u64)).expect("small")]
    }
}
