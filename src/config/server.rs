//! `[server]`: where the gateway listens, what it is called, and how much it takes.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;

use super::address::{collide, socket_address};
use super::error::Problems;
use super::mode::Mode;
use super::parsers::{each, network};
use super::raw::RawServer;
use super::reader::{OneOrMany, Spot};
use super::table::Field;
use super::tls::{TlsConfig, tls};
use super::value::{
    Parsed, choice, count_within, duration_within, header_name, memory_within, or_off, quoted, size_within,
};
use crate::http::{AllowedHosts, Origin, RequestHost, Scheme, TrustedOrigin, further_method};

/// Whether trusted proxies tell of their clients by the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// No header is looked for.
    Off,
    /// A trusted proxy may send one.
    Optional,
    /// A trusted proxy must send one, and nobody else is served.
    Required,
}

/// Where the gateway listens, what it is called, and how much it takes.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How strict it is with its configuration.
    pub mode: Mode,
    /// The addresses of the traffic listener. Never empty.
    pub listen: Vec<SocketAddr>,
    /// What browsers call it; decides Secure and what counts as its own origin.
    pub public_url: Origin,
    /// The hosts it answers for.
    pub hosts: AllowedHosts,
    /// Further origins that may make unsafe calls.
    pub trusted_origins: Vec<TrustedOrigin>,
    /// Proxies in front whose `X-Forwarded-For` is believed. Single addresses are nets of one.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether those proxies tell of their clients by the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// The certificates of the listener; `None`: it speaks plain HTTP.
    pub tls: Option<TlsConfig>,
    /// Where clients of plain HTTP are sent to https; `None`: nowhere.
    pub redirect_http: Option<SocketAddr>,
    /// What browsers are told of coming by TLS alone (`Strict-Transport-Security`); `None`: nothing.
    pub hsts: Option<HeaderValue>,
    /// Headers that are let through although they are on the list of those always removed.
    pub allow_headers: Vec<HeaderName>,
    /// Methods that are let through beside the usual ones.
    pub further_methods: Vec<Method>,
    /// The largest request body, in bytes.
    pub max_body: u64,
    /// The largest request head, in bytes.
    pub max_header: usize,
    /// The most header lines of a request.
    pub max_headers: usize,
    /// The longest time to send a request head.
    pub header_timeout: Duration,
    /// The longest gap between two pieces of a request body.
    pub body_timeout: Duration,
    /// The longest time for which a client may take nothing of an answer.
    pub write_timeout: Duration,
    /// How long an idle client connection is kept.
    pub client_keepalive: Duration,
    /// How long a tunnel (a WebSocket) is kept in which nothing passes.
    pub tunnel_idle: Duration,
    /// How long traffic is still served after SIGTERM, for load balancers to notice.
    pub drain_delay: Duration,
    /// How long requests in flight may then take.
    pub drain_timeout: Duration,
    /// Whether another process of the same user may listen on the same addresses, to take over without a gap.
    pub reuse_port: bool,
    /// Worker threads; 0: one per core.
    pub workers: usize,
    /// The most client connections; `None`: as many as the system has room for, within reason.
    pub max_connections: Option<usize>,
    /// The most client connections of one network.
    pub max_connections_per_address: usize,
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const EXAMPLE: &str = "public_url = \"https://app.example.com\"";

pub(super) fn server(raw: &RawServer, mode: Mode, problems: &mut Problems) -> Option<ServerConfig> {
    let listen = listen(&raw.listen, problems);
    let public_url = public_url(&raw.public_url, mode, problems);
    let hosts = hosts(&raw.hosts, public_url.as_ref(), mode, problems);
    let trusted_origins = each(&raw.trusted_origins, problems, trusted_origin);
    let trusted_proxies = trusted_proxies(&raw.trusted_proxies, problems);
    let proxy_protocol = proxy_protocol(&raw.proxy_protocol, &raw.trusted_proxies, problems);
    let allow_headers = each(&raw.allow_headers, problems, header_name);
    let further_methods =
        each(&raw.methods, problems, |name| further_method(name).map_err(|error| format!("{} {error}", quoted(name))));
    let max_connections = raw.max_connections.parse(problems, count_within(1..=1_000_000));
    let per_address = raw.max_connections_per_address.parse_or(512, problems, count_within(1..=1_000_000));
    let client_keepalive = raw.client_keepalive.parse_or(SECOND * 75, problems, duration_within(SECOND..=HOUR));
    let redirect_http = redirect_http(&raw.redirect_http, &listen, public_url.as_ref(), problems);
    Some(ServerConfig {
        mode,
        listen,
        redirect_http,
        max_body: raw.max_body.parse_or(16 << 20, problems, size_within(1 << 10..=1 << 40)),
        max_header: raw.max_header.parse_or(32 << 10, problems, memory_within(1 << 10..=1 << 20)),
        max_headers: raw.max_headers.parse_or(100, problems, count_within(8..=1000)),
        header_timeout: raw.header_timeout.parse_or(SECOND * 10, problems, duration_within(SECOND / 10..=SECOND * 300)),
        body_timeout: raw.body_timeout.parse_or(SECOND * 60, problems, duration_within(SECOND / 10..=HOUR)),
        write_timeout: raw.write_timeout.parse_or(SECOND * 60, problems, duration_within(SECOND / 10..=HOUR)),
        client_keepalive,
        tunnel_idle: raw.tunnel_idle.parse_or(HOUR, problems, duration_within(SECOND..=HOUR * 24 * 7)),
        drain_delay: raw.drain_delay.parse_or(SECOND * 5, problems, duration_within(Duration::ZERO..=SECOND * 600)),
        drain_timeout: raw.drain_timeout.parse_or(SECOND * 30, problems, duration_within(Duration::ZERO..=HOUR)),
        reuse_port: raw.reuse_port.get().copied().unwrap_or(false),
        workers: raw.workers.parse_or(0, problems, count_within(0..=1024)),
        max_connections,
        max_connections_per_address: per_address,
        trusted_origins,
        trusted_proxies,
        proxy_protocol,
        tls: tls(&raw.tls, problems),
        hsts: raw.hsts.parse_or(
            Some(hsts(SECOND * 31_536_000)),
            problems,
            or_off(|age| duration_within(SECOND..=SECOND * 31_536_000 * 10)(age).map(hsts)),
        ),
        allow_headers,
        further_methods,
        public_url: public_url?,
        hosts: hosts?,
    })
}

