//! One line of a request head after the other, as RFC 9112 sections 3 to 6 allow it and no wider.

use super::super::Refusal;
use super::super::escape::{escaped, is_plain};
use super::super::refusal::HeadLimit;

/// The longest body that a Content-Length may announce: what a signed 64-bit number holds, because backends use one.
const LONGEST_BODY: u64 = i64::MAX as u64;

/// How the body after a head is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyKind {
    None,
    Length(u64),
    Chunked,
}

/// What has been learnt from the lines of one head so far.
#[derive(Debug)]
pub(super) struct Head {
    bytes: usize,
    headers: usize,
    is_http_11: bool,
    content_length: Option<u64>,
    chunked: bool,
    asks_to_switch: bool,
}

impl Head {
    /// Reads `method SP target SP HTTP/1.x`; with how the line is to be read, where that is not as it stands.
    pub(super) fn of_request_line(line: &[u8], length: usize) -> Result<(Self, Option<Vec<u8>>), Refusal> {
        let malformed = Refusal::BadRequest("The request line is not `method target HTTP/1.1` with single spaces.");
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed);
        };
        if !is_token(method) || target.is_empty() || version.contains(&b' ') {
            return Err(malformed);
        }
        let target = if target.iter().all(|byte| is_plain(*byte)) { None } else { escaped(target)? };
        let is_http_11 = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            _ => return Err(Refusal::BadRequest("The protocol version is not HTTP/1.1 or HTTP/1.0.")),
        };
        let repaired = target.map(|target| [method, b" ", &target, b" ", version, b"\r\n"].concat());
        let bytes = repaired.as_ref().map_or(length, Vec::len);
        let head = Self { bytes, headers: 0, is_http_11, content_length: None, chunked: false, asks_to_switch: false };
        Ok((head, repaired))
    }

    /// Reads one header line; `length` counts its line end too. What comes back is how it is to be read, where that is
    /// not as it stands: nothing, or a plain length.
    pub(super) fn header_line(&mut self, line: &[u8], length: usize, most: usize) -> Result<Option<Vec<u8>>, Refusal> {
        self.bytes += length;
        self.headers += 1;
        if self.headers > most {
            return Err(Refusal::HeadersTooLarge(HeadLimit::Lines));
        }
        let mut repaired = None;
        let (name, value) = split_field(line)?;
        // Lengths first: for nearly every header this is the whole comparison.
        if name.len() == b"content-length".len() && name.eq_ignore_ascii_case(b"content-length") {
            repaired = self.length_line(trim(value))?;
        } else if name.len() == b"transfer-encoding".len() && name.eq_ignore_ascii_case(b"transfer-encoding") {
            if !self.is_http_11 {
                return Err(Refusal::BadRequest("Transfer-Encoding is not part of HTTP/1.0."));
            }
            if self.chunked || !trim(value).eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal::BadRequest("The only Transfer-Encoding understood is one single `chunked`."));
            }
            self.chunked = true;
        } else if name.len() == b"upgrade".len() && name.eq_ignore_ascii_case(b"upgrade") {
            // Clients that could speak HTTP/2 offer it with ordinary requests; nobody here takes that up.
            self.asks_to_switch |= self.is_http_11 && !trim(value).eq_ignore_ascii_case(b"h2c");
        }
        if self.chunked && self.content_length.is_some() {
            return Err(Refusal::BadRequest("There is a Content-Length beside a Transfer-Encoding."));
        }
        if let Some(repaired) = &repaired {
            self.bytes = self.bytes - length + repaired.len();
        }
        Ok(repaired)
    }

    /// One length, however often it is said (RFC 9110 section 8.6): the first line stands for all of them.
    fn length_line(&mut self, value: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
        let length = content_length(value)?;
        match self.content_length.replace(length) {
            Some(before) if before == length => Ok(Some(Vec::new())),
            Some(_) => Err(Refusal::BadRequest("There are two Content-Lengths, and they differ.")),
            None => {
                let plain = length.to_string();
                Ok((plain.as_bytes() != value).then(|| format!("Content-Length: {plain}\r\n").into_bytes()))
            }
        }
    }

    /// What follows the empty line.
    pub(super) const fn end(&self) -> BodyKind {
        match self.content_length {
            _ if self.chunked => BodyKind::Chunked,
            None | Some(0) => BodyKind::None,
            Some(length) => BodyKind::Length(length),
        }
    }

    /// Whether what follows may be another protocol. A request with a body is never answered by a switch.
    pub(super) const fn may_switch(&self) -> bool {
        self.asks_to_switch && matches!(self.end(), BodyKind::None)
    }

    /// Bytes of this head so far.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Takes the CRLF off. A bare LF is refused; a bare CR is left in and refused by whoever reads the line.
pub(super) fn without_line_end(line: &[u8]) -> Result<&[u8], Refusal> {
    line.strip_suffix(b"\r\n").ok_or(Refusal::BadRequest("A line ends in a bare LF in place of CRLF."))
}

/// Splits `name: value`; the white space around the value stays. Used for trailers as well.
pub(super) fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(Refusal::BadRequest("A header line begins with white space (folded lines are not accepted)."));
    }
    let end = line.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(line.len());
    let (name, rest) = line.split_at_checked(end).unwrap_or((line, &[]));
    let Some(value) = rest.strip_prefix(b":").filter(|_| !name.is_empty()) else {
        return Err(Refusal::BadRequest(
            "A header line does not begin with a valid name that is directly followed by a colon.",
        ));
    };
    if has_control(value) {
        return Err(Refusal::BadRequest("A header value has a control character."));
    }
    Ok((name, value))
}

/// Whether there is a control character other than the tab. Looks at all bytes of a block before it decides, so that
/// the compiler can compare many at once.
fn has_control(value: &[u8]) -> bool {
    let in_block = |block: &[u8]| {
        block
            .iter()
            .fold(0, |seen, &byte| seen | (u8::from(byte < b' ') & u8::from(byte != b'\t')) | u8::from(byte == 0x7f))
            != 0
    };
    let (blocks, rest) = value.as_chunks::<16>();
    blocks.iter().any(|block| in_block(block)) || in_block(rest)
}

fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// Digits alone, or a list of one and the same number: no sign, no overflow. Zeros before it and repetitions are legal
/// and read in other ways by some, so the number is written anew.
fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    let mut numbers = value.split(|byte| *byte == b',').map(|number| decimal(trim(number)));
    let first = numbers.next().flatten();
    if !numbers.all(|number| number == first) {
        return Err(Refusal::BadRequest("The Content-Length is a list of lengths that differ."));
    }
    first.ok_or(Refusal::BadRequest("The Content-Length is not a decimal number."))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let number = digits.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    });
    number.filter(|number| !digits.is_empty() && *number <= LONGEST_BODY)
}

/// RFC 9110 section 5.6.2.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| is_token_byte(*byte))
}

fn is_token_byte(byte: u8) -> bool {
    is_in(&TOKEN, byte)
}

fn is_in(table: &[bool; 256], byte: u8) -> bool {
    table.get(usize::from(byte)).copied().unwrap_or(false)
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    table
};
