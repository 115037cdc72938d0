//! The end of the process: signals, what is in flight, the last lines.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::supervisor;
use crate::audit::AuditLog;
use crate::audit::share::SharingTask;
use crate::health::Readiness;
use crate::proxy::{Current, Stage};
use crate::store::touch_queue::TouchQueue;
use crate::telemetry::Traces;
use crate::watch::Watch;

/// How long the audit log and the log may take to write their last lines.
pub(super) const LAST_LINES: Duration = Duration::from_secs(5);
/// How long the last spans may take to the collector of traces.
const LAST_SPANS: Duration = Duration::from_secs(2);
/// How long the store may take to take the audit log's end.
const LAST_SHARED: Duration = Duration::from_secs(2);

/// The signals that end the program.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on they are heard.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for a signal, and after SIGTERM for as long as load balancers need to notice that this instance is no
    /// longer ready. Ctrl-C does not wait: a person did it. A second signal ends the wait.
    pub(super) async fn drain(&mut self, current: &Current, readiness: &Readiness, stage: &watch::Sender<Stage>) {
        let terminated = tokio::select! {
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => false,
        };
        readiness.begin_draining();
        supervisor::stopping();
        stage.send_replace(Stage::Leaving);
        let in_force = current.load_full();
        let server = &in_force.gateway.config().server;
        tracing::info!(delay = ?server.drain_delay, timeout = ?server.drain_timeout, "draining");
        if terminated {
            tokio::select! {
                () = tokio::time::sleep(server.drain_delay) => {}
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        }
    }
}

/// What is under way for clients.
pub(super) struct InFlight {
    /// The accept loops.
    pub(super) accepting: JoinSet<()>,
    pub(super) connections: TaskTracker,
    /// Exchanges that run to their end.
    pub(super) exchanges: TaskTracker,
}

impl InFlight {
    /// Waits until all of it has ended, for `timeout` at most. Nothing new comes in by then.
    pub(super) async fn finish(self, timeout: Duration) {
        let Self { mut accepting, connections, exchanges } = self;
        let finish = async {
            // The queues are emptied first: until then there may be further connections.
            while accepting.join_next().await.is_some() {}
            connections.close();
            exchanges.close();
            connections.wait().await;
            exchanges.wait().await;
        };
        if tokio::time::timeout(timeout, finish).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "requests were still in flight at the end of drain_timeout"
            );
        }
    }
}

/// What is written once nobody is served any more.
pub(super) struct LastWords {
    pub(super) touches: Arc<TouchQueue>,
    pub(super) watch: Watch,
    pub(super) background: JoinSet<()>,
    pub(super) traces: Option<Arc<Traces>>,
    pub(super) audit: Arc<AuditLog>,
    pub(super) sharing: SharingTask,
}

impl LastWords {
    /// Writes all of it.
    pub(super) async fn write(mut self) {
        self.touches.flush().await;
        self.background.shutdown().await;
        self.watch.reports().flush().await;
        while self.watch.keep_reported().await {}
        if let Some(traces) = self.traces {
            let _ = tokio::task::spawn_blocking(move || traces.shutdown(LAST_SPANS)).await;
        }
        let audit = self.audit;
        let written = tokio::task::spawn_blocking(move || audit.shutdown(LAST_LINES)).await;
        if !matches!(written, Ok(true)) {
            tracing::error!("the audit log could not be written to its end");
        }
        self.sharing.finish(LAST_SHARED).await;
    }
}
