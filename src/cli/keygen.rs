//! `keygen`: a new strong secret, or a key that signs, on standard output, and nothing else.

use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;

use super::output::{FAILED, complain, say};
use crate::entropy::{Entropy, EntropyError};
use crate::signed::new_signing_key;

const BYTES: usize = 32;
const NO_RANDOMNESS: &str = "the operating system's random number generator failed";

/// What is to be made.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct KeygenOptions {
    /// A private key for `identity.signed = "jwt"` (P-256, as PEM) instead of a secret
    #[arg(long)]
    pub signing: bool,
}

/// Prints 32 random bytes as base64url, or a key.
pub fn keygen(options: &KeygenOptions, entropy: &dyn Entropy) -> ExitCode {
    let made = if options.signing {
        new_signing_key().map(|key| key.trim_end().to_owned()).map_err(|_| NO_RANDOMNESS.to_owned())
    } else {
        key(entropy).map_err(|error| error.to_string())
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

fn key(entropy: &dyn Entropy) -> Result<String, EntropyError> {
    let mut bytes = [0; BYTES];
    entropy.fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    #[test]
    fn a_key_is_43_characters_and_never_the_same() {
        let one = key(&SystemEntropy).expect("random bytes");
        assert_eq!(one.len(), 43);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
        assert_ne!(one, key(&SystemEntropy).expect("random bytes"));
    }
}
