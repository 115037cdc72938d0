//! The session: what it is, how long it lives, what ends it.
//!
//! Pure: takes data and the store's time, returns data. Knows no socket, no store, no clock, no configuration.

mod credential;
mod generation;
mod lifetime;
mod principal;
mod record;
mod revocation;
mod tenant;
mod token;
mod transition;
mod user_agent;

pub use credential::Credential;
pub use generation::{Exemption, Generation, Generations, UserStanding};
pub use lifetime::{IdleLimit, Limits, StoreTime, TouchPlan};
pub use principal::{IdentityValueError, Principal, Role, TenantId, UserId};
pub use record::{End, EndReason, GoesOn, Left, LimitAction, Line, SessionLimit, SessionRecord};
pub use revocation::{By, Revocation, Scope, TenantChange, Words};
pub use tenant::{TenantNote, TenantStanding, TenantStatus};
pub use token::{SessionId, SessionToken};
pub use transition::{Ended, LiveSession, Observation, Standing, judge};
pub use user_agent::{UserAgent, UserAgentSummary};
