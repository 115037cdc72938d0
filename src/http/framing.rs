//! Where one request on a connection ends and the next begins, read from the raw bytes before hyper sees them.
//!
//! hyper hides what RFC 9112 calls ambiguous: it removes a Content-Length beside a Transfer-Encoding, folds equal
//! lengths into one, takes a bare LF for a line end and cuts a `#fragment`. A proxy or a backend that reads the same
//! bytes in another way is how requests are smuggled (ASVS 4.2.1), so such a request is refused and its connection
//! closed. This machine accepts a subset of what hyper accepts and ends each accepted head and body on the same byte;
//! `framing/tests.rs` holds that against hyper's own parser.
//!
//! It repairs nothing that is ambiguous. What has one meaning and is written in a way that hyper or a backend would not
//! take (a raw `{` in the target, `Content-Length: 05`) is said to be read in another spelling, line by line: see
//! [`Repairs`]. It must never allocate for a plain head that comes in one read.

mod chunked;
mod head;
mod limits;
mod repair;
#[cfg(test)]
mod tests;

use chunked::ChunkedBody;
use head::{BodyKind, Head};
pub use limits::HeadLimits;
pub use repair::Repairs;

use super::Refusal;
use super::refusal::HeadLimit;

/// Empty lines that may stand before a request line (RFC 9112 section 2.2 asks for at least one: old clients send one
/// after a POST).
const MOST_EMPTY_LINES: u8 = 4;

/// Where a connection stands between two reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing of the next request has come.
    Idle,
    /// A head has begun and not ended.
    Head,
    /// A body has begun (or is due) and not ended.
    Body,
    /// A request was accepted that asks for another protocol. Until its answer is known nothing is taken: what
    /// follows may be no HTTP.
    Held,
    /// A request was refused. What follows it on the connection has no meaning, so it is ignored; the connection is
    /// to be closed after the answer.
    Refused,
}

#[derive(Debug)]
enum State {
    BeforeHead { empty_lines: u8 },
    Head(Head),
    Length(u64),
    Chunked(ChunkedBody),
    Held,
    Refused,
}

/// The state of one client connection. Feed it every byte that was read, in order, before hyper gets it, and give hyper
/// what its [`Repairs`] make of them; then hyper calls the service once for each head, and the service takes one verdict.
///
/// No verdict where one is due means that the two disagree: the caller refuses and closes. After a request that asks for
/// another protocol it takes nothing ([`Phase::Held`]) until [`resume`](Self::resume) says that the connection stayed
/// HTTP; after a switch the bytes are none of its business.
#[derive(Debug)]
pub struct RequestFraming {
    limits: HeadLimits,
    state: State,
    /// The beginning of a line whose end has not come; empty, and never allocated, while lines come whole.
    partial: Vec<u8>,
    /// Accepted heads whose verdict was not taken. A number is enough: a refusal is always the last verdict.
    accepted: usize,
    refusal: Option<Refusal>,
    broken_body: bool,
    repairs: Repairs,
    /// The bytes of the present feed.
    fed: usize,
}

