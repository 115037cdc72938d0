//! What the store does when the master changes. Each situation has its number and name in the design of several nodes
//! (docs/adr/0018).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use session_gateway::clock::SystemClock;
use session_gateway::entropy::SystemEntropy;
use session_gateway::secret::Secret;
use session_gateway::session::{By, EndReason, Revocation, Scope, SessionId, Standing, TenantStatus};
use session_gateway::store::audit::{AuditStream as _, SharedLine, StreamPosition};
use session_gateway::store::observe::Unobserved;
use session_gateway::store::redis::{RedisSettings, RedisStore};
use session_gateway::store::{
    Beside, Condition, Creation, NewSession, STALE_AT_MOST, SessionsOf, SharedStore, StoreAddress,
};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::bench::{change_tenant, live, login_at, principal, revoke_user, session, session_of};
use crate::journal::{journal, journal_of_before};
use crate::redis::until_cached;
use crate::redis_outages::recovers;
use crate::relay::Relay;
use crate::sentinel_bench::{add_the_manuals_users, beside_of_the_manuals_users};
use crate::topology::{NAME, Plan, Sentinel, Topology, instant, until};

use self::tracking_relay::Relay as TrackingRelay;
use crate::redis_server::ports;

#[allow(dead_code, unreachable_pub, clippy::disallowed_methods, reason = "shared with the end-to-end tests")]
#[path = "../e2e/support/relay.rs"]
mod tracking_relay;

/// What no yes may be later than after what it denies was acknowledged.
const SECOND: Duration = Duration::from_secs(1);

async fn connect(settings: RedisSettings) -> SharedStore {
    RedisStore::connect(settings, Arc::new(Unobserved)).await.unwrap()
}

/// The same with a cache.
pub(crate) fn cached(settings: RedisSettings) -> RedisSettings {
    settings.with_cache(1000, Arc::new(SystemClock), &SystemEntropy, Arc::new(|_| {})).unwrap()
}

/// Whether the store, or its cache, says that a session may be used, as a request would ask: what is older than a yes may
/// be is none.
pub(crate) async fn says_yes(store: &SharedStore, id: SessionId) -> Option<bool> {
    use session_gateway::clock::Clock as _;
    if let Some(known) = store.known(id, STALE_AT_MOST) {
        return Some(matches!(known.standing, Standing::Live(_)));
    }
    let asked = SystemClock.monotonic();
    let answer = store.read(id).await.ok()?;
    let asked = store.proven(asked).ok()?;
    (SystemClock.monotonic().since(asked) < STALE_AT_MOST).then_some(matches!(answer, Standing::Live(_)))
}

/// From now on for that long somebody is never told yes who asks without end.
pub(crate) async fn never_yes(store: &SharedStore, id: SessionId, time: Duration) {
    if let Some(after) = yes_within(store, id, time).await {
        panic!("a yes after {after:?}: {:?}", store.read(id).await);
    }
}

