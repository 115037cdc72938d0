//! From the file to the store: new lines at once, where the chain stands every minute and at the end.
//!
//! Runs beside the request path and never holds it up. A store that does not answer is asked again; what it did not
//! take meanwhile waits in the [`Outbox`], which is bounded.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::chain::Head;
use super::log::AuditTarget;
use super::outbox::Outbox;
use crate::clock::SharedClock;
use crate::entropy::spread;
use crate::store::audit::{Anchor, Anchored, AuditAnchors, AuditStream};

/// Between two anchors.
const ANCHOR_EVERY: Duration = Duration::from_secs(60);
/// Between attempts while the store does not answer.
const RETRY: Duration = Duration::from_millis(500);
/// Lines in one call: a few milliseconds of the server's time.
const LINES: usize = 200;

/// Where the audit log's lines and its chain's place go.
pub struct Sharing {
    /// Keeps where the chain stands.
    pub anchors: Arc<dyn AuditAnchors>,
    /// Takes the lines, when several gateways share a store.
    pub stream: Option<Arc<dyn AuditStream>>,
    /// The clock that anchors carry.
    pub clock: SharedClock,
    /// The host and the file, for people.
    pub place: String,
}

/// What shares the audit log, at work.
#[derive(Debug)]
pub struct SharingTask {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl SharingTask {
    /// Hands on what is still to be handed on, within this time. To be called once the audit log has written its last
    /// line.
    pub async fn finish(self, within: Duration) {
        self.stop.cancel();
        if timeout(within, self.task).await.is_err() {
            tracing::warn!("the store did not take the end of the audit log; the file has it");
        }
    }
}

/// The host and the file: where a chain is written.
#[must_use]
pub fn place_of(target: &AuditTarget) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    match target {
        AuditTarget::File(path) => format!("{host}:{}", absolute(path).display()),
        AuditTarget::Stdout => format!("{host}:-"),
    }
}

fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

impl Sharing {
    /// Starts to share what the outbox gets.
    #[must_use]
    pub fn start(self, outbox: Arc<Outbox>) -> SharingTask {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task =
            tokio::spawn(
                async move { Sharer { sharing: self, outbox, anchored: None, failing: false }.run(stopped).await },
            );
        SharingTask { stop, task }
    }
}

struct Sharer {
    sharing: Sharing,
    outbox: Arc<Outbox>,
    /// What the store knows of the chain.
    anchored: Option<Head>,
    failing: bool,
}

impl Sharer {
    async fn run(mut self, stop: CancellationToken) {
        // At once: what was cut off while the gateway was not running is noticed before it is overwritten.
        let mut anchor_at = Instant::now();
        let mut send_at: Option<Instant> = None;
        loop {
            let wait = async {
                match send_at {
                    Some(at) => sleep_until(at).await,
                    None => self.outbox.arrival().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(anchor_at) => {
                    anchor_at = Instant::now() + if self.anchor().await { ANCHOR_EVERY } else { spread(RETRY) };
                }
                () = wait => send_at = (!self.send().await).then(|| Instant::now() + spread(RETRY)),
            }
        }
        while self.outbox.waiting() > 0 && !self.send().await {
            tokio::time::sleep(spread(RETRY)).await;
        }
        while !self.anchor().await {
            tokio::time::sleep(spread(RETRY)).await;
        }
    }

    /// Sends all that waits. Answers whether the store took it.
    async fn send(&mut self) -> bool {
        let Some(stream) = self.sharing.stream.clone() else { return true };
        loop {
            let lost = self.outbox.take_lost();
            if lost > 0 {
                tracing::error!(lost, "audit events did not get to the store, the file alone has them");
            }
            let lines = self.outbox.next(LINES);
            if lines.is_empty() {
                return true;
            }
            match stream.append(&lines).await {
                Ok(()) => {
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("the store takes audit events again");
                    }
                    self.outbox.sent(&lines);
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%error, "the store takes no audit events; the file has them, and they are tried again");
                    }
                    return false;
                }
            }
        }
    }

    /// Tells the store where the chain stands. Answers whether it knows.
    async fn anchor(&mut self) -> bool {
        let head = self.outbox.head();
        if head.seq == 0 || self.anchored == Some(head) {
            return true;
        }
        let anchor = Anchor {
            instance: head.instance.to_string(),
            seq: head.seq,
            mac: head.mac.to_string(),
            time: self.sharing.clock.wall().as_micros(),
            place: self.sharing.place.clone(),
        };
        match self.sharing.anchors.anchor(&anchor).await {
            Ok(Anchored::Kept) => self.anchored = Some(head),
            Ok(Anchored::Contradicted(known)) => {
                tracing::error!(
                    chain = known.instance,
                    known = known.seq,
                    found = head.seq,
                    "the audit file is older than what the store knows of it, lines were cut off or changed: a new chain \
                     begins; run `session-gateway audit verify`"
                );
                self.anchored = Some(head);
                self.outbox.want_new_chain();
            }
            Err(error) => {
                tracing::debug!(%error, "the store did not take the place of the audit chain");
                return false;
            }
        }
        true
    }
}
