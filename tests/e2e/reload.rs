//! A new configuration while traffic flows, and a new process in the place of the old one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Gate, Gateway, RedisServer, Step, Store, Wire, answer, echo, gateway, let_pass, wait_until};

fn reloads(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric("config_reloads_total", outcome)
}

#[test]
fn a_new_configuration_holds_for_the_next_request_also_on_an_open_connection() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let request = format!("GET /private HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address());
    let mut wire = gateway.wire();
    wire.send(&request).receive().expect(401);
    gateway.reload_with("identity.tenant_header", "X-Org");
    gateway.reload_with("session.status_path", "/me");
    assert_eq!(reloads(&gateway, "success"), 2.0);
    wire.send(&request).receive().expect(401);
    let mut browser = gateway.logged_in("42", "7");
    browser.get("/x").expect(200);
    assert_eq!((backend.last().header("x-org"), backend.last().header("x-customer-id")), (Some("42"), None));
    browser.get("/me").expect(200);
    gateway.wait_audit("config.reloaded", |event| event["outcome"] == "success");
    gateway.browser().get("/readyz").expect(200);
}

#[test]
fn a_session_lives_on_and_a_request_in_flight_ends_under_the_old_configuration() {
    let (old, new, gate) = (echo(), echo(), Gate::closed());
    old.on("/slow", [Step::Await(gate.clone()), answer("200 OK", &[], "from the old")]);
    let gateway = gateway(Store::Embedded).with_backend(&old).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut other = browser.clone();
    let in_flight = std::thread::spawn(move || browser.get("/slow"));
    old.wait_for("/slow");
    gateway.reload_with("upstream.url", format!("http://{}", new.address()));
    other.get("/y").expect(200);
    assert_eq!((old.seen_at("/y").len(), new.seen_at("/y").len()), (0, 1));
    let peers = || gateway.metric("upstream_peer_up", "default");
    gate.open();
    assert_eq!(in_flight.join().expect("an answer").expect(200).text(), "from the old");
    wait_until("only the new peer", || (peers() == 1.0).then_some(()));
}

#[test]
fn a_cookie_of_a_former_name_never_reaches_the_backend() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let token = browser.token();
    let former = browser.clone();
    browser.set_cookie("theme", "dark");
    for name in ["second", "third"] {
        gateway.reload_with("cookie.name", name);
        browser.get("/x").expect(401);
        browser.get("/public/x").expect(200);
        assert_eq!(backend.last().header("cookie"), Some("theme=dark"));
        browser.set_cookie(name, &token);
        browser.get("/x").expect(200);
        assert_eq!(backend.last().header("cookie"), Some("theme=dark"));
    }
    gateway.reload_with("session.idle", "5m");
    let mut late = former;
    late.get("/public/x").expect(200);
    assert_eq!(backend.last().header("cookie"), None);
}

#[test]
fn a_bad_file_changes_nothing_and_every_error_is_logged() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let good = std::fs::read_to_string(gateway.config()).expect("its configuration");
    for bad in ["[server\n", "[server]\nlisten = \"x\"\nnonsense = 1\n"] {
        std::fs::write(gateway.config(), bad).expect("it can be written");
        gateway.reload();
    }
    assert_eq!((reloads(&gateway, "failure"), reloads(&gateway, "success")), (2.0, 0.0));
    for key in ["server.listen", "server.nonsense"] {
        gateway.wait_log(&["was not reloaded", key]);
    }
    std::fs::write(gateway.config(), good).expect("it can be written");
    gateway.wait_audit("config.reloaded", |event| event["outcome"] == "failure");
    gateway.logged_in("42", "7").get("/x").expect(200);
}

#[test]
fn a_file_that_is_still_being_written_is_taken_whole_or_not_at_all() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let before = std::fs::read_to_string(gateway.config()).expect("its configuration");
    let mut user = gateway.logged_in("42", "7");
    // Valid by itself, and without the rule that guards what is for admins.
    let half = format!("identity.tenant_header = \"X-Org\"\n{before}");
    let rest = "[[routes]]\nmatch = [\"/admin/*\"]\nroles = [\"admin\"]\n";
    std::fs::write(gateway.config(), &half).expect("writes the first half");
    let file = gateway.config().clone();
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        std::fs::write(file, half + rest).expect("writes it all");
    });
    gateway.reload();
    writer.join().expect("no panic");
    assert_eq!(reloads(&gateway, "success"), 1.0);
    user.get("/admin/x").expect_refusal(403, "forbidden_role");
    user.get("/x").expect(200);
    assert_eq!(backend.last().header("x-org"), Some("42"));
}

