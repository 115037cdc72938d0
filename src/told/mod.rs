//! What happened, said once: whoever makes it happen describes it as a [`Told`] with its [`Origin`], and [`Teller::tell`]
//! has everyone hear of it who listens: the metrics, the audit log.
//!
//! Nothing here decides, waits or fails: what cannot be written is counted by the audit log itself. What is told holds no
//! secret.

mod happened;
mod lines;
mod origin;
mod teller;

pub use happened::{EndedFrom, NoLogin, Source, Spoof, Told};
pub use origin::{Origin, reason_of};
pub use teller::{Listener, Teller};
