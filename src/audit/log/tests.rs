use std::net::IpAddr;
use std::path::Path;

use super::*;
use crate::audit::chain::{Head, InstanceId};
use crate::audit::event::{Actor, AuditType, Outcome};
use crate::clock::{ManualClock, WallTime};
use crate::entropy::SystemEntropy;
use crate::telemetry::Metrics;

const LONG: Duration = Duration::from_secs(60);

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::starting_at(WallTime::from_micros(1_700_000_000_000_000)))
}

fn event(kind: AuditType) -> AuditEvent {
    AuditEvent::new(WallTime::from_micros(0), kind, Outcome::Success, Actor::User).by_request(
        IpAddr::from([192, 0, 2, 1]),
        None,
        "r",
    )
}

fn open(path: &Path, metrics: &Metrics) -> AuditLog {
    let target = AuditTarget::File(path.to_path_buf());
    let key = Some(Secret::new("a key for tests"));
    let settings = AuditSettings { target, key, entropy: Arc::new(SystemEntropy), shared: false };
    AuditLog::open(settings, clock(), metrics.audit()).expect("opens")
}

fn types(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("the file is there");
    text.lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .map(|line| line["type"].as_str().expect("a type").to_owned())
        .collect()
}

#[test]
fn what_was_recorded_before_the_end_is_written_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.jsonl");
    let log = open(&path, &Metrics::new());
    for kind in [AuditType::SessionCreated, AuditType::SessionEnded, AuditType::ConfigReloaded] {
        log.record(event(kind));
    }
    assert!(log.shutdown(LONG));
    assert_eq!(types(&path), ["session.created", "session.ended", "config.reloaded"]);
}

#[tokio::test]
async fn a_durable_line_is_on_disk_when_the_call_returns() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.jsonl");
    let log = open(&path, &Metrics::new());
    for expected in 1..=3 {
        log.record_durably(event(AuditType::SessionEnded)).await.expect("on disk");
        assert_eq!(types(&path).len(), expected);
    }
}

#[test]
fn a_flood_is_two_lines_and_its_counts_add_up_even_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.jsonl");
    let log = open(&path, &Metrics::new());
    for _ in 0..200_000 {
        log.record(event(AuditType::LoginFailed));
    }
    log.record(event(AuditType::SessionCreated));
    assert!(log.shutdown(LONG));
    let text = std::fs::read_to_string(&path).expect("the file is there");
    let counts: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .filter(|line| line["type"] == "login.failed")
        .map(|line| line["details"]["count"].as_u64().expect("a count"))
        .collect();
    assert_eq!(counts, [1, 199_999]);
    assert!(types(&path).contains(&"session.created".to_owned()));
}

#[tokio::test]
async fn a_full_disk_is_said_to_who_waits_and_counted() {
    let metrics = Metrics::new();
    let log = open(Path::new("/dev/full"), &metrics);
    assert_eq!(log.record_durably(event(AuditType::SessionEnded)).await, Err(AuditUnavailable));
    assert!(log.is_failing());
    assert_eq!(log.record_durably(event(AuditType::SessionEnded)).await, Err(AuditUnavailable));
    assert!(log.shutdown(LONG), "a full disk does not hang the end");
    assert!(!metrics.encode().contains("session_gateway_audit_write_errors_total 0\n"));
}

/// As if the disk hung.
fn without_writer(metrics: &Metrics) -> AuditLog {
    without_writer_and_with_room(metrics, 2)
}

fn without_writer_and_with_room(metrics: &Metrics, room: usize) -> AuditLog {
    let head = Head::start_of(InstanceId::of_random([0; 9]));
    let outbox = Arc::new(Outbox::at(head, false, metrics.audit()));
    AuditLog { shared: Arc::new(Waiting::new(clock(), metrics.audit(), outbox, room)) }
}

