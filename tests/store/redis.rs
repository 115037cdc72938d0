//! What is special about Redis.

use std::collections::HashSet;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use session_gateway::clock::SystemClock;
use session_gateway::entropy::SystemEntropy;
use session_gateway::monitor::FindingRecord;
use session_gateway::secret::Secret;
use session_gateway::session::{
    By, EndReason, LimitAction, Revocation, Scope, SessionId, SessionLimit, SessionRecord, Standing, TenantId,
    TenantStatus, UserId,
};
use session_gateway::store::audit::{
    Anchor, Anchored, AuditAnchors as _, AuditStream as _, SharedLine, StreamEntry, StreamPosition,
};
use session_gateway::store::contacts::{Contact, ContactStore as _};
use session_gateway::store::monitor::{FindingStore as _, FindingsOf, Kept, ToKeep};
use session_gateway::store::observe::Unobserved;
use session_gateway::store::places::{CellUse, FootprintChange};
use session_gateway::store::redis::{RedisSettings, RedisStore};
use session_gateway::store::{
    Creation, NewSession, STALE_AT_MOST, SessionStore, SessionsOf, SharedStore, StoreAddress, Touch,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::bench::{
    Bench, HOUR, MonitorStore, change_tenant, id, live, login, revoke, revoke_user, session, session_of, stored,
};
use crate::monitor::record;
use crate::redis_server::{RedisServer, settings};

pub(crate) const MANUAL: &str = include_str!("../../docs/redis.md");
pub(crate) const PASSWORD: &str = "hunter2-%23";

/// Runs the contract as the user that docs/redis.md describes, who may do no more than that.
pub(crate) struct RedisBench {
    server: RedisServer,
    store: Arc<RedisStore>,
    has_cache: bool,
}

impl RedisBench {
    pub(crate) async fn start() -> Self {
        Self::launch(false).await
    }

    pub(crate) async fn with_a_cache() -> Self {
        Self::launch(true).await
    }

    async fn launch(has_cache: bool) -> Self {
        let server = RedisServer::start(&[]).await;
        add_the_manuals_user(&server);
        let store = instance(&server, has_cache).await;
        Self { server, store, has_cache }
    }
}

async fn instance(server: &RedisServer, has_cache: bool) -> Arc<RedisStore> {
    let settings = as_the_manuals_user(server);
    if has_cache { with_a_cache(settings).await } else { connect(settings).await }
}

/// A store that answers from its cache.
pub(crate) async fn with_a_cache(settings: RedisSettings) -> Arc<RedisStore> {
    let settings = settings.with_cache(1000, Arc::new(SystemClock), &SystemEntropy, Arc::new(|_| {})).unwrap();
    let store = connect(settings).await;
    until_cached(&*store, id()).await;
    store
}

/// Waits until a session is known without asking, and answers what it is.
pub(crate) async fn until_cached(store: &dyn SessionStore, id: SessionId) -> Standing {
    for _ in 0..500 {
        store.read(id).await.unwrap();
        if let Some(known) = store.known(id, STALE_AT_MOST) {
            return known.standing;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the cache does not answer");
}

impl Drop for RedisBench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.server.cli(&["ACL", "LOG"]), "", "the user of docs/redis.md lacks a permission");
        }
    }
}

pub(crate) fn add_the_manuals_user(server: &RedisServer) {
    let line = MANUAL.lines().find(|line| line.starts_with("ACL SETUSER")).unwrap();
    let line = line.replace("CHANGE-ME", PASSWORD);
    assert_eq!(server.cli(&line.split(' ').collect::<Vec<_>>()), "OK");
}

pub(crate) fn as_the_manuals_user(server: &RedisServer) -> RedisSettings {
    let url = Secret::new(format!("redis://session-gateway@127.0.0.1:{}", server.port()));
    RedisSettings::new(StoreAddress::parse(&url, Some(&Secret::new(PASSWORD)), None).unwrap(), "sg:")
}

