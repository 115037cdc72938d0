//! A session on its way: until it is known what became of it, it is one that must not live.

use super::connection::Link;
use super::unfinished::Unborn;
use crate::session::{Principal, SessionId};

/// A session that is being made. Dropped before it is known to be, it must not live.
pub(super) struct Making<'a> {
    link: &'a Link,
    unborn: Option<Unborn>,
}

impl<'a> Making<'a> {
    /// A session is about to be made.
    pub(super) fn begin(link: &'a Link, id: SessionId, principal: &Principal) -> Self {
        Self { link, unborn: Some(Unborn::new(link.keys(), id, principal)) }
    }

    /// A session that nobody was told of must not live.
    pub(super) fn abandon(link: &'a Link, id: SessionId, principal: &Principal) {
        drop(Self::begin(link, id, principal));
    }

    /// It is known what became of it.
    pub(super) fn known(mut self) {
        self.unborn = None;
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if let Some(unborn) = self.unborn.take() {
            self.link.unfinished().add(unborn);
            self.link.doubt();
        }
    }
}
