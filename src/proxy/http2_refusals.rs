//! Requests over HTTP/2 that the library refuses by itself: a header list that is far too large, a malformed head, a
//! stream beyond the bound. They never reach the pipeline, and the library tells nobody but the client. So the frames
//! that go to the client are looked at: one that begins or resets a stream which was never handed out is a refusal.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::failure::Unread;

/// Streams that are over and of which frames may still be on their way: more than a client can have under way at once.
const MOST_RECENT: usize = 256;

const FRAME_HEAD: usize = 9;
const RESET_CODE: usize = 4;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PROTOCOL_ERROR: u32 = 1;
const REFUSED_STREAM: u32 = 7;

/// The streams of a connection that the library handed out.
#[derive(Clone, Default)]
pub(super) struct HandedOut(Arc<Mutex<Streams>>);

#[derive(Default)]
struct Streams {
    under_way: HashSet<u32>,
    recent: VecDeque<u32>,
}

impl HandedOut {
    /// A stream was handed out, and is under way until the answer is dropped.
    pub(super) fn begin(&self, stream: u32) -> UnderWay {
        self.0.lock().under_way.insert(stream);
        UnderWay { streams: self.clone(), stream }
    }
}

impl Streams {
    fn knows(&self, stream: u32) -> bool {
        self.under_way.contains(&stream) || self.recent.contains(&stream)
    }

    fn note_recent(&mut self, stream: u32) {
        if self.recent.len() >= MOST_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(stream);
    }
}

/// A stream that is under way.
pub(super) struct UnderWay {
    streams: HandedOut,
    stream: u32,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut streams = self.streams.0.lock();
        streams.under_way.remove(&self.stream);
        streams.note_recent(self.stream);
    }
}

/// Follows the frames that are written.
#[derive(Default)]
struct Frames {
    /// The head of the present frame and, of a reset, its code.
    head: Vec<u8>,
    /// Bytes of its payload that are still to come.
    left: usize,
}

impl Frames {
    /// Takes bytes that were written, and tells of each frame that begins or resets a stream: kind, stream, code.
    fn take(&mut self, mut bytes: &[u8], mut found: impl FnMut(u8, u32, u32)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let wanted = if self.head.get(3) == Some(&RST_STREAM) { FRAME_HEAD + RESET_CODE } else { FRAME_HEAD };
            let taken = bytes.len().min(wanted - self.head.len());
            let (now, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
            self.head.extend_from_slice(now);
            bytes = rest;
            let Some(([a, b, c, kind, _, stream @ ..], code)) = self.head.split_first_chunk::<FRAME_HEAD>() else {
                continue;
            };
            let code = match (*kind, code.first_chunk::<RESET_CODE>()) {
                (RST_STREAM, None) => continue,
                (_, code) => code.map_or(0, |code| u32::from_be_bytes(*code)),
            };
            if matches!(*kind, HEADERS | RST_STREAM) {
                found(*kind, u32::from_be_bytes(*stream), code);
            }
            let payload = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            self.left = payload.saturating_sub(self.head.len() - FRAME_HEAD);
            self.head.clear();
        }
    }
}

/// A client's byte stream whose written frames are looked at.
pub(super) struct RefusalWatch<S, F> {
    stream: S,
    handed_out: HandedOut,
    frames: Frames,
    told: F,
}

impl<S, F: FnMut(Unread)> RefusalWatch<S, F> {
    /// `told` hears of each refusal.
    pub(super) fn new(stream: S, handed_out: HandedOut, told: F) -> Self {
        Self { stream, handed_out, frames: Frames::default(), told }
    }

    fn written(&mut self, bytes: &[u8]) {
        let Self { handed_out, frames, told, .. } = self;
        frames.take(bytes, |kind, stream, code| {
            let mut streams = handed_out.0.lock();
            if streams.knows(stream) {
                return;
            }
            let refused = match (kind, code) {
                // The library answers by itself to one thing alone.
                (HEADERS, _) => Unread::HeadersTooLarge,
                (_, PROTOCOL_ERROR) => Unread::Malformed,
                (_, REFUSED_STREAM) => Unread::TooManyStreams,
                _ => return,
            };
            streams.note_recent(stream);
            drop(streams);
            told(refused);
        });
    }
}

impl<S: AsyncRead + Unpin, F: Unpin> AsyncRead for RefusalWatch<S, F> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin, F: FnMut(Unread) + Unpin> AsyncWrite for RefusalWatch<S, F> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = polled {
            self.written(bytes.get(..count).unwrap_or_default());
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(mut count)) = polled {
            for slice in slices {
                let written = count.min(slice.len());
                self.written(slice.get(..written).unwrap_or_default());
                count -= written;
            }
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, 0], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn what_was_never_handed_out_and_is_answered_or_reset_was_refused_once_at_every_split() {
        let bytes = [
            frame(4, 0, &[0; 12]),
            frame(HEADERS, 1, b"answer"),
            frame(0, 1, &[3; 300]),
            frame(HEADERS, 3, b"431"),
            frame(RST_STREAM, 3, &PROTOCOL_ERROR.to_be_bytes()),
            frame(RST_STREAM, 5, &PROTOCOL_ERROR.to_be_bytes()),
            frame(RST_STREAM, 1, &PROTOCOL_ERROR.to_be_bytes()),
            frame(RST_STREAM, 7, &REFUSED_STREAM.to_be_bytes()),
            frame(RST_STREAM, 9, &8_u32.to_be_bytes()),
            frame(HEADERS, 11, b""),
            frame(7, 0, &[0; 8]),
        ]
        .concat();
        for size in [1, 2, 3, 7, 9, 13, 1000] {
            let handed_out = HandedOut::default();
            let _under_way = handed_out.begin(1);
            drop(handed_out.begin(11));
            let mut told = Vec::new();
            let mut watch = RefusalWatch::new((), handed_out, |refused| told.push(refused));
            bytes.chunks(size).for_each(|piece| watch.written(piece));
            assert_eq!(told, [Unread::HeadersTooLarge, Unread::Malformed, Unread::TooManyStreams], "{size}");
        }
    }

    #[test]
    fn what_is_over_is_forgotten_in_the_end() {
        let handed_out = HandedOut::default();
        for stream in 0..10_000 {
            drop(handed_out.begin(stream));
        }
        let streams = handed_out.0.lock();
        assert_eq!((streams.under_way.len(), streams.recent.len()), (0, MOST_RECENT));
    }
}
