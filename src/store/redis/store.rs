//! The store on one server: what it is made of, and what its calls have in common.

use std::sync::Arc;

use tokio::sync::Semaphore;
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
use super::tracker::{Tracker, outdate};
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
    watchdog: JoinHandle<()>,
    tracker: Option<JoinHandle<()>>,
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
        let with_cache = settings.cache.clone();
        let link = Arc::new(Link::new(settings, observer));
        if let Err(Fault::Unfit(cause)) = link.connect().await {
            return Err(Unfit(cause));
        }
        let watched = Arc::clone(&link);
        let watchdog = tokio::spawn(async move { watched.watch().await });
        let (mut cache, mut tracker) = (None, None);
        if let Some(settings) = with_cache {
            let kept = Arc::new(Cache::new(settings.entries, settings.clock.clone()));
            tracker = Some(tokio::spawn(Tracker::new(Arc::clone(&link), Arc::clone(&kept), settings).run()));
            cache = Some(kept);
        }
        let (known, walks) = (KnownTenants::default(), Arc::new(Semaphore::new(WALKS)));
        Ok(Arc::new(Self { link, known, walks, cache, watchdog, tracker }))
    }

    pub(super) fn keys(&self) -> &Keys {
        self.link.keys()
    }

    /// A tenant's index, as these connections reach it.
    pub(super) fn index<'a>(&'a self, lanes: &Lanes, tenant: &'a TenantId) -> Index<'a> {
        self.link.indexes(lanes).of(tenant)
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

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.watchdog.abort();
        if let Some(tracker) = &self.tracker {
            tracker.abort();
        }
    }
}
