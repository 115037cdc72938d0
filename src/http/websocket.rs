//! Where one WebSocket frame ends and the next begins (RFC 6455 section 5.2), and no more: a tunnel carries frames, it
//! does not read them. What it must know is when a close frame may be put between two of them, and when a client used
//! its session.
//!
//! Extensions change payloads and reserved bits, never the boundaries, so whatever the two ends agreed on may pass.
//! It must never hold a payload, and never judge one: that is the ends' business.

/// The most bytes before a frame's payload: two, eight of length, four of mask.
const LONGEST_HEAD: usize = 14;
/// The most bytes of a reason in a close frame: a control frame's payload is at most 125, the code is two of them.
const LONGEST_REASON: usize = 123;

/// What a frame is for, as far as a tunnel cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Text, binary, or the continuation of either.
    Data,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
    /// The last frame of its sender.
    Close,
    /// An opcode that nobody has given a meaning.
    Reserved,
}

impl FrameKind {
    const fn of_first_byte(byte: u8) -> Self {
        match byte & 0x0f {
            0x0..=0x2 => Self::Data,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => Self::Reserved,
        }
    }

    /// Whether a client that sends it does something: pongs are sent by the browser itself, and a close is the end.
    #[must_use]
    pub const fn is_use(self) -> bool {
        matches!(self, Self::Data | Self::Ping)
    }
}

/// What [`FrameTracker::take`] took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// How many bytes: up to the end of the present frame, or all there were.
    pub bytes: usize,
    /// The kind of the frame whose head these bytes completed.
    pub began: Option<FrameKind>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The first `have` bytes of a head.
    Head { head: [u8; LONGEST_HEAD], have: usize },
    /// The rest of a payload.
    Payload { left: u64 },
    /// A length that no frame can have. Nothing can be said of what follows.
    Lost,
}

/// One direction of a WebSocket. Give it every byte, in order, cut anywhere.
#[derive(Clone, Copy, Debug)]
pub struct FrameTracker(State);

const START: State = State::Head { head: [0; LONGEST_HEAD], have: 0 };

impl Default for FrameTracker {
    fn default() -> Self {
        Self(START)
    }
}

impl FrameTracker {
    /// Takes bytes up to the end of the present frame.
    pub fn take(&mut self, bytes: &[u8]) -> Taken {
        let mut began = None;
        let mut taken = 0;
        while let Some(&byte) = bytes.get(taken) {
            match &mut self.0 {
                State::Head { head, have } => {
                    if let Some(place) = head.get_mut(*have) {
                        *place = byte;
                    }
                    *have += 1;
                    taken += 1;
                    if *have < head_length(head, *have) {
                        continue;
                    }
                    began = Some(FrameKind::of_first_byte(head[0]));
                    self.0 = match payload_length(head) {
                        Some(0) => START,
                        Some(left) => State::Payload { left },
                        None => State::Lost,
                    };
                    if self.is_between_frames() {
                        break;
                    }
                }
                State::Payload { left } => {
                    let here = bytes.len() - taken;
                    let part = usize::try_from(*left).map_or(here, |left| left.min(here));
                    *left -= part as u64;
                    taken += part;
                    if *left == 0 {
                        self.0 = START;
                        break;
                    }
                }
                State::Lost => taken = bytes.len(),
            }
        }
        Taken { bytes: taken, began }
    }

    /// Takes all of the bytes, and tells of each frame whose head they complete.
    pub fn take_all(&mut self, bytes: &[u8], mut began: impl FnMut(FrameKind)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = self.take(rest);
            rest = rest.get(taken.bytes..).unwrap_or_default();
            if let Some(kind) = taken.began {
                began(kind);
            }
        }
    }

    /// Whether a frame of our own may come next.
    #[must_use]
    pub const fn is_between_frames(&self) -> bool {
        matches!(self.0, State::Head { have: 0, .. })
    }

    /// Whether the bytes stopped making sense, so that there will never be a place between frames again.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        matches!(self.0, State::Lost)
    }
}

