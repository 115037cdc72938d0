//! The operator's listener as its clients meet it: the real router on an embedded store.

mod calls;
mod console;
mod listener;
mod monitoring;
mod unauthorised;

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Wake;
use std::time::Duration;

use http::{HeaderMap, Method, Request, header};
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::auth::Peer;
use super::state::{AdminServices, AdminState, TrafficSide};
use crate::alerts::{AlertServices, Alerts};
use crate::audit::{AuditLog, AuditQuery, AuditSettings, AuditTarget};
use crate::clock::{ManualClock, Monotonic, WallTime};
use crate::commons::Commons;
use crate::config::Config;
use crate::entropy::SystemEntropy;
use crate::health::Readiness;
use crate::maintenance::MaintenanceMode;
use crate::monitor::{ContactKeys, MonitorKeys};
use crate::reports::Reports;
use crate::secret::Secret;
use crate::session::SessionId;
use crate::sessions::{Cuts, Holder, OpenStream, Sessions};
use crate::store::embedded::EmbeddedStore;
use crate::store::observe::Unobserved;
use crate::telemetry::Metrics;
use crate::told::Teller;
use crate::watch::{Watch, WatchServices};

const ALL: &str = "all-1234567890-1234567890-1234567890-1234567890";
const READ: &str = "read-1234567890-1234567890-1234567890-1234567890";
const OPERATE: &str = "operate-1234567890-1234567890-1234567890-1234567890";
const MINT: &str = "mint-1234567890-1234567890-1234567890-1234567890";
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A traffic side with a configuration and nothing else.
struct Traffic {
    config: Mutex<Arc<Config>>,
}

/// Runs once when something that is open is cut, which is after the store has ended its session and before that is
/// written down.
struct Then(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for Then {
    fn wake(self: Arc<Self>) {
        if let Some(then) = self.0.lock().take() {
            then();
        }
    }
}

impl TrafficSide for Traffic {
    fn config(&self) -> Arc<Config> {
        self.config.lock().clone()
    }

    fn published_keys(&self) -> Option<crate::signed::Published> {
        None
    }
}

/// The operator's side of a gateway.
struct Admin {
    traffic: Arc<Traffic>,
    clock: Arc<ManualClock>,
    state: AdminState,
    folder: TempDir,
}

/// What was answered.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }

    /// A problem's status, code and detail.
    fn problem(&self) -> (u16, String, String) {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status, "{self:?}");
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        (self.status, text("code"), text("detail"))
    }
}

fn config(added: &str) -> Arc<Config> {
    let tokens = format!(
        "server.public_url = \"https://a.test\"\nupstream.url = \"http://b\"\nstore.embedded = \"s\"\n{added}\n\
         [admin]\ntoken = \"{ALL}\"\n\
         [[admin.tokens]]\nname = \"reader\"\ntoken = \"{READ}\"\nroles = [\"read\"]\n\
         [[admin.tokens]]\nname = \"operator\"\ntoken = \"{OPERATE}\"\nroles = [\"operate\"]\n\
         [[admin.tokens]]\nname = \"minter\"\ntoken = \"{MINT}\"\nroles = [\"mint\"]\n"
    );
    Arc::new(Config::parse("t.toml", &tokens, &|_| None).unwrap_or_else(|errors| panic!("{errors}")))
}

fn without_tokens() -> Arc<Config> {
    Arc::new(Config {
        admin: crate::config::AdminConfig { tokens: Vec::new(), ..config("").admin.clone() },
        ..(*config("")).clone()
    })
}

fn with_hosts<const N: usize>(hosts: [&str; N]) -> Arc<Config> {
    let hosts = crate::http::AllowedHosts::parse(hosts).expect("names");
    let config = config("");
    Arc::new(Config { admin: crate::config::AdminConfig { hosts, ..config.admin.clone() }, ..(*config).clone() })
}

impl Admin {
    fn new() -> Self {
        Self::with("", None)
    }

