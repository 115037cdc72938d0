//! SIGHUP: the configuration is read again, and takes over as a whole or not at all.
//!
//! A request that has begun ends under the configuration it began with; the next one, on whatever connection, gets the
//! new one, and the next connection its certificates. What cannot change while the process runs (sockets, store, files) refuses the whole reload: half a
//! configuration in force would be one that nobody wrote.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;

use super::limits::{TRAFFIC_PROTOCOLS, listener_limits};
use super::supervisor;
use super::tls::{ListenerTls, Watcher, seconds};
use crate::audit::{Actor, AuditEvent, AuditLog, AuditType, Details, Outcome};
use crate::commons::Commons;
use crate::config::{
    AdminConfig, AuditConfig, Config, ConfigDigest, SecretsConfig, ServerConfig, StoreConfig, TelemetryConfig,
    process_environment,
};
use crate::descriptors::Room;
use crate::proxy::{Current, InForce};
use crate::tls::CertificateFiles;

/// Reads the configuration again when it is told to.
pub(super) struct Reloader {
    /// The file.
    pub(super) file: PathBuf,
    /// What is in force.
    pub(super) current: Current,
    /// The certificates that go with it.
    pub(super) tls: Option<ListenerTls>,
    /// Those of the operators' listener.
    pub(super) admin_tls: Option<ListenerTls>,
    pub(super) audit: Arc<AuditLog>,
    pub(super) commons: Commons,
    /// How many file descriptors the process may have.
    pub(super) descriptors: usize,
    /// For how long at least the journal keeps what it keeps, and the store who is there: as long as any session could live
    /// when they were opened.
    pub(super) lifetime: Duration,
}

/// Why everything stayed as it was.
struct Refused {
    reason: &'static str,
    details: Details,
}

impl Reloader {
    /// Reloads at each signal, one after the other, for ever.
    pub(super) async fn run(mut self, mut hang_ups: Signal) {
        while hang_ups.recv().await.is_some() {
            supervisor::reloading();
            let outcome = self.reload().await;
            self.commons.metrics.config_reload(outcome.is_ok());
            let event = |outcome| {
                AuditEvent::new(self.commons.clock.wall(), AuditType::ConfigReloaded, outcome, Actor::Gateway)
            };
            self.audit.record(match outcome {
                Ok(digest) => {
                    event(Outcome::Success).with_details(Details::none().text("config", digest.to_string().as_str()))
                }
                Err(Refused { reason, details }) => event(Outcome::Failure).because(reason).with_details(details),
            });
            // Under whichever configuration.
            supervisor::ready();
        }
    }

    async fn reload(&mut self) -> Result<ConfigDigest, Refused> {
        let file = self.file.clone();
        // It reads files.
        let read = tokio::task::spawn_blocking(move || Config::load(&file, &process_environment)).await;
        let config = match read {
            Ok(Ok(config)) => config,
            Ok(Err(errors)) => {
                for error in errors.all() {
                    tracing::error!("the configuration was not reloaded: {error}");
                }
                let details = Details::none().count("errors", errors.all().len() as u64);
                return Err(Refused { reason: "bad_configuration", details });
            }
            Err(error) => return Err(internal(&error)),
        };
        let before = self.current.load_full();
        let mut fixed = fixed_keys(before.gateway.config(), &config);
        fixed.extend(outliving(&config, self.lifetime));
        if !fixed.is_empty() {
            let keys = fixed.join(", ");
            tracing::error!(keys, "the configuration was not reloaded: these keys need a restart; nothing was changed");
            return Err(Refused { reason: "needs_restart", details: Details::none().text("keys", keys.as_str()) });
        }
        let room = match Room::with(self.descriptors, &config) {
            Ok(room) => room,
            Err(too_few) => {
                tracing::error!("the configuration was not reloaded: {too_few}");
                return Err(Refused { reason: "bad_configuration", details: Details::none().count("errors", 1) });
            }
        };
        for warning in config.warnings.iter().chain(&config.warnings_at(self.commons.clock.wall())) {
            tracing::warn!("{warning}");
        }
        let digest = config.digest;
        let config = Arc::new(config);
        let now = seconds(&self.commons.clock);
        let tls = config.server.tls.as_ref();
        let same = self.tls.as_ref().filter(|before| before.is_for(tls));
        let other = match (same, tls.and_then(|tls| tls.certificates.worse_than(None, now))) {
            (Some(_), _) => None,
            (None, Some(why)) => {
                tracing::error!(why, "the configuration was not reloaded: its certificates cannot be used");
                return Err(Refused { reason: "bad_certificate", details: Details::none() });
            }
            (None, None) => ListenerTls::of(tls, &TRAFFIC_PROTOCOLS).map_err(|error| internal(&error))?,
        };
        let limits = Arc::new(listener_limits(&config.server, room, same.or(other.as_ref())));
        let gateway = before.gateway.reconfigured(config.clone()).map_err(|error| internal(&error))?;
        self.commons.watch.alerts().take_over(config.alerts.clone());
        self.current.store(Arc::new(InForce { gateway: Arc::new(gateway), limits }));
        match (same, tls) {
            (Some(same), Some(tls)) => same.take_over(tls, now),
            _ => self.watch_other(other),
        }
        if let (Some(admin), Some(tls)) = (&self.admin_tls, &config.admin.tls) {
            admin.take_over(tls, now);
        }
        tracing::info!(file = %self.file.display(), config = %digest, "the configuration was reloaded");
        Ok(digest)
    }

