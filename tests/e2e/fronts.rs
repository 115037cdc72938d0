//! nginx and HAProxy in front, with the configurations of `deploy/`: whose address is believed, what passes, and what is
//! lost when one of two gateways ends (nothing).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::curl::Curl;
use crate::support::echo::Echo;
use crate::support::front::{Builder, Front, haproxy, nginx};
use crate::support::gateway::write_certificate;
use crate::support::logins::identity;
use crate::support::process::Process;
use crate::support::{Backend, Browser, Gate, Gateway, Step, Store, Wire, echo, gateway, let_pass, send, wait_until};
use crate::websockets::{Server, script, server, wait_line};

/// The address that clients come from. The proxy's own is 127.0.0.1, which alone is trusted.
const CLIENT: &str = "127.0.0.9";

/// Where the client's TLS ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tls {
    /// At the proxy.
    AtTheProxy,
    /// At the proxy, which speaks TLS with the gateway, too.
    Twice,
    /// At the gateway; the proxy says by the PROXY protocol whose connections it passes through.
    AtTheGateway,
}

/// A proxy, a gateway behind it, and what is behind that.
struct Site {
    backend: Echo,
    gateway: Gateway,
    front: Front,
    /// The one that clients see.
    certificate: PathBuf,
    _sockets: Server,
}

impl Site {
    fn start(front: Builder, tls: Tls) -> Self {
        let (backend, sockets) = (echo(), server());
        let mut builder = gateway(Store::Embedded)
            .with_backend(&backend)
            .settings(&format!(
                "[upstreams.sockets]\nurl = \"{}\"\n[[routes]]\nmatch = [\"/chat\"]\nupstream = \"sockets\"",
                sockets.url()
            ))
            .set("server.mode", "production")
            .set("server.public_url", format!("https://localhost:{}", front.address().port()))
            .set("server.trusted_proxies", vec!["127.0.0.1/32"]);
        if tls != Tls::AtTheProxy {
            let name = if tls == Tls::Twice { "gateway.internal" } else { "localhost" };
            write_certificate(builder.directory(), "tls", &[name]);
            builder = builder.settings("server.tls = { cert = \"tls.crt\", key = \"tls.key\" }");
        }
        if tls == Tls::AtTheGateway {
            builder = builder.set("server.proxy_protocol", "required");
        }
        let gateway = builder.start();
        let own = gateway.file("tls.crt");
        let front = match tls {
            Tls::AtTheProxy => front,
            Tls::Twice => front.with_file("gateway-ca.crt", &own),
            Tls::AtTheGateway => front.with_file("app-ca.crt", &own),
        };
        let front = front.start([gateway.address(); 2]);
        let certificate = if tls == Tls::AtTheGateway { own } else { front.certificate() };
        Self { backend, gateway, front, certificate, _sockets: sockets }
    }

    fn curl(&self, options: &[&str]) -> Curl {
        self.front.curl(&self.certificate).with(&["--interface", CLIENT]).with(options)
    }

    /// Logs in as user 7 of tenant 42 and returns the cookie's pair.
    fn log_in(&self, options: &[&str]) -> String {
        let body = json!({"answer": identity("42", "7")}).to_string();
        let call = self.curl(options).header("Content-Type", "application/json").with(&["--data", &body]);
        let login = call.get("/api/login").expect(200);
        let line = login.header("set-cookie").expect("a session");
        assert!(line.starts_with("__Host-session=") && line.contains("; Secure"), "{line}");
        line.split(';').next().expect("a pair").to_owned()
    }

