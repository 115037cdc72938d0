//! What a client's connection and its exchanges know of each other: how far the bytes are, what is in progress, what its
//! waits are held to, whether the client is still there. Moves no byte itself; that is `io`'s.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::limits::ConnectionTimeouts;
use super::slots::{Lent, Slot};
use crate::http::{HeadLimits, Phase, Refusal, RequestFraming};
use crate::sessions::Kill;

/// How long the answer to a client that has ended its side goes on without a byte of it being taken. Who closes and who
/// only has no more to say (`nc -N`) look the same until then.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Requests that may be under way on a connection, whoever still waits for them. Browsers stay below it.
pub(super) const MOST_UNDER_WAY: u32 = 100;

/// A tunnel that waits for the end of HTTP on its connection. It is given what says that the listener closes.
pub(super) type Tunnelling = Box<dyn FnOnce(BoxFuture<'static, ()>) -> BoxFuture<'static, ()> + Send>;

/// What the connection's IO and its exchanges share.
#[derive(Clone)]
pub(super) struct ConnectionState(Arc<Connection>);

struct Connection {
    slot: Arc<Slot>,
    /// Whether the client's end is looked for while an exchange is in progress; read at each poll.
    watched: AtomicBool,
    shared: Mutex<Shared>,
}

/// What changes with each exchange.
pub(super) struct Shared {
    /// `None` for HTTP/2, whose frames say by themselves where a request begins and ends.
    pub(super) framing: Option<RequestFraming>,
    /// Exchanges that began.
    started: u64,
    /// Exchanges that have not ended.
    pub(super) in_progress: u32,
    /// Those of them that run to their end whoever waits for it, and those of which somebody does.
    detached: u32,
    attended: u32,
    /// Requests of which nobody wants the rest, which still comes.
    lingering: u32,
    /// How the client left, and whoever is to hear of it.
    left: Option<Left>,
    awaits_leave: Option<Waker>,
    /// The client took something of its answer since it ended its side.
    pub(super) took: bool,
    /// When the present wait for a head, or within one, began.
    pub(super) waiting_since: Instant,
    /// The connection is no longer HTTP: bytes pass as they come.
    switched: bool,
    /// Whoever waits for the answer to a request for another protocol.
    reader: Option<Waker>,
    /// What goes on when HTTP has ended.
    tunnel: Option<Tunnelling>,
    /// The end of the session for which an answer is being written.
    kill: Option<Arc<Kill>>,
    /// The client has not taken all of what was written.
    pub(super) writing: bool,
}

impl ConnectionState {
    /// Of a connection that speaks HTTP/1.
    pub(super) fn http1(limits: HeadLimits, slot: Arc<Slot>) -> Self {
        Self::new(Some(RequestFraming::new(limits)), slot)
    }

    /// Of a connection that speaks HTTP/2: the bytes pass unseen, and a head is checked once it is parsed.
    pub(super) fn http2(slot: Arc<Slot>) -> Self {
        Self::new(None, slot)
    }

    fn new(framing: Option<RequestFraming>, slot: Arc<Slot>) -> Self {
        let shared = Mutex::new(Shared {
            framing,
            started: 0,
            in_progress: 0,
            detached: 0,
            attended: 0,
            lingering: 0,
            left: None,
            awaits_leave: None,
            took: false,
            waiting_since: Instant::now(),
            switched: false,
            reader: None,
            tunnel: None,
            kill: None,
            writing: false,
        });
        Self(Arc::new(Connection { slot, watched: AtomicBool::new(false), shared }))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.shared.lock()
    }

    /// Begins an exchange: the framing's verdict on its head, and a guard to hold until its answer has been sent. A
    /// head that the framing has no verdict on was read differently by hyper, which is the ambiguity it is there for.
    pub(super) fn begin_exchange(&self) -> (Result<(), Refusal>, ExchangeGuard) {
        let mut shared = self.lock();
        shared.started += 1;
        shared.in_progress += 1;
        // A stream that its client reset is over for the client, and its place is not free while what it asked for runs.
        let crowded = shared.in_progress > MOST_UNDER_WAY && shared.detached > shared.attended;
        let disagreement = Refusal::BadRequest("the request's framing is ambiguous");
        let framing = shared.framing.as_mut();
        let (verdict, may_switch) = framing.map_or((Ok(()), false), |framing| {
            let verdict = framing.take_verdict().unwrap_or(Err(disagreement));
            // The head that the framing stopped after is the last that it accepted.
            (verdict, framing.phase() == Phase::Held && !framing.has_verdict())
        });
        drop(shared);
        let has_room = self.0.slot.begin_exchange() && !crowded;
        (verdict, ExchangeGuard { connection: self.clone(), may_switch, has_room })
    }

    /// When the connection must have moved on by, as things stand; `None` while an exchange is in progress, or what is
    /// left of one, whose waits are bounded where they happen.
    fn deadline(&self, timeouts: &ConnectionTimeouts) -> Option<Instant> {
        let shared = self.lock();
        let allowed = match (shared.in_progress + shared.lingering, shared.phase()) {
            (0, Phase::Idle) if shared.started > 0 => timeouts.keepalive,
            (0, Phase::Idle | Phase::Head | Phase::Refused) => timeouts.header,
            (0, Phase::Body | Phase::Held) | (1.., _) => return None,
        };
        Some(shared.waiting_since + allowed)
    }

    /// Leaves HTTP when the answer, a 101, has been written: what `tunnel` says goes on.
    pub(super) fn switch(&self, tunnel: Tunnelling) {
        let mut shared = self.lock();
        shared.switched = true;
        shared.tunnel = Some(tunnel);
        shared.wake_reader();
    }

    /// What goes on after HTTP, if anything does.
    pub(super) fn take_tunnel(&self) -> Option<Tunnelling> {
        self.lock().tunnel.take()
    }

    /// Ready when it is known whether the connection stays HTTP.
    pub(super) fn poll_switched(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut shared = self.lock();
        if shared.switched || shared.phase() != Phase::Held {
            return Poll::Ready(shared.switched);
        }
        shared.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// Ready when the session has ended for which an answer is being written.
    pub(super) fn poll_killed(&self, context: &mut Context<'_>) -> Poll<()> {
        match &self.lock().kill {
            Some(kill) => kill.poll(context).map(|_| ()),
            None => Poll::Pending,
        }
    }

    /// Whether no exchange has been in progress for as long, nor what is left of one.
    pub(super) fn is_idle_for(&self, time: Duration) -> bool {
        let shared = self.lock();
        shared.in_progress == 0 && shared.lingering == 0 && shared.waiting_since.elapsed() >= time
    }

    /// Ready when nothing has been under way, neither read nor written, for as long; or one exchange has, and nobody
    /// looks whether its client is there.
    pub(super) async fn lull(&self, time: Duration) -> Lull {
        let mut seen = None;
        loop {
            let due = self.quiet_since().unwrap_or_else(Instant::now) + time;
            if due <= Instant::now() {
                return Lull::Quiet;
            }
            let under_way = self.unwatched_exchange();
            if under_way.is_some() && under_way == seen {
                return Lull::Waiting;
            }
            seen = under_way;
            tokio::time::sleep_until(due).await;
        }
    }

    /// The number of the exchange that is in progress and not watched.
    fn unwatched_exchange(&self) -> Option<u64> {
        let shared = self.lock();
        (shared.in_progress > 0 && !self.0.watched.load(Ordering::Relaxed)).then_some(shared.started)
    }

    /// Looks, from the next poll of the IO to the end of the present exchange, whether the client is there. Only for
    /// exchanges that last: most are over before it would be of use.
    pub(super) fn watch(&self) {
        self.0.watched.store(true, Ordering::Relaxed);
    }

    /// Whether somebody looks.
    pub(super) fn is_watched(&self) -> bool {
        self.0.watched.load(Ordering::Relaxed)
    }

    /// Whether the end of the client's side would be the end of the exchange: all of its request was read, and nothing
    /// after it. A client that has sent more waits for more than this answer, and is not looked at.
    pub(super) fn awaits_answer(&self) -> bool {
        let shared = self.lock();
        let Some(framing) = &shared.framing else { return false };
        let nothing_else = matches!(framing.phase(), Phase::Idle | Phase::Held) && !framing.has_verdict();
        shared.in_progress > 0 && shared.left.is_none() && nothing_else
    }

    /// The client left.
    pub(super) fn leave(&self, how: Left) {
        let mut shared = self.lock();
        shared.left = Some(how);
        shared.took = false;
        if let Some(waker) = shared.awaits_leave.take() {
            waker.wake();
        }
    }

    /// Ready when the client is gone, and what is in progress for it is for nobody: at once after a reset; after the end
    /// of its side (FIN, or TLS's own) once it has taken nothing of its answer for [`LAST_WORD`].
    pub(super) async fn gone(&self) {
        let how = poll_fn(|context| {
            let mut shared = self.lock();
            match shared.left {
                Some(how) => Poll::Ready(how),
                None => {
                    shared.awaits_leave = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        if how.await == Left::Reset {
            return;
        }
        loop {
            tokio::time::sleep(LAST_WORD).await;
            let mut shared = self.lock();
            if shared.in_progress > 0 && !std::mem::take(&mut shared.took) {
                return;
            }
        }
    }

    /// The rest of a request's body is read that nobody wants.
    pub(super) fn linger(&self) -> Lingering {
        self.lock().lingering += 1;
        Lingering(self.clone())
    }

    /// Whether bytes come of which nobody can say to which request they belong.
    pub(super) fn has_lost_its_framing(&self) -> bool {
        let shared = self.lock();
        shared.framing.as_ref().is_some_and(|framing| framing.broken_body() || framing.phase() == Phase::Refused)
    }

    fn quiet_since(&self) -> Option<Instant> {
        let shared = self.lock();
        let framing = shared.framing.as_ref()?;
        let between = shared.in_progress == 0 && framing.phase() == Phase::Idle && !framing.has_verdict();
        (between && !shared.writing).then_some(shared.waiting_since)
    }

    /// Ready when the client has taken too long to send a head, or the next one.
    ///
    /// It looks at the clock when a deadline may have passed, rather than at each request: a busy connection costs
    /// nothing.
    pub(super) async fn overdue(&self, timeouts: &ConnectionTimeouts) {
        let often = timeouts.header.min(timeouts.keepalive);
        loop {
            let deadline = self.deadline(timeouts);
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return;
            }
            let look_again = Instant::now() + often;
            tokio::time::sleep_until(deadline.unwrap_or(look_again).min(look_again)).await;
        }
    }
}

/// How a client left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It said that it sends no more.
    Ended,
    /// Its connection broke.
    Reset,
}

/// Why a connection need not be as it is.
pub(super) enum Lull {
    /// Nothing is under way.
    Quiet,
    /// An exchange lasts.
    Waiting,
}

impl Shared {
    fn phase(&self) -> Phase {
        self.framing.as_ref().map_or(Phase::Idle, RequestFraming::phase)
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// Held while an exchange of a connection is in progress.
pub(super) struct ExchangeGuard {
    connection: ConnectionState,
    may_switch: bool,
    has_room: bool,
}

impl ExchangeGuard {
    /// Whether nothing was read beyond the request, so that the connection can leave HTTP after it.
    pub(super) const fn may_switch(&self) -> bool {
        self.may_switch
    }

    /// Whether there is room for the exchange, on its connection and in all.
    pub(super) const fn has_room(&self) -> bool {
        self.has_room
    }

    /// Has the exchange run to its end, whoever waits for it, in a place that counts for `client` until both parts are
    /// dropped; `None` when there is none left.
    pub(super) fn run_to_its_end(&self, client: IpAddr) -> Option<(Detached, Attended)> {
        let mut shared = self.connection.lock();
        // No client that waits for its answers comes here: each of them has a stream, until what runs for it has ended.
        if shared.detached >= MOST_UNDER_WAY {
            return None;
        }
        let place = Slot::lend(&self.connection.0.slot, client)?;
        shared.detached += 1;
        shared.attended += 1;
        let connection = self.connection.clone();
        Some((Detached { connection: connection.clone(), _place: place }, Attended(connection)))
    }

    /// The connection of the exchange.
    pub(super) fn connection(&self) -> ConnectionState {
        self.connection.clone()
    }

    /// Cuts the answer when this says so, even while the client takes nothing of it. Over HTTP/2 the connection carries
    /// others too, and there the stream is cut alone.
    pub(super) fn cut_by(&self, kill: Arc<Kill>) {
        let mut shared = self.connection.lock();
        if shared.framing.is_some() {
            shared.kill = Some(kill);
        }
    }
}

/// The part of an exchange that runs to its end.
pub(super) struct Detached {
    connection: ConnectionState,
    _place: Lent,
}

impl Drop for Detached {
    fn drop(&mut self) {
        let mut shared = self.connection.lock();
        shared.detached = shared.detached.saturating_sub(1);
    }
}

/// The part of an exchange that waits for its end; dropped early when the client is gone.
pub(super) struct Attended(ConnectionState);

impl Drop for Attended {
    fn drop(&mut self) {
        let mut shared = self.0.lock();
        shared.attended = shared.attended.saturating_sub(1);
    }
}

/// Held while what is left of a request is read.
pub(super) struct Lingering(ConnectionState);

impl Drop for Lingering {
    fn drop(&mut self) {
        let mut shared = self.0.lock();
        shared.lingering = shared.lingering.saturating_sub(1);
        if shared.in_progress == 0 {
            shared.waiting_since = Instant::now();
        }
    }
}

impl Drop for ExchangeGuard {
    fn drop(&mut self) {
        self.connection.0.watched.store(false, Ordering::Relaxed);
        self.connection.0.slot.end_exchange();
        let mut shared = self.connection.lock();
        shared.kill = None;
        if self.may_switch && !shared.switched {
            if let Some(framing) = &mut shared.framing {
                framing.resume();
            }
            shared.wake_reader();
        }
        shared.in_progress = shared.in_progress.saturating_sub(1);
        if shared.in_progress == 0 {
            shared.waiting_since = Instant::now();
        }
    }
}
