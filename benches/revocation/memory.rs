//! What a cached session takes.

use std::sync::Arc;
use std::time::Duration;

use session_gateway::clock::SystemClock;
use session_gateway::entropy::SystemEntropy;
use session_gateway::session::{
    Generations, IdleLimit, LiveSession, Principal, Role, SessionRecord, SessionToken, Standing, StoreTime, TenantId,
    UserAgent, UserId,
};
use session_gateway::store::STALE_AT_MOST;
use session_gateway::store::cache::{Cache, Heard, Held, Origin, Place, PlaceSet, Proof};

/// So many that what the allocator keeps in hand does not count.
const SESSIONS: usize = 1_000_000;
const NOW: StoreTime = StoreTime::from_micros(1_700_000_000_000_000);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Resident memory, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

/// A record with texts of usual lengths.
fn record(n: usize) -> SessionRecord {
    SessionRecord {
        principal: Arc::new(Principal {
            tenant: TenantId::parse(&(n % 1000).to_string()).expect("a tenant"),
            user: UserId::parse(&format!("user-{n}")).expect("a user"),
            role: Some(Role::parse("admin").expect("a role")),
        }),
        created: NOW,
        deadline: NOW.after(Duration::from_secs(28_800)),
        idle: Some(IdleLimit::new(Duration::from_secs(1800))),
        remembered: false,
        generations: Generations::default(),
        address: Some([192, 0, 2, 7].into()),
        user_agent: UserAgent::of(Some(b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0")),
        line: None,
        choices: None,
    }
}

pub fn run() {
    let clock = Arc::new(SystemClock);
    let ids: Vec<_> = (0..SESSIONS).map(|_| SessionToken::generate(&SystemEntropy).expect("entropy").id()).collect();
    let before = resident();
    let cache = Cache::new(SESSIONS, 1, clock.clone());
    let term = cache.open();
    let sent = session_gateway::clock::Clock::monotonic(&*clock);
    let prove = |sent| {
        let proof = Proof { sent, received: sent, time: NOW };
        let all = Held { places: PlaceSet::from_iter([Place::ONLY]), election: 0 };
        cache.renew(term, Heard { source: 0, proof, voucher: None }, &all)
    };
    prove(sent);
    for (n, id) in ids.iter().enumerate() {
        let record = Arc::new(record(n));
        let standing = Standing::Live(LiveSession {
            record: Arc::clone(&record),
            touch_deadline: NOW.after(Duration::from_secs(1860)),
            now: NOW,
        });
        let mut reading = cache.begin(*id, Place::ONLY).expect("it is open");
        let (tenant, user) = ("sg:n:{0123456789012345678901}", "sg:u:{0123456789012345678901}:0123456789012345678901");
        reading.depends_on(tenant, user, None, &record);
        reading.came_from(&[Origin { place: Place::ONLY, source: 0 }]);
        reading.keep(&standing);
    }
    let each = (resident() - before) / cache.len();
    prove(session_gateway::clock::Clock::monotonic(&*clock));
    let begin = std::time::Instant::now();
    let known = ids.iter().filter(|id| cache.known(**id, STALE_AT_MOST).is_some()).count();
    let hit = begin.elapsed() / u32::try_from(ids.len()).expect("not so many");
    println!("sessions in the cache: {}; bytes each: {each}; known: {known}; a look-up: {hit:?}", cache.len());
    assert!(each <= 400, "more than 400 bytes a session");
}
