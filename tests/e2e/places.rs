//! Tenants wherever a request names them: in the path, in the body, in the query (docs/behaviour.md, "Routes").

use serde_json::json;

use crate::on_both_stores;
use crate::support::gateway::Builder;
use crate::support::{Store, echo, gateway};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

on_both_stores!(a_tenant_or_user_in_the_path_is_the_sessions_or_refused, |store| {
    let backend = echo();
    let gateway = gateway(store)
        .with_backend(&backend)
        .settings("[[routes]]\nmatch = [\"/orgs/{tenant}/*\", \"/users/{user}\", \"/orgs/{tenant}/users/{user}\"]")
        .start();
    let mut browser = gateway.logged_in("42", "7");
    for path in ["/orgs/42/x", "/orgs/%342/x", "/orgs/42/users/7/", "/users/7", "/other/77"] {
        browser.get(path).expect(200);
    }
    let asked = backend.seen().len();
    for path in ["/orgs/77/x", "/orgs/%37%37/x", "/orgs/042/x", "/orgs/42/users/8", "/orgs/77/users/7", "/users/8"] {
        for method in ["GET", "POST", "DELETE"] {
            browser.request(method, path).send().expect_refusal(403, "tenant_mismatch");
        }
    }
    assert_eq!(backend.seen().len(), asked, "the backend hears of none");
    let told = gateway.wait_audit("identity.spoofed", |event| event["reason"] == "path");
    assert_eq!((&told["tenant"], &told["details"]["path"]), (&json!("42"), &json!("/orgs/77/x")));
    gateway.browser().get("/orgs/42/x").expect_refusal(401, "session_required");
});

#[test]
fn a_number_is_one_tenant_in_the_path_as_elsewhere() {
    let backend = echo();
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("identity.tenant_format", "int")
        .settings("[[routes]]\nmatch = [\"/orgs/{tenant}\"]")
        .start();
    let mut browser = gateway.logged_in("42", "7");
    browser.get("/orgs/042").expect(200);
    for path in ["/orgs/+42", "/orgs/42.0", "/orgs/4%302", "/orgs/%E2%91%A3%E2%91%A1", "/orgs/0x2a"] {
        browser.get(path).expect_refusal(403, "tenant_mismatch");
    }
}

#[test]
fn observing_reports_a_foreign_path_and_refuses_none() {
    let backend = echo();
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("identity.mode", "observe")
        .settings("[[routes]]\nmatch = [\"/orgs/{tenant}\"]\ntenant_in_body = [\"/customer_id\"]")
        .start();
    let mut browser = gateway.logged_in("42", "7");
    browser.post_json("/orgs/77", &json!({"customer_id": 77})).expect(200);
    gateway.wait_audit("identity.spoofed", |event| event["reason"] == "path");
}

fn with_places(builder: Builder) -> Builder {
    builder.settings(
        "[[routes]]\nmatch = [\"/orders\", \"/orders/*\"]\ntenant_in_body = [\"/customer_id\", \"/org/id\"]\n\
         [[routes]]\nmatch = [\"/basket\"]\nauth = \"optional\"\ntenant_in_body = [\"/customer_id\"]",
    )
}

