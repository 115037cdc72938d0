//! Who calls: a bearer token, its operator and their roles.
//!
//! A handler takes a [`Caller`] of the role that it needs, as its first argument: without one it does not get to run, and
//! nothing of the request has been read.

use std::marker::PhantomData;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use super::problem::Problem;
use super::state::AdminState;
use crate::audit::{Actor, AuditEvent, AuditType, ClientText, Details, Outcome, Reason};
use crate::config::{AdminRole, AdminToken};
use crate::session::{By, Words};
use crate::told::Origin;

/// The address of a connection's other end; every request carries it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// A role as a type.
pub(super) trait Role: Send + Sync + 'static {
    /// The role.
    const ROLE: AdminRole;
}

/// Looks.
pub(super) struct Read;
/// Ends sessions, changes tenants.
pub(super) struct Operate;
/// Makes sessions.
pub(super) struct Mint;

impl Role for Read {
    const ROLE: AdminRole = AdminRole::Read;
}

impl Role for Operate {
    const ROLE: AdminRole = AdminRole::Operate;
}

impl Role for Mint {
    const ROLE: AdminRole = AdminRole::Mint;
}

/// Proof that the request came from an operator with this role.
pub(super) struct Caller<R: Role>(Operator, PhantomData<R>);

impl<R: Role> Caller<R> {
    /// The operator.
    pub(super) fn operator(self) -> Operator {
        self.0
    }
}

/// An operator who has shown a right token, and where from.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    name: ClientText,
    address: IpAddr,
    user_agent: Option<ClientText>,
}

impl Operator {
    /// The name of the token.
    pub(super) fn name(&self) -> &str {
        self.name.as_str()
    }

    /// That something is this operator's act, by a call that logs call `request_id`.
    pub(super) fn origin(&self, words: &Words, request_id: &str) -> Origin {
        let (name, words) = (self.name.as_str().into(), words.clone());
        let by = By::Operator { name, words, request_id: request_id.into() };
        Origin::of(by).by_request(self.address, self.user_agent.clone(), request_id, None)
    }
}

impl<R: Role> FromRequestParts<AdminState> for Caller<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, Problem> {
        let Some(Peer(address)) = parts.extensions.get().copied() else {
            return Err(Problem::internal(&"a request without an address"));
        };
        let user_agent = parts.headers.get(header::USER_AGENT).map(|value| ClientText::of(value.as_bytes()));
        let config = state.config();
        let Some(token) = shown(&parts.headers).and_then(|shown| find(&config.admin.tokens, shown)) else {
            return Err(fail(state, address, user_agent));
        };
        let operator = Operator { name: ClientText::from(&*token.name), address, user_agent };
        if !token.roles.contains(&R::ROLE) {
            deny(state, &operator, parts);
            return Err(Problem::forbidden_role(R::ROLE.as_str()));
        }
        Ok(Self(operator, PhantomData))
    }
}

/// The token that a request shows. `None`: none, or more than one.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?.as_bytes(), values.next()) else { return None };
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// The token of the configuration that was shown. Hashes are compared, and all of them: neither how much of a guess is
/// right nor which token it resembles takes a different time.
fn find<'a>(tokens: &'a [AdminToken], shown: &[u8]) -> Option<&'a AdminToken> {
    let shown = Sha256::digest(shown);
    let mut found = u64::MAX;
    for (index, token) in (0..).zip(tokens) {
        let known = Sha256::digest(token.secret.expose_secret().as_bytes());
        found.conditional_assign(&index, known.as_slice().ct_eq(shown.as_slice()));
    }
    tokens.get(usize::try_from(found).ok()?)
}

/// Counts a call without a right token, and answers what it is told.
fn fail(state: &AdminState, address: IpAddr, user_agent: Option<ClientText>) -> Problem {
    let services = &state.services;
    let problem = match state.failures.count(address, services.commons.clock.monotonic()) {
        Ok(()) => Problem::UNAUTHORIZED,
        Err(seconds) => Problem::too_many_failures(seconds),
    };
    let mut event =
        AuditEvent::new(services.commons.clock.wall(), AuditType::AdminCalled, Outcome::Denied, Actor::User);
    event.address = Some(address);
    event.user_agent = user_agent;
    event.reason = Some(Reason::Named(problem.code()));
    services.audit.record(event);
    problem
}

/// Tells of a call that its operator's roles do not allow.
fn deny(state: &AdminState, operator: &Operator, parts: &Parts) {
    let details = Details::none().text("method", parts.method.as_str()).text("path", parts.uri.path());
    let actor = Actor::Operator(operator.name.clone());
    let mut event =
        AuditEvent::new(state.services.commons.clock.wall(), AuditType::AdminCalled, Outcome::Denied, actor);
    event.address = Some(operator.address);
    event.user_agent.clone_from(&operator.user_agent);
    state.services.audit.record(event.because("forbidden_role").with_details(details));
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::secret::Secret;

    fn tokens() -> Vec<AdminToken> {
        ["one", "two", "three"]
            .map(|name| AdminToken { name: name.into(), secret: Secret::new(format!("secret-{name}")), roles: vec![] })
            .to_vec()
    }

    #[test]
    fn the_right_token_is_found_wherever_it_stands_and_nothing_else_is() {
        let tokens = tokens();
        for name in ["one", "two", "three"] {
            let found = find(&tokens, format!("secret-{name}").as_bytes()).map(|token| &*token.name);
            assert_eq!(found, Some(name));
        }
        for wrong in ["", "secret-", "secret-one ", "Secret-one", "secret-four"] {
            assert!(find(&tokens, wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert!(find(&[], b"").is_none());
    }

    #[test]
    fn a_token_is_shown_once_as_a_bearers() {
        let headers = |values: &[&'static str]| -> HeaderMap {
            let line = |value: &&'static str| (header::AUTHORIZATION, HeaderValue::from_static(value));
            values.iter().map(line).collect()
        };
        for (values, expected) in [
            (&["Bearer x"][..], Some(&b"x"[..])),
            (&["bearer  x "], Some(b"x")),
            (&["BEARER x"], Some(b"x")),
            (&[], None),
            (&["x"], None),
            (&["Bearer"], None),
            (&["Basic x"], None),
            (&["Bearer x", "Bearer x"], None),
        ] {
            assert_eq!(shown(&headers(values)), expected, "{values:?}");
        }
    }
}
