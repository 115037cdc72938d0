//! A login: what its request asks for, what the backend's answer to it means, and what the backend is then asked.
//!
//! Pure: headers and bodies in, questions and a verdict out ([`Inquiry`]). Knows no socket, no runtime, no store, no
//! clock and no configuration. The gateway and `probe-login` run the same inquiry, so that what the one shows is what the
//! other does. A new way to name the user is a variant of [`Capture`] and an arm where `rules` reads it.

mod account;
mod browser;
mod condition;
mod document;
mod follow;
mod identity;
mod inquiry;
mod jar;
mod membership;
mod multipart;
mod remember;
mod rules;

pub use account::{AccountUnclear, accounts_named};
pub use browser::{Browser, LARGEST_ANSWER_TO_A_QUESTION, Question};
pub use condition::Condition;
pub use document::read_json;
pub use follow::{Change, Said};
pub use identity::{IdentityPointers, LoginHeaders, LoginIdentity, Users, WithoutTenant};
pub use inquiry::{Inquiry, Step, Verdict};
use jar::BrowserJar;
pub use membership::{Membership, MembershipRules};
pub use remember::remembered;
pub use rules::{Capture, JwtCapture, LoginRules};
