//! Which text a configuration was read from: a few characters that `check` prints, and that the log says at a start and
//! at a reload.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The start of the SHA-256 of a file, as `sha256sum` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigDigest([u8; 8]);

impl ConfigDigest {
    pub(super) fn of(text: &str) -> Self {
        let mut start = [0; 8];
        for (byte, of_all) in start.iter_mut().zip(Sha256::digest(text.as_bytes())) {
            *byte = of_all;
        }
        Self(start)
    }
}

impl fmt::Display for ConfigDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_sha256sum_begins_with() {
        assert_eq!(ConfigDigest::of("abc").to_string(), "ba7816bf8f01cfea");
    }
}
