//! Ends what is still open when its session ends: the store is asked again and again, and bodies break off.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body::{Body, Frame, SizeHint};
use tokio::time::sleep;

use super::chosen::look_in;
use super::client_body::BoxError;
use super::lookup::{LiveUse, Lookup, look_at};
use super::services::Gateway;
use super::token::look_at_token;
use crate::bearer::VerifiedToken;
use crate::clock::Monotonic;
use crate::session::{SessionId, SessionRecord};
use crate::sessions::{AskedAbout, Holder, OpenStream};

/// How often the store is asked. With a read and a signal on top the contract's second is kept.
const EVERY: Duration = Duration::from_millis(400);
/// How old the answers may be: together with the interval less than the contract's second, whatever is stalled.
const AS_OF: Duration = Duration::from_millis(400);
/// How many questions are put to the store at once.
const AT_ONCE: usize = 64;

/// A body broke off because its session ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the session ended")]
pub(super) struct SessionOver;

/// A body that breaks off when its session ends.
pub(super) struct Cuttable<B> {
    body: B,
    open: Option<OpenStream>,
    /// Whether what comes is a use of the session.
    is_use: bool,
}

impl<B> Cuttable<B> {
    pub(super) const fn new(body: B, open: Option<OpenStream>) -> Self {
        Self { body, open, is_use: false }
    }

    /// Breaks off when this says so, if there is anything that may.
    pub(super) fn cut_by(&mut self, open: Option<OpenStream>) {
        self.open = open;
    }

    /// Whether what comes from now on is a use of the session that cuts it.
    pub(super) const fn is_use(&mut self, is_use: bool) {
        self.is_use = is_use;
    }

    /// What ends it early.
    pub(super) const fn open(&self) -> Option<&OpenStream> {
        self.open.as_ref()
    }
}

impl<B> Body for Cuttable<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(open) = &self.open
            && open.poll(context).is_ready()
        {
            return Poll::Ready(Some(Err(SessionOver.into())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context).map_err(Into::into);
        if self.is_use
            && let (Poll::Ready(Some(Ok(_))), Some(open)) = (&polled, &self.open)
        {
            open.is_used();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Gateway {
    /// Waits a moment and cuts what is open for sessions that are over, whoever ended them. To be called for ever, each
    /// time on the gateway in force.
    pub async fn cut_ended_streams(&self) {
        tokio::select! {
            () = sleep(EVERY) => {}
            () = self.streams().wanted() => {}
        }
        let open = self.streams().to_ask_about();
        futures_util::stream::iter(open).for_each_concurrent(AT_ONCE, |asked| self.cut_if_ended(asked)).await;
    }

    async fn cut_if_ended(&self, AskedAbout { holder, tenants, outlived, used_at }: AskedAbout) {
        let Holder { id, record, is_token, .. } = holder;
        for tenant in tenants {
            // A store that cannot say cuts nothing.
            if let Ok((Some(_), _)) = look_in(self.store(), self.clock(), &tenant, AS_OF).await {
                self.streams().cut_in(id, &tenant);
            }
        }
        let lookup = if is_token {
            // When a token is over is known, and was said when it was registered.
            let token = VerifiedToken { id, record, over_at: Monotonic::from_micros(0) };
            look_at_token(self.store(), self.clock(), token, AS_OF).await
        } else if outlived {
            return self.cut_if_ended_on_purpose(id, &record).await;
        } else {
            look_at(self.store(), self.clock(), id, &self.config().session.limits, AS_OF).await
        };
        if let Some(reason) = lookup.over() {
            self.streams().cut_for(id, reason);
        } else if let Lookup::Live(mut live @ LiveUse { token: None, .. }) = lookup {
            self.streams().is_over_at(id, live.over_at());
            if let Some(used_at) = used_at {
                // Not now, but when it was.
                live.now = live.now.before(self.clock().monotonic().since(used_at));
                // What the store does not take is told with the next piece.
                let _ = self.record_use(&mut live).await;
            }
        }
    }

    /// Time ended the session, and something goes on: until somebody ends what it would be by now, were it used.
    async fn cut_if_ended_on_purpose(&self, id: SessionId, record: &Arc<SessionRecord>) {
        match self.store().read_outlived(id, record).await {
            Ok(reason) if !reason.is_by_time() => self.streams().cut_for(id, reason),
            // The absolute limit comes by itself, and a store that cannot say cuts nothing.
            Ok(_) | Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;
    use crate::clock::{ManualClock, WallTime};
    use crate::session::{EndReason, SessionToken};
    use crate::sessions::{Cuts, OpenStreams};

    #[tokio::test]
    async fn a_body_breaks_off_when_its_session_ends() {
        let clock = Arc::new(ManualClock::starting_at(WallTime::from_micros(0)));
        let streams = Arc::new(OpenStreams::new(clock.clone()));
        let whole = || Full::new(Bytes::from_static(b"whole"));
        let id = SessionToken::parse("A".repeat(43).as_bytes()).expect("a token").id();
        let cut = Cuttable::new(
            whole(),
            Some(streams.register(Holder::of_somebody(id), Cuts::Always, Monotonic::from_micros(u64::MAX))),
        );
        clock.advance(Duration::from_secs(1));
        streams.cut_for(id, EndReason::Logout);
        assert!(cut.collect().await.is_err());
        assert!(Cuttable::new(whole(), None).collect().await.is_ok());
    }
}
