//! The backend's side: one request goes to one of an upstream's peers, the answer streams back.
//!
//! What it promises: a request that may have been processed is never sent twice; whose fault a failure was is told
//! apart (the client's body, the backend, our own disk); whatever a backend sends is bounded or streamed; a
//! connection whose state is not certain is closed, never reused.
//!
//! It must never know sessions, policy, identity or the configuration file, and it never edits a header but those
//! that frame the message (`Connection`, `Content-Length`, `Transfer-Encoding`).
//!
//! One request, in the order of the files: [`address`](PeerAddress) names a peer, `balance` chooses among them by what
//! `health` and its `check`s say of each, `peer` finds an idle connection (`pool`) or dials one (`resolve`, `dial`, `tls`, `socket`),
//! `connection` carries the exchange (its request by way of an `outbox`, with an `alarm` for its waits) and keeps the
//! facts that decide what went wrong, [`http1`] says what the bytes mean, `outgoing` is a request, `body` and `spool` are its body, `send`
//! walks through it all with a `lease` of the connection, `answer` is the body that streams back, `apart` goes on with a request whose answer came
//! first, `switch` is a connection that has left HTTP, `whole` reads an answer that is not streamed.

mod address;
mod alarm;
mod answer;
mod apart;
mod balance;
mod body;
mod check;
mod connection;
mod dial;
mod error;
mod health;
pub mod http1;
mod lease;
mod observe;
mod outbox;
mod outgoing;
mod peer;
mod pool;
mod resolve;
mod room;
mod send;
mod settings;
mod socket;
mod spool;
mod switch;
mod tls;
mod whole;

#[cfg(test)]
mod tests;

pub use address::{AddressError, PeerAddress};
pub use answer::UpstreamBody;
pub use balance::Balance;
pub use body::{BodyLimits, LimitedBody, RequestBody, SpooledBody};
pub use error::{AnswerCut, BodyError, BodyFault, UpstreamError};
pub use health::{Ejection, HealthCheck};
pub use http1::OwnLines;
pub use observe::{PeerObserver, Unobserved, UpstreamObserver};
pub use outgoing::Outgoing;
pub use pool::{Keepalive, MAX_IDLE};
pub use send::Upstream;
pub use settings::UpstreamSettings;
pub use spool::{BodyMemory, Spool, SpoolSettings};
pub use switch::{Switched, UpstreamTunnel};
pub use tls::{Trust, TrustError};
pub use whole::{Unreadable, read_whole};
