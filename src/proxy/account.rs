//! One log line and one count for every exchange, however it ends: answered, cut, left by its client, or by a panic.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{StatusCode, Version};

use super::connection::ExchangeGuard;
use super::exchange::Exchange;
use super::failure::{Unread, code_of_end};
use super::services::Gateway;
use crate::http::{RequestHost, TraceParent};
use crate::session::Barred;
use crate::telemetry::{AccessLine, Place};

/// What the log says of a client that went away before it was answered; no client ever gets it.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// An exchange that is under way. It is accounted for when this is dropped, which whoever ends it cannot forget.
pub(super) struct Account {
    pub(super) exchange: Exchange,
    gateway: Arc<Gateway>,
    guard: ExchangeGuard,
    answered: Option<StatusCode>,
    sent: u64,
    complete: bool,
    cut: Option<Barred>,
    /// Whether its body had a token in it that was kept back; and whether one could not be.
    withheld: bool,
    broken_off: bool,
}

impl Account {
    /// Opens the account. `guard` is held until it is closed.
    pub(super) fn open(gateway: Arc<Gateway>, exchange: Exchange, guard: ExchangeGuard) -> Box<Self> {
        let (withheld, broken_off) = (false, false);
        let (answered, sent, complete, cut) = (None, 0, false, None);
        Box::new(Self { exchange, gateway, guard, answered, sent, complete, cut, withheld, broken_off })
    }

    /// The exchange's hold on its connection.
    pub(super) const fn guard(&self) -> &ExchangeGuard {
        &self.guard
    }

    /// An answer begins.
    pub(super) const fn answered(&mut self, status: StatusCode) {
        self.answered = Some(status);
    }

    /// So many bytes of the answer were handed on.
    pub(super) const fn sent(&mut self, bytes: u64) {
        self.sent = bytes;
    }

    /// The answer was sent to its end.
    pub(super) const fn complete(&mut self) {
        self.complete = true;
    }

    /// There was a token in it, which was kept back.
    pub(super) const fn withheld(&mut self) {
        self.withheld = true;
    }

    /// There is a token in it that cannot be kept back.
    pub(super) const fn broken_off(&mut self) {
        self.broken_off = true;
    }

    /// The end of its session ended it.
    pub(super) const fn cut(&mut self, reason: Barred) {
        self.cut = Some(reason);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let (exchange, gateway) = (&self.exchange, &self.gateway);
        let route = exchange.route.as_ref().unwrap_or(&gateway.names().refused);
        let (status, mut code) = match self.answered {
            Some(status) => (status.as_u16(), exchange.code),
            None if std::thread::panicking() => (500, Some("internal_error")),
            None => (CLIENT_CLOSED_REQUEST, Some("client_closed_request")),
        };
        if let Some(reason) = self.cut {
            let cut = code_of_end(reason);
            code = Some(cut);
            gateway.metrics().stream_cut(cut);
        }
        if self.withheld {
            gateway.tell_of_withheld(exchange);
        }
        if self.broken_off {
            tell_of_broken_off(exchange);
        }
        let duration = gateway.clock().monotonic().since(exchange.started);
        if let Some(metrics) = gateway.route_metrics(route) {
            metrics.finished(status, duration, exchange.added);
        }
        let spans = gateway.traces().zip(exchange.place.as_deref());
        if !gateway.log().has_access_lines() && spans.is_none() {
            return;
        }
        let trace = exchange.place.as_deref().map(Place::trace);
        let path = exchange.path();
        let line = AccessLine {
            request_id: exchange.id.as_str(),
            method: exchange.method.as_str(),
            route,
            path: &path,
            status,
            tenant: exchange.principal.as_ref().map(|principal| &principal.tenant),
            user: exchange.principal.as_ref().map(|principal| &principal.user),
            session_id: exchange.session,
            address: exchange.client.header_value().to_str().ok(),
            host: exchange.host.as_ref().map(RequestHost::as_str),
            user_agent: exchange.user_agent.as_ref().and_then(|agent| agent.to_str().ok()),
            protocol: protocol(exchange.version),
            trace_id: trace.as_deref().or(exchange.trace.as_ref().map(TraceParent::trace)),
            duration,
            upstream: exchange.upstream,
            added: exchange.added,
            bytes_received: exchange.received.as_ref().map_or(0, |received| received.load(Ordering::Relaxed)),
            bytes_sent: self.sent,
            complete: self.complete,
            code,
        };
        gateway.log().access(&line);
        if let Some((traces, place)) = spans {
            traces.end(place, &line, gateway.clock().wall());
        }
    }
}

/// As the log calls it.
const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

impl Gateway {
    /// Accounts for a request that was refused below the pipeline, of which nothing is known but who sent it.
    pub(super) fn refused_unread(&self, peer: IpAddr, refused: Unread) {
        let (status, code) = refused.told();
        if let Some(metrics) = self.route_metrics(&self.names().refused) {
            metrics.finished(status.as_u16(), Duration::ZERO, None);
        }
        self.log().access(&AccessLine {
            request_id: self.request_ids().next().as_str(),
            method: "-",
            route: &self.names().refused,
            path: "-",
            status: status.as_u16(),
            tenant: None,
            user: None,
            session_id: None,
            address: Some(&peer.to_string()),
            host: None,
            user_agent: None,
            protocol: "-",
            trace_id: None,
            duration: Duration::ZERO,
            upstream: None,
            added: None,
            bytes_received: 0,
            bytes_sent: 0,
            complete: false,
            code: Some(code),
        });
    }

    /// Tells of a connection of HTTP/1 that ended with an error. What hyper refused by itself never reached the
    /// pipeline.
    pub(super) fn connection_failed(&self, peer: IpAddr, error: &hyper::Error) {
        if let Some(refused) = Unread::by_hyper(error) {
            self.refused_unread(peer, refused);
        }
        tracing::debug!(client = %peer, %error, "a connection ended early");
    }
}

/// An answer would have shown a token that is spelt in some other way.
fn tell_of_broken_off(exchange: &Exchange) {
    let (request_id, path) = (exchange.id.as_str(), exchange.path());
    tracing::error!(
        request_id,
        %path,
        "an answer was broken off: it has a token of the app's, in a spelling in which that cannot be taken out"
    );
}
