//! `keygen`: a new strong secret on standard output, and nothing else.

use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::output::{FAILED, complain, say};
use crate::entropy::{Entropy, EntropyError};

const BYTES: usize = 32;

/// Prints 32 random bytes as base64url.
pub fn keygen(entropy: &dyn Entropy) -> ExitCode {
    match key(entropy) {
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
