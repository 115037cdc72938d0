//! What comes late ends what was made until its call, and nobody who logs in while it is carried out.

use std::sync::Arc;
use std::time::Duration;

use session_gateway::session::{
    By, EndReason, Keep, Principal, Revocation, Scope, SessionId, Standing, TenantId, UserId,
};
use session_gateway::store::journal::Journal;
use session_gateway::store::redis::RedisSettings;
use session_gateway::store::{Beside, Creation, SharedStore};
use tokio::task::JoinHandle;

use crate::bench::{HOUR, live, login, session, session_of};
use crate::cluster::Cluster;
use crate::journal::{Told, journal, telling};
use crate::redis::{Barrier, hash, shared};
use crate::redis_server::{RedisServer, settings};
use crate::sharding::{connect, session_on, tenant_on};
use crate::topology::until;

/// What only the scripts say by which a generation is raised to what it was to be.
const RAISED_AGAIN: &[u8] = b"tonumber(old) >= tonumber(ARGV[1])";
/// What those say by which it is raised now.
const RAISED: &[u8] = b"^(%d+)$";

fn behind(barrier: &Barrier) -> RedisSettings {
    settings(&format!("redis://127.0.0.1:{}", barrier.port))
}

fn scopes(tenant: &str) -> [Scope; 2] {
    let (tenant, user) = (TenantId::parse(tenant).unwrap(), UserId::parse("7").unwrap());
    [Scope::User { tenant: tenant.clone(), user }, Scope::Tenant { tenant }]
}

fn revoking(store: SharedStore, scope: Scope) -> JoinHandle<()> {
    let revocation = Revocation { scope, reason: EndReason::UserRevoked, by: By::User };
    tokio::spawn(async move { drop(store.revoke(&revocation).await) })
}

/// The first masters are reached through these.
fn through(cluster: &Cluster, barriers: &[&Barrier]) -> RedisSettings {
    let reached = barriers.iter().map(|barrier| format!("127.0.0.1:{}", barrier.port));
    let addresses = reached.enumerate().map(|(number, reached)| (cluster.address(number), reached)).collect();
    cluster.settings_with(Beside { addresses, ..Beside::default() })
}

/// A call that is journalled, and never gets to the server with more than the moment.
async fn fails(barrier: Barrier, store: SharedStore, scope: Scope) {
    let call = revoking(store, scope);
    barrier.reached.notified().await;
    call.abort();
    let _ = call.await;
}

async fn fails_on(server: &RedisServer, kept: &Arc<Journal>, scope: &Scope) {
    let barrier = Barrier::before(server, RAISED).await;
    let store = shared(behind(&barrier).with_journal(kept.clone())).await;
    fails(barrier, store, scope.clone()).await;
}