    /// What must hold behind every proxy.
    fn holds(&self) {
        for (version, protocol) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2")] {
            self.a_session_lives_and_ends(&[version], protocol);
        }
        self.a_websocket_is_cut_at_the_logout();
        self.an_event_is_passed_on_before_the_next_is_there();
        // Health checks of the proxy's own are no users' requests, and nobody's address but the client's was believed.
        let addresses = self.gateway.audit();
        let addresses = addresses.iter().filter_map(|event| event["address"].as_str());
        assert!(addresses.clone().count() > 0 && addresses.clone().all(|address| address == CLIENT));
    }

    fn a_session_lives_and_ends(&self, options: &[&str], protocol: &str) {
        let cookie = self.log_in(options);
        let claims = [
            ("X-Customer-ID", "77"),
            ("X-Forwarded-For", "203.0.113.66"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Real-IP", "203.0.113.66"),
            ("Forwarded", "for=203.0.113.66;proto=http"),
            ("X-Forwarded-Host", "evil.test"),
            ("X-Request-ID", "chosen-by-client"),
        ];
        let call = claims.iter().fold(self.curl(options), |call, (name, value)| call.header(name, value));
        let (spoken, response) = call.header("Cookie", &cookie).send("/api/spoofed");
        assert_eq!(spoken, protocol);
        response.expect(200);
        let seen = self.backend.last();
        assert_eq!(seen.identity(), (Some("42"), Some("7")));
        let ours = format!("localhost:{}", self.front.address().port());
        assert_eq!(seen.headers.all("x-forwarded-for"), [CLIENT]);
        assert_eq!(seen.headers.all("x-forwarded-proto"), ["https"]);
        assert_eq!(seen.headers.all("x-forwarded-host"), [ours.as_str()]);
        assert_eq!(seen.headers.all("host"), [ours.as_str()]);
        for claim in ["203.0.113.66", "evil.test", "chosen-by-client"] {
            assert!(!String::from_utf8_lossy(&seen.raw).contains(claim), "{claim}");
        }
        let request = seen.header("x-request-id").expect("a name");
        assert_eq!(self.gateway.wait_log(&["/api/spoofed", request])["address"], CLIENT);
        let spoof = self.gateway.wait_audit("identity.spoofed", |event| event["request_id"] == request);
        assert_eq!(spoof["address"], CLIENT);

        let post = |origin: &str| self.curl(options).header("Cookie", &cookie).header("Origin", origin);
        post(&format!("https://{ours}")).with(&["--data", "x=1"]).get("/api/x").expect(200);
        post("https://evil.test").with(&["--request", "POST"]).get("/api/x").expect_refusal(403, "csrf_failed");
        let large = "x".repeat(100_000);
        std::fs::write(self.gateway.file("large"), &large).expect("a file");
        let data = format!("@{}", self.gateway.file("large").display());
        post(&format!("https://{ours}")).with(&["--data-binary", &data]).get("/api/large").expect(200);
        assert_eq!(self.backend.last().body, large.as_bytes());

        post(&format!("https://{ours}")).with(&["--data", ""]).get("/api/logout").expect(200);
        self.curl(options).header("Cookie", &cookie).get("/api/x").expect_refusal(401, "session_revoked");
    }

    fn an_event_is_passed_on_before_the_next_is_there(&self) {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        let gate = Gate::closed();
        let steps = [send(head), send("data: one\n\n"), Step::Await(gate.clone()), send("data: two\n\n"), Step::Close];
        self.backend.on("/public/events", steps);
        let stream = self.curl(&["--no-buffer"]).start("/public/events");
        wait_line(&stream, "data: one");
        assert!(!stream.lines().iter().any(|line| line.starts_with("data: two")));
        gate.open();
        wait_line(&stream, "data: two");
    }

    fn a_websocket_is_cut_at_the_logout(&self) {
        let cookie = self.log_in(&[]);
        let origin = format!("https://localhost:{}", self.front.address().port());
        let certificate = self.certificate.to_str().expect("a path");
        let socket = Process::spawn(script("websocket_client.py").args([
            &format!("{}/chat", origin.replace("https", "wss")),
            &origin,
            &cookie,
            CLIENT,
            certificate,
        ]));
        assert_eq!(wait_line(&socket, "echo"), "echo 42: in three fragments");
        wait_line(&socket, "ready");
        self.curl(&["--data", ""]).header("Cookie", &cookie).get("/api/logout").expect(200);
        assert_eq!(wait_line(&socket, "closed"), "closed 4401 session_revoked");
    }
}

#[test]
fn nginx_ends_tls_and_speaks_http() {
    Site::start(nginx("http.conf"), Tls::AtTheProxy).holds();
}

#[test]
fn nginx_ends_tls_and_speaks_tls() {
    Site::start(nginx("https.conf"), Tls::Twice).holds();
}

#[test]
fn nginx_passes_tls_through_with_a_proxy_header() {
    Site::start(nginx("stream.conf"), Tls::AtTheGateway).holds();
}

#[test]
fn haproxy_ends_tls_and_speaks_http() {
    Site::start(haproxy("http.cfg"), Tls::AtTheProxy).holds();
}

#[test]
fn haproxy_ends_tls_and_speaks_tls() {
    Site::start(haproxy("https.cfg"), Tls::Twice).holds();
}

#[test]
fn haproxy_passes_tls_through_with_a_proxy_header_of_version_2() {
    Site::start(haproxy("tcp.cfg"), Tls::AtTheGateway).holds();
}

#[test]
fn haproxy_passes_tls_through_with_a_proxy_header_of_version_1() {
    Site::start(haproxy("tcp.cfg").replace(" send-proxy-v2 ", " send-proxy "), Tls::AtTheGateway).holds();
}

#[test]
fn a_proxy_that_speaks_tls_with_the_gateway_takes_no_other_for_it() {
    for (front, name) in
        [(nginx("https.conf"), "proxy_ssl_name gateway.internal"), (haproxy("https.cfg"), "gateway.internal")]
    {
        let other = name.replace("gateway.internal", "another.internal");
        let site = Site::start(front.replace(name, &other), Tls::Twice);
        let status = site.curl(&[]).get("/public/x").status;
        assert!(matches!(status, 502 | 503), "{status}");
        assert!(site.backend.seen().is_empty());
    }
}

