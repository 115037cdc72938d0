//! What goes on when a connection leaves HTTP: bytes both ways, until one end, time or the end of the session says stop.
//!
//! Payloads are none of its business. Of a WebSocket it follows where frames begin and end: what a client sends is a
//! use of its session, and the frame that tells it of its session's end must stand between two others.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::time::{Instant, sleep_until, timeout};

use super::account::Account;
use super::body::{AnswerBody, Continuation};
use super::exchange::Exchange;
use super::failure::{Failure, code_of_end};
use super::forward::{Cleared, clean_answer, polish, send_upgrade};
use super::lookup::{Lookup, Recorded, look_at};
use super::services::Gateway;
use crate::http::{FrameKind, FrameTracker, Upgrade, close_frame};
use crate::policy::Permit;
use crate::session::{Barred, EndReason, SessionId};
use crate::sessions::OpenStream;
use crate::store::STALE_AT_MOST;
use crate::upstream::{Switched, UpstreamError, UpstreamTunnel};

/// The bytes that each direction may hold.
const BUFFER: usize = 16 * 1024;
/// How long the last frame of a backend may take to end, and ours to be sent, when a WebSocket is closed.
const LAST_FRAME: Duration = Duration::from_millis(200);
/// How long what a client sends to a closed connection is still taken. Were it left unread, its kernel would be told to
/// throw away the frame that says why.
const LINGER: Duration = Duration::from_millis(50);
/// How long one half of a WebSocket outlives the other: there is no half of a conversation.
const HALF_OPEN: Duration = Duration::from_secs(10);
/// How soon a store that did not answer is told again of a use.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// The WebSocket close code of an ended session (docs/behaviour.md, "Open streams").
const SESSION_OVER: u16 = 4401;
/// The WebSocket close code of an end that is going away (RFC 6455 section 7.4.1).
const GOING_AWAY: u16 = 1001;

/// A switch of protocols that a client asked for.
pub(super) struct Asked {
    pub(super) upgrade: Upgrade,
    pub(super) client: OnUpgrade,
}

/// The session that a tunnel was opened for.
pub(super) struct TunnelSession {
    pub(super) open: OpenStream,
    /// Whether what the client sends keeps the session alive.
    pub(super) touches: bool,
}

/// A tunnel whose backend has switched.
struct Tunnel {
    client: OnUpgrade,
    backend: UpstreamTunnel,
    is_websocket: bool,
    session: Option<TunnelSession>,
}

/// Sends a request for another protocol to the permit's upstream. Its answer goes to the client only if it is what was
/// asked for, and then its body is the tunnel; any answer but a 101 is an ordinary one.
pub(super) async fn open(
    gateway: &Gateway,
    exchange: &mut Exchange,
    permit: &Permit,
    cleared: Box<Cleared>,
    asked: Asked,
    session: Option<TunnelSession>,
) -> Result<Response<AnswerBody>, Failure> {
    let Asked { upgrade, client } = asked;
    match send_upgrade(gateway, exchange, permit, cleared, &upgrade).await? {
        Switched::No(mut answer) => {
            polish(gateway, exchange, permit, answer.headers_mut());
            gateway.seal_cookies(exchange, answer.headers_mut()).await?;
            let open = session.map(|session| session.open.another());
            Ok(answer.map(|body| AnswerBody::of_session(body, open)))
        }
        Switched::Yes(mut answer, backend) => {
            let malformed = |cause: &str| Failure::Upstream(UpstreamError::Malformed { cause: cause.to_owned() });
            upgrade.check_answer(answer.headers()).map_err(malformed)?;
            clean_answer(gateway, exchange, permit, answer.headers_mut());
            gateway.seal_cookies(exchange, answer.headers_mut()).await?;
            upgrade.write(answer.headers_mut());
            let tunnel = Tunnel { client, backend, is_websocket: upgrade.is_websocket(), session };
            Ok(answer.map(|()| AnswerBody::followed_by(tunnel.when_switched())))
        }
    }
}

/// Why a tunnel ends.
enum End {
    /// Both directions came to their end, or one broke.
    Closed,
    /// Nothing passed for too long.
    Idle,
    /// The gateway stops.
    GoingAway,
    /// The session is over, or held.
    SessionOver(Barred),
}

