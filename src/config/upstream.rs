//! `[upstream]` and `[upstreams.name]`: the backends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::uri::PathAndQuery;

use super::address::{file_path, host_and_port};
use super::error::{Place, Problems};
use super::raw::RawUpstream;
use super::reader::{Named, OffOr};
use super::table::Field;
use super::value::{
    Parsed, choice, count_within, duration_within, header_value, memory_within, or_off, quoted, size_within,
};
use crate::settled;
use crate::upstream::{Balance, Ejection, PeerAddress, SpoolSettings, Trust};

/// One backend and how it is talked to.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// Its processes. Never empty.
    pub peers: Vec<PeerAddress>,
    /// How one of them is chosen.
    pub balance: Balance,
    /// What each is asked to know whether it is healthy; `None`: nothing.
    pub health_path: Option<PathAndQuery>,
    /// When one that fails requests is tried last; `None`: never.
    pub eject: Option<Ejection>,
    /// Who vouches for its processes over TLS; `None`: none of them speaks it.
    pub trust: Option<Trust>,
    /// The `Host` that it gets.
    pub host: HostHeader,
    /// How long an idle connection is kept; `None`: off, each request has its own.
    pub keepalive: Option<Duration>,
    /// The longest time to connect.
    pub connect_timeout: Duration,
    /// The longest time from the end of the request to the head of the answer, and between two pieces of its body.
    pub response_timeout: Duration,
    /// How a request body without length is sent.
    pub request_body: BodyMode,
    /// Where request bodies wait for their length to be known.
    pub spool: SpoolSettings,
    /// Whether a `Location` that names the backend's own address, or http, is made one that browsers can follow.
    pub rewrite_location: bool,
}

/// The `Host` header that a backend gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's.
    Preserve,
    /// Always this one.
    Fixed(HeaderValue),
}

/// How a request body that comes without a length is sent to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyMode {
    /// Spooled first, then sent with a `Content-Length`: many WSGI servers read nothing of a chunked body.
    ContentLength,
    /// Passed through as it comes.
    Stream,
}

/// The name of the `[upstream]` table.
pub(super) const DEFAULT: &str = "default";
const EXAMPLE: &str = "url = \"http://127.0.0.1:5000\"";
const MOST_PEERS: usize = 64;
/// The most bytes of a file of authorities.
const LARGEST_CA: u64 = 4 << 20;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// The upstreams of the file.
pub(super) struct Upstreams {
    valid: BTreeMap<Arc<str>, UpstreamConfig>,
    /// Also of those that are wrong: a route may name them without a second error.
    names: Vec<String>,
    place: Place,
}

impl Upstreams {
    /// All names, in alphabetical order.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Where they stand in the file.
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// The upstream of routes that name none: `default`, or the only one.
    pub(super) fn fallback(&self) -> Option<Arc<str>> {
        let default = self.names.iter().find(|name| *name == DEFAULT);
        let only = || if let [only] = self.names.as_slice() { Some(only) } else { None };
        default.or_else(only).map(|name| Arc::from(name.as_str()))
    }

    /// By name.
    pub(super) fn into_map(self) -> BTreeMap<Arc<str>, UpstreamConfig> {
        self.valid
    }
}

