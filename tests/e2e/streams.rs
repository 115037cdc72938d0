//! Answers and uploads that take long: piece by piece, and cut when their session ends (docs/behaviour.md, "Open streams").

use std::time::{Duration, Instant};

use serde_json::json;

use crate::on_both_stores;
use crate::support::{Gate, SESSION_COOKIE, Step, Store, answer, echo, gateway, let_pass, send, wait_until};

const CUT: Duration = Duration::from_secs(1);
const TOKEN: &str = "operator-1234567890-1234567890-1234567890";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> Step {
    send(format!("{:x}\r\n{text}\r\n", text.len()))
}

fn ask(gateway: &crate::support::Gateway, browser: &crate::support::Browser, path: &str) -> crate::support::Wire {
    let mut wire = gateway.wire();
    let (host, token) = (gateway.address(), browser.token());
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {SESSION_COOKIE}={token}\r\n\r\n"));
    wire
}

#[test]
fn each_event_arrives_before_the_next_is_made_and_no_time_out_of_the_head_ends_it() {
    let backend = echo();
    let gates = [Gate::closed(), Gate::closed(), Gate::closed()];
    let [one, two, three] = gates.clone().map(Step::Await);
    let end = send("0\r\n\r\n");
    backend.on_head("/events", [send(EVENTS), one, chunk("data: 1\n\n"), two, chunk("2"), three, chunk("3"), end]);
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("upstream.response_timeout", "500ms")
        .set("server.header_timeout", "500ms")
        .set("server.body_timeout", "500ms")
        .set("server.write_timeout", "500ms")
        .start();
    let mut wire = ask(&gateway, &gateway.logged_in("42", "7"), "/events");
    assert_eq!(wire.try_receive_head().expect("the head comes before any event").status, 200);
    for (gate, event) in gates.iter().zip(["data: 1\n\n", "2", "3"]) {
        let_pass(Duration::from_millis(700));
        gate.open();
        let begin = Instant::now();
        assert_eq!(wire.chunk().expect("a chunk"), Some(event.as_bytes().to_vec()));
        assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
    }
    assert_eq!(wire.chunk().expect("the last chunk"), None);
}

on_both_stores!(a_logout_cuts_the_sessions_streams_and_no_others, |store| {
    let backend = echo();
    backend.on_head("/events", [send(EVENTS), chunk("1"), Step::Hang]);
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut mine = ask(&gateway, &browser, "/events");
    let mut other = ask(&gateway, &gateway.logged_in("42", "7"), "/events");
    for wire in [&mut mine, &mut other] {
        assert_eq!(wire.try_receive_head().expect("a head").status, 200);
        assert_eq!(wire.chunk().expect("a chunk"), Some(b"1".to_vec()));
    }
    browser.post("/api/logout").expect(200);
    let ended = Instant::now();
    assert!(mine.rest().is_empty(), "it is cut, without an end that looks like one");
    assert!(ended.elapsed() < CUT, "{:?}", ended.elapsed());
    other.patience(CUT);
    assert!(!other.is_closed());
});

#[test]
fn what_another_gateway_ends_is_cut_here_within_a_second() {
    let backend = echo();
    backend.on_head("/events", [send(EVENTS), chunk("1"), Step::Hang]);
    let store = Store::redis();
    let [here, there] = [(); 2].map(|()| gateway(store.clone()).with_backend(&backend).start());
    let mut browser = here.logged_in("42", "7");
    let mut wire = ask(&there, &browser, "/events");
    assert_eq!(wire.try_receive_head().expect("a head").status, 200);
    assert_eq!(wire.chunk().expect("a chunk"), Some(b"1".to_vec()));
    browser.post("/api/logout").expect(200);
    let ended = Instant::now();
    assert!(wire.rest().is_empty());
    assert!(ended.elapsed() < CUT, "{:?}", ended.elapsed());
}

on_both_stores!(events_do_not_keep_a_session_alive, |store| {
    let backend = echo();
    let events: Vec<Step> = (0..100).flat_map(|_| [chunk("x"), Step::Pause(Duration::from_millis(100))]).collect();
    backend.on_head("/events", [vec![send(EVENTS)], events].concat());
    let gateway = gateway(store).with_backend(&backend).idle("2s").start();
    let browser = gateway.logged_in("42", "7");
    let begin = Instant::now();
    let mut wire = ask(&gateway, &browser, "/events");
    wire.rest();
    let lived = begin.elapsed();
    assert!(lived > Duration::from_millis(1900) && lived < Duration::from_millis(3200), "{lived:?}");
    browser.clone().get("/x").expect_refusal(401, "session_idle_timeout");
});