fn listen(field: &Field<OneOrMany>, problems: &mut Problems) -> Vec<SocketAddr> {
    let Some(OneOrMany(list)) = field.get() else { return vec![SocketAddr::from(([127, 0, 0, 1], 8080))] };
    if list.is_empty() {
        problems.error(field.place(), "is empty; write at least one address as \"127.0.0.1:8080\"");
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for spot in list {
        match socket_address(&spot.value) {
            Ok(address) if addresses.iter().any(|other| collide(*other, address)) => {
                problems.error(&spot.place, format!("{address} collides with an earlier address; remove one"));
            }
            Ok(address) => addresses.push(address),
            Err(message) => problems.error(&spot.place, message),
        }
    }
    addresses
}

fn origin(text: &str) -> Parsed<Origin> {
    Origin::parse(text.strip_suffix('/').unwrap_or(text)).ok_or_else(|| {
        format!(
            "{} is not an origin; write scheme, host and port alone, as in \"https://app.example.com\"",
            quoted(text)
        )
    })
}

fn redirect_http(
    field: &Field<String>,
    listen: &[SocketAddr],
    public_url: Option<&Origin>,
    problems: &mut Problems,
) -> Option<SocketAddr> {
    let address = field.parse_or(None, problems, or_off(|text| socket_address(text)))?;
    if listen.iter().any(|other| collide(*other, address)) {
        problems
            .error(field.place(), format!("{address} collides with an address of `server.listen`; give it its own"));
    }
    if public_url.is_some_and(|url| url.scheme() != Scheme::Https) {
        problems.error(
            field.place(),
            "sends clients to `server.public_url`, which is not https; use an https URL, or \"off\"",
        );
    }
    Some(address)
}

/// Subdomains are the operator's own business.
fn hsts(age: Duration) -> HeaderValue {
    HeaderValue::try_from(format!("max-age={}", age.as_secs())).unwrap_or(HeaderValue::from_static("max-age=0"))
}

pub(super) fn trusted_origin(text: &str) -> Parsed<TrustedOrigin> {
    TrustedOrigin::parse(text.strip_suffix('/').unwrap_or(text)).ok_or_else(|| {
        format!(
            "{} is not an origin; write scheme, host and port alone, as in \"https://app.example.com\" or \
             \"capacitor://localhost\"",
            quoted(text)
        )
    })
}

fn public_url(field: &Field<String>, mode: Mode, problems: &mut Problems) -> Option<Origin> {
    let origin = field.require(problems, EXAMPLE, |text| origin(text))?;
    if origin.scheme() != Scheme::Https && mode == Mode::Production {
        problems.error(
            field.place(),
            "is not https, so that browsers would get a cookie that is not Secure; use an https URL, or set \
             `server.mode = \"development\"`",
        );
    }
    Some(origin)
}

/// Without a list, the gateway answers for its own name alone.
fn hosts(
    field: &Field<Vec<Spot<String>>>,
    public_url: Option<&Origin>,
    mode: Mode,
    problems: &mut Problems,
) -> Option<AllowedHosts> {
    if field.get().is_none_or(Vec::is_empty) {
        return public_url.and_then(|origin| AllowedHosts::parse([origin.host()]).ok());
    }
    let patterns = each(field, problems, |text| {
        AllowedHosts::parse([text]).map_err(|error| format!("{} {error}", quoted(text)))?;
        Ok(text.to_owned())
    });
    if patterns.iter().any(|pattern| pattern == "*") && mode == Mode::Production {
        problems.warn(field.place(), "answers for every host; list the hosts that are yours");
    }
    let allowed = AllowedHosts::parse(patterns.iter().map(String::as_str)).ok()?;
    let public_host = public_url.and_then(|origin| RequestHost::parse(origin.host()));
    if public_host.is_some_and(|host| !allowed.allows(&host)) {
        problems.warn(field.place(), "lacks the host of `server.public_url`, which is then answered with 421; add it");
    }
    Some(allowed)
}

fn trusted_proxies(field: &Field<Vec<Spot<String>>>, problems: &mut Problems) -> Vec<IpNet> {
    let nets = each(field, problems, network);
    if nets.iter().any(|net| net.prefix_len() == 0) {
        problems.warn(field.place(), "trusts every address, so that any client can claim any address");
    }
    nets
}

fn proxy_protocol(
    field: &Field<String>,
    trusted_proxies: &Field<Vec<Spot<String>>>,
    problems: &mut Problems,
) -> ProxyProtocol {
    let words =
        &[("off", ProxyProtocol::Off), ("optional", ProxyProtocol::Optional), ("required", ProxyProtocol::Required)];
    let mode = field.parse_or(ProxyProtocol::Off, problems, choice(words));
    if mode != ProxyProtocol::Off && trusted_proxies.get().is_none_or(Vec::is_empty) {
        problems.error(field.place(), "is believed from `server.trusted_proxies` only, and there are none; add yours");
    }
    mode
}
