//! A server that loses its newest data revives nothing that this gateway ended.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use session_gateway::clock::SystemClock;
use session_gateway::session::{EndReason, Scope, SessionId, Standing, TenantId, TenantStatus, UserId};
use session_gateway::store::SharedStore;
use session_gateway::store::journal::Journal;
use session_gateway::store::redis::RedisSettings;
use tempfile::TempDir;

use crate::bench::{HOUR, change_tenant, live, login, revoke, revoke_user, session, session_of, stored};
use crate::redis::{Barrier, shared};
use crate::redis_outages::recovers;
use crate::redis_server::{RedisServer, settings};

fn journal(folder: &Path) -> Arc<Journal> {
    let open = || Journal::open(&folder.join("journal.redb"), Arc::new(SystemClock), 8 * HOUR, Box::new(|_| ()));
    open().unwrap()
}

async fn with_journal(settings: RedisSettings, folder: &TempDir) -> SharedStore {
    shared(settings.with_journal(journal(folder.path()))).await
}

/// A server that keeps snapshots alone.
async fn forgetful() -> RedisServer {
    RedisServer::start(&["--appendonly", "no"]).await
}

fn take_snapshot(server: &RedisServer) {
    assert_eq!(server.cli(&["SAVE"]), "OK");
}

async fn restart_from_snapshot(server: &mut RedisServer) {
    server.kill();
    server.run().await;
}

/// One session each to be ended by itself, with its user, as one of the others, with its tenant; and one to be kept.
struct Sessions {
    ended: Vec<SessionId>,
    kept: Vec<SessionId>,
}

async fn make_some_and_end_them(store: &SharedStore, server: &RedisServer) -> Sessions {
    let (logged_out, record) = session_of(store, "acme", "1").await;
    let of_user = session_of(store, "acme", "2").await.0;
    let other = session_of(store, "acme", "3").await.0;
    let current = session_of(store, "acme", "3").await.0;
    let of_tenant = session_of(store, "bolt", "1").await.0;
    let of_suspended = session_of(store, "core", "1").await.0;
    let of_restored = session_of(store, "dome", "1").await.0;
    let untouched = session_of(store, "acme", "4").await.0;
    take_snapshot(server);
    assert!(store.end(logged_out, &record, EndReason::Logout).await.unwrap());
    assert_eq!(revoke_user(store, "acme", "2", EndReason::UserRevoked).await, 1);
    let scope = Scope::OtherSessions {
        tenant: TenantId::parse("acme").unwrap(),
        user: UserId::parse("3").unwrap(),
        keep: current,
    };
    assert_eq!(revoke(store, scope, EndReason::UserOthersRevoked).await, 1);
    let bolt = Scope::Tenant { tenant: TenantId::parse("bolt").unwrap() };
    assert_eq!(revoke(store, bolt, EndReason::TenantRevoked).await, 1);
    change_tenant(store, "core", TenantStatus::Suspended).await;
    change_tenant(store, "dome", TenantStatus::Suspended).await;
    change_tenant(store, "dome", TenantStatus::Active).await;
    let ended = vec![logged_out, of_user, other, of_tenant, of_suspended, of_restored];
    Sessions { ended, kept: vec![current, untouched] }
}

