//! `[bearer]`: whose tokens are believed, and what they must say.

use std::path::Path;
use std::time::Duration;

use http::{HeaderValue, Uri};

use super::error::Problems;
use super::files::Files;
use super::mode::Mode;
use super::parsers::{each, pointers};
use super::raw::{RawBearer, RawIssuer};
use super::reader::{OneOrMany, Spot, WordOrList};
use super::secrets::{demand_strength, read_secret, warn_of_readers};
use super::value::{Parsed, choice, duration_within, quoted};
use crate::bearer::{BearerRules, IssuerRules, JwksAddress, KeySource};
use crate::jwt::{Algorithm, Audience, Expectations, Family, Key, KeySet};
use crate::login::IdentityPointers;
use crate::policy::Authorization;
use crate::settled;
use crate::upstream::{PeerAddress, Trust};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
/// The largest file of keys.
const LARGEST_KEYS: u64 = 64 << 10;
/// More issuers than this no app believes.
const MOST_ISSUERS: usize = 32;

const EXAMPLE: &str = "[[bearer.issuers]]";
const OF_ANY: &str = "any";

/// Whose tokens are believed.
#[derive(Clone, Debug)]
pub struct BearerConfig {
    /// Which tokens are good.
    pub rules: BearerRules,
    /// Whether the backend gets them.
    pub authorization: Authorization,
}

pub(super) fn bearer(raw: &RawBearer, mode: Mode, problems: &mut Problems) -> Option<BearerConfig> {
    let leeway = raw.leeway.parse_or(SECOND * 30, problems, duration_within(Duration::ZERO..=SECOND * 300));
    let max_lifetime = raw.max_lifetime.parse_or(DAY, problems, duration_within(SECOND * 60..=DAY * 366));
    let words = &[("pass", Authorization::Pass), ("drop", Authorization::Drop)];
    let authorization = raw.authorization.parse_or(Authorization::Pass, problems, choice(words));
    let listed = raw.issuers.get().map_or(&[][..], Vec::as_slice);
    if listed.is_empty() && (raw.issuers.get().is_some() || !raw.issuers.is_given()) {
        let place = raw.issuers.place();
        problems.error(
            place,
            format!("has no issuer; add `{EXAMPLE}` with `issuer`, `audience`, `algorithms` and its keys"),
        );
        return None;
    }
    if listed.len() > MOST_ISSUERS {
        problems.error(raw.issuers.place(), format!("has more than {MOST_ISSUERS} issuers; write fewer"));
        return None;
    }
    let mut issuers: Vec<IssuerRules> = Vec::new();
    for Spot { value: raw, .. } in listed {
        let Some(rules) = issuer(raw, (leeway, max_lifetime), mode, problems) else { continue };
        if issuers.iter().any(|other| other.issuer == rules.issuer) {
            problems.error(raw.issuer.place(), "is the issuer of another of these tables; merge the two");
        }
        issuers.push(rules);
    }
    Some(BearerConfig { rules: BearerRules { issuers, leeway, max_lifetime }, authorization })
}

/// The files that are named.
pub(super) fn files(raw: &RawBearer, files: &mut Files) {
    for Spot { value: issuer, .. } in raw.issuers.get().into_iter().flatten() {
        files.read(&issuer.key_file);
        if let Some(path) = issuer.jwks.get().filter(|text| !is_url(text)) {
            files.read_at(issuer.jwks.setting(), Path::new(path));
        }
    }
}

fn issuer(
    raw: &RawIssuer,
    (leeway, max_lifetime): (Duration, Duration),
    mode: Mode,
    problems: &mut Problems,
) -> Option<IssuerRules> {
    let issuer = raw.issuer.require(problems, "issuer = \"https://tenant.eu.auth0.com/\"", |text| name(text));
    let audience = raw.audience.require(problems, "audience = [\"api\"]", audience);
    let algorithms = algorithms(raw, problems);
    let types =
        raw.types.get().map_or_else(|| vec!["at+jwt".into(), "jwt".into()], |_| each(&raw.types, problems, typ));
    if raw.types.get().is_some_and(Vec::is_empty) {
        problems
            .error(raw.types.place(), "is empty; write the `typ` of the issuer's access tokens, as in [\"at+jwt\"]");
    }
    let identity = IdentityPointers {
        tenant: pointers(&raw.tenant, &["/org_id"], problems),
        user: pointers(&raw.user, &["/sub"], problems),
        role: pointers(&raw.role, &[], problems),
        tenants: Vec::new(),
    };
    for field in [&raw.tenant, &raw.user] {
        if field.get().is_some_and(|OneOrMany(list)| list.is_empty()) {
            problems.error(field.place(), "is empty; write where the claims name it, as in \"/sub\"");
        }
    }
    let algorithms = algorithms?;
    let keys = keys(raw, &algorithms, mode, problems)?;
    let expectations = Expectations { audience: audience?, types, leeway, max_lifetime };
    Some(IssuerRules { issuer: issuer?, algorithms, expectations, keys, pointers: identity })
}

