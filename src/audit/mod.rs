//! The audit log: who did what to which session, one JSON line an event (docs/behaviour.md, "Audit events").
//!
//! [`event`], [`aggregate`] and [`chain`] are pure; [`log`] takes what is recorded, and `writer` is the one thread that writes, to what `file`
//! opens and locks; [`query`] and [`verify`] read it. A line never holds a token, a cookie, a password or a request body: there
//! is no field for one, and free text from a client is bounded by its type.

pub mod aggregate;
pub mod chain;
pub mod event;
mod file;
mod files;
pub mod key;
pub mod log;
pub mod outbox;
pub mod query;
pub mod record;
mod resume;
pub mod share;
pub mod verify;
mod waiting;
mod writer;

pub use event::{Actor, AuditEvent, AuditType, ClientText, Details, Outcome, Reason};
pub use files::{has_something_else, with_rotated};
pub use log::{AuditLog, AuditOpenError, AuditSettings, AuditTarget};
pub use query::{AuditCursor, AuditFilter, AuditPage, AuditQuery, QueryError};
pub use record::{AuditRecord, CsvWriter};
pub use waiting::AuditUnavailable;
