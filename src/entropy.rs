//! Randomness as an argument.
//!
//! The only place that asks the operating system for random bytes. A failure of the generator is an error, never a
//! weaker source.

use std::sync::Arc;

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
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system")]
    fn fill(&self, target: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(target).map_err(|error| EntropyError(error.to_string()))
    }
}
