//! What the operator's side asks of the traffic side: the two know each other here alone.

use std::sync::Arc;

use crate::admin::TrafficSide;
use crate::config::Config;
use crate::proxy::Current;
use crate::proxy::OpenStreams;
use crate::session::{EndReason, SessionId};

/// The gateway in force, for operators.
pub(super) struct Traffic {
    pub(super) current: Current,
    pub(super) streams: Arc<OpenStreams>,
}

impl TrafficSide for Traffic {
    fn config(&self) -> Arc<Config> {
        self.current.load().gateway.shared_config()
    }

    fn session_ended(&self, id: SessionId, reason: EndReason) {
        self.current.load().gateway.cut_streams(id, reason);
    }

    fn sessions_ended(&self) {
        self.streams.ask_now();
    }
}
