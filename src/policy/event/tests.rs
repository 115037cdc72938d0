use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::entropy::SystemEntropy;
use crate::http::TenantFormat;
use crate::session::{Choices, Choosable, Generations, SessionId, SessionToken, StoreTime, UserId};

fn event(action: Option<Action>) -> Event {
    let (when, count, roles, obeyed) = (None, None, Vec::new(), Order::ALL.to_vec());
    Event { name: "x".into(), action, when, count, roles, obeyed, reason: None, counts_as: None }
}

fn of_tenant(at: Named, any: bool) -> Event {
    event(Some(Action::Tenant { tenant: TenantNamed { at, any }, status: None }))
}

fn of_user(user: Option<Named>, tenant: Option<TenantNamed>) -> Event {
    event(Some(Action::User { user, tenant }))
}

fn principal() -> Principal {
    Principal {
        tenant: TenantId::parse("42").expect("a tenant"),
        user: UserId::parse("7").expect("a user"),
        role: Some(Role::parse("admin").expect("a role")),
    }
}

fn pointer(text: &str) -> JsonPointer {
    JsonPointer::parse(text).expect("a pointer")
}

/// `path` is its last segment, the second.
fn verdict(event: &Event, path: Option<&str>, answer: &EventAnswer, rules: &IdentityRules) -> String {
    let segments: Vec<String> = std::iter::once("a").chain(path).map(str::to_owned).collect();
    verdict_of(event, &segments, answer, rules)
}

fn verdict_of(event: &Event, path: &[String], answer: &EventAnswer, rules: &IdentityRules) -> String {
    let principal = principal();
    let id = SessionToken::generate(&SystemEntropy).expect("entropy").id();
    match event.judge(Requester { with: Keep::Session(id), principal: &principal, path }, answer, rules) {
        Judgement::Nothing => "nothing".to_owned(),
        Judgement::Unclear(_) => "unclear".to_owned(),
        Judgement::Refused(Guard::Role) => "role".to_owned(),
        Judgement::Refused(Guard::OtherTenant(tenant)) => format!("other {}", tenant.kept()),
        Judgement::Ends(endings) => {
            let shown: Vec<String> = endings.into_iter().map(|ending| shown(ending, id)).collect();
            shown.join(" + ")
        }
    }
}

fn shown(ending: Ending, id: SessionId) -> String {
    match ending {
        Ending::This(reason) => format!("this {}", reason.as_str()),
        Ending::Status { tenant, status, reason } => {
            format!("{} {} {}", status.as_str(), tenant.kept(), reason.as_str())
        }
        Ending::Many { scope, reason } => {
            let whose = match scope {
                Scope::User { tenant, user } => format!("user {}/{}", tenant.kept(), user.kept()),
                Scope::OtherSessions { tenant, user, keep } if keep == Keep::Session(id) => {
                    format!("others {}/{}", tenant.kept(), user.kept())
                }
                Scope::OtherSessions { .. } => "somebody".to_owned(),
                Scope::Tenant { tenant } => format!("tenant {}", tenant.kept()),
            };
            format!("{whose} {}", reason.as_str())
        }
    }
}

#[test]
fn a_user_who_is_named_in_another_spelling_is_the_one_whom_an_app_reads_in_it() {
    let rules = IdentityRules::default();
    let event = of_user(Some(Named::InPath(1)), None);
    let ends = |users: &[&str]| {
        let users: Vec<String> = users.iter().map(|user| format!("user 42/{user} user_revoked")).collect();
        users.join(" + ")
    };
    let uuid = "0190a5b0-1234-7abc-8def-0123456789ab";
    for (path, users) in [
        ("8", &["8"][..]),
        ("008", &["008", "8"]),
        ("+8", &["+8", "8"]),
        ("-08", &["-08", "-8"]),
        ("-0", &["-0", "0"]),
        ("1_000", &["1_000", "1000"]),
        (" 8\n", &["8"]),
        ("\u{668}", &["8"]),
        ("\u{ff18}\u{1d7d8}", &["80"]),
        ("8.0", &["8.0"]),
        ("8x", &["8x"]),
        ("_8", &["_8"]),
        ("alice", &["alice"]),
        (uuid, &[uuid]),
        ("0190A5B0-1234-7ABC-8DEF-0123456789AB", &["0190A5B0-1234-7ABC-8DEF-0123456789AB", uuid]),
        ("0190a5b012347abc8def0123456789ab", &["0190a5b012347abc8def0123456789ab", uuid]),
    ] {
        assert_eq!(verdict(&event, Some(path), &EventAnswer::Other, &rules), ends(users), "{path:?}");
    }
    for path in ["\u{e4}", "a b", ""] {
        assert_eq!(verdict(&event, Some(path), &EventAnswer::Other, &rules), "unclear", "{path:?}");
    }
    let event = of_user(Some(Named::InAnswer(pointer("/id"))), None);
    let answer = EventAnswer::Json(json!({"id": "008"}));
    assert_eq!(verdict(&event, None, &answer, &rules), ends(&["008", "8"]));
}

