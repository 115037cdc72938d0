//! The identity that a backend sees is the session's, or none (docs/behaviour.md, "Towards the backend").

use serde_json::Value;

use crate::on_both_stores;
use crate::support::logins::identity;
use crate::support::{Store, answer, echo, flask, gateway, send};

on_both_stores!(a_spoofed_tenant_is_overwritten_in_front_of_flask, |store| {
    let gateway = gateway(store).with_backend(flask()).start();
    let mut browser = gateway.browser();
    browser.log_in_to_flask("alice");
    let data = browser.request("GET", "/api/invoices").header("X-Customer-ID", "77").send().expect(200);
    assert_eq!((data.at("/company"), data.at("/believed/customer_id")), ("Northwind Traders".into(), "42".into()));
    let event = gateway.wait_audit("identity.spoofed", |_| true);
    assert_eq!((&event["tenant"], &event["user"]), (&Value::from("42"), &Value::from("7")));
    assert!(gateway.metric("spoofed_headers_total", "") >= 1.0);
});

on_both_stores!(every_spelling_that_a_server_could_fold_into_an_identity_header_is_removed, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).set("identity.strip", vec!["X-Tenant-ID"]).start();
    let mut browser = gateway.logged_in_as("42", "7", "admin");
    for name in [
        "X-Customer-ID",
        "x-customer-id",
        "X_Customer_ID",
        "X-Customer_ID",
        "X.Customer.ID",
        "X-Customer-ID~",
        "X!Customer!ID",
        "X-User-ID",
        "X_User_ID",
        "X-User-Role",
        "X_USER_ROLE",
        "X-Session-ID",
        "X-Session-Anything",
        "X_Session_Event",
        "X-Tenant-ID",
        "X_Tenant_Id",
    ] {
        browser.request("GET", "/x").header(name, "evil").send().expect(200);
        let seen = backend.last();
        assert!(!seen.headers.0.iter().any(|(_, value)| value == "evil"), "{name} went through: {:?}", seen.headers);
        assert_eq!(seen.identity(), (Some("42"), Some("7")), "{name}");
        assert_eq!(seen.header("x-user-role"), Some("admin"), "{name}");
        assert_eq!(seen.header("x-session-id").map(str::len), Some(22), "{name}");
    }
});

#[test]
fn doubled_identity_headers_are_all_removed() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let cookie = format!("Cookie: session-gateway={}", gateway.logged_in("42", "7").token());
    gateway.get_with_lines("/x", &["X-Customer-ID: 1", &cookie, "X-Customer-ID: 2", "x-customer-id: 3"]).expect(200);
    assert_eq!(backend.last().identity(), (Some("42"), Some("7")));
}

#[test]
fn a_session_without_a_role_has_no_role_header_at_all() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    browser.request("GET", "/x").header("X-User-Role", "admin").send().expect(200);
    assert!(!backend.last().headers.has("x-user-role"));
    let mut browser = gateway.browser();
    let mut answer = identity(42, 7);
    answer["user"]["role"] = Value::Null;
    browser.log_in_with(&answer).expect(200);
    browser.get("/x").expect(200);
    assert!(!backend.last().headers.has("x-user-role"));
}

#[test]
fn headers_that_move_paths_or_claim_identity_are_always_removed() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    for name in [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Script-Name",
        "Daphne-Root-Path",
        "X-Scheme",
        "Remote-User",
        "X-Remote-User",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "Proxy",
        "SCRIPT_NAME",
        "Content_Type",
        "Accept.X",
        "X-Forwarded-Ssl",
        "X-Forwarded-User",
        "Forwarded",
        "X-Real-IP",
    ] {
        browser.request("GET", "/x").header(name, "evil").send().expect(200);
        let seen = backend.last();
        assert!(!seen.headers.0.iter().any(|(_, value)| value == "evil"), "{name} went through: {:?}", seen.headers);
    }
    browser.request("GET", "/x").header("X-Custom", "kept").header("Accept-Language", "de").send().expect(200);
    assert_eq!(
        (backend.last().header("x-custom"), backend.last().header("accept-language")),
        (Some("kept"), Some("de"))
    );
}

