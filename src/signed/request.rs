//! A signature of one request, for apps without a library for tokens: HMAC-SHA-256 with a secret that both have.

use std::fmt;

use ::http::{HeaderValue, Method, Uri};
use bytes::Bytes;
use ring::hmac;
use smallvec::SmallVec;

use super::stated::{Stated, Unsigned};
use crate::clock::WallTime;
use crate::secret::Secret;

/// What the signed text begins with, and the signature is called; another one is another text.
const VERSION: &str = "v1";
/// For the text of most requests.
const ROOM: usize = 512;
const HEX: &[u8; 16] = b"0123456789abcdef";

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
        // Each request pays for this: one pass over one text, and nothing formatted.
        let mut signed: SmallVec<[u8; ROOM]> = SmallVec::new();
        for line in lines {
            signed.extend_from_slice(line.as_bytes());
            // No line has one in it: identities are visible characters, and so is a target.
            signed.push(b'\n');
        }
        let signature = hmac::sign(&self.key, &signed);
        let mut text = Vec::with_capacity("t=,v1=".len() + time.len() + 2 * signature.as_ref().len());
        for part in ["t=", &time, ",", VERSION, "="] {
            text.extend_from_slice(part.as_bytes());
        }
        for byte in signature.as_ref() {
            text.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
        }
        HeaderValue::from_maybe_shared(Bytes::from(text)).map_err(|_| Unsigned)
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
