//! What is told of sessions, whoever makes and ends them: on an embedded store and a real audit file.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::audit::{AuditLog, AuditSettings, AuditTarget};
use crate::clock::{ManualClock, WallTime};
use crate::entropy::SystemEntropy;
use crate::http::{CookieAttributes, GatewayCookieName, SameSite};
use crate::session::{By, EndReason, IdleLimit, Limits, Principal, TenantId, UserAgent, UserId, Words};
use crate::store::embedded::EmbeddedStore;
use crate::store::observe::Unobserved;
use crate::telemetry::Metrics;
use crate::told::{Origin, Source};

const HOUR: Duration = Duration::from_secs(3600);

struct Room {
    sessions: Sessions,
    audit: Arc<AuditLog>,
    limits: Limits,
    cookie: CookieAttributes,
    folder: TempDir,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::starting_at(WallTime::from_micros(1_700_000_000_000_000)));
        let metrics = Arc::new(Metrics::new());
        let settings = AuditSettings {
            target: AuditTarget::File(folder.path().join("audit.jsonl")),
            key: None,
            entropy: Arc::new(SystemEntropy),
            shared: false,
        };
        let audit = Arc::new(AuditLog::open(settings, clock.clone(), metrics.audit()).expect("opens"));
        let store = EmbeddedStore::open(&folder.path().join("s"), clock.clone(), Arc::new(Unobserved)).expect("opens");
        let teller = Teller::new(audit.clone(), metrics, clock);
        let name = GatewayCookieName::parse("__Host-session").expect("a name");
        Self {
            sessions: Sessions::new(store, teller, Arc::new(SystemEntropy)),
            audit,
            limits: Limits {
                idle: Some(IdleLimit::new(HOUR)),
                absolute: HOUR * 8,
                remember_idle: None,
                remember: HOUR,
            },
            cookie: CookieAttributes { name, same_site: SameSite::Lax, secure: true, partitioned: false },
            folder,
        }
    }

    fn terms(&self) -> Terms<'_> {
        Terms { limits: &self.limits, max_per_user: None, cookie: &self.cookie }
    }

    async fn newcomer(&self) -> Newcomer {
        Newcomer {
            deposit: None,
            principal: Principal {
                tenant: TenantId::parse("acme").expect("a tenant"),
                user: UserId::parse("7").expect("a user"),
                role: None,
            },
            tenants: Vec::new(),
            remembered: false,
            address: None,
            user_agent: UserAgent::default(),
            began: self.sessions.store.now().await.expect("there"),
        }
    }

    async fn logged_in(&self) -> Issued {
        let issued = self.sessions.issue(&by(By::User), Source::Login, self.terms(), self.newcomer().await, None).await;
        issued.expect("made")
    }

    /// What the audit log says of ended sessions: id, reason, actor, event.
    fn ended(&self) -> Vec<[Value; 4]> {
        assert!(self.audit.shutdown(Duration::from_secs(5)), "written");
        let text = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).expect("there");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let of_ends = lines.filter(|line| line["type"] == "session.ended");
        of_ends
            .map(|line| {
                [&line["session_id"], &line["reason"], &line["actor"], &line["details"]["event"]].map(Clone::clone)
            })
            .collect()
    }
}

fn by(by: By) -> Origin {
    Origin::of(by)
}

#[tokio::test]
async fn an_end_is_audited_as_the_act_of_whoever_asked_the_store_for_it() {
    let room = Room::new();
    let operator = By::Operator { name: "ops".into(), words: Words::default(), request_id: "1".into() };
    let mut expected = Vec::new();
    for (who, reason, actor) in [
        (By::Gateway, EndReason::Replaced, "gateway"),
        (By::Gateway, EndReason::Revoked, "gateway"),
        (By::User, EndReason::Logout, "user"),
        (operator, EndReason::Revoked, "operator:ops"),
    ] {
        let made = room.logged_in().await;
        assert!(room.sessions.end(&by(who), made.id, &made.record, reason).await.expect("there"));
        expected.push([json!(made.id.as_str()), json!(reason.as_str()), json!(actor), Value::Null]);
    }
    assert_eq!(room.ended(), expected);
}

#[tokio::test]
async fn an_event_that_ends_its_own_session_is_named_at_once() {
    let room = Room::new();
    let made = room.logged_in().await;
    let event = by(By::Event("POST /close-account".into()));
    assert!(room.sessions.end(&event, made.id, &made.record, EndReason::Revoked).await.expect("there"));
    let expected = [json!(made.id.as_str()), json!("revoked"), json!("user"), json!("POST /close-account")];
    assert_eq!(room.ended(), [expected]);
}

#[tokio::test]
async fn what_was_ended_already_is_told_once() {
    let room = Room::new();
    let made = room.logged_in().await;
    assert!(room.sessions.end(&by(By::User), made.id, &made.record, EndReason::Logout).await.expect("there"));
    assert!(!room.sessions.end(&by(By::User), made.id, &made.record, EndReason::Logout).await.expect("there"));
    assert!(!room.sessions.end_by_id(&by(By::Gateway), made.id, EndReason::Revoked).await.expect("there").ended);
    assert_eq!(room.ended().len(), 1);
}

#[tokio::test]
async fn a_session_that_goes_on_under_a_new_token_keeps_its_end_and_its_cookie_no_longer() {
    let room = Room::new();
    let made = room.logged_in().await;
    let newcomer = room.newcomer().await;
    let event = by(By::Event("POST /switch".into()));
    let next = room.sessions.rotate(&event, room.terms(), newcomer, made.id, &made.record).await.expect("made");
    assert_ne!((next.id, &next.set_cookie), (made.id, &made.set_cookie));
    assert_eq!(next.record.deadline, made.record.deadline);
    let expected = [json!(made.id.as_str()), json!("replaced"), json!("user"), json!("POST /switch")];
    assert_eq!(room.ended(), [expected]);
}
