//! The harness tried on its own, and the reason for the product: what the legacy apps do without a gateway.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    Browser, Gate, RedisServer, Step, Wire, answer, django, echo, exchange, flask, poll, send, wait_until,
};

#[test]
fn the_naked_flask_app_gives_any_tenants_data_to_whoever_names_the_tenant() {
    let mut stranger = Browser::new(flask().address());
    let stolen = stranger.request("GET", "/api/invoices").header("X-Customer-ID", "77").send().expect(200);
    assert_eq!(stolen.at("/company"), "Fabrikam Robotics");
}

#[test]
fn the_naked_flask_app_goes_on_after_a_logout() {
    let mut browser = Browser::new(flask().address());
    let login = browser.post_json("/api/login", &json!({"username": "alice", "password": "demo"})).expect(200);
    assert_eq!((login.at("/user/customer_id"), login.at("/user/user_id")), ("42".into(), "7".into()));
    browser.post("/api/logout").expect(200);
    browser.request("GET", "/api/invoices").header("X-Customer-ID", "42").send().expect(200);
}

#[test]
fn the_naked_django_app_gives_its_users_any_tenants_data() {
    let mut browser = Browser::new(django().address());
    browser.get("/api/me").expect(401);
    let login = browser.log_in_to_django("alice").expect(302);
    assert_eq!(login.header("location"), Some("/"));
    assert_eq!(browser.get("/api/me").expect(200).at("/org/id"), "42");
    let stolen = browser.request("GET", "/api/shipments").header("X-Customer-ID", "77").send().expect(200);
    assert_eq!(stolen.at("/organisation"), "Fabrikam Robotics");
}

#[test]
fn a_failed_login_is_401_in_flask_and_200_in_django() {
    let mut browser = Browser::new(flask().address());
    browser.post_json("/api/login", &json!({"username": "alice", "password": "wrong"})).expect(401);
    let mut browser = Browser::new(django().address());
    browser.get("/accounts/login/");
    let token = browser.cookie("csrftoken").expect("the form sets it").to_owned();
    let fields = [("csrfmiddlewaretoken", token.as_str()), ("username", "alice"), ("password", "wrong")];
    browser.post_form("/accounts/login/", &fields).expect(200);
    assert!(browser.cookie("sessionid").is_none());
}

#[test]
fn the_echo_backend_records_bytes_and_mirrors_them() {
    let backend = echo();
    let request = "POST /x?y=%41 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a:  2 \r\nContent-Length: 3\r\n\r\nabc";
    let response = exchange(backend.address(), request).expect(200);
    assert_eq!(response.at("/body"), "abc");
    let seen = backend.last();
    assert!(request.as_bytes().starts_with(&seen.raw) && seen.complete);
    assert_eq!((seen.target.as_str(), seen.path()), ("/x?y=%41", "/x"));
    assert_eq!(seen.headers.all("X-A"), ["1", "2"]);
}

#[test]
fn the_echo_backend_reads_chunks_and_trailers_and_keeps_the_connection() {
    let backend = echo();
    let mut wire = Wire::connect(backend.address());
    wire.send("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\n");
    wire.receive().expect(200);
    assert_eq!((backend.last().body, backend.last().trailers.get("t")), (b"abcde".to_vec(), Some("v")));
    wire.send("HEAD /y HTTP/1.1\r\n\r\n").receive_for("HEAD").expect(200);
    wire.send("GET /z HTTP/1.1\r\nConnection: close\r\n\r\n").receive().expect(200);
    assert!(wire.is_closed());
    assert_eq!((backend.connections(), backend.seen().len()), (1, 3));
}

#[test]
fn a_script_says_exactly_what_is_answered_and_when() {
    let backend = echo();
    let gate = Gate::closed();
    let early =
        send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let rest = send("2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n");
    backend.on("/slow", [early, Step::Await(gate.clone()), rest, Step::Close]);
    let mut wire = Wire::connect(backend.address());
    let mut response = wire.send("GET /slow HTTP/1.1\r\n\r\n").try_receive_head().expect("the head comes first");
    assert_eq!(response.interim[0].0, 103);
    wire.patience(Duration::from_millis(100));
    assert!(wire.receive_body("GET", &mut response).is_err(), "nothing may come before the gate opens");
    gate.open();
    wire.patience(Duration::from_secs(5)).receive_body("GET", &mut response).expect("then the body comes");
    assert_eq!((response.text(), response.trailers.get("x-t")), ("hi".into(), Some("1")));
    assert!(wire.is_closed());
}

#[test]
fn a_login_at_the_echo_backend_answers_what_the_test_wishes() {
    let backend = echo();
    let mut browser = Browser::new(backend.address());
    let wish =
        json!({"answer": {"user": {"customer_id": 1}}, "status": 202, "headers": [["Set-Cookie", "a=b; HttpOnly"]]});
    let response = browser.post_json("/api/login", &wish).expect(202);
    assert_eq!((response.at("/user/customer_id"), browser.cookie("a")), ("1".into(), Some("b")));
    backend.on("/gone", [answer("204 No Content", &[("Set-Cookie", "a=; Max-Age=0")], "")]);
    browser.get("/gone").expect(204);
    assert_eq!(browser.cookie("a"), None);
}

#[test]
fn a_redis_keeps_its_data_through_a_kill_and_can_be_frozen() {
    let mut redis = RedisServer::start();
    redis.command(&["SET", "k", "v"]);
    redis.kill();
    redis.start_again();
    assert_eq!(redis.command(&["GET", "k"]), "v\r\n");
    assert_eq!(redis.keys(), ["k"]);
    redis.freeze();
    assert!(poll(Duration::from_millis(100), || None::<()>).is_none());
    redis.thaw();
    wait_until("an answer", || (redis.command(&["PING"]) == "+PONG\r\n").then_some(()));
    assert!(redis.calls("PING") > 0);
}
