//! A server that loses its newest data revives nothing that this gateway ended.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_gateway::clock::{Clock as _, ManualClock, SystemClock};
use session_gateway::session::{
    By, EndReason, HoldWord, Keep, Revocation, Scope, SessionId, SessionRecord, Standing, TenantChange, TenantId,
    TenantStatus, UserId, Words,
};
use session_gateway::store::embedded::OpenError;
use session_gateway::store::journal::{Journal, Late};
use session_gateway::store::redis::RedisSettings;
use session_gateway::store::{Creation, NewSession, SharedStore};
use tempfile::TempDir;

use crate::bench::{
    HOUR, change_tenant, live, login, login_at, principal, revoke, revoke_user, session, session_of, stored,
};
use crate::redis::{Barrier, set_the_clock_back, shared, with_a_cache};
use crate::redis_outages::recovers;
use crate::redis_server::{RedisServer, settings};
use crate::relay::Relay;
use crate::topology::until;

pub(crate) fn journal(folder: &Path) -> Arc<Journal> {
    telling(folder, &Told::default())
}

/// That of a store that was there before, and closes it when its last task is gone.
pub(crate) async fn journal_of_before(folder: &Path) -> Arc<Journal> {
    let mut found = None;
    until("the journal of before", || {
        found = std::panic::catch_unwind(|| journal(folder)).ok();
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// What came late, in order.
pub(crate) type Told = Arc<Mutex<Vec<Late>>>;

pub(crate) fn telling(folder: &Path, told: &Told) -> Arc<Journal> {
    try_telling(folder, told).unwrap()
}

fn try_telling(folder: &Path, told: &Told) -> Result<Arc<Journal>, OpenError> {
    let told = told.clone();
    let tell = move |late| {
        told.lock().unwrap().push(late);
        Box::pin(async { true }) as _
    };
    let path = folder.join("journal.redb");
    Journal::open(&path, Arc::new(SystemClock), 8 * HOUR, Box::new(|_| ()), Box::new(tell))
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
    assert!(store.end(logged_out, &record, EndReason::Logout, &By::Gateway).await.unwrap());
    assert_eq!(revoke_user(store, "acme", "2", EndReason::UserRevoked).await, 1);
    let scope = Scope::OtherSessions {
        tenant: TenantId::parse("acme").unwrap(),
        user: UserId::parse("3").unwrap(),
        keep: Keep::Session(current),
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
    assert_eq!(store.tenant_standing(&core).await.unwrap().status, TenantStatus::Suspended);
    assert_eq!(store.tenant(&core).await.unwrap().changed.unwrap().words.as_str(), "for a test");
    let dome = TenantId::parse("dome").unwrap();
    assert_eq!(store.tenant_standing(&dome).await.unwrap().status, TenantStatus::Active);
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
            if let Ok(journal) = try_telling(folder.path(), &Told::default()) {
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

/// Logs in as somebody of a tenant that is shut out, until the store says so. Nothing else may come of it.
async fn is_refused(store: &SharedStore, tenant: &str) {
    for _ in 0..500 {
        let Ok(began) = store.now().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let new = NewSession { principal: principal(tenant, "1"), ..login_at(began) };
        match store.create(new).await {
            Ok(Creation::TenantRefused(_)) => return,
            Ok(other) => panic!("{tenant}: {other:?}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("{tenant}: the store does not come back");
}

/// Empties the server fifty times while a gateway uses it.
async fn is_emptied_under(store: &SharedStore, server: &RedisServer) {
    let core = TenantId::parse("core").unwrap();
    change_tenant(store, "core", TenantStatus::Suspended).await;
    for round in 0..50 {
        let flush = if round % 2 == 0 { "FLUSHALL" } else { "FLUSHDB" };
        assert_eq!(server.cli(&[flush]), "OK");
        if round % 3 == 0 {
            // What is asked for a request says no more than a login does.
            let status = store.tenant_standing(&core).await.map(|standing| standing.status);
            assert!(!matches!(status, Ok(TenantStatus::Active)), "{status:?}");
        }
        is_refused(store, "core").await;
        assert_eq!(store.tenant_standing(&core).await.unwrap().status, TenantStatus::Suspended);
    }
    let listed = store.tenants(None, 10).await.unwrap().items;
    assert!(listed.iter().any(|view| view.tenant == core), "{listed:?}");
    recovers(store).await;
    session_of(store, "acme", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_is_shut_out_comes_back_with_a_server_that_was_emptied() {
    let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
    is_emptied_under(&with_journal(server.tcp(), &folder).await, &server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_where_several_gateways_hear_of_the_emptying() {
    let (server, folders) =
        (RedisServer::start(&[]).await, [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()]);
    let one: SharedStore = with_a_cache(server.tcp().with_journal(journal(folders[0].path()))).await;
    let other: SharedStore = with_a_cache(server.tcp().with_journal(journal(folders[1].path()))).await;
    change_tenant(&other, "dome", TenantStatus::Deleted).await;
    is_emptied_under(&one, &server).await;
    // Each by its own journal; what the other has said is there once that has noticed, too.
    is_refused(&other, "dome").await;
    is_refused(&one, "dome").await;
    is_refused(&other, "core").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_let_in_by_another_gateway_long_ago_is_not_shut_out_again() {
    let (mut server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
    let clock = Arc::new(ManualClock::starting_at(SystemClock.wall()));
    let tell = |_| Box::pin(async { true }) as _;
    let path = folder.path().join("journal.redb");
    let kept = Journal::open(&path, clock.clone(), 8 * HOUR, Box::new(|_| ()), Box::new(tell)).unwrap();
    let (store, other) = (shared(server.tcp().with_journal(kept)).await, shared(server.tcp()).await);
    for tenant in ["core", "dome"] {
        change_tenant(&store, tenant, TenantStatus::Suspended).await;
    }
    change_tenant(&other, "dome", TenantStatus::Active).await;
    clock.advance(100 * HOUR);
    // It reconciles on each new connection.
    server.kill();
    server.run().await;
    recovers(&store).await;
    // Nobody waits for what is forgotten to be gone from the disk.
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.cli(&["FLUSHALL"]);
    is_refused(&store, "core").await;
    session_of(&store, "dome", "1").await;
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
    // It writes the journal, and never gets to the server with more than the moment.
    let barrier = Barrier::before(&server, b"^(%d+)$").await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_failed_after_the_servers_clock_was_set_back_is_carried_out_all_the_same() {
    let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
    let direct = shared(server.tcp()).await;
    revoke_user(&direct, "acme", "7", EndReason::UserRevoked).await;
    set_the_clock_back(&server);
    // Of an older generation than the server's clock shows.
    let (id, _) = session(&direct).await;
    let barrier = Barrier::before(&server, b"^(%d+)$").await;
    let kept = journal(folder.path());
    let behind = settings(&format!("redis://127.0.0.1:{}", barrier.port));
    let store = shared(behind.with_journal(kept.clone())).await;
    let cut_off = tokio::spawn(async move { revoke_user(&store, "acme", "7", EndReason::UserRevoked).await });
    barrier.reached.notified().await;
    cut_off.abort();
    let _ = cut_off.await;
    live(&direct, id).await;
    let store = shared(server.tcp().with_journal(kept)).await;
    assert!(matches!(store.read(id).await.unwrap(), Standing::Ended(_)));
    session(&store).await;
}

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn by_an_operator() -> By {
    By::Operator { name: "ops".into(), words: Words::parse("unpaid").unwrap(), request_id: "5c1d".into() }
}

fn change_to(status: TenantStatus) -> TenantChange {
    let words = Words::parse("unpaid").unwrap();
    TenantChange { status, reason: EndReason::TenantRevoked, words, by: by_an_operator() }
}

/// A change of acme's status that is journalled and never gets to the server; as of a gateway that is killed.
async fn cut_off(server: &RedisServer, kept: &Arc<Journal>, status: TenantStatus) {
    let barrier = Barrier::before(server, b"^(%d+)$").await;
    let store = shared(settings(&format!("redis://127.0.0.1:{}", barrier.port)).with_journal(kept.clone())).await;
    let call = tokio::spawn(async move { store.change_tenant(&acme(), &change_to(status)).await });
    barrier.reached.notified().await;
    call.abort();
    let _ = call.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_status_that_was_cut_off_comes_late_and_is_told_once() {
    let (mut server, folder) = (forgetful().await, tempfile::tempdir().unwrap());
    let direct = shared(server.tcp()).await;
    let (id, _) = session(&direct).await;
    take_snapshot(&server);
    let told = Told::default();
    let kept = telling(folder.path(), &told);
    cut_off(&server, &kept, TenantStatus::Suspended).await;
    live(&direct, id).await;
    let store = shared(server.tcp().with_journal(kept)).await;
    assert_eq!(store.tenant_standing(&acme()).await.unwrap().status, TenantStatus::Suspended);
    assert!(matches!(store.read(id).await.unwrap(), Standing::Ended(_)));
    let view = store.tenant(&acme()).await.unwrap();
    assert_eq!(view.changed.unwrap().words.as_str(), "unpaid");
    let late = told.lock().unwrap().clone();
    let [late] = &late[..] else { panic!("told once: {late:?}") };
    assert_eq!((&late.tenant, late.status, late.ended), (&Some(acme()), Some(TenantStatus::Suspended), 1));
    assert_eq!((&late.by, late.reason, late.already), (&by_an_operator(), EndReason::TenantRevoked, false));
    assert!(late.asked.as_micros() > 0);
    // A server that loses it gets it again, and nobody is told.
    restart_from_snapshot(&mut server).await;
    recovers(&store).await;
    assert_eq!(store.tenant_standing(&acme()).await.unwrap().status, TenantStatus::Suspended);
    assert_eq!(told.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_word_about_a_tenant_on_any_gateway_supersedes_one_that_failed_but_not_its_end() {
    for same_gateway in [false, true] {
        let (mut server, folder) = (forgetful().await, tempfile::tempdir().unwrap());
        let direct = shared(server.tcp()).await;
        let (before, _) = session(&direct).await;
        take_snapshot(&server);
        let told = Told::default();
        let kept = telling(folder.path(), &told);
        if same_gateway {
            // Connected already, so that it carries out nothing before the restoring comes through.
            let store = shared(server.tcp().with_journal(kept.clone())).await;
            cut_off(&server, &kept, TenantStatus::Suspended).await;
            store.change_tenant(&acme(), &change_to(TenantStatus::Active)).await.unwrap();
        } else {
            cut_off(&server, &kept, TenantStatus::Suspended).await;
            // Beyond what a gateway may be wrong about the server's time.
            tokio::time::sleep(Duration::from_millis(600)).await;
            direct.change_tenant(&acme(), &change_to(TenantStatus::Active)).await.unwrap();
        }
        let store = shared(server.tcp().with_journal(kept)).await;
        for _ in 0..2 {
            assert_eq!(store.tenant_standing(&acme()).await.unwrap().status, TenantStatus::Active, "{same_gateway}");
            assert!(matches!(store.read(before).await.unwrap(), Standing::Ended(_)), "{same_gateway}");
            session(&store).await;
            restart_from_snapshot(&mut server).await;
            recovers(&store).await;
        }
        let late = told.lock().unwrap().clone();
        // A slow test's heartbeat comes before the restoring, which then is the last word all the same.
        assert!(late.len() == 1 && (same_gateway || late[0].status.is_none()), "{same_gateway}: {late:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restoring_that_failed_does_not_undo_a_later_suspension() {
    let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
    let direct = shared(server.tcp()).await;
    direct.change_tenant(&acme(), &change_to(TenantStatus::Suspended)).await.unwrap();
    let told = Told::default();
    let kept = telling(folder.path(), &told);
    cut_off(&server, &kept, TenantStatus::Active).await;
    direct.change_tenant(&acme(), &change_to(TenantStatus::Deleted)).await.unwrap();
    let store = shared(server.tcp().with_journal(kept)).await;
    assert_eq!(store.tenant_standing(&acme()).await.unwrap().status, TenantStatus::Deleted);
    assert_eq!(told.lock().unwrap().len(), 0, "nothing came of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_while_the_connection_holds_is_carried_out_once_it_may_be() {
    let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
    let told = Told::default();
    let store = shared(server.tcp().with_journal(telling(folder.path(), &told))).await;
    let (before, _) = session(&store).await;
    let (stays, _) = session(&store).await;
    server.cli(&["ACL", "SETUSER", "default", "-eval", "-zscan"]);
    let scope = Scope::OtherSessions { tenant: acme(), user: UserId::parse("7").unwrap(), keep: Keep::Session(stays) };
    let by = By::Event("DELETE /x".into());
    let revocation = Revocation { scope, reason: EndReason::UserOthersRevoked, by: by.clone() };
    let refused = store.revoke(&revocation).await.unwrap_err();
    assert!(refused.comes_late, "{refused:?}");
    tokio::time::sleep(Duration::from_millis(1200)).await;
    live(&store, before).await;
    server.cli(&["ACL", "SETUSER", "default", "+eval", "+zscan"]);
    let (since, _) = session(&store).await;
    for _ in 0..300 {
        if !told.lock().unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        matches!(store.read(before).await.unwrap(), Standing::Ended(end) if end.reason == EndReason::UserOthersRevoked)
    );
    live(&store, since).await;
    live(&store, stays).await;
    let late = told.lock().unwrap().clone();
    assert_eq!((late.len(), late[0].ended, &late[0].by), (1, 1, &by));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_a_server_that_is_gone_comes_late_and_ends_nothing_made_since() {
    let (mut server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
    let direct = shared(server.tcp()).await;
    let told = Told::default();
    let store = shared(server.tcp().with_journal(telling(folder.path(), &told))).await;
    let (before, record) = session(&store).await;
    let (other, other_record) = session_of(&store, "acme", "8").await;
    server.kill();
    let scope = Scope::User { tenant: acme(), user: record.principal.user.clone() };
    let revocation = Revocation { scope, reason: EndReason::UserRevoked, by: By::User };
    assert!(store.revoke(&revocation).await.unwrap_err().comes_late);
    assert!(store.end(other, &other_record, EndReason::Logout, &By::User).await.unwrap_err().comes_late);
    // Nobody is shut out, or let in again, by a call that cannot be made now.
    let refused = store.change_tenant(&acme(), &change_to(TenantStatus::Suspended)).await.unwrap_err();
    assert!(!refused.comes_late);
    drop(store);
    // Others are there before this gateway is back.
    tokio::time::sleep(Duration::from_millis(600)).await;
    server.run().await;
    recovers(&direct).await;
    let (since, _) = session(&direct).await;
    live(&direct, before).await;
    let mut kept = try_telling(folder.path(), &told);
    for _ in 0..200 {
        if kept.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        kept = try_telling(folder.path(), &told);
    }
    let store = shared(server.tcp().with_journal(kept.unwrap())).await;
    for over in [before, other] {
        assert!(matches!(store.read(over).await.unwrap(), Standing::Ended(_)));
    }
    live(&store, since).await;
    assert_eq!(store.tenant_standing(&acme()).await.unwrap().status, TenantStatus::Active);
    let late = told.lock().unwrap().clone();
    assert_eq!(late.len(), 2);
    assert_eq!((late[0].ended, late[0].session), (1, None));
    assert_eq!(
        (late[1].ended, late[1].session, late[1].user.as_ref()),
        (1, Some(other), Some(&other_record.principal.user))
    );
}

fn hold() -> HoldWord {
    HoldWord::Hold(Words::parse("IMPOSSIBLE_TRAVEL").unwrap())
}

async fn is_held(store: &SharedStore, id: SessionId) -> bool {
    matches!(store.read(id).await.unwrap(), Standing::Held(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_with_older_data_has_the_last_word_of_each_gateway_about_holds() {
    let (mut server, folders) = (forgetful().await, [(); 2].map(|()| tempfile::tempdir().unwrap()));
    let relay = Relay::before(server.port());
    let behind = || settings(&format!("redis://127.0.0.1:{}", relay.port()));
    let stores = [with_journal(behind(), &folders[0]).await, with_journal(behind(), &folders[1]).await];
    let (held, record) = session_of(&stores[0], "acme", "1").await;
    let released = session_of(&stores[0], "acme", "2").await;
    let (never, _) = session_of(&stores[0], "acme", "3").await;
    take_snapshot(&server);
    stores[0].hold(held, &record, &hold(), &By::Gateway).await.unwrap();
    stores[0].hold(released.0, &released.1, &hold(), &By::Gateway).await.unwrap();
    stores[1].hold(released.0, &released.1, &HoldWord::Release, &by_an_operator()).await.unwrap();
    relay.cut();
    restart_from_snapshot(&mut server).await;
    let without = shared(server.tcp()).await;
    assert!(!is_held(&without, held).await, "else this shows nothing");
    relay.mend();
    for store in &stores {
        recovers(store).await;
    }
    assert!(is_held(&stores[1], held).await);
    // Whichever of the two came first.
    for (store, id) in [(&stores[0], released.0), (&stores[1], released.0), (&stores[0], never)] {
        live(store, id).await;
    }
}

/// A word about a session that is journalled and never gets to the server; as of a gateway that is killed.
async fn cut_off_saying(server: &RedisServer, kept: &Arc<Journal>, of: &(SessionId, SessionRecord), word: HoldWord) {
    let barrier = Barrier::before(server, b"([+-])").await;
    let store = shared(settings(&format!("redis://127.0.0.1:{}", barrier.port)).with_journal(kept.clone())).await;
    let of = of.clone();
    let call = tokio::spawn(async move { store.hold(of.0, &of.1, &word, &by_an_operator()).await });
    barrier.reached.notified().await;
    call.abort();
    let _ = call.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_was_cut_off_comes_late_and_is_told_once() {
    let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
    let direct = shared(server.tcp()).await;
    let of = session(&direct).await;
    let told = Told::default();
    let kept = telling(folder.path(), &told);
    cut_off_saying(&server, &kept, &of, hold()).await;
    live(&direct, of.0).await;
    let store = shared(server.tcp().with_journal(kept)).await;
    assert!(is_held(&store, of.0).await && is_held(&direct, of.0).await);
    let late = told.lock().unwrap().clone();
    let [late] = &late[..] else { panic!("told once: {late:?}") };
    assert_eq!((late.session, &late.word, late.ended), (Some(of.0), &Some(hold()), 0));
    assert_eq!((&late.tenant, &late.by, late.already), (&Some(acme()), &by_an_operator(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_about_a_hold_that_comes_late_gives_way_to_a_later_one() {
    for (late, later) in [(hold(), HoldWord::Release), (HoldWord::Release, hold())] {
        let (server, folder) = (RedisServer::start(&[]).await, tempfile::tempdir().unwrap());
        let direct = shared(server.tcp()).await;
        let of = session(&direct).await;
        let was_held = !late.holds();
        if was_held {
            direct.hold(of.0, &of.1, &hold(), &By::Gateway).await.unwrap();
            // Longer ago than what is not known of the server's time.
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
        let told = Told::default();
        let kept = telling(folder.path(), &told);
        cut_off_saying(&server, &kept, &of, late.clone()).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        // What was said meanwhile by others.
        direct.hold(of.0, &of.1, &if was_held { HoldWord::Release } else { hold() }, &By::Gateway).await.unwrap();
        direct.hold(of.0, &of.1, &later, &By::Gateway).await.unwrap();
        let store = shared(server.tcp().with_journal(kept)).await;
        assert_eq!(is_held(&store, of.0).await, later.holds(), "{late:?}");
        assert!(told.lock().unwrap().is_empty(), "there is nothing to tell");
    }
}
