use proptest::prelude::*;

use super::*;

fn identity() -> IdentityHeaders {
    IdentityHeaders {
        tenant: HeaderName::from_static("x-customer-id"),
        user: HeaderName::from_static("x-user-id"),
        role: HeaderName::from_static("x-user-role"),
        session: HeaderName::from_static("x-session-id"),
    }
}

fn filter() -> RequestFilter {
    allowing(&[])
}

fn allowing(allow: &[&'static str]) -> RequestFilter {
    let strip = [HeaderName::from_static("x-tenant-id")];
    let allow = allow.iter().map(|name| HeaderName::from_static(name)).collect();
    RequestFilter::new(ProtectedNames::new(&identity(), &strip), allow)
}

fn map(lines: &[(&str, &str)]) -> NotedHeaders {
    let read = |(name, value): &(&str, &str)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect(name);
        (name, HeaderValue::from_bytes(value.as_bytes()).expect(value))
    };
    lines.iter().map(read).collect::<HeaderMap>().into()
}

/// The lines that are left, sorted.
fn left(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.as_bytes().escape_ascii())).collect();
    lines.sort();
    lines
}

fn stripped(lines: &[(&str, &str)]) -> Vec<String> {
    let mut headers = map(lines);
    filter().strip_request(&mut headers);
    left(&headers)
}

#[test]
fn every_spelling_that_a_backend_reads_as_a_protected_name_is_removed() {
    for name in [
        "X-Customer-ID",
        "x-customer-id",
        "X_Customer_ID",
        "X_CUSTOMER-ID",
        "X.Customer.ID",
        "X-Customer~ID",
        "X|Customer|ID",
        "X!Customer'ID",
        "X-User-ID",
        "x_user_id",
        "X-User-Role",
        "x^user`role",
        "X-Session-ID",
        "X-Session-Tenant",
        "X_Session_Anything",
        "X.Session.Expires-In",
        "x-session-",
        "X-Tenant-ID",
        "x_tenant_id",
    ] {
        assert!(filter().protected().is_protected(&HeaderName::from_bytes(name.as_bytes()).expect(name)), "{name}");
        assert_eq!(stripped(&[(name, "1"), ("Accept", "*/*")]), ["accept: */*"], "{name}");
    }
    for name in ["X-Customer", "X-Customer-ID2", "X-CustomerID", "X-Session", "X-Sessions-ID", "Session-ID"] {
        assert!(!filter().protected().is_protected(&HeaderName::from_bytes(name.as_bytes()).expect(name)), "{name}");
        assert_eq!(stripped(&[(name, "1")]).len(), 1, "{name}");
    }
}

#[test]
fn odd_names_overrides_hop_by_hop_headers_and_words_about_forwarding_are_removed() {
    for name in [
        // A character outside A-Za-z0-9-.
        "SCRIPT_NAME",
        "Content_Length",
        "Transfer_Encoding",
        "X_Request_Id",
        "a.b",
        "a~b",
        // Overrides.
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
        // Hop by hop.
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authorization",
        "Proxy-Authenticate",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        // Forwarding.
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Ssl",
        "X-Forwarded-User",
        "X-Forwarded-Uri",
        "X-Forwarded-Prefix",
        "Forwarded",
        "X-Real-IP",
    ] {
        assert_eq!(stripped(&[(name, "1"), (name, "2"), ("Accept", "*/*")]), ["accept: */*"], "{name}");
    }
}

#[test]
fn ordinary_headers_pass_untouched() {
    let lines = [
        ("Host", "a"),
        ("Content-Length", "3"),
        ("Content-Type", "application/json"),
        ("Cookie", "a=1"),
        ("Authorization", "Bearer x"),
        ("Expect", "100-continue"),
        ("X-Requested-With", "x"),
        ("X-Custom", "\u{e4}"),
        ("Sec-Fetch-Site", "none"),
        ("Range", "bytes=0-1"),
        ("X-Request-ID", "r"),
        ("X-API-Key-2", "k"),
    ];
    let mut headers = map(&lines);
    let before = left(&headers);
    assert_eq!(filter().strip_request(&mut headers), Stripped::default());
    assert_eq!(left(&headers), before);
}

