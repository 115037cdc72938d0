//! The body of an answer, as its head says that it ends.

use bytes::BytesMut;
use http_body::SizeHint;

use super::chunks::Chunks;
use super::reading::{Malformed, Step};

/// Reads an answer's body.
#[derive(Debug)]
pub struct BodyReader(Ends);

#[derive(Debug)]
enum Ends {
    /// After so many bytes more.
    After(u64),
    /// With the last chunk.
    WithChunks(Chunks),
    /// With the connection.
    WithConnection,
}

impl BodyReader {
    pub(super) const fn of_length(length: u64) -> Self {
        Self(Ends::After(length))
    }

    pub(super) fn chunked() -> Self {
        Self(Ends::WithChunks(Chunks::default()))
    }

    pub(super) const fn until_close() -> Self {
        Self(Ends::WithConnection)
    }

    /// The next piece, taken from the input.
    ///
    /// # Errors
    /// [`Malformed`] when it is not in the coding that the head named.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Step, Malformed> {
        match &mut self.0 {
            Ends::After(0) => Ok(Step::End),
            Ends::WithChunks(chunks) => chunks.read(input),
            Ends::After(_) | Ends::WithConnection if input.is_empty() => Ok(Step::More),
            Ends::After(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= length as u64;
                Ok(Step::Data(input.split_to(length).freeze()))
            }
            Ends::WithConnection => Ok(Step::Data(input.split().freeze())),
        }
    }

    /// Whether nothing more will come.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        match &self.0 {
            Ends::After(left) => *left == 0,
            Ends::WithChunks(chunks) => chunks.is_over(),
            Ends::WithConnection => false,
        }
    }

    /// Whether everybody sees its end where it is seen here, by what has come of it.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        match &self.0 {
            Ends::After(_) => true,
            Ends::WithChunks(chunks) => chunks.is_plain(),
            Ends::WithConnection => false,
        }
    }

    /// Whether the end of the connection, in this place, is the end of the body.
    #[must_use]
    pub const fn may_end_here(&self) -> bool {
        self.is_over() || matches!(self.0, Ends::WithConnection)
    }

    /// How much is still to come, where the head says so.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Ends::After(left) => SizeHint::with_exact(*left),
            Ends::WithChunks(chunks) if chunks.is_over() => SizeHint::with_exact(0),
            Ends::WithChunks(_) | Ends::WithConnection => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_length_takes_so_much_and_leaves_the_rest() {
        let mut body = BodyReader::of_length(5);
        let mut input = BytesMut::from("abc");
        assert_eq!(body.read(&mut input), Ok(Step::Data(Bytes::from_static(b"abc"))));
        assert_eq!(body.read(&mut input), Ok(Step::More));
        assert!(!body.is_over() && !body.may_end_here());
        input.extend_from_slice(b"dexyz");
        assert_eq!(body.read(&mut input), Ok(Step::Data(Bytes::from_static(b"de"))));
        assert_eq!(body.read(&mut input), Ok(Step::End));
        assert!(body.is_over());
        assert_eq!(input, "xyz");
    }

    #[test]
    fn without_a_length_it_ends_with_the_connection() {
        let mut body = BodyReader::until_close();
        let mut input = BytesMut::from("abc");
        assert_eq!(body.read(&mut input), Ok(Step::Data(Bytes::from_static(b"abc"))));
        assert_eq!(body.read(&mut input), Ok(Step::More));
        assert!(!body.is_over() && body.may_end_here());
    }
}