#[tokio::test]
async fn what_was_recorded_is_in_the_file_when_it_was_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.jsonl");
    let log = Arc::new(open(&path, &Metrics::new()));
    assert!(log.written().await, "nothing is waited for");
    for expected in 1..=50 {
        log.record(event(AuditType::SessionCreated));
        assert!(log.written().await);
        assert_eq!(types(&path).len(), expected);
    }
    let many = (0..200).map(|_| {
        let log = log.clone();
        async move {
            log.record(event(AuditType::SessionEnded));
            log.written().await
        }
    });
    assert!(futures_util::future::join_all(many).await.into_iter().all(|written| written));
    assert_eq!(types(&path).len(), 250);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_waited_for_once_and_one_that_refuses_never() {
    let metrics = Metrics::new();
    let log = without_writer_and_with_room(&metrics, 8);
    log.record(event(AuditType::SessionCreated));
    let begun = tokio::time::Instant::now();
    assert!(!log.written().await && log.is_failing());
    assert_eq!(begun.elapsed().as_secs(), WRITTEN_WITHIN.as_secs());
    assert!(!log.written().await);
    assert_eq!(begun.elapsed().as_secs(), WRITTEN_WITHIN.as_secs());
    assert!(metrics.encode().contains("session_gateway_audit_answers_unwritten_total 2\n"));
    log.shared.wrote(1);
    assert!(log.written().await && !log.is_failing());
}

#[test]
fn what_a_client_can_repeat_never_pushes_out_what_it_cannot_when_the_disk_is_full() {
    let metrics = Metrics::new();
    let log = open(Path::new("/dev/full"), &metrics);
    let id = |number: u32| crate::session::SessionId::parse(format!("{number:022}").as_bytes()).expect("an id");
    for round in 0..200_000 {
        log.record(event(AuditType::IdentitySpoofed).of_session(id(round % 4)));
    }
    for source in 0..100_000 {
        log.record(event(AuditType::SessionRejected).of_session(id(source)));
    }
    for _ in 0..30_000 {
        log.record(event(AuditType::SessionCreated));
    }
    assert!(metrics.encode().contains("session_gateway_audit_events_dropped_total 0\n"));
    assert!(log.shutdown(LONG));
}

#[test]
fn many_sources_of_what_can_be_repeated_leave_room_for_the_rest() {
    let metrics = Metrics::new();
    let log = without_writer_and_with_room(&metrics, 400);
    for source in 0..1000_u16 {
        let [high, low] = source.to_be_bytes();
        let event = AuditEvent { address: Some(IpAddr::from([192, 0, high, low])), ..event(AuditType::LoginFailed) };
        log.record(event);
    }
    assert!(metrics.encode().contains("session_gateway_audit_events_dropped_total 900\n"));
    for _ in 0..300 {
        log.record(event(AuditType::SessionCreated));
    }
    assert!(metrics.encode().contains("session_gateway_audit_events_dropped_total 900\n"));
}

#[tokio::test(start_paused = true)]
async fn an_operators_action_waits_for_room_in_the_queue() {
    let metrics = Metrics::new();
    let log = without_writer(&metrics);
    for _ in 0..2 {
        log.record(event(AuditType::SessionCreated));
    }
    let action = log.record_durably(event(AuditType::AdminCalled));
    let writer = async {
        let mut entries = Vec::new();
        // Meanwhile the action waits.
        tokio::time::sleep(Duration::from_secs(4)).await;
        log.shared.queue.take(&mut entries, Duration::ZERO);
        assert_eq!(entries.len(), 2);
        log.shared.room.notify_waiters();
        while entries.last().is_none_or(|entry| entry.confirmed.is_none()) {
            tokio::task::yield_now().await;
            log.shared.queue.take(&mut entries, Duration::ZERO);
        }
        for confirmed in entries.drain(..).filter_map(|entry| entry.confirmed) {
            confirmed.send(Ok(())).expect("it waits");
        }
    };
    assert_eq!(tokio::join!(action, writer).0, Ok(()));
    assert!(metrics.encode().contains("session_gateway_audit_events_dropped_total 0\n"));
}

#[tokio::test(start_paused = true)]
async fn an_operators_action_is_told_when_there_was_no_room_in_time() {
    let metrics = Metrics::new();
    let log = without_writer(&metrics);
    for _ in 0..2 {
        log.record(event(AuditType::SessionCreated));
    }
    assert_eq!(log.record_durably(event(AuditType::AdminCalled)).await, Err(AuditUnavailable));
    assert!(metrics.encode().contains("session_gateway_audit_events_dropped_total 1\n"));
}

#[test]
fn what_the_queue_cannot_hold_is_counted_and_never_waited_for() {
    let metrics = Metrics::new();
    // No writer: as if the disk hung.
    let log = without_writer(&metrics);
    for _ in 0..5 {
        log.record(event(AuditType::SessionCreated));
    }
    assert!(metrics.encode().contains("session_gateway_audit_events_dropped_total 3\n"));
    assert!(!log.shutdown(Duration::ZERO), "what hangs is given up after its time");
}