async fn connect(settings: RedisSettings) -> Arc<RedisStore> {
    RedisStore::connect(settings, Arc::new(Unobserved)).await.unwrap()
}

pub(crate) async fn shared(settings: RedisSettings) -> SharedStore {
    connect(settings).await
}

#[async_trait]
impl Bench for RedisBench {
    fn store(&self) -> SharedStore {
        self.store.clone()
    }

    async fn other_instance(&self) -> SharedStore {
        instance(&self.server, self.has_cache).await
    }

    fn monitor(&self) -> Arc<dyn MonitorStore> {
        self.store.clone()
    }

    async fn other_monitor(&self) -> Arc<dyn MonitorStore> {
        instance(&self.server, self.has_cache).await
    }

    async fn elapse(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// As docs/redis.md says, apart from the code under test.
pub(crate) fn hash(text: &str) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&sha2::Sha256::digest(text)[..16])
}

/// The same for an entry of an index, in hexadecimal.
fn entry(user: &str, id: SessionId, record: &SessionRecord) -> String {
    use sha2::Digest as _;
    let mut bytes = sha2::Sha256::digest(user)[..8].to_vec();
    bytes.extend(&record.created.as_micros().to_be_bytes()[1..]);
    bytes.extend(id.to_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The members of a sorted set, in hexadecimal, with their scores.
fn entries(server: &RedisServer, key: &str) -> Vec<String> {
    let script = "local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES') \
        for i = 1, #all, 2 do all[i] = string.gsub(all[i], '.', function(c) return string.format('%02x', string.byte(c)) end) end \
        return all";
    let shown = server.cli(&["EVAL", script, "1", key]);
    let lines: Vec<&str> = shown.lines().collect();
    lines.chunks(2).map(|entry| entry.join(" ")).collect()
}

#[tokio::test]
async fn the_keys_are_those_of_the_manual_and_expire_as_it_says() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.unix()).await;
    let (id, record) = session(&store).await;
    let (user, tenant) = (hash("7"), hash("acme"));
    let mut keys: Vec<String> = server.cli(&["KEYS", "*"]).lines().map(str::to_owned).collect();
    keys.sort();
    let index = format!("sg:b:{{{tenant}}}:");
    let record_key = format!("sg:s:{{{id}}}");
    let lists = ["sg:tl:{tenants}", "sg:tn:{tenants}"];
    assert_eq!(keys, [&index, "sg:birth", "sg:order", "sg:probe", &record_key, lists[0], lists[1]]);
    let expires = |key: &str| server.cli(&["PEXPIRETIME", key]).parse::<u64>().unwrap();
    let kept = record.deadline.after(HOUR).as_millis_rounded_up();
    let deadline = record.deadline.as_millis_rounded_up();
    let touch = record.idle.unwrap().deadline_of_use_at(record.created);
    assert_eq!(expires(&format!("sg:s:{{{id}}}")), touch.after(HOUR).as_millis_rounded_up());
    assert!((deadline..deadline + 601_000).contains(&expires(&index)));
    assert_eq!(entries(&server, &index), [format!("{} {deadline}", entry("7", id, &record))]);

    assert!(store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap());
    assert_eq!(server.cli(&["GET", &format!("sg:e:{{{id}}}")]), "logout");
    assert_eq!(expires(&format!("sg:e:{{{id}}}")), kept);
    assert_eq!(server.cli(&["EXISTS", &format!("sg:s:{{{id}}}"), &index]), "0", "its reason alone is kept");

    let (old, old_record) = session(&store).await;
    let new = login(&store).await;
    let next = new.id;
    assert!(matches!(store.rotate(old, &old_record, new, HOUR).await.unwrap(), Creation::Stored { .. }));
    let end = server.cli(&["GET", &format!("sg:e:{{{old}}}")]);
    assert!(end.starts_with("replaced@") && end.ends_with(&format!(">{next}")), "{end}");
    let record = live(&store, next).await.record;
    assert_eq!(entries(&server, &index).len(), 1, "it takes one place");
    assert!(entries(&server, &index)[0].starts_with(&entry("7", next, &record)));

    revoke_user(&store, "acme", "7", EndReason::UserRevoked).await;
    change_tenant(&store, "acme", TenantStatus::Suspended).await;
    for key in [format!("sg:n:{{{tenant}}}"), format!("sg:nn:{{{tenant}}}"), String::from("sg:tn:{tenants}")] {
        assert_eq!(server.cli(&["PEXPIRETIME", &key]), "-1", "{key}");
    }
    let standing = server.cli(&["GET", &format!("sg:n:{{{tenant}}}")]);
    let (since, status) = standing.split_once(' ').unwrap();
    assert_eq!(status, "suspended");
    let note = server.cli(&["GET", &format!("sg:nn:{{{tenant}}}")]);
    assert_eq!(note, format!("{since} org_deleted for a test"));
    assert_eq!(server.cli(&["ZRANGE", "sg:tn:{tenants}", "0", "-1", "WITHSCORES"]), "acme\ninf");
    assert_eq!(server.cli(&["ZRANGE", "sg:tl:{tenants}", "0", "-1"]), "acme");
    assert_eq!(server.cli(&["PEXPIRETIME", &format!("sg:u:{{{tenant}}}:{user}")]), "-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn how_somebody_is_written_to_expires_as_the_manual_says() {
    let bench = RedisBench::start().await;
    let contact = Contact { id: String::from("bob"), sealed: vec![0, 255] };
    bench.store.remember(&[contact]).await.unwrap();
    let left: u64 = bench.server.cli(&["PTTL", "sg:m:e:{bob}"]).parse().unwrap();
    let days = 180 * 86_400_000;
    assert!((days - 60_000..=days).contains(&left), "{left}");
}

#[tokio::test]
async fn an_index_drops_what_expired_and_outlives_its_longest_session() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.unix()).await;
    let index = format!("sg:b:{{{}}}:", hash("acme"));
    let (long, record) = session(&store).await;
    let short = NewSession { absolute: Duration::from_millis(50), ..login(&store).await };
    stored(&store, short).await;
    assert_eq!(server.cli(&["ZCARD", &index]), "2");
    let expires = server.cli(&["PEXPIRETIME", &index]).parse::<u64>().unwrap();
    assert!(expires >= record.deadline.as_millis_rounded_up());
    tokio::time::sleep(Duration::from_millis(60)).await;
    let (new, new_record) = session(&store).await;
    let left: Vec<String> = entries(&server, &index).iter().map(|entry| entry[..62].to_owned()).collect();
    assert_eq!(left, [entry("7", long, &record), entry("7", new, &new_record)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_of_a_large_tenant_is_many_small_nodes_of_which_none_is_overlooked() {
    const SESSIONS: usize = 3_000;
    let server = RedisServer::start(&[]).await;
    let (one, two) = (shared(server.tcp()).await, shared(server.tcp()).await);
    let makers = (0..8).map(|maker| {
        let store = if maker % 2 == 0 { one.clone() } else { two.clone() };
        tokio::spawn(async move {
            let mut made = Vec::new();
            for n in (maker..SESSIONS).step_by(8) {
                made.push((n, session_of(&store, "acme", &format!("u{}", n / 2)).await));
            }
            made
        })
    });
    let mut made = Vec::new();
    for maker in makers.collect::<Vec<_>>() {
        made.extend(maker.await.unwrap());
    }
    let largest = |server: &RedisServer| {
        let nodes = server.cli(&["KEYS", "sg:b:*"]);
        let count = |node: &str| server.cli(&["ZCARD", node]).parse::<usize>().unwrap();
        (nodes.lines().count(), nodes.lines().map(count).max().unwrap())
    };
    let (nodes, entries) = largest(&server);
    assert!(nodes > SESSIONS / 128 && entries <= 200, "{nodes} nodes, {entries} entries in the largest");
    // One that knows nothing yet finds each.
    let fresh = shared(server.tcp()).await;
    for (n, (id, record)) in made.iter().take(100) {
        assert!(fresh.end(*id, record, EndReason::Logout, &By::Gateway).await.unwrap(), "{n}");
    }
    let (tenant, user) = (TenantId::parse("acme").unwrap(), UserId::parse("u1400").unwrap());
    assert_eq!(fresh.tenant(&tenant).await.unwrap().sessions, SESSIONS as u64 - 100);
    let of_user = SessionsOf::User { tenant: tenant.clone(), user };
    assert_eq!(fresh.sessions(&of_user, None, 10).await.unwrap().items.len(), 2);
    let (mut listed, mut after) = (HashSet::new(), None);
    loop {
        let page = fresh.sessions(&SessionsOf::Tenant(tenant.clone()), after.as_ref(), 70).await.unwrap();
        assert!(page.items.into_iter().all(|view| listed.insert(view.id)), "listed twice");
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), SESSIONS - 100);
    let scope = Scope::Tenant { tenant };
    assert_eq!(revoke(&fresh, scope, EndReason::TenantRevoked).await, SESSIONS as u64 - 100);
    assert_eq!(server.cli(&["KEYS", "sg:s:*"]), "", "what is over keeps its reason alone");
}

#[tokio::test]
async fn what_was_never_written_is_unavailable_and_never_absent() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.unix()).await;
    let (user, tenant) = (hash("7"), hash("acme"));
    let cases: [&[&str]; 9] = [
        &["SET", "sg:s:{ID}", "garbage"],
        &["SET", "sg:s:{ID}", ""],
        &["SETRANGE", "sg:s:{ID}", "0", "\u{7f}"],
        &["SETRANGE", "sg:s:{ID}", "5000", "x"],
        &["SADD", "sg:s:{ID}", "x"],
        &["PERSIST", "sg:s:{ID}"],
        &["SET", "sg:e:{ID}", "boredom"],
        &["SET", "sg:n:{TENANT}", "0 frozen"],
        &["SET", "sg:u:{TENANT}:USER", "-1"],
    ];
    for case in cases {
        let (id, _) = session(&store).await;
        let case: Vec<String> = case
            .iter()
            .map(|part| part.replace("{ID}", &format!("{{{id}}}")).replace("TENANT", &tenant).replace("USER", &user))
            .collect();
        if case[0] == "SADD" {
            server.cli(&["DEL", &case[1]]);
        }
        server.cli(&case.iter().map(String::as_str).collect::<Vec<_>>());
        let unavailable = store.read(id).await.expect_err(&case.join(" "));
        assert_eq!(unavailable.unreadable, case[1].contains(id.as_str()), "{case:?}");
        if unavailable.unreadable {
            // Nobody need wait until it expires.
            assert!(store.end_unreadable(id, EndReason::Logout, &By::User).await.unwrap(), "{case:?}");
            let Standing::Ended(ended) = store.read(id).await.unwrap() else { panic!("{case:?}: it is over") };
            assert_eq!((ended.reason, ended.record), (EndReason::Logout, None), "{case:?}");
            assert!(!store.end_unreadable(id, EndReason::Logout, &By::User).await.unwrap(), "{case:?}: once");
            assert_ne!(server.cli(&["PEXPIRETIME", &format!("sg:e:{{{id}}}")]), "-1", "{case:?}");
        } else {
            assert!(store.create(login(&store).await).await.is_err(), "{case:?}");
            server.cli(&["DEL", &case[1]]);
        }
        store.check().await.unwrap();
    }
}