#[test]
fn a_tenant_in_the_path_is_the_sessions_own_in_its_one_spelling_or_refused() {
    let (exact, int) =
        (IdentityRules::default(), IdentityRules { tenant_format: TenantFormat::Int, ..IdentityRules::default() });
    for (path, rules, own, any) in [
        (Some("42"), &exact, "tenant 42 org_deleted", "tenant 42 org_deleted"),
        (Some("77"), &exact, "other 77", "tenant 77 org_deleted"),
        (Some("042"), &exact, "other 042", "tenant 042 org_deleted"),
        (Some("042"), &int, "tenant 42 org_deleted", "tenant 42 org_deleted"),
        (Some("42;x"), &int, "unclear", "unclear"),
        (Some(" 42"), &int, "unclear", "unclear"),
        (Some("٤٢"), &int, "unclear", "unclear"),
        (Some("4,2"), &exact, "unclear", "unclear"),
        (None, &exact, "unclear", "unclear"),
    ] {
        let answer = EventAnswer::Other;
        for (any_tenant, expected) in [(false, own), (true, any)] {
            let event = of_tenant(Named::InPath(1), any_tenant);
            assert_eq!(verdict(&event, path, &answer, rules), expected, "{path:?} {any_tenant}");
        }
    }
}

#[test]
fn a_tenant_in_the_answer_is_one_text_or_one_integer() {
    let (exact, event) = (IdentityRules::default(), of_tenant(Named::InAnswer(pointer("/id")), false));
    for (answer, expected) in [
        (json!({"id": 42}), "tenant 42 org_deleted"),
        (json!({"id": "42"}), "tenant 42 org_deleted"),
        (json!({"id": 77}), "other 77"),
        (json!({"id": 42.0}), "tenant 42 org_deleted"),
        (json!({"id": 42.5}), "unclear"),
        (json!({"id": ["42"]}), "unclear"),
        (json!({"id": {"id": 42}}), "unclear"),
        (json!({"id": null}), "unclear"),
        (json!({"id": ""}), "unclear"),
        (json!({}), "unclear"),
        (json!({"id": 42, "success": false}), "nothing"),
    ] {
        let shown = answer.to_string();
        // The path says nothing: the answer stands in its place.
        assert_eq!(verdict(&event, Some("42"), &EventAnswer::Json(answer), &exact), expected, "{shown}");
    }
    let twice = EventAnswer::of(&HeaderMap::new(), &Bytes::from_static(b"{\"id\": 77, \"id\": 42}"));
    assert_eq!(verdict(&event, None, &twice, &exact), "tenant 42 org_deleted");
    let garbled = EventAnswer::Garbled(Bytes::from_static(b"{\"name\": \"\\ud800\", \"id\": 42}"));
    assert_eq!(verdict(&event, None, &garbled, &exact), "tenant 42 org_deleted", "a name hides nothing");
    for answer in [EventAnswer::Other, EventAnswer::Unreadable] {
        assert_eq!(verdict(&event, None, &answer, &exact), "unclear", "{answer:?}");
    }
}

