//! The store on one server: what it is made of, and what its calls have in common.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use super::super::cache::Cache;
use super::super::journal::Entry;
use super::super::observe::SharedObserver;
use super::super::{Creation, StoreResult};
use super::connection::Link;
use super::fault::Fault;
use super::index::Index;
use super::kept::Kept;
use super::keys::Keys;
use super::known::KnownTenants;
use super::lane::Lanes;
use super::settings::RedisSettings;
use super::tracked_server::TrackedServer;
use super::tracker::{Tracker, outdate};
use crate::clock::Monotonic;
use crate::session::{By, End, Principal, SessionId, SessionRecord, TenantId};

/// Walks after revocations that run at once; more wait their turn.
const WALKS: usize = 8;

/// The server must not be used: it is too old, or evicts what ends sessions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(String);

/// The store on one Redis or Valkey server.
pub struct RedisStore {
    pub(super) link: Arc<Link>,
    pub(super) known: KnownTenants,
    pub(super) walks: Arc<Semaphore>,
    pub(super) cache: Option<Arc<Cache>>,
    /// Rung when another gateway has told something of calls, as far as that is heard.
    pub(super) bell: Arc<Notify>,
    /// Whether something is remembered of sessions that are ended many at once.
    pub(super) remembers_ends: AtomicBool,
    /// What goes on for as long as the store lives.
    _tasks: Tasks,
}

/// Tasks that end with the store.
#[derive(Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    fn begin(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(tokio::spawn(task));
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl RedisStore {
    /// What an operator should know of the server, as it was when the connection was made.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.link.warnings()
    }

    /// Connects, and keeps connecting for as long as the store lives. A server that cannot be reached now is no error:
    /// the store is unavailable until it can.
    ///
    /// # Errors
    /// When the server was reached and must not be used. Should that turn out later, the store stays unavailable with
    /// that cause.
    pub async fn connect(settings: RedisSettings, observer: SharedObserver) -> Result<Arc<Self>, Unfit> {
        let link = Arc::new(Link::new(settings, observer));
        let mut tasks = Tasks::default();
        if let Some(fence) = link.fence() {
            tasks.begin(Arc::clone(&fence.electors).run());
        }
        if let Some(opening) = link.opening() {
            tasks.begin(Arc::clone(opening.masters.chart()).run());
            tasks.begin(Arc::new(opening).run());
        }
        if let Err(Fault::Unfit(cause)) = link.connect().await {
            return Err(Unfit(cause));
        }
        let watched = Arc::clone(&link);
        tasks.begin(async move { watched.watch().await });
        if link.fence().is_some() {
            let proving = Arc::clone(&link);
            tasks.begin(async move { proving.prove().await });
        }
        let (cache, bell) = match link.hearing() {
            Some(hearing) => (Some(Arc::clone(&hearing.cache)), Arc::clone(&hearing.bell)),
            None => (None, Arc::default()),
        };
        // Each of several masters is followed by whoever opens it.
        if let Some(hearing) = link.hearing().filter(|_| link.masters().is_none()) {
            let tracked = TrackedServer::new(Arc::clone(&link), &hearing.settings.instance);
            let tracker = Tracker::new(tracked, hearing.clone());
            tasks.begin(async move { match tracker.run().await {} });
        }
        let (known, walks) = (KnownTenants::default(), Arc::new(Semaphore::new(WALKS)));
        Ok(Arc::new(Self { link, known, walks, cache, bell, remembers_ends: AtomicBool::new(false), _tasks: tasks }))
    }

    pub(super) fn keys(&self) -> &Keys {
        self.link.keys()
    }

    /// A tenant's index, as these connections reach it.
    pub(super) fn index<'a>(&'a self, lanes: &Lanes, tenant: &'a TenantId) -> Index<'a> {
        self.link.indexes(lanes).of(tenant)
    }

    /// Whether what was ended until now, and not asked for before `since`, is where it outlives the server that took it.
    pub(super) async fn outlives_the_master(&self, since: Monotonic) -> bool {
        let outlives = match self.link.masters() {
            Some(masters) => masters.outlive(since).await,
            None => self.outlives_the_one(since).await,
        };
        if !outlives {
            self.link.observer().unreplicated();
        }
        outlives
    }

    async fn outlives_the_one(&self, since: Monotonic) -> bool {
        let Some(fence) = self.link.fence() else { return true };
        // What another server took, it may have taken to its end.
        let taker = || self.link.lanes().filter(|lanes| lanes.since <= since).map(|lanes| lanes.epoch);
        let before = taker();
        fence.has_all().await && before.is_some() && before == taker()
    }

    /// This instance changed a session: it does not wait for the news of it.
    pub(super) fn forget(&self, id: SessionId) {
        if let Some(cache) = &self.cache {
            cache.forget(id);
        }
    }

    pub(super) fn forget_displaced(&self, creation: &StoreResult<Creation>) {
        if let Ok(Creation::Stored { displaced, .. }) = creation {
            displaced.iter().for_each(|(id, _)| self.forget(*id));
        }
    }

    /// This instance changed the standing of a user or tenant.
    pub(super) fn outdate(&self, standing: &str) {
        if let Some(cache) = &self.cache {
            outdate(cache, self.keys(), standing.as_bytes());
        }
    }

    /// Has the journal keep that a session ends, or its token alone.
    pub(super) async fn keep_end(&self, id: SessionId, record: &SessionRecord, end: End, by: &By) -> Kept<'_> {
        let Principal { tenant, user, .. } = &*record.principal;
        let reason = end.reason;
        let entry = Entry::Session {
            // All tokens of a session end under the first of them.
            id: if end.is_of_the_line() { record.decided_by(id) } else { id }.to_string(),
            reason: end.encode(),
            deadline: record.deadline.as_micros(),
            applied: false,
            owner: Some((tenant.kept().to_owned(), user.kept().to_owned())),
        };
        Kept::write(self.link.journal(), entry, reason, by).await
    }
}