async fn is_over(store: &SharedStore, id: SessionId) {
    let standing = store.read(id).await.unwrap();
    assert!(matches!(standing, Standing::Ended(_)), "{standing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_while_a_call_that_failed_is_carried_out_stays() {
    for scope in scopes("acme") {
        let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
        let direct = shared(server.tcp()).await;
        let (before, _) = session(&direct).await;
        let kept = journal(folder.path());
        fails_on(&server, &kept, &scope).await;
        let barrier = Barrier::before(&server, RAISED_AGAIN).await;
        let connecting = tokio::spawn(shared(behind(&barrier).with_journal(kept)));
        // All that was made until the call was looked for, and is over.
        barrier.reached.notified().await;
        let (since, _) = session(&direct).await;
        barrier.release.notify_one();
        let store = connecting.await.unwrap();
        is_over(&store, before).await;
        live(&store, since).await;
        live(&direct, since).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_on_a_cluster_while_a_call_that_failed_is_carried_out_stays() {
    let cluster = Cluster::start().await;
    let tenant = tenant_on(&cluster, 0);
    let direct = connect(cluster.settings()).await;
    for scope in scopes(&tenant) {
        let folder = tempfile::tempdir().unwrap();
        let mut before = Vec::new();
        for node in 0..3 {
            before.push(session_on(&cluster, &direct, (&tenant, "7"), node).await.0);
        }
        let told = Told::default();
        let kept = telling(folder.path(), &told);
        let barrier = Barrier::before(&cluster.nodes[0], RAISED).await;
        let store = connect(through(&cluster, &[&barrier]).with_journal(kept.clone())).await;
        fails(barrier, store, scope).await;
        let barrier = Barrier::before(&cluster.nodes[0], RAISED_AGAIN).await;
        let connecting = tokio::spawn(connect(through(&cluster, &[&barrier]).with_journal(kept.clone())));
        barrier.reached.notified().await;
        let (since, _) = session_of(&direct, &tenant, "7").await;
        barrier.release.notify_one();
        let store = connecting.await.unwrap();
        until("what comes late", || !told.lock().unwrap().is_empty()).await;
        for over in before {
            is_over(&store, over).await;
        }
        live(&store, since).await;
        live(&direct, since).await;
    }
}

/// A way to a master on which each proof takes so long that two which are opened at once have each their journal applied
/// before the other is open.
async fn slow_to_prove(cluster: &Cluster, node: usize) -> Barrier {
    let barrier = Barrier::before(&cluster.nodes[node], b"'PX', 60000").await;
    let (reached, release) = (barrier.reached.clone(), barrier.release.clone());
    tokio::spawn(async move {
        loop {
            reached.notified().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            release.notify_one();
        }
    });
    barrier
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_masters_that_are_opened_at_once_none_misses_what_came_late_to_the_other() {
    let (cluster, folder, told) = (Cluster::start().await, tempfile::tempdir().unwrap(), Told::default());
    let tenant = tenant_on(&cluster, 0);
    let direct = connect(cluster.settings()).await;
    let (before, _) = session_on(&cluster, &direct, (&tenant, "7"), 1).await;
    let (record, copy) = (format!("sg:s:{{{before}}}"), format!("sg:copy:{{{before}}}"));
    assert_eq!(cluster.nodes[1].cli(&["COPY", &record, &copy]), "1");
    let kept = telling(folder.path(), &told);
    let barrier = Barrier::before(&cluster.nodes[0], RAISED).await;
    let [scope, _] = scopes(&tenant);
    let store = connect(through(&cluster, &[&barrier]).with_journal(kept.clone())).await;
    fails(barrier, store, scope).await;
    // So that it ends one by one.
    let (since, _) = session_of(&direct, &tenant, "7").await;
    let store = connect(cluster.settings().with_journal(kept.clone())).await;
    until("what comes late", || !told.lock().unwrap().is_empty()).await;
    is_over(&store, before).await;
    drop(store);
    // Its master loses it. By its place, which the tenant's has, it is found again.
    assert_eq!(cluster.nodes[1].cli(&["COPY", &copy, &record]), "1");
    assert_eq!(cluster.nodes[1].cli(&["DEL", &format!("sg:e:{{{before}}}")]), "1");
    live(&direct, before).await;
    let (one, other) = (slow_to_prove(&cluster, 0).await, slow_to_prove(&cluster, 1).await);
    let store = connect(through(&cluster, &[&one, &other]).with_journal(kept)).await;
    is_over(&store, before).await;
    live(&store, since).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_has_its_place_when_a_call_that_failed_is_carried_out_is_stored() {
    let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
    let direct = shared(server.tcp()).await;
    let kept = journal(folder.path());
    let [scope, _] = scopes("acme");
    fails_on(&server, &kept, &scope).await;
    let barrier = Barrier::before(&server, b"\r\nNX\r\n").await;
    let store = shared(behind(&barrier)).await;
    let new = login(&direct).await;
    let id = new.id;
    let storing = tokio::spawn(async move { store.create(new).await.unwrap() });
    barrier.reached.notified().await;
    let _late = shared(server.tcp().with_journal(kept)).await;
    barrier.release.notify_one();
    let stored = storing.await.unwrap();
    assert!(matches!(stored, Creation::Stored { .. }), "{stored:?}");
    live(&direct, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_began_before_a_call_that_failed_makes_no_session_once_that_was_carried_out() {
    for scope in scopes("acme") {
        let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
        let direct = shared(server.tcp()).await;
        // Of the same tenant, and over by then.
        session(&direct).await;
        let (began, kept) = (login(&direct).await, journal(folder.path()));
        fails_on(&server, &kept, &scope).await;
        let _late = shared(server.tcp().with_journal(kept)).await;
        assert_eq!(direct.create(began).await.unwrap(), Creation::Superseded, "{scope:?}");
        let (since, _) = session(&direct).await;
        live(&direct, since).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_goes_on_under_another_token_since_a_call_that_failed_is_as_old_as_its_login() {
    for scope in scopes("acme") {
        let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
        let direct = shared(server.tcp()).await;
        let (before, before_record) = session(&direct).await;
        let kept = journal(folder.path());
        fails_on(&server, &kept, &scope).await;
        let (since, since_record) = session(&direct).await;
        let mut go_on = Vec::new();
        for (old, record) in [(before, before_record), (since, since_record)] {
            let new = login(&direct).await;
            go_on.push(new.id);
            let rotated = direct.rotate(old, &record, new, HOUR).await.unwrap();
            assert!(matches!(rotated, Creation::Stored { .. }), "{rotated:?}");
        }
        let _late = shared(server.tcp().with_journal(kept)).await;
        is_over(&direct, go_on[0]).await;
        is_over(&direct, before).await;
        live(&direct, go_on[1]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_whose_others_end_late_stays_under_another_token() {
    let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
    let direct = shared(server.tcp()).await;
    let ((other, _), (current, record)) = (session(&direct).await, session(&direct).await);
    let kept = journal(folder.path());
    let Principal { tenant, user, .. } = Principal::clone(&record.principal);
    let scope = Scope::OtherSessions { tenant, user, keep: Keep::Session(current) };
    fails_on(&server, &kept, &scope).await;
    let new = login(&direct).await;
    let goes_on = new.id;
    direct.rotate(current, &record, new, HOUR).await.unwrap();
    let _late = shared(server.tcp().with_journal(kept)).await;
    is_over(&direct, other).await;
    live(&direct, goes_on).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_looks_again_where_an_index_is_split_meanwhile() {
    for (scope, somebody_logs_in) in
        scopes("acme").into_iter().flat_map(|scope| [(scope.clone(), true), (scope, false)])
    {
        let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
        let direct = shared(server.tcp()).await;
        let (before, _) = session(&direct).await;
        let (began, kept) = (login(&direct).await, journal(folder.path()));
        fails_on(&server, &kept, &scope).await;
        let barrier = Barrier::before(&server, RAISED_AGAIN).await;
        let connecting = tokio::spawn(shared(behind(&barrier).with_journal(kept)));
        barrier.reached.notified().await;
        assert_eq!(server.cli(&["ZADD", &format!("sg:b:{{{}}}:", hash("acme")), "0", "/"]), "1");
        let since = if somebody_logs_in { Some(session(&direct).await.0) } else { None };
        barrier.release.notify_one();
        if since.is_none() {
            barrier.reached.notified().await;
            barrier.release.notify_one();
        }
        let store = connecting.await.unwrap();
        is_over(&store, before).await;
        match since {
            Some(since) => drop(live(&direct, since).await),
            None => assert_eq!(direct.create(began).await.unwrap(), Creation::Superseded, "{scope:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_is_raised_in_steps_where_an_index_has_very_many_nodes() {
    const NODES: u64 = 16 * 16 * 16;
    let [_, scope] = scopes("acme");
    for somebody_logs_in in [true, false] {
        let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
        let direct = shared(server.tcp()).await;
        let (before, _) = session(&direct).await;
        let (began, kept) = (login(&direct).await, journal(folder.path()));
        fails_on(&server, &kept, &scope).await;
        let since = if somebody_logs_in { Some(session(&direct).await.0) } else { None };
        let split = "local function split(key, depth) redis.call('ZADD', key, 0, '/') if depth > 0 then \
                     for digit in string.gmatch('0123456789abcdef', '.') do split(key .. digit, depth - 1) end end end \
                     split(KEYS[1], 2)";
        server.cli(&["EVAL", split, "1", &format!("sg:b:{{{}}}:", hash("acme"))]);
        let calls = |command: &str| {
            let (stats, name) = (server.cli(&["INFO", "commandstats"]), format!("cmdstat_{command}:"));
            let line = stats.lines().find(|line| line.starts_with(&name)).unwrap_or_default();
            line.split(['=', ',']).nth(1).map_or(0, |calls| calls.parse::<u64>().unwrap())
        };
        let (nodes_before, steps_before) = (calls("zrange"), calls("eval"));
        let store = shared(server.tcp().with_journal(kept)).await;
        is_over(&store, before).await;
        match since {
            // It is found by the walk, before anything is to be raised.
            Some(since) => drop(live(&direct, since).await),
            None => {
                assert!(calls("zrange") - nodes_before >= NODES, "all of them were looked at");
                assert!(calls("eval") - steps_before >= NODES / 200, "in steps");
                assert_eq!(direct.create(began).await.unwrap(), Creation::Superseded);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_walk_that_takes_long_ends_nobody_who_logged_in_after_another_revocation() {
    for scope in scopes("acme") {
        let server = RedisServer::start(&[]).await;
        let direct = shared(server.tcp()).await;
        let barrier = Barrier::before(&server, b"\r\nZSCAN\r\n").await;
        let call = revoking(shared(behind(&barrier)).await, scope.clone());
        barrier.reached.notified().await;
        let revocation = Revocation { scope, reason: EndReason::UserRevoked, by: By::User };
        direct.revoke(&revocation).await.unwrap();
        let (since, _) = session(&direct).await;
        barrier.release.notify_one();
        call.await.unwrap();
        live(&direct, since).await;
    }
}