/// When the first was told yes within that time, if anybody was.
async fn yes_within(store: &SharedStore, id: SessionId, time: Duration) -> Option<Duration> {
    let begin = instant();
    while begin.elapsed() < time {
        if says_yes(store, id).await == Some(true) {
            return Some(begin.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    None
}

/// Whether all that was ended until now, by the master that there is now, has come to all its replicas.
pub(crate) async fn is_replicated(store: &SharedStore) -> bool {
    use session_gateway::clock::Clock as _;
    store.is_replicated(SystemClock.monotonic()).await
}

/// Waits until it is: on a machine that does much else a replica may take its time.
pub(crate) async fn becomes_replicated(store: &SharedStore) {
    let begin = instant();
    while !is_replicated(store).await {
        assert!(begin.elapsed() < Duration::from_secs(30), "not all replicas answer");
    }
}

/// How long until the store may be used.
pub(crate) async fn serves_again(store: &SharedStore, id: SessionId) -> Duration {
    let begin = instant();
    while says_yes(store, id).await != Some(true) {
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", store.read(id).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begin.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_1_a_killed_master_loses_no_end_that_was_confirmed() {
    let mut topology = Topology::start().await;
    let (store, other) = (connect(cached(topology.settings())).await, connect(cached(topology.settings())).await);
    let (kept, _) = session(&store).await;
    let (ended, record) = session_of(&store, "acme", "8").await;
    session_of(&store, "acme", "9").await;
    until_cached(&*other, ended).await;
    assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    assert_eq!(revoke_user(&store, "acme", "9", EndReason::UserRevoked).await, 1);
    becomes_replicated(&store).await;
    topology.members[0].redis.kill();
    let killed = instant();
    let watched = other.clone();
    let watching = tokio::spawn(async move { never_yes(&watched, ended, Duration::from_secs(8)).await });
    topology.another_master(0).await;
    let elected = killed.elapsed();
    let served = serves_again(&store, kept).await;
    assert!(served < SECOND, "served {served:?} after the Sentinels had agreed, {elected:?} after the kill");
    serves_again(&other, kept).await;
    watching.await.unwrap();
    live(&store, kept).await;
    let (new, _) = session(&store).await;
    live(&other, new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_2_a_master_that_froze_and_goes_on_is_believed_by_nobody() {
    let topology = Topology::start().await;
    let (store, other) = (connect(cached(topology.settings())).await, connect(cached(topology.settings())).await);
    let (kept, _) = session(&store).await;
    let (ended, record) = session_of(&store, "acme", "8").await;
    until_cached(&*other, ended).await;
    topology.members[0].redis.freeze();
    topology.another_master(0).await;
    serves_again(&store, kept).await;
    assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    tokio::join!(
        never_yes(&other, ended, Duration::from_millis(500)),
        never_yes(&store, ended, Duration::from_millis(500))
    );
    topology.members[0].redis.thaw();
    tokio::join!(never_yes(&other, ended, Duration::from_secs(3)), never_yes(&store, ended, Duration::from_secs(3)));
    serves_again(&other, kept).await;
}

/// A gateway and the old master, with so many of its two replicas, are cut off from all others.
async fn situation_3(replicas: usize, on_their_side: usize) {
    let topology = Topology::with(Plan { replicas, ..Plan::default() }).await;
    let (beside, servers, sentinels) = topology.apart();
    let folder = tempfile::tempdir().unwrap();
    let store = connect(cached(topology.settings()).with_journal(journal(folder.path()))).await;
    let apart = connect(cached(topology.settings_with(beside))).await;
    let (kept, _) = session(&store).await;
    let (ended, record) = session_of(&store, "acme", "8").await;
    until_cached(&*apart, ended).await;
    let with_it = &topology.members[replicas + 1 - on_their_side..];
    let sources: Vec<_> = with_it.iter().map(|member| member.source).collect();
    topology.members[0].inner.cut_all_but(&sources);
    topology.members[0].outer.cut();
    for member in with_it {
        member.inner.cut();
        member.outer.cut();
    }
    servers[1..].iter().chain(&sentinels).for_each(Relay::cut);
    let new = topology.another_master(0).await;
    serves_again(&store, kept).await;
    assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    // The old one has no idea.
    let old = &topology.members[0].redis;
    assert!(old.cli(&["ROLE"]).starts_with("master") && old.cli(&["SET", "x", "1"]) == "OK");
    assert_eq!(old.cli(&["EXISTS", &format!("sg:e:{{{ended}}}")]), "0");
    never_yes(&apart, ended, Duration::from_secs(2)).await;
    let refused = apart.read(ended).await.expect_err("nobody vouches for its server").cause;
    assert!(refused.contains("still the master") || refused.contains("Sentinels"), "{refused}");
    servers.iter().chain(&sentinels).for_each(Relay::mend);
    for member in &topology.members {
        member.inner.mend();
        member.outer.mend();
    }
    let yes = yes_within(&apart, ended, Duration::from_secs(2)).await;
    // No replica had it when it was answered. Should the Sentinels have elected once more, one that was cut off, it is lost
    // until the gateway that ended it has applied its journal there (a second is promised from then on).
    assert!(yes.is_none() || topology.master() != Some(new), "a yes after {yes:?}");
    serves_again(&store, kept).await;
    tokio::time::sleep(SECOND).await;
    never_yes(&apart, ended, SECOND).await;
    serves_again(&apart, kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_3_a_gateway_that_is_cut_off_with_the_old_master_says_no_more() {
    situation_3(1, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_3_nor_with_one_of_its_two_replicas_that_acknowledges_all() {
    situation_3(2, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_4_while_a_replica_is_dead_the_sentinels_vouch_unless_that_is_refused() {
    let mut topology = Topology::start().await;
    let store = connect(cached(topology.settings())).await;
    let strict = Beside { strict_failover: Some(true), ..topology.beside() };
    let strict = connect(cached(topology.settings_with(strict))).await;
    let (id, _) = session(&store).await;
    until_cached(&*store, id).await;
    until_cached(&*strict, id).await;
    topology.members[2].redis.kill();
    let begin = instant();
    let mut strictly = 0;
    // On a busy machine a look-up takes its time.
    while begin.elapsed() < 3 * SECOND || strictly <= 100 && begin.elapsed() < 30 * SECOND {
        assert_eq!(says_yes(&store, id).await, Some(true), "after {:?}", begin.elapsed());
        if strict.read(id).await.is_err() {
            strictly += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(strictly > 100, "refused {strictly} times");
    assert_eq!(store.known(id, STALE_AT_MOST), None, "each look-up asks");
    let Condition::GoodBut(warning) = store.check().await.unwrap() else { panic!("no warning") };
    assert!(warning.contains("not all of 2 replicas answer"), "{warning}");
    let refused = strict.check().await.expect_err("strict").cause;
    assert!(refused.contains("strict_failover"), "{refused}");
    let (ended, record) = session_of(&store, "acme", "8").await;
    assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    assert!(!is_replicated(&store).await, "not all replicas have it");
    topology.members[2].redis.launch(&[]);
    serves_again(&strict, id).await;
    until_cached(&*store, id).await;
    until_cached(&*strict, id).await;
    becomes_replicated(&store).await;
    assert_eq!(store.check().await.unwrap(), Condition::Good);
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_5_a_failover_by_hand_revives_nothing_and_logs_nobody_out() {
    let topology = Topology::start().await;
    let (store, other) = (connect(cached(topology.settings())).await, connect(cached(topology.settings())).await);
    let (kept, _) = session(&store).await;
    let (mut master, mut times) = (0, Vec::new());
    for round in 0..failovers() {
        let (ended, record) = session_of(&store, "acme", "8").await;
        until_cached(&*other, ended).await;
        assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
        let confirmed = is_replicated(&store).await;
        assert_eq!(topology.sentinels[0].cli(&["SENTINEL", "FAILOVER", NAME]), "OK", "round {round}");
        let ordered = instant();
        let watched = other.clone();
        let watching = tokio::spawn(async move {
            if confirmed {
                never_yes(&watched, ended, Duration::from_secs(3)).await;
            }
        });
        master = topology.another_master(master).await;
        let served = serves_again(&store, kept).await;
        assert!(served < SECOND, "round {round}: {served:?}");
        times.push((ordered.elapsed(), served));
        watching.await.unwrap();
        // The Sentinels take no other order until all follow the new one.
        until("all to follow", || topology.is_whole(2)).await;
    }
    live(&other, kept).await;
    times.sort_unstable();
    println!("from the order to the answer, and from the agreement: {:?} … {:?}", times[times.len() / 2], times.last());
}

/// How many failovers one test makes: more by hand than in each run.
fn failovers() -> usize {
    std::env::var("SESSION_GATEWAY_TEST_FAILOVERS").map_or(1, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_9_while_the_news_of_the_master_stall_each_request_asks_it() {
    let topology = Topology::start().await;
    let news = TrackingRelay::before(([127, 0, 0, 1], topology.members[0].redis.port()).into());
    let mut beside = topology.beside();
    beside.addresses.insert(topology.members[0].name(), news.url().replace("redis://", "").replace("/0", ""));
    let store = connect(cached(topology.settings_with(beside))).await;
    let (id, _) = session(&store).await;
    until_cached(&*store, id).await;
    news.stall();
    let begin = instant();
    while begin.elapsed() < Duration::from_secs(2) {
        assert_eq!(says_yes(&store, id).await, Some(true), "after {:?}", begin.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(store.known(id, STALE_AT_MOST), None);
    news.go_on();
    until_cached(&*store, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_9_a_master_that_is_emptied_lets_nobody_in_who_was_shut_out() {
    let (topology, folder) = (Topology::start().await, tempfile::tempdir().unwrap());
    let store = connect(cached(topology.settings()).with_journal(journal(folder.path()))).await;
    let (id, _) = session(&store).await;
    until_cached(&*store, id).await;
    change_tenant(&store, "acme", TenantStatus::Suspended).await;
    assert_eq!(topology.members[0].redis.cli(&["FLUSHALL"]), "OK");
    let begin = instant();
    while begin.elapsed() < Duration::from_secs(2) {
        assert_ne!(says_yes(&store, id).await, Some(true));
        let status = store.tenant_standing(&principal("acme", "7").tenant).await.map(|standing| standing.status);
        assert!(!matches!(status, Ok(TenantStatus::Active)), "after {:?}", begin.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    recovers(&store).await;
}

/// The replicas do not get what the master still takes; they are one behind when one of them is promoted.
async fn ends_what_no_replica_gets(topology: &Topology, store: &SharedStore) {
    topology.members[0].inner.cut();
    assert_eq!(revoke_user(store, "acme", "8", EndReason::UserRevoked).await, 1);
    assert!(!is_replicated(store).await, "no replica has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_11_what_the_promoted_replica_lacks_comes_again_from_the_journal() {
    let (topology, folder) = (Topology::start().await, tempfile::tempdir().unwrap());
    let store = connect(cached(topology.settings()).with_journal(journal(folder.path()))).await;
    let other = connect(cached(topology.settings())).await;
    let (kept, _) = session(&store).await;
    let (ended, _) = session_of(&store, "acme", "8").await;
    until_cached(&*other, ended).await;
    becomes_replicated(&store).await;
    ends_what_no_replica_gets(&topology, &store).await;
    let watched = store.clone();
    let watching = tokio::spawn(async move { never_yes(&watched, ended, Duration::from_secs(8)).await });
    topology.another_master(0).await;
    serves_again(&store, kept).await;
    // The others hear of it at once; a second is promised.
    tokio::time::sleep(SECOND).await;
    never_yes(&other, ended, Duration::from_secs(1)).await;
    serves_again(&other, kept).await;
    watching.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_11_while_the_gateway_that_has_it_is_away_it_is_lost_and_then_it_is_back() {
    let (topology, folder) = (Topology::start().await, tempfile::tempdir().unwrap());
    let store = connect(topology.settings().with_journal(journal(folder.path()))).await;
    let other = connect(cached(topology.settings())).await;
    let (kept, _) = session(&store).await;
    let (ended, _) = session_of(&store, "acme", "8").await;
    becomes_replicated(&store).await;
    ends_what_no_replica_gets(&topology, &store).await;
    drop(store);
    topology.another_master(0).await;
    serves_again(&other, kept).await;
    assert_eq!(says_yes(&other, ended).await, Some(true), "else the test shows nothing");
    let _again = connect(topology.settings().with_journal(journal_of_before(folder.path()).await)).await;
    never_yes(&other, ended, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_11_what_failed_on_a_master_that_was_cut_off_ends_nothing_that_was_made_since() {
    let (topology, folder) = (Topology::start().await, tempfile::tempdir().unwrap());
    let (beside, servers, sentinels) = topology.apart();
    let store = connect(cached(topology.settings())).await;
    let apart = connect(cached(topology.settings_with(beside)).with_journal(journal(folder.path()))).await;
    let (kept, _) = session(&store).await;
    let (ended, _) = session_of(&store, "acme", "8").await;
    until_cached(&*apart, kept).await;
    becomes_replicated(&store).await;
    topology.members[0].inner.cut();
    topology.members[0].outer.cut();
    servers[1..].iter().chain(&sentinels).for_each(Relay::cut);
    topology.another_master(0).await;
    serves_again(&store, kept).await;
    let user = principal("acme", "8");
    let scope = Scope::User { tenant: user.tenant, user: user.user };
    let revocation = Revocation { scope, reason: EndReason::UserRevoked, by: By::Gateway };
    assert!(apart.revoke(&revocation).await.expect_err("nobody vouches for its server").comes_late);
    // Time enough for it to be carried out there.
    tokio::time::sleep(2 * SECOND).await;
    let (new, _) = session_of(&store, "acme", "8").await;
    servers.iter().chain(&sentinels).for_each(Relay::mend);
    topology.members[0].inner.mend();
    topology.members[0].outer.mend();
    serves_again(&apart, kept).await;
    tokio::time::sleep(SECOND).await;
    never_yes(&store, ended, Duration::from_millis(300)).await;
    serves_again(&store, new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_12_two_failovers_one_after_the_other_lose_nothing_that_the_journal_has() {
    let (topology, folder) = (Topology::start().await, tempfile::tempdir().unwrap());
    let store = connect(cached(topology.settings()).with_journal(journal(folder.path()))).await;
    let (kept, _) = session(&store).await;
    let (ended, _) = session_of(&store, "acme", "8").await;
    becomes_replicated(&store).await;
    ends_what_no_replica_gets(&topology, &store).await;
    let watched = store.clone();
    let watching = tokio::spawn(async move { never_yes(&watched, ended, Duration::from_secs(8)).await });
    let first = topology.another_master(0).await;
    topology.members[0].inner.mend();
    until("an order to be taken", || topology.sentinels[0].cli(&["SENTINEL", "FAILOVER", NAME]) == "OK").await;
    topology.another_master(first).await;
    serves_again(&store, kept).await;
    watching.await.unwrap();
    never_yes(&store, ended, SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_13_a_master_that_takes_no_writes_for_want_of_replicas_is_not_used() {
    let mut topology = Topology::start().await;
    let store = connect(cached(topology.settings())).await;
    let (id, _) = session(&store).await;
    topology.members[0].redis.cli(&["CONFIG", "SET", "min-replicas-to-write", "2"]);
    topology.members[0].redis.cli(&["CONFIG", "SET", "min-replicas-max-lag", "1"]);
    topology.members[2].redis.kill();
    let mut cause = String::new();
    for _ in 0..2_000 {
        if let Err(refused) = store.read(id).await {
            cause = refused.cause;
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(cause.contains("NOREPLICAS"), "{cause}");
    topology.members[2].redis.launch(&[]);
    serves_again(&store, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_13_without_any_sentinel_the_replicas_vouch_and_without_either_nobody() {
    let mut topology = Topology::start().await;
    let store = connect(cached(topology.settings())).await;
    let (id, _) = session(&store).await;
    until_cached(&*store, id).await;
    topology.sentinels.iter_mut().for_each(Sentinel::kill);
    let begin = instant();
    while begin.elapsed() < Duration::from_secs(5) {
        assert_eq!(says_yes(&store, id).await, Some(true), "after {:?}", begin.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until_cached(&*store, id).await;
    let Condition::GoodBut(warning) = store.check().await.unwrap() else { panic!("no warning") };
    assert!(warning.contains("Sentinels do not answer"), "{warning}");
    topology.members[1].redis.kill();
    tokio::time::sleep(SECOND).await;
    never_yes(&store, id, SECOND).await;
    // Nor does one find a master that was not there before.
    let late = connect(topology.settings()).await;
    let cause = late.read(id).await.expect_err("nobody says who the master is").cause;
    assert!(cause.contains("no master"), "{cause}");
    topology.sentinels.iter_mut().for_each(Sentinel::run);
    serves_again(&store, id).await;
    serves_again(&late, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_13_a_sentinel_that_lies_is_outvoted() {
    let topology = Topology::start().await;
    let liar = Liar::naming(topology.members[2].inner.port()).await;
    let url = topology.url("").replace("sentinel://", &format!("sentinel://127.0.0.1:{},", liar.port));
    let address = StoreAddress::with(&Secret::new(url), topology.beside()).unwrap();
    let store = connect(cached(RedisSettings::new(address, "sg:"))).await;
    let (id, _) = session(&store).await;
    until_cached(&*store, id).await;
    becomes_replicated(&store).await;
    assert!(liar.asked.load(Ordering::SeqCst) > 0, "it was heard");
    let begin = instant();
    while begin.elapsed() < Duration::from_secs(2) {
        assert_eq!(says_yes(&store, id).await, Some(true));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Where it is the only one that answers, it is not believed either.
    let (beside, _, sentinels) = topology.apart();
    sentinels.iter().for_each(Relay::cut);
    let url = topology.url("").replace("sentinel://", &format!("sentinel://127.0.0.1:{},", liar.port));
    let alone = StoreAddress::with(&Secret::new(url), beside).unwrap();
    let alone = connect(RedisSettings::new(alone, "sg:")).await;
    let cause = alone.read(id).await.expect_err("one of four").cause;
    assert!(cause.contains("no majority"), "{cause}");
}

/// What speaks as a Sentinel does, and names whom it likes, elected later than all others, with made-up witnesses.
struct Liar {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Liar {
    async fn naming(master: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(lie(stream, master, counted.clone()));
            }
        });
        Self { port, asked }
    }
}

async fn lie(stream: TcpStream, master: u16, asked: Arc<AtomicUsize>) {
    let (reading, mut writing) = stream.into_split();
    let mut lines = BufReader::new(reading).lines();
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let server = |port: u16, more: &[(&str, &str)]| {
        let port = port.to_string();
        let fields = [("ip", "127.0.0.1"), ("port", port.as_str())];
        let fields: Vec<_> = fields.iter().chain(more).collect();
        let text: String = fields.iter().map(|(name, value)| bulk(name) + &bulk(value)).collect();
        format!("%{}\r\n{text}", fields.len())
    };
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match line.as_str() {
            "HELLO" => String::from("%1\r\n$5\r\nproto\r\n:3\r\n"),
            "SUBSCRIBE" => format!(">3\r\n{}{}:1\r\n", bulk("subscribe"), bulk("+switch-master")),
            "MYID" => {
                asked.fetch_add(1, Ordering::SeqCst);
                bulk(&"f".repeat(40))
            }
            "GET-MASTER-ADDR-BY-NAME" => format!("*2\r\n{}{}", bulk("127.0.0.1"), bulk(&master.to_string())),
            "MASTER" => server(master, &[("config-epoch", "999999"), ("down-after-milliseconds", "1")]),
            "SENTINELS" => {
                let others: Vec<String> =
                    (0..60).map(|number| server(1 + number, &[("runid", &format!("{number:040}"))])).collect();
                format!("*60\r\n{}", others.concat())
            }
            "REPLICAS" => String::from("*0\r\n"),
            _ => continue,
        };
        if writing.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The replica that is promoted has a clock that is off by so many seconds.
async fn situation_15(seconds: i32) {
    let mut topology = Topology::with(Plan { skew_of_replicas: Some(seconds), ..Plan::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let store = connect(cached(topology.settings()).with_journal(journal(folder.path()))).await;
    let other = connect(cached(topology.settings())).await;
    let (kept, _) = session(&store).await;
    let (ended, record) = session_of(&store, "acme", "8").await;
    let (revoked, _) = session_of(&store, "acme", "9").await;
    assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    assert_eq!(revoke_user(&store, "acme", "9", EndReason::UserRevoked).await, 1);
    becomes_replicated(&store).await;
    let before = store.now().await.unwrap();
    let began = store.begin().await.unwrap();
    topology.members[0].redis.kill();
    topology.another_master(0).await;
    serves_again(&store, kept).await;
    serves_again(&other, kept).await;
    let after = store.now().await.unwrap();
    let off = after.since(before).max(before.since(after));
    assert!(off > SECOND, "else the clocks are the same: {before:?} {after:?}");
    for over in [ended, revoked] {
        never_yes(&other, over, Duration::from_millis(300)).await;
    }
    // What came before what no clock decides: a login that was on its way, and a revocation after it.
    assert_eq!(revoke_user(&store, "acme", "10", EndReason::UserRevoked).await, 0);
    let on_its_way = NewSession { principal: principal("acme", "10"), ..login_at(began) };
    assert_eq!(store.create(on_its_way).await.unwrap(), Creation::Superseded);
    let (new, _) = session_of(&store, "acme", "10").await;
    live(&other, new).await;
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::UserRevoked).await, 1);
    tokio::time::sleep(SECOND).await;
    never_yes(&other, kept, Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_15_a_new_master_whose_clock_is_behind_keeps_the_order_of_logins_and_revocations() {
    situation_15(-5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_15_so_does_one_whose_clock_is_ahead() {
    situation_15(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_16_a_listing_and_a_revocation_across_a_failover_miss_nothing() {
    let topology = Topology::start().await;
    let store = connect(topology.settings()).await;
    let mut made = HashSet::new();
    for user in 0..400 {
        made.insert(session_of(&store, "acme", &user.to_string()).await.0);
    }
    becomes_replicated(&store).await;
    let of = SessionsOf::Tenant(principal("acme", "7").tenant);
    let (mut listed, mut after, mut ordered) = (Vec::new(), None, false);
    loop {
        let Ok(page) = store.sessions(&of, after.as_ref(), 40).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        listed.extend(page.items.into_iter().map(|view| view.id));
        if listed.len() > 100 && !ordered {
            ordered = true;
            assert_eq!(topology.sentinels[0].cli(&["SENTINEL", "FAILOVER", NAME]), "OK");
            topology.another_master(0).await;
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), 400);
    assert_eq!(listed.into_iter().collect::<HashSet<_>>(), made);
    recovers(&store).await;
    topology.replicas_are_online(2).await;
    topology.sentinels_agree().await;
    let master = topology.master().unwrap();
    assert_eq!(topology.sentinels[0].cli(&["SENTINEL", "FAILOVER", NAME]), "OK");
    let scope = Scope::Tenant { tenant: principal("acme", "7").tenant };
    let revocation = Revocation { scope, reason: EndReason::TenantRevoked, by: By::Gateway };
    let mut revoked = store.revoke(&revocation).await;
    while revoked.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        revoked = store.revoke(&revocation).await;
    }
    topology.another_master(master).await;
    recovers(&store).await;
    assert_eq!(revoked_everywhere(&store, &made).await, 400);
}

async fn revoked_everywhere(store: &SharedStore, made: &HashSet<SessionId>) -> usize {
    let mut over = 0;
    for id in made {
        over += usize::from(!matches!(store.read(*id).await, Ok(Standing::Live(_)) | Err(_)));
    }
    over
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_17_who_reads_the_audit_log_across_a_failover_gets_each_line_once() {
    let mut topology = Topology::start().await;
    let store = RedisStore::connect(topology.settings(), Arc::new(Unobserved)).await.unwrap();
    let lines = |numbers: std::ops::Range<u64>| {
        let line = |seq| SharedLine { instance: "chain".into(), seq, line: format!("line {seq}").into_bytes().into() };
        numbers.map(line).collect::<Vec<_>>()
    };
    store.append(&lines(1..7)).await.unwrap();
    let mut read = Vec::new();
    let mut position = StreamPosition::default();
    for entry in store.after(position, 3).await.unwrap() {
        position = entry.position;
        read.push(String::from_utf8(entry.line).unwrap());
    }
    let shared: SharedStore = store.clone();
    becomes_replicated(&shared).await;
    topology.members[0].redis.kill();
    topology.another_master(0).await;
    recovers(&shared).await;
    // Whoever wrote them does not know which came through.
    store.append(&lines(5..10)).await.unwrap();
    for entry in store.after(position, 100).await.unwrap() {
        read.push(String::from_utf8(entry.line).unwrap());
    }
    assert_eq!(read, (1..10).map(|seq| format!("line {seq}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_18_with_tls_by_name_and_a_login_of_the_sentinels_own_a_failover_is_followed() {
    let topology = Topology::with(Plan { tls: true, ..Plan::default() }).await;
    add_the_manuals_users(&topology);
    let beside = beside_of_the_manuals_users(&topology);
    let url = Secret::new(topology.url("session-gateway@"));
    let connected = |beside: Beside| async {
        connect(cached(RedisSettings::new(StoreAddress::with(&url, beside).unwrap(), "sg:"))).await
    };
    let store = connected(beside.clone()).await;
    let (id, _) = session(&store).await;
    until_cached(&*store, id).await;
    becomes_replicated(&store).await;
    // By another name than the certificate's, with another authority, or with the servers' password for the Sentinels'.
    let by_address = topology.members.iter().map(|member| &member.inner);
    let by_address = by_address.chain(topology.sentinels.iter().map(|sentinel| &sentinel.inner));
    let mut elsewhere = beside.clone();
    for inner in by_address {
        let name = format!("127.0.0.1:{}", inner.port());
        let reached = elsewhere.addresses[&name].replace("localhost", "127.0.0.1");
        elsewhere.addresses.insert(name, reached);
    }
    let mut stranger = beside.clone();
    if let Some(sentinel) = &mut stranger.sentinel {
        sentinel.password = Some(Secret::new("another"));
    }
    for (wrong, says) in [(elsewhere, "certificate"), (stranger, "WRONGPASS")] {
        let cause = connected(wrong).await.read(id).await.expect_err(says).cause;
        assert!(cause.contains("no master") && cause.to_lowercase().contains(&says.to_lowercase()), "{cause}");
    }
    assert_eq!(topology.sentinels[0].cli(&["SENTINEL", "FAILOVER", NAME]), "OK");
    topology.another_master(0).await;
    serves_again(&store, id).await;
    topology.replicas_are_online(2).await;
    until_cached(&*store, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_19_a_replica_that_hangs_delays_no_read_and_an_end_for_half_a_second_at_most() {
    let topology = Topology::start().await;
    let store = connect(cached(topology.settings())).await;
    let (id, _) = session(&store).await;
    until_cached(&*store, id).await;
    topology.members[2].redis.freeze();
    let (mut slowest_read, mut slowest_end) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..20 {
        let (new, record) = session_of(&store, "acme", "8").await;
        let begin = instant();
        store.read(id).await.unwrap();
        slowest_read = slowest_read.max(begin.elapsed());
        assert!(store.end(new, &record, EndReason::Logout, &By::User).await.unwrap());
        let begin = instant();
        assert!(!is_replicated(&store).await);
        slowest_end = slowest_end.max(begin.elapsed());
    }
    topology.members[2].redis.thaw();
    assert!(slowest_read < Duration::from_millis(150), "{slowest_read:?}");
    assert!(slowest_end < Duration::from_millis(600), "{slowest_end:?}");
}
