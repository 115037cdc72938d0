//! Traces: a span for every request that is recorded, handed to a collector by OTLP (OpenTelemetry).
//!
//! Off, nothing of it is there. On, a request's place in its trace is known when it begins, is said to the backend in
//! `traceparent` (W3C Trace Context), and its span is made when it is over, of what the access log says of it. Spans wait
//! in a bounded queue for a thread of their own; what finds no room, or no collector, is lost, and delays nobody.
//!
//! No tenant, user or session is in a span: traces go to more people than the log does. Nor is a query.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use http::HeaderValue;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanExporter, SpanLinks, SpanProcessor,
};

use super::access::AccessLine;
use crate::clock::WallTime;
use crate::entropy::SharedEntropy;

/// The most spans that wait; beyond, they are dropped.
const LONGEST_QUEUE: usize = 4096;
/// The most of them in one call of the collector.
const LARGEST_BATCH: usize = 512;
/// How long one waits for company.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Which part of all traces is recorded, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// All of them.
    pub const ALL: Self = Self(1_000_000);

    /// So many millionths; `None` above a whole.
    #[must_use]
    pub const fn of_millionths(millionths: u32) -> Option<Self> {
        if millionths <= Self::ALL.0 { Some(Self(millionths)) } else { None }
    }

    /// Whether a trace is in it: the same for everybody who asks about the trace.
    fn has(self, trace: TraceId) -> bool {
        // The last seven bytes are what W3C Trace Context (level 2) has random.
        let [.., a, b, c, d, e, f, g] = trace.to_bytes();
        let random = u64::from_be_bytes([0, a, b, c, d, e, f, g]);
        u128::from(random) * u128::from(Self::ALL.0) < u128::from(self.0) << 56
    }
}

/// The trace that a request says it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its id.
    pub trace: [u8; 16],
    /// The span that the request was made in.
    pub parent: [u8; 8],
    /// Whether it is recorded; `None` where nobody is believed who says so.
    pub recorded: Option<bool>,
}

/// A request's place in a trace.
#[derive(Clone, Debug)]
pub struct Place {
    context: SpanContext,
    /// `INVALID` where the trace begins here.
    parent: SpanId,
}

