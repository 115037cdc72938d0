//! The session: what it is, how long it lives, what ends it.
//!
//! Pure: takes data and the store's time, returns data. Knows no socket, no store, no clock, no configuration.

mod access_token;
mod choice;
mod credential;
mod generation;
mod hold;
mod in_tenant;
mod lifetime;
mod limits;
mod principal;
mod record;
mod revocation;
#[cfg(test)]
pub(crate) mod samples;
mod store_time;
mod tenant;
mod token;
mod transition;
mod user_agent;
mod words;

pub use access_token::{DeniedUntil, TokenDenial, TokenObservation, TokenStanding, judge_token};
pub use choice::{Candidate, Choices, Choosable, MOST_TENANTS};
pub use credential::Credential;
pub use generation::{Exemption, Generation, Generations, UserStanding};
pub use hold::{Barred, Hold, HoldWord, LastWord};
pub use in_tenant::InTenant;
pub use lifetime::{IdleLimit, TouchPlan};
pub use limits::Limits;
pub use principal::{IdentityValueError, Principal, Role, TenantId, UserId, UserKind};
pub use record::{End, EndReason, GoesOn, Left, LimitAction, Line, SessionLimit, SessionRecord};
pub use revocation::{By, Keep, Revocation, Scope};
pub use store_time::StoreTime;
pub use tenant::{TenantChange, TenantNote, TenantStanding, TenantStatus};
pub use token::{SessionId, SessionToken};
pub use transition::{Ended, HeldSession, LiveSession, Observation, Standing, judge, judge_outlived};
pub use user_agent::{UserAgent, UserAgentSummary};
pub use words::Words;
