//! Lines of a request's head that are not kept in its headers.
//!
//! To put a line into a map of headers and to take it out again costs several times what it costs to write it. What every
//! request gets is written when it is known.

use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

/// Room for the lines of most requests, with a signed identity as a JWT. A power of two: allocators have those at hand.
const USUAL: usize = 1024;

/// Lines that take the place of all of their names in a request's headers.
#[derive(Debug, Default)]
pub struct OwnLines {
    text: Vec<u8>,
    names: SmallVec<[&'static HeaderName; 9]>,
    /// The lengths of the names, a bit for each: a name of another length is none of them.
    lengths: u64,
}

impl OwnLines {
    /// These lines; of two of one name the first.
    #[must_use]
    pub fn of(lines: &[(&'static HeaderName, &HeaderValue)]) -> Self {
        let mut own = Self { text: Vec::with_capacity(USUAL), ..Self::default() };
        lines.iter().for_each(|(name, value)| own.put(name, value));
        own
    }

    /// Another one, unless there is one of this name.
    pub fn put(&mut self, name: &'static HeaderName, value: &HeaderValue) {
        if !self.replaces(name) {
            write_line(&mut self.text, name.as_str(), value.as_bytes());
            self.lengths |= length_bit(name);
            self.names.push(name);
        }
    }

    /// Whether one of them takes the place of what the headers have of this name.
    #[must_use]
    pub fn replaces(&self, name: &HeaderName) -> bool {
        self.lengths & length_bit(name) != 0 && self.names.contains(&name)
    }

    /// As they are written.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}

/// Writes one line of a head.
pub(super) fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Longer ones share the last bit.
fn length_bit(name: &HeaderName) -> u64 {
    1 << name.as_str().len().min(63)
}
