//! What of a request waits to be written: the head and small pieces in one buffer, a large piece as it came.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::Request;
use tokio::io::AsyncWrite;

use super::http1::{BodyFraming, OwnLines, Persistence, write_head};

/// Pieces up to this size are copied behind what waits, so that head and body go out in one write.
const COPIED: usize = 4 * 1024;
/// The buffer takes no more once it holds this much.
const FULL: usize = 16 * 1024;
/// More room than this is not kept for the next request.
const KEPT: usize = 8 * 1024;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    buffer: Vec<u8>,
    /// So much of the buffer is written.
    written: usize,
    /// Comes after the buffer.
    piece: Bytes,
    /// Comes after the piece.
    tail: &'static [u8],
}

impl Outbox {
    /// Puts a request's head in.
    pub(super) fn put_head<B>(
        &mut self,
        request: &Request<B>,
        own: &OwnLines,
        framing: BodyFraming,
        persistence: Persistence,
    ) {
        write_head(&mut self.buffer, request, own, framing, persistence);
    }

    /// Puts a piece of the body in. Only for who was told that there is room.
    pub(super) fn put_piece(&mut self, piece: Bytes) {
        if piece.len() <= COPIED {
            self.buffer.extend_from_slice(&piece);
        } else {
            self.piece = piece;
        }
    }

    /// Puts a piece of the body in as a chunk; `last` puts the end of the body after it.
    pub(super) fn put_chunk(&mut self, piece: Bytes, last: bool) {
        // A vector takes everything.
        let _ = write!(self.buffer, "{:x}\r\n", piece.len());
        self.put_piece(piece);
        self.put_tail(if last { b"\r\n0\r\n\r\n" } else { b"\r\n" });
    }

    /// Puts the end of a body in chunks in.
    pub(super) fn put_last_chunk(&mut self) {
        self.put_tail(b"0\r\n\r\n");
    }

    fn put_tail(&mut self, tail: &'static [u8]) {
        if self.piece.is_empty() {
            self.buffer.extend_from_slice(tail);
        } else {
            self.tail = tail;
        }
    }

    pub(super) fn has_room(&self) -> bool {
        // What is put in goes out before the tail: there must be none.
        self.piece.is_empty() && self.tail.is_empty() && self.buffer.len() < FULL
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Throws away what waits.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEPT);
        self.written = 0;
        self.piece = Bytes::new();
        self.tail = b"";
    }

    /// Writes once; answers how much went out.
    pub(super) fn poll_write<S>(&mut self, socket: &mut S, context: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        S: AsyncWrite + Unpin,
    {
        let buffer = self.buffer.get(self.written..).unwrap_or_default();
        let socket = Pin::new(socket);
        let count = if self.piece.is_empty() && self.tail.is_empty() {
            ready!(socket.poll_write(context, buffer))?
        } else {
            let slices = [IoSlice::new(buffer), IoSlice::new(&self.piece), IoSlice::new(self.tail)];
            let first = slices.iter().position(|slice| !slice.is_empty()).unwrap_or_default();
            ready!(socket.poll_write_vectored(context, slices.get(first..).unwrap_or_default()))?
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(count);
        Poll::Ready(Ok(count))
    }

    fn advance(&mut self, count: usize) {
        let of_buffer = count.min(self.buffer.len() - self.written);
        self.written += of_buffer;
        let of_piece = (count - of_buffer).min(self.piece.len());
        self.piece.advance(of_piece);
        self.tail = self.tail.get(count - of_buffer - of_piece..).unwrap_or_default();
        if self.written == self.buffer.len() && self.piece.is_empty() && self.tail.is_empty() {
            self.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes at a time.
    struct Narrow(usize, Vec<u8>);

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.0);
            self.1.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn written(outbox: &mut Outbox, width: usize) -> Vec<u8> {
        let mut socket = Narrow(width, Vec::new());
        while !outbox.is_empty() {
            let polled = outbox.poll_write(&mut socket, &mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Ready(Ok(1..))));
        }
        socket.1
    }

    #[test]
    fn what_was_put_in_comes_out_in_order_however_little_is_taken_at_a_time() {
        let large = Bytes::from(vec![b'x'; COPIED + 1]);
        let request = Request::post("/").body(()).unwrap();
        for width in [1, 7, 1000, usize::MAX] {
            let mut outbox = Outbox::default();
            outbox.put_head(&request, &OwnLines::default(), BodyFraming::Chunked, Persistence::Persistent);
            outbox.put_chunk(Bytes::from_static(b"abc"), false);
            assert!(outbox.has_room());
            outbox.put_chunk(large.clone(), true);
            assert!(!outbox.has_room(), "until the large piece is out");
            let expected = [
                b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1001\r\n".as_slice(),
                &large,
                b"\r\n0\r\n\r\n",
            ]
            .concat();
            assert_eq!(written(&mut outbox, width), expected, "{width} at a time");
            assert!(outbox.has_room());
            outbox.put_piece(large.clone());
            assert_eq!(written(&mut outbox, width), large, "{width} at a time");
        }
    }

    #[test]
    fn a_socket_that_takes_nothing_is_an_error() {
        let mut outbox = Outbox::default();
        outbox.put_piece(Bytes::from_static(b"abc"));
        let polled = outbox.poll_write(&mut Narrow(0, Vec::new()), &mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Err(_))));
    }

    #[test]
    fn the_end_of_a_chunk_goes_out_before_the_next_chunk() {
        let large = Bytes::from(vec![b'x'; COPIED + 1]);
        let chunk = [b"1001\r\n".as_slice(), &large].concat();
        let mut outbox = Outbox::default();
        outbox.put_chunk(large, false);
        // The socket takes all but the end of the chunk.
        let mut socket = Narrow(chunk.len(), Vec::new());
        while socket.1.len() < chunk.len() {
            socket.0 = chunk.len() - socket.1.len();
            assert!(outbox.poll_write(&mut socket, &mut Context::from_waker(Waker::noop())).is_ready());
        }
        assert!(!outbox.is_empty());
        // As a connection does it: more is put in where there is room.
        if outbox.has_room() {
            outbox.put_chunk(Bytes::from_static(b"abc"), true);
        }
        let mut sent = [socket.1, written(&mut outbox, usize::MAX)].concat();
        if !sent.ends_with(b"\r\n0\r\n\r\n") {
            outbox.put_chunk(Bytes::from_static(b"abc"), true);
            sent.extend_from_slice(&written(&mut outbox, usize::MAX));
        }
        assert!(sent.starts_with(&chunk));
        assert_eq!(std::str::from_utf8(&sent[chunk.len()..]).unwrap(), "\r\n3\r\nabc\r\n0\r\n\r\n");
    }
}
