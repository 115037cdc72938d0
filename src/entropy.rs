//! Randomness as an argument.
//!
//! The only place that asks the operating system for random bytes. A failure of the generator is an error, never a
//! weaker source. The other kind of randomness, which keeps several gateways from doing a thing at the same moment and
//! protects nothing, is here as well.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SysRng;
use rand::{RngExt as _, TryRng as _};

/// The operating system could not give random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random number generator failed: {0}")]
pub struct EntropyError(String);

/// Where random bytes come from.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `target` with random bytes.
    ///
    /// # Errors
    /// When the source fails; `target` must then not be used.
    fn fill(&self, target: &mut [u8]) -> Result<(), EntropyError>;
}

/// A shared source of random bytes.
pub type SharedEntropy = Arc<dyn Entropy>;

/// The operating system's cryptographic generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, target: &mut [u8]) -> Result<(), EntropyError> {
        SysRng.try_fill_bytes(target).map_err(|error| EntropyError(error.to_string()))
    }
}

/// A pause for what several gateways do again after the same failure, spread so that they do not do it at once: between
/// half of it and all of it ("equal jitter").
#[must_use]
#[expect(clippy::disallowed_methods, reason = "nothing is protected by it, and no test could wait for a certain value")]
pub fn spread(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}

/// A moment for what many come to be due for at once: anywhere within `period`.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "nothing is protected by it, and no test could wait for a certain value")]
pub fn anywhere_in(period: Duration) -> Duration {
    period.mul_f64(rand::rng().random_range(0.0..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_of_many_differ_and_none_is_longer_or_shorter_than_half() {
        let pause = Duration::from_secs(2);
        let mut pauses: Vec<Duration> = (0..1000).map(|_| spread(pause)).collect();
        assert!(pauses.iter().all(|spread| (pause / 2..=pause).contains(spread)));
        pauses.sort_unstable();
        pauses.dedup();
        assert!(pauses.len() > 900, "{}", pauses.len());
        assert_eq!(spread(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn moments_are_everywhere_in_a_period() {
        let period = Duration::from_secs(2);
        let moments: Vec<Duration> = (0..1000).map(|_| anywhere_in(period)).collect();
        assert!(moments.iter().all(|moment| *moment <= period));
        for tenth in 0..10 {
            let part = period * tenth / 10..period * (tenth + 1) / 10;
            assert!(moments.iter().any(|moment| part.contains(moment)), "{part:?}");
        }
    }
}
