//! What is special about the embedded store.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redb::{Database, ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition};
use session_gateway::clock::{ManualClock, WallTime};
use session_gateway::session::{By, EndReason, SessionId, Standing};
use session_gateway::store::SharedStore;
use session_gateway::store::audit::{Anchor, Anchored, AuditAnchors as _};
use session_gateway::store::embedded::{EmbeddedStore, OpenError, OpenErrorKind};
use session_gateway::store::monitor::{Kept, Reserved};
use session_gateway::store::observe::Unobserved;
use session_gateway::store::places::{CellUse, FOOTPRINT_KEPT, FootprintChange};
use tempfile::TempDir;

use crate::bench::{Bench, HOUR, MonitorStore, live, login, revoke_user, session, stored};

const START: WallTime = WallTime::from_micros(1_700_000_000_000_000);

pub(crate) struct EmbeddedBench {
    folder: TempDir,
    clock: Arc<ManualClock>,
    store: Option<Arc<EmbeddedStore>>,
}

impl EmbeddedBench {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::starting_at(START));
        let mut bench = Self { folder, clock, store: None };
        bench.open();
        bench
    }

    fn open(&mut self) {
        self.store = Some(open(&self.path(), &self.clock).unwrap());
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data/sessions.redb")
    }
}

fn open(path: &Path, clock: &Arc<ManualClock>) -> Result<Arc<EmbeddedStore>, OpenError> {
    EmbeddedStore::open(path, clock.clone(), Arc::new(Unobserved))
}

#[async_trait]
impl Bench for EmbeddedBench {
    fn store(&self) -> SharedStore {
        self.store.clone().unwrap()
    }

    async fn other_instance(&self) -> SharedStore {
        self.store()
    }

    fn monitor(&self) -> Arc<dyn MonitorStore> {
        self.store.clone().unwrap()
    }

    async fn other_monitor(&self) -> Arc<dyn MonitorStore> {
        self.monitor()
    }

    async fn elapse(&self, time: Duration) {
        self.clock.advance(time);
    }
}

#[tokio::test]
async fn sessions_and_ends_survive_a_restart() {
    let mut bench = EmbeddedBench::start();
    let (kept, _) = session(&bench.store()).await;
    let (gone, record) = session(&bench.store()).await;
    assert!(bench.store().end(gone, &record, EndReason::Logout, &By::Gateway).await.unwrap());
    bench.store = None;
    bench.open();
    live(&bench.store(), kept).await;
    assert!(
        matches!(bench.store().read(gone).await.unwrap(), Standing::Ended(ended) if ended.reason == EndReason::Logout)
    );
}

#[tokio::test]
async fn what_was_answered_is_in_the_file_at_that_moment() {
    let bench = EmbeddedBench::start();
    let crashed = bench.folder.path().join("crashed.redb");
    for _ in 0..5 {
        let (kept, _) = session(&bench.store()).await;
        let (gone, record) = session(&bench.store()).await;
        assert!(bench.store().end(gone, &record, EndReason::Logout, &By::Gateway).await.unwrap());
        // As a crash would leave it: the store still has it open.
        std::fs::copy(bench.path(), &crashed).unwrap();
        let store: SharedStore = open(&crashed, &bench.clock).unwrap();
        live(&store, kept).await;
        assert!(matches!(store.read(gone).await.unwrap(), Standing::Ended(_)));
    }
}

#[tokio::test]
async fn a_wall_clock_that_is_stepped_back_revives_no_session_and_ends_none() {
    let mut bench = EmbeddedBench::start();
    let (old, record) = session(&bench.store()).await;
    bench.elapse(HOUR).await;
    assert!(matches!(bench.store().read(old).await.unwrap(), Standing::Ended(_)));
    let (young, _) = session(&bench.store()).await;
    let before = bench.store().now().await.unwrap();

    bench.clock.step_wall(WallTime::from_micros(START.as_micros() - 86_400_000_000));
    assert_eq!(bench.store().now().await.unwrap(), before, "the wall clock is not asked while the store is open");
    bench.store = None;
    bench.open();
    assert!(bench.store().now().await.unwrap() >= before);
    assert!(matches!(bench.store().read(old).await.unwrap(), Standing::Ended(_)));
    live(&bench.store(), young).await;
    assert_eq!(record.created.as_micros(), START.as_micros());
}