async fn how_many_are_live(store: &SharedStore, ids: &[SessionId]) -> usize {
    let mut count = 0;
    for id in ids {
        count += usize::from(matches!(store.read(*id).await.unwrap(), Standing::Live(_)));
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_with_older_data_revives_nothing() {
    let (mut server, folder) = (forgetful().await, tempfile::tempdir().unwrap());
    let store = with_journal(server.tcp(), &folder).await;
    let without = shared(server.tcp()).await;
    let sessions = make_some_and_end_them(&store, &server).await;
    assert_eq!(how_many_are_live(&without, &sessions.ended).await, 0);
    server.kill();
    // Nobody may use it before the journal was applied.
    server.run().await;
    recovers(&store).await;
    assert_eq!(how_many_are_live(&store, &sessions.ended).await, 0);
    assert_eq!(how_many_are_live(&store, &sessions.kept).await, 2);
    let core = TenantId::parse("core").unwrap();
    assert_eq!(store.tenant_status(&core).await.unwrap(), TenantStatus::Suspended);
    assert_eq!(store.tenant(&core).await.unwrap().changed.unwrap().words.as_str(), "for a test");
    let dome = TenantId::parse("dome").unwrap();
    assert_eq!(store.tenant_status(&dome).await.unwrap(), TenantStatus::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_journal_older_data_revives_sessions() {
    let mut server = forgetful().await;
    let store = shared(server.tcp()).await;
    let sessions = make_some_and_end_them(&store, &server).await;
    restart_from_snapshot(&mut server).await;
    recovers(&store).await;
    assert_eq!(how_many_are_live(&store, &sessions.ended).await, 6, "else the other tests show nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_away_meanwhile_applies_its_journal_before_it_serves() {
    let (mut server, folder) = (forgetful().await, tempfile::tempdir().unwrap());
    let store = with_journal(server.tcp(), &folder).await;
    let sessions = make_some_and_end_them(&store, &server).await;
    drop(store);
    restart_from_snapshot(&mut server).await;
    let bystander = shared(server.tcp()).await;
    assert_eq!(how_many_are_live(&bystander, &sessions.ended).await, 6);
    let journalled = || async {
        for _ in 0..200 {
            // The one before closes it when its last task is gone.
            let path = folder.path().join("journal.redb");
            let open = Journal::open(&path, Arc::new(SystemClock), 8 * HOUR, Box::new(|_| ()));
            if let Ok(journal) = open {
                return journal;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the journal is still in use");
    };
    let store = shared(server.tcp().with_journal(journalled().await)).await;
    assert_eq!(how_many_are_live(&store, &sessions.ended).await, 0);
    assert_eq!(how_many_are_live(&store, &sessions.kept).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_with_older_data_revives_nothing() {
    let (mut server, folder) = (forgetful().await, tempfile::tempdir().unwrap());
    let store = with_journal(server.tcp(), &folder).await;
    let sessions = make_some_and_end_them(&store, &server).await;
    server.kill();
    server.add(&["--maxmemory", "1"]);
    server.run().await;
    recovers(&store).await;
    assert_eq!(how_many_are_live(&store, &sessions.ended).await, 0);
    assert_eq!(how_many_are_live(&store, &sessions.kept).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_after_a_revocation_outlives_the_journal() {
    let (mut server, folder) = (forgetful().await, tempfile::tempdir().unwrap());
    let store = with_journal(server.tcp(), &folder).await;
    session(&store).await;
    revoke_user(&store, "acme", "7", EndReason::UserRevoked).await;
    revoke(&store, Scope::Tenant { tenant: TenantId::parse("acme").unwrap() }, EndReason::TenantRevoked).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let (new, _) = session(&store).await;
    take_snapshot(&server);
    for _ in 0..2 {
        restart_from_snapshot(&mut server).await;
        recovers(&store).await;
        live(&store, new).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_was_cut_off_before_it_was_sent_is_carried_out_by_the_next_run() {
    let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
    let direct = shared(server.tcp()).await;
    let (id, _) = session(&direct).await;
    // It reads the time, writes the journal, and never gets to the server.
    let barrier = Barrier::before(&server, b"string.format").await;
    let behind = settings(&format!("redis://127.0.0.1:{}", barrier.port));
    let kept = journal(folder.path());
    let store = shared(behind.with_journal(kept.clone())).await;
    let cut_off = tokio::spawn(async move { revoke_user(&store, "acme", "7", EndReason::UserRevoked).await });
    barrier.reached.notified().await;
    cut_off.abort();
    let _ = cut_off.await;
    live(&direct, id).await;
    let store = shared(server.tcp().with_journal(kept)).await;
    assert!(matches!(store.read(id).await.unwrap(), Standing::Ended(_)));
    tokio::time::sleep(Duration::from_millis(2)).await;
    let new = login(&store).await;
    let id = new.id;
    stored(&store, new).await;
    live(&direct, id).await;
}
