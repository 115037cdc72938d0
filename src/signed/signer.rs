//! Signs identities in the form that is configured.

use std::fmt;
use std::sync::Arc;

use ::http::header::{HeaderName, HeaderValue};
use ::http::{Method, Uri};

use super::assertion::{Assertions, Kept, Published};
use super::request::RequestSecret;
use super::rules::{SignedForm, SignedIdentity};
use super::stated::{Stated, Unsigned};
use super::times::KeyTimes;
use crate::clock::SharedClock;

/// Where public keys are published.
pub const KEYS_PATH: &str = "/.well-known/session-gateway/jwks.json";

static ASSERTION: HeaderName = HeaderName::from_static("x-session-assertion");
static SIGNATURE: HeaderName = HeaderName::from_static("x-session-signature");

/// Signs identities.
pub struct Signer {
    rules: SignedIdentity,
    issuer: Box<str>,
    form: Form,
    clock: SharedClock,
}

enum Form {
    Jwt(Assertions),
    Hmac(RequestSecret),
}

/// What proves to a backend what it is told: a header's value. One that many requests share is not copied for each.
pub struct Proof(Value);

enum Value {
    Kept(Arc<Kept>),
    Made(HeaderValue),
}

impl Proof {
    /// The header's value.
    #[must_use]
    pub fn value(&self) -> &HeaderValue {
        match &self.0 {
            Value::Kept(kept) => kept.value(),
            Value::Made(value) => value,
        }
    }
}

impl Signer {
    /// By these rules, as `issuer`. What a signer `before` published stays published for as long as what it signed counts,
    /// and a key that it did not publish signs only once everybody can have seen it.
    #[must_use]
    pub fn new(rules: &SignedIdentity, issuer: &str, clock: &SharedClock, before: Option<&Self>) -> Self {
        let form = match &rules.form {
            SignedForm::Hmac(secret) => Form::Hmac(secret.clone()),
            SignedForm::Jwt(keys) => {
                let times = match before {
                    Some(Self { form: Form::Jwt(assertions), rules: before, .. }) => {
                        let longest = before.lifetime.max(rules.lifetime);
                        assertions.times().followed_by(keys, longest, clock.monotonic())
                    }
                    _ => KeyTimes::of(keys),
                };
                Form::Jwt(Assertions::new(times, issuer, rules.lifetime))
            }
        };
        Self { rules: rules.clone(), issuer: issuer.into(), form, clock: clock.clone() }
    }

    /// Whether it is for these rules and this issuer.
    #[must_use]
    pub fn is_for(&self, rules: &SignedIdentity, issuer: &str) -> bool {
        self.rules == *rules && *self.issuer == *issuer
    }

    /// The header that proves what is stated to this upstream, of a request as that gets it.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn sign(
        &self,
        stated: &Stated<'_>,
        method: &Method,
        target: &Uri,
        upstream: &Arc<str>,
    ) -> Result<(&'static HeaderName, Proof), Unsigned> {
        let (name, value) = match &self.form {
            Form::Jwt(assertions) => (&ASSERTION, Value::Kept(assertions.of(stated, upstream, &*self.clock)?)),
            Form::Hmac(secret) => (&SIGNATURE, Value::Made(secret.sign(stated, method, target, self.clock.wall())?)),
        };
        Ok((name, Proof(value)))
    }

    /// The keys by which backends check; `None` where there are none to publish.
    #[must_use]
    pub fn published(&self) -> Option<Published> {
        match &self.form {
            Form::Jwt(assertions) => Some(assertions.published(self.clock.monotonic())),
            Form::Hmac(_) => None,
        }
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Proof(..)")
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Signer").finish_non_exhaustive()
    }
}