#[test]
fn what_must_be_in_the_answer_decides_and_an_answer_that_cannot_be_read_hides_nothing() {
    let rules = IdentityRules::default();
    let event = Event { when: Some(pointer("/n")), ..of_tenant(Named::InPath(1), false) };
    for (answer, expected) in [
        (EventAnswer::Json(json!({"n": 0})), "tenant 42 org_deleted"),
        (EventAnswer::Json(json!({"m": 0})), "nothing"),
        (EventAnswer::Other, "nothing"),
        (EventAnswer::Unreadable, "tenant 42 org_deleted"),
    ] {
        assert_eq!(verdict(&event, Some("42"), &answer, &rules), expected, "{answer:?}");
    }
}

#[test]
fn the_other_actions_are_about_the_sessions_own_user_and_the_role_guards_them_all() {
    let rules = IdentityRules::default();
    for (action, expected) in [
        (None, "nothing"),
        (Some(Action::User { user: None, tenant: None }), "user 42/7 user_revoked"),
        (Some(Action::OtherSessions), "others 42/7 user_others_revoked"),
        (Some(Action::Session), "this revoked"),
    ] {
        assert_eq!(verdict(&event(action.clone()), Some("77"), &EventAnswer::Other, &rules), expected);
        if action.is_none() {
            continue;
        }
        let role = |role: &str| vec![Role::parse(role).expect("a role")];
        let guarded = Event { roles: role("Admin"), ..event(action.clone()) };
        assert_eq!(verdict(&guarded, None, &EventAnswer::Other, &rules), "role");
        let allowed = Event { roles: role("admin"), reason: Some(EndReason::OrgSoftDeleted), ..event(action) };
        assert!(verdict(&allowed, None, &EventAnswer::Other, &rules).ends_with(" org_soft_deleted"));
    }
}

#[test]
fn a_user_who_is_named_is_meant_and_not_who_asked() {
    let rules = IdentityRules::default();
    let own = |at: Named| TenantNamed { at, any: false };
    let any = |at: Named| TenantNamed { at, any: true };
    let (in_path, in_answer) = (Named::InPath, |text: &str| Named::InAnswer(pointer(text)));
    let answer = EventAnswer::Json(json!({"id": 8, "org": 77, "bad": [8], "none": null}));
    for (user, tenant, path, expected) in [
        (Some(in_path(1)), None, &["users", "8"][..], "user 42/8 user_revoked"),
        (Some(in_path(1)), None, &["users", "7"], "user 42/7 user_revoked"),
        (Some(in_path(1)), None, &["users", "a,b"], "unclear"),
        (Some(in_path(1)), None, &["users", "jürgen"], "unclear"),
        (Some(in_path(1)), None, &["users"], "unclear"),
        (Some(in_answer("/id")), None, &["users", "9"], "user 42/8 user_revoked"),
        (Some(in_answer("/bad")), None, &["users", "9"], "unclear"),
        (Some(in_answer("/none")), None, &["users", "9"], "unclear"),
        (Some(in_answer("/missing")), None, &["users", "9"], "unclear"),
        (Some(in_path(3)), Some(own(in_path(1))), &["orgs", "42", "users", "8"], "user 42/8 user_revoked"),
        (Some(in_path(3)), Some(own(in_path(1))), &["orgs", "77", "users", "8"], "other 77"),
        (Some(in_path(3)), Some(any(in_path(1))), &["orgs", "77", "users", "8"], "user 77/8 user_revoked"),
        (Some(in_path(1)), Some(any(in_answer("/org"))), &["users", "8"], "user 77/8 user_revoked"),
        (Some(in_path(1)), Some(own(in_answer("/org"))), &["users", "8"], "other 77"),
    ] {
        let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
        assert_eq!(verdict_of(&of_user(user, tenant), &path, &answer, &rules), expected, "{path:?}");
    }
}

#[test]
fn what_becomes_of_a_tenant_is_what_the_action_says() {
    let rules = IdentityRules::default();
    let with = |status, any, reason| Event {
        reason,
        ..event(Some(Action::Tenant { tenant: TenantNamed { at: Named::InPath(1), any }, status: Some(status) }))
    };
    let soft = Some(EndReason::OrgSoftDeleted);
    for (event, tenant, expected) in [
        (with(TenantStatus::Suspended, false, None), "42", "suspended 42 tenant_revoked"),
        (with(TenantStatus::Deleted, false, None), "42", "deleted 42 org_deleted"),
        (with(TenantStatus::Deleted, true, soft), "77", "deleted 77 org_soft_deleted"),
        (with(TenantStatus::Active, true, None), "77", "active 77 tenant_revoked"),
        (with(TenantStatus::Suspended, false, None), "77", "other 77"),
        (with(TenantStatus::Active, false, None), "77", "other 77"),
    ] {
        assert_eq!(verdict(&event, Some(tenant), &EventAnswer::Other, &rules), expected);
    }
}

