//! The cache on a cluster: a steady request asks nobody, the trouble of one master costs what it has alone, and nothing that
//! was ended is a yes for longer than a second, whatever moves meanwhile. Each situation has its number and name in the design
//! of several nodes (docs/adr/0022).

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_gateway::clock::{Clock as _, SystemClock};
use session_gateway::session::{
    By, EndReason, Revocation, Scope, SessionId, SessionRecord, Standing, TenantId, UserId,
};
use session_gateway::store::observe::Unobserved;
use session_gateway::store::redis::{RedisSettings, RedisStore};
use session_gateway::store::{Beside, STALE_AT_MOST, SharedStore};

use crate::bench::{id, live, revoke_user};
use crate::cluster::{Cluster, Failover, Plan};
use crate::redis::Barrier;
use crate::relay::Relay;
use crate::sentinel::{cached, never_yes, says_yes};
use crate::sharding::{connect, serves, session_on, slot_of_session, slot_of_tenant, tenant_on};
use crate::topology::{instant, until};

const SECOND: Duration = Duration::from_secs(1);

/// A store whose cache answers wherever a session may be.
pub(crate) async fn cached_everywhere(settings: RedisSettings) -> Arc<RedisStore> {
    let store = RedisStore::connect(cached(settings), Arc::new(Unobserved)).await.unwrap();
    let shared: SharedStore = store.clone();
    serves(&shared).await;
    for _ in 0..40 {
        until_known(&shared, id()).await;
    }
    store
}