    /// Other certificates are in force: those before are watched no longer, nor warned of.
    fn watch_other(&mut self, other: Option<ListenerTls>) {
        self.tls = other;
        self.commons.readiness.warn("tls", None);
        self.commons.metrics.certificates("tls", Vec::new());
        if let Some(tls) = &mut self.tls {
            tls.watch(Watcher::of("tls", &self.commons));
        }
    }
}

fn internal(error: &dyn std::error::Error) -> Refused {
    tracing::error!(%error, "the configuration was not reloaded");
    Refused { reason: "internal", details: Details::none() }
}

/// What of a configuration only a restart can change.
struct Fixed<'a> {
    listen: &'a [SocketAddr],
    redirect_http: Option<SocketAddr>,
    reuse_port: bool,
    workers: usize,
    store: &'a StoreConfig,
    admin_listen: SocketAddr,
    /// The certificates of the operators' listener: others need a restart, the same ones renewed do not.
    admin_certificates: Option<&'a [CertificateFiles]>,
    audit: &'a AuditConfig,
    secrets: &'a SecretsConfig,
    telemetry: &'a TelemetryConfig,
}

impl<'a> Fixed<'a> {
    /// Every part is named: whoever adds one decides here whether a reload can change it.
    fn of(config: &'a Config) -> Self {
        let Config {
            server,
            upstreams: _,
            store,
            session: _,
            cookie: _,
            identity: _,
            login: _,
            logout: _,
            routes: _,
            events: _,
            tenants: _,
            cors: _,
            errors: _,
            bearer: _,
            monitor: _,
            watched: _,
            front: _,
            alerts: _,
            admin,
            audit,
            telemetry,
            secrets,
            digest: _,
            warnings: _,
        } = config;
        let ServerConfig {
            mode: _,
            listen,
            public_url: _,
            hosts: _,
            trusted_origins: _,
            trusted_proxies: _,
            proxy_protocol: _,
            tls: _,
            redirect_http,
            hsts: _,
            allow_headers: _,
            further_methods: _,
            max_body: _,
            max_header: _,
            max_headers: _,
            header_timeout: _,
            body_timeout: _,
            write_timeout: _,
            client_keepalive: _,
            tunnel_idle: _,
            drain_delay: _,
            drain_timeout: _,
            reuse_port,
            workers,
            max_connections: _,
            max_connections_per_address: _,
        } = server;
        let AdminConfig { listen: admin_listen, hosts: _, tls, tokens: _ } = admin;
        Self {
            listen,
            redirect_http: *redirect_http,
            reuse_port: *reuse_port,
            workers: *workers,
            store,
            admin_listen: *admin_listen,
            admin_certificates: tls.as_ref().map(|tls| tls.files.as_slice()),
            audit,
            secrets,
            telemetry,
        }
    }
}

