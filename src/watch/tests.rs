//! What is done about a finding: on an embedded store, with a real audit file.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::alerts::{AlertServices, Alerts};
use crate::audit::{AuditLog, AuditSettings, AuditTarget};
use crate::clock::{ManualClock, WallTime};
use crate::entropy::SystemEntropy;
use crate::health::Readiness;
use crate::http::{CookieAttributes, GatewayCookieName, SameSite};
use crate::monitor::{Action, ContactKeys, Evidence, Finding, FindingKind, MonitorMode, Severity};
use crate::secret::Secret;
use crate::session::{By, EndReason, IdleLimit, Limits, Principal, SessionId, Standing, TenantId, UserAgent, UserId};
use crate::sessions::{Issued, Newcomer, Sessions, Terms};
use crate::store::SessionStore as _;
use crate::store::embedded::EmbeddedStore;
use crate::store::observe::Unobserved;
use crate::told::Source;

const HOUR: Duration = Duration::from_secs(3600);

struct Room {
    watch: Watch,
    store: Arc<EmbeddedStore>,
    audit: Arc<AuditLog>,
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
        let teller = Teller::new(audit.clone(), metrics.clone(), clock.clone());
        let tasks = TaskTracker::new();
        let alerts = AlertServices {
            outbox: store.clone(),
            findings: store.clone(),
            metrics: metrics.clone(),
            readiness: Arc::new(Readiness::new()),
            tasks: tasks.clone(),
            contacts: store.clone(),
            contact_keys: ContactKeys::new(&Secret::new("a key for tests")),
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
        };
        let watch = Watch::new(WatchServices {
            alerts: Alerts::new(alerts, None),
            guard: store.clone(),
            findings: store.clone(),
            reports: Arc::new(Reports::new(store.clone(), metrics.clone())),
            geo: Arc::default(),
            places: store.clone(),
            store: store.clone(),
            calls: store.clone(),
            acts: store.clone(),
            activities: store.clone(),
            keys: MonitorKeys::new(&Secret::new("a key for tests")),
            sessions: Sessions::new(store.clone(), teller.clone(), Arc::new(SystemEntropy)),
            teller,
            metrics,
            clock,
            entropy: Arc::new(SystemEntropy),
            tasks,
        });
        let watch = watch.expect("there is randomness");
        Self { watch, store, audit, folder }
    }

    async fn session(&self) -> Issued {
        let (limits, cookie, newcomer) = self.parts().await;
        let terms = Terms { limits: &limits, max_per_user: None, cookie: &cookie };
        let sessions = &self.watch.0.services.sessions;
        sessions.issue(&Origin::of(By::User), Source::Login, terms, newcomer, None).await.expect("made")
    }

    /// It goes on under a new token.
    async fn rotated(&self, old: &Issued) -> Issued {
        let (limits, cookie, newcomer) = self.parts().await;
        let terms = Terms { limits: &limits, max_per_user: None, cookie: &cookie };
        let sessions = &self.watch.0.services.sessions;
        sessions.rotate(&Origin::of(By::User), terms, newcomer, old.id, &old.record).await.expect("made")
    }

    async fn parts(&self) -> (Limits, CookieAttributes, Newcomer) {
        let limits =
            Limits { idle: Some(IdleLimit::new(HOUR)), absolute: HOUR * 8, remember_idle: None, remember: HOUR };
        let name = GatewayCookieName::parse("__Host-session").expect("a name");
        let cookie = CookieAttributes { name, same_site: SameSite::Lax, secure: true, partitioned: false };
        let newcomer = Newcomer {
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
            began: self.store.now().await.expect("there"),
        };
        (limits, cookie, newcomer)
    }

    /// Finds something of a session, and waits until that was acted on.
    async fn find(&self, id: SessionId, whose: &Issued, mode: MonitorMode, actions: &[Action]) {
        let finding = Finding {
            kind: FindingKind::Travel,
            severity: Severity::High,
            mode,
            actions: actions.to_vec(),
            subject: id.to_string(),
            session: Some((id, whose.record.principal.clone())),
            account: None,
            address: None,
            evidence: Evidence::default(),
        };
        self.watch.keep_and_tell(finding, &Origin::of(By::User)).await;
    }

    async fn standing(&self, id: SessionId) -> String {
        match self.store.read(id).await.expect("there") {
            Standing::Live(_) => String::from("live"),
            Standing::Held(held) => format!("held for {}", held.hold.why.as_str()),
            Standing::Ended(ended) => ended.reason.as_str().to_owned(),
            Standing::Absent => String::from("absent"),
        }
    }

    /// What the audit log says of what was found, held and ended.
    fn told(&self) -> Vec<Value> {
        assert!(self.audit.shutdown(Duration::from_secs(5)), "written");
        let text = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).expect("there");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.filter(|line| line["type"] != "session.created").collect()
    }

    async fn done(&self) -> Vec<Vec<(String, bool)>> {
        let kept = self.watch.kept().findings(None, 10).await.expect("there");
        let of = |record: FindingRecord| record.actions.into_iter().map(|one| (one.action, one.done));
        kept.into_iter().map(|kept| of(kept.record.expect("readable")).collect()).collect()
    }
}

fn words(of: &[(&str, bool)]) -> Vec<(String, bool)> {
    of.iter().map(|(word, done)| ((*word).to_owned(), *done)).collect()
}

