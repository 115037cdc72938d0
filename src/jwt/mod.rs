//! JSON Web Tokens that others made (RFC 7515, 7517, 7519): which of them is to be believed, and when.
//!
//! Pure: text, keys and the time in, a verdict out. Signatures are checked by a library (docs/adr/0014); what is signed,
//! with which key, by which algorithm and for how long it counts is decided here, and by the operator's configuration alone. A token chooses nothing: its header only names, among what the issuer may
//! do, what it did.
//!
//! In the order in which a token meets them: [`Compact`] takes it apart, [`issuer`] says whose it claims to be,
//! [`KeySet::verify`] checks the signature, [`Expectations::check`] the claims, [`Lifetime::check`] the time. Knows no
//! socket, no store, no clock and no configuration, and makes no tokens.

mod algorithm;
mod claims;
mod compact;
mod der;
mod fault;
mod json;
mod jwk;
mod key;
mod key_set;
mod roca;
#[cfg(test)]
mod tests;

pub use algorithm::{Algorithm, Family};
pub use claims::{AHEAD_AT_MOST, Audience, Expectations, Lifetime, expiry, issuer, says_refresh};
pub use compact::{Compact, Header, LONGEST_TOKEN, may_be_anothers, unverified_claims};
pub use fault::TokenFault;
pub use key::{Key, KeyFault};
pub use key_set::{KeySet, KeySetFault, LARGEST_SET};