#[tokio::test]
async fn a_restored_record_revives_nothing() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.unix()).await;
    let (id, record) = session(&store).await;
    let (key, copy) = (format!("sg:s:{{{id}}}"), format!("sg:copy:{{{id}}}"));
    server.cli(&["COPY", &key, &copy]);
    assert!(store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap());
    server.cli(&["COPY", &copy, &key]);
    assert!(matches!(store.read(id).await.unwrap(), Standing::Ended(ended) if ended.reason == EndReason::Logout));
    assert!(!store.tighten(id, &record, record.deadline).await.unwrap());
    assert!(!store.end(id, &record, EndReason::Revoked, &By::Gateway).await.unwrap());
}

#[tokio::test]
async fn a_broken_generation_does_not_stop_a_revocation() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.unix()).await;
    let (id, _) = session(&store).await;
    server.cli(&["SET", &format!("sg:u:{{{}}}:{}", hash("acme"), hash("7")), "garbage"]);
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::UserRevoked).await, 1);
    assert!(matches!(store.read(id).await.unwrap(), Standing::Ended(_)));
}

/// What a server is sent, and what it does in all, scripts included.
struct Monitor(BufReader<TcpStream>);

impl Monitor {
    async fn of(server: &RedisServer) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
        stream.write_all(b"MONITOR\r\n").await.unwrap();
        let mut reader = BufReader::new(stream);
        reader.read_line(&mut String::new()).await.unwrap();
        Self(reader)
    }

    /// How many commands were sent since, and how many there were.
    async fn since(&mut self, server: &RedisServer) -> (usize, usize) {
        server.cli(&["ECHO", "that is all"]);
        let (mut sent, mut all) = (0, 0);
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            if line.contains("that is all") {
                return (sent, all);
            }
            all += 1;
            sent += usize::from(!line.contains(" lua]"));
        }
    }
}

