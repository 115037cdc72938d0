//! The app's own cookies, bound to the session that they were set in (docs/behaviour.md, "Sealed cookies").
//!
//! A legacy app's session cookie, stolen once, would work beside any session of the gateway's. So it goes out sealed
//! (AES-256-GCM), with the session's id as associated data, and what does not open under the request's own session never
//! reaches the backend. Nothing is stored for it: what an ended session had is of no use because nobody has that session
//! any more.
//!
//! Pure: headers and keys in, headers out; randomness is an argument. Why it is built so is in ADR 0015.

mod cookies;
mod keys;
mod name;
#[cfg(test)]
mod tests;

pub use cookies::{LONGEST_COOKIE, NotSealed, Opened, SealedCookies, Successor};
pub use keys::{Binding, SealingKeys};
