//! Several processes of one backend; one that speaks TLS; one that moves to another address.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::support::echo::{Echo, echo_at};
use crate::support::gateway::write_certificate;
use crate::support::ports::free_port;
use crate::support::process::Process;
use crate::support::python::flask_over_tls;
use crate::support::{Browser, Gateway, Store, answer, echo, gateway, scratch, wait_until};

/// A gateway in front of two processes of one backend, and the two.
fn two(settings: &str) -> (Gateway, Echo, Echo) {
    let (one, other) = (echo(), echo());
    let urls = [&one, &other].map(|backend| format!("http://{}", backend.address()));
    let gateway = gateway(Store::Embedded)
        .with_backend(&one)
        .without("upstream.url")
        .set("upstream.urls", urls.to_vec())
        .settings(settings)
        .start();
    (gateway, one, other)
}

#[test]
fn a_tenants_requests_meet_in_one_process() {
    let (gateway, one, other) = two("upstream.balance = \"hash-tenant\"");
    let mut used = [false, false];
    for tenant in 0..12 {
        let mut browser = gateway.logged_in(&tenant.to_string(), "7");
        let path = format!("/of/{tenant}");
        for _ in 0..3 {
            browser.get(&path).expect(200);
        }
        let seen = [one.seen_at(&path).len(), other.seen_at(&path).len()];
        assert!(seen == [3, 0] || seen == [0, 3], "{seen:?}");
        used[usize::from(seen[0] == 0)] = true;
    }
    assert_eq!(used, [true, true], "tenants are spread");
}

#[test]
fn a_process_that_fails_its_checks_gets_no_requests_and_checks_are_no_users_requests() {
    let (gateway, one, other) = two("upstream.health_path = \"/up\"");
    for backend in [&one, &other] {
        let check = backend.wait_for("/up");
        assert_eq!(check.method, "GET");
        assert_eq!(check.header("host"), Some(gateway.address().to_string().as_str()));
        assert!(check.header("user-agent").is_some_and(|agent| agent.contains("health check")));
    }
    one.on("/up", [answer("503 Service Unavailable", &[], "")]);
    wait_until("one process that is out", || (gateway.metric("upstream_peer_up", "") == 1.0).then_some(()));
    gateway.wait_log(&["failed its checks", "503"]);
    for _ in 0..4 {
        gateway.browser().get("/public/x").expect(200);
    }
    assert_eq!((one.seen_at("/public/x").len(), other.seen_at("/public/x").len()), (0, 4));
    let (counted, checks) = (gateway.metric("requests_total", "public"), one.seen_at("/up").len());
    assert!(counted <= 4.0 && checks >= 2, "{counted} {checks}");
    one.on("/up", [answer("204 No Content", &[], "")]);
    wait_until("both in", || (gateway.metric("upstream_peer_up", "") == 2.0).then_some(()));
    // With all of them out, requests still go to one.
    for backend in [&one, &other] {
        backend.on("/up", [answer("500 Internal Server Error", &[], "")]);
    }
    wait_until("all out", || (gateway.metric("upstream_peer_up", "") == 0.0).then_some(()));
    gateway.browser().get("/public/y").expect(200);
}

#[test]
fn a_backend_over_tls_is_vouched_for_by_its_own_authority_and_by_its_name() {
    let folder = scratch();
    for name in ["backend", "stranger"] {
        write_certificate(folder.path(), name, &["localhost"]);
    }
    let authority = |name: &str| folder.path().join(format!("{name}.crt")).display().to_string();
    let app = flask_over_tls(folder.path(), "backend");
    let trusting = |name: &str| gateway(Store::Embedded).with_backend(&app).set("upstream.ca", authority(name));
    let gateway = trusting("backend").start();
    let mut browser = gateway.browser();
    browser.log_in_to_flask("alice");
    let told = browser.request("GET", "/api/invoices").header("X-Customer-ID", "77").send().expect(200);
    assert_eq!(told.at("/believed/customer_id"), "42");

    let by_number = format!("https://{}", app.address());
    for refused in [trusting("stranger"), trusting("backend").set("upstream.url", by_number)] {
        let gateway = refused.start();
        gateway.browser().get("/api/health").expect_refusal(502, "upstream_unreachable");
        gateway.wait_log(&["certificate"]);
    }

    // A check looks at the certificate, too.
    let check = |name: &str| {
        let output = trusting(name).check(&["--connect"]);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = check("backend");
    assert!(code == Some(0) && said.contains("connected, its certificate is right"), "{said}");
    let (code, said) = check("stranger");
    assert!(code == Some(1) && said.contains("certificate"), "{said}");
}

/// A gateway before `http://backend.test`, whose hosts are those of a file; nothing of the machine's is touched.
fn with_hosts_of_its_own(port: u16, hosts: &Path) -> (SocketAddr, Process, tempfile::TempDir) {
    let builder = gateway(Store::Embedded)
        .with_backend(&echo())
        .set("upstream.url", format!("http://backend.test:{port}"))
        .set("upstream.keepalive", "1m");
    let address = builder.config()["server"]["listen"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let (mut command, directory) = builder.command();
    command.args(["serve", "--config", "gateway.toml"]);
    let wrapped = command.env("LD_PRELOAD", "libnss_wrapper.so").env("NSS_WRAPPER_HOSTS", hosts);
    let mut process = Process::spawn(wrapped);
    process.wait_ready("the gateway", || std::net::TcpStream::connect(address).is_ok());
    (address, process, directory)
}

#[test]
fn a_backend_that_moves_to_another_address_is_followed() {
    let (folder, port) = (scratch(), free_port());
    let hosts = folder.path().join("hosts");
    // The wrapper sees a change by the second in which it was made.
    let lives_at = |address: &str, second: u64| {
        std::fs::write(&hosts, format!("{address} backend.test\n")).expect("a file");
        let file = std::fs::File::options().write(true).open(&hosts).expect("just written");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(second)).expect("it is ours");
    };
    let at = |address: &str| echo_at(format!("{address}:{port}").parse().expect("an address"));
    let (old, new) = (at("127.0.0.1"), at("127.0.0.2"));
    lives_at("127.0.0.1", 1);
    let (address, _process, _directory) = with_hosts_of_its_own(port, &hosts);
    let mut browser = Browser::new(address);
    browser.get("/public/x").expect(200);
    assert_eq!((old.seen().len(), new.seen().len()), (1, 0));
    lives_at("127.0.0.2", 2);
    // The old one still answers, and a connection to it is kept; still it is left within seconds.
    wait_until("the new address", || {
        browser.get("/public/x").expect(200);
        (!new.seen().is_empty()).then_some(())
    });
    let left = old.seen().len();
    for _ in 0..5 {
        browser.get("/public/x").expect(200);
    }
    assert_eq!(old.seen().len(), left, "it is not asked again");
}