#[tokio::test]
async fn a_login_costs_no_more_than_twelve_commands() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.unix()).await;
    session(&store).await;
    let mut monitor = Monitor::of(&server).await;
    // The watch over the connection asks once a second: the least of several tries is without it.
    let (mut of_a_login, mut of_a_logout) = ((usize::MAX, 0), (usize::MAX, 0));
    for _ in 0..5 {
        monitor.since(&server).await;
        let (id, record) = session(&store).await;
        of_a_login = of_a_login.min(monitor.since(&server).await);
        store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap();
        of_a_logout = of_a_logout.min(monitor.since(&server).await);
    }
    println!("sent, and with what scripts call: a login {of_a_login:?}, a logout {of_a_logout:?}");
    assert!(of_a_login.0 <= 12 && of_a_login.1 <= 16, "{of_a_login:?}");
    assert!(of_a_logout.0 <= 8, "{of_a_logout:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn four_thousand_logins_of_one_account_that_may_have_one_session_keep_reasons_alone() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    let used = || {
        let memory = server.cli(&["INFO", "memory"]);
        memory.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<u64>().ok()).unwrap()
    };
    let limit = SessionLimit { count: NonZeroU16::MIN, action: LimitAction::RevokeOldest };
    let new = NewSession { limit: Some(limit), ..login(&store).await };
    stored(&store, new).await;
    let before = used();
    for _ in 0..4_000 {
        let new = NewSession { limit: Some(limit), ..login(&store).await };
        stored(&store, new).await;
    }
    assert_eq!(server.cli(&["KEYS", "sg:s:*"]).lines().count(), 1);
    assert_eq!(server.cli(&["ZCARD", &format!("sg:b:{{{}}}:", hash("acme"))]), "1");
    let each = (used() - before) / 4_000;
    println!("a session that was displaced: {each} bytes");
    assert!(each < 200, "{each} bytes");
}

