//! Where addresses are, by databases of others (MaxMind DB files): read whole into memory, looked into without waiting, and
//! taken over anew when their files change.
//!
//! What cannot be read, is not there, or is old is told to operators; nothing else suffers. A database is what somebody else
//! wrote: whatever stands in it, it makes no more than a place or none.

mod database;
mod follow;
mod loaded;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

pub use follow::{GeoWatch, follow};
pub use loaded::examine;

use crate::monitor::Place;
use loaded::Loaded;

/// The databases in force.
#[derive(Default)]
pub struct Geo(ArcSwapOption<Loaded>);

impl Geo {
    /// Whether there is one that knows places.
    #[must_use]
    pub fn knows_places(&self) -> bool {
        self.0.load().as_ref().is_some_and(|loaded| loaded.knows_places())
    }

    /// Where an address is, as far as the databases know.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> Option<Place> {
        self.0.load().as_ref()?.locate(address.to_canonical())
    }

    fn put_in_force(&self, loaded: Option<Loaded>) {
        self.0.store(loaded.map(Arc::new));
    }
}

impl fmt::Debug for Geo {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Geo").finish_non_exhaustive()
    }
}
