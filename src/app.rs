//! The composition root: the only place that names concrete stores, opens files and sockets, and knows how it all
//! starts and stops.

mod reload;
mod tls;
mod traffic;
mod trial;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use self::tls::{ListenerTls, Watcher};
use self::traffic::Traffic;
pub use self::trial::{StoreTrial, try_store};
use crate::admin::{AdminServer, AdminServices, AdminSettings};
use crate::audit::share::{Sharing, place_of};
use crate::audit::{AuditLog, AuditOpenError, AuditQuery, AuditSettings};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, Mode, ServerConfig, StoreConfig, StoreKind};
use crate::descriptors::{self, Room, TooFew};
use crate::entropy::{EntropyError, SharedEntropy, SystemEntropy};
use crate::health::{Readiness, probe_store};
use crate::http::HeadLimits;
use crate::proxy::{ConnectionTimeouts, Current, Gateway, InForce, ListenerLimits, Services, Slots, Stage, accept};
use crate::sessions::Sessions;
use crate::socket::{Bound, Sockets};
use crate::store::audit::{Anchor, AuditAnchors, AuditStream};
use crate::store::embedded::{EmbeddedStore, OpenError, OpenErrorKind};
use crate::store::journal::{Journal, Late};
use crate::store::observe::{SharedObserver, Unobserved};
use crate::store::redis::{RedisSettings, RedisStore, Unfit};
use crate::store::touch_queue::{DEFAULT_CAPACITY, TouchQueue};
use crate::store::{SharedStore, Unavailable};
use crate::telemetry::log::LogError;
use crate::telemetry::{Log, LogSettings, Metrics, StoreTelemetry};
use crate::tls::{HTTP1, HTTP2};
use crate::told::{Origin, Teller, Told};