/// The keys that differ and that only a restart can change.
fn fixed_keys(old: &Config, new: &Config) -> Vec<&'static str> {
    let (old, new) = (Fixed::of(old), Fixed::of(new));
    let differ = [
        ("server.listen", old.listen != new.listen),
        ("server.redirect_http", old.redirect_http != new.redirect_http),
        ("server.reuse_port", old.reuse_port != new.reuse_port),
        ("server.workers", old.workers != new.workers),
        ("store", old.store != new.store),
        ("admin.listen", old.admin_listen != new.admin_listen),
        ("admin.tls", old.admin_certificates != new.admin_certificates),
        ("audit.file", old.audit != new.audit),
        ("secrets", old.secrets != new.secrets),
        ("telemetry", old.telemetry != new.telemetry),
    ];
    differ.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

/// How long whatever a revocation ends could have lived.
pub(super) fn longest_lifetime(config: &Config) -> Duration {
    lifetimes(config).into_iter().map(|(_, lifetime)| lifetime).max().unwrap_or_default()
}

fn lifetimes(config: &Config) -> [(&'static str, Duration); 3] {
    let limits = &config.session.limits;
    let of_tokens = config.bearer.as_ref().map_or(Duration::ZERO, |bearer| bearer.rules.longest());
    [("session.absolute", limits.absolute), ("session.remember", limits.remember), ("bearer", of_tokens)]
}

/// The keys by which a session would live longer than what is kept of revocations.
fn outliving(config: &Config, lifetime: Duration) -> impl Iterator<Item = &'static str> {
    lifetimes(config).into_iter().filter_map(move |(key, of_key)| (of_key > lifetime).then_some(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "server.public_url = \"https://a.test\"\nupstream.url = \"http://127.0.0.1:1\"\n";

    fn config(store: &str, added: &str) -> Config {
        let text = format!("{BASE}store.embedded = \"{store}\"\n{added}\n");
        Config::parse("t.toml", &text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn what_cannot_change_while_running_is_named_and_the_rest_is_free() {
        let old = config("s", "");
        for (store, added, expected) in [
            ("s", "", &[][..]),
            ("s", "session.idle = \"1m\"\nserver.max_body = \"1MiB\"\nidentity.mode = \"observe\"", &[]),
            ("s", "upstreams.other.url = \"http://b\"\ncookie.name = \"__Host-x\"\nserver.drain_delay = \"1s\"", &[]),
            ("t", "", &["store"]),
            ("s", "store.prefix = \"x:\"", &["store"]),
            ("s", "server.listen = \"127.0.0.1:1\"", &["server.listen"]),
            ("s", "server.redirect_http = \"127.0.0.1:1\"", &["server.redirect_http"]),
            ("s", "server.workers = 3\nserver.reuse_port = true", &["server.reuse_port", "server.workers"]),
            ("s", "admin.listen = \"127.0.0.1:1\"\naudit.file = \"-\"", &["admin.listen", "audit.file"]),
            ("s", "admin.token = \"d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE\"", &[]),
            ("s", "secrets.key = \"d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE\"", &["secrets"]),
            ("s", "telemetry.level = \"debug\"", &["telemetry"]),
            ("s", "monitor.mode = \"off\"\nlogin.account = \"/name\"", &[]),
        ] {
            assert_eq!(fixed_keys(&old, &config(store, added)), expected, "{added}");
        }
    }

    #[test]
    fn no_session_comes_to_live_longer_than_revocations_are_kept() {
        let at_the_start = longest_lifetime(&config("s", "session.absolute = \"8h\"\nsession.remember = \"1d\""));
        for (added, expected) in [
            ("session.absolute = \"24h\"\nsession.remember = \"24h\"", &[][..]),
            ("session.absolute = \"25h\"\nsession.remember = \"25h\"", &["session.absolute", "session.remember"]),
            ("session.remember = \"30d\"", &["session.remember"]),
            ("session.absolute = \"1h\"\nsession.remember = \"2h\"", &[]),
        ] {
            let found: Vec<_> = outliving(&config("s", added), at_the_start).collect();
            assert_eq!(found, expected, "{added}");
        }
    }
}
