//! Who calls: a bearer token, or who signed in at the console with one; its operator and their roles.
//!
//! A handler takes a [`Caller`] of the role that it needs, as its first argument: without one it does not get to run, and
//! nothing of the request has been read.

use std::marker::PhantomData;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};

use super::problem::Problem;
use super::state::AdminState;
use super::token_digest::TokenDigest;
use crate::audit::{Actor, AuditEvent, AuditType, ClientText, Details, Outcome, Reason};
use crate::config::{AdminRole, AdminToken};
use crate::session::{By, Words};
use crate::told::Origin;

/// The address of a connection's other end; every request carries it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// The token with which somebody signed in at the console. The console's own calls carry it, as an extension: nothing that
/// comes over a network ever is one.
#[derive(Clone, Copy)]
pub(super) struct SignedIn(pub(super) TokenDigest);

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
    /// Who has shown this token, from there.
    pub(super) fn new(token: &AdminToken, address: IpAddr, user_agent: Option<ClientText>) -> Self {
        Self { name: ClientText::from(&*token.name), address, user_agent }
    }

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
        let user_agent = user_agent(&parts.headers);
        let config = state.config();
        let Some(token) = credential(parts).and_then(|credential| credential.find(&config.admin.tokens)) else {
            return Err(fail(state, address, user_agent));
        };
        let operator = Operator::new(token, address, user_agent);
        if !token.roles.contains(&R::ROLE) {
            let details = Details::none().text("method", parts.method.as_str()).text("path", parts.uri.path());
            tell(state, &operator, Outcome::Denied, Some("forbidden_role"), details);
            return Err(Problem::forbidden_role(R::ROLE.as_str()));
        }
        Ok(Self(operator, PhantomData))
    }
}

/// The program that calls, as it names itself.
pub(super) fn user_agent(headers: &HeaderMap) -> Option<ClientText> {
    headers.get(header::USER_AGENT).map(|value| ClientText::of(value.as_bytes()))
}

/// By what a request is an operator's: the token that it shows, or else that of who signed in. Never by both: whoever
/// shows one means that one.
fn credential(parts: &Parts) -> Option<TokenDigest> {
    match parts.extensions.get::<SignedIn>() {
        None => shown(&parts.headers).map(TokenDigest::of),
        Some(SignedIn(token)) => (!parts.headers.contains_key(header::AUTHORIZATION)).then_some(*token),
    }
}

/// The token that a request shows. `None`: none, or more than one.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (values.next()?.as_bytes(), values.next()) else { return None };
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Counts a call without a right token, and answers what it is told.
pub(super) fn fail(state: &AdminState, address: IpAddr, user_agent: Option<ClientText>) -> Problem {
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

/// Tells of a call that changes nothing: what an operator may not do, or that one came or went.
pub(super) fn tell(
    state: &AdminState,
    operator: &Operator,
    outcome: Outcome,
    why: Option<&'static str>,
    details: Details,
) {
    let actor = Actor::Operator(operator.name.clone());
    let mut event = AuditEvent::new(state.services.commons.clock.wall(), AuditType::AdminCalled, outcome, actor);
    event.address = Some(operator.address);
    event.user_agent.clone_from(&operator.user_agent);
    event.reason = why.map(Reason::Named);
    state.services.audit.record(event.with_details(details));
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
    fn a_request_is_an_operators_by_a_token_or_by_a_sign_in_and_never_by_both() {
        let of = |shows: Option<&str>, signed_in: Option<&str>| {
            let mut request = http::Request::new(());
            if let Some(token) = shows {
                let value = format!("Bearer {token}").parse().expect("a value");
                request.headers_mut().insert(header::AUTHORIZATION, value);
            }
            if let Some(token) = signed_in {
                request.extensions_mut().insert(SignedIn(TokenDigest::of(token.as_bytes())));
            }
            let tokens = tokens();
            let found = credential(&request.into_parts().0).and_then(|token| Some(token.find(&tokens)?.name.clone()));
            found.map(|name| name.to_string())
        };
        let (one, two) = (Some("secret-one"), Some("secret-two"));
        assert_eq!(of(one, None).as_deref(), Some("one"));
        assert_eq!(of(None, two).as_deref(), Some("two"));
        assert_eq!(of(one, two), None);
        assert_eq!(of(one, one), None);
        assert_eq!(of(None, None), None);
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
