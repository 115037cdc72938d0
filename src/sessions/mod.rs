//! The one room in which sessions are made, held and ended. Who, why and how far are arguments; the store, what is open for a
//! session, metrics and audit log are seen to here, once.
//!
//! Stands above the store and below the edges. Knows no request, no answer and no configuration; a token that it makes
//! leaves it as the cookie's line alone.

mod end;
mod hold;
mod issue;
mod open;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub use self::end::LONGEST_LEEWAY;
pub use self::hold::Holding;
pub use self::issue::{Deposit, Issued, Newcomer, NotIssued, Terms};
pub use self::open::{AskedAbout, Cuts, Holder, Kill, OpenStream, OpenStreams};

use crate::clock::micros;
use crate::entropy::SharedEntropy;
use crate::store::{Going, SharedStore};
use crate::told::Teller;

/// Makes, holds and ends sessions.
#[derive(Clone)]
pub struct Sessions {
    store: SharedStore,
    open: Arc<OpenStreams>,
    teller: Teller,
    entropy: SharedEntropy,
    /// Whether browsers may have tokens of the app's that end with their sessions.
    leaves_tokens: Arc<AtomicBool>,
    /// How long a token of an issuer lives at most (µs); 0: none is believed.
    tokens_live: Arc<AtomicU64>,
}

impl Sessions {
    /// A room over a store.
    #[must_use]
    pub fn new(store: SharedStore, teller: Teller, entropy: SharedEntropy) -> Self {
        let open = Arc::new(OpenStreams::new(teller.clock().clone()));
        let (leaves_tokens, tokens_live) = (Arc::default(), Arc::default());
        Self { store, open, teller, entropy, leaves_tokens, tokens_live }
    }

    /// From now on browsers may have tokens of the app's that are to end with their sessions.
    pub fn leave_tokens(&self) {
        self.leaves_tokens.store(true, Ordering::Relaxed);
    }

    /// Tokens of issuers are believed from now on, which live for so long at most; `None`: none is.
    pub fn believe_tokens(&self, longest: Option<Duration>) {
        self.tokens_live.store(longest.map_or(0, micros), Ordering::Relaxed);
    }

    /// What is open for sessions, and cut when they end.
    #[must_use]
    pub const fn open(&self) -> &Arc<OpenStreams> {
        &self.open
    }
}

/// What the end of one session or token came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whether this call ended it; else it was over already.
    pub ended: bool,
    /// Whether that outlives the server that took it (see [`SessionStore::is_replicated`](crate::store::SessionStore)).
    pub replicated: bool,
    /// What it was, where this call ended a session by its id.
    pub was: Option<Box<Going>>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sessions").finish_non_exhaustive()
    }
}