#[test]
fn an_answer_without_the_count_that_it_should_have_is_a_preview() {
    let rules = IdentityRules::default();
    let event = Event { count: Some(pointer("/data/n")), ..of_tenant(Named::InPath(1), false) };
    for (answer, expected) in [
        (EventAnswer::Json(json!({"success": true, "data": {"n": 2}})), "tenant 42 org_deleted"),
        (EventAnswer::Json(json!({"data": {"n": 0}})), "tenant 42 org_deleted"),
        (EventAnswer::Json(json!({"success": true, "data": {"preview": {"users": 2}}})), "nothing"),
        (EventAnswer::Json(json!({"data": {"n": null}})), "nothing"),
        (EventAnswer::Other, "nothing"),
        (EventAnswer::Unreadable, "tenant 42 org_deleted"),
    ] {
        assert_eq!(verdict(&event, Some("42"), &answer, &rules), expected, "{answer:?}");
    }
    let both = Event { when: Some(pointer("/done")), ..event };
    let answer = |document| verdict(&both, Some("42"), &EventAnswer::Json(document), &rules);
    assert_eq!(answer(json!({"done": true, "data": {"n": 2}})), "tenant 42 org_deleted");
    assert_eq!(answer(json!({"data": {"n": 2}})), "nothing");
    assert_eq!(answer(json!({"done": true})), "nothing");
}

#[test]
fn an_order_is_obeyed_letter_by_letter_and_only_where_it_is_configured() {
    let mut said = HeaderMap::new();
    for line in ["logout", "revoke-tenant", "Logout", "logout, revoke-user", "", "reboot"] {
        said.append(SESSION_EVENT, HeaderValue::from_static(line));
    }
    let event = Event { obeyed: vec![Order::Logout, Order::SwitchTenant], ..event(None) };
    let orders: Vec<_> = event.orders(&said).map(|order| order.map_err(|line| line.to_str().ok())).collect();
    let unknown = ["revoke-tenant", "Logout", "logout, revoke-user", "", "reboot"];
    let unknown = unknown.into_iter().map(|line| Err(Some(line)));
    assert_eq!(orders, [Ok(Order::Logout)].into_iter().chain(unknown).collect::<Vec<_>>());
}

#[test]
fn the_session_itself_is_over_unless_it_stays_or_another_tenant_is_meant() {
    let principal = principal();
    let id = SessionToken::generate(&SystemEntropy).expect("entropy").id();
    let requester = Requester { with: Keep::Session(id), principal: &principal, path: &[] };
    let session = session(&principal, &[]);
    for (order, over) in [
        (Order::Logout, true),
        (Order::RevokeUser, true),
        (Order::RevokeOtherSessions, false),
        (Order::RevokeTenant, true),
    ] {
        let ending = event(None).ordered(order, requester).expect("an ending");
        assert_eq!(ending.includes(&session), over, "{order:?}");
    }
    assert_eq!(event(None).ordered(Order::SwitchTenant, requester), None);
    let tenant = |id: &str| TenantId::parse(id).expect("a tenant");
    let user = |id: &str| UserId::parse(id).expect("a user");
    for (ending, over) in [
        (event(None).of_tenant(tenant("77"), None), false),
        (event(None).of_tenant(tenant("77"), Some(TenantStatus::Deleted)), false),
        (event(None).of_tenant(tenant("42"), Some(TenantStatus::Suspended)), true),
        (event(None).of_user(tenant("42"), user("7")), true),
        (event(None).of_user(tenant("42"), user("8")), false),
        (event(None).of_user(tenant("77"), user("7")), false),
    ] {
        assert_eq!(ending.includes(&session), over, "{ending:?}");
    }
}

