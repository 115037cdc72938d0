//! TLS on the listener: certificates, their choice and renewal, and what the backend and the browser are told.

use std::time::Duration;

use serde_json::json;

use crate::support::gateway::{Builder, write_certificate, write_certificate_of};
use crate::support::logins::identity;
use crate::support::{Gateway, Store, curl, echo, gateway, http2, wait_until};

fn over_tls() -> Builder {
    gateway(Store::Embedded).over_tls(&["localhost"])
}

/// Logs in at the echo backend over TLS and returns the cookie's pair.
fn log_in(gateway: &Gateway, options: &[&str]) -> String {
    let body = json!({"answer": identity("42", "7")}).to_string();
    let login = curl(gateway)
        .with(options)
        .header("Content-Type", "application/json")
        .with(&["--data", &body])
        .get("/api/login")
        .expect(200);
    let line = login.header("set-cookie").expect("a session");
    assert!(line.starts_with("__Host-session=") && line.contains("; Secure"), "{line}");
    line.split(';').next().expect("a pair").to_owned()
}

#[test]
fn a_session_works_over_tls_1_2_and_1_3_and_the_backend_hears_of_https() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    for version in ["1.2", "1.3"] {
        let options = [&format!("--tlsv{version}"), "--tls-max", version, "--http1.1"];
        let cookie = log_in(&gateway, &options);
        let call = curl(&gateway).with(&options).header("Cookie", &cookie).header("X-Customer-ID", "77");
        let (protocol, response) = call.header("X-Forwarded-Proto", "http").send("/api/x");
        response.expect(200);
        assert_eq!(protocol, "HTTP/1.1", "{version}");
        assert_eq!(backend.last().identity(), (Some("42"), Some("7")));
        assert_eq!(backend.last().headers.all("x-forwarded-proto"), ["https"]);
    }
    curl(&gateway).with(&["--tls-max", "1.1"]).try_send("/api/x").expect_err("an old protocol");
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
    let backend = echo();
    let builder = gateway(Store::Embedded).set("server.hosts", vec!["*"]).with_backend(&backend);
    for (name, host) in [("first", "first.test"), ("wild", "*.app.test"), ("tls", "localhost")] {
        write_certificate(builder.directory(), name, &[host]);
    }
    let gateway = builder
        .settings(
            "[server]\ntls = [{ cert = \"first.crt\", key = \"first.key\" }, \
             { cert = \"wild.crt\", key = \"wild.key\" }, { cert = \"tls.crt\", key = \"tls.key\" }]",
        )
        .start();
    for (host, file) in [("first.test", "first.crt"), ("a.app.test", "wild.crt"), ("localhost", "tls.crt")] {
        curl(&gateway).trusting(&gateway, file).host(host).get("/public/x").expect(200);
    }
    // The first is for all others, and is then not theirs.
    let error = curl(&gateway).trusting(&gateway, "first.crt").host("other.test").try_send("/public/x");
    assert!(error.expect_err("another name").contains("other.test"));
}

#[test]
fn a_renewed_certificate_is_taken_over_and_a_bad_one_is_not() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    std::fs::copy(gateway.file("tls.crt"), gateway.file("old.crt")).expect("a copy");
    let old_works = || curl(&gateway).trusting(&gateway, "old.crt").try_send("/public/x").is_ok();
    assert!(old_works());

    std::fs::write(gateway.file("tls.key"), "no key").expect("it can be written");
    gateway.wait_log(&["the changed certificates cannot be used"]);
    assert!(old_works());
    assert!(gateway.admin_get("/readyz").expect(200).text().contains("changed certificates cannot be used"));

    write_certificate(gateway.directory(), "tls", &["localhost"]);
    gateway.wait_log(&["new certificates are in force"]);
    assert!(!old_works());
    curl(&gateway).get("/public/x").expect(200);
    wait_until("a warning that is withdrawn", || {
        (!gateway.admin_get("/readyz").expect(200).text().contains("cannot be used")).then_some(())
    });
}

#[test]
fn a_certificate_that_has_expired_or_is_not_valid_yet_takes_no_place_of_one_that_is() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    std::fs::copy(gateway.file("tls.crt"), gateway.file("old.crt")).expect("a copy");
    let old_works = || curl(&gateway).trusting(&gateway, "old.crt").try_send("/public/x").is_ok();
    assert!(gateway.metric("certificate_expiry_seconds", "localhost") > 86_400.0);
    let renew = |directory: &std::path::Path, name: &str, from: i32, to: i32| {
        write_certificate_of(directory, name, &["localhost"], &|params| {
            (params.not_before, params.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(to, 1, 1));
        });
    };
    for (from, to, said) in [(2020, 2021, "expired"), (2090, 2091, "not valid yet")] {
        renew(gateway.directory(), "tls", from, to);
        gateway.wait_log(&["the changed certificates cannot be used", said]);
        assert!(old_works());
        gateway.reload();
        assert!(old_works(), "a reload takes it over as little");
        assert!(gateway.admin_get("/readyz").expect(200).text().contains(said));
    }
    renew(gateway.directory(), "other", 2020, 2021);
    let pair = toml::Table::from_iter(["cert", "key"].map(|kind| {
        let ending = if kind == "cert" { "crt" } else { "key" };
        (kind.to_owned(), toml::Value::from(format!("other.{ending}")))
    }));
    gateway.reload_with("server.tls", pair);
    assert_eq!(gateway.metric("config_reloads_total", "failure"), 1.0, "nor do other files");
    assert!(old_works());
}