#[tokio::test]
async fn time_that_passed_while_the_store_was_closed_counts() {
    let mut bench = EmbeddedBench::start();
    let (id, _) = session(&bench.store()).await;
    bench.store = None;
    bench.elapse(HOUR).await;
    bench.open();
    assert!(
        matches!(bench.store().read(id).await.unwrap(), Standing::Ended(ended) if ended.reason == EndReason::IdleTimeout)
    );
}

#[tokio::test]
async fn a_session_is_forgotten_an_hour_after_its_absolute_deadline_and_not_before() {
    let mut bench = EmbeddedBench::start();
    let store = bench.store();
    let (id, record) = session(&store).await;
    assert!(store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap());
    bench.elapse(9 * HOUR - Duration::from_millis(1)).await;
    store.check().await.unwrap(); // a commit sweeps when a sweep is due
    assert!(matches!(store.read(id).await.unwrap(), Standing::Ended(ended) if ended.reason == EndReason::Logout));
    bench.elapse(Duration::from_secs(60)).await;
    store.check().await.unwrap();
    assert_eq!(store.read(id).await.unwrap(), Standing::Absent);
    drop(store);
    bench.store = None;
    assert_eq!(entries(&bench.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_great_many_sessions_are_forgotten_in_small_steps() {
    let mut bench = EmbeddedBench::start();
    let store = bench.store();
    let mut logins = Vec::new();
    for _ in 0..1000 {
        let (store, new) = (store.clone(), login(&store).await);
        logins.push(tokio::spawn(async move { stored(&store, new).await }));
    }
    for login in logins {
        login.await.unwrap();
    }
    bench.elapse(10 * HOUR).await;
    store.check().await.unwrap();
    drop(store);
    for _ in 0..100 {
        bench.store = None;
        if entries(&bench.path()) == 0 {
            return;
        }
        bench.open();
        bench.elapse(HOUR).await;
        bench.store().check().await.unwrap();
    }
    panic!("sessions remain");
}

/// Sessions, ends and entries of indexes in a closed file.
fn entries(path: &Path) -> u64 {
    let database = Database::open(path).unwrap();
    let transaction = database.begin_read().unwrap();
    ["sessions", "touches", "ends", "user_index", "tenant_index", "expiry"]
        .into_iter()
        .map(|name| {
            let handle = transaction.list_tables().unwrap().find(|table| redb::TableHandle::name(table) == name);
            transaction.open_untyped_table(handle.unwrap()).unwrap().len().unwrap()
        })
        .sum()
}

#[tokio::test]
async fn the_file_and_its_folder_are_the_owners_alone() {
    let bench = EmbeddedBench::start();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&bench.path()), 0o600);
    assert_eq!(mode(bench.path().parent().unwrap()), 0o700);
}

#[tokio::test]
async fn a_file_in_use_says_so() {
    let bench = EmbeddedBench::start();
    let error = open(&bench.path(), &bench.clock).err().unwrap();
    assert!(matches!(error.kind, OpenErrorKind::InUse), "{error}");
    assert!(error.to_string().contains("in use"), "{error}");
}

#[tokio::test]
async fn a_damaged_or_foreign_file_is_refused_and_left_as_it_is() {
    let bench = EmbeddedBench::start();
    for _ in 0..50 {
        session(&bench.store()).await;
    }
    let good = std::fs::read(bench.path()).unwrap();
    let mut header = good.clone();
    header[16..320].fill(0xa5);
    let mut middle = good.clone();
    let half = middle.len() / 2;
    middle[4096..half].fill(0xa5);
    let files: [(&str, Vec<u8>); 6] = [
        ("text", b"not a database\n".to_vec()),
        ("long text", b"not a database\n".repeat(10_000)),
        ("cut short", good[..good.len() / 2].to_vec()),
        ("cut very short", good[..100].to_vec()),
        ("damaged header", header),
        ("damaged pages", middle),
    ];
    for (name, bytes) in files {
        let path = bench.folder.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let error = open(&path, &bench.clock).err().unwrap_or_else(|| panic!("{name} was opened"));
        assert!(matches!(error.kind, OpenErrorKind::Corrupt(_)), "{name}: {error:?}");
        assert_eq!(std::fs::read(&path).unwrap()[..9], bytes[..9], "{name} was overwritten");
        assert_eq!(std::fs::metadata(&path).unwrap().len(), u64::try_from(bytes.len()).unwrap(), "{name}");
    }
}

#[tokio::test]
async fn the_file_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.redb");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let table: TableDefinition<'_, &str, u64> = TableDefinition::new("theirs");
    transaction.open_table(table).unwrap().insert("a", 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = open(&path, &Arc::new(ManualClock::starting_at(START))).err().unwrap();
    assert!(matches!(error.kind, OpenErrorKind::Foreign), "{error:?}");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_unavailable_and_harms_no_other() {
    let mut bench = EmbeddedBench::start();
    let (good, _) = session(&bench.store()).await;
    let (broken, _) = session(&bench.store()).await;
    bench.store = None;
    let database = Database::open(bench.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    let sessions: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("sessions");
    transaction.open_table(sessions).unwrap().insert(broken.as_str(), &b"\xffnewer"[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    bench.open();
    let store = bench.store();
    assert!(store.read(broken).await.unwrap_err().unreadable);
    live(&store, good).await;
    // Nobody need wait until it expires.
    assert!(store.end_unreadable(broken, EndReason::Logout, &By::User).await.unwrap());
    let Standing::Ended(ended) = store.read(broken).await.unwrap() else { panic!("it is over") };
    assert_eq!((ended.reason, ended.record), (EndReason::Logout, None));
    assert!(!store.end_unreadable(broken, EndReason::Logout, &By::User).await.unwrap(), "once");
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::LogoutAll).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_come_together_share_a_commit() {
    let bench = EmbeddedBench::start();
    let store = bench.store();
    let mut logins = Vec::new();
    for _ in 0..2000 {
        let (store, new) = (store.clone(), login(&store).await);
        logins.push(tokio::spawn(async move { (new.id, stored(&store, new).await) }));
    }
    for login in logins {
        let (id, record) = login.await.unwrap();
        assert_eq!(*live(&store, id).await.record, record);
    }
}

/// Not a test: what the next one kills.
#[tokio::test]
#[ignore = "run by another test, as a process of its own"]
async fn child_that_makes_sessions_until_it_is_killed() {
    let Ok(path) = std::env::var("STORE_OF_CHILD") else { return };
    let clock = Arc::new(ManualClock::starting_at(START));
    let store: SharedStore = open(Path::new(&path), &clock).unwrap();
    for n in 0_u64.. {
        let (id, record) = session(&store).await;
        let ended = n % 2 == 1;
        if ended {
            assert!(store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap());
        }
        println!("session {id} {ended}");
    }
}

#[tokio::test]
async fn kill_9_takes_back_nothing_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.redb");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::child_that_makes_sessions_until_it_is_killed", "--ignored", "--nocapture"])
        .env("STORE_OF_CHILD", &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let answered = lines.filter(|line| line.starts_with("session ")).take(101);
    let mut answered: Vec<String> = answered.collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answered.len(), 101, "the child did not get going");
    answered.pop(); // may be cut off
    let store: SharedStore = open(&path, &Arc::new(ManualClock::starting_at(START))).unwrap();
    for line in answered {
        let parts: Vec<&str> = line.split(' ').collect();
        let id = SessionId::parse(parts[1].as_bytes()).unwrap();
        assert_eq!(matches!(store.read(id).await.unwrap(), Standing::Ended(_)), parts[2] == "true", "{line}");
        assert_ne!(store.read(id).await.unwrap(), Standing::Absent, "{line}");
    }
}

#[tokio::test]
async fn an_audit_chain_never_goes_back_in_the_store_and_is_known_after_a_restart() {
    let mut bench = EmbeddedBench::start();
    let anchor = |seq: u64, mac: &str| Anchor {
        instance: "chain".into(),
        seq,
        mac: mac.into(),
        time: 1,
        place: "a host:/a file".into(),
    };
    let store = bench.store.take().unwrap();
    assert_eq!(store.anchor(&anchor(5, "a")).await.unwrap(), Anchored::Kept);
    for wrong in [anchor(4, "a"), anchor(5, "b")] {
        assert_eq!(store.anchor(&wrong).await.unwrap(), Anchored::Contradicted(anchor(5, "a")));
    }
    assert_eq!(store.anchor(&anchor(6, "c")).await.unwrap(), Anchored::Kept);
    drop(store);
    bench.open();
    assert_eq!(bench.store.as_ref().unwrap().anchors().await.unwrap(), [anchor(6, "c")]);
}

#[tokio::test]
async fn locks_failures_and_findings_survive_a_restart() {
    let mut bench = EmbeddedBench::start();
    let attempt = crate::monitor::attempt("bob", "192.0.2.1");
    for _ in 0..5 {
        crate::monitor::fail(&*bench.monitor(), &attempt()).await;
    }
    let record = crate::monitor::record("LOGIN_AFTER_FAILURES");
    let found = crate::monitor::keep(&*bench.monitor(), &record, "one", HOUR, &[]).await;
    bench.store = None;
    bench.open();
    assert!(matches!(bench.monitor().reserve(&attempt()).await.unwrap(), Reserved::Locked { .. }));
    assert_eq!(bench.monitor().locks(None, 10).await.unwrap().len(), 1);
    let Kept::New { id, .. } = found else { panic!("{found:?}") };
    assert!(bench.monitor().finding(id).await.unwrap().is_some());
    // Beyond their time nothing of them is left.
    bench.clock.advance(Duration::from_secs(100 * 86_400));
    crate::monitor::fail(&*bench.monitor(), &crate::monitor::attempt("eve", "192.0.2.2")()).await;
    crate::monitor::keep(&*bench.monitor(), &record, "two", HOUR, &[]).await;
    assert_eq!(bench.monitor().findings(None, 10).await.unwrap().len(), 1);
    bench.store = None;
    let database = Database::open(bench.path()).unwrap();
    let read = database.begin_read().unwrap();
    let buckets: TableDefinition<'_, &str, (&[u8], u64)> = TableDefinition::new("login_buckets");
    assert_eq!(read.open_table(buckets).unwrap().len().unwrap(), 3, "those of eve's login alone");
}

#[tokio::test]
async fn where_a_user_was_is_known_for_a_month_and_who_uses_a_place_for_two_weeks() {
    let bench = EmbeddedBench::start();
    let places = bench.monitor();
    let change = |user| vec![FootprintChange { user, before: None, after: b"here".to_vec() }];
    assert_eq!(places.keep_footprints(change(1)).await.unwrap(), [true]);
    let first = CellUse { cell: 7, user: 1, at: bench.store().now().await.unwrap() };
    places.note_uses(vec![first]).await.unwrap();
    bench.elapse(FOOTPRINT_KEPT - Duration::from_secs(1)).await;
    assert_eq!(places.keep_footprints(change(2)).await.unwrap(), [true]);
    assert_eq!(places.footprints(&[1]).await.unwrap(), [Some(b"here".to_vec())]);
    bench.elapse(Duration::from_secs(1)).await;
    assert_eq!(places.footprints(&[1, 2]).await.unwrap(), [None, Some(b"here".to_vec())]);
    assert_eq!(places.keep_footprints(change(1)).await.unwrap(), [true], "it goes by nothing");
    // The next use takes what is too old along.
    let second = CellUse { cell: 7, user: 0, at: bench.store().now().await.unwrap() };
    places.note_uses(vec![second]).await.unwrap();
    assert_eq!(places.users_of(&[7], first.at).await.unwrap(), [0]);
}
