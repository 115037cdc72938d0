//! A connection to a peer, and one exchange after the other on it.
//!
//! The task that waits for an answer moves the bytes itself: a task of the connection's own would have to be woken for
//! every request and would wake the waiting one for every answer. Only what must go on while nobody waits, the rest of
//! an upload whose answer has begun, gets a task (`apart`). An idle connection is moved by nobody: what the peer did to
//! it meanwhile is seen when it is taken.
//!
//! The few facts that decide what went wrong and what may be done about it are kept here: has a byte of the request
//! gone out, has a byte of the answer come, is the request wholly written, when did it last move, who is being waited for.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body::{Body as _, SizeHint};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::task::coop::unconstrained;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use super::alarm::Alarm;
use super::body::RequestBody;
use super::error::{AnswerCut, BodyError, BodyFault, UpstreamError};
use super::http1::{AnswerHead, BodyFraming, BodyReader, HeadReader, OwnLines, Persistence, Step};
use super::outbox::Outbox;
use super::socket::Socket;
use crate::prefixed::Prefixed;

/// The room for one read: what most answers need, and what large ones grow to.
const SMALL_READ: usize = 8 * 1024;
const LARGE_READ: usize = 64 * 1024;
/// So often a request is written until its answer is looked for.
const MOST_WRITES: usize = 16;

/// How servers begin what some of them write before they close a connection that was idle for too long (RFC 9110, 15.5.9).
const TIMED_OUT: [u8; 12] = *b"HTTP/1.1 408";

/// A connection to a peer. Dropping it closes it, whatever it was doing.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    /// Where it leads; `None` for a Unix socket.
    pub(super) remote: Option<SocketAddr>,
    /// For the waits of its requests.
    pub(super) alarm: Alarm,
    /// What was read and belongs to nobody yet.
    inbox: BytesMut,
    read_size: usize,
    outbox: Outbox,
    upload: Upload,
    head: HeadReader,
    answer: Option<BodyReader>,
    /// Whether the answer leaves it to carry another request.
    persistent: bool,
    /// When the request last moved.
    moved: Instant,
    /// It has carried a request before.
    pub(super) is_used: bool,
    /// It has not been polled since it began.
    is_new: bool,
    /// At least one byte of the request was written.
    begun: bool,
    /// Something of the request's body was taken, so that it cannot be sent from its beginning again.
    touched: bool,
    /// Nothing that was written waits in the socket's own buffer.
    flushed: bool,
    /// At least one byte of an answer has been read.
    answered: bool,
    /// That was before the whole request was written.
    is_early: bool,
}

/// What has become of an idle connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// Nothing, by all that the kernel knows: it can take a request.
    Quiet,
    /// It ended, or is about to.
    Ended,
    /// Something was written that belongs to no answer.
    Spoke,
}

/// How far a request's body has come.
#[derive(Debug)]
enum Upload {
    /// It goes on: with so many bytes to come, or in chunks.
    Going { left: Option<u64>, awaited: bool },
    /// All of it was handed over, and may still wait in the outbox.
    Whole,
    /// It failed when an answer had begun: no more of it is sent, the answer goes on.
    Abandoned { fault: Option<BodyError>, told: bool },
    /// The socket takes no more.
    Refused,
}

/// Why there is no head of an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Not a byte of the request was written, and its body is untouched.
    #[error("the connection was closed before it took the request")]
    Unsent,
    /// The connection ended before a byte of an answer.
    #[error(transparent)]
    Unanswered(UpstreamError),
    /// There is nothing to be done.
    #[error(transparent)]
    Final(UpstreamError),
}

