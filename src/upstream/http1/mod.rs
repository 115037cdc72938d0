//! HTTP/1.1 as a client speaks it (RFC 9112): the head of a request written, the head and the body of an answer read.
//!
//! Pure: bytes in, bytes and verdicts out; no socket and no runtime. What a head says is read by `httparse` and kept in
//! the `http` crate's types. What it means for where an answer ends is decided here, and what is ambiguous is no answer:
//! a connection that was read differently by two ends gives one client another's answer.

mod body;
mod chunks;
mod framing;
mod head;
mod own;
mod reading;
mod request;

pub use body::BodyReader;
pub use framing::AnswerHead;
pub use head::{HeadReader, MAX_HEAD};
pub use own::OwnLines;
pub use reading::{Malformed, Step};
pub(super) use request::{BodyFraming, Persistence, write_head};
