//! What proves to a backend that it was the gateway who told it whose a request is (`identity.signed`).
//!
//! Said is what stands in the identity headers, neither more nor less, so that a backend has one rule: each header is what
//! is signed, and one that is not signed is not there. Two forms: an assertion that many requests of a session share, by a
//! key of which the backend has the public half; or, for apps without a library for that, a signature of each request by a
//! secret that both have.
//!
//! Whether somebody is to be vouched for is not decided here. Knows no session's record, no store, no policy and no
//! configuration file.

mod assertion;
mod key;
mod request;
mod rules;
mod signer;
mod stated;
#[cfg(test)]
mod tests;
mod times;

pub use self::assertion::Published;
pub use self::key::{SigningKey, SigningKeyFault, new_signing_key};
pub use self::request::RequestSecret;
pub use self::rules::{SignedForm, SignedIdentity};
pub use self::signer::{KEYS_PATH, Proof, Signer};
pub use self::stated::{Stated, Unsigned};