#[test]
fn connection_cannot_nominate_an_identity_header_for_removal() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let cookie = format!("Cookie: session-gateway={}", gateway.logged_in("42", "7").token());
    let nominate = "Connection: X-Customer-ID, X-User-ID, Cookie, X-Forwarded-For, X-Gone, close";
    gateway.get_with_lines("/x", &[nominate, &cookie, "X-Gone: 1", "Keep-Alive: 1", "TE: trailers"]).expect(200);
    let seen = backend.last();
    assert_eq!(seen.identity(), (Some("42"), Some("7")));
    assert!(seen.headers.has("x-forwarded-for"));
    for gone in ["x-gone", "keep-alive", "te"] {
        assert!(!seen.headers.has(gone), "{gone}");
    }
}

on_both_stores!(public_and_anonymous_requests_carry_no_identity_whatever_the_client_sent, |store| {
    let backend = echo();
    let gateway = gateway(store).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut stranger = gateway.browser();
    let claim = |request: crate::support::browser::Request<'_>| {
        request.header("X-Customer-ID", "77").header("X_User_ID", "1").header("X-Session-ID", "a").send().expect(200)
    };
    claim(browser.request("GET", "/public/x"));
    backend.last().assert_anonymous();
    claim(stranger.request("GET", "/public/x"));
    backend.last().assert_anonymous();
    claim(stranger.request("GET", "/optional/x"));
    backend.last().assert_anonymous();
    claim(browser.request("GET", "/optional/x"));
    assert_eq!(backend.last().identity(), (Some("42"), Some("7")));
});

#[test]
fn an_app_in_which_absent_means_tenant_one_can_be_told_another_value() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("identity.anonymous", "anonymous").start();
    gateway.browser().request("GET", "/optional/x").header("X-Customer-ID", "77").send().expect(200);
    assert_eq!(backend.last().header("x-customer-id"), Some("anonymous"));
}

#[test]
fn an_ended_session_is_anonymous_on_an_optional_route() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    let mut stolen = browser.clone();
    browser.post("/api/logout");
    stolen.get("/optional/x").expect(200);
    backend.last().assert_anonymous();
}

#[test]
fn match_refuses_a_client_value_that_differs_from_the_session() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("identity.client_value", "match").start();
    let mut browser = gateway.logged_in("42", "7");
    browser.request("GET", "/x").header("X-Customer-ID", "42").send().expect(200);
    browser.get("/x").expect(200);
    let asked = backend.seen().len();
    browser.request("GET", "/x").header("X-Customer-ID", "77").send().expect_refusal(403, "tenant_mismatch");
    assert_eq!(backend.seen().len(), asked);
}

#[test]
fn an_old_tabs_form_is_written_into_no_other_tenant_where_unsafe_methods_are_compared() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("identity.client_value", "match-unsafe").start();
    let mut browser = gateway.logged_in("77", "7");
    let mut claim = |method: &str, tenant: &str| browser.request(method, "/x").header("X-Customer-ID", tenant).send();
    for method in ["GET", "HEAD", "OPTIONS"] {
        claim(method, "42").expect(200);
        assert_eq!(backend.last().identity(), (Some("77"), Some("7")), "{method}");
    }
    let asked = backend.seen().len();
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        claim(method, "42").expect_refusal(403, "tenant_mismatch");
    }
    assert_eq!(backend.seen().len(), asked);
    claim("POST", "77").expect(200);
}

#[test]
fn a_tenant_in_the_query_is_overwritten_dropped_or_matched_as_configured() {
    for (rule, query, told) in [
        ("overwrite", "a=1&customer_id=77&b=%41", Some("a=1&customer_id=42&b=%41")),
        ("drop", "a=1&customer_id=77&b=%41", Some("a=1&b=%41")),
        ("match", "customer_id=42", Some("customer_id=42")),
        ("match", "customer_id=77", None),
        ("match", "customer_id=42&customer_id=77", None),
        ("match", "custom%65r_id=77", None),
    ] {
        let backend = echo();
        let rules = format!("[identity]\nquery = {{ customer_id = \"{rule}\" }}");
        let gateway = gateway(Store::Embedded).with_backend(&backend).settings(&rules).start();
        let response = gateway.logged_in("42", "7").get(&format!("/x?{query}"));
        match told {
            Some(told) => {
                response.expect(200);
                assert_eq!(backend.last().target, format!("/x?{told}"), "{rule}");
            }
            None => drop(response.expect_refusal(403, "tenant_mismatch")),
        }
    }
}

