//! A backend's answer to an event: the count alone is changed, nothing is hidden, and no answer names another tenant
//! than the session's own.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;
use session_gateway::http::{EventAnswer, IdentityRules, JsonPointer, with_count};
use session_gateway::policy::{Action, Ending, Event, Judgement, Named, Requester, TenantNamed};
use session_gateway::session::{Keep, Principal, Scope, SessionId, TenantId, UserId};

const COUNT: u64 = 7;

/// The first line is a pointer, the rest an answer.
pub fn check(data: &[u8]) {
    let (line, body) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let body = body.get(1..).unwrap_or_default();
    let Some(pointer) = std::str::from_utf8(line).ok().and_then(|line| JsonPointer::parse(line).ok()) else { return };
    let answer = EventAnswer::of(&HeaderMap::new(), &Bytes::copy_from_slice(body));
    counts(&pointer, body, &answer);
    names_nobody_else(&pointer, &answer);
    match &answer {
        EventAnswer::Json(_) => assert!(serde_json::from_slice::<Value>(body).is_ok()),
        EventAnswer::Other => assert!(!body.trim_ascii_start().starts_with(b"{"), "it would hide what it says"),
        EventAnswer::Garbled(_) => {
            let denies = body.windows(5).any(|window| window == b"false");
            assert!(denies || answer.says_done([&pointer].into_iter()));
        }
        EventAnswer::Unreadable => panic!("it is all there"),
    }
}

fn counts(pointer: &JsonPointer, body: &[u8], answer: &EventAnswer) {
    let changed = with_count(body, pointer, COUNT);
    let EventAnswer::Json(document) = answer else { return };
    // The parser's own words for numbers in a document.
    if body.windows(6).any(|window| window == b"$serde") {
        return;
    }
    let mut expected = document.clone();
    let place = expected.pointer_mut(pointer.as_str()).filter(|value| !value.is_object() && !value.is_array());
    let expected = place
        .is_some_and(|place| {
            *place = Value::from(COUNT);
            true
        })
        .then_some(expected);
    let changed = changed.map(|changed| serde_json::from_slice::<Value>(&changed).expect("it is JSON still"));
    assert_eq!(changed, expected, "{pointer}");
}

fn names_nobody_else(pointer: &JsonPointer, answer: &EventAnswer) {
    let tenant = TenantNamed { at: Named::InAnswer(pointer.clone()), any: false };
    let event = Event {
        name: "x".into(),
        action: Some(Action::Tenant { tenant, status: None }),
        when: None,
        count: None,
        roles: Vec::new(),
        obeyed: Vec::new(),
        reason: None,
        counts_as: None,
    };
    let tenant = TenantId::parse("42").expect("a tenant");
    let principal = Principal { tenant, user: UserId::parse("7").expect("a user"), role: None };
    let id = SessionId::parse(&[b'A'; 22]).expect("an id");
    let requester = Requester { with: Keep::Session(id), principal: &principal, path: &[] };
    if let Judgement::Ends(endings) = event.judge(requester, answer, &IdentityRules::default()) {
        let [Ending::Many { scope: Scope::Tenant { tenant }, .. }] = &endings[..] else { panic!("{endings:?}") };
        assert_eq!(*tenant, principal.tenant);
    }
}
