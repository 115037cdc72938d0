//! `keygen`: a new strong secret, or a key that signs, on standard output, and nothing else.

use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;

use super::output::{FAILED, complain, say};
use crate::entropy::{Entropy, EntropyError};
use crate::signed::new_signing_key;

const NO_RANDOMNESS: &str = "the operating system's random number generator failed";

/// What is to be made.
#[derive(Args, Clone, Copy, Debug)]
pub struct KeygenOptions {
    /// A private key for `identity.signed = "jwt"` (P-256, as PEM) instead of a secret
    #[arg(long)]
    pub signing: bool,
    /// How many random bytes a secret has: 48 for HS384, 64 for HS512
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u8).range(32..=128), conflicts_with = "signing")]
    pub bytes: u8,
}

/// Prints random bytes as base64url, or a key.
pub fn keygen(options: &KeygenOptions, entropy: &dyn Entropy) -> ExitCode {
    let made = if options.signing {
        new_signing_key().map(|key| key.trim_end().to_owned()).map_err(|_| NO_RANDOMNESS.to_owned())
    } else {
        key(entropy, options.bytes).map_err(|error| error.to_string())
    };
    match made {
        Ok(key) => {
            say(key);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(error);
            ExitCode::from(FAILED)
        }
    }
}

fn key(entropy: &dyn Entropy, count: u8) -> Result<String, EntropyError> {
    let mut bytes = vec![0; usize::from(count)];
    entropy.fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    #[test]
    fn a_key_is_as_long_as_its_use_asks_for_and_never_the_same() {
        assert_eq!(key(&SystemEntropy, 48).expect("random bytes").len(), 64);
        let one = key(&SystemEntropy, 32).expect("random bytes");
        assert_eq!(one.len(), 43);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
        assert_ne!(one, key(&SystemEntropy, 32).expect("random bytes"));
    }
}
