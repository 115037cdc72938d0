//! The edge: connections of clients, the request path, and the answers.
//!
//! Follows the flow: `listener` accepts, `io` watches the bytes, [`Gateway`] walks the request through the pure
//! modules and the store, `forward` sends it on, `respond` answers failures. Knows no concrete store and no admin API.

mod account;
mod admission;
mod app_tokens;
mod asked_about;
mod body;
mod capture;
mod chosen;
mod claims;
mod client_body;
mod connection;
mod cut;
mod endpoint;
mod endpoints;
mod events;
mod exchange;
mod failure;
mod follow;
mod former_cookies;
mod forward;
mod gateway;
mod guarding;
mod held;
mod held_token;
mod http1;
mod http2;
mod http2_refusals;
mod http2_stream;
mod in_force;
mod io;
mod late_endings;
mod leave;
mod leftover;
mod limits;
mod listener;
mod looked_up;
mod lookup;
mod moved_token;
mod named;
mod newcomer;
mod onboarding;
mod once_more;
mod orphans;
pub(crate) mod outgoing;
mod proxy_protocol;
mod questions;
mod rarely;
mod readings;
mod respond;
mod sealing;
mod services;
mod signing;
mod slots;
mod token;
mod token_refresh;
mod tunnel;
mod upstreams;
mod verify;

pub use in_force::{Current, InForce, Stage};
pub use limits::{ConnectionTimeouts, ListenerLimits};
pub use listener::{Entrance, accept};
pub use services::{Gateway, Services};
pub use slots::Slots;
