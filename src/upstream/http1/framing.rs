//! Where an answer ends, as its head says it (RFC 9112, 6.3), and whether that could be argued about.
//!
//! A connection goes on only after an answer whose end its sender and everybody else must see in the same place. Where
//! one could write a body that the other does not expect, as after a HEAD, the rest of the one answer would be the next
//! request's.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};

use super::body::BodyReader;
use super::reading::Malformed;

/// An answer's head.
#[derive(Debug)]
pub struct AnswerHead {
    /// Status, headers and, where it is not the usual one, the reason phrase. At most one header states the body's
    /// length: the one by which it is read, so that nobody further on reads it differently.
    pub response: Response<()>,
    /// How the body is read.
    pub body: BodyReader,
    /// Whether the connection may carry another request after this answer.
    pub persistent: bool,
}

/// What an answer's head says of its body's length and of its connection.
#[derive(Debug, Default)]
pub(super) struct Framing {
    is_http_1_1: bool,
    /// Nothing in or before the head is written otherwise than the grammar has it.
    pub(super) is_plain: bool,
    /// The lines with a `Transfer-Encoding`.
    codings: usize,
    /// The last of them is just `chunked`.
    is_chunked: bool,
    /// The lines with a `Content-Length`.
    lengths: usize,
    /// What all of them say; `None` when one is no length or they differ.
    length: Option<u64>,
    /// The last of them has zeros before its digits.
    is_padded: bool,
    says_close: bool,
}

impl Framing {
    /// That of a head without header lines.
    pub(super) fn of(is_http_1_1: bool) -> Self {
        Self { is_http_1_1, is_plain: true, ..Self::default() }
    }

    /// Takes note of a header line.
    pub(super) fn note(&mut self, name: &HeaderName, value: &[u8]) {
        if *name == CONTENT_LENGTH {
            let length = parse_length(value);
            self.length = length.filter(|_| self.lengths == 0 || self.length == length);
            self.is_padded = value.len() > 1 && value.starts_with(b"0");
            self.lengths += 1;
        } else if *name == TRANSFER_ENCODING {
            self.is_chunked = value.eq_ignore_ascii_case(b"chunked");
            self.codings += 1;
        } else if *name == CONNECTION {
            let mut options = value.split(|byte| *byte == b',');
            self.says_close |= options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
    }

    /// Decides where the answer ends, and whether its connection can go on after it. What the headers say of the length
    /// is left in them once, and only if it is what counts.
    pub(super) fn settle(self, mut response: Response<()>, method: &Method) -> Result<AnswerHead, Malformed> {
        let (status, headers) = (response.status(), response.headers_mut());
        let body = if self.codings > 0 {
            if self.codings > 1 || !self.is_chunked {
                return Err(Malformed::new("its transfer coding is not just chunked"));
            }
            if !self.is_http_1_1 {
                return Err(Malformed::new("HTTP/1.0 has no transfer codings"));
            }
            headers.remove(CONTENT_LENGTH);
            BodyReader::chunked()
        } else if self.lengths > 0 {
            let length = self.length.ok_or(Malformed::new("its length is ambiguous"))?;
            if self.lengths > 1 || self.is_padded {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            BodyReader::of_length(length)
        } else {
            BodyReader::until_close()
        };
        let persistent = self.has_certain_end(status, method) && self.is_http_1_1 && !self.says_close;
        let body = if has_no_body(status, method) { BodyReader::of_length(0) } else { body };
        Ok(AnswerHead { response, body, persistent })
    }

    /// Whether the end of the answer is where its head says, for everybody: it has a body, even if of no bytes, and its
    /// end is stated once, one way and plainly. Who states it twice may have been fooled into it (RFC 9112, 6.1).
    fn has_certain_end(&self, status: StatusCode, method: &Method) -> bool {
        let is_stated_once = self.codings + self.lengths == 1;
        // One 205 has no body and another one has (RFC 9110, 15.3.6).
        let may_have_a_body = !has_no_body(status, method) && status != StatusCode::RESET_CONTENT;
        is_stated_once && may_have_a_body && !self.is_padded && self.is_plain
    }
}

fn has_no_body(status: StatusCode, method: &Method) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// Digits and nothing else (RFC 9110, 8.6).
fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = Some(value).filter(|value| !value.is_empty())?;
    digits.iter().try_fold(0_u64, |length, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })
}
