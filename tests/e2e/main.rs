//! End-to-end tests: the real gateway binary in front of real backends on real stores, seen from outside only.
//!
//! One binary, because each would link the same; a module per topic. `support` is the harness.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits for other processes in real time"
)]
#![allow(missing_docs, unreachable_pub, reason = "nothing here is seen from outside this binary")]

mod abuse;
mod acts;
mod admin;
mod alerts;
mod apps;
mod audit;
mod bearer;
mod bearer_attacks;
mod cache;
mod captured;
mod chosen;
mod chromium;
mod clients;
mod cluster;
mod console;
mod cors;
mod deployment;
mod deployment_cluster;
mod deployment_sentinel;
mod desync;
mod errors;
mod events;
mod events_about;
mod follow;
mod forwarding;
mod front;
mod fronts;
mod harness;
mod held;
mod helm;
mod http2;
mod http2_abuse;
mod http2_cuts;
mod identity;
mod jwt_apps;
mod lifetime;
mod limits;
mod login;
mod login_guard;
mod login_kinds;
mod logout;
mod loops;
mod maintenance;
mod one_app;
mod operation;
mod operator;
mod orphans;
mod otlp;
mod own_pages;
mod pages;
mod paths;
mod peers;
mod places;
mod probe_login;
mod prometheus;
mod proxy_protocol;
mod reauth;
mod recheck;
mod refusals;
mod reload;
mod rest;
mod revocation;
mod sealed;
mod sentinel;
mod sessions;
mod signed;
mod store_outage;
mod streams;
mod supervisor;
mod support;
mod tenants;
mod tls;
mod traces;
mod travel;
mod tunnels;
mod walk;
mod websockets;
mod withheld;
