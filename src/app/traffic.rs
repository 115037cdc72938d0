//! What the operator's side asks of the traffic side: the two know each other here alone.

use std::sync::Arc;

use crate::admin::TrafficSide;
use crate::config::Config;
use crate::proxy::Current;
use crate::signed::Published;

/// The gateway in force, for operators.
pub(super) struct Traffic {
    pub(super) current: Current,
}

impl TrafficSide for Traffic {
    fn config(&self) -> Arc<Config> {
        self.current.load().gateway.shared_config()
    }

    fn published_keys(&self) -> Option<Published> {
        self.current.load().gateway.published_keys()
    }
}