#[test]
fn connection_can_nominate_what_is_meant_for_this_hop_and_nothing_that_matters() {
    for (nominated, removed) in [
        ("X-Custom", true),
        ("close, x-custom ,foo", true),
        ("x-custom,,", true),
        ("Cookie", false),
        ("cookie, host, content-length, authorization", false),
        ("Content-Type", false),
        ("Sec-Fetch-Site", false),
        ("Origin", false),
        ("x custom", false),
        ("\u{e4}", false),
        ("close", false),
    ] {
        let mut headers = map(&[
            ("Connection", nominated),
            ("X-Custom", "1"),
            ("Cookie", "a=1"),
            ("Host", "a"),
            ("Content-Length", "1"),
            ("Authorization", "x"),
            ("Content-Type", "t"),
            ("Sec-Fetch-Site", "none"),
            ("Origin", "null"),
        ]);
        filter().strip_request(&mut headers);
        assert_eq!(headers.contains_key("x-custom"), !removed, "{nominated}");
        assert_eq!(headers.len(), if removed { 7 } else { 8 }, "{nominated}: {:?}", left(&headers));
    }
    // Several lines count as one list.
    assert_eq!(stripped(&[("Connection", "close"), ("Connection", "X-A"), ("X-A", "1"), ("X-B", "2")]), ["x-b: 2"]);
}

#[test]
fn a_nomination_cannot_remove_what_is_injected_afterwards() {
    let mut headers = map(&[("Connection", "X-Customer-ID, X-Forwarded-For"), ("X-Customer-ID", "2")]);
    filter().strip_request(&mut headers);
    headers.insert(identity().tenant, HeaderValue::from_static("1"));
    assert!(!headers.contains_key("connection"), "nothing is left that could name it to the next hop");
    assert_eq!(left(&headers), ["x-customer-id: 1"]);
}

#[test]
fn allow_headers_lets_an_override_or_an_odd_name_through_but_never_a_protected_one() {
    let filter = allowing(&["x-http-method-override", "legacy_token", "x_customer_id", "x-customer-id", "upgrade"]);
    let mut headers = map(&[
        ("X-HTTP-Method-Override", "PUT"),
        ("legacy_token", "1"),
        ("other_token", "1"),
        ("X_Customer_ID", "2"),
        ("X-Customer-ID", "2"),
        ("Upgrade", "h2c"),
    ]);
    filter.strip_request(&mut headers);
    assert_eq!(left(&headers), ["legacy_token: 1", "x-http-method-override: PUT"]);
}

#[test]
fn what_the_client_claimed_is_told() {
    let one = |text: &str| ClaimedValue::One(text.to_owned());
    let long = "x".repeat(129);
    for (lines, tenant, others) in [
        (&[][..], ClaimedValue::Absent, false),
        (&[("X-Customer-ID", "7")], one("7"), false),
        (&[("X_Customer_ID", "7")], one("7"), false),
        (&[("X-Customer-ID", "")], one(""), false),
        (&[("X-Customer-ID", "7"), ("X-Customer-ID", "7")], ClaimedValue::Several, false),
        (&[("X-Customer-ID", "7"), ("X_Customer_ID", "8")], ClaimedValue::Several, false),
        (&[("X-Customer-ID", "\u{e4}")], ClaimedValue::Unusable("\\u{e4}".to_owned()), false),
        (&[("X-Customer-ID", "a\tb")], ClaimedValue::Unusable("a\\tb".to_owned()), false),
        (&[("X-Customer-ID", &long)], ClaimedValue::Unusable(format!("{}...", "x".repeat(128))), false),
        (&[("X-Tenant-ID", "7")], ClaimedValue::Absent, true),
        (&[("X-Session-Foo", "7")], ClaimedValue::Absent, true),
    ] {
        let mut headers = map(lines);
        let stripped = filter().strip_request(&mut headers);
        let others = others.then(|| lines.iter().map(|(name, _)| name.to_ascii_lowercase().into()).collect());
        let others = others.unwrap_or_default();
        let tenant_by_alias = lines.iter().any(|(name, _)| *name == "X_Customer_ID");
        assert_eq!(stripped.claims, Claims { tenant, tenant_by_alias, others, ..Claims::default() }, "{lines:?}");
        assert_eq!(stripped.claims.is_empty(), lines.is_empty());
    }
    let mut headers = map(&[("X-User-ID", "u"), ("X-User-Role", "admin"), ("X-Session-ID", "s")]);
    let claims = filter().strip_request(&mut headers).claims;
    assert_eq!((claims.user, claims.role, claims.session), (one("u"), one("admin"), one("s")));
}

