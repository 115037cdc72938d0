//! Health: whether the gateway is alive, ready for traffic, and started (docs/behaviour.md, "Health and draining").
//!
//! Answered on the traffic port with a bare status, and on the admin port with reasons. Answering touches no session and
//! asks no store: a probe in the background asks, and what the request path saw of the store counts at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;

use crate::store::{Condition, SharedStore};

/// How often the store is asked, and how long it may take.
const PROBE_EVERY: Duration = Duration::from_secs(1);

const UNKNOWN: u8 = 0;
const DOWN: u8 = 1;
const UP: u8 = 2;

/// What decides whether the gateway is ready. Shared by all that know a part of it.
#[derive(Debug, Default)]
pub struct Readiness {
    configured: AtomicBool,
    store: AtomicU8,
    started: AtomicBool,
    draining: AtomicBool,
    warnings: Mutex<BTreeMap<&'static str, String>>,
}

impl Readiness {
    /// Nothing is known yet: not ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The configuration is loaded.
    pub fn configuration_loaded(&self) {
        self.configured.store(true, Ordering::Relaxed);
        self.note_start();
    }

    /// What was last seen of the store, by the probe or by a request. A change is logged.
    pub fn store_seen(&self, reachable: bool) {
        let now = if reachable { UP } else { DOWN };
        // The request path says this often: no write where nothing changes.
        if self.store.load(Ordering::Relaxed) == now {
            return;
        }
        let before = self.store.swap(now, Ordering::Relaxed);
        match (before, reachable) {
            (DOWN, true) => tracing::info!("the session store is reachable again"),
            (UNKNOWN | UP, false) => tracing::error!("the session store is unreachable; requests get 503"),
            // The first answer, or another thread said it first.
            _ => {}
        }
        self.note_start();
    }

    /// The gateway was told to end: no more traffic should be sent here.
    pub fn begin_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the gateway was told to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Sets or clears (`None`) a warning that the admin listener shows. It does not make the gateway unready.
    pub fn warn(&self, about: &'static str, warning: Option<String>) {
        let mut warnings = self.warnings.lock();
        match warning {
            Some(warning) => warnings.insert(about, warning),
            None => warnings.remove(about),
        };
    }

    /// The current warnings: what about, and what.
    #[must_use]
    pub fn warnings(&self) -> Vec<(&'static str, String)> {
        self.warnings.lock().iter().map(|(about, warning)| (*about, warning.clone())).collect()
    }

    /// Whether traffic should be sent here.
    ///
    /// # Errors
    /// All reasons why not.
    pub fn ready(&self) -> Result<(), Vec<&'static str>> {
        let mut reasons = Vec::new();
        if !self.configured.load(Ordering::Relaxed) {
            reasons.push("configuration_not_loaded");
        }
        match self.store.load(Ordering::Relaxed) {
            UP => {}
            UNKNOWN => reasons.push("store_not_asked_yet"),
            _ => reasons.push("store_unreachable"),
        }
        if self.is_draining() {
            reasons.push("draining");
        }
        if reasons.is_empty() { Ok(()) } else { Err(reasons) }
    }

    /// Whether the gateway was ready once. A store that goes away later does not take that back, or an orchestrator
    /// would restart what only has to wait.
    #[must_use]
    pub fn started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }

    fn note_start(&self) {
        if self.configured.load(Ordering::Relaxed) && self.store.load(Ordering::Relaxed) == UP {
            self.started.store(true, Ordering::Relaxed);
        }
    }
}

/// A health endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthEndpoint {
    /// `/healthz`: the process answers.
    Alive,
    /// `/readyz`: traffic should be sent here.
    Ready,
    /// `/startupz`: the gateway was ready once.
    Started,
}

impl HealthEndpoint {
    /// The endpoint at exactly this path, if there is one.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        match path {
            "/healthz" => Some(Self::Alive),
            "/readyz" => Some(Self::Ready),
            "/startupz" => Some(Self::Started),
            _ => None,
        }
    }

    /// Its status.
    #[must_use]
    pub fn status(self, readiness: &Readiness) -> StatusCode {
        let fine = match self {
            Self::Alive => true,
            Self::Ready => readiness.ready().is_ok(),
            Self::Started => readiness.started(),
        };
        if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }
}

/// An answer of the traffic port: text, not to be cached, without reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthAnswer {
    /// The status.
    pub status: StatusCode,
    /// The body, `text/plain`; to be left out for HEAD.
    pub body: &'static str,
}