/// Exactly what tokens say; nothing where they say nothing.
fn name(text: &str) -> Parsed<Box<str>> {
    if text.trim() == text && text.len() <= 1024 && !text.chars().any(char::is_control) {
        Ok(text.into())
    } else {
        Err(format!("{} is not what a token's `iss` says; write exactly that", quoted(text)))
    }
}

fn audience(written: &WordOrList) -> Parsed<Audience> {
    match written {
        WordOrList::Word(word) if word == OF_ANY => Ok(Audience::Any),
        WordOrList::Word(word) => {
            let shown = quoted(word);
            Err(format!(
                "{shown} is not a list; write [{shown}], or \"{OF_ANY}\" where tokens are meant for nobody in particular"
            ))
        }
        WordOrList::List(list) if list.is_empty() || list.iter().any(|spot| spot.value.is_empty()) => {
            Err(format!("names nobody; write whom the tokens are meant for, as in [\"api\"], or \"{OF_ANY}\""))
        }
        WordOrList::List(list) => Ok(Audience::OneOf(list.iter().map(|spot| spot.value.as_str().into()).collect())),
    }
}

fn algorithms(raw: &RawIssuer, problems: &mut Problems) -> Option<Vec<Algorithm>> {
    raw.algorithms.require(problems, "algorithms = [\"RS256\"]", |_| Ok(()));
    let algorithms: Vec<Algorithm> = each(&raw.algorithms, problems, algorithm);
    let first = algorithms.first().map(|first| first.family());
    if raw.algorithms.get().is_some_and(Vec::is_empty) {
        problems.error(raw.algorithms.place(), "is empty; write by what the issuer signs, as in [\"RS256\"]");
    }
    if algorithms.iter().any(|algorithm| Some(algorithm.family()) != first) {
        let message = "mixes families, so that one key could be used as another; write algorithms of one (HS, RS, PS, ES or EdDSA)";
        problems.error(raw.algorithms.place(), message);
        return None;
    }
    (!algorithms.is_empty()).then_some(algorithms)
}

fn algorithm(text: &str) -> Parsed<Algorithm> {
    let known = || Algorithm::ALL.map(|algorithm| format!("\"{algorithm}\"")).join(", ");
    match text {
        "none" | "None" | "NONE" => Err(String::from("\"none\" would believe anybody; write by what the issuer signs")),
        _ => Algorithm::parse(text).ok_or_else(|| format!("{} is not known; choose of {}", quoted(text), known())),
    }
}

fn typ(text: &str) -> Parsed<Box<str>> {
    let lower = text.to_ascii_lowercase();
    let typ = lower.strip_prefix("application/").unwrap_or(&lower);
    if typ.is_empty() || !typ.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{} is not a `typ`; write it as \"at+jwt\"", quoted(text)));
    }
    Ok(typ.into())
}

fn keys(raw: &RawIssuer, algorithms: &[Algorithm], mode: Mode, problems: &mut Problems) -> Option<KeySource> {
    let shared = algorithms.iter().any(|algorithm| algorithm.family() == Family::Hs);
    match (raw.jwks.is_given(), raw.key_file.is_given()) {
        (true, true) => {
            problems.error(raw.jwks.place(), "cannot stand beside `key_file`; remove one of the two");
            None
        }
        (false, false) if shared => {
            let keygen = "; make one with `session-gateway keygen`, for the app as well";
            problems.error(
                raw.key_file.place(),
                format!("has no key; add `key_file = \"jwt.key\"` with the app's secret{keygen}"),
            );
            None
        }
        (false, false) => {
            let message = "has no keys; add `jwks = \"https://…/jwks.json\"`, or `key_file` with a public key";
            problems.error(raw.jwks.place(), message);
            None
        }
        (true, false) if shared => {
            problems.error(raw.jwks.place(), "is of no use for HS: a shared secret is not published; write `key_file`");
            None
        }
        (true, false) => raw.jwks.parse(problems, |text| {
            if is_url(text) { address(text, mode).map(KeySource::Published) } else { key_set(text, algorithms) }
        }),
        (false, true) if shared => secret(raw, algorithms, mode, problems),
        (false, true) => raw.key_file.parse(problems, |path| public_key(path, algorithms)),
    }
}