pub(super) fn upstreams(
    single: Field<RawUpstream>,
    named: &Field<Named<RawUpstream>>,
    file: &Place,
    problems: &mut Problems,
) -> Upstreams {
    if !single.is_given() && named.get().is_none_or(|Named(named)| named.is_empty()) {
        let place = if named.is_given() { named.place().clone() } else { file.child("upstream") };
        problems.error(&place, format!("is missing; add `[upstream]` with `{EXAMPLE}`"));
    }
    let mut upstreams = Upstreams { valid: BTreeMap::new(), names: Vec::new(), place: named.place().clone() };
    if single.is_given() {
        upstreams.names.push(String::from(DEFAULT));
        upstreams.valid.extend(upstream(&single.table(), problems).map(|upstream| (Arc::from(DEFAULT), upstream)));
    }
    for (name, spot) in named.get().into_iter().flat_map(|Named(named)| named) {
        if !is_name(name) {
            problems.error(&spot.place, "is not a name; use up to 64 letters, digits, `-` or `_`");
        }
        if upstreams.names.contains(name) {
            problems.error(&spot.place, "is the same as `[upstream]`; keep one of the two");
            continue;
        }
        upstreams.names.push(name.clone());
        upstreams.valid.extend(upstream(&spot.value, problems).map(|upstream| (Arc::from(name.as_str()), upstream)));
    }
    upstreams.names.sort();
    upstreams
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn upstream(raw: &RawUpstream, problems: &mut Problems) -> Option<UpstreamConfig> {
    let balance = raw.balance.parse_or(
        Balance::RoundRobin,
        problems,
        choice(&[
            ("round-robin", Balance::RoundRobin),
            ("least-connections", Balance::LeastConnections),
            ("hash-tenant", Balance::HashKey),
        ]),
    );
    let health_path = raw.health_path.parse_or(None, problems, or_off(|path| health_path(path)));
    let eject = eject(raw, problems);
    let host = raw.host.parse_or(HostHeader::Preserve, problems, |text| host_header(text));
    let keepalive = raw.keepalive.parse_or(None, problems, or_off(duration_within(SECOND / 10..=SECOND * 600)));
    let connect_timeout =
        raw.connect_timeout.parse_or(SECOND * 2, problems, duration_within(SECOND / 100..=SECOND * 60));
    let response_timeout = raw.response_timeout.parse_or(SECOND * 120, problems, duration_within(SECOND / 10..=HOUR));
    let request_body = raw.request_body.parse_or(
        BodyMode::ContentLength,
        problems,
        choice(&[("content-length", BodyMode::ContentLength), ("stream", BodyMode::Stream)]),
    );
    let spool = spool(raw, problems);
    let peers = peers(raw, problems)?;
    let trust = trust(raw, &peers, problems);
    Some(UpstreamConfig {
        peers,
        trust,
        balance,
        health_path,
        eject,
        host,
        keepalive,
        connect_timeout,
        response_timeout,
        request_body,
        spool,
        rewrite_location: raw.rewrite_location.get().copied().unwrap_or(true),
    })
}

fn spool(raw: &RawUpstream, problems: &mut Problems) -> SpoolSettings {
    // Not the folder for temporary files, which often is memory.
    let default = SpoolSettings { dir: PathBuf::from("/var/tmp"), above: 256 << 10, total: 4 << 30 };
    let Some(given) = raw.spool.get() else {
        warn_of(&default, &raw.spool.place().child("dir"), problems);
        return default;
    };
    let settings = SpoolSettings {
        dir: given.dir.parse_or(default.dir, problems, |text| file_path(text.trim_end_matches('/'))),
        above: given.above.parse_or(default.above, problems, memory_within(0..=16 << 20)),
        total: given.total.parse_or(default.total, problems, size_within(1 << 20..=1 << 50)),
    };
    warn_of(&settings, given.dir.place(), problems);
    settings
}

/// Nobody's first large upload should be what shows that there is no place for it.
fn warn_of(settings: &SpoolSettings, place: &Place, problems: &mut Problems) {
    if let Some(misgiving) = settings.misgiving() {
        problems.warn(place, format!("{} {misgiving}", settings.dir.display()));
    }
}

fn health_path(text: &str) -> Parsed<PathAndQuery> {
    let known = text.starts_with('/') && !text.contains('#');
    let path = if known { text.parse().ok() } else { None };
    path.ok_or_else(|| format!("{} is not a path; write it as \"/api/health\"", quoted(text)))
}

/// Whom to believe, if some peer speaks TLS.
fn trust(raw: &RawUpstream, peers: &[PeerAddress], problems: &mut Problems) -> Option<Trust> {
    let needed = peers.iter().any(|peer| matches!(peer, PeerAddress::Tls { .. }));
    if raw.ca.is_given() && !needed {
        problems.error(raw.ca.place(), "is of no use without an https:// address; write one, or remove it");
        return None;
    }
    if raw.ca.is_given() {
        return raw.ca.parse(problems, |path| read_authorities(path));
    }
    if !needed {
        return None;
    }
    let place = if raw.urls.is_given() { raw.urls.place() } else { raw.url.place() };
    Trust::of_the_system().map_err(|error| problems.error(place, error.to_string())).ok()
}

pub(super) fn read_authorities(path: &str) -> Parsed<Trust> {
    let file = file_path(path)?;
    let pem = settled::read(&file, LARGEST_CA).map_err(|error| format!("names a file that {error}"))?;
    Trust::in_pem(&pem.bytes).map_err(|error| format!("{} {error}", quoted(path)))
}

fn eject(raw: &RawUpstream, problems: &mut Problems) -> Option<Ejection> {
    let default = Ejection { failures: 5, rest: SECOND * 10 };
    let raw = match raw.eject.get() {
        None => return Some(default),
        Some(OffOr::Off) => return None,
        Some(OffOr::On(raw)) => raw,
    };
    Some(Ejection {
        failures: raw.failures.parse_or(default.failures, problems, count_within(1..=1000)),
        rest: raw.rest.parse_or(default.rest, problems, duration_within(SECOND / 10..=HOUR)),
    })
}

fn host_header(text: &str) -> Parsed<HostHeader> {
    if text == "preserve" {
        return Ok(HostHeader::Preserve);
    }
    let known = host_and_port(text, 80).is_some();
    known.then(|| header_value(text)).transpose()?.map(HostHeader::Fixed).ok_or_else(|| {
        format!(
            "{} is neither \"preserve\" nor a host; write it as \"app.internal\" or \"app.internal:8000\"",
            quoted(text)
        )
    })
}

fn peers(raw: &RawUpstream, problems: &mut Problems) -> Option<Vec<PeerAddress>> {
    if raw.url.is_given() && raw.urls.is_given() {
        problems.error(raw.urls.place(), "stands beside `url`; keep one of the two");
    }
    if !raw.urls.is_given() {
        return raw.url.require(problems, EXAMPLE, |url| peer(url)).map(|peer| vec![peer]);
    }
    let list = raw.urls.get()?;
    if list.is_empty() || list.len() > MOST_PEERS {
        problems.error(raw.urls.place(), format!("has {} addresses; write 1 to {MOST_PEERS}", list.len()));
    }
    let mut peers = Vec::with_capacity(list.len());
    for url in list {
        match peer(&url.value) {
            Ok(peer) if peers.contains(&peer) => problems.error(&url.place, "is in the list twice; remove one"),
            Ok(peer) => peers.push(peer),
            Err(message) => problems.error(&url.place, message),
        }
    }
    Some(peers)
}

/// Reads a backend's address. Messages do not quote it when it may hold a password.
pub(super) fn peer(url: &str) -> Parsed<PeerAddress> {
    if let Some(path) = url.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return file_path(path).map(PeerAddress::Unix);
    }
    let tls = url.starts_with("https://");
    let Some(rest) = url.strip_prefix(if tls { "https://" } else { "http://" }) else {
        return Err(String::from(
            "is not a backend's address; write it as \"http://127.0.0.1:5000\", \"https://app.internal\" or \
             \"unix:/run/app.sock\"",
        ));
    };
    if rest.contains('@') {
        return Err(String::from("holds a user or password, which no backend is sent; remove it"));
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        return Err(format!("{} has a path; backends get the client's path, so end it after the port", quoted(url)));
    }
    host_and_port(authority, if tls { 443 } else { 80 })
        .map(|(host, port)| if tls { PeerAddress::Tls { host, port } } else { PeerAddress::Tcp { host, port } })
        .ok_or_else(|| format!("{} has no valid host and port; write it as \"http://127.0.0.1:5000\"", quoted(url)))
}