#[test]
fn a_certificate_that_is_about_to_expire_is_warned_of_and_so_is_one_for_another_host() {
    let builder = over_tls();
    write_certificate_of(builder.directory(), "tls", &["elsewhere.test"], &|params| {
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    });
    let checked = builder.with_backend(&echo()).check(&[]);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
    assert!(said.contains("warning: server.tls: the certificate for elsewhere.test expired"), "{said}");
    assert!(said.contains("no certificate is for localhost, which server.public_url names"), "{said}");
}

#[test]
fn a_reload_brings_other_certificates_which_are_watched_in_their_turn() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    let served = |file: &str| curl(&gateway).trusting(&gateway, file).try_send("/public/x").is_ok();
    let pair = |name: &str| {
        let file = |ending: &str| toml::Value::from(format!("{name}.{ending}"));
        toml::Table::from_iter([("cert".to_owned(), file("crt")), ("key".to_owned(), file("key"))])
    };
    write_certificate(gateway.directory(), "other", &["localhost"]);
    std::fs::copy(gateway.file("other.crt"), gateway.file("before.crt")).expect("a copy");
    // A warning of files that are in force no longer goes with them.
    std::fs::write(gateway.file("tls.key"), "no key").expect("it can be written");
    gateway.wait_log(&["the changed certificates cannot be used"]);
    http2::talk(&gateway, async |mut client, _end| {
        let mut ask = async || client.send(client.request("/public/x"), true).0.await.expect("an answer").status();
        assert_eq!(ask().await, 200);
        gateway.reload_with("server.tls", pair("other"));
        assert_eq!(ask().await, 200, "an open connection stays");
    });
    assert!(served("other.crt") && !served("tls.crt"));
    assert!(!gateway.admin_get("/readyz").expect(200).text().contains("cannot be used"));

    gateway.reload_with("server.tls", pair("missing"));
    assert_eq!(gateway.metric("config_reloads_total", "failure"), 1.0);
    assert!(served("other.crt"), "what cannot be used changes nothing");
    gateway.change("server.tls", pair("other"));

    write_certificate(gateway.directory(), "other", &["localhost"]);
    wait_until("the renewed certificate", || served("other.crt").then_some(()));
    assert!(!served("before.crt"));

    write_certificate(gateway.directory(), "other", &["localhost"]);
    gateway.reload();
    assert!(served("other.crt"), "a reload takes over the same files at once");
}

#[test]
fn what_is_no_tls_is_closed_and_counted_and_so_is_silence() {
    let backend = echo();
    let gateway = over_tls().set("server.header_timeout", "300ms").with_backend(&backend).start();
    let mut plain = gateway.wire();
    plain.send([0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]);
    let mut answer = Vec::new();
    while let Ok(byte) = plain.exactly(1) {
        answer.extend(byte);
    }
    assert!(answer.len() <= 7, "an alert at most: {answer:?}");
    wait_until("a count", || (gateway.metric("connections_failed_total", "tls_handshake") >= 1.0).then_some(()));

    assert!(gateway.wire().is_closed(), "silence");
    let mut half = gateway.wire();
    half.send([0x16, 3, 1, 2, 0, 1]);
    assert!(half.is_closed(), "half a hello");
    wait_until("a count", || (gateway.metric("connections_failed_total", "opening_timeout") >= 2.0).then_some(()));
    curl(&gateway).get("/public/x").expect(200);
    assert_eq!(backend.seen().len(), 1);
}

#[test]
fn a_client_that_asks_for_another_protocol_gets_no_connection() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    let output = std::process::Command::new("openssl")
        .args(["s_client", "-alpn", "imap", "-connect", &gateway.address().to_string()])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("no application protocol"), "{said}");
}

#[test]
fn the_proxy_header_comes_before_the_handshake() {
    let backend = echo();
    let gateway = over_tls()
        .set("server.proxy_protocol", "required")
        .set("server.trusted_proxies", vec!["127.0.0.0/8"])
        .with_backend(&backend)
        .start();
    curl(&gateway).with(&["--haproxy-protocol"]).get("/public/x").expect(200);
    curl(&gateway).try_send("/public/x").expect_err("no header");
}