impl Place {
    /// What the backend is told.
    #[must_use]
    pub fn traceparent(&self) -> HeaderValue {
        let (trace, span, flags) = (self.context.trace_id(), self.context.span_id(), self.context.trace_flags());
        let text = format!("00-{trace}-{span}-{flags:02x}");
        // Hexadecimal digits and hyphens, so that there is no other case.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }

    /// Whether the trace has no span before this one.
    #[must_use]
    pub fn begins_here(&self) -> bool {
        self.parent == SpanId::INVALID
    }

    /// The trace, in hexadecimal.
    #[must_use]
    pub fn trace(&self) -> String {
        self.context.trace_id().to_string()
    }
}

/// Makes spans, and hands them on.
pub struct Traces {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    share: Share,
    entropy: SharedEntropy,
}

impl Traces {
    /// Hands them to `exporter`, on a thread of its own.
    #[must_use]
    pub fn new(exporter: impl SpanExporter + 'static, share: Share, entropy: SharedEntropy) -> Self {
        let settings = BatchConfigBuilder::default()
            .with_max_queue_size(LONGEST_QUEUE)
            .with_max_export_batch_size(LARGEST_BATCH)
            .with_scheduled_delay(LONGEST_WAIT)
            .build();
        let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(settings).build();
        let version = env!("CARGO_PKG_VERSION");
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", "session-gateway"),
                KeyValue::new("service.version", version),
            ])
            .build();
        processor.set_resource(&resource);
        let scope = InstrumentationScope::builder("session-gateway").with_version(version).build();
        Self { processor, scope, share, entropy }
    }

    /// Where a request stands that begins; `None` when there is no randomness to name it by.
    #[must_use]
    pub fn begin(&self, given: Option<Given>) -> Option<Place> {
        let mut random = [0; 24];
        self.entropy.fill(&mut random).ok()?;
        let [trace @ .., _, _, _, _, _, _, _, _] = random;
        let [.., a, b, c, d, e, f, g, h] = random;
        let trace = TraceId::from_bytes(given.map_or(trace, |given| given.trace));
        let recorded = given.and_then(|given| given.recorded).unwrap_or_else(|| self.share.has(trace));
        let flags = if recorded { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        let context =
            SpanContext::new(trace, SpanId::from_bytes([a, b, c, d, e, f, g, h]), flags, false, TraceState::NONE);
        Some(Place { context, parent: given.map_or(SpanId::INVALID, |given| SpanId::from_bytes(given.parent)) })
    }

    /// A request is over.
    pub fn end(&self, place: &Place, line: &AccessLine<'_>, now: WallTime) {
        if !place.context.is_sampled() {
            return;
        }
        let end = UNIX_EPOCH + Duration::from_micros(now.as_micros());
        self.processor.on_end(SpanData {
            span_context: place.context.clone(),
            parent_span_id: place.parent,
            parent_span_is_remote: !place.begins_here(),
            span_kind: SpanKind::Server,
            name: format!("{} {}", line.method, line.route).into(),
            start_time: end.checked_sub(line.duration).unwrap_or(end),
            end_time: end,
            attributes: attributes(line),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            // A client's mistake is no error of the server that finds it.
            status: if line.status >= 500 {
                Status::error(line.code.unwrap_or_default().to_owned())
            } else {
                Status::Unset
            },
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// Hands on what waits, for so long at most, and ends. Blocks.
    pub fn shutdown(&self, patience: Duration) {
        if let Err(error) = self.processor.shutdown_with_timeout(patience) {
            tracing::warn!(%error, "the last spans did not reach the collector");
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Traces").field("share", &self.share).finish_non_exhaustive()
    }
}

/// By OpenTelemetry's names for HTTP servers where it has one.
fn attributes(line: &AccessLine<'_>) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("http.request.method", line.method.to_owned()),
        KeyValue::new("http.route", line.route.to_owned()),
        KeyValue::new("url.path", line.shown_path().to_owned()),
        KeyValue::new("http.response.status_code", i64::from(line.status)),
        KeyValue::new("http.response.body.size", i64::try_from(line.bytes_sent).unwrap_or(i64::MAX)),
        KeyValue::new("session_gateway.request_id", line.request_id.to_owned()),
        KeyValue::new("session_gateway.complete", line.complete),
    ];
    attributes.extend(line.host.map(|host| KeyValue::new("server.address", host.to_owned())));
    attributes.extend(line.shown_user_agent().map(|agent| KeyValue::new("user_agent.original", agent.to_owned())));
    attributes.extend(
        line.protocol.split_once('/').map(|(_, version)| KeyValue::new("network.protocol.version", version.to_owned())),
    );
    attributes.extend(line.address.map(|address| KeyValue::new("client.address", address.to_owned())));
    attributes.extend(line.code.map(|code| KeyValue::new("error.type", code.to_owned())));
    for (name, share) in [("session_gateway.upstream_ms", line.upstream), ("session_gateway.added_ms", line.added)] {
        attributes.extend(share.map(|share| KeyValue::new(name, share.as_secs_f64() * 1000.0)));
    }
    attributes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry_sdk::error::OTelSdkResult;
    use parking_lot::Mutex;

    use super::*;
    use crate::entropy::SystemEntropy;

    const NOON: WallTime = WallTime::from_micros(1_700_000_000_000_000);
    const TRACE: [u8; 16] = [7; 16];

    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().extend(batch);
            Ok(())
        }
    }

    fn traces(share: Share) -> (Traces, Kept) {
        let kept = Kept::default();
        (Traces::new(kept.clone(), share, Arc::new(SystemEntropy)), kept)
    }

    fn line<'a>(status: u16, code: Option<&'a str>) -> AccessLine<'a> {
        AccessLine {
            request_id: "r-1",
            method: "GET",
            route: "/api/*",
            path: "/api/orders?token=secret",
            status,
            tenant: None,
            user: None,
            session_id: None,
            address: Some("203.0.113.9"),
            host: Some("app.test"),
            user_agent: Some("curl/8"),
            protocol: "HTTP/1.1",
            trace_id: None,
            duration: Duration::from_millis(12),
            upstream: Some(Duration::from_millis(10)),
            added: None,
            bytes_received: 0,
            bytes_sent: 9,
            complete: true,
            code,
        }
    }

    #[test]
    fn a_span_is_below_the_one_that_was_given_and_says_what_the_log_says_but_no_query() {
        let (traces, kept) = traces(Share::ALL);
        let place = traces.begin(Some(Given { trace: TRACE, parent: [9; 8], recorded: None })).expect("randomness");
        let told = place.traceparent();
        let told = told.to_str().expect("ASCII");
        assert!(told.starts_with("00-07070707070707070707070707070707-") && told.ends_with("-01"), "{told}");
        traces.end(&place, &line(502, Some("upstream_unreachable")), NOON);
        traces.shutdown(Duration::from_secs(5));
        let spans = kept.0.lock();
        let [span] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!(span.span_context.trace_id(), TraceId::from_bytes(TRACE));
        assert!(told.contains(&span.span_context.span_id().to_string()));
        assert_eq!((span.parent_span_id, span.parent_span_is_remote), (SpanId::from_bytes([9; 8]), true));
        assert_eq!(span.name, "GET /api/*");
        assert_eq!(span.status, Status::error("upstream_unreachable"));
        assert_eq!(span.end_time.duration_since(span.start_time).expect("in order"), Duration::from_millis(12));
        let says = format!("{:?}", span.attributes);
        for text in ["/api/orders", "203.0.113.9", "app.test", "curl/8", "upstream_unreachable", "r-1", "502"] {
            assert!(says.contains(text), "{text}: {says}");
        }
        assert!(!says.contains("secret"), "{says}");
    }

    #[test]
    fn what_is_recorded_is_decided_by_the_trace_and_by_whoever_is_believed() {
        let (none, kept) = traces(Share::of_millionths(0).expect("a share"));
        let given = |recorded| Some(Given { trace: TRACE, parent: [9; 8], recorded });
        for (traces, recorded, flags) in [
            (&none, None, "-00"),
            (&none, Some(true), "-01"),
            (&none, Some(false), "-00"),
            (&traces(Share::ALL).0, Some(false), "-00"),
            (&traces(Share::ALL).0, None, "-01"),
        ] {
            let told = traces.begin(given(recorded)).expect("randomness").traceparent();
            assert!(told.to_str().expect("ASCII").ends_with(flags), "{told:?} {recorded:?}");
        }
        let unrecorded = none.begin(None).expect("randomness");
        assert!(unrecorded.begins_here());
        none.end(&unrecorded, &line(200, None), NOON);
        none.shutdown(Duration::from_secs(5));
        assert!(kept.0.lock().is_empty());
    }

    #[test]
    fn a_share_of_traces_is_about_as_large_as_it_says() {
        let (quarter, _) = traces(Share::of_millionths(250_000).expect("a share"));
        let recorded = |_: &u32| quarter.begin(None).is_some_and(|place| place.context.is_sampled());
        let count = (0..4000).filter(recorded).count();
        // Five standard deviations.
        assert!((863..=1137).contains(&count), "{count}");
        let ids: std::collections::HashSet<_> =
            (0..1000).filter_map(|_| quarter.begin(None)).map(|place| place.trace()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
