//! Records of an export, told while its answer streams by.

use std::sync::Arc;

use crate::config::{Config, ExportRoute};
use crate::monitor::RecordCounter;
use crate::told::Origin;
use crate::watch::{Watch, Who};

/// Counts the records of one answer.
pub(super) struct Counting {
    counter: RecordCounter,
    /// How many of them were told.
    told: u64,
    /// After how many more they are told before the end.
    often: u64,
    to: To,
}

/// Who is told of records, and whose they are.
pub(super) struct To {
    pub(super) watch: Watch,
    pub(super) config: Arc<Config>,
    pub(super) route: Arc<ExportRoute>,
    pub(super) who: Who,
    pub(super) origin: Origin,
}

impl To {
    pub(super) fn tell(&self, records: u64) {
        if let Some(rules) = &self.config.monitor {
            self.watch.exported(rules, records, &self.route.name, &self.who, self.origin.clone());
        }
    }
}

impl Counting {
    /// Those of an answer that comes from now on. They are told before the end each time that there are so many more.
    pub(super) const fn new(counter: RecordCounter, often: u64, to: To) -> Self {
        Self { counter, told: 0, often, to }
    }

    /// So much more of the answer. A long one is told of before its end.
    pub(super) fn take(&mut self, piece: &[u8]) {
        self.counter.take(piece);
        if self.counter.records().saturating_sub(self.told) >= self.often {
            self.tell();
        }
    }

    fn tell(&mut self) {
        let records = self.counter.records();
        self.to.tell(records.saturating_sub(self.told));
        self.told = records;
    }
}

impl Drop for Counting {
    /// What was sent counts, whether or not that was all.
    fn drop(&mut self) {
        self.tell();
    }
}
