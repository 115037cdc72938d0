//! Session monitoring: what is noticed, by which rule, and what is to be done about it (docs/monitoring.md).
//!
//! Pure: what happened, the time and the rules in, what it comes to out. It asks no store and tells nobody; that is the
//! [`watch`](crate::watch)'s.

mod account;
mod act;
mod action;
mod attempt;
mod calls;
mod concurrent;
mod contact;
mod counted;
mod crowd;
mod day;
mod device;
mod end_note;
mod finding;
mod footprint;
mod journey;
mod location_change;
mod locations;
mod lock;
mod low_networks;
mod members;
mod networks;
mod new_keys;
mod place;
mod place_rules;
mod records;
mod report;
mod risk;
mod rules;
mod seen;
mod severity;
mod tag;
mod tally;
#[cfg(test)]
mod tests;
mod travel;

pub use account::{AccountId, MonitorKeys, normalised};
pub use act::{Act, ActTally, Counting, number_of};
pub use action::Action;
pub use attempt::{Attempt, Attempted, Bucket, BucketKind, Named};
pub use calls::{CallCount, CallTable, CallTerms, Called, Minute};
pub use concurrent::Concurrent;
pub use contact::{ContactId, ContactKeys};
pub use counted::{CountBook, CountOf, Counted, Counts, DayCounts};
pub use crowd::Crowd;
pub use day::{Day, NoDay};
pub use device::DeviceId;
pub use end_note::{EndNote, network_of};
pub use finding::{Evidence, Finding, FindingKind, FindingNote, FindingRecord, Taken, Verdict};
pub use footprint::Footprint;
pub use journey::{ENOUGH_USERS, Excuse, How, Leap, LeapRule, Sighting, Step, TENANT_KNOWS};
pub use location_change::LocationChange;
pub use locations::{Locations, far_apart};
pub use lock::{Lock, LockId, LockNote, LockedBy};
pub use low_networks::{LOW_ASNS, called};
pub use networks::{NetworkRange, ranges_of};
pub use new_keys::NewKeys;
pub use place::{Cell, Country, Elsewhere, Place, Spot};
pub use place_rules::{GeoFiles, PlaceRules};
pub use records::{CountBy, RecordCounter, in_content_range, number};
pub use report::{
    CountedActions, CountedFindings, CountedVerdicts, MOST_REPORT_DAYS, Report, ReportDay, TopUser, text_cell,
};
pub use risk::{OPEN_FOR, Risk, Risks};
pub use rules::{
    Exports, FailedLogins, GuessedLogin, LockBy, MonitorMode, MonitorRules, Passwords, Privileges, RapidCalls,
    RevokedUse, Rule,
};
pub use seen::{Noted, Seen, Whereabouts, network_tag, session_tag};
pub use severity::Severity;
pub use tally::{Full, Outcome, Standing, Tally};
pub use travel::Travel;
