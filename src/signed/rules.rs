//! How identities are signed, as it is configured.

use std::sync::Arc;
use std::time::Duration;

use super::key::SigningKey;
use super::request::RequestSecret;

/// How identities are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIdentity {
    /// In which form, and with what.
    pub form: SignedForm,
    /// How long an assertion counts.
    pub lifetime: Duration,
}

/// In which form identities are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedForm {
    /// An assertion that a session's requests share: the first of these keys signs, all are published.
    Jwt(Vec<Arc<SigningKey>>),
    /// A signature of each request, with a shared secret.
    Hmac(RequestSecret),
}