/// A session of somebody, who may choose from these tenants as well.
fn session(principal: &Principal, tenants: &[&str]) -> SessionRecord {
    let (made, over) = (StoreTime::from_micros(1), StoreTime::from_micros(2));
    let choosable = |name: &&str| Choosable {
        tenant: TenantId::parse(name).expect("a tenant"),
        generations: Generations::default(),
    };
    let choices = Choices::of(tenants.iter().map(choosable).collect());
    SessionRecord { choices, ..SessionRecord::of_token(principal.clone().into(), made, over) }
}

#[test]
fn whoever_ends_their_own_sessions_ends_them_in_every_tenant_and_no_tenant_ends_one_that_has_others() {
    let principal = principal();
    let id = SessionToken::generate(&SystemEntropy).expect("entropy").id();
    let session = session(&principal, &["77", "99"]);
    let tenant = |id: &str| TenantId::parse(id).expect("a tenant");
    let user = |id: &str| UserId::parse(id).expect("a user");
    // As if it was made in 77.
    let chosen = Principal { tenant: tenant("77"), ..principal.clone() };
    let requester = Requester { with: Keep::Session(id), principal: &chosen, path: &[] };
    for (ending, tenants, over) in [
        (event(None).ordered(Order::RevokeUser, requester), "42 77 99", true),
        (event(None).ordered(Order::RevokeOtherSessions, requester), "42 77 99", false),
        (event(None).ordered(Order::RevokeTenant, requester), "77", false),
        (Some(event(None).of_user(tenant("77"), user("8"))), "77", false),
        (Some(event(None).of_user(tenant("11"), user("7"))), "11", false),
        (Some(event(None).of_tenant(tenant("42"), Some(TenantStatus::Deleted))), "42", false),
    ] {
        let endings = ending.expect("an ending").in_every_tenant(&session);
        let named: Vec<_> = endings.iter().map(|ending| ending.tenant(&chosen).shown()).collect();
        assert_eq!(named.join(" "), tenants, "{endings:?}");
        assert_eq!(endings.iter().any(|ending| ending.includes(&session)), over, "{endings:?}");
    }
}

proptest! {
    #[test]
    fn no_path_and_no_answer_reaches_another_tenant(path in ".{0,8}|[0-9]{1,3}", id in "[ -~]{0,4}", format in 0..3_usize) {
        let formats = [TenantFormat::Exact, TenantFormat::Int, TenantFormat::Uuid];
        let rules = IdentityRules { tenant_format: formats[format], ..IdentityRules::default() };
        let answer = EventAnswer::Json(json!({"id": id}));
        for named in [Named::InPath(1), Named::InAnswer(pointer("/id"))] {
            let verdict = verdict(&of_tenant(named, false), Some(&path), &answer, &rules);
            prop_assert!(!verdict.starts_with("tenant ") || verdict.starts_with("tenant 42 "), "{}", verdict);
        }
    }
}

#[test]
fn an_event_of_another_method_on_a_closer_pattern_hides_none() {
    let mut table = EventTable::default();
    let methods = |name: &str| MethodSet::NONE.with(name, &[]).expect("a method");
    let pattern = |text: &str| PathPattern::parse(text).expect("a pattern");
    let named = |name: &str| Event { name: name.into(), ..event(None) };
    table.add(&methods("DELETE"), &pattern("/orgs/{tenant}"), named("delete")).expect("no overlap");
    table.add(&methods("POST"), &pattern("/orgs/*"), named("post")).expect("no overlap");
    table.add(&methods("GET"), &pattern("/orgs/{tenant}"), named("get")).expect("no overlap");
    let picked = |method: Method, path: &[&str]| table.pick(&method, path, false).map(|event| event.name.to_string());
    assert_eq!(picked(Method::POST, &["orgs", "5"]).as_deref(), Some("post"));
    assert_eq!(picked(Method::DELETE, &["orgs", "5"]).as_deref(), Some("delete"));
    assert_eq!(picked(Method::HEAD, &["orgs", "5"]).as_deref(), Some("get"));
    assert_eq!(picked(Method::PUT, &["orgs", "5"]), None);
    assert_eq!(picked(Method::DELETE, &["orgs", "5", "x"]), None);
    let again = table.add(&methods("HEAD"), &pattern("/orgs/{id}"), named("head"));
    assert_eq!(again, Err(Overlap { other: "get".into() }));
}
