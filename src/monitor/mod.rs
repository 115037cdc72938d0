//! Session monitoring: what is noticed, by which rule, and what is to be done about it (docs/monitoring.md).
//!
//! Pure: what happened, the time and the rules in, what it comes to out. It asks no store and tells nobody; that is the
//! [`watch`](crate::watch)'s.

mod account;
mod attempt;
mod calls;
mod crowd;
mod device;
mod finding;
mod lock;
mod low_networks;
mod networks;
mod new_keys;
mod place;
mod place_rules;
mod rules;
mod severity;
mod tally;

pub use account::{AccountId, MonitorKeys, normalised};
pub use attempt::{Attempt, Attempted, Bucket, BucketKind, Named};
pub use calls::{CallCount, CallTable, CallTerms, Called, Minute};
pub use crowd::Crowd;
pub use device::DeviceId;
pub use finding::{Evidence, Finding, FindingKind, FindingNote, FindingRecord, Taken, Verdict};
pub use lock::{Lock, LockId, LockNote, LockedBy};
pub use low_networks::{LOW_ASNS, called};
pub use networks::{NetworkRange, ranges_of};
pub use new_keys::NewKeys;
pub use place::{Cell, Country, Elsewhere, Place, Spot};
pub use place_rules::{GeoFiles, PlaceRules};
pub use rules::{Action, FailedLogins, GuessedLogin, LockBy, MonitorMode, MonitorRules, RapidCalls, Rule};
pub use severity::Severity;
pub use tally::{Full, Outcome, Standing, Tally};
