//! A request as it goes to a backend: its head, the lines that whoever sends it puts in, its body.

use std::ops::{Deref, DerefMut};

use http::{HeaderName, HeaderValue, Request};

use super::body::RequestBody;
use super::http1::OwnLines;

/// A request to a backend.
#[derive(Debug)]
pub struct Outgoing {
    request: Request<RequestBody>,
    pub(super) own: OwnLines,
}

impl Outgoing {
    /// A request in which these lines take the place of all of their names.
    #[must_use]
    pub const fn new(request: Request<RequestBody>, own: OwnLines) -> Self {
        Self { request, own }
    }

    /// Another line of them, unless there is one of this name.
    pub fn put(&mut self, name: &'static HeaderName, value: &HeaderValue) {
        self.own.put(name, value);
    }
}

impl From<Request<RequestBody>> for Outgoing {
    fn from(request: Request<RequestBody>) -> Self {
        Self::new(request, OwnLines::default())
    }
}

impl Deref for Outgoing {
    type Target = Request<RequestBody>;

    fn deref(&self) -> &Request<RequestBody> {
        &self.request
    }
}

impl DerefMut for Outgoing {
    fn deref_mut(&mut self) -> &mut Request<RequestBody> {
        &mut self.request
    }
}
