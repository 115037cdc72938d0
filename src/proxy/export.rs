//! Exports: the records of an answer are counted while it streams by (docs/monitoring.md), and nothing of it is kept.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue};
use http::{Method, Response};

use super::acts::who;
use super::body::AnswerBody;
use super::exchange::Exchange;
use super::forward::Cleared;
use super::services::Gateway;
use crate::config::{Config, ExportRoute};
use crate::monitor::{CountBy, RecordCounter, in_content_range, number};
use crate::session::By;
use crate::told::Origin;
use crate::watch::{Watch, Who};

const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

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
struct To {
    watch: Watch,
    config: Arc<Config>,
    route: Arc<ExportRoute>,
    who: Who,
    origin: Origin,
}

impl To {
    fn tell(&self, records: u64) {
        if let Some(rules) = &self.config.monitor {
            self.watch.exported(rules, records, &self.route.name, &self.who, self.origin.clone());
        }
    }
}

impl Counting {
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

impl Gateway {
    /// Has the backend answer in a form in which records can be counted.
    pub(super) fn ask_for_records(route: Option<&Arc<ExportRoute>>, cleared: &mut Cleared) {
        if route.is_some_and(|route| route.by.reads()) {
            cleared.headers.insert(ACCEPT_ENCODING, IDENTITY);
        }
    }

    /// Counts the records of an answer.
    pub(super) fn count_records(
        &self,
        exchange: &Exchange,
        route: Arc<ExportRoute>,
        answer: Response<AnswerBody>,
    ) -> Response<AnswerBody> {
        let Some(who) = who(exchange).filter(|_| answer.status().is_success()) else { return answer };
        if exchange.method == Method::HEAD {
            return answer;
        }
        let (watch, config) = (self.watch().clone(), self.shared_config());
        let Some(often) = config.monitor.as_ref().and_then(|rules| Some(rules.exports.as_ref()?.rule.count)) else {
            return answer;
        };
        let to = To { watch, config, origin: exchange.origin(By::User), route, who };
        if let Some(counter) = to.route.by.counter() {
            if to.route.by.reads() && is_encoded(answer.headers()) {
                self.metrics().monitor_dropped();
                return answer;
            }
            let counting = Counting { counter, told: 0, often: u64::from(often).max(1), to };
            return answer.map(|body| body.counted_by(counting));
        }
        match said_by(&to.route.by, answer.headers()) {
            Some(records) => to.tell(records),
            // Nobody knows how many there were.
            None => self.metrics().monitor_dropped(),
        }
        answer
    }
}

fn said_by(by: &CountBy, headers: &HeaderMap) -> Option<u64> {
    match by {
        CountBy::Header(name) => number(headers.get(name)?.as_bytes()),
        CountBy::ContentRange => in_content_range(headers.get(CONTENT_RANGE)?.as_bytes()),
        CountBy::Each => Some(1),
        CountBy::Lines | CountBy::Pointer(_) | CountBy::Bytes(_) => None,
    }
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
}
