//! A session gateway in front of legacy web apps: it makes a session of the app's own login, and from then on the gateway
//! and not the client says which tenant and user a request is for.
//!
//! # The request path
//!
//! A request meets the modules in this order; the steps are those of [`proxy`]'s `admission.rs` and `gateway.rs`, which are the
//! whole path.
//!
//! ```text
//! client
//!   │  bytes
//!   ▼
//! proxy::listener      accepts: connections in all and per address are bounded; the PROXY protocol, then TLS
//! proxy::io            watches the bytes: deadlines; http::RequestFraming refuses a head that reads two ways
//!   │  request
//!   ▼
//! proxy::Gateway   1   the framing's verdict
//!                  2   method and path in one normal form                    http
//!                  3   health, then the host                                  health, http
//!                  4   which endpoint, which route                           policy
//!                  5   the gateway's cookie out                              http
//!                  6   cross-origin rule                                     http
//!                  7   the client's claims out                               http
//!                  8   a login: backend, store, cookie, in that order        login, store
//!                  9   session token → id → absent, ended, live, unavailable session, store
//!                  10  the gateway's own endpoints
//!                  11  decide → Permit or Denial                             policy
//!                  12  claims out again, where a migration let them stay
//!                  13  the use is recorded                                   session, store
//!                  14  an event: backend, store, answer, in that order       policy, http, store
//!                  15  the permit's identity in, forward, stream back        policy, upstream
//!   │                      every failure becomes an answer in one place      proxy (respond.rs)
//!   ▼                      what happened is told                             audit, telemetry
//! client
//! ```
//!
//! # The three kinds of modules
//!
//! * **Pure**: [`session`], [`http`], [`jwt`], [`policy`], [`login`], [`seal`], [`custody`], [`monitor`]. Data and the time in, decisions and effects out; no runtime, no store, no
//!   clock. What must be right is here, and tested as tables and properties.
//! * **Edges**: [`proxy`] towards clients, [`upstream`] towards backends, [`store`] towards Redis or a file, [`admin`] and [`alerts`] towards
//!   operators, [`audit`] and [`telemetry`] towards disks and scrapers.
//! * **Assembly**: [`config`] turns a file into types that cannot be wrong, [`app`] is the only place that names concrete
//!   stores, [`cli`] is one command a file. [`clock`] and [`entropy`] are time and randomness as arguments,
//!   [`network`] is what is counted by client.
//!
//! Who may know whom is in `ARCHITECTURE.md` and held by `tests/architecture`.
//!
//! # What proves what
//!
//! * A request is forwarded only with a [`policy::Permit`], which only the policy makes: [`policy::decide`] for a call,
//!   and constructors of their own for what needs no decision, a login, a preflight, a logout.
//! * An identity header is written only from a [`policy::VerifiedIdentity`].
//! * A store says [`session::Standing`], or that it cannot say ([`store::Unavailable`]); no `Option` in between.

pub mod admin;
pub mod alerts;
pub mod app;
pub mod audit;
pub mod bearer;
pub mod cli;
pub mod clock;
pub mod commons;
pub mod config;
pub mod custody;
pub mod descriptors;
pub mod entropy;
pub mod geo;
pub mod health;
pub mod http;
pub mod json_line;
pub mod jwt;
pub mod login;
pub mod maintenance;
pub mod monitor;
pub mod network;
pub mod policy;
mod prefixed;
pub mod proxy;
mod queue;
pub mod reports;
pub mod seal;
pub mod secret;
pub mod session;
pub mod sessions;
mod settled;
pub mod signed;
pub mod socket;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod told;
pub mod upstream;
pub mod watch;