impl RequestFraming {
    /// A connection from which nothing has been read.
    #[must_use]
    pub const fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            state: State::BeforeHead { empty_lines: 0 },
            partial: Vec::new(),
            accepted: 0,
            refusal: None,
            broken_body: false,
            repairs: Repairs::none(),
            fed: 0,
        }
    }

    /// Takes the next bytes of the connection, cut anywhere. What it returns was not taken: see [`Phase::Held`].
    pub fn feed<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        self.fed = bytes.len();
        while !rest.is_empty() {
            rest = match &mut self.state {
                State::BeforeHead { .. } | State::Head(_) => self.feed_head(rest),
                State::Length(left) => {
                    let taken = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::BeforeHead { empty_lines: 0 };
                    }
                    rest.get(taken..).unwrap_or_default()
                }
                State::Chunked(body) => match body.feed(rest, &mut self.partial, self.limits) {
                    Ok(chunked::Progress::NeedsMore) => return &[],
                    Ok(chunked::Progress::Ended(after)) => {
                        self.state = State::BeforeHead { empty_lines: 0 };
                        after
                    }
                    Err(chunked::BrokenChunk) => {
                        self.break_body();
                        return &[];
                    }
                },
                State::Held => return rest,
                State::Refused => return &[],
            };
        }
        &[]
    }

    /// How lines that ended in the last feed are to be read, where that is not as they stand.
    pub fn take_repairs(&mut self) -> Repairs {
        std::mem::take(&mut self.repairs)
    }

    /// How many of the last bytes belong to a head whose end has not come, as they are to be read.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        match &self.state {
            State::BeforeHead { .. } => self.partial.len(),
            State::Head(head) => head.bytes() + self.partial.len(),
            _ => 0,
        }
    }

    /// Goes on after [`Phase::Held`]: the answer was no switch, and what follows is the next request.
    pub fn resume(&mut self) {
        if matches!(self.state, State::Held) {
            self.state = State::BeforeHead { empty_lines: 0 };
        }
    }

    /// The verdict on the next head, first in, first out. `None`: no head has ended (or been refused) that was not
    /// asked for yet.
    pub fn take_verdict(&mut self) -> Option<Result<(), Refusal>> {
        if self.accepted > 0 {
            self.accepted -= 1;
            return Some(Ok(()));
        }
        self.refusal.take().map(Err)
    }

    /// Whether a verdict waits to be taken.
    #[must_use]
    pub const fn has_verdict(&self) -> bool {
        self.accepted > 0 || self.refusal.is_some()
    }

    /// Whether the next verdict is a refusal.
    #[must_use]
    pub const fn refuses_next(&self) -> bool {
        self.accepted == 0 && self.refusal.is_some()
    }

    /// Where the connection stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state {
            State::BeforeHead { .. } if self.partial.is_empty() => Phase::Idle,
            State::BeforeHead { .. } | State::Head(_) => Phase::Head,
            State::Length(_) | State::Chunked(_) => Phase::Body,
            State::Held => Phase::Held,
            State::Refused => Phase::Refused,
        }
    }

    /// Whether the body of a head whose verdict was taken turned out to be malformed. That verdict was `Ok`, so the
    /// reader of the body must be given an early end in place of the bytes that were just fed.
    #[must_use]
    pub const fn broken_body(&self) -> bool {
        self.broken_body
    }

    /// Takes one line of a head (or what there is of it) and returns what follows it.
    fn feed_head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let used = match &self.state {
            State::Head(head) => head.bytes(),
            _ => 0,
        };
        let (piece, after, complete) = match memchr::memchr(b'\n', bytes) {
            Some(at) => {
                bytes.split_at_checked(at + 1).map_or((bytes, &[][..], true), |(line, rest)| (line, rest, true))
            }
            None => (bytes, &[][..], false),
        };
        if used + self.partial.len() + piece.len() > self.limits.bytes {
            self.refuse(Refusal::HeadersTooLarge(HeadLimit::Bytes));
            return &[];
        }
        if !complete {
            self.partial.extend_from_slice(piece);
            return after;
        }
        let end = self.fed - after.len();
        let outcome = if self.partial.is_empty() {
            self.line(piece, end)
        } else {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(piece);
            let outcome = self.line(&line, end);
            line.clear();
            self.partial = line; // its room is kept for the next split line
            outcome
        };
        match outcome {
            Ok(()) => after,
            Err(refusal) => {
                self.refuse(refusal);
                &[]
            }
        }
    }

    /// Judges one whole line, line end included, which ends there in what was fed.
    fn line(&mut self, line: &[u8], end: usize) -> Result<(), Refusal> {
        let content = head::without_line_end(line)?;
        let mut repaired = None;
        match &mut self.state {
            State::BeforeHead { empty_lines } if content.is_empty() => {
                *empty_lines += 1;
                if *empty_lines > MOST_EMPTY_LINES {
                    return Err(Refusal::BadRequest("There are too many empty lines before the request line."));
                }
            }
            State::BeforeHead { .. } => {
                let head;
                (head, repaired) = Head::of_request_line(content, line.len())?;
                self.state = State::Head(head);
            }
            State::Head(head) if content.is_empty() => {
                let next = match head.end() {
                    BodyKind::None if head.may_switch() => State::Held,
                    BodyKind::None => State::BeforeHead { empty_lines: 0 },
                    BodyKind::Length(length) => State::Length(length),
                    BodyKind::Chunked => State::Chunked(ChunkedBody::new()),
                };
                self.state = next;
                self.accepted += 1;
            }
            State::Head(head) => repaired = head.header_line(content, line.len(), self.limits.count)?,
            State::Length(_) | State::Chunked(_) | State::Held | State::Refused => {}
        }
        if let Some(repaired) = repaired {
            // Encoding makes a target longer.
            if self.unfinished() > self.limits.bytes {
                return Err(Refusal::HeadersTooLarge(HeadLimit::Bytes));
            }
            self.repairs.add(end, line.len(), repaired);
        }
        Ok(())
    }

    /// A body whose head nobody has acted on yet is refused with it.
    fn break_body(&mut self) {
        if let Some(others) = self.accepted.checked_sub(1) {
            self.accepted = others;
            self.refuse(Refusal::BadRequest("The chunks of the body are malformed."));
        } else {
            self.broken_body = true;
            self.stop();
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusal = Some(refusal);
        self.stop();
    }

    fn stop(&mut self) {
        self.partial = Vec::new();
        self.state = State::Refused;
    }
}