#[test]
fn in_production_browsers_are_told_to_come_by_tls_only_unless_the_app_says_more() {
    let backend = echo();
    let gateway = over_tls().set("server.mode", "production").with_backend(&backend).start();
    let year = Some("max-age=31536000");
    for (path, status) in [("/public/x", 200), ("/api/x", 401), ("/public/%2f", 400), ("/healthz", 200)] {
        let response = curl(&gateway).get(path).expect(status);
        assert_eq!(response.header("strict-transport-security"), year, "{path}");
    }
    let own = "max-age=63072000; includeSubDomains; preload";
    backend.on("/public/own", [crate::support::answer("200 OK", &[("Strict-Transport-Security", own)], "")]);
    let response = curl(&gateway).get("/public/own").expect(200);
    assert_eq!(response.header("strict-transport-security"), Some(own));

    let development = over_tls().with_backend(&backend).start();
    assert!(!curl(&development).get("/public/x").expect(200).headers.has("strict-transport-security"));
    let off = over_tls().set("server.mode", "production").set("server.hsts", "off").with_backend(&backend).start();
    assert!(!curl(&off).get("/public/x").expect(200).headers.has("strict-transport-security"));
}

#[test]
fn who_speaks_plain_http_to_the_tls_port_is_told_so_and_reaches_nobody() {
    let backend = echo();
    let gateway = over_tls().with_backend(&backend).start();
    for _ in 0..5 {
        let refused = gateway.exchange("GET /public/x HTTP/1.1\r\nHost: localhost\r\n\r\n").expect(400);
        assert!(refused.at("/message").contains("https://"), "{}", refused.text());
        assert_eq!(refused.at("/error_code"), "https_required");
        let mut upload = gateway.wire();
        upload.send("POST /public/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000000\r\n\r\n");
        upload.send(vec![b'x'; 4_000_000]).receive().expect(400);
        assert!(upload.is_closed());
    }
    gateway.wait_log(&["https_required", "\"status\":400"]);
    let mut nonsense = gateway.wire();
    nonsense.send([0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(nonsense.rest().first() != Some(&b'H'), "no HTTP for what is none");
    assert!(backend.seen().is_empty());
}

#[test]
fn clients_of_plain_http_are_sent_to_https_and_what_they_send_goes_nowhere() {
    let backend = echo();
    let plain = crate::support::ports::local(crate::support::ports::free_port());
    let gateway = over_tls().with_backend(&backend).set("server.redirect_http", plain.to_string()).start();
    let site = format!("https://localhost:{}", gateway.address().port());
    let ask = |method: &str, target: &str, host: &str| {
        let more = if method == "POST" { "Content-Length: 3\r\n\r\na=b" } else { "\r\n" };
        crate::support::exchange(plain, format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{more}"))
    };
    for (target, location) in [("/a/b?c=d", "/a/b?c=d"), ("//evil.example/a", "/evil.example/a"), ("/", "/")] {
        let sent = ask("GET", target, "localhost").expect(308);
        assert_eq!(sent.header("location"), Some(format!("{site}{location}").as_str()));
        assert!(!sent.headers.has("strict-transport-security") && !sent.headers.has("set-cookie"));
    }
    assert_eq!(ask("HEAD", "/a", "localhost").status, 308);
    ask("POST", "/api/login", "localhost").expect_refusal(403, "https_required");
    ask("GET", "/a", "evil.example").expect_refusal(421, "host_not_allowed");
    ask("GET", "/a/../b", "localhost").expect_refusal(400, "bad_path");
    ask("GET", "/healthz", "10.0.0.1").expect(200);
    assert!(backend.seen().is_empty());
    curl(&gateway).get("/public/x").expect(200);
}

#[test]
fn a_check_names_the_line_of_a_file_that_is_missing_or_no_match() {
    let builder = over_tls();
    write_certificate(builder.directory(), "other", &["localhost"]);
    std::fs::copy(builder.directory().join("other.key"), builder.directory().join("tls.key")).expect("a copy");
    let (status, said) = builder.refused();
    assert_eq!(status.code(), Some(2));
    assert!(
        said.contains(r#"server.tls.key: "tls.key" is not the key of the first certificate in "tls.crt""#),
        "{said}"
    );

    let builder = over_tls();
    std::fs::remove_file(builder.directory().join("tls.crt")).expect("it was there");
    let output = builder.with_backend(&echo()).check(&[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(r#"server.tls.cert: names a file that cannot be read: No such file"#), "{said}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_drain_ends_an_idle_connection() {
    let backend = echo();
    let mut gateway = over_tls().with_backend(&backend).start();
    curl(&gateway).get("/public/x").expect(200);
    gateway.terminate();
    assert_eq!(gateway.process().wait(Duration::from_secs(10)).expect("it ends").code(), Some(0));
}