impl Connection {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            remote: socket.remote(),
            socket,
            alarm: Alarm::default(),
            inbox: BytesMut::new(),
            read_size: SMALL_READ,
            outbox: Outbox::default(),
            upload: Upload::Whole,
            head: HeadReader::default(),
            answer: None,
            persistent: false,
            moved: Instant::now(),
            is_used: false,
            is_new: false,
            begun: false,
            touched: false,
            flushed: true,
            answered: false,
            is_early: false,
        }
    }

    /// Takes a request, whose head is written with the first poll for its answer. `framing` says how its body goes out.
    pub(super) fn begin(
        &mut self,
        request: &Request<RequestBody>,
        own: &OwnLines,
        framing: BodyFraming,
        persistence: Persistence,
    ) {
        self.outbox.clear();
        self.outbox.put_head(request, own, framing, persistence);
        self.upload = match framing {
            BodyFraming::None | BodyFraming::Length(0) => Upload::Whole,
            BodyFraming::Length(length) => Upload::Going { left: Some(length), awaited: false },
            BodyFraming::Chunked => Upload::Going { left: None, awaited: false },
        };
        self.read_size = SMALL_READ;
        self.head = HeadReader::default();
        self.answer = None;
        self.persistent = false;
        self.moved = Instant::now();
        self.is_new = true;
        self.begun = false;
        self.touched = false;
        self.answered = false;
        self.is_early = false;
    }

    /// When the request last moved. While the body's next piece is awaited that is now: the wait is then not the
    /// backend's, and the body has a limit of its own.
    pub(super) fn last_movement(&self) -> Instant {
        if matches!(self.upload, Upload::Going { awaited: true, .. }) { Instant::now() } else { self.moved }
    }

    /// Whether the whole request has been written, and has left this process.
    pub(super) fn is_uploaded(&self) -> bool {
        matches!(self.upload, Upload::Whole) && self.outbox.is_empty() && self.flushed
    }

    /// Whether it may carry another request: the one before is over, on both sides and in step, and about where its
    /// answer ended nobody could be of another opinion.
    pub(super) fn is_reusable(&self) -> bool {
        let is_read = self.answer.as_ref().is_some_and(|answer| answer.is_over() && answer.is_plain());
        self.persistent && !self.is_early && is_read && self.inbox.is_empty() && self.is_uploaded()
    }

    /// Whether the peer wrote beyond the end of an answer whose end is certain: what it states is not what it does.
    pub(super) fn has_more_than_the_answer(&self) -> bool {
        self.persistent && self.is_answer_over() && !self.inbox.is_empty()
    }

    /// What has become of it since the last answer. The kernel is asked, not the runtime, which was told some time ago:
    /// between this and the first byte of the next request nothing waits.
    pub(super) fn look(&mut self) -> Idle {
        let is_tls = self.socket.is_buffered();
        if is_tls && let Some(found) = self.decrypted() {
            return found;
        }
        let mut start = [0; TIMED_OUT.len()];
        match self.socket.read_now(&mut start) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Idle::Quiet,
            // Still encrypted it may be the end of TLS, or nothing that anyone would have read.
            Ok(1..) if !is_tls && !says_that_it_timed_out(start) => Idle::Spoke,
            Ok(_) | Err(_) => Idle::Ended,
        }
    }

    /// What was decrypted and not read, if anything was.
    fn decrypted(&mut self) -> Option<Idle> {
        let mut byte = [0];
        let mut target = ReadBuf::new(&mut byte);
        // Unconstrained: a task that has done much in this turn would be told that nothing has come, whatever has.
        let read = unconstrained(poll_fn(|context| Pin::new(&mut self.socket).poll_read(context, &mut target)));
        match pin!(read).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => None,
            Poll::Ready(Ok(())) if !target.filled().is_empty() => Some(Idle::Spoke),
            Poll::Ready(_) => Some(Idle::Ended),
        }
    }

    /// Moves the request on, and is ready with the head of its answer.
    pub(super) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        method: &Method,
        body: &mut RequestBody,
    ) -> Poll<Result<Response<()>, Trouble>> {
        if let Err(fault) = self.poll_upload(context, body) {
            return Poll::Ready(Err(Trouble::Final(fault.into())));
        }
        loop {
            match self.head.read(&mut self.inbox, method) {
                Ok(Some(AnswerHead { response, body, persistent })) => {
                    self.answer = Some(body);
                    self.persistent = persistent;
                    return Poll::Ready(Ok(response));
                }
                Ok(None) => {}
                Err(malformed) => return Poll::Ready(Err(Trouble::Final(malformed.into()))),
            }
            match ready!(self.poll_fill(context)) {
                Ok(0) => return Poll::Ready(Err(self.ended("the connection was closed before the answer's head"))),
                // Not a byte of the request is out: whatever this answers, it is another.
                Ok(_) if self.is_used && !self.begun => return Poll::Ready(Err(Trouble::Unsent)),
                Ok(_) => {
                    self.is_early |= !self.answered && !self.is_uploaded();
                    self.answered = true;
                }
                Err(error) => return Poll::Ready(Err(self.ended(&error.to_string()))),
            }
        }
    }

    /// What it means that the connection ended before an answer.
    fn ended(&mut self, cause: &str) -> Trouble {
        if let Upload::Abandoned { fault, .. } = &mut self.upload
            && let Some(fault) = fault.take()
        {
            return Trouble::Final(fault.into());
        }
        let error = UpstreamError::Broken { cause: cause.to_owned() };
        match (self.answered, self.begun || self.touched) {
            (true, _) => Trouble::Final(error),
            (false, true) => Trouble::Unanswered(error),
            (false, false) => Trouble::Unsent,
        }
    }

    /// Moves the request on as far as it goes now.
    ///
    /// # Errors
    /// When the body failed before a byte of an answer came. After that the failure is kept, the backend learns that no
    /// more will come, and what it answers goes on: an error here would take down an answer that is on its way (a 413,
    /// after which a good client stops sending).
    pub(super) fn poll_upload(&mut self, context: &mut Context<'_>, body: &mut RequestBody) -> Result<(), BodyError> {
        let (mut moved, mut writes) = (false, 0);
        loop {
            let filled = self.fill_outbox(context, body);
            moved |= matches!(filled, Ok(true));
            if let Err(fault) = filled {
                if !self.answered {
                    return Err(fault);
                }
                moved = true;
                self.outbox.clear();
                self.upload = Upload::Abandoned { fault: Some(fault), told: false };
            }
            if self.outbox.is_empty() {
                break;
            }
            if writes == MOST_WRITES {
                context.waker().wake_by_ref();
                break;
            }
            writes += 1;
            match self.outbox.poll_write(&mut self.socket, context) {
                Poll::Ready(Ok(_)) => (moved, self.begun) = (true, true),
                // A failed write is not the end: a backend that refuses an upload answers, closes, and lets our bytes
                // run into a reset, while its answer waits to be read. So writing stops for good, silently, and reading
                // tells the end: after a reset it gives what had arrived, then the end or the error.
                Poll::Ready(Err(_)) => {
                    self.outbox.clear();
                    self.upload = Upload::Refused;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if self.socket.is_buffered() {
            // How it went is told by the next write, or by reading.
            self.flushed = Pin::new(&mut self.socket).poll_flush(context).is_ready();
        }
        if let Upload::Abandoned { told: told @ false, .. } = &mut self.upload {
            // It would wait for the rest for ever. How closing went does not matter: reading tells.
            *told = Pin::new(&mut self.socket).poll_shutdown(context).is_ready();
        }
        // What goes out with the first poll moved when it began: the clock need not be read again.
        let is_first = std::mem::replace(&mut self.is_new, false);
        if moved && !is_first {
            self.moved = Instant::now();
        }
        Ok(())
    }

    /// Asks the body for as much as there is room for; whether anything came of it.
    fn fill_outbox(&mut self, context: &mut Context<'_>, body: &mut RequestBody) -> Result<bool, BodyError> {
        let mut moved = false;
        while self.outbox.has_room()
            && let Upload::Going { left, awaited } = &mut self.upload
        {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(context) else {
                *awaited = true;
                break;
            };
            (*awaited, moved, self.touched) = (false, true, true);
            let piece = match frame.transpose()?.map(http_body::Frame::into_data) {
                None => Bytes::new(),
                Some(Ok(piece)) if !piece.is_empty() => piece,
                // Trailers never pass.
                Some(_) => continue,
            };
            match left {
                Some(left) => {
                    // One that is shorter or longer than it said would put the backend out of step.
                    *left =
                        left.checked_sub(piece.len() as u64).filter(|_| !piece.is_empty()).ok_or(BodyFault::Broken)?;
                    let is_whole = *left == 0;
                    self.outbox.put_piece(piece);
                    if is_whole {
                        self.upload = Upload::Whole;
                    }
                }
                None => {
                    let last = piece.is_empty() || body.is_end_stream();
                    if piece.is_empty() {
                        self.outbox.put_last_chunk();
                    } else {
                        self.outbox.put_chunk(piece, last);
                    }
                    if last {
                        self.upload = Upload::Whole;
                    }
                }
            }
        }
        Ok(moved)
    }

    /// The next piece of the answer's body.
    pub(super) fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, AnswerCut>>> {
        loop {
            let Some(answer) = &mut self.answer else { return Poll::Ready(None) };
            match answer.read(&mut self.inbox) {
                Ok(Step::Data(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(Step::End) => return Poll::Ready(None),
                Ok(Step::More) => {}
                Err(malformed) => return Poll::Ready(Some(Err(malformed.into()))),
            }
            let may_end = answer.may_end_here();
            match ready!(self.poll_fill(context)) {
                Ok(0) if may_end => return Poll::Ready(None),
                Ok(0) => {
                    let cause = "the connection was closed before its end".to_owned();
                    return Poll::Ready(Some(Err(AnswerCut::Ended(cause))));
                }
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(AnswerCut::Ended(error.to_string())))),
            }
        }
    }

    /// All of the answer's body, where it is short and was there with the head; its length was stated.
    pub(super) fn take_whole(&mut self) -> Option<Bytes> {
        let answer = self.answer.as_mut()?;
        let length = answer.size_hint().exact()?;
        if length > self.inbox.len() as u64 {
            return None;
        }
        match answer.read(&mut self.inbox) {
            Ok(Step::Data(piece)) => Some(piece),
            _ => Some(Bytes::new()),
        }
    }

    pub(super) fn is_answer_over(&self) -> bool {
        self.answer.as_ref().is_none_or(BodyReader::is_over)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.answer.as_ref().map_or_else(|| SizeHint::with_exact(0), BodyReader::size_hint)
    }

    /// Waits for another request. What only a large answer needed is given back.
    pub(super) fn rest(&mut self) {
        self.is_used = true;
        if self.read_size > SMALL_READ {
            self.inbox = BytesMut::new();
        }
    }

    /// What is left when the peer has left HTTP: the bytes, from the first after its answer's head.
    pub(super) fn into_tunnel(self) -> Prefixed<Socket> {
        Prefixed::new(self.inbox.freeze(), self.socket)
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.inbox.reserve(self.read_size);
        let room = self.inbox.capacity() - self.inbox.len();
        let count = ready!(poll_read_buf(Pin::new(&mut self.socket), context, &mut self.inbox))?;
        if count == room {
            self.read_size = (self.read_size * 2).min(LARGE_READ);
        }
        Poll::Ready(Ok(count))
    }
}

fn says_that_it_timed_out(mut start: [u8; TIMED_OUT.len()]) -> bool {
    // The minor version says nothing.
    start[7] = TIMED_OUT[7];
    start == TIMED_OUT
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;
    use crate::upstream::BodyLimits;

    fn pair() -> (Connection, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        (Connection::new(Socket::Unix(near)), far)
    }

    async fn head(connection: &mut Connection, request: &mut Request<RequestBody>) -> Result<Response<()>, Trouble> {
        let framing = request.body().size_hint().exact().map_or(BodyFraming::Chunked, BodyFraming::Length);
        connection.begin(request, &OwnLines::default(), framing, Persistence::Persistent);
        let method = request.method().clone();
        poll_fn(|context| connection.poll_head(context, &method, request.body_mut())).await
    }

    fn order() -> Request<RequestBody> {
        Request::post("/order").body(RequestBody::Empty).unwrap()
    }

    #[tokio::test]
    async fn a_request_of_which_nothing_was_written_can_go_elsewhere() {
        let (mut connection, far) = pair();
        drop(far);
        assert!(matches!(head(&mut connection, &mut order()).await, Err(Trouble::Unsent)));
    }

    #[tokio::test]
    async fn a_request_that_can_go_elsewhere_still_has_its_body() {
        for length in [5, 4097, 100_000] {
            let text = Bytes::from(vec![b'x'; length]);
            let streamed = http_body_util::Full::new(text.clone());
            let limits = BodyLimits { max_body: u64::MAX, body_timeout: std::time::Duration::from_secs(1) };
            for body in [RequestBody::Full(text.clone()), RequestBody::client(streamed, limits).unwrap()] {
                let (mut connection, far) = pair();
                drop(far);
                let mut order = Request::post("/order").body(body).unwrap();
                if matches!(head(&mut connection, &mut order).await, Err(Trouble::Unsent)) {
                    assert_eq!(order.body().size_hint().exact(), Some(length as u64));
                    let body = http_body_util::BodyExt::collect(order.into_body()).await.unwrap().to_bytes();
                    assert_eq!(body, text);
                }
            }
        }
    }

    #[tokio::test]
    async fn what_has_come_is_seen_before_the_runtime_is_told_of_it() {
        let (mut connection, far) = pair();
        let far = far.into_std().unwrap();
        io::Write::write_all(&mut &far, b"H").unwrap();
        assert_eq!(connection.look(), Idle::Spoke);
        let (mut connection, far) = pair();
        drop(far.into_std().unwrap());
        assert_eq!(connection.look(), Idle::Ended);
    }

    #[tokio::test]
    async fn a_request_of_which_a_byte_was_written_cannot() {
        let (mut connection, mut far) = pair();
        let (answer, ()) = tokio::join!(async { head(&mut connection, &mut order()).await }, async {
            far.read_u8().await.unwrap();
            drop(far);
        },);
        assert!(matches!(answer, Err(Trouble::Unanswered(_))), "{answer:?}");
    }

    #[tokio::test]
    async fn head_and_body_go_out_together() {
        let (mut connection, mut far) = pair();
        let mut order = Request::post("/").body(RequestBody::Full(Bytes::from_static(b"order"))).unwrap();
        let (answer, received) = tokio::join!(head(&mut connection, &mut order), async {
            let mut received = vec![0; 1000];
            let count = far.read(&mut received).await.unwrap();
            far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            received.truncate(count);
            received
        });
        assert_eq!(answer.unwrap().status(), 200);
        assert!(received.ends_with(b"\r\n\r\norder"), "{received:?}");
        assert!(connection.is_reusable());
    }

    #[tokio::test]
    async fn one_on_which_something_came_unasked_can_take_no_request() {
        for (text, found) in [
            ("", Idle::Quiet),
            ("H", Idle::Spoke),
            ("HTTP/1.1 200 OK\r\n\r\n", Idle::Spoke),
            ("HTTP/1.1 408 Request Timeout\r\n\r\n", Idle::Ended),
            ("HTTP/1.0 408 Request Timeout\r\n\r\n", Idle::Ended),
        ] {
            let (mut connection, mut far) = pair();
            far.write_all(text.as_bytes()).await.unwrap();
            assert_eq!(connection.look(), found, "{text:?}");
        }
        let (mut connection, far) = pair();
        drop(far);
        assert_eq!(connection.look(), Idle::Ended);
    }

    #[tokio::test]
    async fn an_answer_that_was_there_before_the_request_is_not_believed_further() {
        let (mut connection, mut far) = pair();
        connection.rest();
        // The socket takes nothing more: the request cannot go out, however small it is.
        let filler = [0; 64 * 1024];
        while connection.socket.write_now(&filler) {}
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        let answer = head(&mut connection, &mut order()).await;
        assert!(matches!(answer, Err(Trouble::Unsent)), "{answer:?}");
    }

    #[tokio::test]
    async fn a_body_that_is_not_as_long_as_it_said_is_at_fault() {
        for body in ["abcd", "ab"] {
            let (mut connection, mut far) = pair();
            let mut order = Request::post("/").body(RequestBody::Full(Bytes::from(body))).unwrap();
            connection.begin(&order, &OwnLines::default(), BodyFraming::Length(3), Persistence::Persistent);
            let answer = poll_fn(|context| connection.poll_head(context, &Method::POST, order.body_mut())).await;
            let Err(Trouble::Final(error)) = answer else { panic!("{answer:?}") };
            assert!(matches!(error, UpstreamError::ClientBody(BodyFault::Broken)), "{error}");
            drop(connection);
            let mut received = Vec::new();
            far.read_to_end(&mut received).await.unwrap();
            assert!(!received.ends_with(b"abc"), "no whole request");
        }
    }

    impl Socket {
        /// Whether the kernel took any of it at once.
        fn write_now(&self, bytes: &[u8]) -> bool {
            let Self::Unix(socket) = self else { panic!("a Unix socket") };
            io::Write::write(&mut &*socket2::SockRef::from(socket), bytes).is_ok()
        }
    }
}
