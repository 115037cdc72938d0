//! What the store does on a cluster, while masters go and slots move. Each situation has its number and name in the design of
//! several nodes (docs/adr/0021).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session_gateway::session::{By, EndReason, Revocation, Scope, SessionId, SessionRecord, Standing, TenantStatus};
use session_gateway::store::observe::Unobserved;
use session_gateway::store::redis::{RedisSettings, RedisStore};
use session_gateway::store::{Creation, NewSession, SessionsOf, SharedStore, Touch};
use tokio::task::JoinHandle;

use crate::bench::{HOUR, change_tenant, live, login, principal, revoke_user, session_of, stored};
use crate::cluster::{Cluster, Failover, Plan};
use crate::journal::journal;
use crate::redis::hash;
use crate::sentinel::{never_yes, says_yes};
use crate::topology::{instant, until};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) async fn connect(settings: RedisSettings) -> SharedStore {
    let store: SharedStore = RedisStore::connect(settings, Arc::new(Unobserved)).await.unwrap();
    serves(&store).await;
    store
}

/// Waits until all masters are there.
pub(crate) async fn serves(store: &SharedStore) {
    let begin = instant();
    while store.tenants(None, 1).await.is_err() || !takes_all(store) {
        assert!(begin.elapsed() < 30 * SECOND, "{:?}", store.check().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn takes_all(store: &SharedStore) -> bool {
    (0..100).all(|_| store.would_take(crate::bench::id()))
}

/// A tenant whose standing and index are on a master.
pub(crate) fn tenant_on(cluster: &Cluster, node: usize) -> String {
    let is_there = |tenant: &String| cluster.owner(slot_of_tenant(cluster, tenant)) == node;
    (0..).map(|number| format!("t{number}")).find(is_there).unwrap()
}

pub(crate) fn slot_of_tenant(cluster: &Cluster, tenant: &str) -> u16 {
    cluster.slot(&format!("sg:n:{{{}}}", hash(tenant)))
}

pub(crate) fn slot_of_session(cluster: &Cluster, id: SessionId) -> u16 {
    cluster.slot(&format!("sg:s:{{{id}}}"))
}

/// A login whose session is on a master.
async fn login_on(cluster: &Cluster, store: &SharedStore, tenant: &str, user: &str, node: usize) -> NewSession {
    loop {
        let new = NewSession { principal: principal(tenant, user), ..login(store).await };
        if cluster.owner(slot_of_session(cluster, new.id)) == node {
            return new;
        }
    }
}

pub(crate) async fn session_on(
    cluster: &Cluster,
    store: &SharedStore,
    (tenant, user): (&str, &str),
    node: usize,
) -> (SessionId, SessionRecord) {
    let new = login_on(cluster, store, tenant, user, node).await;
    (new.id, stored(store, new).await)
}

/// A session whose user was revoked, and whose record on a master nothing has taken away: the user's generation alone says
/// that it is over.
pub(crate) async fn revoked_but_kept(cluster: &Cluster, store: &SharedStore, tenant: &str, node: usize) -> SessionId {
    let (revoked, record) = session_on(cluster, store, (tenant, "9"), node).await;
    assert_eq!(record.generations.user.as_micros(), 0, "nothing was revoked before");
    let (key, copy) = (format!("sg:s:{{{revoked}}}"), format!("sg:copy:{{{revoked}}}"));
    assert_eq!(cluster.nodes[node].cli(&["COPY", &key, &copy]), "1");
    let user = record.principal.user.clone();
    let scope = Scope::User { tenant: record.principal.tenant.clone(), user };
    let revoked_all = store.revoke(&Revocation { scope, reason: EndReason::UserRevoked, by: By::User }).await.unwrap();
    assert!(revoked_all.complete && revoked_all.journalled && revoked_all.ended == 1, "{revoked_all:?}");
    assert_eq!(cluster.nodes[node].cli(&["COPY", &copy, &key]), "1");
    assert_eq!(cluster.nodes[node].cli(&["DEL", &format!("sg:e:{{{revoked}}}")]), "1");
    revoked
}

/// What failed of what somebody did again and again, and how often it was done.
type Busy = JoinHandle<(Vec<String>, u32)>;

/// Logs in, uses and logs out again and again.
pub(crate) fn busy(store: &SharedStore, tenant: &str, over: &Arc<AtomicBool>) -> Busy {
    let (store, tenant, over) = (store.clone(), tenant.to_owned(), over.clone());
    tokio::spawn(async move {
        let (mut failed, mut rounds) = (Vec::new(), 0);
        while !over.load(Ordering::Relaxed) {
            rounds += 1;
            if let Err(why) = round(&store, &tenant, rounds).await {
                failed.push(format!("in round {rounds}: {why}"));
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        (failed, rounds)
    })
}

/// They have done so for long enough, and nothing ever failed.
pub(crate) async fn never_failed(busy: [Busy; 2], over: &AtomicBool) {
    let failed = failures(busy, over).await;
    assert_eq!(failed.first(), None, "{} failed", failed.len());
}

/// They have done so for long enough. Answers what failed.
pub(crate) async fn failures(busy: [Busy; 2], over: &AtomicBool) -> Vec<String> {
    over.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for one in busy {
        let (failed, rounds) = one.await.unwrap();
        assert!(rounds > 10, "{rounds} rounds, {failed:?}");
        all.extend(failed);
    }
    all
}

async fn round(store: &SharedStore, tenant: &str, number: u32) -> Result<(), String> {
    let why = |what: &'static str| move |unavailable| format!("{what}: {unavailable}");
    let began = store.begin().await.map_err(why("begin"))?;
    let id = (0..64).map(|_| crate::bench::id()).find(|id| store.would_take(*id)).ok_or("no id")?;
    let user = format!("u{}", number % 7);
    let new = NewSession { id, principal: principal(tenant, &user), ..crate::bench::login_at(began) };
    let Creation::Stored { record, .. } = store.create(new).await.map_err(why("create"))? else {
        return Err(String::from("not stored"));
    };
    match store.read(id).await.map_err(why("read"))? {
        Standing::Live(_) => {}
        other => return Err(format!("not live: {other:?}")),
    }
    let touch = Touch { id, deadline: record.created.after(HOUR) };
    if store.touch(&[touch]).await.map_err(why("touch"))? != [true] {
        return Err(String::from("not touched"));
    }
    if !store.end(id, &record, EndReason::Logout, &By::User).await.map_err(why("end"))? {
        return Err(String::from("not ended"));
    }
    match store.read(id).await.map_err(why("read again"))? {
        Standing::Ended(_) => Ok(()),
        other => Err(format!("not over: {other:?}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_13_whoever_is_elsewhere_never_notices_that_a_master_is_gone() {
    let partial = Plan { arguments: &["--cluster-require-full-coverage", "no"], ..Plan::default() };
    let mut cluster = Cluster::with(partial).await;
    let store = connect(cluster.settings()).await;
    let tenants: Vec<String> = [1, 2].map(|node| tenant_on(&cluster, node)).to_vec();
    let over = Arc::new(AtomicBool::new(false));
    let (kept, _) = session_on(&cluster, &store, (&tenants[0], "7"), 2).await;
    cluster.nodes[0].kill();
    // Until it is noticed, what is sent there is lost.
    until("the loss to be noticed", || !takes_all(&store)).await;
    let busy = [busy(&store, &tenants[0], &over), busy(&store, &tenants[1], &over)];
    let begin = instant();
    while begin.elapsed() < SECOND {
        assert_eq!(says_yes(&store, kept).await, Some(true));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.becomes_master(Cluster::partner(0)).await;
    serves(&store).await;
    println!("served again after {:?}", begin.elapsed());
    never_failed(busy, &over).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_13_whoever_is_elsewhere_never_notices_that_a_master_hangs() {
    let cluster =
        Cluster::with(Plan { arguments: &["--cluster-require-full-coverage", "no"], ..Plan::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let store = connect(cluster.settings().with_journal(journal(folder.path()))).await;
    let tenant = tenant_on(&cluster, 1);
    let (kept, _) = session_on(&cluster, &store, (&tenant, "7"), 2).await;
    cluster.nodes[0].freeze();
    let begin = instant();
    let (mut takes_over, mut count) = (None, 0);
    while takes_over.is_none_or(|at: Duration| begin.elapsed() < at + 2 * SECOND) {
        assert!(begin.elapsed() < 20 * SECOND, "nobody is elected");
        assert_eq!(says_yes(&store, kept).await, Some(true), "after {:?}", begin.elapsed());
        count += 1;
        if takes_over.is_none() && count % 20 == 0 && cluster.masters().contains(&Cluster::partner(0)) {
            takes_over = Some(begin.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cluster.nodes[0].thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_a_master_would_take_again_it_takes_at_once() {
    let cluster = Cluster::start().await;
    let store = connect(cluster.settings()).await;
    let tenant = tenant_on(&cluster, 1);
    for round in 0..5 {
        let new = login_on(&cluster, &store, &tenant, "7", 0).await;
        cluster.nodes[0].cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        until("the loss to be noticed", || !store.would_take(new.id)).await;
        let begin = instant();
        // The moment is short: no pause between two looks.
        while !store.would_take(new.id) {
            assert!(begin.elapsed() < 20 * SECOND, "{:?}", store.check().await);
            tokio::task::yield_now().await;
        }
        let created = store.create(new).await;
        assert!(matches!(created, Ok(Creation::Stored { .. })), "in round {round}: {created:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_1_what_was_ended_stays_so_when_its_master_is_killed() {
    let mut cluster = Cluster::start().await;
    let (store, other) = (connect(cluster.settings()).await, connect(cluster.settings()).await);
    let tenant = tenant_on(&cluster, 0);
    let mut over = Vec::new();
    for node in 0..3 {
        let (ended, record) = session_on(&cluster, &store, (&tenant, "8"), node).await;
        assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
        over.push(ended);
        over.push(session_on(&cluster, &store, (&tenant, "9"), node).await.0);
    }
    let (kept, _) = session_on(&cluster, &store, (&tenant, "7"), 1).await;
    assert_eq!(revoke_user(&store, &tenant, "9", EndReason::UserRevoked).await, 3);
    use session_gateway::clock::{Clock as _, SystemClock};
    while !store.is_replicated(SystemClock.monotonic()).await {}
    cluster.nodes[0].kill();
    let watched: Vec<_> = over
        .into_iter()
        .map(|id| {
            let other = other.clone();
            tokio::spawn(async move { never_yes(&other, id, 6 * SECOND).await })
        })
        .collect();
    cluster.becomes_master(Cluster::partner(0)).await;
    serves(&other).await;
    live(&other, kept).await;
    for one in watched {
        one.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_2_a_master_that_froze_and_was_succeeded_says_no_stale_yes() {
    let cluster = Cluster::start().await;
    let (store, other) = (connect(cluster.settings()).await, connect(cluster.settings()).await);
    let tenant = tenant_on(&cluster, 0);
    let (revoked, _) = session_on(&cluster, &store, (&tenant, "9"), 1).await;
    let (ended, record) = session_on(&cluster, &store, (&tenant, "8"), 0).await;
    cluster.nodes[0].freeze();
    cluster.becomes_master(Cluster::partner(0)).await;
    serves(&store).await;
    assert_eq!(revoke_user(&store, &tenant, "9", EndReason::UserRevoked).await, 1);
    assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    cluster.nodes[0].thaw();
    tokio::join!(never_yes(&other, revoked, 3 * SECOND), never_yes(&other, ended, 3 * SECOND));
    serves(&other).await;
    tokio::join!(never_yes(&other, revoked, SECOND / 3), never_yes(&other, ended, SECOND / 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_6_while_slots_move_nobody_is_refused_and_nobody_is_logged_out() {
    let cluster = Cluster::start().await;
    let (store, other) = (connect(cluster.settings()).await, connect(cluster.settings()).await);
    let tenant = tenant_on(&cluster, 0);
    let slot = slot_of_tenant(&cluster, &tenant);
    let (kept, record) = session_on(&cluster, &store, (&tenant, "7"), 1).await;
    let own = slot_of_session(&cluster, kept);
    let over = Arc::new(AtomicBool::new(false));
    let busy = [busy(&store, &tenant, &over), busy(&other, &tenant, &over)];
    for _ in 0..4 {
        for (slot, to) in [(slot, 2), (own, 2), (slot, 0), (own, 1)] {
            let from = cluster.owner(slot);
            cluster.open(slot, from, to);
            // It stays open for a while, with keys on both sides.
            cluster.carry(slot, from, to, 1);
            live(&store, kept).await;
            let touch = Touch { id: kept, deadline: record.created.after(2 * HOUR) };
            assert_eq!(store.touch(&[touch]).await.unwrap(), [true]);
            while cluster.carry(slot, from, to, 1) > 0 {
                live(&other, kept).await;
            }
            cluster.assign(slot, to);
            live(&other, kept).await;
        }
    }
    never_failed(busy, &over).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_7_a_slot_that_went_and_came_back_has_the_revocation_that_came_in_between() {
    let cluster = Cluster::start().await;
    let (store, other) = (connect(cluster.settings()).await, connect(cluster.settings()).await);
    let tenant = tenant_on(&cluster, 0);
    let slot = slot_of_tenant(&cluster, &tenant);
    for _ in 0..5 {
        let (revoked, _) = session_on(&cluster, &store, (&tenant, "9"), 1).await;
        live(&other, revoked).await;
        let began = NewSession { principal: principal(&tenant, "9"), ..login(&other).await };
        cluster.move_slot(slot, 2);
        assert_eq!(revoke_user(&store, &tenant, "9", EndReason::UserRevoked).await, 1);
        cluster.move_slot(slot, 0);
        never_yes(&other, revoked, SECOND / 10).await;
        // Whichever clock gave the generation: the login was before it.
        assert_eq!(other.create(began).await.unwrap(), Creation::Superseded);
        live(&other, session_of(&other, &tenant, "9").await.0).await;
        assert_eq!(revoke_user(&other, &tenant, "9", EndReason::UserRevoked).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_9_a_master_that_is_emptied_revives_nobody_whose_record_is_elsewhere() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let store = connect(cluster.settings().with_journal(journal(folder.path()))).await;
    let tenant = tenant_on(&cluster, 0);
    let revoked = revoked_but_kept(&cluster, &store, &tenant, 1).await;
    assert_ne!(says_yes(&store, revoked).await, Some(true));
    assert_eq!(cluster.nodes[0].cli(&["FLUSHALL"]), "OK");
    never_yes(&store, revoked, 2 * SECOND).await;
    serves(&store).await;
    never_yes(&store, revoked, SECOND / 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_10_a_login_and_a_revocation_on_two_gateways_are_in_one_order_whatever_the_clocks() {
    for skew in [5, -5] {
        let mut cluster = Cluster::start().await;
        let replica = Cluster::partner(0);
        cluster.nodes[replica].kill();
        cluster.nodes[replica].skew_clock(skew);
        cluster.nodes[replica].launch(&[]);
        cluster.is_whole().await;
        cluster.fail_over(replica, Failover::Orderly).await;
        cluster.is_whole().await;
        let (store, other) = (connect(cluster.settings()).await, connect(cluster.settings()).await);
        for node in [replica, 1, 2] {
            let tenant = tenant_on(&cluster, node);
            for round in 0..50 {
                let user = format!("u{round}");
                let began = NewSession { principal: principal(&tenant, &user), ..login(&store).await };
                revoke_user(&other, &tenant, &user, EndReason::UserRevoked).await;
                assert_eq!(store.create(began).await.unwrap(), Creation::Superseded, "{skew} {node} {round}");
                let (id, _) = session_of(&store, &tenant, &user).await;
                live(&other, id).await;
            }
            let began = NewSession { principal: principal(&tenant, "7"), ..login(&store).await };
            change_tenant(&other, &tenant, TenantStatus::Suspended).await;
            change_tenant(&other, &tenant, TenantStatus::Active).await;
            assert_eq!(store.create(began).await.unwrap(), Creation::Superseded);
            session_of(&store, &tenant, "7").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_11_whoever_began_under_a_revocation_that_a_failover_lost_is_not_logged_out() {
    let mut cluster = Cluster::with(Plan { behind_relays: true, ..Plan::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let (beside, _ways) = cluster.apart();
    let (there, _theirs) = cluster.apart();
    let other = connect(cluster.settings_with(there)).await;
    let store = connect(cluster.settings_with(beside.clone()).with_journal(journal(folder.path()))).await;
    let tenant = tenant_on(&cluster, 0);
    cluster.cut_replication(0);
    assert_eq!(revoke_user(&store, &tenant, "9", EndReason::UserRevoked).await, 0);
    let (kept, record) = session_on(&cluster, &store, (&tenant, "9"), 1).await;
    assert_eq!(says_yes(&other, kept).await, Some(true));
    cluster.nodes[0].kill();
    drop(store);
    let watched = tokio::spawn({
        let other = other.clone();
        async move {
            let begin = instant();
            while begin.elapsed() < 5 * SECOND {
                assert_ne!(says_yes(&other, kept).await, Some(false), "after {:?}", begin.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    cluster.becomes_master(Cluster::partner(0)).await;
    let key = format!("sg:u:{{{}}}:{}", hash(&tenant), hash("9"));
    assert_eq!(cluster.nodes[Cluster::partner(0)].cli(&["GET", &key]), "", "it was lost");
    // The one that revoked is back.
    let store = connect(cluster.settings_with(beside).with_journal(journal(folder.path()))).await;
    let raised = cluster.nodes[Cluster::partner(0)].cli(&["GET", &key]);
    assert_eq!(raised, record.generations.user.as_micros().to_string());
    live(&store, kept).await;
    watched.await.unwrap();
    live(&other, kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_16_a_listing_across_a_failover_misses_nobody() {
    let cluster = Cluster::start().await;
    let store = connect(cluster.settings()).await;
    let tenant = tenant_on(&cluster, 0);
    let mut made = HashSet::new();
    for user in 0..300 {
        made.insert(session_of(&store, &tenant, &user.to_string()).await.0);
    }
    let of = SessionsOf::Tenant(principal(&tenant, "7").tenant);
    let (mut listed, mut after, mut ordered) = (HashSet::new(), None, false);
    loop {
        let Ok(page) = store.sessions(&of, after.as_ref(), 40).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        listed.extend(page.items.into_iter().map(|view| view.id));
        if listed.len() > 100 && !ordered {
            ordered = true;
            cluster.fail_over(Cluster::partner(0), Failover::Orderly).await;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, made);
}
