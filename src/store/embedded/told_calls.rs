//! What gateways told each other of calls. In memory: nobody but this process has the file.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::super::acts::{TOLD_FOR, ToldCalls};
use crate::monitor::CallCount;
use crate::session::StoreTime;

/// What was told: by whom, when, and what they counted.
#[derive(Default)]
pub(super) struct ToldInMemory {
    gateways: Mutex<HashMap<String, (StoreTime, Vec<CallCount>)>>,
    bell: Notify,
}

impl ToldInMemory {
    /// Takes what one tells, and answers what the others told.
    pub(super) fn exchange(&self, gateway: &str, counts: &[CallCount], rings: bool, now: StoreTime) -> ToldCalls {
        let mut gateways = self.gateways.lock();
        gateways.retain(|_, (written, _)| now.since(*written) < TOLD_FOR);
        let is_new = gateways.insert(gateway.to_owned(), (now, counts.to_vec())).is_none();
        let others: Vec<&Vec<CallCount>> =
            gateways.iter().filter(|(name, _)| *name != gateway).map(|(_, (_, counts))| counts).collect();
        if rings || (is_new && !others.is_empty()) {
            self.bell.notify_waiters();
        }
        let gateways = u32::try_from(others.len()).unwrap_or(u32::MAX);
        ToldCalls { now, others: gateways, counts: others.into_iter().flatten().copied().collect() }
    }

    /// Waits until somebody rings.
    pub(super) async fn news(&self) {
        self.bell.notified().await;
    }
}