on_both_stores!(a_tenant_in_the_body_is_the_sessions_or_refused, |store| {
    let backend = echo();
    let gateway = with_places(gateway(store).with_backend(&backend)).start();
    let mut browser = gateway.logged_in("42", "7");
    for (kind, body) in [
        (JSON, r#"{"customer_id": 42, "x": 1}"#),
        (JSON, r#"{"customer_id": "42", "org": {"id": 42}}"#),
        (JSON, r#"{"customer_id": null}"#),
        (JSON, r#"{"x": 1}"#),
        (JSON, "[]"),
        (FORM, "customer_id=42&x=1"),
        (FORM, "x=1"),
        ("", ""),
    ] {
        let answer = browser.request("POST", "/orders").header("Content-Type", kind).body(body).send().expect(200);
        assert_eq!(answer.at("/body"), body, "it reaches the backend as it came");
    }
    browser.get("/orders").expect(200);
    let asked = backend.seen().len();
    for (kind, body) in [
        (JSON, r#"{"customer_id": 77}"#),
        (JSON, r#"{"customer_id": "77"}"#),
        (JSON, r#"{"customer\u005fid": 77}"#),
        (JSON, r#"{"customer_id": 42, "org": {"id": 77}}"#),
        (JSON, r#"{"customer_id": [42]}"#),
        (JSON, r#"{"customer_id": {"id": 42}}"#),
        (JSON, r#"{"customer_id": true}"#),
        (FORM, "customer_id=77"),
        (FORM, "customer_id=42&customer_id=77"),
        (FORM, "a=1;customer_id=77"),
        (FORM, "%63ustomer_id=77"),
        (FORM, r#"{"customer_id": 77}"#),
        ("text/plain", r#"{"customer_id": 77}"#),
    ] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
            let request = browser.request(method, "/orders/1").header("Content-Type", kind).body(body);
            request.send().expect_refusal(403, "tenant_mismatch");
        }
    }
    browser.request("POST", "/orders").body(r#"{"customer_id": 77}"#).send().expect_refusal(403, "tenant_mismatch");
    assert_eq!(backend.seen().len(), asked, "the backend hears of none");
    let told = gateway.wait_audit("identity.spoofed", |event| event["reason"] == "body");
    assert_eq!((&told["tenant"], &told["details"]["path"]), (&json!("42"), &json!("/orders/1")));
});

on_both_stores!(a_body_that_two_readers_could_read_in_two_ways_is_a_bad_request, |store| {
    let backend = echo();
    let gateway = with_places(gateway(store).with_backend(&backend)).start();
    let mut browser = gateway.logged_in("42", "7");
    let utf16: Vec<u8> = r#"{"customer_id": 77}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let asked = backend.seen().len();
    for (kind, body) in [
        (JSON, &br#"{"customer_id": 42, "customer_id": 77}"#[..]),
        (JSON, br#"{"customer_id": 42, "customer\u005fid": 77}"#),
        (JSON, br#"{"customer_id": 42"#),
        (JSON, br#"{"customer_id": NaN}"#),
        (JSON, b"customer_id=77"),
        (JSON, b"\xef\xbb\xbf{\"customer_id\": 77}"),
        (JSON, &utf16),
        ("application/json; charset=utf-16", br#"{"customer_id": 42}"#),
        ("application/json; charset=utf-7", br#"{"customer_id": 42}"#),
        ("application/x-www-form-urlencoded; charset=utf-7", b"+AGM-ustomer_id=77"),
        ("application/x-www-form-urlencoded, x", b"customer_id=77"),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=\"customer_id\"\r\n\r\n77\r\n--x--\r\n",
        ),
        ("application/xml", b"<customer_id>77</customer_id>"),
        ("", b"customer_id=77"),
    ] {
        let request = browser.request("POST", "/orders").header("Content-Type", kind).body(body);
        request.send().expect_refusal(400, "bad_request");
    }
    let request = browser.request("POST", "/orders").header("Content-Type", JSON).header("Content-Encoding", "gzip");
    request.body(&b"\x1f\x8b"[..]).send().expect_refusal(400, "bad_request");
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(1 << 20));
    let request = browser.request("POST", "/orders").header("Content-Type", JSON).body(large);
    request.send().expect_refusal(413, "body_too_large");
    assert_eq!(backend.seen().len(), asked, "the backend hears of none");
});

#[test]
fn a_body_in_chunks_is_looked_into_as_any_other() {
    let backend = echo();
    let gateway =
        with_places(gateway(Store::Embedded).with_backend(&backend)).set("upstream.request_body", "stream").start();
    let browser = gateway.logged_in("42", "7");
    let request = |body: &str| {
        let chunks: String = body
            .as_bytes()
            .chunks(5)
            .map(|part| format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part)))
            .collect();
        gateway.exchange(format!(
            "POST /orders HTTP/1.1\r\nHost: {}\r\nCookie: {}={}\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n",
            gateway.address(),
            crate::support::SESSION_COOKIE,
            browser.token()
        ))
    };
    request(r#"{"customer_id": 77}"#).expect_refusal(403, "tenant_mismatch");
    let passed = request(r#"{"customer_id": 42}"#).expect(200);
    assert_eq!(passed.at("/body"), r#"{"customer_id": 42}"#);
}

#[test]
fn without_a_session_no_tenant_is_the_sessions_and_an_event_is_looked_into_too() {
    let backend = echo();
    let gateway = with_places(gateway(Store::Embedded).with_backend(&backend))
        .settings("[[events]]\nmatch = \"POST /orders/close\"\naction = \"revoke-session\"")
        .start();
    gateway.browser().post_json("/basket", &json!({"customer_id": 77})).expect(200);
    backend.last().assert_anonymous();
    let mut browser = gateway.logged_in("42", "7");
    browser.post_json("/basket", &json!({"customer_id": 77})).expect_refusal(403, "tenant_mismatch");
    browser.post_json("/orders/close", &json!({"customer_id": 77})).expect_refusal(403, "tenant_mismatch");
    browser.get("/x").expect(200);
    browser.post_json("/orders/close", &json!({"customer_id": 42})).expect(200);
    assert!(!browser.has_session_cookie());
}

on_both_stores!(a_tenant_is_set_in_the_query_where_it_is_missing, |store| {
    let backend = echo();
    let gateway =
        gateway(store).with_backend(&backend).settings("[identity]\nquery = { customer_id = \"set\" }").start();
    let mut browser = gateway.logged_in("42", "7");
    for (target, expected) in [
        ("/x", "/x?customer_id=42"),
        ("/x?a=%20", "/x?a=%20&customer_id=42"),
        ("/x?customer_id=77", "/x?customer_id=42"),
        ("/x?customer_id=77&customer_id=78", "/x?customer_id=42"),
        ("/optional/x", "/optional/x?customer_id=42"),
    ] {
        browser.get(target).expect(200);
        assert_eq!(backend.last().target, expected);
    }
    browser.get("/public/x?customer_id=77&b=1").expect(200);
    assert_eq!(backend.last().target, "/public/x?b=1", "nobody is told of on a public route");
});

#[test]
fn what_cannot_be_compared_is_said_at_the_start() {
    let builder = |route: &str| {
        let builder = gateway(Store::Embedded).with_backend(&echo());
        builder.settings(&format!("[[routes]]\nmatch = [\"/o/{{tenant}}\"]\nauth = \"public\"\n{route}"))
    };
    let (status, said) = builder("tenant_in_body = [\"/customer_id\"]").refused();
    assert_eq!(status.code(), Some(2));
    assert!(
        said.contains("tenant_in_body: needs `auth = \\\"required\\\"`") || said.contains("nobody's tenant is known"),
        "{said}"
    );
    let checked = builder("").check(&[]);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.contains("is not compared on a public route"), "{said}");
}