fn is_url(text: &str) -> bool {
    text.contains("://")
}

/// Where an issuer publishes its keys. Over plain http anybody in between could put in their own.
fn address(text: &str, mode: Mode) -> Parsed<JwksAddress> {
    let wrong = || format!("{} is not the address of a key set; write it as \"https://host/jwks.json\"", quoted(text));
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let (Some(scheme), Some(authority), Some(target)) = (uri.scheme_str(), uri.authority(), uri.path_and_query())
    else {
        return Err(wrong());
    };
    if text.contains('#') {
        return Err(wrong());
    }
    let peer = PeerAddress::parse(&format!("{scheme}://{authority}")).map_err(|_| wrong())?;
    let trust = match &peer {
        PeerAddress::Tls { .. } => Some(Trust::of_the_system().map_err(|error| error.to_string())?),
        PeerAddress::Tcp { host, .. } if mode == Mode::Development || is_loopback(host) => None,
        _ => {
            return Err(String::from(
                "is plain http, in which anybody on the way could put in keys of their own; write https, or http to this \
                 machine alone",
            ));
        }
    };
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?;
    Ok(JwksAddress { peer, host, target: target.clone(), trust })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read(path: &str) -> Parsed<Vec<u8>> {
    settled::read(Path::new(path), LARGEST_KEYS)
        .map(|file| file.bytes)
        .map_err(|error| format!("names a file that {error}"))
}

fn key_set(path: &str, algorithms: &[Algorithm]) -> Parsed<KeySource> {
    let keys = KeySet::from_jwks(&read(path)?, algorithms);
    keys.map(KeySource::Fixed).map_err(|fault| format!("names a file that {fault}"))
}

/// A public key, in PEM or as one JSON Web Key.
fn public_key(path: &str, algorithms: &[Algorithm]) -> Parsed<KeySource> {
    let bytes = read(path)?;
    let keys = if bytes.trim_ascii_start().starts_with(b"{") {
        KeySet::from_jwk(&bytes, algorithms)
    } else {
        Key::from_pem(&bytes).map(KeySet::of_one)
    };
    let serves = |keys: &KeySet| algorithms.iter().any(|algorithm| keys.serves(*algorithm));
    match keys {
        Ok(keys) if serves(&keys) => Ok(KeySource::Fixed(keys)),
        Ok(_) => Err(String::from("names a key of another kind than `algorithms`; write both for one kind")),
        Err(fault) => Err(format!("names a file that {fault}")),
    }
}

/// Whether a file's text is a key that everybody may have, or that has one: PEM, or JSON Web Keys.
fn is_key_of_another_kind(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with("-----BEGIN") || text.starts_with("ssh-") || text.starts_with('{') && text.contains("\"kty\"")
}

/// The secret that the app signs with: the file's text, as the app has it in its own configuration.
fn secret(raw: &RawIssuer, algorithms: &[Algorithm], mode: Mode, problems: &mut Problems) -> Option<KeySource> {
    let secret = raw.key_file.parse(problems, |path| {
        let (secret, _) = read_secret(Path::new(path))?;
        if is_key_of_another_kind(secret.expose_secret()) {
            return Err(String::from(
                "names a public or private key, not a secret: whoever has the public one could sign with it (RFC 8725, 2.1); \
                 write the `algorithms` that the key is for",
            ));
        }
        Ok(secret)
    })?;
    if let Some(path) = raw.key_file.get() {
        warn_of_readers(Path::new(path), raw.key_file.place(), problems);
    }
    let spot = Spot { place: raw.key_file.place().clone(), value: secret };
    let errors = problems.no_errors();
    demand_strength(&spot, mode, problems);
    if errors && !problems.no_errors() {
        return None;
    }
    match Key::secret(spot.value.expose_secret().as_bytes(), algorithms) {
        Ok(key) => Some(KeySource::Fixed(KeySet::of_one(key))),
        Err(_) => {
            let least = algorithms.iter().map(|algorithm| algorithm.shortest_secret()).max().unwrap_or_default();
            let message = format!(
                "is shorter than the {least} bytes that these `algorithms` need, or longer than 4 KiB; make a \
                strong one with `session-gateway keygen --bytes {least}`, for the app as well"
            );
            problems.error(raw.key_file.place(), message);
            None
        }
    }
}
