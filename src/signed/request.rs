//! A signature of one request, for apps without a library for tokens: HMAC-SHA-256 with a secret that both have.

use std::fmt::{self, Write as _};

use ::http::{HeaderValue, Method, Uri};
use ring::hmac;

use super::stated::{Stated, Unsigned};
use crate::clock::WallTime;
use crate::secret::Secret;

/// What the signed text begins with, and the signature is called; another one is another text.
const VERSION: &str = "v1";

/// The secret that the gateway shares with a backend.
#[derive(Clone)]
pub struct RequestSecret {
    secret: Secret,
    key: hmac::Key,
}

impl RequestSecret {
    /// Of this text, whose bytes are the key.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        Self { secret, key }
    }

    /// `t=…,v1=…` of a request at this time.
    pub(super) fn sign(
        &self,
        stated: &Stated<'_>,
        method: &Method,
        target: &Uri,
        now: WallTime,
    ) -> Result<HeaderValue, Unsigned> {
        let time = (now.as_micros() / 1_000_000).to_string();
        let lines = [
            VERSION,
            &time,
            method.as_str(),
            target.path_and_query().map_or("/", |target| target.as_str()),
            stated.tenant.unwrap_or_default(),
            stated.user,
            stated.role.unwrap_or_default(),
            stated.session.as_str(),
        ];
        let mut context = hmac::Context::with_key(&self.key);
        for line in lines {
            context.update(line.as_bytes());
            // No line has one in it: identities are visible characters, and so is a target.
            context.update(b"\n");
        }
        let mut text = String::with_capacity(96);
        let _ = write!(text, "t={time},{VERSION}=");
        for byte in context.sign().as_ref() {
            let _ = write!(text, "{byte:02x}");
        }
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).map_err(|_| Unsigned)
    }
}

impl PartialEq for RequestSecret {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl Eq for RequestSecret {}

impl fmt::Debug for RequestSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}
