//! The one room in which sessions are made and ended. Who, why and how far are arguments; the store, what is open for a
//! session, metrics and audit log are seen to here, once.
//!
//! Stands above the store and below the edges. Knows no request, no answer and no configuration; a token that it makes
//! leaves it as the cookie's line alone.

mod end;
mod issue;
mod open;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use self::end::LONGEST_LEEWAY;
pub use self::issue::{Deposit, Issued, Newcomer, NotIssued, Terms};
pub use self::open::{AskedAbout, Cuts, Holder, Kill, OpenStream, OpenStreams};

use crate::entropy::SharedEntropy;
use crate::store::SharedStore;
use crate::told::Teller;

/// Makes and ends sessions.
#[derive(Clone)]
pub struct Sessions {
    store: SharedStore,
    open: Arc<OpenStreams>,
    teller: Teller,
    entropy: SharedEntropy,
    /// Whether browsers may have tokens of the app's that end with their sessions.
    leaves_tokens: Arc<AtomicBool>,
}

impl Sessions {
    /// A room over a store.
    #[must_use]
    pub fn new(store: SharedStore, teller: Teller, entropy: SharedEntropy) -> Self {
        let open = Arc::new(OpenStreams::new(teller.clock().clone()));
        Self { store, open, teller, entropy, leaves_tokens: Arc::default() }
    }

    /// From now on browsers may have tokens of the app's that are to end with their sessions.
    pub fn leave_tokens(&self) {
        self.leaves_tokens.store(true, Ordering::Relaxed);
    }

    /// What is open for sessions, and cut when they end.
    #[must_use]
    pub const fn open(&self) -> &Arc<OpenStreams> {
        &self.open
    }
}

/// What the end of one session or token came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whether this call ended it; else it was over already.
    pub ended: bool,
    /// Whether that outlives the server that took it (see [`SessionStore::is_replicated`](crate::store::SessionStore)).
    pub replicated: bool,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sessions").finish_non_exhaustive()
    }
}