/// What the traffic listener speaks over TLS, the preferred first.
const TRAFFIC_PROTOCOLS: [&[u8]; 2] = [HTTP2, HTTP1];
/// How long the audit log and the log may take to write their last lines.
const LAST_LINES: Duration = Duration::from_secs(5);
/// How long the store may take to take the audit log's end.
const LAST_SHARED: Duration = Duration::from_secs(2);

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listening socket.
    #[error("cannot listen on {address}: {source}{}", bind_advice(*address, source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A supervisor passed on what cannot be used.
    #[error("the sockets that were passed on (LISTEN_FDS) cannot be used: {0}")]
    Inherited(io::Error),
    /// A supervisor passed on a socket that the configuration does not name.
    #[error(
        "a socket was passed on for {0}, which neither server.listen nor admin.listen names; name it or take it out"
    )]
    Unclaimed(SocketAddr),
    /// The embedded store.
    #[error(transparent)]
    Embedded(#[from] OpenError),
    /// The Redis server.
    #[error("the Redis server cannot be used: {0}")]
    Redis(#[from] Unfit),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] Unavailable),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditOpenError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// TLS on the listener.
    #[error("server.tls: {0}")]
    Tls(rustls::Error),
    /// TLS on the operators' listener.
    #[error("admin.tls: {0}")]
    AdminTls(rustls::Error),
    /// File descriptors.
    #[error(transparent)]
    TooFewDescriptors(#[from] TooFew),
    /// Threads or signals.
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
}

/// Runs the gateway until it is told to stop. `file` is where `config` was read, and where it is read again.
///
/// # Errors
/// When it cannot start. Once it serves, it ends well.
pub fn run(config: Config, file: PathBuf) -> Result<(), StartError> {
    // Fails only when a provider is there already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Before there are threads.
    let descriptors = descriptors::raise();
    Room::with(descriptors, &config)?;
    let clock: SharedClock = Arc::new(SystemClock);
    let metrics = Arc::new(Metrics::new());
    let settings = LogSettings { format: config.telemetry.log, level: config.telemetry.level };
    let log = Log::init(settings, clock.clone(), &metrics)?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if config.server.workers > 0 {
        runtime.worker_threads(config.server.workers);
    }
    let result = runtime.enable_all().build()?.block_on(serve(
        config,
        file,
        Machine { clock, descriptors },
        metrics,
        log.clone(),
    ));
    let _ = log.shutdown(LAST_LINES);
    result
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

/// What the machine gives.
struct Machine {
    clock: SharedClock,
    /// How many file descriptors the process may have.
    descriptors: usize,
}

async fn serve(
    config: Config,
    file: PathBuf,
    Machine { clock, descriptors }: Machine,
    metrics: Arc<Metrics>,
    log: Log,
) -> Result<(), StartError> {
    let room = Room::with(descriptors, &config)?;
    // Before anything else: a signal that nobody handles ends the process at once.
    let hang_ups = signal(SignalKind::hangup())?;
    let mut stop = StopSignals::new()?;
    let config = Arc::new(config);
    let entropy: SharedEntropy = Arc::new(SystemEntropy);
    let readiness = Arc::new(Readiness::new());
    for warning in config.warnings.iter().chain(&config.warnings_at(clock.wall())) {
        tracing::warn!("{warning}");
    }
    // Sockets first: a port in use is the most likely mistake, and nothing has been opened yet.
    let mut sockets = Sockets::from_environment(config.server.reuse_port).map_err(StartError::Inherited)?;
    let bound = bind(&mut sockets, &config.server.listen)?;
    let settings = AdminSettings { max_connections: room.admin, ..AdminSettings::at(config.admin.listen) };
    let admin = AdminServer::bind(settings, &mut sockets)
        .map_err(|source| StartError::Bind { address: config.admin.listen, source })?;
    if let Some(unclaimed) = sockets.unclaimed().first() {
        return Err(StartError::Unclaimed(*unclaimed));
    }
    let settings = AuditSettings {
        target: config.audit.file.clone(),
        key: config.secrets.key.clone(),
        entropy: entropy.clone(),
        shared: matches!(config.store.kind, StoreKind::Redis { .. }),
    };
    let audit = Arc::new(AuditLog::open(settings, clock.clone(), metrics.audit())?);
    let observer: SharedObserver = Arc::new(StoreTelemetry { metrics: metrics.clone(), readiness: readiness.clone() });
    let teller = Teller::new(audit.clone(), metrics.clone(), clock.clone());
    let serving = Serving {
        lifetime: config.session.limits.absolute.max(config.session.limits.remember),
        readiness: readiness.clone(),
        entropy: entropy.clone(),
        teller: teller.clone(),
    };
    let Opened { store, anchors, stream, .. } =
        open_store(&config.store, clock.clone(), observer.clone(), Some(serving)).await?;
    let events = AuditQuery::over(&config.audit.file, stream.clone());
    let place = place_of(&config.audit.file);
    let sharing = Sharing { anchors, stream, clock: clock.clone(), place }.start(audit.outbox());
    let touches = Arc::new(TouchQueue::start(store.clone(), observer, DEFAULT_CAPACITY));
    let exchanges = TaskTracker::new();
    let sessions = Sessions::new(store.clone(), teller.clone(), entropy.clone());
    let gateway = Arc::new(Gateway::new(Services {
        config: config.clone(),
        store: store.clone(),
        touches: touches.clone(),
        sessions: sessions.clone(),
        teller,
        metrics: metrics.clone(),
        log,
        readiness: readiness.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        tasks: exchanges.clone(),
    })?);

    let mut background = JoinSet::new();
    background.spawn({
        let streams = sessions.open().clone();
        async move { streams.cut_overdue().await }
    });
    let (stage, _) = watch::channel(Stage::Serving);
    let watcher = |name| Watcher { name, readiness: readiness.clone(), metrics: metrics.clone(), clock: clock.clone() };
    let mut tls = ListenerTls::of(config.server.tls.as_ref(), &TRAFFIC_PROTOCOLS).map_err(StartError::Tls)?;
    if let Some(tls) = &mut tls {
        tls.watch(watcher("tls"));
    }
    let mut admin_tls = ListenerTls::of(config.admin.tls.as_ref(), &[HTTP1]).map_err(StartError::AdminTls)?;
    if let Some(tls) = &mut admin_tls {
        tls.watch(watcher("admin.tls"));
    }
    let limits = Arc::new(listener_limits(&config.server, room, tls.as_ref()));
    let current = Arc::new(ArcSwap::from_pointee(InForce { gateway, limits }));
    let services = AdminServices {
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        store: store.clone(),
        sessions,
        audit: audit.clone(),
        events,
        clock: clock.clone(),
        entropy,
        traffic: Arc::new(Traffic { current: current.clone() }),
        tasks: exchanges.clone(),
    };
    let acceptor = admin_tls.as_ref().map(ListenerTls::acceptor);
    // Ends with the program, so that a draining gateway can still be asked how it is.
    background.spawn(admin.serve(services, acceptor, std::future::pending()));
    background.spawn({
        let (readiness, audit, metrics) = (readiness.clone(), audit.clone(), metrics.clone());
        let (current, clock) = (current.clone(), clock.clone());
        async move {
            let seen = |up| {
                metrics.store_state(up);
                let in_force = current.load();
                readiness.warn("identity", in_force.gateway.config().routes.migration_warning(clock.wall()));
                let warning = audit.is_failing().then(|| String::from("audit lines cannot be written; they are kept"));
                readiness.warn("audit", warning);
            };
            probe_store(store, &readiness, seen).await;
        }
    });
    background.spawn({
        let current = current.clone();
        async move {
            loop {
                let gateway = current.load().gateway.clone();
                gateway.cut_ended_streams().await;
            }
        }
    });
    let slots = Arc::new(Slots::default());
    let connections = TaskTracker::new();
    let mut accepting = JoinSet::new();
    for (address, bound) in bound {
        let listener = bound.listen().map_err(|source| StartError::Bind { address, source })?;
        accepting.spawn(accept(listener, current.clone(), slots.clone(), connections.clone(), stage.subscribe()));
    }
    let reloader = reload::Reloader {
        file,
        current: current.clone(),
        tls,
        admin_tls,
        readiness: readiness.clone(),
        audit: audit.clone(),
        metrics,
        clock,
        descriptors,
    };
    background.spawn(reloader.run(hang_ups));
    readiness.configuration_loaded();
    if let Some(warning) = room.warning(descriptors, &config) {
        tracing::warn!("{warning}");
    }
    if config.server.mode == Mode::Development {
        tracing::warn!("mode = \"development\": cookies may go over plain http; not for production");
    }
    tracing::info!(
        listen = ?config.server.listen,
        admin = %config.admin.listen,
        public_url = %config.server.public_url,
        max_connections = room.connections,
        descriptors,
        version = env!("CARGO_PKG_VERSION"),
        config = %config.digest,
        "serving"
    );

    stop.drain(&current, &readiness, &stage).await;
    let drain_timeout = current.load().gateway.config().server.drain_timeout;
    // From here on there are no new connections; what is in flight finishes.
    stage.send_replace(Stage::Closing);
    let in_flight = async {
        // The queues are emptied first: until then there may be further connections.
        while accepting.join_next().await.is_some() {}
        connections.close();
        exchanges.close();
        connections.wait().await;
        exchanges.wait().await;
    };
    if tokio::time::timeout(drain_timeout, in_flight).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were still in flight at the end of drain_timeout");
    }
    touches.flush().await;
    background.shutdown().await;
    let written = tokio::task::spawn_blocking(move || audit.shutdown(LAST_LINES)).await;
    if !matches!(written, Ok(true)) {
        tracing::error!("the audit log could not be written to its end");
    }
    sharing.finish(LAST_SHARED).await;
    tracing::info!("stopped");
    Ok(())
}

/// What to do about an address that cannot be bound.
pub(crate) fn bind_advice(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::PermissionDenied if port < 1024 => format!(
            "; ports below 1024 are kept for root: let systemd hold the socket \
             (deploy/systemd/session-gateway.socket, ListenStream={port}), or give the binary the capability: \
             setcap cap_net_bind_service=+ep"
        ),
        io::ErrorKind::AddrInUse => {
            format!("; another program has it, and `ss -ltnp 'sport = :{port}'` names it")
        }
        io::ErrorKind::AddrNotAvailable => {
            String::from("; no interface of this machine has this address, and `ip address` lists those that are there")
        }
        _ => String::new(),
    }
}

fn bind(sockets: &mut Sockets, addresses: &[SocketAddr]) -> Result<Vec<(SocketAddr, Bound)>, StartError> {
    let mut bind = |address: &SocketAddr| match sockets.bind(*address) {
        Ok(bound) => Ok((*address, bound)),
        Err(source) => Err(StartError::Bind { address: *address, source }),
    };
    addresses.iter().map(&mut bind).collect()
}

/// A store, with all that it is used for.
struct Opened {
    store: SharedStore,
    anchors: Arc<dyn AuditAnchors>,
    /// When several gateways share it.
    stream: Option<Arc<dyn AuditStream>>,
    /// Where it is a server.
    redis: Option<Arc<RedisStore>>,
}

/// What a store needs that is more than looked at: a journal, a cache.
struct Serving {
    /// How long the longest session lives.
    lifetime: Duration,
    readiness: Arc<Readiness>,
    entropy: SharedEntropy,
    teller: Teller,
}

impl Serving {
    fn warn(&self, about: &'static str) -> impl Fn(Option<String>) + Send + Sync + use<> {
        let readiness = self.readiness.clone();
        move |warning| readiness.warn(about, warning)
    }
}

/// Opens the store; with its journal and cache unless it is only looked at.
async fn open_store(
    config: &StoreConfig,
    clock: SharedClock,
    observer: SharedObserver,
    serving: Option<Serving>,
) -> Result<Opened, StartError> {
    Ok(match &config.kind {
        StoreKind::Embedded { path } => {
            let store = EmbeddedStore::open(path, clock, observer)?;
            Opened { store: store.clone(), anchors: store, stream: None, redis: None }
        }
        StoreKind::Redis { address, journal, cache_entries } => {
            let mut settings = RedisSettings::new(address.clone(), &config.prefix);
            if let (Some(entries), Some(serving)) = (cache_entries, &serving) {
                let warn = Arc::new(serving.warn("cache"));
                settings = settings.with_cache(*entries, clock.clone(), &*serving.entropy, warn)?;
            }
            if let (Some(path), Some(serving)) = (journal, &serving) {
                let (warn, tell) = (Box::new(serving.warn("journal")), Box::new(tell_late(serving.teller.clone())));
                match Journal::open(path, clock, serving.lifetime, warn, tell) {
                    Ok(journal) => settings = settings.with_journal(journal),
                    // A process that hands over to this one still writes it. To wait for it would lose requests.
                    Err(error) if matches!(error.kind, OpenErrorKind::InUse) => {
                        tracing::warn!(%error, "this process keeps no journal: start it again to have one");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let store = RedisStore::connect(settings, observer).await?;
            Opened { store: store.clone(), anchors: store.clone(), stream: Some(store.clone()), redis: Some(store) }
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

fn listener_limits(server: &ServerConfig, room: Room, tls: Option<&ListenerTls>) -> ListenerLimits {
    ListenerLimits {
        connections: room.connections,
        exchanges: room.exchanges,
        detached: room.connections.div_ceil(2),
        connections_per_address: server.max_connections_per_address,
        trusted_proxies: server.trusted_proxies.clone(),
        proxy_protocol: server.proxy_protocol,
        tls: tls.map(ListenerTls::acceptor),
        head: HeadLimits { bytes: server.max_header, count: server.max_headers },
        timeouts: ConnectionTimeouts {
            header: server.header_timeout,
            keepalive: server.client_keepalive,
            write: server.write_timeout,
        },
    }
}

/// The signals that end the program.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for a signal, and after SIGTERM for as long as load balancers need to notice that this instance is no
    /// longer ready. Ctrl-C does not wait: a person did it. A second signal ends the wait.
    async fn drain(&mut self, current: &Current, readiness: &Readiness, stage: &watch::Sender<Stage>) {
        let terminated = tokio::select! {
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => false,
        };
        readiness.begin_draining();
        stage.send_replace(Stage::Leaving);
        let in_force = current.load_full();
        let server = &in_force.gateway.config().server;
        tracing::info!(delay = ?server.drain_delay, timeout = ?server.drain_timeout, "draining");
        if terminated {
            tokio::select! {
                () = tokio::time::sleep(server.drain_delay) => {}
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
        }
    }
}
