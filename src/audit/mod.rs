//! The audit log: who did what to which session, one JSON line an event (contract §11).
//!
//! [`event`] and [`aggregate`] are pure; [`writer`] owns the file. A line never holds a token, a cookie, a password or a
//! request body: there is no field for one, and free text from a client is bounded by its type.

pub mod aggregate;
pub mod event;
mod file;
pub mod writer;

pub use event::{Actor, AuditEvent, AuditType, ClientText, Details, Outcome, Reason};
pub use writer::{AuditLog, AuditOpenError, AuditTarget, AuditUnavailable};
