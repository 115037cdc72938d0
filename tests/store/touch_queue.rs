//! The write-behind queue, before a store that writes down what it is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use session_gateway::session::{
    By, EndReason, HoldWord, Principal, Revocation, SessionId, SessionRecord, Standing, StoreTime, TenantChange,
    TenantId, TenantStanding, TokenDenial, TokenStanding,
};
use session_gateway::store::observe::{CallOutcome, StoreObserver};
use session_gateway::store::touch_queue::{Queued, TouchQueue};
use session_gateway::store::{
    Condition, Creation, Cursor, NewSession, Page, Revoked, Said, SessionStore, SessionView, SessionsOf, StoreResult,
    TenantView, Touch, Unavailable,
};
use tokio::sync::Semaphore;

use crate::bench::id;

/// A store that takes touches alone.
struct Recorder {
    batches: Mutex<Vec<Vec<Touch>>>,
    failing: Mutex<bool>,
    /// One permit for each write that may go through.
    gate: Semaphore,
    outcomes: Mutex<HashMap<CallOutcome, u32>>,
}

impl Recorder {
    fn new(open: bool) -> Arc<Self> {
        Arc::new(Self {
            batches: Mutex::default(),
            failing: Mutex::new(false),
            gate: Semaphore::new(if open { 1_000_000 } else { 0 }),
            outcomes: Mutex::default(),
        })
    }

    fn queue(self: &Arc<Self>, capacity: usize) -> TouchQueue {
        TouchQueue::start(self.clone(), self.clone(), capacity)
    }

    fn written(&self) -> Vec<Touch> {
        self.batches.lock().iter().flatten().copied().collect()
    }
}

impl StoreObserver for Recorder {
    fn command(&self, _: &'static str, outcome: CallOutcome) {
        *self.outcomes.lock().entry(outcome).or_default() += 1;
    }
    fn state(&self, _: bool) {}
    fn looked_up(&self, _: bool) {}
    fn cache(&self, _: bool, _: usize) {}
}

#[async_trait]
impl SessionStore for Recorder {
    async fn touch(&self, touches: &[Touch]) -> StoreResult<Vec<bool>> {
        self.gate.acquire().await.unwrap().forget();
        if *self.failing.lock() {
            return Err(Unavailable::because("down"));
        }
        self.batches.lock().push(touches.to_vec());
        Ok(vec![true; touches.len()])
    }
    async fn now(&self) -> StoreResult<StoreTime> {
        unimplemented!()
    }
    async fn begin(&self) -> StoreResult<StoreTime> {
        unimplemented!()
    }
    async fn create(&self, _: NewSession) -> StoreResult<Creation> {
        unimplemented!()
    }
    async fn rotate(&self, _: SessionId, _: &SessionRecord, _: NewSession, _: Duration) -> StoreResult<Creation> {
        unimplemented!()
    }
    async fn read(&self, _: SessionId) -> StoreResult<Standing> {
        unimplemented!()
    }
    async fn read_outlived(&self, _: SessionId, _: &Arc<SessionRecord>) -> StoreResult<EndReason> {
        unimplemented!()
    }
    async fn read_token(&self, _: SessionId, _: &Arc<SessionRecord>) -> StoreResult<TokenStanding> {
        unimplemented!()
    }
    async fn count_ended(&self) -> StoreResult<Option<u64>> {
        unimplemented!()
    }
    async fn sealed_token(&self, _: SessionId) -> StoreResult<Option<Vec<u8>>> {
        unimplemented!()
    }
    async fn replace_sealed_token(&self, _: SessionId, _: &[u8]) -> StoreResult<bool> {
        unimplemented!()
    }
    async fn take_turn(&self, _: SessionId, _: &str, _: Duration) -> StoreResult<bool> {
        unimplemented!()
    }
    async fn end_turn(&self, _: SessionId, _: &str) -> StoreResult<()> {
        unimplemented!()
    }
    async fn deny(&self, _: &TokenDenial, _: &By) -> StoreResult<bool> {
        unimplemented!()
    }
    async fn tighten(&self, _: SessionId, _: &SessionRecord, _: StoreTime) -> StoreResult<bool> {
        unimplemented!()
    }
    fn abandon(&self, _: SessionId, _: &Principal) {
        unreachable!()
    }