#[test]
fn each_further_protected_name_is_told_of_once_under_whatever_spelling_and_the_first_few_alone() {
    let mut headers = map(&[("X_Session_Risk", "none"), ("X-Session-Risk", "low"), ("X-Tenant-ID", "1")]);
    let others = filter().strip_request(&mut headers).claims.others;
    assert_eq!(others.iter().map(|name| &**name).collect::<Vec<&str>>(), ["x-session-risk", "x-tenant-id"]);
    let names: Vec<String> = (0..100).map(|number| format!("X-Session-{number}")).collect();
    let lines: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "1")).collect();
    assert_eq!(filter().strip_request(&mut map(&lines)).claims.others.len(), MOST_OTHERS);
}

#[test]
fn how_bad_it_is_no_client_says_even_where_its_claims_are_left() {
    let mut headers =
        map(&[("X-Session-Risk", "1"), ("X_Session_Risk", "2"), ("X.Session.Risk", "3"), ("X-User-ID", "4")]);
    filter().strip_risk(&mut headers);
    let left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["x-user-id"]);
}

#[test]
fn a_claim_contradicts_a_session_unless_it_says_the_same() {
    for (claim, value, contradicts) in [
        (ClaimedValue::Absent, Some("1"), false),
        (ClaimedValue::Absent, None, false),
        (ClaimedValue::One("1".to_owned()), Some("1"), false),
        (ClaimedValue::One("1".to_owned()), Some("2"), true),
        (ClaimedValue::One("admin".to_owned()), None, true),
        (ClaimedValue::Unusable("1".to_owned()), Some("1"), true),
        (ClaimedValue::Several, Some("1"), true),
    ] {
        assert_eq!(claim.contradicts(value), contradicts, "{claim:?} {value:?}");
    }
}

#[test]
fn in_observe_mode_the_clients_own_identity_passes_even_when_nominated_and_all_else_is_removed() {
    let mut headers =
        map(&[("Connection", "X-Customer-ID"), ("X-Customer-ID", "7"), ("X_User_ID", "u"), ("SCRIPT_NAME", "/x")]);
    let stripped = filter().strip_request_but(&mut headers, ProtectedHeaders::LetClientsChooseTheirTenant);
    assert_eq!(left(&headers), ["x-customer-id: 7", "x_user_id: u"]);
    assert_eq!(stripped.claims.tenant, ClaimedValue::One("7".to_owned()));
}

#[test]
fn a_backend_cannot_send_identity_or_hop_by_hop_headers_to_a_client() {
    let mut headers = map(&[
        ("Connection", "X-Debug, Set-Cookie"),
        ("X-Debug", "1"),
        ("Keep-Alive", "timeout=5"),
        ("X-Customer-ID", "1"),
        ("x_user_id", "1"),
        ("X-Session-Event", "logout"),
        ("Transfer-Encoding", "chunked"),
        ("Upgrade", "h2c"),
        ("Content-Length", "3"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Server", "gunicorn"),
        ("X_odd", "1"),
    ])
    .into_map();
    filter().strip_response(&mut headers);
    let expected = ["content-length: 3", "server: gunicorn", "set-cookie: a=1", "set-cookie: b=2", "x_odd: 1"];
    assert_eq!(left(&headers), expected);
}

#[test]
fn no_length_hides_a_protected_name() {
    for length in 1..200 {
        let name = |filler: char| HeaderName::try_from(filler.to_string().repeat(length)).expect("a name");
        let protected = ProtectedNames::new(&identity(), &[name('-')]);
        assert!(protected.is_protected(&name('_')) && !protected.is_protected(&name('z')), "{length}");
        let session = HeaderName::try_from(format!("x_session.{}", "z".repeat(length))).expect("a name");
        assert!(protected.is_protected(&session), "{session}");
    }
}

proptest! {
    #[test]
    fn no_alias_of_a_protected_name_survives(
        names in proptest::collection::vec("[xX][-_.~!|][cCuUsS][a-zA-Z]{3,7}[-_.^*][iIrR][a-zA-Z]{1,3}", 0..12),
        nominated in "[a-zA-Z, -]{0,30}",
    ) {
        let mut lines: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "7")).collect();
        lines.push(("X_CUSTOMER.ID", "7"));
        lines.push(("Connection", &nominated));
        let mut headers = map(&lines);
        filter().strip_request(&mut headers);
        for name in headers.keys() {
            prop_assert!(!filter().protected().is_protected(name), "{}", name);
            prop_assert!(name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        }
    }
}
