//! Those who say who the master is, as a fence asks them: Sentinels, or the masters of a cluster.

use std::collections::BTreeSet;

use super::fault::Fault;
use crate::clock::Monotonic;
use crate::store::address::Node;

/// What is said of a server as the master.
pub(super) struct Said {
    /// Who may come to be the master after it, by anybody's word.
    pub(super) heirs: BTreeSet<Node>,
    /// How many more may that have no address now.
    pub(super) elsewhere: usize,
}

/// Those who say who the master is.
pub(super) trait Electors: Send + Sync {
    /// What they are called.
    const WHO: &'static str;

    /// Since when a majority has said that this server is the master; `None`: it does not, or that may be over.
    fn since(&self, master: &Node) -> Option<Monotonic>;

    /// What is said of that server, if it is the master.
    fn say(&self, master: &Node) -> Option<Said>;

    /// Why a server is none.
    fn another(&self, than: &Node) -> Fault;

    /// Whether their word alone does not do.
    fn is_strict(&self) -> bool;

    /// Whether all depends on their word.
    fn is_urgent(&self, urgent: bool);
}