#[tokio::test]
async fn another_database_and_another_prefix_are_kept_apart() {
    let server = RedisServer::start(&[]).await;
    let one = shared(server.unix()).await;
    let two = shared(settings(&format!("redis://127.0.0.1:{}/2", server.port()))).await;
    let url = Secret::new(format!("redis://127.0.0.1:{}", server.port()));
    let three = shared(RedisSettings::new(StoreAddress::parse(&url, None, None).unwrap(), "staging:")).await;
    let (id, _) = session(&one).await;
    assert_eq!(two.read(id).await.unwrap(), Standing::Absent);
    assert_eq!(three.read(id).await.unwrap(), Standing::Absent);
}

/// A way to a server that stops the first thing said that contains `words`, until it is released.
pub(crate) struct Barrier {
    pub(crate) port: u16,
    pub(crate) reached: Arc<Notify>,
    pub(crate) release: Arc<Notify>,
}

impl Barrier {
    pub(crate) async fn before(server: &RedisServer, words: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let barrier = Self {
            port: listener.local_addr().unwrap().port(),
            reached: Arc::new(Notify::new()),
            release: Arc::new(Notify::new()),
        };
        let (reached, release, to) = (barrier.reached.clone(), barrier.release.clone(), server.port());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut from_client, mut to_client) = client.into_split();
                let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let (mut from_server, mut to_server) = server.into_split();
                let (reached, release) = (reached.clone(), release.clone());
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
                tokio::spawn(async move {
                    let mut buffer = [0; 16_384];
                    while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                        let said = &buffer[..length];
                        if said.windows(words.len()).any(|window| window == words) {
                            reached.notify_one();
                            release.notified().await;
                        }
                        to_server.write_all(said).await.unwrap();
                    }
                });
            }
        });
        barrier
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_between_the_reading_of_generations_and_the_storing_wins() {
    let server = RedisServer::start(&[]).await;
    let direct = shared(server.tcp()).await;
    for (suspend, expected) in [(false, Creation::Superseded), (true, Creation::TenantRefused(TenantStatus::Suspended))]
    {
        let barrier = Barrier::before(&server, b"\r\nNX\r\n").await;
        let store = shared(settings(&format!("redis://127.0.0.1:{}", barrier.port))).await;
        let new = login(&direct).await;
        let id = new.id;
        let login = tokio::spawn(async move { store.create(new).await.unwrap() });
        barrier.reached.notified().await;
        if suspend {
            assert_eq!(change_tenant(&direct, "acme", TenantStatus::Suspended).await, 0);
        } else {
            assert_eq!(revoke_user(&direct, "acme", "7", EndReason::UserRevoked).await, 0);
        }
        barrier.release.notify_one();
        assert_eq!(login.await.unwrap(), expected);
        assert_eq!(direct.read(id).await.unwrap(), Standing::Absent);
        assert_eq!(server.cli(&["ZCARD", &format!("sg:b:{{{}}}:", hash("acme"))]), "0");
    }
}

