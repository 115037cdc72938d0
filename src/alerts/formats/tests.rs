use super::*;
use crate::alerts::letter::Told;
use crate::alerts::rules::SigningKey;
use crate::monitor::{Evidence, FindingRecord, Taken};
use crate::secret::Secret;
use crate::session::TenantId;
use crate::store::alerts::{AlertId, Gathered};
use crate::store::monitor::FindingId;

fn told(observed: bool) -> Told {
    Told {
        id: FindingId { millis: 1_700_000_000_000, count: 2 },
        record: FindingRecord {
            kind: "IMPOSSIBLE_TRAVEL".into(),
            severity: "high".into(),
            observed,
            tenant: Some(TenantId::none().shown().to_owned()),
            user: Some("<!channel>".into()),
            user_kind: None,
            session_id: Some("AAAAAAAAAAAAAAAAAAAAAA".into()),
            account: None,
            address: Some("192.0.2.1".into()),
            evidence: Evidence::default().with("kmh", 4000),
            actions: vec![Taken { action: "alert".into(), done: true }],
        },
    }
}

fn gathered() -> Subject {
    let mut gathered = Gathered { count: 60, ..Gathered::default() };
    gathered.kinds.insert("medium X".into(), 60);
    Subject::Many(gathered, (0..50).map(|_| told(false)).collect())
}

fn said(format: &WebhookFormat, subject: &Subject) -> Option<Value> {
    let id = AlertId::parse("1700000000000-2_0").expect("an id");
    body(format, &Telling { site: "app.test", id: &id, subject })
}

#[test]
fn a_finding_is_told_whole_and_without_a_tenant_that_is_none() {
    let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a key");
    let body = said(&WebhookFormat::Standard(key), &Subject::One(told(false))).expect("a body");
    assert_eq!((&body["type"], &body["timestamp"]), (&"finding.created".into(), &"2023-11-14T22:13:20.000Z".into()));
    let finding = &body["data"]["finding"];
    assert_eq!((&finding["id"], &finding["tenant"]), (&"1700000000000-2".into(), &Value::Null));
    assert_eq!(finding["evidence"]["kmh"], 4000);
    assert_eq!(finding["actions"][0]["action"], "alert");
}

#[test]
fn a_message_for_slack_is_plain_text_within_its_limits() {
    let mut hostile = told(true);
    hostile.record.user = Some("<@U1>".repeat(2000));
    hostile.record.evidence = (0..40).fold(Evidence::default(), |evidence, _| evidence.with("agent", "x".repeat(9000)));
    for subject in [Subject::One(told(true)), Subject::One(hostile), gathered()] {
        let body = said(&WebhookFormat::Slack, &subject).expect("a body");
        let blocks = body["blocks"].as_array().expect("blocks");
        assert!(blocks.len() <= 50);
        for block in blocks {
            let texts = block["fields"].as_array().cloned().unwrap_or_default();
            let texts: Vec<Value> = texts.into_iter().chain(block.get("text").cloned()).collect();
            assert!(texts.len() <= 10);
            let longest = match block["type"].as_str() {
                Some("header") => 150,
                Some("section") if block["fields"].is_array() => 2000,
                Some("section" | "context") => 3000,
                other => panic!("{other:?}"),
            };
            let elements = block["elements"].as_array().cloned().unwrap_or_default();
            for text in texts.iter().chain(&elements) {
                let length = text["text"].as_str().expect("a text").chars().count();
                assert!(text["type"] == "plain_text" && (1..=longest).contains(&length), "{block}");
            }
        }
        assert!(!body["text"].as_str().expect("a text").contains('<'));
    }
    let observed = said(&WebhookFormat::Slack, &Subject::One(told(true))).expect("a body").to_string();
    assert!(observed.contains("Only observed"), "{observed}");
}

#[test]
fn an_event_for_pagerduty_is_the_same_incident_each_time() {
    let body = said(&WebhookFormat::PagerDuty(Secret::new("key")), &Subject::One(told(false))).expect("a body");
    for (pointer, value) in [
        ("/routing_key", "key"),
        ("/event_action", "trigger"),
        ("/dedup_key", "1700000000000-2_0"),
        ("/payload/severity", "critical"),
        ("/payload/source", "app.test"),
        ("/payload/class", "IMPOSSIBLE_TRAVEL"),
    ] {
        assert_eq!(body.pointer(pointer), Some(&value.into()), "{pointer}");
    }
    assert_eq!(body.pointer("/payload/group"), None, "a tenant that is none");
    let mut long = told(false);
    (long.record.tenant, long.record.user) = (Some("acme".into()), Some("x".repeat(5000)));
    let body = said(&WebhookFormat::PagerDuty(Secret::new("key")), &Subject::One(long)).expect("a body");
    assert_eq!(body.pointer("/payload/group"), Some(&"acme".into()));
    assert!(body["payload"]["summary"].as_str().expect("a text").chars().count() <= 1024);
    let many = said(&WebhookFormat::PagerDuty(Secret::new("key")), &gathered()).expect("a body");
    assert_eq!(many.pointer("/payload/severity"), Some(&"warning".into()));
}

#[test]
fn a_detection_finding_has_what_its_class_requires() {
    let body = said(&WebhookFormat::Ocsf(None), &Subject::One(told(false))).expect("a body");
    for (pointer, value) in [
        ("/category_uid", 2),
        ("/class_uid", 2004),
        ("/type_uid", 200_401),
        ("/activity_id", 1),
        ("/severity_id", 4),
        ("/status_id", 1),
        ("/time", 1_700_000_000_000_u64),
    ] {
        assert_eq!(body.pointer(pointer), Some(&value.into()), "{pointer}");
    }
    for pointer in
        ["/metadata/version", "/metadata/product/vendor_name", "/finding_info/uid", "/evidences/0/src_endpoint/ip"]
    {
        assert!(body.pointer(pointer).is_some_and(Value::is_string), "{pointer}");
    }
    assert_eq!(said(&WebhookFormat::Ocsf(None), &gathered()), None);
}