#[tokio::test]
async fn a_finding_that_asks_for_it_holds_its_session_each_time_and_is_told_once() {
    let room = Room::new();
    let made = room.session().await;
    room.find(made.id, &made, MonitorMode::Enforce, &[Action::Reauth, Action::Record]).await;
    assert_eq!(room.standing(made.id).await, "held for IMPOSSIBLE_TRAVEL");
    let sessions = room.watch.0.services.sessions.clone();
    sessions.release(&Origin::of(By::Gateway), made.id).await.expect("there");
    assert_eq!(room.standing(made.id).await, "live");
    room.find(made.id, &made, MonitorMode::Enforce, &[Action::Reauth, Action::Record]).await;
    assert_eq!(room.standing(made.id).await, "held for IMPOSSIBLE_TRAVEL", "whoever comes again is met again");
    assert_eq!(room.done().await, [words(&[("reauth", true), ("record", true)])]);
    let told = room.told();
    let types: Vec<&str> = told.iter().filter_map(|line| line["type"].as_str()).collect();
    assert_eq!(types, ["session.held", "anomaly.found", "session.released", "session.held"]);
    assert_eq!((&told[0]["actor"], &told[0]["reason"]), (&json!("gateway"), &json!("IMPOSSIBLE_TRAVEL")));
    assert_eq!(
        (&told[1]["details"]["action"], &told[1]["details"]["not_done"]),
        (&json!("reauth record"), &Value::Null)
    );
}

#[tokio::test]
async fn a_finding_that_asks_for_it_ends_its_session() {
    let room = Room::new();
    let made = room.session().await;
    room.find(made.id, &made, MonitorMode::Enforce, &[Action::Terminate]).await;
    assert_eq!(room.standing(made.id).await, "security_anomaly");
    let told = room.told();
    assert_eq!((&told[0]["type"], &told[0]["reason"]), (&json!("session.ended"), &json!("security_anomaly")));
    assert_eq!((&told[0]["actor"], &told[0]["user"]), (&json!("gateway"), &json!("7")));
}

#[tokio::test]
async fn what_is_only_observed_is_marked_as_what_would_have_been_done() {
    let room = Room::new();
    let made = room.session().await;
    room.find(made.id, &made, MonitorMode::Observe, &[Action::Terminate, Action::Reauth, Action::Record]).await;
    assert_eq!(room.standing(made.id).await, "live");
    assert_eq!(room.done().await, [words(&[("terminate", false), ("reauth", false), ("record", true)])]);
    let text = room.watch.0.services.metrics.encode();
    for action in ["terminate", "reauth"] {
        let line = format!("monitor_actions_total{{action=\"{action}\",mode=\"observe\"}} 1");
        assert!(text.contains(&line), "{text}");
    }
    assert_eq!(room.told().len(), 1, "nothing is held or ended");
}

#[tokio::test]
async fn what_could_not_be_done_is_told_as_not_done() {
    let room = Room::new();
    let (made, gone) = (room.session().await, room.session().await);
    let sessions = room.watch.0.services.sessions.clone();
    sessions.end_by_id(&Origin::of(By::User), gone.id, EndReason::Logout).await.expect("there");
    room.find(gone.id, &gone, MonitorMode::Enforce, &[Action::Reauth]).await;
    // An access token, of which the store keeps nothing: it cannot be held, but it can be denied where any are believed.
    let token = SessionId::parse(&[b'T'; 22]).expect("22 characters");
    room.find(token, &made, MonitorMode::Enforce, &[Action::Reauth, Action::Terminate]).await;
    assert_eq!(room.standing(token).await, "absent");
    sessions.believe_tokens(Some(HOUR));
    let other = SessionId::parse(&[b'U'; 22]).expect("22 characters");
    room.find(other, &made, MonitorMode::Enforce, &[Action::Reauth, Action::Terminate]).await;
    assert_eq!(room.standing(other).await, "security_anomaly", "it is denied");
    let mut done = room.done().await;
    done.reverse();
    assert_eq!(
        done,
        [
            words(&[("reauth", false)]),
            words(&[("reauth", false), ("terminate", false)]),
            words(&[("reauth", false), ("terminate", true)])
        ]
    );
    let told = room.told();
    let not_done: Vec<&Value> =
        told.iter().filter(|line| line["type"] == "anomaly.found").map(|line| &line["details"]["not_done"]).collect();
    assert_eq!(not_done, [&json!("reauth"), &json!("reauth terminate"), &json!("reauth")]);
}

#[tokio::test]
async fn what_is_open_of_a_session_is_so_under_each_of_its_tokens_until_it_is_judged() {
    let room = Room::new();
    let watch = &room.watch;
    let (made, other) = (room.session().await, room.session().await);
    let next = room.rotated(&made).await;
    assert_ne!(next.id, made.id);
    let risk = |of: &Issued| watch.risk(MonitorMode::Enforce, of.record.decided_by(of.id));
    room.find(made.id, &made, MonitorMode::Observe, &[Action::Record]).await;
    watch.ask_for_risks().await;
    assert_eq!(risk(&made), None, "it was only observed");
    room.find(next.id, &next, MonitorMode::Enforce, &[Action::Record]).await;
    watch.ask_for_risks().await;
    let high = Some(Severity::High);
    assert_eq!((risk(&made), risk(&next), risk(&other)), (high, high, None));
    assert_eq!(watch.risk(MonitorMode::Observe, made.id), None);
    let note = FindingNote { verdict: crate::monitor::Verdict::Expected, by: String::from("ops"), at: 7 };
    for finding in watch.kept().findings(None, 10).await.expect("there") {
        assert!(watch.note_verdict(&Origin::of(By::User), finding.id, &note).await.expect("there"));
    }
    watch.ask_for_risks().await;
    assert_eq!((risk(&made), risk(&next)), (None, None));
}