/// Waits until it is known without asking what a session is. A machine that does much else may be late with a proof.
async fn until_known(store: &SharedStore, id: SessionId) -> Standing {
    let begin = instant();
    loop {
        let read = store.read(id).await;
        if let Some(known) = store.known(id, STALE_AT_MOST) {
            return known.standing;
        }
        assert!(begin.elapsed() < 30 * SECOND, "the cache does not answer: {read:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn cached_store(settings: RedisSettings) -> SharedStore {
    cached_everywhere(settings).await
}

/// Whether it is known without asking that a session may be used.
pub(crate) fn knows(store: &SharedStore, id: SessionId) -> bool {
    store.known(id, STALE_AT_MOST).is_some_and(|known| matches!(known.standing, Standing::Live(_)))
}

pub(crate) async fn becomes_known(store: &SharedStore, id: SessionId) {
    assert!(matches!(until_known(store, id).await, Standing::Live(_)));
}

/// Waits until it is known again, of what was read before.
pub(crate) async fn is_known_still(store: &SharedStore, id: SessionId) {
    until("the lease", || knows(store, id)).await;
}

/// From now on nobody is told yes later than a second after that, for so long.
pub(crate) async fn no_yes_later_than_a_second(store: &SharedStore, id: SessionId, ended: Instant, time: Duration) {
    while ended.elapsed() < time {
        let asked = ended.elapsed();
        if says_yes(store, id).await == Some(true) && asked >= SECOND {
            let known = store.known(id, STALE_AT_MOST);
            panic!("a yes to a question of {asked:?} after its end, by {known:?}; {:?}", store.read(id).await);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Ends a session, however often it takes. Answers when it was answered.
pub(crate) async fn end(store: &SharedStore, id: SessionId, record: &SessionRecord) -> Instant {
    let begin = instant();
    while let Err(unavailable) = store.end(id, record, EndReason::Logout, &By::User).await {
        assert!(begin.elapsed() < 20 * SECOND, "{unavailable:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    instant()
}

/// The same, until it outlives who took it: what a server takes that has just been followed is lost with it.
async fn end_for_good(store: &SharedStore, id: SessionId, record: &SessionRecord) -> Instant {
    let begin = instant();
    loop {
        let asked = SystemClock.monotonic();
        let ended = end(store, id, record).await;
        if store.is_replicated(asked).await {
            return ended;
        }
        assert!(begin.elapsed() < 20 * SECOND, "no replica has it");
    }
}

/// Revokes a user, however often it takes. Answers when it was answered.
pub(crate) async fn revoke(store: &SharedStore, tenant: &str, user: &str) -> Instant {
    let (tenant, user) = (TenantId::parse(tenant).unwrap(), UserId::parse(user).unwrap());
    let revocation = Revocation { scope: Scope::User { tenant, user }, reason: EndReason::UserRevoked, by: By::User };
    let begin = instant();
    while let Err(unavailable) = store.revoke(&revocation).await {
        assert!(begin.elapsed() < 20 * SECOND, "{unavailable:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    instant()
}

/// A gateway whose relays a test can stall, of each node one.
pub(crate) async fn apart(cluster: &Cluster) -> (SharedStore, Vec<Relay>) {
    let (beside, relays) = cluster.apart();
    (cached_store(cluster.settings_with(beside)).await, relays)
}

/// How often records and standings were read or moved, at all nodes.
fn reads(cluster: &Cluster) -> u64 {
    let of_node = |info: String| -> u64 {
        let calls = |command: &str| {
            let line = info.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:calls=")))?;
            line.split(['=', ',']).nth(1)?.parse::<u64>().ok()
        };
        ["get", "pexpiretime", "pexpireat", "exists", "asking"].iter().filter_map(|command| calls(command)).sum()
    };
    cluster.nodes.iter().map(|node| of_node(node.cli(&["INFO", "commandstats"]))).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_steady_request_on_a_cluster_asks_its_masters_next_to_nothing() {
    const REQUESTS: u64 = 100_000;
    let cluster = Cluster::start().await;
    let store = cached_store(cluster.settings()).await;
    let mut ids = Vec::new();
    for tenant in (0..3).map(|node| tenant_on(&cluster, node)) {
        for node in 0..3 {
            let (id, _) = session_on(&cluster, &store, (&tenant, "7"), node).await;
            becomes_known(&store, id).await;
            ids.push(id);
        }
    }
    let (before, begin) = (reads(&cluster), instant());
    let mut missed = 0;
    for (request, id) in (0..REQUESTS).zip(ids.iter().cycle()) {
        if !knows(&store, *id) {
            missed += 1;
            live(&store, *id).await;
        }
        if request % 1000 == 0 {
            // Over several leases.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let asked = reads(&cluster) - before;
    println!("{REQUESTS} requests in {:?}: {missed} missed, {asked} commands", begin.elapsed());
    assert!(asked * 200 <= REQUESTS, "{asked} commands, of which {missed} requests had to ask");
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_2_a_master_that_froze_costs_what_it_has_and_says_no_stale_yes_from_memory() {
    let cluster =
        Cluster::with(Plan { arguments: &["--cluster-require-full-coverage", "no"], ..Plan::default() }).await;
    let (store, other) = (cached_store(cluster.settings()).await, cached_store(cluster.settings()).await);
    let (here, there) = (tenant_on(&cluster, 0), tenant_on(&cluster, 2));
    let (revoked, _) = session_on(&cluster, &store, (&here, "9"), 1).await;
    let (ended, record) = session_on(&cluster, &store, (&there, "8"), 0).await;
    let (elsewhere, _) = session_on(&cluster, &store, (&there, "7"), 1).await;
    for id in [revoked, ended, elsewhere] {
        becomes_known(&other, id).await;
    }
    cluster.nodes[0].freeze();
    let frozen = instant();
    while frozen.elapsed() < SECOND {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!knows(&other, revoked) && !knows(&other, ended), "nobody tells of what it has");
    is_known_still(&other, elsewhere).await;
    cluster.becomes_master(Cluster::partner(0)).await;
    serves(&store).await;
    assert_eq!(revoke_user(&store, &here, "9", EndReason::UserRevoked).await, 1);
    assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    cluster.nodes[0].thaw();
    tokio::join!(never_yes(&other, revoked, 3 * SECOND), never_yes(&other, ended, 3 * SECOND));
    is_known_still(&other, elsewhere).await;
    serves(&other).await;
    tokio::join!(never_yes(&other, revoked, SECOND / 3), never_yes(&other, ended, SECOND / 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_5_after_a_failover_by_hand_what_is_ended_at_the_new_master_is_no_yes_and_the_rest_stays_known() {
    let cluster = Cluster::start().await;
    let (store, other) = (cached_store(cluster.settings()).await, cached_store(cluster.settings()).await);
    let (tenant, there) = (tenant_on(&cluster, 0), tenant_on(&cluster, 2));
    let (elsewhere, _) = session_on(&cluster, &store, (&there, "7"), 1).await;
    becomes_known(&other, elsewhere).await;
    for (to, how) in [(3, Failover::Orderly), (0, Failover::Force)] {
        let (ended, record) = session_on(&cluster, &store, (&tenant, "8"), cluster.owner(0)).await;
        becomes_known(&other, ended).await;
        cluster.fail_over(to, how).await;
        let ended_at = end_for_good(&store, ended, &record).await;
        no_yes_later_than_a_second(&other, ended, ended_at, 2 * SECOND).await;
        cluster.is_whole().await;
        is_known_still(&other, elsewhere).await;
        let (again, _) = session_on(&cluster, &store, (&tenant, "8"), to).await;
        becomes_known(&other, again).await;
    }
}

/// Ends a session at who gets a slot that is being moved, whose news do not come.
async fn ended_where_it_goes(by_its_tenant: bool) {
    let cluster = Cluster::start().await;
    let store = connect(cluster.settings()).await;
    let (other, relays) = apart(&cluster).await;
    let tenant = tenant_on(&cluster, 0);
    let (ended, record) = session_on(&cluster, &store, (&tenant, "9"), 1).await;
    let (slot, from) =
        if by_its_tenant { (slot_of_tenant(&cluster, &tenant), 0) } else { (slot_of_session(&cluster, ended), 1) };
    becomes_known(&other, ended).await;
    relays[2].stall_news();
    cluster.open(slot, from, 2);
    if by_its_tenant {
        assert_eq!(revoke_user(&store, &tenant, "9", EndReason::UserRevoked).await, 1);
    } else {
        assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    }
    // It stays open.
    no_yes_later_than_a_second(&other, ended, instant(), 3 * SECOND).await;
    while cluster.carry(slot, from, 2, 10) > 0 {}
    cluster.assign(slot, 2);
    never_yes(&other, ended, 2 * SECOND).await;
    relays[2].let_news_through();
    never_yes(&other, ended, SECOND / 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_6_what_is_ended_where_a_slot_that_is_open_goes_is_no_yes_although_nobody_tells() {
    ended_where_it_goes(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_6_who_is_revoked_where_a_slot_that_is_open_goes_is_no_yes_although_nobody_tells() {
    ended_where_it_goes(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_7_a_slot_that_is_given_away_without_its_keys_takes_what_is_known_of_them_with_it() {
    let cluster = Cluster::start().await;
    let store = cached_store(cluster.settings()).await;
    let tenant = tenant_on(&cluster, 0);
    let (gone, _) = session_on(&cluster, &store, (&tenant, "7"), 1).await;
    let (stays, _) = session_on(&cluster, &store, (&tenant, "7"), 1).await;
    let slot = slot_of_session(&cluster, gone);
    assert_ne!(slot, slot_of_session(&cluster, stays));
    becomes_known(&store, gone).await;
    becomes_known(&store, stays).await;
    cluster.give(slot, 2).await;
    no_yes_later_than_a_second(&store, gone, instant(), 2 * SECOND).await;
    is_known_still(&store, stays).await;
    cluster.give(slot, 1).await;
    never_yes(&store, gone, 2 * SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_7_a_slot_that_went_and_came_back_brings_no_yes_of_before() {
    let cluster = Cluster::start().await;
    let store = connect(cluster.settings()).await;
    let (other, relays) = apart(&cluster).await;
    let tenant = tenant_on(&cluster, 0);
    let slot = slot_of_tenant(&cluster, &tenant);
    for (user, stalled) in [("7", false), ("8", true), ("9", true)] {
        let (revoked, _) = session_on(&cluster, &store, (&tenant, user), 1).await;
        becomes_known(&other, revoked).await;
        if stalled {
            relays[2].stall_news();
        }
        cluster.move_slot(slot, 2);
        assert_eq!(revoke_user(&store, &tenant, user, EndReason::UserRevoked).await, 1);
        let ended = instant();
        cluster.move_slot(slot, 0);
        no_yes_later_than_a_second(&other, revoked, ended, 2 * SECOND).await;
        relays[2].let_news_through();
        let (again, _) = session_on(&cluster, &store, (&tenant, user), 1).await;
        becomes_known(&other, again).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_9_with_the_news_of_one_master_stalled_what_it_has_is_asked_for_and_the_rest_is_known() {
    let cluster = Cluster::start().await;
    let store = connect(cluster.settings()).await;
    let (other, relays) = apart(&cluster).await;
    let (tenant, there) = (tenant_on(&cluster, 0), tenant_on(&cluster, 2));
    let (bystander, _) = session_on(&cluster, &store, (&there, "7"), 0).await;
    let (elsewhere, _) = session_on(&cluster, &store, (&there, "7"), 1).await;
    for round in 0..4 {
        let (ended, record) = session_on(&cluster, &store, (&there, "8"), 0).await;
        let (revoked, _) = session_on(&cluster, &store, (&tenant, "9"), 1).await;
        for id in [bystander, elsewhere, ended, revoked] {
            becomes_known(&other, id).await;
        }
        relays[0].stall_news();
        // At several moments of the lease.
        tokio::time::sleep(Duration::from_millis(round * 230)).await;
        assert_eq!(revoke_user(&store, &tenant, "9", EndReason::UserRevoked).await, 1);
        assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
        let begin = instant();
        tokio::join!(
            no_yes_later_than_a_second(&other, ended, begin, 2 * SECOND),
            no_yes_later_than_a_second(&other, revoked, begin, 2 * SECOND),
        );
        assert!(!knows(&other, bystander));
        assert_eq!(says_yes(&other, bystander).await, Some(true), "its master is asked");
        is_known_still(&other, elsewhere).await;
        relays[0].let_news_through();
    }
    becomes_known(&other, bystander).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_9_a_master_that_is_emptied_or_stops_telling_takes_what_was_known_of_it_alone() {
    let cluster = Cluster::start().await;
    let store = cached_store(cluster.settings()).await;
    let there = tenant_on(&cluster, 2);
    let (elsewhere, _) = session_on(&cluster, &store, (&there, "7"), 1).await;
    becomes_known(&store, elsewhere).await;
    for _ in 0..3 {
        let (kept, _) = session_on(&cluster, &store, (&there, "8"), 0).await;
        becomes_known(&store, kept).await;
        let clients = cluster.nodes[0].cli(&["CLIENT", "LIST"]);
        let trackers = clients.lines().filter(|line| line.contains(" flags=tB "));
        let ids: Vec<&str> = trackers.filter_map(|line| line.split(' ').next()?.strip_prefix("id=")).collect();
        assert_eq!(ids.len(), 1, "{clients}");
        cluster.nodes[0].cli(&["CLIENT", "KILL", "ID", ids[0]]);
        until("the news to be missed", || !knows(&store, kept)).await;
        becomes_known(&store, kept).await;
        is_known_still(&store, elsewhere).await;
    }
    let (lost, _) = session_on(&cluster, &store, (&there, "8"), 0).await;
    becomes_known(&store, lost).await;
    assert_eq!(cluster.nodes[0].cli(&["FLUSHALL"]), "OK");
    no_yes_later_than_a_second(&store, lost, instant(), 2 * SECOND).await;
    is_known_still(&store, elsewhere).await;
}

/// A reading of a session whose tenant's master lets nobody ask about the tenant, until it is let go on; what was done before
/// that, and the session.
struct HeldUp {
    direct: SharedStore,
    store: SharedStore,
    barrier: Barrier,
    tenant: String,
    id: SessionId,
    record: SessionRecord,
    read: tokio::task::JoinHandle<Option<bool>>,
    _cluster: Cluster,
}

impl HeldUp {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        let direct = connect(cluster.settings()).await;
        let barrier = Barrier::before(&cluster.nodes[0], b"sg:n:{").await;
        let called = format!("127.0.0.1:{}", cluster.nodes[0].port());
        let addresses = [(called, format!("127.0.0.1:{}", barrier.port))].into();
        let store = cached_store(cluster.settings_with(Beside { addresses, ..Beside::default() })).await;
        let tenant = tenant_on(&cluster, 0);
        let (id, record) = session_on(&cluster, &direct, (&tenant, "9"), 1).await;
        let reader = store.clone();
        let read = tokio::spawn(async move { says_yes(&reader, id).await });
        barrier.reached.notified().await;
        Self { direct, store, barrier, tenant, id, record, read, _cluster: cluster }
    }

    /// Lets it go on, and whoever comes later. Answers what it says.
    async fn goes_on(&mut self) -> Option<bool> {
        let release = self.barrier.release.clone();
        release.notify_one();
        let answer = (&mut self.read).await.unwrap();
        tokio::spawn(async move {
            loop {
                release.notify_one();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        answer
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_10_what_is_ended_between_the_two_reads_is_not_kept() {
    let mut held = HeldUp::start().await;
    assert!(held.direct.end(held.id, &held.record, EndReason::Logout, &By::User).await.unwrap());
    let ended = instant();
    // The news of it come meanwhile.
    tokio::time::sleep(Duration::from_millis(50)).await;
    held.goes_on().await;
    assert!(!knows(&held.store, held.id), "what was read was used once");
    no_yes_later_than_a_second(&held.store, held.id, ended, 2 * SECOND).await;
    assert_eq!(says_yes(&held.store, held.id).await, Some(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_10_who_is_revoked_after_one_node_answered_and_before_the_other_is_out() {
    let mut held = HeldUp::start().await;
    assert_eq!(revoke_user(&held.direct, &held.tenant, "9", EndReason::UserRevoked).await, 1);
    assert_ne!(held.goes_on().await, Some(true), "the standing was asked for after it");
    never_yes(&held.store, held.id, SECOND).await;
    assert_eq!(says_yes(&held.store, held.id).await, Some(false));
}