    async fn end(&self, _: SessionId, _: &SessionRecord, _: EndReason, _: &By) -> StoreResult<bool> {
        unimplemented!()
    }
    async fn hold(&self, _: SessionId, _: &SessionRecord, _: &HoldWord, _: &By) -> StoreResult<Said> {
        unimplemented!()
    }
    async fn end_unreadable(&self, _: SessionId, _: EndReason, _: &By) -> StoreResult<bool> {
        unimplemented!()
    }
    async fn note_end(&self, _: SessionId, _: &SessionRecord, _: EndReason) -> StoreResult<bool> {
        unimplemented!()
    }
    async fn revoke(&self, _: &Revocation) -> StoreResult<Revoked> {
        unimplemented!()
    }
    async fn change_tenant(&self, _: &TenantId, _: &TenantChange) -> StoreResult<Revoked> {
        unimplemented!()
    }
    async fn tenant_standing(&self, _: &TenantId) -> StoreResult<TenantStanding> {
        unimplemented!()
    }
    async fn tenant(&self, _: &TenantId) -> StoreResult<TenantView> {
        unimplemented!()
    }
    async fn tenants(&self, _: Option<&TenantId>, _: usize) -> StoreResult<Page<TenantView, TenantId>> {
        unimplemented!()
    }
    async fn sessions(&self, _: &SessionsOf, _: Option<&Cursor>, _: usize) -> StoreResult<Page<SessionView, Cursor>> {
        unimplemented!()
    }
    async fn check(&self) -> StoreResult<Condition> {
        unimplemented!()
    }
}

fn touch(id: SessionId, millis: u64) -> Touch {
    Touch { id, deadline: StoreTime::from_millis(millis) }
}

async fn until(condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen");
}

#[tokio::test]
async fn of_several_touches_of_a_session_the_latest_is_written_and_only_once() {
    let store = Recorder::new(true);
    let queue = store.queue(10);
    let id = id();
    for millis in [5, 9, 7] {
        assert_eq!(queue.push(touch(id, millis)), Queued::Yes);
    }
    until(|| queue.is_empty() && !store.written().is_empty()).await;
    assert_eq!(store.written(), [touch(id, 9)]);
}

#[tokio::test]
async fn a_full_queue_says_so_and_still_takes_what_it_already_holds() {
    let store = Recorder::new(true);
    let queue = store.queue(2);
    let (one, two, three) = (id(), id(), id());
    assert_eq!(queue.push(touch(one, 1)), Queued::Yes);
    assert_eq!(queue.push(touch(two, 1)), Queued::Yes);
    assert_eq!(queue.push(touch(three, 1)), Queued::Full);
    assert_eq!(queue.push(touch(one, 2)), Queued::Yes);
    queue.flush().await;
    assert_eq!(queue.push(touch(three, 1)), Queued::Yes);
}

#[tokio::test]
async fn a_drain_writes_all_that_waits_in_batches() {
    let store = Recorder::new(true);
    let queue = store.queue(5000);
    for n in 0..1200 {
        assert_eq!(queue.push(touch(id(), n)), Queued::Yes);
    }
    queue.flush().await;
    assert!(queue.is_empty());
    assert_eq!(store.written().len(), 1200);
    assert!(store.batches.lock().iter().all(|batch| batch.len() <= 500));
}

#[tokio::test]
async fn a_failed_flush_is_counted_and_the_queue_goes_on() {
    let store = Recorder::new(true);
    let queue = store.queue(10);
    *store.failing.lock() = true;
    assert_eq!(queue.push(touch(id(), 1)), Queued::Yes);
    queue.flush().await;
    assert!(queue.is_empty(), "a lost touch is not tried again");
    assert_eq!(store.outcomes.lock().get(&CallOutcome::Lost), Some(&1));
    *store.failing.lock() = false;
    assert_eq!(queue.push(touch(id(), 1)), Queued::Yes);
    until(|| store.written().len() == 1).await;
}

#[tokio::test]
async fn a_forgotten_touch_never_reaches_the_store() {
    let store = Recorder::new(true);
    let queue = store.queue(10);
    let (forgotten, kept) = (id(), id());
    assert_eq!(queue.push(touch(forgotten, 1)), Queued::Yes);
    assert_eq!(queue.push(touch(kept, 1)), Queued::Yes);
    queue.forget(forgotten).await;
    queue.flush().await;
    assert_eq!(store.written(), [touch(kept, 1)]);
}

#[tokio::test]
async fn forgetting_waits_out_a_touch_that_is_being_written() {
    let store = Recorder::new(false);
    let queue = Arc::new(store.queue(10));
    let (written, other) = (id(), id());
    assert_eq!(queue.push(touch(written, 1)), Queued::Yes);
    let flushed = queue.clone();
    let flush = tokio::spawn(async move { flushed.flush().await });
    until(|| queue.is_empty()).await;
    queue.forget(other).await; // not in flight: no wait
    let forgotten = queue.clone();
    let forget = tokio::spawn(async move { forgotten.forget(written).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!forget.is_finished());
    store.gate.add_permits(1);
    forget.await.unwrap();
    assert_eq!(store.written(), [touch(written, 1)]);
    flush.await.unwrap();
}
