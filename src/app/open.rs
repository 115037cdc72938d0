//! Opens what the gateway works on: sockets, the audit log, the store with its journal and its cache.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};

use super::error::StartError;
use crate::admin::{AdminServer, AdminSettings};
use crate::audit::{AuditLog, AuditSettings};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, ServerConfig, StoreConfig, StoreKind};
use crate::descriptors::Room;
use crate::entropy::{EntropyError, SharedEntropy};
use crate::health::Readiness;
use crate::monitor::{ContactKeys, MonitorKeys};
use crate::proxy::Entrance;
use crate::socket::{Bound, Sockets};
use crate::store::Claim;
use crate::store::SharedStore;
use crate::store::Unavailable;
use crate::store::activities::ActivityStore;
use crate::store::acts::{ActStore, CallExchange};
use crate::store::alerts::AlertOutbox;
use crate::store::audit::{Anchor, AuditAnchors, AuditStream};
use crate::store::contacts::ContactStore;
use crate::store::embedded::{EmbeddedStore, OpenErrorKind};
use crate::store::journal::{Journal, Late};
use crate::store::maintenance::MaintenanceStore;
use crate::store::membership::MembershipStore;
use crate::store::monitor::{FindingStore, LoginGuard};
use crate::store::observe::{SharedObserver, Unobserved};
use crate::store::places::PlaceStore;
use crate::store::redis::{RedisSettings, RedisStore};
use crate::store::reports::ReportStore;
use crate::telemetry::Metrics;
use crate::told::{Origin, Teller, Told};

/// The sockets of the listeners; nobody is served by them yet.
pub(super) struct Listening {
    pub(super) traffic: Vec<(Entrance, SocketAddr, Bound)>,
    pub(super) admin: AdminServer,
}

/// Binds them, or takes those that a supervisor passed on.
pub(super) fn bind_all(config: &Config, room: Room) -> Result<Listening, StartError> {
    let mut sockets = Sockets::from_environment(config.server.reuse_port).map_err(StartError::Inherited)?;
    let traffic = bind(&mut sockets, &config.server)?;
    let settings = AdminSettings { max_connections: room.admin, ..AdminSettings::at(config.admin.listen) };
    let admin = AdminServer::bind(settings, &mut sockets)
        .map_err(|source| StartError::Bind { address: config.admin.listen, source })?;
    match sockets.unclaimed().first() {
        Some(unclaimed) => Err(StartError::Unclaimed(*unclaimed)),
        None => Ok(Listening { traffic, admin }),
    }
}

fn bind(sockets: &mut Sockets, server: &ServerConfig) -> Result<Vec<(Entrance, SocketAddr, Bound)>, StartError> {
    let traffic = server.listen.iter().map(|address| (Entrance::Traffic, *address));
    let redirect = server.redirect_http.map(|address| (Entrance::Redirect, address));
    let bind = |(entrance, address)| match sockets.bind(address) {
        Ok(bound) => Ok((entrance, address, bound)),
        Err(source) => Err(StartError::Bind { address, source }),
    };
    traffic.chain(redirect).map(bind).collect()
}

/// What accounts and devices are called by. Without a configured key, which production asks for where it monitors, for this
/// run alone.
pub(super) fn monitor_keys(config: &Config, entropy: &SharedEntropy) -> Result<MonitorKeys, EntropyError> {
    match &config.secrets.key {
        Some(key) => Ok(MonitorKeys::new(key)),
        None => MonitorKeys::ephemeral(&**entropy),
    }
}

/// What users who are written to are called by, and sealed with; likewise.
pub(super) fn contact_keys(config: &Config, entropy: &SharedEntropy) -> Result<ContactKeys, EntropyError> {
    match &config.secrets.key {
        Some(key) => Ok(ContactKeys::new(key)),
        None => ContactKeys::ephemeral(&**entropy),
    }
}

/// Opens the audit log.
pub(super) fn open_audit(
    config: &Config,
    clock: SharedClock,
    entropy: SharedEntropy,
    metrics: &Metrics,
) -> Result<Arc<AuditLog>, StartError> {
    let settings = AuditSettings {
        target: config.audit.file.clone(),
        key: config.secrets.key.clone(),
        entropy,
        shared: matches!(config.store.kind, StoreKind::Redis { .. }),
    };
    Ok(Arc::new(AuditLog::open(settings, clock, metrics.audit())?))
}

