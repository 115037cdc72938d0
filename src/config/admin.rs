//! `[admin]`: the listener for operators, and who they are.

use std::net::SocketAddr;

use super::address::{collide, socket_address};
use super::error::Problems;
use super::mode::Mode;
use super::parsers::each;
use super::raw::{RawAdmin, RawAdminToken};
use super::reader::Spot;
use super::secrets::{demand_strength, secret_or_file};
use super::table::Field;
use super::tls::{TlsConfig, tls};
use super::value::{Parsed, choice, quoted};
use crate::http::AllowedHosts;
use crate::secret::Secret;

/// The name, in the audit log, of who shows `admin.token`.
const NAME_OF_THE_ONE: &str = "admin";
/// Each is compared at each call.
const MOST_TOKENS: usize = 32;
const LONGEST_NAME: usize = 64;

/// The listener for operators.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The names that it answers to beside addresses and `localhost`.
    pub hosts: AllowedHosts,
    /// Its certificates; `None`: it speaks plain HTTP.
    pub tls: Option<TlsConfig>,
    /// What operators show; without any the listener serves health and metrics only.
    pub tokens: Vec<AdminToken>,
}

/// One operator.
#[derive(Clone, Debug)]
pub struct AdminToken {
    /// The operator's name in the audit log.
    pub name: Box<str>,
    /// What the operator shows.
    pub secret: Secret,
    /// What the operator may do.
    pub roles: Vec<AdminRole>,
}

/// What an operator may do. None includes another: who ends sessions need not be able to list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminRole {
    /// Look at sessions, tenants and the audit log.
    Read,
    /// End sessions, change tenants.
    Operate,
    /// Make sessions.
    Mint,
}

impl AdminRole {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Mint];

    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Mint => "mint",
        }
    }
}

pub(super) fn admin(raw: &RawAdmin, mode: Mode, traffic: &[SocketAddr], problems: &mut Problems) -> AdminConfig {
    let listen = raw.listen.parse_or(SocketAddr::from(([127, 0, 0, 1], 9090)), problems, |text| socket_address(text));
    if let Some(shared) = traffic.iter().find(|address| collide(**address, listen)) {
        problems.error(
            raw.listen.place(),
            format!("{listen} collides with {shared} of `server.listen`; give operators an address of their own"),
        );
    }
    let tokens = tokens(raw, mode, problems);
    report_plaintext(raw, listen, problems);
    AdminConfig { listen, hosts: hosts(&raw.hosts, problems), tls: tls(&raw.tls, problems), tokens }
}

fn hosts(field: &Field<Vec<Spot<String>>>, problems: &mut Problems) -> AllowedHosts {
    let names = each(field, problems, |text| {
        AllowedHosts::parse([text]).map_err(|error| format!("{} {error}", quoted(text)))?;
        Ok(text.to_owned())
    });
    if names.iter().any(|name| name == "*") {
        problems.warn(field.place(), "answers to every name, so that a page on any site can make browsers read it; list the names that are its own");
    }
    AllowedHosts::parse(names.iter().map(String::as_str)).unwrap_or_default()
}

/// A token that anyone on the way can read is everybody's. Health and metrics alone hold no secret.
fn report_plaintext(raw: &RawAdmin, listen: SocketAddr, problems: &mut Problems) {
    let has_token =
        raw.token.is_given() || raw.token_file.is_given() || raw.tokens.get().is_some_and(|t| !t.is_empty());
    let has_tls = raw.tls.is_given();
    if !has_token || has_tls || listen.ip().to_canonical().is_loopback() {
        return;
    }
    if raw.dangerously_allow_plaintext.get() == Some(&true) {
        problems.warn(
            raw.dangerously_allow_plaintext.place(),
            "lets operators' tokens cross the network in the clear; set `admin.tls` instead",
        );
    } else {
        problems.error(
            raw.listen.place(),
            format!(
                "{listen} is not loopback, and operators' tokens would cross the network in the clear; set `admin.tls`, or listen \
                 on 127.0.0.1"
            ),
        );
    }
}

fn tokens(raw: &RawAdmin, mode: Mode, problems: &mut Problems) -> Vec<AdminToken> {
    let mut tokens: Vec<AdminToken> = Vec::new();
    if let Some(secret) = secret_or_file(&raw.token, &raw.token_file, problems) {
        demand_strength(&secret, mode, problems);
        tokens.push(AdminToken { name: NAME_OF_THE_ONE.into(), secret: secret.value, roles: AdminRole::ALL.to_vec() });
    }
    let listed = raw.tokens.get().map_or(&[][..], Vec::as_slice);
    if listed.len() > MOST_TOKENS {
        problems.error(raw.tokens.place(), format!("has more than {MOST_TOKENS} elements; write fewer"));
    }
    for spot in listed {
        let Some(token) = token(spot, mode, &tokens, problems) else { continue };
        tokens.push(token);
    }
    tokens
}

/// One of `admin.tokens`. `None`: something is wrong with it, and reported.
fn token(spot: &Spot<RawAdminToken>, mode: Mode, before: &[AdminToken], problems: &mut Problems) -> Option<AdminToken> {
    let raw = &spot.value;
    let name = raw.name.require(problems, "name = \"ops\"", |text| name(text, before));
    let secret = secret_or_file(&raw.token, &raw.token_file, problems);
    if let Some(secret) = &secret {
        demand_strength(secret, mode, problems);
        let same = |token: &&AdminToken| token.secret.expose_secret() == secret.value.expose_secret();
        if let Some(twin) = before.iter().find(same) {
            let message = format!("is the token of \"{}\" too; nobody could tell the two apart", twin.name);
            problems.error(&secret.place, message);
        }
    } else if !raw.token.is_given() && !raw.token_file.is_given() {
        problems.error(raw.token.place(), "is missing; add `token_file = \"/run/secrets/ops\"` or `token`");
    }
    let example = "roles = [\"read\", \"operate\"]";
    let listed = raw.roles.require(problems, example, |list| {
        if list.is_empty() { Err(format!("is empty; write what it may do, as `{example}`")) } else { Ok(list.len()) }
    });
    let mut roles = Vec::new();
    for role in raw.roles.get().into_iter().flatten() {
        match choice(&AdminRole::ALL.map(|role| (role.as_str(), role)))(&role.value) {
            Ok(role) if roles.contains(&role) => {}
            Ok(role) => roles.push(role),
            Err(message) => problems.error(&role.place, message),
        }
    }
    listed?;
    Some(AdminToken { name: name?, secret: secret?.value, roles })
}

fn name(text: &str, before: &[AdminToken]) -> Parsed<Box<str>> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    if text.is_empty() || text.len() > LONGEST_NAME || !text.bytes().all(plain) {
        return Err(format!(
            "{} is no name; write 1 to {LONGEST_NAME} letters, digits, `.`, `_`, `-` or `@`",
            quoted(text)
        ));
    }
    if before.iter().any(|token| &*token.name == text) {
        return Err(format!("{} is another token's name; the audit log tells operators apart by it", quoted(text)));
    }
    Ok(text.into())
}
