//! What the Redis store does when Redis fails: unavailable within a second, and back by itself.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use session_gateway::secret::Secret;
use session_gateway::session::{By, EndReason, LimitAction, SessionLimit, SessionRecord, Standing, TenantId, UserId};
use session_gateway::store::observe::Unobserved;
use session_gateway::store::redis::{RedisSettings, RedisStore};
use session_gateway::store::{
    Condition, Creation, NewSession, SessionsOf, SharedStore, StoreAddress, StoreResult, Touch,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::bench::{HOUR, idle, in_millis, live, login, principal, revoke_user, session, stored};
use crate::redis::{add_the_manuals_user, as_the_manuals_user, shared};
use crate::redis_server::{RedisServer, settings};

/// The clock of the tests alone: how long an answer took.
#[expect(clippy::disallowed_methods, reason = "measures the real time of an answer")]
fn instant() -> Instant {
    Instant::now()
}

/// The call must fail, and within a second.
async fn fails_within_a_second<T: std::fmt::Debug>(call: impl Future<Output = StoreResult<T>>) -> String {
    let asked = instant();
    let answer = call.await;
    assert!(asked.elapsed() < Duration::from_secs(1), "answered after {:?}", asked.elapsed());
    answer.expect_err("the store is not usable").cause
}

pub(crate) async fn recovers(store: &SharedStore) {
    for _ in 0..1000 {
        if store.check().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    store.check().await.unwrap();
}

/// Waits until the store has noticed, and answers why it is unavailable.
async fn becomes_unavailable(store: &SharedStore, saying: &str) {
    let mut cause = String::new();
    for _ in 0..1000 {
        match store.check().await {
            Err(error) if error.cause.contains(saying) => return,
            Err(error) => cause = error.cause,
            Ok(_) => cause.clear(),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not {saying:?} but {cause:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_unavailable_at_once_and_its_sessions_are_back_with_it() {
    let mut server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    let (id, record) = session(&store).await;
    let (gone, gone_record) = session(&store).await;
    store.end(gone, &gone_record, EndReason::Logout, &By::Gateway).await.unwrap();
    server.kill();
    for _ in 0..3 {
        fails_within_a_second(store.read(id)).await;
        fails_within_a_second(store.create(login_without(&record))).await;
        fails_within_a_second(store.end(id, &record, EndReason::Logout, &By::Gateway)).await;
        fails_within_a_second(store.check()).await;
        fails_within_a_second(store.now()).await;
    }
    server.run().await;
    recovers(&store).await;
    live(&store, id).await;
    assert!(matches!(store.read(gone).await.unwrap(), Standing::Ended(_)));
}

/// A login for a store that cannot be asked the time.
fn login_without(record: &SessionRecord) -> NewSession {
    NewSession {
        id: crate::bench::id(),
        principal: (*record.principal).clone(),
        candidates: Vec::new(),
        remembered: false,
        idle: None,
        absolute: HOUR,
        address: None,
        user_agent: record.user_agent.clone(),
        began: record.created,
        limit: None,
        replaces: None,
        sealed_token: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_answered_for_within_a_second_then_at_once_and_recovers() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    let (id, record) = session(&store).await;
    server.freeze();
    let (read, ended) = tokio::join!(
        fails_within_a_second(store.read(id)),
        fails_within_a_second(store.end(id, &record, EndReason::Logout, &By::Gateway)),
    );
    assert!(read.contains("in time") && ended.contains("in time"), "{read} {ended}");
    let asked = instant();
    for _ in 0..100 {
        assert!(store.read(id).await.is_err());
    }
    // Asked of the server each would take most of a second.
    assert!(asked.elapsed() < Duration::from_secs(1), "known to be down, yet asked for {:?}", asked.elapsed());
    server.thaw();
    recovers(&store).await;
    // The end was answered by "unavailable": it may have come through or not, and both are sound.
    assert!(!matches!(store.read(id).await.unwrap(), Standing::Absent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_before_its_store() {
    let mut server = RedisServer::stopped(&[]);
    let store = shared(server.tcp()).await;
    let cause = fails_within_a_second(store.check()).await;
    assert!(cause.contains("refused"), "{cause}");
    server.run().await;
    recovers(&store).await;
    let (id, _) = session(&store).await;
    live(&store, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_a_restart_logs_nobody_out() {
    let mut server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    let (id, _) = session(&store).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for _ in 0..8 {
        let (store, over) = (store.clone(), over.clone());
        readers.push(tokio::spawn(async move {
            let (mut live, mut unavailable) = (0, 0);
            while !over.load(Ordering::SeqCst) {
                match store.read(id).await {
                    Ok(Standing::Live(_)) => live += 1,
                    Ok(other) => panic!("logged out: {other:?}"),
                    Err(_) => unavailable += 1,
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            (live, unavailable)
        }));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.kill();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.run().await;
    recovers(&store).await;
    over.store(true, Ordering::SeqCst);
    for reader in readers {
        let (live, unavailable) = reader.await.unwrap();
        assert!(live > 0 && unavailable > 0, "{live} {unavailable}");
    }
    live(&store, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_still_ends_sessions() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    let mut sessions = Vec::new();
    for _ in 0..6 {
        sessions.push(session(&store).await);
    }
    let unused = NewSession { idle: idle(50), ..login(&store).await };
    let (unused_id, unused_record) = (unused.id, stored(&store, unused).await);
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let new = login(&store).await;
    let cause = fails_within_a_second(store.create(new.clone())).await;
    assert!(cause.contains("OOM"), "{cause}");
    // Not unavailable: that would take every gateway out of service, and with it everybody who is logged in.
    assert!(matches!(store.check().await.unwrap(), Condition::TakesNoSessions(cause) if cause.contains("OOM")));
    assert_eq!(store.read(new.id).await.unwrap(), Standing::Absent);
    // Reads and touches go on, also once the heartbeat has met the full server.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let (id, record) = &sessions[0];
    live(&store, *id).await;
    assert_eq!(store.touch(&[Touch { id: *id, deadline: record.created.after(HOUR) }]).await.unwrap(), [true]);
    let lower = SessionRecord { deadline: record.deadline.before(HOUR), ..record.clone() };
    assert!(store.tighten(*id, &lower, in_millis(record.created.after(HOUR))).await.unwrap());
    assert!(store.end(*id, &lower, EndReason::Logout, &By::Gateway).await.unwrap());
    assert!(matches!(store.read(*id).await.unwrap(), Standing::Ended(ended) if ended.reason == EndReason::Logout));
    assert!(store.note_end(unused_id, &unused_record, EndReason::IdleTimeout).await.unwrap());
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::UserRevoked).await, 5);
    for (id, _) in &sessions[1..] {
        assert!(
            matches!(store.read(*id).await.unwrap(), Standing::Ended(ended) if ended.reason == EndReason::UserRevoked)
        );
    }
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    session(&store).await;
    assert_eq!(store.check().await.unwrap(), Condition::Good);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_unavailable_until_it_is_a_master_again() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    let (id, record) = session(&store).await;
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    becomes_unavailable(&store, "READONLY").await;
    let cause = fails_within_a_second(store.end(id, &record, EndReason::Logout, &By::Gateway)).await;
    assert!(cause.contains("READONLY"), "{cause}");
    // Reads as well: a replica may not know what was ended on the master.
    assert!(fails_within_a_second(store.read(id)).await.contains("READONLY"));
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    recovers(&store).await;
    live(&store, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_lost_its_replicas_is_not_believed_until_it_has_them_again() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    let (id, _) = session(&store).await;
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    becomes_unavailable(&store, "NOREPLICAS").await;
    // Others may have gone on with a replica of it, and ended sessions there.
    assert!(fails_within_a_second(store.read(id)).await.contains("NOREPLICAS"));
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    recovers(&store).await;
    live(&store, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_master_is_noticed_by_a_gateway_that_only_reads() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    let (id, _) = session(&store).await;
    server.cli(&["REPLICAOF", "127.0.0.1", "1"]);
    for _ in 0..200 {
        if store.read(id).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still reading from a replica after two seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_still_loads_is_unavailable_and_waited_for() {
    let mut server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    let (id, _) = session(&store).await;
    server.cli(&["DEBUG", "POPULATE", "3000", "filler", "2000"]);
    server.cli(&["BGREWRITEAOF"]);
    for _ in 0..200 {
        if server.cli(&["INFO", "persistence"]).contains("aof_rewrite_in_progress:0") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.kill();
    server.launch(&["--key-load-delay", "500", "--loading-process-events-interval-bytes", "1024"]);
    becomes_unavailable(&store, "LOADING").await;
    recovers(&store).await;
    live(&store, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_unavailable_until_it_is_right_and_is_never_shown() {
    let server = RedisServer::start(&[]).await;
    let store = shared(as_the_manuals_user(&server)).await;
    let cause = fails_within_a_second(store.check()).await;
    assert!(cause.contains("WRONGPASS") && !cause.contains("hunter2"), "{cause}");
    add_the_manuals_user(&server);
    recovers(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_set_later_is_unavailable_until_it_is_taken_back() {
    let mut server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    server.cli(&["CONFIG", "SET", "requirepass", "x"]);
    server.kill();
    server.launch(&["--requirepass", "x"]);
    becomes_unavailable(&store, "NOAUTH").await;
    server.kill();
    server.run().await;
    recovers(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_taken_away_is_unavailable_for_what_needs_it() {
    let server = RedisServer::start(&[]).await;
    add_the_manuals_user(&server);
    let store = shared(as_the_manuals_user(&server)).await;
    let (id, record) = session(&store).await;
    server.cli(&["ACL", "SETUSER", "session-gateway", "-eval"]);
    let cause = fails_within_a_second(store.end(id, &record, EndReason::Logout, &By::Gateway)).await;
    assert!(cause.contains("NOPERM") && cause.contains("docs/redis.md"), "{cause}");
    live(&store, id).await;
    server.cli(&["ACL", "SETUSER", "session-gateway", "+eval"]);
    assert!(store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_call_info_serves_all_the_same() {
    let server = RedisServer::start(&[]).await;
    add_the_manuals_user(&server);
    server.cli(&["ACL", "SETUSER", "session-gateway", "-info"]);
    let store = shared(as_the_manuals_user(&server)).await;
    let (id, _) = session(&store).await;
    live(&store, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_evict_revocations_is_refused() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let mut server = RedisServer::start(&["--maxmemory-policy", policy]).await;
        let refused = RedisStore::connect(server.tcp(), Arc::new(Unobserved)).await.err().unwrap();
        assert!(refused.to_string().contains("set it to noeviction"), "{refused}");
        // And when it turns out later.
        server.kill();
        let store = shared(server.tcp()).await;
        server.run().await;
        becomes_unavailable(&store, policy).await;
        server.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        recovers(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_set_to_evict_while_it_is_used_is_not_used_on() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    session(&store).await;
    for policy in ["volatile-lru", "allkeys-random"] {
        server.cli(&["CONFIG", "SET", "maxmemory-policy", policy]);
        becomes_unavailable(&store, policy).await;
        server.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        recovers(&store).await;
    }
}

/// How a peer that is no Redis behaves on each connection.
#[derive(Clone, Copy, Debug)]
enum Nonsense {
    Http,
    Bytes,
    Endless,
    HugeLength,
    DeepArrays,
    Silence,
    HangUp,
    WrongAnswers,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_talks_nonsense_is_unavailable() {
    for nonsense in [
        Nonsense::Http,
        Nonsense::Bytes,
        Nonsense::Endless,
        Nonsense::HugeLength,
        Nonsense::DeepArrays,
        Nonsense::Silence,
        Nonsense::HangUp,
        Nonsense::WrongAnswers,
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    let _ = stream.read(&mut buffer).await;
                    let answer: &[u8] = match nonsense {
                        Nonsense::Http => b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
                        Nonsense::Bytes => &[0xff; 1000],
                        Nonsense::HugeLength => b"$99999999999\r\nx",
                        Nonsense::DeepArrays => &b"*1\r\n".repeat(100_000),
                        Nonsense::WrongAnswers => &b"+OK\r\n".repeat(100),
                        Nonsense::Silence | Nonsense::Endless => b"",
                        Nonsense::HangUp => return,
                    };
                    let _ = stream.write_all(answer).await;
                    while matches!(nonsense, Nonsense::Endless) && stream.write_all(&[b'+'; 4096]).await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    let _ = stream.read(&mut buffer).await;
                    std::future::pending::<()>().await;
                });
            }
        });
        let asked = instant();
        let store = shared(settings(&format!("redis://gateway:hunter2@127.0.0.1:{port}"))).await;
        assert!(asked.elapsed() < Duration::from_millis(1500), "{nonsense:?}: {:?}", asked.elapsed());
        for _ in 0..3 {
            let cause = fails_within_a_second(store.check()).await;
            assert!(!cause.contains("hunter2") && cause.len() < 300, "{nonsense:?}: {cause}");
            assert!(store.create(login_for(&store).await).await.is_err(), "{nonsense:?}");
        }
        peer.abort();
    }
}

async fn login_for(store: &SharedStore) -> NewSession {
    let began = store.now().await.unwrap_or(session_gateway::session::StoreTime::from_micros(1));
    NewSession {
        id: crate::bench::id(),
        principal: principal("acme", "7"),
        candidates: Vec::new(),
        remembered: false,
        idle: None,
        absolute: HOUR,
        address: None,
        user_agent: session_gateway::session::UserAgent::default(),
        began,
        limit: None,
        replaces: None,
        sealed_token: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_certificate_decides() {
    let mut server = RedisServer::stopped(&[]);
    let folder = server.folder().to_owned();
    let made = std::process::Command::new("sh")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/store/make-certificates.sh"))
        .arg(&folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let tls_port = crate::redis_server::free_port();
    let file = |name: &str| folder.join(name).display().to_string();
    server.add(&["--tls-port", &tls_port.to_string(), "--tls-auth-clients", "no"]);
    server.add(&["--tls-cert-file", &file("server.crt"), "--tls-key-file", &file("server.key")]);
    server.run().await;
    let trusting = |host: &str, authority: &str| {
        let url = Secret::new(format!("rediss://{host}:{tls_port}"));
        let authority = std::fs::read(folder.join(authority)).unwrap();
        RedisSettings::new(StoreAddress::parse(&url, None, Some(&authority)).unwrap(), "sg:")
    };
    let store = shared(trusting("localhost", "ca.crt")).await;
    let (id, _) = session(&store).await;
    live(&store, id).await;
    for (host, authority) in [("127.0.0.1", "ca.crt"), ("localhost", "other-ca.crt")] {
        let store = shared(trusting(host, authority)).await;
        let cause = fails_within_a_second(store.check()).await;
        assert!(cause.to_lowercase().contains("certificate"), "{host} {authority}: {cause}");
    }
    let plain = shared(settings(&format!("redis://127.0.0.1:{tls_port}"))).await;
    fails_within_a_second(plain.check()).await;
}

/// A user's live sessions.
async fn live_of(store: &SharedStore, user: &str) -> usize {
    let of = SessionsOf::User { tenant: TenantId::parse("acme").unwrap(), user: UserId::parse(user).unwrap() };
    store.sessions(&of, None, 50).await.unwrap().items.len()
}

fn alone(new: NewSession, user: &str) -> NewSession {
    let limit = SessionLimit { count: NonZeroU16::MIN, action: LimitAction::Deny };
    NewSession { principal: principal("acme", user), limit: Some(limit), ..new }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_failed_under_way_leaves_no_session_and_locks_nobody_out() {
    const USERS: usize = 60;
    let server = RedisServer::start(&[]).await;
    let (store, other) = (shared(server.tcp()).await, shared(server.tcp()).await);
    for round in 0..3 {
        let mut logins = Vec::new();
        for user in 0..USERS {
            let new = alone(login(&store).await, &format!("{round}.{user}"));
            let store = store.clone();
            logins.push(tokio::spawn(async move {
                // Some are under way when the server stalls, some come while it does.
                tokio::time::sleep(Duration::from_millis(user as u64 / 6)).await;
                store.create(new).await
            }));
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
        server.freeze();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        server.thaw();
        let mut failed = Vec::new();
        for (user, login) in logins.into_iter().enumerate() {
            match login.await.unwrap() {
                Ok(Creation::Stored { .. }) => {}
                Err(_) => failed.push(format!("{round}.{user}")),
                Ok(other) => panic!("{other:?}"),
            }
        }
        assert!(!failed.is_empty(), "else nothing was shown");
        recovers(&store).await;
        for user in &failed {
            assert_eq!(live_of(&other, user).await, 0, "{user} of {failed:?}");
            let again = store.create(alone(login(&store).await, user)).await.unwrap();
            assert!(matches!(again, Creation::Stored { .. }), "{user}: {again:?}");
            assert_eq!(live_of(&other, user).await, 1, "{user}");
        }
    }
}

/// A way to a server that takes so long in each direction.
async fn slow_way(server: &RedisServer, delay: Duration) -> RedisSettings {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, to) = (listener.local_addr().unwrap().port(), server.port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            for (mut from, mut to) in [(from_client, to_server), (from_server, to_client)] {
                let (sender, mut said) = tokio::sync::mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
                tokio::spawn(async move {
                    let mut buffer = [0; 16_384];
                    while let Ok(length @ 1..) = from.read(&mut buffer).await {
                        let due = tokio::time::Instant::now() + delay;
                        let _ = sender.send((due, buffer[..length].to_vec()));
                    }
                });
                tokio::spawn(async move {
                    while let Some((due, bytes)) = said.recv().await {
                        tokio::time::sleep_until(due).await;
                        if to.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    settings(&format!("redis://127.0.0.1:{port}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_with_a_limit_work_at_a_round_trip_of_150_milliseconds() {
    let server = RedisServer::start(&[]).await;
    let store = shared(slow_way(&server, Duration::from_millis(75)).await).await;
    recovers(&store).await;
    for action in [LimitAction::RevokeOldest, LimitAction::Deny] {
        let limit = SessionLimit { count: NonZeroU16::new(2).unwrap(), action };
        for n in 0..5 {
            let new = NewSession { limit: Some(limit), principal: principal("acme", "9"), ..login(&store).await };
            let creation = store.create(new).await.unwrap();
            let is_stored = matches!(creation, Creation::Stored { .. });
            assert_eq!(is_stored, action == LimitAction::RevokeOldest, "{action:?} {n}");
        }
    }
}

#[tokio::test]
async fn a_session_that_was_abandoned_does_not_live_once_the_server_is_back() {
    let mut server = RedisServer::start(&[]).await;
    let (store, other) = (shared(server.tcp()).await, shared(server.tcp()).await);
    let (id, record) = session(&store).await;
    server.kill();
    store.abandon(id, &record.principal);
    server.run().await;
    recovers(&store).await;
    recovers(&other).await;
    assert_eq!(other.read(id).await.unwrap(), Standing::Absent);
    assert_eq!(live_of(&other, "7").await, 0);
}

#[tokio::test]
async fn a_creation_whose_answer_is_lost_leaves_nothing_that_a_user_could_see() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    let new = login(&store).await;
    server.freeze();
    fails_within_a_second(store.create(new)).await;
    server.thaw();
    recovers(&store).await;
    // Whether it came to be or not, logging out everywhere leaves none.
    revoke_user(&store, "acme", "7", EndReason::LogoutAll).await;
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::LogoutAll).await, 0);
    assert!(matches!(store.create(login(&store).await).await.unwrap(), Creation::Stored { .. }));
}