/// A store, with all that it is used for.
pub(super) struct Opened {
    pub(super) store: SharedStore,
    pub(super) maintenance: Arc<dyn MaintenanceStore>,
    pub(super) memberships: Arc<dyn MembershipStore>,
    pub(super) guard: Arc<dyn LoginGuard>,
    pub(super) findings: Arc<dyn FindingStore>,
    pub(super) counts: Arc<dyn ReportStore>,
    /// Keeps what front ends report.
    pub(super) activities: Arc<dyn ActivityStore>,
    pub(super) calls: Arc<dyn CallExchange>,
    pub(super) acts: Arc<dyn ActStore>,
    pub(super) places: Arc<dyn PlaceStore>,
    pub(super) outbox: Arc<dyn AlertOutbox>,
    pub(super) contacts: Arc<dyn ContactStore>,
    pub(super) anchors: Arc<dyn AuditAnchors>,
    /// When several gateways share it.
    pub(super) stream: Option<Arc<dyn AuditStream>>,
    /// Where it is a server.
    pub(super) redis: Option<Arc<RedisStore>>,
}

/// What a store needs that is more than looked at: a journal, a cache.
pub(super) struct Serving {
    /// Which app the sessions are of, and how long the longest of them lives.
    pub(super) claim: Claim,
    pub(super) readiness: Arc<Readiness>,
    pub(super) entropy: SharedEntropy,
    pub(super) teller: Teller,
}

impl Serving {
    fn warn(&self, about: &'static str) -> impl Fn(Option<String>) + Send + Sync + use<> {
        let readiness = self.readiness.clone();
        move |warning| readiness.warn(about, warning)
    }
}

/// Opens the store; with its journal and cache unless it is only looked at.
pub(super) async fn open_store(
    config: &StoreConfig,
    clock: SharedClock,
    observer: SharedObserver,
    serving: Option<Serving>,
) -> Result<Opened, StartError> {
    Ok(match &config.kind {
        StoreKind::Embedded { path } => {
            let store = EmbeddedStore::open(path, clock, observer)?;
            if let Some(serving) = &serving {
                store.claim(path, &serving.claim)?;
            }
            Opened {
                store: store.clone(),
                maintenance: store.clone(),
                memberships: store.clone(),
                guard: store.clone(),
                findings: store.clone(),
                counts: store.clone(),
                activities: store.clone(),
                calls: store.clone(),
                acts: store.clone(),
                places: store.clone(),
                outbox: store.clone(),
                contacts: store.clone(),
                anchors: store,
                stream: None,
                redis: None,
            }
        }
        StoreKind::Redis { address, journal, cache_entries } => {
            let mut settings = RedisSettings::new(address.clone(), &config.prefix);
            if let (Some(entries), Some(serving)) = (cache_entries, &serving) {
                let warn = Arc::new(serving.warn("cache"));
                settings = settings.with_cache(*entries, clock.clone(), &*serving.entropy, warn)?;
            }
            if let (Some(path), Some(serving)) = (journal, &serving) {
                let (warn, tell) = (Box::new(serving.warn("journal")), Box::new(tell_late(serving.teller.clone())));
                match Journal::open(path, clock, serving.claim.lifetime, warn, tell) {
                    Ok(journal) => settings = settings.with_journal(journal),
                    // A process that hands over to this one still writes it. To wait for it would lose requests.
                    Err(error) if matches!(error.kind, OpenErrorKind::InUse) => {
                        tracing::warn!(%error, "this process keeps no journal: start it again to have one");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if let Some(serving) = &serving {
                settings = settings.with_claim(serving.claim.clone());
            }
            let store = RedisStore::connect(settings, observer).await?;
            Opened {
                store: store.clone(),
                maintenance: store.clone(),
                memberships: store.clone(),
                guard: store.clone(),
                findings: store.clone(),
                counts: store.clone(),
                activities: store.clone(),
                calls: store.clone(),
                acts: store.clone(),
                places: store.clone(),
                outbox: store.clone(),
                contacts: store.clone(),
                anchors: store.clone(),
                stream: Some(store.clone()),
                redis: Some(store),
            }
        }
    })
}

/// Tells of what came late; answers whether it is on disk.
fn tell_late(teller: Teller) -> impl Fn(Late) -> BoxFuture<'static, bool> + Send + Sync {
    move |late| {
        let teller = teller.clone();
        async move { teller.tell_durably(&Origin::from(&late), &Told::CameLate(late)).await }.boxed()
    }
}

/// What the store of a configuration knows of the audit chains, for `audit verify`. An embedded store is not made.
///
/// # Errors
/// Why it cannot be asked.
pub fn read_anchors(config: &StoreConfig) -> Result<Vec<Anchor>, StartError> {
    if let StoreKind::Embedded { path } = &config.kind
        && !path.exists()
    {
        return Err(Unavailable::because(format!("there is no {}", path.display())).into());
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let Opened { anchors, .. } = open_store(config, Arc::new(SystemClock), Arc::new(Unobserved), None).await?;
        Ok(anchors.anchors().await?)
    })
}
