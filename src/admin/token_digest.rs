//! A token, as far as it must be known to be told from others.

use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use crate::config::AdminToken;

/// The hash of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// That of what somebody shows.
    pub(super) fn of(shown: &[u8]) -> Self {
        Self(Sha256::digest(shown).into())
    }

    /// The token of the configuration that it is of. Hashes are compared, and all of them: neither how much of a guess
    /// is right nor which token it resembles takes a different time.
    pub(super) fn find<'a>(&self, tokens: &'a [AdminToken]) -> Option<&'a AdminToken> {
        let mut found = u64::MAX;
        for (index, token) in (0..).zip(tokens) {
            let known = Self::of(token.secret.expose_secret().as_bytes());
            found.conditional_assign(&index, known.0.ct_eq(&self.0));
        }
        tokens.get(usize::try_from(found).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn the_right_token_is_found_wherever_it_stands_and_nothing_else_is() {
        let token = |name: &str| AdminToken {
            name: name.into(),
            secret: Secret::new(format!("secret-{name}")),
            roles: Vec::new(),
        };
        let tokens = ["one", "two", "three"].map(token);
        for name in ["one", "two", "three"] {
            let shown = TokenDigest::of(format!("secret-{name}").as_bytes());
            assert_eq!(shown.find(&tokens).map(|token| &*token.name), Some(name));
        }
        for wrong in ["", "secret-", "secret-one ", "Secret-one", "secret-four"] {
            assert!(TokenDigest::of(wrong.as_bytes()).find(&tokens).is_none(), "{wrong}");
        }
        assert!(TokenDigest::of(b"").find(&[]).is_none());
    }
}
