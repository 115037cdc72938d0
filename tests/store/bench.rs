//! What the contract suite needs of a store under test.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use session_gateway::entropy::SystemEntropy;
use session_gateway::session::{
    By, EndReason, IdleLimit, LiveSession, Principal, Revocation, Role, Scope, SessionId, SessionRecord, SessionToken,
    Standing, StoreTime, TenantChange, TenantId, TenantStanding, TenantStatus, UserAgent, UserId, Words,
};
use session_gateway::store::activities::ActivityStore;
use session_gateway::store::acts::{ActStore, CallExchange};
use session_gateway::store::alerts::AlertOutbox;
use session_gateway::store::contacts::ContactStore;
use session_gateway::store::membership::MembershipStore;
use session_gateway::store::monitor::{FindingStore, LoginGuard};
use session_gateway::store::places::PlaceStore;
use session_gateway::store::reports::ReportStore;
use session_gateway::store::{Creation, NewSession, STALE_AT_MOST, SharedStore};

/// What a store does for the monitoring, for alerts, and for tenants that must exist.
pub(crate) trait MonitorStore:
    LoginGuard
    + FindingStore
    + CallExchange
    + ActStore
    + AlertOutbox
    + ContactStore
    + MembershipStore
    + PlaceStore
    + ReportStore
    + ActivityStore
{
}

impl<T> MonitorStore for T where
    T: LoginGuard
        + FindingStore
        + CallExchange
        + ActStore
        + AlertOutbox
        + ContactStore
        + MembershipStore
        + PlaceStore
        + ReportStore
        + ActivityStore
{
}

/// A store under test.
#[async_trait]
pub(crate) trait Bench: Send + Sync {
    /// The store.
    fn store(&self) -> SharedStore;
    /// Another gateway's view of it.
    async fn other_instance(&self) -> SharedStore;
    /// Where logins are counted, and what was found is kept.
    fn monitor(&self) -> Arc<dyn MonitorStore>;
    /// Another gateway's view of that.
    async fn other_monitor(&self) -> Arc<dyn MonitorStore>;
    /// Lets time pass: moves the clock, or waits.
    async fn elapse(&self, time: Duration);
    /// Lets time pass until the store's clock shows `time`. A wait that follows from the clock leaves a slow machine
    /// its time before, and costs a fast one none.
    async fn elapse_until(&self, time: StoreTime) {
        self.elapse(time.since(self.store().now().await.unwrap())).await;
    }
}

/// What docs/behaviour.md, "Store", allows for nearly all of them.
const HEARD_WITHIN: Duration = Duration::from_millis(50);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn id() -> SessionId {
    SessionToken::generate(&SystemEntropy).unwrap().id()
}

pub(crate) fn idle(millis: u64) -> Option<IdleLimit> {
    Some(IdleLimit::new(Duration::from_millis(millis)))
}

pub(crate) fn principal(tenant: &str, user: &str) -> Principal {
    let role = Some(Role::parse("admin").unwrap());
    Principal { tenant: TenantId::parse(tenant).unwrap(), user: UserId::parse(user).unwrap(), role }
}

/// A login of `acme`'s user 7 that begins now.
pub(crate) async fn login(store: &SharedStore) -> NewSession {
    login_at(store.begin().await.unwrap())
}

/// One that began then.
pub(crate) fn login_at(began: StoreTime) -> NewSession {
    NewSession {
        id: id(),
        principal: principal("acme", "7"),
        candidates: Vec::new(),
        remembered: true,
        idle: Some(IdleLimit::new(Duration::from_secs(1800))),
        absolute: 8 * HOUR,
        address: Some(IpAddr::from([192, 0, 2, 7])),
        user_agent: UserAgent::of(Some(b"curl")),
        began,
        limit: None,
        replaces: None,
        sealed_token: None,
    }
}

/// Stores it, and it is stored.
pub(crate) async fn stored(store: &SharedStore, new: NewSession) -> SessionRecord {
    match store.create(new).await.unwrap() {
        Creation::Stored { record, .. } => record,
        other => panic!("not stored: {other:?}"),
    }
}

/// A session of `acme`'s user 7.
pub(crate) async fn session(store: &SharedStore) -> (SessionId, SessionRecord) {
    let new = login(store).await;
    (new.id, stored(store, new).await)
}

/// A session of that user.
pub(crate) async fn session_of(store: &SharedStore, tenant: &str, user: &str) -> (SessionId, SessionRecord) {
    let new = NewSession { principal: principal(tenant, user), ..login(store).await };
    (new.id, stored(store, new).await)
}

/// What the store, or a cache before it, says a session is. What another instance has just ended, held or released a cache
/// may call what it was until it hears of it.
pub(crate) async fn ask(store: &SharedStore, id: SessionId) -> Standing {
    let known = || store.known(id, STALE_AT_MOST).map(|known| known.standing);
    if let Some(Standing::Live(_) | Standing::Held(_)) = known() {
        tokio::time::sleep(HEARD_WITHIN).await;
    }
    match known() {
        Some(standing) => standing,
        None => store.read(id).await.unwrap(),
    }
}

/// The same of a tenant's standing.
pub(crate) async fn ask_tenant(store: &SharedStore, tenant: &TenantId) -> TenantStanding {
    let known = || store.known_tenant(tenant, STALE_AT_MOST).map(|known| known.standing);
    if known().is_some() {
        tokio::time::sleep(HEARD_WITHIN).await;
    }
    match known() {
        Some(standing) => standing,
        None => store.tenant_standing(tenant).await.unwrap(),
    }
}

pub(crate) async fn live(store: &SharedStore, id: SessionId) -> LiveSession {
    match ask(store, id).await {
        Standing::Live(live) => live,
        other => panic!("not live: {other:?}"),
    }
}

/// The time in whole milliseconds, rounded up as deadlines are.
pub(crate) fn in_millis(time: StoreTime) -> StoreTime {
    StoreTime::from_millis(time.as_millis_rounded_up())
}

/// Revokes, counts all, and answers how many there were.
pub(crate) async fn revoke(store: &SharedStore, scope: Scope, reason: EndReason) -> u64 {
    let revoked = store.revoke(&Revocation { scope, reason, by: By::Gateway }).await.unwrap();
    assert!(revoked.complete);
    revoked.ended
}

pub(crate) async fn revoke_user(store: &SharedStore, tenant: &str, user: &str, reason: EndReason) -> u64 {
    let scope = Scope::User { tenant: TenantId::parse(tenant).unwrap(), user: UserId::parse(user).unwrap() };
    revoke(store, scope, reason).await
}

pub(crate) async fn change_tenant(store: &SharedStore, tenant: &str, status: TenantStatus) -> u64 {
    let words = Words::parse("for a test").unwrap();
    let change = TenantChange { status, reason: EndReason::OrgDeleted, words, by: By::Gateway };
    let revoked = store.change_tenant(&TenantId::parse(tenant).unwrap(), &change).await.unwrap();
    assert!(revoked.complete);
    revoked.ended
}
