//! A connection to a peer, and who moves its bytes.
//!
//! The task that waits for an answer moves them itself: a task of the connection's own would have to be woken for every
//! request and would wake the waiting one for every answer. Only what must go on while nobody waits (the rest of an
//! upload whose answer has begun, a tunnel's handshake) gets a task. An idle connection is moved by nobody: what the
//! peer did to it meanwhile is seen when it is taken.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio_util::task::AbortOnDropHandle;

use super::alarm::Alarm;
use super::wire::{Outgoing, Wire, WireStream};

/// A connection to a peer. Dropping it closes it, whatever it was doing.
#[derive(Debug)]
pub(super) struct Connection {
    sender: http1::SendRequest<Outgoing>,
    pub(super) wire: Arc<Wire>,
    /// Where it leads; `None` for a Unix socket.
    pub(super) remote: Option<SocketAddr>,
    /// For the waits of its requests.
    pub(super) alarm: Alarm,
    driver: Driver,
}

type Driven = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Who moves a connection's bytes.
enum Driver {
    /// Whoever waits for something from it.
    Here(Driven),
    /// A task, which ends with this.
    Apart { _task: AbortOnDropHandle<()> },
    /// Nobody: it is over.
    Over,
}

impl Connection {
    pub(super) fn new(
        sender: http1::SendRequest<Outgoing>,
        connection: http1::Connection<TokioIo<WireStream>, Outgoing>,
        wire: Arc<Wire>,
        remote: Option<SocketAddr>,
    ) -> Self {
        // It ends, too, when the peer has left HTTP: the bytes then belong to whoever asked for that.
        let driver = Driver::Here(Box::pin(connection.with_upgrades()));
        Self { sender, wire, remote, alarm: Alarm::default(), driver }
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Outgoing>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let mut sent = false;
        poll_fn(|context| {
            let mut answered = |context: &mut Context<'_>| answer.as_mut().poll(context);
            if !std::mem::replace(&mut sent, true) && matches!(self.driver, Driver::Here(_)) {
                // There is no answer before the request is out.
                self.drive(context);
                return answered(&mut Context::from_waker(Waker::noop()));
            }
            self.poll_for(context, answered)
        })
        .await
    }

    /// Moves the connection on until it gives what is `wanted` of it, or can give nothing at present.
    pub(super) fn poll_for<T>(
        &mut self,
        context: &mut Context<'_>,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if let Driver::Apart { .. } = self.driver {
            return wanted(context);
        }
        // What the connection hands over it hands over to whoever moves it, so nobody has to be woken for that. Hence
        // the first pass without a waker: most often the answer is there, and this task is not woken once more by its
        // own doing.
        let mut nobody = Context::from_waker(Waker::noop());
        let wanted = &mut wanted;
        if let Poll::Ready(given) = wanted(&mut nobody) {
            return Poll::Ready(given);
        }
        self.drive(&mut nobody);
        if let Poll::Ready(given) = wanted(&mut nobody) {
            return Poll::Ready(given);
        }
        self.drive(context);
        wanted(&mut nobody)
    }

    /// Whether it can take a request, by all that the kernel has said of it.
    pub(super) fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.sender.is_ready()
    }

    /// Has a task move it from now on.
    pub(super) fn drive_apart(&mut self) {
        if let Driver::Here(driven) = std::mem::replace(&mut self.driver, Driver::Over) {
            // What goes wrong is told to whoever waits for the answer or reads its body.
            let task = tokio::spawn(async move { drop(driven.await) });
            self.driver = Driver::Apart { _task: AbortOnDropHandle::new(task) };
        }
    }

    fn drive(&mut self, context: &mut Context<'_>) {
        if let Driver::Here(driven) = &mut self.driver
            && driven.as_mut().poll(context).is_ready()
        {
            // With it goes what it had not given an answer to, which is told so.
            self.driver = Driver::Over;
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Here(_) => "Here",
            Self::Apart { .. } => "Apart",
            Self::Over => "Over",
        })
    }
}
