use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::http::{Encode, TenantFormat};
use crate::login::rules::Reading;
use crate::login::{Capture, Condition, LoginRules, read_json};
use crate::session::{Role, TenantId};

fn pointers(texts: &[&str]) -> Vec<JsonPointer> {
    texts.iter().map(|text| JsonPointer::parse(text).expect(text)).collect()
}

fn usual() -> IdentityPointers {
    IdentityPointers {
        tenant: pointers(&["/user/customer_id", "/customer_id"]),
        user: pointers(&["/user/user_id", "/user_id"]),
        role: pointers(&["/user/role", "/role"]),
        tenants: Vec::new(),
    }
}

fn read_with(rules: IdentityRules, body: &str) -> LoginIdentity {
    read_bytes(rules, body.as_bytes())
}

fn read_bytes(rules: IdentityRules, body: &[u8]) -> LoginIdentity {
    let login = LoginRules {
        capture: Capture::Json(usual()),
        users: Users::default(),
        failure: Vec::new(),
        unless: ["/mfa_required", "/requires_2fa", "/status=otp"]
            .map(|text| Condition::parse(text).expect(text))
            .into(),
        email: None,
    };
    match login.read(&HeaderMap::new(), body, &rules) {
        Reading::Names(identity) => identity,
        _ => LoginIdentity::None,
    }
}

fn read(body: &str) -> LoginIdentity {
    read_with(IdentityRules::default(), body)
}

fn principal(tenant: &str, user: &str, role: Option<&str>) -> LoginIdentity {
    let principal = Principal {
        tenant: TenantId::parse(tenant).expect(tenant),
        user: UserId::parse(user).expect(user),
        role: role.map(|role| Role::parse(role).expect(role)),
    };
    LoginIdentity::Principal(principal, Vec::new())
}

const PERCENT: IdentityRules = IdentityRules { tenant_format: TenantFormat::Exact, encode: Encode::Percent };