impl End {
    /// What a WebSocket's client is told.
    fn close_frame(&self) -> Option<Vec<u8>> {
        match self {
            Self::Closed => None,
            Self::Idle => Some(close_frame(GOING_AWAY, "idle")),
            Self::GoingAway => Some(close_frame(GOING_AWAY, "going away")),
            Self::SessionOver(reason) => Some(close_frame(SESSION_OVER, code_of_end(*reason))),
        }
    }
}

/// What telling the store of a use came to.
enum Telling {
    /// The next use is worth telling from then on.
    Again(Instant),
    /// The session is over, or held.
    Over(Barred),
}

impl Tunnel {
    /// What goes on once the answer has been written.
    fn when_switched(self) -> Continuation {
        Box::new(move |gateway, account| Box::new(move |closing| Box::pin(self.run(gateway, closing, account))))
    }

    async fn run(self, gateway: Arc<Gateway>, mut closing: BoxFuture<'static, ()>, mut account: Box<Account>) {
        let Self { client, mut backend, is_websocket, session } = self;
        let Ok(client) = client.await else { return };
        let (mut client_reader, mut client_writer) = split(TokioIo::new(client));
        let (mut backend_reader, mut backend_writer) = split(&mut backend.io);
        let (mut up, mut down) = (Pump::new(is_websocket), Pump::new(is_websocket));
        let mut uses = Uses::new(gateway.clone(), session.as_ref());
        let limit = gateway.config().server.tunnel_idle;
        let mut allowed = limit;
        let mut last_moved = Instant::now();
        let mut alarm = pin!(sleep_until(last_moved + limit));
        let end = loop {
            tokio::select! {
                reason = ended(session.as_ref()) => break End::SessionOver(reason),
                told = uses.told() => if let Some(reason) = told { break End::SessionOver(reason) },
                () = &mut closing, if is_websocket => break End::GoingAway,
                () = &mut alarm => {
                    if last_moved + allowed <= Instant::now() {
                        break if up.ended || down.ended { End::Closed } else { End::Idle };
                    }
                }
                step = up.step(&mut client_reader, &mut backend_writer), if !up.ended => {
                    if up.took_a_use() {
                        uses.note();
                    }
                    // What the backend does not take it need not get; what it still says the client may hear.
                    up.ended |= step.is_err();
                    last_moved = Instant::now();
                }
                step = down.step(&mut backend_reader, &mut client_writer), if !down.ended => {
                    if step.is_err() {
                        break End::Closed;
                    }
                    last_moved = Instant::now();
                    account.sent(down.passed);
                }
            }
            if up.ended && down.ended {
                break End::Closed;
            }
            if is_websocket && (up.ended || down.ended) {
                allowed = limit.min(HALF_OPEN);
            }
            let deadline = last_moved + allowed;
            // Moved only when it rings or must ring earlier: a busy tunnel costs no timer.
            if alarm.is_elapsed() || deadline < alarm.deadline() {
                alarm.as_mut().reset(deadline);
            }
        };
        match end {
            End::Closed => account.complete(),
            End::SessionOver(reason) => account.cut(reason),
            End::Idle | End::GoingAway => {}
        }
        if let Some(frame) = end.close_frame().filter(|_| is_websocket && !down.closed) {
            let _ = timeout(LAST_FRAME, down.last_frame(&frame, &mut backend_reader, &mut client_writer)).await;
        }
        let _ = timeout(LAST_FRAME, client_writer.shutdown()).await;
        let _ = timeout(LAST_FRAME, backend_writer.shutdown()).await;
        let _ = timeout(LINGER, read_off(&mut client_reader)).await;
    }
}

/// Waits for the end of the session; for ever where there is none.
async fn ended(session: Option<&TunnelSession>) -> Barred {
    match session {
        Some(session) => session.open.ended().await,
        None => std::future::pending().await,
    }
}

async fn read_off(reader: &mut (impl AsyncRead + Unpin)) {
    let mut away = [0_u8; 1024];
    while reader.read(&mut away).await.is_ok_and(|count| count > 0) {}
}

/// Tells the store of a session's uses, as seldom as it must be told.
struct Uses {
    gateway: Arc<Gateway>,
    session: Option<SessionId>,
    /// From when on the next use is worth telling.
    due: Instant,
    telling: Option<Pin<Box<dyn Future<Output = Telling> + Send>>>,
}

impl Uses {
    fn new(gateway: Arc<Gateway>, session: Option<&TunnelSession>) -> Self {
        let session = session.filter(|session| session.touches).map(|session| session.open.id());
        Self { gateway, session, due: Instant::now(), telling: None }
    }

