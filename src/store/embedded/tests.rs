//! Storage that fails. What needs no failing storage is in `tests/store/embedded.rs`.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redb::{Builder, StorageBackend};

use super::super::observe::{CallOutcome, StoreObserver};
use super::super::{Creation, NewSession, SessionStore as _};
use super::file::{OpenError, OpenErrorKind, recognise};
use super::{EmbeddedStore, Opener};
use crate::clock::SystemClock;
use crate::entropy::SystemEntropy;
use crate::session::{Principal, SessionId, SessionToken, Standing, TenantId, UserAgent, UserId};

/// A disk that can be told to fail, and what is on it.
#[derive(Debug, Default)]
struct Disk {
    bytes: Mutex<Vec<u8>>,
    failing: AtomicBool,
    opened: AtomicUsize,
}

/// One opening of the disk.
#[derive(Debug)]
struct Opening(Arc<Disk>);

impl Opening {
    fn bytes(&self) -> io::Result<parking_lot::MutexGuard<'_, Vec<u8>>> {
        if self.0.failing.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(self.0.bytes.lock())
    }
}

impl StorageBackend for Opening {
    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.bytes()?.len()).expect("small"))
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).expect("small");
        out.copy_from_slice(&self.bytes()?[from..from + out.len()]);
        Ok(())
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.bytes()?.resize(usize::try_from(length).expect("small"), 0);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        self.bytes().map(drop)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let from = usize::try_from(offset).expect("small");
        self.bytes()?[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn opener(disk: &Arc<Disk>) -> Opener {
    let disk = Arc::clone(disk);
    Box::new(move || {
        disk.opened.fetch_add(1, Ordering::SeqCst);
        let database = Builder::new().create_with_backend(Opening(Arc::clone(&disk)));
        let at = |kind: OpenErrorKind| -> OpenError { kind.at(Path::new("disk")) };
        recognise(database.map_err(|error| at(error.into()))?).map_err(at)
    })
}

#[derive(Default)]
struct States(Mutex<Vec<bool>>);

impl StoreObserver for States {
    fn command(&self, _: &'static str, _: CallOutcome) {}
    fn state(&self, up: bool) {
        self.0.lock().push(up);
    }
    fn looked_up(&self, _: bool) {}
    fn cache(&self, _: bool, _: usize) {}
}

async fn make(store: &EmbeddedStore) -> Result<SessionId, super::Unavailable> {
    let id = SessionToken::generate(&SystemEntropy).expect("the system has entropy").id();
    let new = NewSession {
        id,
        principal: Principal {
            tenant: TenantId::parse("acme").expect("visible ASCII"),
            user: UserId::parse("7").expect("visible ASCII"),
            role: None,
        },
        candidates: Vec::new(),
        remembered: false,
        idle: None,
        absolute: Duration::from_secs(3600),
        address: None,
        user_agent: UserAgent::default(),
        began: store.now().await?,
        limit: None,
        replaces: None,
        sealed_token: None,
    };
    let made = store.create(new).await?;
    assert!(matches!(made, Creation::Stored { .. }));
    Ok(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_is_unavailable_and_the_store_recovers_with_it() {
    let disk = Arc::new(Disk::default());
    let states = Arc::new(States::default());
    let store = EmbeddedStore::open_with(Path::new("disk"), opener(&disk), Arc::new(SystemClock), states.clone())
        .expect("a good disk");
    let kept = make(&store).await.expect("a good disk");

    disk.failing.store(true, Ordering::SeqCst);
    let refused = make(&store).await.expect_err("the disk fails");
    assert!(!refused.cause.is_empty());
    for _ in 0..10 {
        assert!(make(&store).await.is_err());
        assert!(store.check().await.is_err());
        assert!(store.read(kept).await.is_err(), "an outage is not an absent session");
    }

    disk.failing.store(false, Ordering::SeqCst);
    for _ in 0..300 {
        if store.check().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(matches!(store.read(kept).await, Ok(Standing::Live(_))));
    make(&store).await.expect("the disk is good again");
    assert_eq!(*states.0.lock(), [true, false, true]);
    assert!(disk.opened.load(Ordering::SeqCst) < 10, "opened in a busy loop");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_that_could_not_be_committed_nothing_is_answered_as_done() {
    let disk = Arc::new(Disk::default());
    let states = Arc::new(States::default());
    let store =
        EmbeddedStore::open_with(Path::new("disk"), opener(&disk), Arc::new(SystemClock), states).expect("a good disk");
    let mut made = Vec::new();
    for round in 0..200 {
        let calls = (0..8).map(|_| make(&store));
        let calls = futures_util::future::join_all(calls);
        let failing = async {
            if round == 100 {
                disk.failing.store(true, Ordering::SeqCst);
            }
        };
        let (results, ()) = tokio::join!(calls, failing);
        made.extend(results.into_iter().flatten());
    }
    drop(store);
    disk.failing.store(false, Ordering::SeqCst);
    let store =
        EmbeddedStore::open_with(Path::new("disk"), opener(&disk), Arc::new(SystemClock), Arc::new(States::default()))
            .expect("a good disk");
    assert!(made.len() >= 800, "{}", made.len());
    for id in made {
        assert!(matches!(store.read(id).await, Ok(Standing::Live(_))), "answered as stored, and lost");
    }
}
