//! A connection in use: whose it is until its answer is over, and what becomes of it then.

use std::sync::Arc;

use super::connection::Connection;
use super::peer::Load;
use super::pool::Pool;

/// A connection that is in use. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Box<Connection>,
    /// Where it goes afterwards; `None` when it is to be closed.
    pub(super) home: Option<Arc<Pool>>,
    /// Counts the request at its peer until the answer is over.
    pub(super) load: Load,
}

impl Lease {
    /// The answer is complete.
    pub(super) fn end(self) {
        let Some(home) = self.home else { return };
        if self.connection.has_more_than_the_answer() {
            home.distrust();
        } else if self.connection.is_reusable() {
            home.put(self.connection);
        }
    }
}