#[test]
fn a_file_whose_last_line_is_not_finished_changes_nothing() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let before = std::fs::read_to_string(gateway.config()).expect("its configuration");
    std::fs::write(gateway.config(), format!("identity.tenant_header = \"X-Org\"\n{before}# the end")).expect("writes");
    gateway.reload();
    assert_eq!((reloads(&gateway, "failure"), reloads(&gateway, "success")), (1.0, 0.0));
    gateway.wait_log(&["was not reloaded", "end its last line"]);
    gateway.logged_in("42", "7").get("/x").expect(200);
    assert_eq!(backend.last().header("x-customer-id"), Some("42"));
    let checked = gateway.run(&["check", "--config", "gateway.toml"]);
    assert_eq!(checked.status.code(), Some(2), "{checked:?}");
}

#[test]
fn check_the_start_and_a_reload_say_which_text_they_read() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let digest = || {
        let checked = gateway.run(&["check", "--config", "gateway.toml"]);
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        let line = said.lines().find_map(|line| line.trim().strip_prefix("digest")).expect("a digest");
        line.trim().to_owned()
    };
    let first = digest();
    gateway.wait_log(&["\"serving\"", &first]);
    gateway.reload_with("session.idle", "5m");
    let second = digest();
    assert_ne!(first, second);
    gateway.wait_log(&["was reloaded", &second]);
    gateway.wait_audit("config.reloaded", |event| event["details"]["config"] == second);
}

#[test]
fn what_needs_a_restart_is_named_and_nothing_else_of_that_file_is_taken() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    gateway.change("identity.tenant_header", "X-Org");
    gateway.reload_with("store.embedded", "other.redb");
    gateway.wait_log(&["need a restart", "store"]);
    gateway.wait_audit("config.reloaded", |event| event["reason"] == "needs_restart");
    gateway.logged_in("42", "7").get("/x").expect(200);
    assert_eq!(backend.last().header("x-customer-id"), Some("42"));
    // For so long no revocation is kept.
    gateway.change("store.embedded", "sessions.redb");
    gateway.reload_with("session.remember", "30d");
    gateway.wait_log(&["need a restart", "\"keys\":\"session.remember\""]);
}

/// Clients that each open a connection, ask, and read the answer, until they are told to stop.
struct Clients {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Clients {
    fn start(address: SocketAddr, count: usize) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let (stop, answered) = (stop.clone(), answered.clone());
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    match ask(address) {
                        Ok(200) => drop(answered.fetch_add(1, Ordering::SeqCst)),
                        other => failures.push(format!("{other:?}")),
                    }
                }
                failures
            })
        };
        let threads = (0..count).map(client).collect();
        Self { stop, answered, threads }
    }

    fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }

    /// Waits until so many more were answered.
    fn go_on_for(&self, requests: usize) {
        let goal = self.answered() + requests;
        let begin = std::time::Instant::now();
        while self.answered() < goal {
            assert!(begin.elapsed() < Duration::from_secs(120), "{} of {goal}", self.answered());
            let_pass(Duration::from_millis(5));
        }
    }

    fn finish(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::SeqCst);
        let failures = self.threads.into_iter().flat_map(|thread| thread.join().expect("a client")).collect();
        (self.answered.load(Ordering::SeqCst), failures)
    }
}

fn ask(address: SocketAddr) -> std::io::Result<u16> {
    let mut wire = Wire::try_connect(address)?;
    wire.patience(Duration::from_secs(10));
    wire.try_send(format!("GET /public/x HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))?;
    Ok(wire.try_receive("GET")?.status)
}

/// How many requests pass around each restart; the environment can ask for more.
fn requests_a_step() -> usize {
    std::env::var("E2E_REQUESTS_A_STEP").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

#[test]
fn five_restarts_on_a_shared_port_lose_no_request() {
    let (backend, redis) = (echo(), RedisServer::start());
    let mut gateway = gateway(Store::on(&redis)).with_backend(&backend).set("server.reuse_port", true).start();
    let clients = Clients::start(gateway.address(), 8);
    for _ in 0..5 {
        clients.go_on_for(requests_a_step());
        gateway.hand_over();
        clients.go_on_for(requests_a_step());
    }
    let (answered, failures) = clients.finish();
    assert!(failures.is_empty(), "{} of {answered} failed: {failures:?}", failures.len());
    assert!(answered >= 10 * requests_a_step());
}

#[test]
fn restarts_under_a_supervisor_that_holds_the_socket_lose_no_request() {
    let backend = echo();
    let (mut gateway, socket) = gateway(Store::Embedded).with_backend(&backend).start_on_socket();
    let clients = Clients::start(gateway.address(), 8);
    clients.go_on_for(requests_a_step());
    for _ in 0..5 {
        gateway.restart_on(&socket);
        clients.go_on_for(requests_a_step());
    }
    let (answered, failures) = clients.finish();
    assert!(failures.is_empty(), "{} of {answered} failed: {failures:?}", failures.len());
}