    /// With more of a configuration, and an audit log elsewhere than in a file of its own.
    fn with(added: &str, audit: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::starting_at(WallTime::from_micros(1_700_000_000_000_000)));
        let metrics = Arc::new(Metrics::new());
        let target = AuditTarget::File(audit.map_or_else(|| folder.path().join("audit.jsonl"), Into::into));
        let settings = AuditSettings {
            target: target.clone(),
            key: Some(Secret::new("a key for tests")),
            entropy: Arc::new(SystemEntropy),
            shared: false,
        };
        let store = EmbeddedStore::open(&folder.path().join("s"), clock.clone(), Arc::new(Unobserved));
        let store = store.expect("opens");
        let traffic = Arc::new(Traffic { config: Mutex::new(config(added)) });
        let audit = Arc::new(AuditLog::open(settings, clock.clone(), metrics.audit()).expect("opens"));
        let teller = Teller::new(audit.clone(), metrics.clone(), clock.clone());
        let tasks = TaskTracker::new();
        let sessions = Sessions::new(store.clone(), teller.clone(), Arc::new(SystemEntropy));
        let readiness = Arc::new(Readiness::new());
        let alerts = AlertServices {
            outbox: store.clone(),
            findings: store.clone(),
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            tasks: tasks.clone(),
            contacts: store.clone(),
            contact_keys: ContactKeys::new(&Secret::new("a key for tests")),
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
        };
        let watch = Watch::new(WatchServices {
            sessions: sessions.clone(),
            guard: store.clone(),
            findings: store.clone(),
            reports: Arc::new(Reports::new(store.clone(), metrics.clone())),
            geo: Arc::default(),
            places: store.clone(),
            store: store.clone(),
            calls: store.clone(),
            alerts: Alerts::new(alerts, None),
            acts: store.clone(),
            activities: store.clone(),
            keys: MonitorKeys::new(&Secret::new("a key for tests")),
            teller,
            metrics: metrics.clone(),
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
            tasks: tasks.clone(),
        })
        .expect("randomness");
        let commons = Commons {
            sessions,
            watch,
            maintenance: Arc::new(MaintenanceMode::kept_by(store.clone())),
            memberships: store.clone(),
            store,
            metrics,
            readiness,
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
            tasks,
        };
        let events = AuditQuery::over(&target, None);
        let state = AdminState::new(AdminServices { commons, audit, events, traffic: traffic.clone() });
        Self { traffic, clock, state, folder }
    }

    async fn send(&self, request: Request<String>) -> Got {
        self.send_from(HERE, request).await
    }

    async fn send_from(&self, address: IpAddr, mut request: Request<String>) -> Got {
        request.extensions_mut().insert(Peer(address));
        let service = TowerToHyperService::new(super::router::router(self.state.clone()));
        let (head, body) = service.call(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("text");
        let got = Got { status: head.status.as_u16(), headers: head.headers, body };
        assert_eq!(got.headers[header::CACHE_CONTROL], "no-store", "{got:?}");
        assert_eq!(got.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{got:?}");
        got
    }

    async fn call(&self, method: Method, path: &str, body: Option<&str>) -> Got {
        self.send(request(method, path, Some(ALL), body)).await
    }

    async fn get(&self, path: &str) -> Got {
        self.call(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: &str) -> Got {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Makes a session and answers its id.
    async fn session(&self, tenant: &str, user: &str) -> String {
        let body = format!("{{\"tenant\":\"{tenant}\",\"user\":\"{user}\"}}");
        self.post("/v1/sessions", &body).await.expect(201)["id"].as_str().expect("an id").to_owned()
    }

    /// Something that has been open for a session for a while.
    fn open_for(&self, id: &str) -> OpenStream {
        let id = SessionId::parse(id.as_bytes()).expect("an id");
        let never = Monotonic::from_micros(u64::MAX);
        let open = self.state.services.commons.sessions.open().register(Holder::of_somebody(id), Cuts::Always, never);
        self.clock.advance(Duration::from_secs(1));
        open
    }

    /// The audit lines on disk.
    fn audit(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("audit.jsonl")).expect("the file is there");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

fn request(method: Method, path: &str, token: Option<&str>, body: Option<&str>) -> Request<String> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    request.body(body.unwrap_or_default().to_owned()).expect("a request")
}
