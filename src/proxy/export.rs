//! Exports: the records of an answer are counted while it streams by (docs/monitoring.md), and nothing of it is kept.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use http::{Method, Response};

use super::acts::who;
use super::body::AnswerBody;
use super::counting::{Counting, To};
use super::exchange::Exchange;
use super::forward::Cleared;
use super::services::Gateway;
use crate::config::ExportRoute;
use crate::monitor::{CountBy, in_content_range, number};
use crate::session::By;

const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

impl Gateway {
    /// Has the backend answer in a form in which records can be counted: all of it, for a part of it (`bytes=1-`) is no JSON
    /// that can be understood, nor are its lines those of the whole.
    pub(super) fn ask_for_records(route: Option<&Arc<ExportRoute>>, cleared: &mut Cleared) {
        if route.is_some_and(|route| route.by.reads()) {
            cleared.headers.insert(ACCEPT_ENCODING, IDENTITY);
            cleared.headers.remove_named(&RANGE);
            cleared.headers.remove_named(&IF_RANGE);
        }
    }

    /// Counts the records of an answer, if it is an export.
    pub(super) fn counted(
        &self,
        exchange: &Exchange,
        route: Option<Arc<ExportRoute>>,
        answer: Response<AnswerBody>,
    ) -> Response<AnswerBody> {
        let Some(route) = route else { return answer };
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
            let counting = Counting::new(counter, u64::from(often).max(1), to);
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
