//! Which app a store's sessions are of. A session is valid at whoever reads it: two apps on one store would let each other's
//! users in.

use std::time::Duration;

/// What a gateway says of itself to the store that it opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which app it stands before: its `server.public_url`.
    pub app: String,
    /// Whether it may be beside another.
    pub shared: bool,
    /// How long its sessions live.
    pub lifetime: Duration,
}

impl Claim {
    /// Says that another app is there, too. One that came later, with leave to, is nothing that a gateway which runs must
    /// end for; but it starts no more beside it.
    pub(super) fn tell_of(&self, place: &str, other: &str) {
        if self.shared {
            tracing::info!(other, "{place} has sessions of another app, which are valid here");
        } else {
            tracing::warn!(
                other,
                "{place} has sessions of another app by now, which are valid here; this gateway serves on, and does not start \
                 again without `store.shared_prefix = true`"
            );
        }
    }

    /// What is said where another app is in the way.
    pub(super) fn refused(place: &str, other: &str) -> String {
        format!(
            "{place} has sessions of another app, {other}, which would be valid here; give each app its own, or set \
             `store.shared_prefix = true` at both where they are to share their sessions (or where the app has moved)"
        )
    }
}
