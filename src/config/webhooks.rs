//! `[[alerts.webhooks]]`: which programs are told of what was found. The messages quote no url: many of them are a secret.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, Uri};
use sha2::{Digest as _, Sha256};

use super::error::Problems;
use super::monitor::SEVERITIES;
use super::raw::RawWebhook;
use super::reader::{OneOrMany, Spot};
use super::secrets::secret_or_file;
use super::table::Field;
use super::upstream::read_authorities;
use super::value::{Parsed, choice};
use crate::alerts::{SigningKey, WebhookFormat, WebhookRules};
use crate::monitor::Severity;
use crate::secret::Secret;
use crate::upstream::{PeerAddress, Trust};

const MOST: usize = 16;
const EXAMPLE: &str = "url = \"https://hooks.example.com/alerts\"";
const WRONG: &str = "is not a webhook's address; write it as \"https://hooks.example.com/alerts\"";
const MAKE_ONE: &str = "make one with `echo whsec_$(openssl rand -base64 32)`, and give it to the receiver, too";

/// The words of the formats.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Standard,
    Slack,
    PagerDuty,
    Ocsf,
}

const FORMATS: [(&str, Word); 4] =
    [("standard", Word::Standard), ("slack", Word::Slack), ("pagerduty", Word::PagerDuty), ("ocsf", Word::Ocsf)];

/// All of them. `None` only when something was reported.
pub(super) fn webhooks(field: &Field<Vec<Spot<RawWebhook>>>, problems: &mut Problems) -> Option<Vec<WebhookRules>> {
    let listed = field.get().map_or(&[][..], Vec::as_slice);
    if listed.len() > MOST {
        problems.error(field.place(), format!("has more than {MOST} webhooks; write fewer"));
        return None;
    }
    let mut webhooks: Vec<WebhookRules> = Vec::new();
    let mut all = true;
    for Spot { value: raw, .. } in listed {
        match webhook(raw, problems) {
            Some(webhook) if webhooks.iter().any(|other| other.queue == webhook.queue) => {
                problems.error(raw.url.place(), "is that of another of these tables, in the same format; remove one");
            }
            Some(webhook) => webhooks.push(webhook),
            None => all = false,
        }
    }
    (all && (field.get().is_some() || !field.is_given())).then_some(webhooks)
}

fn webhook(raw: &RawWebhook, problems: &mut Problems) -> Option<WebhookRules> {
    let word = raw.format.parse_or(Word::Standard, problems, choice(&FORMATS));
    let address = raw.url.require(problems, EXAMPLE, |url| address(url.expose_secret()));
    let format = format(raw, word, problems);
    let severities = severities(&raw.severity, problems);
    let address = address?;
    let plaintext = raw.plaintext.get().copied().unwrap_or(false);
    let trust = match &address.peer {
        PeerAddress::Tls { .. } if raw.ca.is_given() => Some(raw.ca.parse(problems, |path| read_authorities(path))?),
        PeerAddress::Tls { .. } => {
            let trust = Trust::of_the_system().map_err(|error| problems.error(raw.url.place(), error.to_string()));
            Some(trust.ok()?)
        }
        PeerAddress::Tcp { host, .. } if !plaintext && !is_loopback(host) => {
            let message = "is plain http, in which anybody on the way reads what is told; write https, or \
                           `plaintext = true` beside it";
            problems.error(raw.url.place(), message);
            return None;
        }
        _ => None,
    };
    if raw.ca.is_given() && trust.is_none() {
        problems.error(raw.ca.place(), "is of no use without an https:// address; write one, or remove it");
    }
    if plaintext && trust.is_some() {
        problems.error(raw.plaintext.place(), "is of no use beside an https:// address; remove it");
    }
    let (format, severities) = (format?, severities?);
    let queue = format!("{} at {} ({})", format.as_str(), address.peer, address.short);
    let Address { peer, host, target, .. } = address;
    Some(WebhookRules { queue: queue.into(), format, peer, host, target, trust, severities })
}

fn format(raw: &RawWebhook, word: Word, problems: &mut Problems) -> Option<WebhookFormat> {
    let is_given = raw.secret.is_given() || raw.secret_file.is_given();
    let secret = secret_or_file(&raw.secret, &raw.secret_file, problems);
    if is_given && secret.is_none() {
        return None;
    }
    let sign = |secret: Spot<Secret>, problems: &mut Problems| {
        let key = SigningKey::parse(secret.value.expose_secret());
        if key.is_none() {
            problems.error(&secret.place, format!("is no secret of Standard Webhooks; {MAKE_ONE}"));
        }
        key
    };
    match (word, secret) {
        (Word::Standard, Some(secret)) => sign(secret, problems).map(WebhookFormat::Standard),
        (Word::Standard, None) => {
            problems.error(raw.secret_file.place(), format!("is missing; {MAKE_ONE}"));
            None
        }
        (Word::Ocsf, Some(secret)) => sign(secret, problems).map(|key| WebhookFormat::Ocsf(Some(key))),
        (Word::Ocsf, None) => Some(WebhookFormat::Ocsf(None)),
        (Word::Slack, Some(secret)) => {
            problems.error(&secret.place, "is of no use: Slack's secret is the url; remove it");
            None
        }
        (Word::Slack, None) => Some(WebhookFormat::Slack),
        (Word::PagerDuty, Some(secret)) => Some(WebhookFormat::PagerDuty(secret.value)),
        (Word::PagerDuty, None) => {
            problems.error(raw.secret_file.place(), "is missing; write the integration's routing key into that file");
            None
        }
    }
}

fn severities(field: &Field<OneOrMany>, problems: &mut Problems) -> Option<Vec<Severity>> {
    let Some(OneOrMany(list)) = field.get() else {
        return (!field.is_given()).then(|| Severity::ALL.to_vec());
    };
    if list.is_empty() {
        problems.error(field.place(), "is empty; write of what it is told, as in [\"high\", \"medium\"]");
        return None;
    }
    let mut severities = Vec::new();
    for spot in list {
        match choice(&SEVERITIES)(&spot.value) {
            Ok(severity) if severities.contains(&severity) => {}
            Ok(severity) => severities.push(severity),
            Err(message) => problems.error(&spot.place, message),
        }
    }
    Some(severities)
}

struct Address {
    peer: PeerAddress,
    host: HeaderValue,
    target: Secret,
    /// What tells it from others, and nothing of its secret.
    short: String,
}

fn address(text: &str) -> Parsed<Address> {
    let uri: Uri = text.parse().map_err(|_| WRONG)?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(String::from(WRONG));
    };
    if text.contains('#') || authority.as_str().contains('@') {
        return Err(String::from(WRONG));
    }
    let peer = PeerAddress::parse(&format!("{scheme}://{authority}")).map_err(|_| WRONG)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| WRONG)?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let short = URL_SAFE_NO_PAD.encode(&digest[..6]);
    Ok(Address { peer, host, target: Secret::new(target), short })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