#[test]
fn identity_headers_can_have_other_names() {
    let backend = echo();
    let gateway = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("identity.tenant_header", "X-Org")
        .set("identity.user_header", "X-Member")
        .start();
    let mut browser = gateway.logged_in("42", "7");
    browser.request("GET", "/x").header("X_Org", "77").send().expect(200);
    let seen = backend.last();
    assert_eq!((seen.header("x-org"), seen.header("x-member")), (Some("42"), Some("7")));
    assert!(!seen.headers.has("x_org"));
}

#[test]
fn one_verified_client_address_reaches_the_backend() {
    let backend = echo();
    let plain = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = plain.browser();
    browser.request("GET", "/public/x").header("X-Forwarded-For", "1.2.3.4").send().expect(200);
    let seen = backend.last();
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some(plain.address().to_string().as_str()));
    assert_eq!(seen.header("host"), Some(plain.address().to_string().as_str()));
    assert!(seen.header("x-request-id").is_some_and(|id| !id.is_empty()));

    let behind = gateway(Store::Embedded)
        .with_backend(&backend)
        .set("server.trusted_proxies", vec!["127.0.0.0/8", "10.0.0.0/8"])
        .start();
    for (lines, client) in [
        (&["X-Forwarded-For: 1.2.3.4, 10.0.0.1"][..], "1.2.3.4"),
        (&["X-Forwarded-For: 9.9.9.9, 1.2.3.4", "X-Forwarded-For: 10.0.0.1"][..], "1.2.3.4"),
        (&[][..], "127.0.0.1"),
    ] {
        behind.get_with_lines("/public/x", lines).expect(200);
        assert_eq!(backend.last().header("x-forwarded-for"), Some(client), "{lines:?}");
    }
}

#[test]
fn identity_headers_in_any_part_of_a_backends_answer_never_reach_the_client() {
    let backend = echo();
    backend.on("/plain", [answer("200 OK", &[("X-Session-ID", "s"), ("X_Session_Tenant", "t")], "ok")]);
    backend.on("/error", [answer("500 Oops", &[("X-Session-Event", "logout")], "no")]);
    backend.on("/interim", [send("HTTP/1.1 103 Early Hints\r\nX-Session-ID: s\r\n\r\n"), answer("200 OK", &[], "ok")]);
    let trailers = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Session-ID: s\r\n\r\n";
    backend.on("/trailers", [send(trailers)]);
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    for path in ["/plain", "/error", "/interim", "/trailers"] {
        let response = browser.get(path);
        let interim = response.interim.iter().flat_map(|(_, headers)| &headers.0);
        for (name, _) in response.headers.0.iter().chain(&response.trailers.0).chain(interim) {
            assert!(!name.to_ascii_lowercase().replace('_', "-").starts_with("x-session-"), "{path}: {name}");
        }
    }
    browser.get("/x").expect(200);
}

on_both_stores!(a_foreign_tenant_in_the_query_is_told_and_so_is_one_that_only_some_apps_read_there, |store| {
    let backend = echo();
    let gateway = gateway(store)
        .with_backend(&backend)
        .settings("[identity.query]\ncustomer_id = \"match\"\norg_id = \"overwrite\"")
        .start();
    let mut browser = gateway.logged_in("42", "7");
    browser.get("/x?customer_id=42&org_id=77&org_id[]=77&org.id=77").expect(200);
    assert_eq!(backend.last().target, "/x?customer_id=42&org_id=42");
    assert!(gateway.audit().iter().all(|event| event["type"] != "identity.spoofed"));
    let asked = backend.seen().len();
    for name in ["customer_id", "customer_id[]", "customer%5Fid%5B0%5D", "customer.id", "customer+id", "customer_id%00"]
    {
        browser.get(&format!("/x?{name}=77")).expect_refusal(403, "tenant_mismatch");
    }
    assert_eq!(backend.seen().len(), asked, "the backend hears of none");
    let told = gateway.wait_audit("identity.spoofed", |event| event["reason"] == "query");
    assert_eq!((told["tenant"].as_str(), told["details"]["path"].as_str()), (Some("42"), Some("/x")));
});
