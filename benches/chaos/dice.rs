//! What is drawn by lot, the same for the same seed.

use std::time::Duration;

use session_gateway::entropy::{Entropy as _, SystemEntropy};

/// `SplitMix64`.
pub struct Dice(u64);

impl Dice {
    pub const fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub fn any_seed() -> u64 {
        let mut bytes = [0; 4];
        SystemEntropy.fill(&mut bytes).expect("entropy");
        u32::from_le_bytes(bytes).into()
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Others for somebody who throws at the same time.
    pub const fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn of_these<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.next() % (to - from))
    }
}