    /// The client used its session.
    fn note(&mut self) {
        let Some(id) = self.session else { return };
        if self.telling.is_none() && self.due <= Instant::now() {
            self.telling = Some(Box::pin(tell(self.gateway.clone(), id)));
        }
    }

    /// Waits until the store was told; why the session is over, if it turned out to be.
    async fn told(&mut self) -> Option<Barred> {
        let Some(telling) = &mut self.telling else { return std::future::pending().await };
        let told = telling.await;
        self.telling = None;
        match told {
            Telling::Again(due) => {
                self.due = due;
                None
            }
            Telling::Over(reason) => Some(reason),
        }
    }
}

/// Records a use now.
async fn tell(gateway: Arc<Gateway>, id: SessionId) -> Telling {
    let began = Instant::now();
    let lookup = look_at(gateway.store(), gateway.clock(), id, &gateway.config().session.limits, STALE_AT_MOST).await;
    if let Some(reason) = lookup.over() {
        return Telling::Over(reason);
    }
    let Lookup::Live(mut live) = lookup else { return Telling::Again(began + TELL_AGAIN) };
    match gateway.record_use(&mut live).await {
        Ok(Recorded::Yes) => {}
        Ok(Recorded::SessionGone) => {
            let lookup =
                look_at(gateway.store(), gateway.clock(), id, &gateway.config().session.limits, STALE_AT_MOST).await;
            return Telling::Over(lookup.over().unwrap_or(Barred::Ended(EndReason::IdleTimeout)));
        }
        Err(_) => return Telling::Again(began + TELL_AGAIN),
    }
    let Some(idle) = live.record.idle else { return Telling::Again(began + gateway.config().server.tunnel_idle) };
    // As the plan of a request's use has it: nothing is written before half a granularity is over.
    let age = live.now.since(idle.use_recorded_by(live.touch_deadline));
    Telling::Again(began + (idle.granularity() / 2).saturating_sub(age))
}

/// One direction: at most one buffer of bytes that were read and not yet written.
struct Pump {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    unflushed: bool,
    frames: Option<FrameTracker>,
    /// Bytes that were written.
    passed: u64,
    used: bool,
    /// The sender has said its last word.
    closed: bool,
    /// The reading side is at its end, and the writing side was told.
    ended: bool,
}

impl Pump {
    fn new(is_websocket: bool) -> Self {
        Self {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            unflushed: false,
            frames: is_websocket.then(FrameTracker::default),
            passed: 0,
            used: false,
            closed: false,
            ended: false,
        }
    }

    /// Whether the sender did something since this was last asked.
    const fn took_a_use(&mut self) -> bool {
        std::mem::replace(&mut self.used, false)
    }

    fn waiting(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// One read or one write. Can be dropped at any time and nothing is lost.
    async fn step(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        if !self.waiting().is_empty() {
            let all = self.end - self.start;
            return self.write(all, to).await;
        }
        if self.unflushed {
            to.flush().await?;
            self.unflushed = false;
        }
        if self.read(from).await? == 0 {
            to.shutdown().await?;
            self.ended = true;
        }
        Ok(())
    }

    async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        let count = from.read(&mut self.buffer).await?;
        (self.start, self.end) = (0, count);
        Ok(count)
    }

    /// Writes at most `most` of the bytes that wait, and follows the frames as far as they were written.
    async fn write(&mut self, most: usize, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let until = self.end.min(self.start + most);
        let count = to.write(self.buffer.get(self.start..until).unwrap_or_default()).await?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let written = self.buffer.get(self.start..self.start + count).unwrap_or_default();
        match &mut self.frames {
            Some(frames) => frames.take_all(written, |kind| {
                self.used |= kind.is_use();
                self.closed |= kind == FrameKind::Close;
            }),
            None => self.used = true,
        }
        self.start += count;
        self.passed += count as u64;
        self.unflushed = true;
        Ok(())
    }

    /// Writes the rest of the frame that is on its way, and `frame` after it. Nothing when the frame does not end.
    async fn last_frame(
        &mut self,
        frame: &[u8],
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        while let Some(mut frames) = self.frames.filter(|frames| !frames.is_between_frames()) {
            if frames.is_lost() || (self.waiting().is_empty() && self.read(from).await? == 0) {
                return Ok(());
            }
            let rest = frames.take(self.waiting()).bytes;
            self.write(rest, to).await?;
        }
        to.write_all(frame).await?;
        to.flush().await
    }
}
