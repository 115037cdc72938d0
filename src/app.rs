//! The composition root: the only place that names concrete stores, opens files and sockets, and knows how it all
//! starts and stops.

mod background;
mod collector;
mod error;
mod limits;
mod open;
mod reload;
mod stop;
mod supervisor;
mod tls;
mod traffic;
mod trial;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

pub use self::error::StartError;
pub(crate) use self::error::bind_advice;
use self::limits::{TRAFFIC_PROTOCOLS, listener_limits};
pub use self::open::read_anchors;
use self::open::{Opened, Serving, bind_all, contact_keys, monitor_keys, open_audit, open_store};
use self::reload::Reloader;
use self::stop::{InFlight, LAST_LINES, LastWords, StopSignals};
use self::tls::{ListenerTls, Watcher};
use self::traffic::Traffic;
pub use self::trial::{StoreTrial, try_store};
use crate::admin::AdminServices;
use crate::alerts::{AlertServices, Alerts};
use crate::audit::AuditQuery;
use crate::audit::share::{Sharing, place_of};
use crate::clock::{SharedClock, SystemClock};
use crate::commons::Commons;
use crate::config::{Config, Mode};
use crate::descriptors::{self, Room};
use crate::entropy::{SharedEntropy, SystemEntropy};
use crate::health::Readiness;
use crate::maintenance::MaintenanceMode;
use crate::proxy::{Gateway, InForce, Services, Slots, Stage, accept};
use crate::reports::Reports;
use crate::sessions::Sessions;
use crate::store::Claim;
use crate::store::observe::SharedObserver;
use crate::store::touch_queue::{DEFAULT_CAPACITY, TouchQueue};
use crate::telemetry::{Log, LogSettings, Metrics, StoreTelemetry};
use crate::tls::HTTP1;
use crate::told::Teller;
use crate::watch::{Watch, WatchServices};

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
    for warning in config.warnings.iter().chain(&config.warnings_at(clock.wall())) {
        tracing::warn!("{warning}");
    }
    // Sockets first: a port in use is the most likely mistake, and nothing has been opened yet.
    let listening = bind_all(&config, room)?;
    let entropy: SharedEntropy = Arc::new(SystemEntropy);
    let readiness = Arc::new(Readiness::new());
    let audit = open_audit(&config, clock.clone(), entropy.clone(), &metrics)?;
    let observer: SharedObserver = Arc::new(StoreTelemetry { metrics: metrics.clone(), readiness: readiness.clone() });
    let teller = Teller::new(audit.clone(), metrics.clone(), clock.clone());
    let lifetime = reload::longest_lifetime(&config);
    let serving = Serving {
        claim: Claim { app: config.server.public_url.to_string(), shared: config.store.shared_prefix, lifetime },
        readiness: readiness.clone(),
        entropy: entropy.clone(),
        teller: teller.clone(),
    };
    let opened = open_store(&config.store, clock.clone(), observer.clone(), Some(serving)).await?;
    let Opened { store, maintenance, memberships, guard, findings, counts, calls, acts, places, .. } = opened;
    let Opened { activities, outbox, contacts, anchors, stream, .. } = opened;
    let maintenance = Arc::new(MaintenanceMode::kept_by(maintenance));
    let events = AuditQuery::over(&config.audit.file, stream.clone());
    let place = place_of(&config.audit.file);
    let sharing = Sharing { anchors, stream, clock: clock.clone(), place }.start(audit.outbox());
    let touches = Arc::new(TouchQueue::start(store.clone(), observer, DEFAULT_CAPACITY));
    let reports = Arc::new(Reports::new(counts, metrics.clone()));
    teller.tell_to(reports.clone());
    let sessions = Sessions::new(store.clone(), teller.clone(), entropy.clone());
    let tasks = TaskTracker::new();
    let alerts = AlertServices {
        outbox,
        findings: findings.clone(),
        metrics: metrics.clone(),
        readiness: readiness.clone(),
        tasks: tasks.clone(),
        contacts,
        contact_keys: contact_keys(&config, &entropy)?,
        clock: clock.clone(),
        entropy: entropy.clone(),
    };
    let watch = Watch::new(WatchServices {
        guard,
        findings,
        geo: Arc::default(),
        places,
        store: store.clone(),
        calls,
        reports: reports.clone(),
        alerts: Alerts::new(alerts, config.alerts.clone()),
        acts,
        activities,
        keys: monitor_keys(&config, &entropy)?,
        sessions: sessions.clone(),
        teller: teller.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
        tasks: tasks.clone(),
    })?;
    watch.listen();
    let commons =
        Commons { store, sessions, maintenance, memberships, watch, metrics, readiness, clock, entropy, tasks };

    let mut tls = ListenerTls::of(config.server.tls.as_ref(), &TRAFFIC_PROTOCOLS).map_err(StartError::Tls)?;
    if let Some(tls) = &mut tls {
        tls.watch(Watcher::of("tls", &commons));
    }
    let mut admin_tls = ListenerTls::of(config.admin.tls.as_ref(), &[HTTP1]).map_err(StartError::AdminTls)?;
    if let Some(tls) = &mut admin_tls {
        tls.watch(Watcher::of("admin.tls", &commons));
    }
    let traces = config.telemetry.traces.as_ref().map(|traces| collector::traces(traces, &commons)).transpose()?;
    let traces = traces.map(Arc::new);
    let services = Services {
        config: config.clone(),
        commons: commons.clone(),
        touches: touches.clone(),
        teller,
        log,
        traces: traces.clone(),
    };
    let gateway = Arc::new(Gateway::new(services)?);
    let limits = Arc::new(listener_limits(&config.server, room, tls.as_ref()));
    let current = Arc::new(ArcSwap::from_pointee(InForce { gateway, limits }));

    let mut background = JoinSet::new();
    background::begin(&mut background, &commons, &current, &audit);
    let traffic = Arc::new(Traffic { current: current.clone() });
    let services = AdminServices { commons: commons.clone(), audit: audit.clone(), events, traffic };
    let acceptor = admin_tls.as_ref().map(ListenerTls::acceptor);
    // Ends with the program, so that a draining gateway can still be asked how it is.
    background.spawn(listening.admin.serve(services, acceptor, std::future::pending()));
    let (stage, _) = watch::channel(Stage::Serving);
    let (slots, connections, mut accepting) = (Arc::new(Slots::default()), TaskTracker::new(), JoinSet::new());
    for (entrance, address, bound) in listening.traffic {
        let listener = bound.listen().map_err(|source| StartError::Bind { address, source })?;
        accepting.spawn(accept(
            listener,
            entrance,
            current.clone(),
            slots.clone(),
            connections.clone(),
            stage.subscribe(),
        ));
    }
    let reloader = Reloader {
        lifetime,
        file,
        current: current.clone(),
        tls,
        admin_tls,
        audit: audit.clone(),
        commons: commons.clone(),
        descriptors,
    };
    background.spawn(reloader.run(hang_ups));
    commons.readiness.configuration_loaded();
    tell_of_the_start(&config, room, descriptors);
    background.spawn(supervisor::say_that_it_lives());
    supervisor::ready();

    stop.drain(&current, &commons.readiness, &stage).await;
    let drain_timeout = current.load().gateway.config().server.drain_timeout;
    // From here on there are no new connections; what is in flight finishes.
    stage.send_replace(Stage::Closing);
    InFlight { accepting, connections, exchanges: commons.tasks }.finish(drain_timeout).await;
    LastWords { touches, watch: commons.watch, background, traces, audit, sharing }.write().await;
    tracing::info!("stopped");
    Ok(())
}

fn tell_of_the_start(config: &Config, room: Room, descriptors: usize) {
    if let Some(warning) = room.warning(descriptors, config) {
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
}