/// A customer of the site who reads and writes, on a connection that is kept for as long as the server likes.
struct Customer {
    site: SocketAddr,
    cookie: String,
    connection: Option<Wire>,
}

impl Customer {
    /// One request; the error is what is wrong with its answer.
    fn asks(&mut self, number: usize) -> Result<(), String> {
        let head = ["GET", "POST"][number % 2];
        let body = ["", "x=1"][number % 2];
        let mut wire = match self.connection.take() {
            Some(wire) => wire,
            None => Wire::try_connect(self.site).map_err(|error| format!("no connection: {error}"))?,
        };
        let request = format!(
            "{head} /api/x HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\nContent-Length: {}\r\n\r\n{body}",
            self.site,
            self.cookie,
            body.len()
        );
        let answer = wire.try_send(request).and_then(|()| wire.try_receive(head));
        let answer = answer.map_err(|error| format!("{head} got no answer: {error}"))?;
        if answer.status != 200 || !answer.text().contains("42") {
            return Err(format!("{head} got {} {}", answer.status, answer.text()));
        }
        let last = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.connection = (!last).then_some(wire);
        Ok(())
    }
}

/// Ends one of two gateways, as an update does, while customers are at work; none of them may notice. `seen` waits until
/// the proxy knows, before the gateway closes.
fn nobody_notices_that_one_of_two_ends(front: Builder, settings: &str, seen: impl Fn(&Front)) {
    let (backend, store) = (echo(), Store::redis());
    let public_url = format!("http://{}", front.address());
    let start = || {
        gateway(store.clone())
            .with_backend(&backend)
            .set("server.public_url", public_url.clone())
            .set("server.trusted_proxies", vec!["127.0.0.1/32"])
            .set("server.drain_delay", "5s")
            .settings(settings)
            .start()
    };
    let (mut one, mut two) = (start(), start());
    let front = front.start([one.address(), two.address()]);
    let mut browser = Browser::new(front.address());
    browser.log_in_with(&identity("42", "7")).expect(200);
    let cookie = format!("{}={}", crate::support::SESSION_COOKIE, browser.token());
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let work = || {
        let mut customer = Customer { site: front.address(), cookie: cookie.clone(), connection: None };
        let mut failures = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = count.fetch_add(1, Ordering::Relaxed);
            failures.extend(customer.asks(number).err());
            let_pass(Duration::from_millis(2));
        }
        failures
    };
    let served = |gateway: &Gateway| gateway.metric("requests_total", "default");
    let failures: Vec<String> = std::thread::scope(|scope| {
        let customers: Vec<_> = (0..3).map(|_| scope.spawn(work)).collect();
        wait_until("both at work", || (served(&one) > 10.0 && served(&two) > 10.0).then_some(()));
        one.terminate();
        seen(&front);
        assert!(one.process().ended().is_none(), "the proxy has noticed in time");
        let status = one.process().wait(Duration::from_secs(15)).expect("it ends");
        assert_eq!(status.code(), Some(0));
        let before = served(&two);
        wait_until("the other at work", || (served(&two) > before + 50.0).then_some(()));
        stop.store(true, Ordering::Relaxed);
        customers.into_iter().flat_map(|customer| customer.join().expect("no panic")).collect()
    });
    // It would drain, too, with nobody there to notice.
    two.process().kill();
    assert!(failures.is_empty(), "{} of {count:?} failed: {:?}", failures.len(), failures.first());
}

const PROXY_PROTOCOL: &str = "server.proxy_protocol = \"required\"";

#[test]
fn nobody_behind_nginx_notices_that_one_of_two_gateways_ends() {
    nobody_notices_that_one_of_two_ends(nginx("http.conf").without_tls(), "", |_| {});
}

#[test]
fn nobody_whom_nginx_passes_through_notices_that_one_of_two_gateways_ends() {
    nobody_notices_that_one_of_two_ends(nginx("stream.conf"), PROXY_PROTOCOL, |_| {});
}

#[test]
fn nobody_behind_haproxy_notices_that_one_of_two_gateways_ends() {
    nobody_notices_that_one_of_two_ends(haproxy("http.cfg").without_tls(), "", |front| front.wait_log("one is DOWN"));
}

#[test]
fn nobody_whom_haproxy_passes_through_notices_that_one_of_two_gateways_ends() {
    let front = haproxy("tcp.cfg").without("check-ssl");
    nobody_notices_that_one_of_two_ends(front, PROXY_PROTOCOL, |front| front.wait_log("one is DOWN"));
}