#[test]
fn a_successful_answer_names_its_principal() {
    for (body, tenant, user, role) in [
        (r#"{"customer_id":"acme","user_id":"u1"}"#, "acme", "u1", None),
        (r#"{"success":true,"user":{"customer_id":7,"user_id":42,"role":"admin"}}"#, "7", "42", Some("admin")),
        (r#"{"customer_id":"outer","user":{"customer_id":"inner","user_id":"u"}}"#, "inner", "u", None),
        // null, missing and empty are not there: the next pointer is tried.
        (r#"{"customer_id":"outer","user":{"customer_id":null,"user_id":""},"user_id":"u"}"#, "outer", "u", None),
        (r#"{"customer_id":18446744073709551617,"user_id":-3}"#, "18446744073709551617", "-3", None),
        (r#"{"customer_id":0,"user_id":-0}"#, "0", "0", None),
        (r#"{"customer_id":"007","user_id":"1e3","role":null}"#, "007", "1e3", None),
        (r#"{"customer_id":42.0,"user_id":-0.00}"#, "42", "0", None),
        (r#"{"customer_id":9007199254740993.0,"user_id":"1.0"}"#, "9007199254740993", "1.0", None),
        // What cannot be read elsewhere changes nobody's name.
        (r#"{"customer_id":"a","user_id":"u","name":"\ud800","rating":NaN,"status":"otp due"}"#, "a", "u", None),
        (r#"{"customer_id":"a","user_id":"u","role":3}"#, "a", "u", Some("3")),
        (r#"{"customer_id":"a","user_id":"u","mfa_required":false,"requires_2fa":0}"#, "a", "u", None),
        // A key twice: the last counts, as for the backend's other clients.
        (r#"{"customer_id":"first","customer_id":"last","user_id":"u"}"#, "last", "u", None),
        (r#"{"customer_id":"\u0061","user_id":"u"}"#, "a", "u", None),
        (r#"{"ok":null,"success":"false","customer_id":"a","user_id":"u"}"#, "a", "u", None),
    ] {
        assert_eq!(read(body), principal(tenant, user, role), "{body}");
    }
}

#[test]
fn an_answer_that_names_nobody_passes_without_a_session() {
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    for body in [
        "",
        "<html>",
        "null",
        "[]",
        "7",
        "{",
        &deep,
        r#"{"customer_id":"a"}"#,
        r#"{"user_id":"u"}"#,
        r#"{"customer_id":null,"user_id":"u"}"#,
        r#"{"customer_id":"","user_id":"u"}"#,
        r#"{"customer_id":"a","user_id":"u"} x"#,
        r#"{"success":false,"customer_id":"a","user_id":"u"}"#,
        r#"{"ok":false,"customer_id":"a","user_id":"u"}"#,
        r#"{"mfa_required":true,"customer_id":"a","user_id":"u"}"#,
        r#"{"requires_2fa":"totp","customer_id":"a","user_id":"u"}"#,
        r#"{"requires_2fa":[],"customer_id":"a","user_id":"u"}"#,
        r#"{"requires_2fa":{},"customer_id":"a","user_id":"u"}"#,
        r#"{"requires_2fa":0.1,"customer_id":"a","user_id":"u"}"#,
        r#"{"status":"otp","customer_id":"a","user_id":"u"}"#,
        r#"{"mfa_required":NaN,"customer_id":"a","user_id":"u"}"#,
        // Not even looked at: there is no user yet.
        r#"{"customer_id":{"id":1},"user_id":null}"#,
    ] {
        assert_eq!(read(body), LoginIdentity::None, "{body}");
    }
}

#[test]
fn a_tenant_value_with_cr_lf_nul_comma_non_ascii_or_500_characters_makes_no_session() {
    let long = "x".repeat(500);
    let texts = ["a\r\nX-User-ID: 1", "a\nb", "a\0b", "a,b", "\u{e4}", "a b", " a", "a\t", "\u{2028}", "\u{7f}", &long];
    let strings = texts.iter().map(|text| json!(text));
    let others = [json!(true), json!(false), json!([]), json!(["a"]), json!({}), json!({"id": 1}), json!(1.5)];
    for value in strings.chain(others) {
        for key in ["customer_id", "user_id", "role"] {
            let mut answer = json!({"customer_id": "a", "user_id": "u"});
            answer[key] = value.clone();
            assert!(matches!(read(&answer.to_string()), LoginIdentity::Bad(_)), "{answer}");
        }
    }
    for number in ["1.01", "1e3", "1E0", "-1.5", "1.0e1", "1e-1"] {
        let body = format!(r#"{{"customer_id":{number},"user_id":"u"}}"#);
        assert!(matches!(read(&body), LoginIdentity::Bad(_)), "{body}");
    }
    let too_long = format!(r#"{{"customer_id":1{},"user_id":"u"}}"#, "0".repeat(128));
    assert!(matches!(read(&too_long), LoginIdentity::Bad(_)));
    // The first pointer that finds something counts, also when it cannot be used.
    assert!(matches!(read(r#"{"user":{"customer_id":{}},"customer_id":"a","user_id":"u"}"#), LoginIdentity::Bad(_)));
}

#[test]
fn what_could_not_be_read_names_nobody_else_than_was_meant() {
    for body in [
        &br#"{"customer_id":"\ud800","user_id":"u"}"#[..],
        b"{\"customer_id\":\"\xE4\",\"user_id\":\"u\"}",
        br#"{"user":{"customer_id":NaN},"customer_id":"a","user_id":"u"}"#,
        br#"{"customer_id":"a","user_id":Infinity}"#,
    ] {
        for rules in [IdentityRules::default(), PERCENT] {
            let read = read_bytes(rules, body);
            assert!(matches!(read, LoginIdentity::Bad(_)), "{} {read:?}", String::from_utf8_lossy(body));
        }
    }
}

#[test]
fn percent_encoding_keeps_different_values_different_and_counts_after_encoding() {
    for (value, expected) in [
        ("a b", "a%20b"),
        ("M\u{fc}ller, GmbH", "M%C3%BCller%2C%20GmbH"),
        ("100%", "100%25"),
        ("100%25", "100%2525"),
        ("a\r\nb\0", "a%0D%0Ab%00"),
        ("~!\"#", "~!\"#"),
    ] {
        let body = json!({"customer_id": value, "user_id": value, "role": value}).to_string();
        assert_eq!(read_with(PERCENT, &body), principal(expected, expected, Some(expected)));
    }
    let fits = json!({"customer_id": "\u{e4}".repeat(21), "user_id": "u"}).to_string();
    assert!(matches!(read_with(PERCENT, &fits), LoginIdentity::Principal(..)));
    let too_long = json!({"customer_id": "\u{e4}".repeat(22), "user_id": "u"}).to_string();
    assert!(matches!(read_with(PERCENT, &too_long), LoginIdentity::Bad(_)));
    assert_eq!(read_with(PERCENT, r#"{"customer_id":"","user_id":"u"}"#), LoginIdentity::None);
}

#[test]
fn a_tenant_that_is_not_of_its_format_makes_no_session() {
    let rules = IdentityRules { tenant_format: TenantFormat::Uuid, encode: Encode::Refuse };
    assert!(matches!(read_with(rules, r#"{"customer_id": 7, "user_id": "u"}"#), LoginIdentity::Bad(_)));
}

#[test]
fn headers_can_name_the_principal_once_each() {
    let names = LoginHeaders {
        tenant: HeaderName::from_static("x-session-tenant"),
        user: HeaderName::from_static("x-session-user"),
        role: Some(HeaderName::from_static("x-session-role")),
    };
    let (tenant, user, role) = ("x-session-tenant", "x-session-user", "x-session-role");
    let bad = || LoginIdentity::Bad("");
    for (lines, expected) in [
        (&[(tenant, &b"a"[..]), (user, b"u")][..], principal("a", "u", None)),
        (&[(tenant, b"a"), (user, b"u"), (role, b"r")], principal("a", "u", Some("r"))),
        (&[(tenant, b"a"), (user, b"u"), (role, b"")], principal("a", "u", None)),
        (&[(tenant, b"a")], LoginIdentity::None),
        (&[(user, b"u")], LoginIdentity::None),
        (&[(tenant, b""), (user, b"u")], LoginIdentity::None),
        (&[(tenant, b"a"), (tenant, b"a"), (user, b"u")], bad()),
        (&[(tenant, b"a"), (user, b"u"), (user, b"v")], bad()),
        (&[(tenant, b"a"), (user, b"u"), (role, b"r"), (role, b"s")], bad()),
        (&[(tenant, b"a, b"), (user, b"u")], bad()),
        (&[(tenant, b"\xe4"), (user, b"u")], bad()),
        (&[(tenant, b"a"), (user, b"\xe4")], bad()),
    ] {
        let headers: HeaderMap = lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_bytes(value).expect("a value")))
            .collect();
        let got = LoginIdentity::from_headers(&headers, &names, &Users::default(), &IdentityRules::default());
        match (&got, &expected) {
            (LoginIdentity::Bad(_), LoginIdentity::Bad(_)) => {}
            _ => assert_eq!(got, expected, "{lines:?}"),
        }
    }
}

proptest! {
    #[test]
    fn whatever_a_backend_answers_the_principal_is_safe_in_a_header(
        tenant in any::<String>(), user in any::<String>(), encode in any::<bool>(),
    ) {
        let rules = IdentityRules { encode: if encode { Encode::Percent } else { Encode::Refuse }, ..Default::default() };
        let body = json!({"customer_id": tenant, "user_id": user}).to_string();
        if let LoginIdentity::Principal(principal, _) = read_with(rules, &body) {
            for value in [principal.tenant.kept(), principal.user.as_str()] {
                prop_assert!(value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','));
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = read_bytes(PERCENT, &body);
    }
}

#[test]
fn a_switch_of_tenants_keeps_the_user_and_takes_no_role_along() {
    let rules = IdentityRules { tenant_format: TenantFormat::Int, ..IdentityRules::default() };
    let user = UserId::parse("7").expect("a user");
    for (lines, expected) in [
        (&[("x-session-tenant", "77")][..], Some(("77", None))),
        (
            &[("x-session-tenant", "077"), ("x-session-role", "viewer"), ("x-session-user", "1")],
            Some(("77", Some("viewer"))),
        ),
        (&[], None),
        (&[("x-session-tenant", "")], None),
        (&[("x-session-tenant", "77"), ("x-session-tenant", "77")], None),
        (&[("x-session-tenant", "acme")], None),
        (&[("x-session-tenant", "77"), ("x-session-role", "a,b")], None),
    ] {
        let headers =
            lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        let found = match LoginIdentity::from_switch(&map, &user, &rules) {
            LoginIdentity::Principal(principal, _) => {
                assert_eq!(principal.user, user);
                Some((principal.tenant.kept().to_owned(), principal.role.map(|role| role.to_string())))
            }
            LoginIdentity::None | LoginIdentity::Bad(_) => None,
        };
        let expected = expected.map(|(tenant, role)| (tenant.to_owned(), role.map(str::to_owned)));
        assert_eq!(found, expected, "{lines:?}");
    }
}

#[test]
fn a_user_without_a_tenant_comes_in_only_where_that_is_said_and_a_kind_is_part_of_who_they_are() {
    let kind = UserKind::parse("admin").expect("visible ASCII");
    for (body, refuse, session) in [
        (r#"{"customer_id": 42, "user_id": 7}"#, "42 admin,7", "42 admin,7"),
        (r#"{"user_id": 7}"#, "nobody", ", admin,7"),
        (r#"{"customer_id": null, "user_id": 7}"#, "nobody", ", admin,7"),
        (r#"{"customer_id": "", "user_id": 7}"#, "nobody", ", admin,7"),
        (r#"{"customer_id": [], "user_id": 7}"#, "bad", "bad"),
        (r#"{"customer_id": ",", "user_id": 7}"#, "bad", "bad"),
        (r#"{"customer_id": 42}"#, "nobody", "nobody"),
        (r#"{"user_id": null}"#, "nobody", "nobody"),
        ("{}", "nobody", "nobody"),
    ] {
        for (without_tenant, expected) in [(WithoutTenant::Refuse, refuse), (WithoutTenant::Session, session)] {
            let users = Users { kind: Some(kind.clone()), without_tenant };
            let answer = read_json(body.as_bytes()).expect("JSON");
            let said = match LoginIdentity::from_json(&answer, &usual(), &users, &IdentityRules::default()) {
                LoginIdentity::Principal(who, _) => format!("{} {}", who.tenant.shown(), who.user.kept()),
                LoginIdentity::None => String::from("nobody"),
                LoginIdentity::Bad(_) => String::from("bad"),
            };
            assert_eq!(said, expected, "{body} {without_tenant:?}");
        }
    }
}

#[test]
fn the_tenants_to_choose_from_are_all_that_an_answer_lists_or_none_of_it_is_believed() {
    let many = |texts: &[&str]| texts.iter().map(|text| ManyPointer::parse(text).expect(text)).collect();
    let pointers = IdentityPointers { tenants: many(&["/memberships/*/org_id", "/guest_of/*"]), ..usual() };
    let int = IdentityRules { tenant_format: TenantFormat::Int, ..IdentityRules::default() };
    let most: Vec<usize> = (0..MOST_TENANTS).collect();
    let too_many: Vec<usize> = (0..=MOST_TENANTS).collect();
    for (listed, expected) in [
        (json!({"memberships": [{"org_id": 42}, {"org_id": "77"}], "guest_of": [9]}), Ok("42 77 9")),
        (json!({"memberships": [{"org_id": 42}, {"org_id": 42.0}, {"org_id": "042"}]}), Ok("42")),
        (json!({"memberships": [{"org_id": 77}, {"org_id": null}, {"org_id": ""}, {"role": "x"}]}), Ok("77")),
        (json!({"memberships": []}), Ok("")),
        (json!({"memberships": null}), Ok("")),
        (json!({}), Ok("")),
        (json!({"memberships": "77"}), Err(())),
        (json!({"memberships": [{"org_id": 77}], "guest_of": 9}), Err(())),
        (json!({"memberships": [{"org_id": 77}, {"org_id": "a b"}]}), Err(())),
        (json!({"memberships": [{"org_id": [77]}]}), Err(())),
        (json!({"memberships": [{"org_id": true}]}), Err(())),
        (json!({"memberships": [{"org_id": "7,8"}]}), Err(())),
        (json!({"memberships": [{"org_id": "acme"}]}), Err(())),
        (json!({"guest_of": too_many}), Err(())),
    ] {
        let mut answer = listed.clone();
        answer["customer_id"] = 42.into();
        answer["user_id"] = 7.into();
        let got = match LoginIdentity::from_json(&answer, &pointers, &Users::default(), &int) {
            LoginIdentity::Principal(_, tenants) => {
                Ok(tenants.iter().map(TenantId::shown).collect::<Vec<_>>().join(" "))
            }
            LoginIdentity::Bad(_) => Err(()),
            LoginIdentity::None => panic!("{listed}"),
        };
        assert_eq!(got.as_deref(), expected.as_ref().map(|text| *text).map_err(|()| &()), "{listed}");
    }
    let answer = json!({"customer_id": 42, "user_id": 7, "guest_of": most});
    let identity = LoginIdentity::from_json(&answer, &pointers, &Users::default(), &int);
    assert!(matches!(identity, LoginIdentity::Principal(_, tenants) if tenants.len() == MOST_TENANTS));
}
