//! The app's own tokens, which a session has instead of its browser (docs/behaviour.md, "Captured tokens").
//!
//! In the order in which a token meets them: [`TokenRules`] finds it in an answer, [`StandIns`] takes it out of what the
//! browser gets, [`Withheld`] out of what else the app answers, [`CustodyKeys`] seals it for the store, and [`AppToken`] says
//! when it is to be refreshed.
//!
//! Pure: answers, keys and the time in, tokens and bytes out; randomness is an argument. Knows no login, no store and no
//! request. Why it is built so is in ADR 0019.

mod rules;
mod sealed;
mod stand_in;
#[cfg(test)]
mod tests;
mod token;
mod withheld;

pub use rules::{Left, RefreshRules, SentAs, TokenRules};
pub use sealed::{CustodyKeys, NotSealed, Sealed};
pub use stand_in::{Cleaned, StandIns, is_stand_in};
pub use token::{AppToken, LongestField};
pub use withheld::{NotWithheld, Reader, Search, Withheld};
