//! A chunked body (RFC 9112 section 7.1), walked only to find where it ends.
//!
//! Narrower than the RFC in one place: no white space before a chunk extension. No client sends it, and parsers differ.

use super::head;
use super::limits::HeadLimits;

/// Digits of a chunk's size: 16 hold 64 bits.
const MOST_SIZE_DIGITS: usize = 16;

/// Bytes of extensions in one body. They carry nothing that is passed on; hyper's own limit is 16 KiB.
const MOST_EXTENSION_BYTES: usize = 8 * 1024;

/// The body cannot be read any further.
#[derive(Debug)]
pub(super) struct BrokenChunk;

pub(super) enum Progress<'a> {
    /// All bytes were taken.
    NeedsMore,
    /// The body ended; these bytes follow it.
    Ended(&'a [u8]),
}

#[derive(Clone, Copy, Debug)]
enum Part {
    SizeLine,
    Data(u64),
    DataCr,
    DataLf,
    Trailers,
}

#[derive(Debug)]
pub(super) struct ChunkedBody {
    part: Part,
    extension_bytes: usize,
    trailer_bytes: usize,
    trailers: usize,
}

impl ChunkedBody {
    pub(super) const fn new() -> Self {
        Self { part: Part::SizeLine, extension_bytes: 0, trailer_bytes: 0, trailers: 0 }
    }

    pub(super) fn feed<'a>(
        &mut self,
        bytes: &'a [u8],
        partial: &mut Vec<u8>,
        limits: HeadLimits,
    ) -> Result<Progress<'a>, BrokenChunk> {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            match self.part {
                Part::Data(left) => {
                    let taken = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    let left = left - taken as u64;
                    self.part = if left == 0 { Part::DataCr } else { Part::Data(left) };
                    rest = rest.get(taken..).unwrap_or_default();
                }
                Part::DataCr | Part::DataLf => {
                    let (expected, next) = match self.part {
                        Part::DataCr => (b'\r', Part::DataLf),
                        _ => (b'\n', Part::SizeLine),
                    };
                    if *first != expected {
                        return Err(BrokenChunk);
                    }
                    self.part = next;
                    rest = rest.get(1..).unwrap_or_default();
                }
                Part::SizeLine | Part::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        self.check_room(partial.len() + rest.len(), limits)?;
                        partial.extend_from_slice(rest);
                        return Ok(Progress::NeedsMore);
                    };
                    let (piece, after) = rest.split_at_checked(end + 1).ok_or(BrokenChunk)?;
                    self.check_room(partial.len() + piece.len(), limits)?;
                    let ended = if partial.is_empty() {
                        self.line(piece, limits)?
                    } else {
                        partial.extend_from_slice(piece);
                        let ended = self.line(partial, limits)?;
                        partial.clear();
                        ended
                    };
                    if ended {
                        return Ok(Progress::Ended(after));
                    }
                    rest = after;
                }
            }
        }
        Ok(Progress::NeedsMore)
    }

    /// Bounds what is held of a line whose end has not come.
    fn check_room(&self, line: usize, limits: HeadLimits) -> Result<(), BrokenChunk> {
        let (used, most) = match self.part {
            Part::Trailers => (self.trailer_bytes, limits.bytes),
            _ => (self.extension_bytes, MOST_SIZE_DIGITS + MOST_EXTENSION_BYTES),
        };
        if used + line > most { Err(BrokenChunk) } else { Ok(()) }
    }

    /// Takes a whole line; true when it ended the body.
    fn line(&mut self, line: &[u8], limits: HeadLimits) -> Result<bool, BrokenChunk> {
        let content = head::without_line_end(line).map_err(|_| BrokenChunk)?;
        if matches!(self.part, Part::Trailers) {
            if content.is_empty() {
                return Ok(true);
            }
            self.trailer_bytes += line.len();
            self.trailers += 1;
            if self.trailers > limits.count {
                return Err(BrokenChunk);
            }
            head::split_field(content).map_err(|_| BrokenChunk)?;
            return Ok(false);
        }
        let digits = content.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(content.len());
        let (digits, extension) = content.split_at_checked(digits).ok_or(BrokenChunk)?;
        if digits.is_empty() || digits.len() > MOST_SIZE_DIGITS || !is_extension(extension) {
            return Err(BrokenChunk);
        }
        self.extension_bytes += extension.len();
        let size = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
        self.part = match size.ok_or(BrokenChunk)? {
            0 => Part::Trailers,
            size => Part::Data(size),
        };
        Ok(false)
    }
}

/// Nothing, or what begins with `;` and has no control character.
fn is_extension(bytes: &[u8]) -> bool {
    match bytes.first() {
        None => true,
        Some(b';') => bytes.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f)),
        Some(_) => false,
    }
}
