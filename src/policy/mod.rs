//! Policy: which route a request takes, whether it may go on, and what the backend is told.
//!
//! Pure: takes the route table, the session's standing and the request's facts; returns a [`Permit`] or a [`Denial`].
//! Knows no socket, no store, no clock.

mod cross_origin;
mod decide;
mod event;
mod pattern;
mod permit;
mod places;
mod query;
mod rewrite;
mod route;

pub use cross_origin::{Aim, Call, is_forged};
pub use decide::{BadToken, SessionFacts, TenantClaim, decide, permit_login, permit_logout, permit_preflight};
pub use event::{Action, CountsAs, Ending, Event, EventTable, Guard, Judgement, Named, Order, Requester, TenantNamed};
pub use pattern::{ANY, PathPattern, PatternError, PatternTree};
pub use permit::{Denial, Identity, Permit, VerifiedIdentity, VouchedBy};
pub use places::{NamingPlaces, body_names};
pub use query::{ForeignClaim, QueryRule, QueryRules, claimed_tenants, rewrite_query};
pub use rewrite::{Unwritable, rewrite};
pub use route::{Auth, Authorization, IdentityMode, MethodSet, Overlap, Route, RouteTable};