/// The answer of the traffic port, if `path` is a health endpoint; `405` for anything but GET and HEAD. The caller sets
/// `Cache-Control: no-store`.
#[must_use]
pub fn answer(method: &Method, path: &str, readiness: &Readiness) -> Option<HealthAnswer> {
    let check = HealthEndpoint::at(path)?;
    if method != Method::GET && method != Method::HEAD {
        return Some(HealthAnswer { status: StatusCode::METHOD_NOT_ALLOWED, body: "method not allowed\n" });
    }
    let status = check.status(readiness);
    Some(HealthAnswer { status, body: if status == StatusCode::OK { "ok\n" } else { "unavailable\n" } })
}

/// Asks the store every second whether it answers, for ever, and tells `readiness` and `seen`.
pub async fn probe_store(store: SharedStore, readiness: &Readiness, seen: impl Fn(bool)) {
    let mut turns = tokio::time::interval(PROBE_EVERY);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let answer = tokio::time::timeout(PROBE_EVERY, store.check()).await;
        let reachable = matches!(answer, Ok(Ok(_)));
        let warning = match answer {
            Ok(Ok(Condition::GoodBut(cause))) => Some(cause),
            Ok(Ok(Condition::TakesNoSessions(cause))) => Some(format!("logins fail, live sessions go on: {cause}")),
            Ok(Err(unavailable)) => {
                tracing::debug!(%unavailable, "the session store did not answer the probe");
                Some(format!("requests get 503: {unavailable}"))
            }
            Ok(Ok(Condition::Good)) | Err(_) => None,
        };
        readiness.warn("store", warning);
        readiness.store_seen(reachable);
        seen(reachable);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use async_trait::async_trait;

    use super::*;
    use crate::session::{
        By, EndReason, HoldWord, Principal, Revocation, SessionId, SessionRecord, Standing, StoreTime, TenantChange,
        TenantId, TenantStanding, TokenDenial, TokenStanding,
    };
    use crate::store::{
        Condition, Creation, Cursor, NewSession, Page, Revoked, Said, SessionStore, SessionView, SessionsOf,
        StoreResult, TenantView, Touch, Unavailable,
    };

    fn ready() -> Readiness {
        let readiness = Readiness::new();
        readiness.configuration_loaded();
        readiness.store_seen(true);
        readiness
    }

    fn status(path: &str, readiness: &Readiness) -> u16 {
        answer(&Method::GET, path, readiness).expect("a health endpoint").status.as_u16()
    }

    #[test]
    fn ready_means_configured_with_a_store_and_not_draining() {
        let readiness = Readiness::new();
        assert_eq!(readiness.ready(), Err(vec!["configuration_not_loaded", "store_not_asked_yet"]));
        readiness.configuration_loaded();
        assert_eq!(readiness.ready(), Err(vec!["store_not_asked_yet"]));
        readiness.store_seen(true);
        assert_eq!(readiness.ready(), Ok(()));
        readiness.store_seen(false);
        readiness.begin_draining();
        assert_eq!(readiness.ready(), Err(vec!["store_unreachable", "draining"]));
    }

    #[test]
    fn what_has_started_stays_started_when_the_store_goes_away() {
        let readiness = Readiness::new();
        readiness.store_seen(true);
        assert_eq!(status("/startupz", &readiness), 503);
        readiness.configuration_loaded();
        assert_eq!(status("/startupz", &readiness), 200);
        readiness.store_seen(false);
        assert_eq!(status("/startupz", &readiness), 200);
        assert_eq!(status("/readyz", &readiness), 503);
        readiness.store_seen(true);
        assert_eq!(status("/readyz", &readiness), 200);
    }

    #[test]
    fn a_gateway_that_drains_or_lost_its_store_is_alive() {
        let readiness = ready();
        readiness.store_seen(false);
        readiness.begin_draining();
        assert_eq!(status("/healthz", &readiness), 200);
        assert_eq!(status("/readyz", &readiness), 503);
    }

    #[test]
    fn only_exact_paths_and_reading_methods_are_answered() {
        let readiness = ready();
        for path in ["/", "/healthz/", "/healthz/x", "/Healthz", "/readyz2"] {
            assert_eq!(answer(&Method::GET, path, &readiness), None, "{path}");
        }
        let answered = |method| answer(&method, "/healthz", &readiness).map(|answer| answer.status.as_u16());
        assert_eq!(answered(Method::HEAD), Some(200));
        assert_eq!(answered(Method::POST), Some(405));
    }

    /// A store of which only `check` is asked.
    struct Checked(StoreResult<Condition>);

    #[async_trait]
    impl SessionStore for Checked {
        async fn now(&self) -> StoreResult<StoreTime> {
            unreachable!()
        }
        async fn begin(&self) -> StoreResult<StoreTime> {
            unreachable!()
        }
        async fn create(&self, _: NewSession) -> StoreResult<Creation> {
            unreachable!()
        }
        async fn rotate(&self, _: SessionId, _: &SessionRecord, _: NewSession, _: Duration) -> StoreResult<Creation> {
            unreachable!()
        }
        async fn read(&self, _: SessionId) -> StoreResult<Standing> {
            unreachable!()
        }
        async fn read_outlived(&self, _: SessionId, _: &Arc<SessionRecord>) -> StoreResult<EndReason> {
            unreachable!()
        }
        async fn read_token(&self, _: SessionId, _: &Arc<SessionRecord>) -> StoreResult<TokenStanding> {
            unreachable!()
        }
        async fn count_ended(&self) -> StoreResult<Option<u64>> {
            unreachable!()
        }
        async fn sealed_token(&self, _: SessionId) -> StoreResult<Option<Vec<u8>>> {
            unreachable!()
        }
        async fn replace_sealed_token(&self, _: SessionId, _: &[u8]) -> StoreResult<bool> {
            unreachable!()
        }
        async fn take_turn(&self, _: SessionId, _: &str, _: Duration) -> StoreResult<bool> {
            unreachable!()
        }
        async fn end_turn(&self, _: SessionId, _: &str) -> StoreResult<()> {
            unreachable!()
        }
        async fn deny(&self, _: &TokenDenial, _: &By) -> StoreResult<bool> {
            unreachable!()
        }
        async fn touch(&self, _: &[Touch]) -> StoreResult<Vec<bool>> {
            unreachable!()
        }
        async fn tighten(&self, _: SessionId, _: &SessionRecord, _: StoreTime) -> StoreResult<bool> {
            unreachable!()
        }
        fn abandon(&self, _: SessionId, _: &Principal) {
            unreachable!()
        }

        async fn end(&self, _: SessionId, _: &SessionRecord, _: EndReason, _: &By) -> StoreResult<bool> {
            unreachable!()
        }
        async fn hold(&self, _: SessionId, _: &SessionRecord, _: &HoldWord, _: &By) -> StoreResult<Said> {
            unreachable!()
        }
        async fn end_unreadable(&self, _: SessionId, _: EndReason, _: &By) -> StoreResult<bool> {
            unreachable!()
        }
        async fn note_end(&self, _: SessionId, _: &SessionRecord, _: EndReason) -> StoreResult<bool> {
            unreachable!()
        }
        async fn revoke(&self, _: &Revocation) -> StoreResult<Revoked> {
            unreachable!()
        }
        async fn change_tenant(&self, _: &TenantId, _: &TenantChange) -> StoreResult<Revoked> {
            unreachable!()
        }
        async fn tenant_standing(&self, _: &TenantId) -> StoreResult<TenantStanding> {
            unreachable!()
        }
        async fn tenant(&self, _: &TenantId) -> StoreResult<TenantView> {
            unreachable!()
        }
        async fn tenants(&self, _: Option<&TenantId>, _: usize) -> StoreResult<Page<TenantView, TenantId>> {
            unreachable!()
        }
        async fn sessions(
            &self,
            _: &SessionsOf,
            _: Option<&Cursor>,
            _: usize,
        ) -> StoreResult<Page<SessionView, Cursor>> {
            unreachable!()
        }
        async fn check(&self) -> StoreResult<Condition> {
            self.0.clone()
        }
    }

    #[tokio::test]
    async fn the_probe_tells_what_the_store_answered() {
        for (answer, reachable, warned) in [
            (Ok(Condition::Good), true, false),
            (Ok(Condition::TakesNoSessions("it is full".into())), true, true),
            (Err(Unavailable::because("it is gone")), false, false),
        ] {
            let readiness = Readiness::new();
            readiness.configuration_loaded();
            let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
            let probe = probe_store(Arc::new(Checked(answer)), &readiness, |seen| told.send(seen).expect("heard"));
            let first = tokio::select! {
                () = probe => None,
                first = heard.recv() => first,
            };
            assert_eq!(first, Some(reachable));
            assert_eq!(readiness.ready().is_ok(), reachable);
            assert_eq!(readiness.warnings().iter().any(|(_, warning)| warning.contains("it is full")), warned);
        }
    }

    #[test]
    fn a_warning_is_shown_until_it_is_cleared_and_does_not_make_unready() {
        let readiness = ready();
        readiness.warn("audit", Some("the disk is full".into()));
        assert_eq!(readiness.warnings(), [("audit", "the disk is full".to_owned())]);
        assert_eq!(readiness.ready(), Ok(()));
        readiness.warn("audit", None);
        assert_eq!(readiness.warnings(), []);
    }
}
