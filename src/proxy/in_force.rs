//! What is in force for the clients' connections: the gateway that answers, their bounds, and how far the end of the process
//! has come. Owns no socket.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use super::limits::ListenerLimits;
use super::services::Gateway;

/// How long a connection that was just accepted may take to begin its first request when the process ends.
const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// The gateway that answers, and the bounds of new connections. A reload swaps both at once.
pub struct InForce {
    /// Answers requests.
    pub gateway: Arc<Gateway>,
    /// Bounds connections.
    pub limits: Arc<ListenerLimits>,
}

/// What is in force now.
pub type Current = Arc<ArcSwap<InForce>>;

/// How far the end of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Traffic is served.
    Serving,
    /// Traffic is served, and each answer is its connection's last: whoever keeps connections for later requests has
    /// none to this process by the time it closes.
    Leaving,
    /// No new connections; requests in flight finish.
    Closing,
}

/// Ready when no new requests are to be taken.
pub(super) async fn closing(stage: &mut watch::Receiver<Stage>) {
    // An error means that nobody can say so any more, which is the same.
    let _ = stage.wait_for(|stage| *stage == Stage::Closing).await;
}

/// Ready when a connection is to end after the request it has. One that was accepted and has sent nothing yet is given a
/// moment: its first request is on the way, and closing would lose it.
pub(super) async fn ending(stage: &mut watch::Receiver<Stage>, begun: &Notify) {
    closing(stage).await;
    let _ = tokio::time::timeout(FIRST_REQUEST, begun.notified()).await;
}