#[test]
fn a_stream_that_the_client_does_not_read_is_cut_as_well() {
    let backend = echo();
    let megabytes = Step::Repeat(vec![b'x'; 1 << 20], 100);
    backend.on_head("/big", [send("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n"), megabytes]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut wire = ask(&gateway, &browser, "/big");
    assert_eq!(wire.try_receive_head().expect("a head").status, 200);
    let_pass(Duration::from_millis(300));
    browser.post("/api/logout").expect(200);
    let ended = Instant::now();
    let line = gateway.wait_log(&["\"/big\"", "\"complete\":false"]);
    assert!(ended.elapsed() < CUT, "{line}");
    assert!(wire.rest().len() < 64 << 20, "what the client's kernel and the gateway held, and no more");
}

on_both_stores!(an_ordinary_answer_is_whole_even_if_its_session_ends_before_it_comes, |store| {
    let backend = echo();
    let gate = Gate::closed();
    backend.on("/slow", [Step::Await(gate.clone()), answer("200 OK", &[], "the whole answer")]);
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut wire = ask(&gateway, &browser, "/slow");
    backend.wait_for("/slow");
    let_pass(Duration::from_millis(300));
    browser.post("/api/logout").expect(200);
    let_pass(CUT);
    gate.open();
    assert_eq!(wire.receive().expect(200).text(), "the whole answer");
});

#[test]
fn an_upload_is_cut_and_its_client_told_why() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("upstream.request_body", "stream").start();
    let mut browser = gateway.logged_in("42", "7");
    let (host, token) = (gateway.address(), browser.token());
    let head = |length: &str| {
        format!("POST /upload HTTP/1.1\r\nHost: {host}\r\nCookie: {SESSION_COOKIE}={token}\r\n{length}\r\n\r\n")
    };
    let mut wires = [head("Content-Length: 1000"), head("Transfer-Encoding: chunked")].map(|head| {
        let mut wire = gateway.wire();
        wire.send(head);
        wire
    });
    wires[0].send("part of it");
    wires[1].send("4\r\npart\r\n");
    wait_until("both uploads", || {
        let arrived = backend.seen_at("/upload").iter().filter(|seen| seen.received > 0).count();
        (arrived == 2).then_some(())
    });
    browser.post("/api/logout").expect(200);
    let ended = Instant::now();
    for wire in &mut wires {
        wire.receive().expect_refusal(401, "session_revoked");
    }
    assert!(ended.elapsed() < CUT, "{:?}", ended.elapsed());
    for wire in &mut wires {
        // Who goes on sending has its answer; what it sends goes nowhere.
        wire.send("5\r\nmore!\r\n");
        assert!(wire.is_closed());
    }
    assert!(backend.seen_at("/upload").iter().all(|seen| !seen.complete), "a part is never taken for the whole");
}

#[test]
fn the_answer_to_the_logout_itself_is_whole() {
    let backend = echo();
    let body: Vec<Step> = (0..5).flat_map(|_| [chunk("bye"), Step::Pause(Duration::from_millis(300))]).collect();
    backend.on("/api/logout", [vec![send(EVENTS)], body, vec![send("0\r\n\r\n")]].concat());
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let answer = gateway.logged_in("42", "7").post("/api/logout").expect(200);
    assert_eq!(answer.text(), "bye".repeat(5));
}

on_both_stores!(an_upload_whose_bytes_come_in_is_use_but_where_nothing_is, |store| {
    let backend = echo();
    let quiet = vec!["/quiet/*"];
    let gateway = gateway(store).with_backend(&backend).idle("2s").set("session.no_touch", quiet).start();
    for (path, lives) in [("/upload", true), ("/quiet/upload", false)] {
        let mut browser = gateway.logged_in("42", "7");
        let cookie = format!("Cookie: {SESSION_COOKIE}={}", browser.token());
        let mut wire = gateway.wire();
        wire.send(format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\n{cookie}\r\nContent-Length: 13\r\n\r\n",
            gateway.address()
        ));
        // Longer than the session may idle.
        for _ in 0..12 {
            if wire.try_send("x").is_err() {
                break;
            }
            let_pass(Duration::from_millis(300));
        }
        let _ = wire.try_send("x");
        if lives {
            assert_eq!(wire.receive().expect(200).at("/body_bytes"), "13");
            browser.get("/x").expect(200);
        } else {
            wire.receive().expect_refusal(401, "session_idle_timeout");
        }
    }
});

on_both_stores!(a_download_that_outlived_its_session_is_cut_when_whose_it_was_is_shut_out, |store| {
    let backend = echo();
    let pieces = (0..600).flat_map(|_| [send("x"), Step::Pause(Duration::from_millis(100))]);
    let whole = send("HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n");
    backend.on_head("/big", [whole].into_iter().chain(pieces).collect::<Vec<_>>());
    let gateway = gateway(store).with_backend(&backend).idle("2s").set("admin.token", TOKEN).start();
    let mut operator = gateway.operator(TOKEN);
    let shut_out = [
        ("POST", "/v1/tenants/42/users/7/revoke", json!({"reason": "left"})),
        ("PUT", "/v1/tenants/42", json!({"status": "suspended", "reason": "unpaid"})),
    ];
    for (method, path, body) in shut_out {
        // Whether the end by time was noticed, and so written down, makes no difference.
        let [mut noticed, unnoticed] = [(); 2].map(|()| gateway.logged_in("42", "7"));
        let mut wires = [&noticed, &unnoticed].map(|browser| ask(&gateway, browser, "/big"));
        for wire in &mut wires {
            assert_eq!(wire.try_receive_head().expect("a head").status, 200);
        }
        let_pass(Duration::from_millis(2600));
        noticed.get("/x").expect_refusal(401, "session_idle_timeout");
        let_pass(Duration::from_millis(900));
        for wire in &mut wires {
            assert!(wire.exactly(20).is_ok(), "idleness does not cut it");
        }
        operator.request(method, path).json(&body).send().expect(200);
        let ended = Instant::now();
        for wire in &mut wires {
            assert!(wire.rest().len() < 580);
            assert!(ended.elapsed() < CUT, "{:?}", ended.elapsed());
        }
    }
});