/// How long the head is, by its second byte; before that has come, longer than what is there.
fn head_length(head: &[u8; LONGEST_HEAD], have: usize) -> usize {
    if have < 2 {
        return 2;
    }
    let length = match head[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if head[1] & 0x80 == 0 { 0 } else { 4 };
    2 + length + mask
}

/// The length that a whole head names; `None` for one whose highest bit is set.
fn payload_length(head: &[u8; LONGEST_HEAD]) -> Option<u64> {
    match head[1] & 0x7f {
        126 => Some(u64::from(u16::from_be_bytes([head[2], head[3]]))),
        127 => {
            let length = u64::from_be_bytes([head[2], head[3], head[4], head[5], head[6], head[7], head[8], head[9]]);
            (length <= i64::MAX as u64).then_some(length)
        }
        short => Some(u64::from(short)),
    }
}

/// A server's close frame with this code and reason; a longer reason is cut.
#[must_use]
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let reason = reason.get(..reason.floor_char_boundary(LONGEST_REASON)).unwrap_or_default();
    let length = u8::try_from(2 + reason.len()).unwrap_or(2);
    let mut frame = vec![0x88, length];
    frame.extend_from_slice(&code.to_be_bytes());
    frame.extend_from_slice(reason.as_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of `length` bytes of payload, with its length written in `size` bytes.
    fn frame(first: u8, masked: bool, size: usize, length: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![first];
        match size {
            2 => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(length).expect("a short length").to_be_bytes());
            }
            8 => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
            _ => frame.push(mask | u8::try_from(length).expect("a short length")),
        }
        if masked {
            frame.extend([1, 2, 3, 4]);
        }
        // Payload bytes that would be heads if they were read as such.
        frame.extend(std::iter::repeat_n(0x89, length));
        frame
    }

    fn uses(tracker: &mut FrameTracker, bytes: &[u8]) -> usize {
        let mut uses = 0;
        tracker.take_all(bytes, |kind| uses += usize::from(kind.is_use()));
        uses
    }

    #[test]
    fn every_frame_ends_where_its_length_says_however_it_is_cut() {
        let mut frames = Vec::new();
        for masked in [false, true] {
            for (size, length) in [(0, 0), (0, 1), (0, 125), (2, 0), (2, 126), (2, 65_535), (8, 0), (8, 3), (8, 65_536)]
            {
                frames.push(frame(0x82, masked, size, length));
            }
        }
        let stream = frames.concat();
        for cut in [1, 2, 3, 7, 1000, stream.len()] {
            let mut tracker = FrameTracker::default();
            let (mut at, mut ends, mut began) = (0, Vec::new(), 0);
            for piece in stream.chunks(cut) {
                let mut rest = piece;
                while !rest.is_empty() {
                    let taken = tracker.take(rest);
                    at += taken.bytes;
                    rest = &rest[taken.bytes..];
                    began += usize::from(taken.began.is_some());
                    if tracker.is_between_frames() {
                        ends.push(at);
                    }
                }
            }
            let expected: Vec<usize> = frames
                .iter()
                .scan(0, |end, frame| {
                    *end += frame.len();
                    Some(*end)
                })
                .collect();
            assert_eq!(ends, expected, "in pieces of {cut}");
            assert_eq!(began, frames.len(), "in pieces of {cut}");
        }
    }

    #[test]
    fn data_and_pings_are_uses_and_nothing_else_is() {
        for (first, kind, is_use) in [
            (0x81, FrameKind::Data, true),
            (0x82, FrameKind::Data, true),
            (0xc1, FrameKind::Data, true),
            (0x00, FrameKind::Data, true),
            (0x80, FrameKind::Data, true),
            (0x89, FrameKind::Ping, true),
            (0x8a, FrameKind::Pong, false),
            (0x88, FrameKind::Close, false),
            (0x83, FrameKind::Reserved, false),
            (0x8b, FrameKind::Reserved, false),
        ] {
            let bytes = frame(first, true, 0, 3);
            assert_eq!(FrameTracker::default().take(&bytes), Taken { bytes: bytes.len(), began: Some(kind) });
            assert_eq!(uses(&mut FrameTracker::default(), &bytes), usize::from(is_use), "{first:#x}");
        }
    }

    #[test]
    fn a_payload_is_never_read_as_frames() {
        let mut tracker = FrameTracker::default();
        assert_eq!(uses(&mut tracker, &frame(0x81, true, 0, 100)[..50]), 1);
        assert_eq!(uses(&mut tracker, &frame(0x81, true, 0, 100)[50..]), 0, "the rest of a frame is no new use");
        assert!(tracker.is_between_frames());
    }

    #[test]
    fn an_impossible_length_is_never_followed_by_a_place_between_frames() {
        let mut tracker = FrameTracker::default();
        assert_eq!(uses(&mut tracker, &[0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0x81, 0]), 1);
        assert!(tracker.is_lost() && !tracker.is_between_frames());
        assert_eq!(uses(&mut tracker, &frame(0x81, false, 0, 1)), 0);
    }

    #[test]
    fn a_close_frame_has_a_code_and_a_reason_that_fits() {
        assert_eq!(close_frame(4401, "over"), b"\x88\x06\x11\x31over");
        let long = close_frame(4401, &"ü".repeat(100));
        assert_eq!(long[1], 2 + 122, "cut before the character that does not fit");
        assert_eq!(FrameTracker::default().take(&long), Taken { bytes: long.len(), began: Some(FrameKind::Close) });
    }
}
