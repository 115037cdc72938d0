//! The listener's own bounds, and what is open to all.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{Method, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Admin, request, with_hosts};
use crate::admin::{AdminServer, AdminSettings, Client, MAX_HEADER_BYTES, router};
use crate::socket::Sockets;

const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Serves at a free port.
fn start(admin: &Admin, settings: AdminSettings) -> SocketAddr {
    let server = AdminServer::bind(settings, &mut Sockets::new(false)).expect("binds");
    let address = server.local_addr().expect("an address");
    let client = Client { router: router::router(admin.state.clone()), tls: None, settings };
    tokio::spawn(server.accept(client));
    address
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn a_client_gets_its_answer() {
    let admin = Admin::new();
    let address = start(&admin, AdminSettings::at(LOOPBACK));
    let answer = exchange(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
}

#[tokio::test]
async fn a_client_that_never_ends_its_headers_is_cut_and_makes_room() {
    let settings =
        AdminSettings { max_connections: 1, header_timeout: Duration::from_millis(50), ..AdminSettings::at(LOOPBACK) };
    let admin = Admin::new();
    let address = start(&admin, settings);
    let mut slow = TcpStream::connect(address).await.expect("connects");
    slow.write_all(b"GET / HTTP/1.1\r\nX").await.expect("sends");
    let answer = exchange(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let mut rest = Vec::new();
    let _an_end_or_a_reset = slow.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn whoever_says_nothing_keeps_nobody_from_asking_how_the_gateway_is() {
    let admin = Admin::new();
    let settings = AdminSettings::at(LOOPBACK);
    let address = start(&admin, settings);
    let mut silent = Vec::new();
    for _ in 0..settings.max_connections + 10 {
        silent.push(TcpStream::connect(address).await.expect("connects"));
    }
    let asked = exchange(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let answer = tokio::time::timeout(settings.header_timeout / 2, asked).await.expect("long before they are cut");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let mut rest = Vec::new();
    silent[0].read_to_end(&mut rest).await.expect("the oldest made room");
}

#[tokio::test]
async fn a_connection_ends_after_its_lifetime() {
    let settings = AdminSettings { connection_lifetime: Duration::from_millis(50), ..AdminSettings::at(LOOPBACK) };
    let admin = Admin::new();
    let address = start(&admin, settings);
    let answer = exchange(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn headers_beyond_the_bound_are_refused() {
    let admin = Admin::new();
    let address = start(&admin, AdminSettings::at(LOOPBACK));
    let long = "x".repeat(MAX_HEADER_BYTES);
    let answer = exchange(address, &format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {long}")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn readiness_says_its_reasons_and_warnings() {
    let admin = Admin::new();
    let readiness = &admin.state.services.commons.readiness;
    readiness.configuration_loaded();
    readiness.store_seen(false);
    readiness.warn("identity.mode", Some("is `observe`: nothing is enforced".into()));
    let got = admin.send(request(Method::GET, "/readyz", None, None)).await.expect(503);
    assert_eq!(
        got,
        serde_json::json!({
            "ready": false,
            "reasons": ["store_unreachable"],
            "warnings": [{ "about": "identity.mode", "warning": "is `observe`: nothing is enforced" }],
        })
    );
    readiness.store_seen(true);
    let got = admin.send(request(Method::GET, "/readyz", None, None)).await.expect(200);
    assert_eq!(got["ready"], true);
}

#[tokio::test]
async fn start_and_life_are_told_apart_from_readiness() {
    let admin = Admin::new();
    let status = async |path| admin.send(request(Method::GET, path, None, None)).await.status;
    assert_eq!(status("/healthz").await, 200);
    assert_eq!(status("/startupz").await, 503);
    let readiness = &admin.state.services.commons.readiness;
    readiness.configuration_loaded();
    readiness.store_seen(true);
    readiness.begin_draining();
    assert_eq!(status("/startupz").await, 200);
    assert_eq!(status("/readyz").await, 503);
}

#[tokio::test]
async fn metrics_are_open_and_in_the_format_that_was_asked_for() {
    let admin = Admin::new();
    for (accept, kind, counter, ends) in [
        (
            None,
            "text/plain; version=0.0.4; charset=utf-8",
            "# TYPE session_gateway_sessions_created_total counter\n",
            false,
        ),
        (Some("text/plain"), "text/plain; version=0.0.4; charset=utf-8", "_total counter\n", false),
        (
            Some("application/openmetrics-text"),
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "# TYPE session_gateway_sessions_created counter\n",
            true,
        ),
    ] {
        let mut asked = request(Method::GET, "/metrics", None, None);
        if let Some(accept) = accept {
            asked.headers_mut().insert(header::ACCEPT, accept.parse().expect("a value"));
        }
        let got = admin.send(asked).await;
        assert_eq!((got.status, got.headers[header::CONTENT_TYPE].as_bytes()), (200, kind.as_bytes()));
        assert!(got.body.contains("session_gateway_store_up 0\n") && got.body.contains(counter), "{}", got.body);
        assert_eq!(got.body.ends_with("# EOF\n"), ends);
    }
}

#[tokio::test]
async fn a_page_elsewhere_cannot_read_the_listener_by_having_its_name_lead_here() {
    let admin = Admin::new();
    let address = start(&admin, AdminSettings::at(LOOPBACK));
    let status = async |line: &str, path: &str| {
        let answer = exchange(address, &format!("GET {path} HTTP/1.1\r\n{line}Connection: close\r\n\r\n")).await;
        (answer[9..12].to_owned(), answer.contains("\"code\":\"host_not_allowed\""))
    };
    let fine = (String::from("200"), false);
    let refused = (String::from("421"), true);
    for path in ["/metrics", "/healthz", "/v1/sessions", "/nowhere"] {
        for host in [
            "evil.test",
            "evil.test:9090",
            "127.0.0.1.evil.test",
            "localhost.evil.test",
            "localhost.",
            "gateway.internal",
            "",
            "a b",
        ] {
            assert_eq!(status(&format!("Host: {host}\r\n"), path).await, refused, "{host} {path}");
        }
        assert_eq!(status("", path).await, refused, "{path}");
        assert_eq!(status("Host: localhost\r\nHost: evil.test\r\n", path).await, refused, "{path}");
    }
    for host in ["localhost", "LocalHost:9090", "127.0.0.1", "192.0.2.1:9090", "[::1]:9090", "10.0.0.7"] {
        assert_eq!(status(&format!("Host: {host}\r\n"), "/metrics").await, fine, "{host}");
    }
    let answer =
        exchange(address, "GET http://evil.test/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    let answer = exchange(address, "GET /metrics HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    *admin.traffic.config.lock() = with_hosts(["gateway.internal", "*.mesh"]);
    for host in ["gateway.internal", "gateway.internal:9090", "a.mesh", "localhost"] {
        assert_eq!(status(&format!("Host: {host}\r\n"), "/metrics").await, fine, "{host}");
    }
    assert_eq!(status("Host: evil.test\r\n", "/metrics").await, refused);
}

#[tokio::test]
async fn whatever_else_is_asked_is_a_problem_and_nothing_more() {
    let admin = Admin::new();
    for (method, path, expected) in [
        (Method::GET, "/", 404),
        (Method::GET, "/v1", 404),
        (Method::GET, "/v1/sessions/", 404),
        (Method::GET, "/readyz/", 404),
        (Method::GET, "//metrics", 404),
        (Method::POST, "/metrics", 405),
        (Method::DELETE, "/healthz", 405),
        (Method::DELETE, "/v1/sessions", 405),
    ] {
        let got = admin.call(method, path, None).await;
        assert_eq!(got.problem().0, expected, "{path}");
        assert_eq!(got.headers.contains_key(header::ALLOW), expected == 405, "{got:?}");
    }
    let got = admin.call(Method::PATCH, "/v1/sessions", None).await;
    let allowed = got.headers[header::ALLOW].to_str().expect("text");
    assert!(allowed.contains("GET") && allowed.contains("POST") && !allowed.contains("DELETE"), "{allowed}");
}