/// As if the server's clock had been half a minute ahead until now, and the user revoked then.
pub(crate) fn set_the_clock_back(server: &RedisServer) {
    let user = format!("sg:u:{{{}}}:{}", hash("acme"), hash("7"));
    for key in ["sg:order", &user] {
        let ahead = server.cli(&["GET", key]).parse::<u64>().unwrap() + 30_000_000;
        server.cli(&["SET", key, &ahead.to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_revoked_before_the_servers_clock_was_set_back_logs_in_at_once() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    revoke_user(&store, "acme", "7", EndReason::UserRevoked).await;
    set_the_clock_back(&server);
    let (id, _) = session(&store).await;
    live(&store, id).await;
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::UserRevoked).await, 1);
    session(&store).await;
    // Should the order have been lost with that, one login at most has to be repeated.
    set_the_clock_back(&server);
    server.cli(&["DEL", "sg:order"]);
    assert_eq!(store.create(login(&store).await).await.unwrap(), Creation::Superseded);
    session(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_wins_over_a_login_that_began_before_the_servers_clock_was_set_back() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.tcp()).await;
    revoke_user(&store, "acme", "7", EndReason::UserRevoked).await;
    set_the_clock_back(&server);
    let began = login(&store).await;
    assert!(began.began > store.now().await.unwrap(), "the clock shows less than when it began");
    revoke_user(&store, "acme", "7", EndReason::UserRevoked).await;
    assert_eq!(store.create(began).await.unwrap(), Creation::Superseded);
    change_tenant(&store, "acme", TenantStatus::Suspended).await;
    let began = login(&store).await;
    change_tenant(&store, "acme", TenantStatus::Active).await;
    assert_eq!(store.create(began).await.unwrap(), Creation::Superseded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_touch_that_arrives_after_the_end_revives_nothing() {
    let server = RedisServer::start(&[]).await;
    let direct = shared(server.tcp()).await;
    let barrier = Barrier::before(&server, b"\r\nPEXPIREAT\r\n").await;
    let store = shared(settings(&format!("redis://127.0.0.1:{}", barrier.port))).await;
    let (id, record) = session(&direct).await;
    let touch = Touch { id, deadline: record.created.after(HOUR) };
    let touching = tokio::spawn(async move { store.touch(&[touch]).await.unwrap() });
    barrier.reached.notified().await;
    assert!(direct.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap());
    barrier.release.notify_one();
    assert_eq!(touching.await.unwrap(), [false]);
    assert!(matches!(direct.read(id).await.unwrap(), Standing::Ended(_)));
}

fn anchor(seq: u64, mac: &str) -> Anchor {
    Anchor { instance: "chain".into(), seq, mac: mac.into(), time: 1, place: "a host:/a file".into() }
}

fn audit_line(seq: u64) -> SharedLine {
    SharedLine { instance: "chain".into(), seq, line: format!("line {seq}").into_bytes().into() }
}

#[tokio::test]
async fn an_audit_chain_never_goes_back_in_the_store() {
    let bench = RedisBench::start().await;
    assert_eq!(bench.store.anchor(&anchor(5, "a")).await.unwrap(), Anchored::Kept);
    assert_eq!(bench.store.anchor(&anchor(5, "a")).await.unwrap(), Anchored::Kept);
    for wrong in [anchor(4, "a"), anchor(5, "b")] {
        assert_eq!(bench.store.anchor(&wrong).await.unwrap(), Anchored::Contradicted(anchor(5, "a")));
    }
    bench.server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(bench.store.anchor(&anchor(6, "c")).await.unwrap(), Anchored::Kept, "a full server takes it");
    assert_eq!(bench.store.anchors().await.unwrap(), [anchor(6, "c")]);
}

#[tokio::test]
async fn the_oldest_of_a_thousand_audit_chains_make_room() {
    let bench = RedisBench::start().await;
    for at in 0..1001 {
        let anchor = Anchor { instance: format!("c{at}"), time: at, ..anchor(1, "a") };
        bench.store.anchor(&anchor).await.unwrap();
    }
    let anchors = bench.store.anchors().await.unwrap();
    assert_eq!((anchors.len(), anchors.iter().map(|anchor| anchor.time).min()), (901, Some(100)));
}

#[tokio::test]
async fn audit_lines_are_added_once_and_read_from_both_ends() {
    let bench = RedisBench::start().await;
    let lines: Vec<SharedLine> = (1..=5).map(audit_line).collect();
    bench.store.append(&lines[..3]).await.unwrap();
    // As after an answer that was lost.
    bench.store.append(&lines).await.unwrap();
    let text = |entries: &[StreamEntry]| -> Vec<String> {
        entries.iter().map(|entry| String::from_utf8(entry.line.clone()).unwrap()).collect()
    };
    let all = bench.store.after(StreamPosition::default(), 10).await.unwrap();
    assert_eq!(text(&all), ["line 1", "line 2", "line 3", "line 4", "line 5"]);
    assert_eq!(text(&bench.store.after(all[1].position, 2).await.unwrap()), ["line 3", "line 4"]);
    assert_eq!(text(&bench.store.before(None, 2).await.unwrap()), ["line 5", "line 4"]);
    assert_eq!(text(&bench.store.before(Some(all[1].position), 9).await.unwrap()), ["line 1"]);
    bench.server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(bench.store.append(&[audit_line(6)]).await.is_err(), "a full server takes no more");
}

#[tokio::test]
async fn a_broken_standing_of_a_tenant_is_mended_by_a_status_alone() {
    let server = RedisServer::start(&[]).await;
    let store = shared(server.unix()).await;
    let (id, record) = session(&store).await;
    let tenant = record.principal.tenant.clone();
    server.cli(&["SET", &format!("sg:n:{{{}}}", hash("acme")), "0 frozen solid"]);
    let revocation = Revocation { scope: Scope::Tenant { tenant }, reason: EndReason::TenantRevoked, by: By::Gateway };
    // It may have been suspended: raising its generation alone would let it in again.
    assert!(store.revoke(&revocation).await.unwrap_err().cause.contains("set its status"));
    assert_eq!(change_tenant(&store, "acme", TenantStatus::Suspended).await, 1);
    assert!(matches!(store.read(id).await.unwrap(), Standing::Ended(_)));
}

#[tokio::test]
async fn what_is_known_of_places_goes_in_time() {
    let bench = RedisBench::start().await;
    let (places, now) = (bench.monitor(), bench.store().now().await.unwrap());
    places.keep_footprints(vec![FootprintChange { user: 1, before: None, after: b"here".to_vec() }]).await.unwrap();
    places.note_uses(vec![CellUse { cell: 7, user: 1, at: now }]).await.unwrap();
    for (key, days) in [("sg:m:g:{0000000000000001}", 30), ("sg:m:p:{0000000000000007}", 14)] {
        let lives: u64 = bench.server.cli(&["PTTL", key]).parse().unwrap();
        assert!((days * 86_400_000 - 60_000..=days * 86_400_000).contains(&lives), "{key}: {lives}");
    }
}

/// As if the gateway had lost the store between the two.
#[tokio::test(flavor = "multi_thread")]
async fn a_finding_that_was_kept_and_not_noted_for_its_tenant_is_so_when_it_is_tried_again() {
    let server = RedisServer::start(&[]).await;
    let monitor = connect(server.tcp()).await;
    let record = FindingRecord { tenant: Some("acme".into()), user: Some("7".into()), ..record("KIND") };
    let finding = ToKeep { record: &record, dedupe: "a", repeat: HOUR, risk: None, postings: &[], has_failed: false };
    let Kept::New { id, .. } = monitor.keep(finding.clone()).await.unwrap() else { panic!("it is new") };
    let of = FindingsOf { tenant: TenantId::parse("acme").unwrap(), user: None };
    server.cli(&["DEL", &format!("sg:m:ft:{{{}}}", hash("acme"))]);
    assert_eq!(monitor.findings_of(&of, None, 9).await.unwrap().findings, []);
    for (has_failed, count) in [(false, 0), (true, 1), (false, 1)] {
        assert_eq!(monitor.keep(ToKeep { has_failed, ..finding.clone() }).await.unwrap(), Kept::Again(id));
        assert_eq!(monitor.findings_of(&of, None, 9).await.unwrap().findings.len(), count);
    }
}

#[tokio::test]
async fn what_a_front_end_reported_more_than_a_week_ago_is_not_shown_and_goes_with_what_comes() {
    let bench = RedisBench::start().await;
    let (store, tenant) = (bench.monitor(), TenantId::parse("acme").unwrap());
    let key = format!("sg:m:fe:{{{}}}", hash("acme"));
    for old in ["1-1", "2-0"] {
        bench.server.cli(&["XADD", &key, old, "a", "{}"]);
    }
    assert_eq!(store.activities(&tenant, None, 10).await.unwrap(), []);
    let some = [crate::reports::activity(1), crate::reports::activity(2)];
    store.keep_activities(&tenant, &some).await.unwrap();
    let kept = store.activities(&tenant, None, 10).await.unwrap();
    let kept: Vec<u64> = kept.into_iter().map(|kept| kept.activity.unwrap().at).collect();
    assert_eq!((kept, bench.server.cli(&["XLEN", &key]).trim()), (vec![2, 1], "2"));
}
