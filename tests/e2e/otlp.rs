//! Traces: a collector gets a span for each request, below the one that it came with and above the backend's.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use toml::Table;

use crate::support::echo::Echo;
use crate::support::{Gateway, Store, answer, echo, gateway, wait_until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn collector() -> Echo {
    let collector = echo();
    collector.on("/otlp/v1/traces", [answer("200 OK", &[("Content-Type", "application/x-protobuf")], "")]);
    collector
}

fn traced(backend: &Echo, collector: &Echo, more: &str) -> Gateway {
    let traces = format!("url = \"http://{}/otlp\"\nheaders = {{ x-key = \"k\" }}\n{more}", collector.address());
    let traces: Table = traces.parse().expect("TOML");
    gateway(Store::Embedded).with_backend(backend).set("telemetry.traces", traces).start()
}

fn spans(collector: &Echo) -> Vec<Span> {
    let calls = collector.seen_at("/otlp/v1/traces").into_iter().filter(|call| call.complete);
    let decoded = calls.map(|call| {
        assert_eq!(call.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(call.header("x-key"), Some("k"));
        ExportTraceServiceRequest::decode(&call.body[..]).expect("protobuf")
    });
    decoded
        .flat_map(|call| call.resource_spans)
        .flat_map(|resource| {
            let attributes = resource.resource.expect("one").attributes;
            assert!(attributes.iter().any(|one| one.key == "service.name"), "{attributes:?}");
            resource.scope_spans
        })
        .flat_map(|scope| scope.spans)
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn said(span: &Span, key: &str) -> Option<String> {
    let value = span.attributes.iter().find(|one| one.key == key)?.value.clone()?.value?;
    Some(match value {
        Any::StringValue(text) => text,
        Any::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

#[test]
fn each_request_has_a_span_below_the_one_it_came_with_and_above_the_backends() {
    let (backend, collector) = (echo(), collector());
    let gateway = traced(&backend, &collector, "");
    let line = format!("traceparent: 00-{TRACE}-{PARENT}-00");
    gateway.get_with_lines("/public/page?code=secret", &[&line, "tracestate: vendor=1"]).expect(200);
    let span = wait_until("its span", || spans(&collector).into_iter().find(|span| hex(&span.trace_id) == TRACE));
    assert_eq!(hex(&span.parent_span_id), PARENT);
    assert_eq!(span.name, "GET /public/*");
    assert_eq!(said(&span, "url.path").as_deref(), Some("/public/page"));
    assert_eq!(said(&span, "http.response.status_code").as_deref(), Some("200"));
    assert!(!format!("{span:?}").contains("secret"));
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano);

    let seen = backend.seen_at("/public/page").pop().expect("it came");
    // A client is not believed that its trace is not recorded, nor that it is.
    assert_eq!(seen.header("traceparent"), Some(&*format!("00-{TRACE}-{}-01", hex(&span.span_id))));
    assert_eq!(seen.header("tracestate"), Some("vendor=1"));
    let logged = gateway.wait_log(&["\"path\":\"/public/page\""]);
    assert_eq!(logged["trace_id"], TRACE);
}

#[test]
fn a_request_of_no_trace_begins_one_and_a_refused_one_has_a_span_too() {
    let (backend, collector) = (echo(), collector());
    let gateway = traced(&backend, &collector, "");
    gateway.get_with_lines("/public/new", &["tracestate: vendor=1", "traceparent: none"]).expect(200);
    gateway.get_with_lines("/private", &["Accept: application/json"]).expect(401);
    let [begun, refused] = wait_until("both spans", || {
        let find =
            |path: &str| spans(&collector).into_iter().find(|span| said(span, "url.path").as_deref() == Some(path));
        Some([find("/public/new")?, find("/private")?])
    });
    let seen = backend.seen_at("/public/new").pop().expect("it came");
    let told = format!("00-{}-{}-01", hex(&begun.trace_id), hex(&begun.span_id));
    assert_eq!((seen.header("traceparent"), seen.header("tracestate")), (Some(&*told), None));
    assert!(begun.parent_span_id.iter().all(|byte| *byte == 0));
    assert_eq!(said(&refused, "error.type").as_deref(), Some("session_required"));
}

#[test]
fn a_collector_that_is_gone_costs_nobody_an_answer_and_is_told_once() {
    let backend = echo();
    let collector = collector();
    collector.on("/otlp/v1/traces", [answer("503 Full", &[], "")]);
    let gateway = traced(&backend, &collector, "");
    for _ in 0..3 {
        gateway.browser().get("/public/page").expect(200);
        let calls = collector.seen_at("/otlp/v1/traces").len();
        wait_until("another call", || (collector.seen_at("/otlp/v1/traces").len() > calls).then_some(()));
    }
    let told = |gateway: &Gateway| gateway.log().iter().filter(|line| line.contains("spans are lost")).count();
    wait_until("a warning", || (told(&gateway) > 0).then_some(()));
    assert_eq!(told(&gateway), 1);
    assert!(gateway.metric("trace_batches_total", "outcome=\"failure\"") >= 1.0);
    collector.on("/otlp/v1/traces", [answer("200 OK", &[("Content-Type", "application/x-protobuf")], "")]);
    gateway.browser().get("/public/page").expect(200);
    gateway.wait_log(&["takes spans again"]);
}

#[test]
fn what_waits_is_handed_over_before_the_process_ends() {
    let (backend, collector) = (echo(), collector());
    let mut gateway = traced(&backend, &collector, "");
    gateway.browser().get("/public/last").expect(200);
    gateway.terminate();
    assert!(gateway.process().wait(Duration::from_secs(20)).is_some());
    assert!(spans(&collector).iter().any(|span| said(span, "url.path").as_deref() == Some("/public/last")));
}

#[test]
fn nothing_is_told_of_a_trace_where_none_are_made() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let line = format!("traceparent: 00-{TRACE}-{PARENT}-01");
    gateway.get_with_lines("/public/page", &[&line, "tracestate: vendor=1"]).expect(200);
    gateway.browser().get("/public/other").expect(200);
    let seen = |path: &str| backend.seen_at(path).pop().expect("it came");
    assert_eq!(seen("/public/page").header("traceparent"), Some(&line["traceparent: ".len()..]));
    assert_eq!(seen("/public/page").header("tracestate"), Some("vendor=1"));
    assert_eq!(seen("/public/other").header("traceparent"), None);
}
