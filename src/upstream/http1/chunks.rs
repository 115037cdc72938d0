//! The chunked transfer coding (RFC 9112, 7.1), undone.
//!
//! Strict where a second reader could see another end: a size is hexadecimal digits and fits 64 bits, lines end in CRLF,
//! and so does each chunk. Extensions and trailers are read over and dropped.

use bytes::{Buf as _, BytesMut};

use super::reading::{Malformed, Step};

/// The most bytes of extensions, and of trailers, that one body may have.
const MOST_OVERHEAD: u32 = 16 * 1024;

/// Reads a chunked body.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: State,
    /// Bytes of extensions and trailers until now.
    overhead: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    #[default]
    Start,
    /// In a size.
    Size(u64),
    /// Blanks after a size, which some servers fill it up with.
    AfterSize(u64),
    Extension(u64),
    /// After the CR of a line with a size.
    SizeEnd(u64),
    Data(u64),
    /// After a chunk's last byte.
    DataCr,
    DataLf,
    /// At the start of a line after the last chunk.
    TrailerStart,
    /// In such a line.
    Trailer,
    /// After its CR.
    TrailerLf,
    /// After the CR of the empty line.
    EndLf,
    Over,
}

impl Chunks {
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether nothing was said but the data: sizes without blanks, zeros or extensions, and no trailers.
    pub(super) const fn is_plain(&self) -> bool {
        self.overhead == 0
    }

    pub(super) fn read(&mut self, input: &mut BytesMut) -> Result<Step, Malformed> {
        loop {
            if let State::Data(left) = self.state {
                if input.is_empty() {
                    return Ok(Step::More);
                }
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let left = left - length as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data(left) };
                return Ok(Step::Data(input.split_to(length).freeze()));
            }
            if self.is_over() {
                return Ok(Step::End);
            }
            let Some(byte) = input.first().copied() else { return Ok(Step::More) };
            input.advance(1);
            self.state = self.after(byte)?;
        }
    }

    /// The state after a byte that is none of the data.
    fn after(&mut self, byte: u8) -> Result<State, Malformed> {
        let state = match (self.state, byte) {
            (State::Start, _) => State::Size(digit(byte).ok_or(Malformed::new("a chunk has no size"))?),
            (State::Size(size) | State::AfterSize(size) | State::Extension(size), b'\r') => State::SizeEnd(size),
            (State::Size(size) | State::AfterSize(size), b';') => State::Extension(size),
            (State::Size(size) | State::AfterSize(size), b' ' | b'\t') => {
                self.count()?;
                State::AfterSize(size)
            }
            // Leading zeros would go on for ever.
            (State::Size(0), b'0') => {
                self.count()?;
                State::Size(0)
            }
            (State::Size(size), _) => {
                let digit = digit(byte).ok_or(Malformed::new("a chunk's size is no number"))?;
                let size = size.checked_mul(16).ok_or(Malformed::new("a chunk's size is too large"))?;
                State::Size(size | digit)
            }
            (State::Extension(size), byte) if byte != b'\n' => {
                self.count()?;
                State::Extension(size)
            }
            (State::SizeEnd(0), b'\n') => State::TrailerStart,
            (State::SizeEnd(size), b'\n') => State::Data(size),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Start,
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart | State::Trailer, byte) if byte != b'\n' => {
                self.count()?;
                State::Trailer
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Over,
            _ => return Err(Malformed::new("a chunk does not end as one does")),
        };
        Ok(state)
    }

    const fn count(&mut self) -> Result<(), Malformed> {
        self.overhead += 1;
        if self.overhead > MOST_OVERHEAD {
            Err(Malformed::new("its chunks say too much beside the data"))
        } else {
            Ok(())
        }
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of these pieces of input: the data, whether it is over, and what was left.
    fn read(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, Vec<u8>), Malformed> {
        let (mut chunks, mut input, mut data) = (Chunks::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            input.extend_from_slice(piece);
            while let Step::Data(piece) = chunks.read(&mut input)? {
                data.extend_from_slice(&piece);
            }
        }
        Ok((data, chunks.is_over(), input.to_vec()))
    }

    #[test]
    fn a_body_in_chunks_is_their_data() {
        for (text, data, rest) in [
            ("0\r\n\r\n", "", ""),
            ("2\r\nok\r\n0\r\n\r\nHTTP", "ok", "HTTP"),
            ("A\r\n0123456789\r\n1\r\nx\r\n000\r\n\r\n", "0123456789x", ""),
            ("2;name=\"a;b\"\r\nok\r\n0;last\r\n\r\n", "ok", ""),
            ("2  \r\nok\r\n0\t\r\n\r\n", "ok", ""),
            ("2\r\nok\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n", "ok", ""),
        ] {
            let expected = Ok((data.as_bytes().to_vec(), true, rest.as_bytes().to_vec()));
            assert_eq!(read(&[text.as_bytes()]), expected, "{text:?}");
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(read(&bytes), expected, "{text:?}, byte by byte");
        }
    }

    #[test]
    fn what_a_second_reader_could_see_otherwise_is_refused() {
        for bad in [
            "\r\n",
            "x\r\nok\r\n",
            "-2\r\nok\r\n",
            "0x2\r\nok\r\n",
            "2\nok\r\n",
            "2;a\nb\r\nok\r\n",
            "2\r\rok\r\n",
            "2 2\r\nok\r\n",
            "2\r\nokx\r\n",
            "2\r\nok\n",
            "2\r\nok\r\r\n",
            "0\r\nX-A: 1\n\r\n",
            "0\r\n\n",
            "0\r\n\r\r",
            "10000000000000000\r\n",
        ] {
            assert!(read(&[bad.as_bytes()]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_said_beside_the_data_is_bounded() {
        let long = "x".repeat(MOST_OVERHEAD as usize + 1);
        for text in [
            format!("1;{long}\r\n"),
            format!("0\r\n{long}\r\n"),
            "0".repeat(long.len() + 1),
            "1;xxxx\r\ny\r\n".repeat(MOST_OVERHEAD as usize),
        ] {
            assert!(read(&[text.as_bytes()]).is_err());
        }
    }

    proptest! {
        #[test]
        fn whatever_was_written_in_chunks_is_read_at_any_split(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..10),
            split in any::<prop::sample::Index>(),
        ) {
            let mut text = Vec::new();
            for piece in &pieces {
                text.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                text.extend_from_slice(piece);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\nrest");
            let (first, second) = text.split_at(split.index(text.len()));
            let expected = (pieces.concat(), true, b"rest".to_vec());
            prop_assert_eq!(read(&[first, second]), Ok(expected));
        }
    }
}
