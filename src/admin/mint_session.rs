//! `POST /v1/sessions`: a session for a user whom a backend has logged in elsewhere.
//!
//! The caller vouches for the user as a login's answer does. The token is in the answer alone, as the cookie's line for
//! the browser. A session that the audit log does not know is ended again: nobody gets its token.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Caller, Mint};
use super::change::{Change, Done, Target, Teller};
use super::input::{Json, NoParameters, Query, words};
use super::problem::{Problem, ProblemBody};
use super::state::AdminState;
use crate::audit::{Actor, AuditType, Outcome};
use crate::http::session_set_cookie;
use crate::session::{By, EndReason, Principal, SessionId, SessionRecord, SessionToken, UserAgent};
use crate::store::{Creation, NewSession};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MintSession)]
pub(super) struct Body {
    /// The tenant, as a login's answer would name it: `identity.tenant_format` and `identity.encode` hold
    #[schema(min_length = 1, max_length = 128)]
    tenant: String,
    /// The user
    #[schema(min_length = 1, max_length = 128)]
    user: String,
    /// The user's role, if there are roles
    #[schema(min_length = 1, max_length = 128)]
    role: Option<String>,
    /// Whether the session is to be remembered (`session.remember`)
    #[serde(default)]
    remember: bool,
    /// Why, in the operator's words: one line
    #[schema(max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: Option<String>,
}

/// A session that was made
#[derive(Serialize, ToSchema)]
pub(super) struct Minted {
    /// Its id: not the secret of its cookie
    #[schema(pattern = "^[A-Za-z0-9_-]{22}$")]
    id: String,
    /// The value of the `Set-Cookie` header that gives the browser its session. Whoever has it is the user
    set_cookie: String,
    /// The absolute deadline
    #[schema(format = DateTime)]
    expires_at: String,
}

/// A session and its secret, on the way to the caller.
struct New {
    token: SessionToken,
    record: SessionRecord,
}

/// Makes a session
///
/// For a backend that logs in elsewhere: it sends `set_cookie` to its user's browser. The limits of the configuration
/// hold as for a login.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "sessions", security(("token" = ["mint"])),
    request_body = Body,
    responses(
        (status = 201, description = "It is stored", body = Minted, headers(("Location" = String, description = "The session"))),
        (status = 409, description = "The user or tenant was revoked in that moment", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn mint_session(
    caller: Caller<Mint>,
    State(state): State<AdminState>,
    Query(NoParameters {}): Query<NoParameters>,
    Json(body): Json<Body>,
) -> Result<Response, Problem> {
    let words = words(body.reason.as_deref())?;
    let principal = principal(&state, &body)?;
    let target = Target { tenant: Some(principal.tenant.clone()), user: Some(principal.user.clone()), session: None };
    let token = SessionToken::generate(&*state.services.entropy).map_err(|error| Problem::internal(&error))?;
    let id = token.id();
    let change = Change::new(state.clone(), caller.operator(), "mint_session", words, target);
    let made = change.run(move |state, teller| make(state, teller, token, principal, body.remember)).await;
    if let Err(problem) = &made
        && *problem == Problem::AUDIT_UNCONFIRMED
    {
        take_back(&state, id).await;
    }
    answer(&state, &made?)
}

fn principal(state: &AdminState, body: &Body) -> Result<Principal, Problem> {
    let rules = state.config().identity.rules;
    let bad = |what: &str, error: &dyn std::fmt::Display| Problem::bad_request(format!("{what}: {error}"));
    Ok(Principal {
        tenant: rules.canonical_tenant(&body.tenant).map_err(|error| bad("tenant", &error))?,
        user: rules.canonical_user(body.user.as_bytes()).map_err(|error| bad("user", &error))?,
        role: match &body.role {
            Some(role) => Some(rules.canonical_role(role.as_bytes()).map_err(|error| bad("role", &error))?),
            None => None,
        },
    })
}

async fn make(
    state: AdminState,
    teller: Teller,
    token: SessionToken,
    principal: Principal,
    remembered: bool,
) -> Result<Done<New>, Problem> {
    let services = &state.services;
    let config = state.config();
    let (idle, absolute) = config.session.limits.of(remembered);
    let new = NewSession {
        id: token.id(),
        principal,
        remembered,
        idle,
        absolute,
        // The user's own are not known here; the caller's would mislead.
        address: None,
        user_agent: UserAgent::default(),
        began: services.store.now().await?,
        limit: config.session.max_per_user,
        replaces: None,
    };
    let (record, displaced) = match services.store.create(new).await? {
        Creation::Stored { record, displaced } => (record, displaced),
        Creation::LimitReached => return Err(Problem::TOO_MANY_SESSIONS),
        Creation::Superseded => return Err(Problem::SUPERSEDED),
        Creation::TenantRefused(_) => return Err(Problem::TENANT_REFUSED),
    };
    services.metrics.session_created();
    let created = teller.event(&state, AuditType::SessionCreated, Outcome::Success).of_session(token.id());
    let mut events = vec![created.with_details(teller.words().flag("remembered", remembered))];
    for (id, record) in displaced {
        services.traffic.session_ended(id, EndReason::Limit);
        services.metrics.sessions_ended(EndReason::Limit, 1);
        let mut ended = teller.event(&state, AuditType::SessionEnded, Outcome::Success);
        // Nobody asked for it.
        ended.actor = Actor::Gateway;
        events.push(ended.of_principal(&record.principal).of_session(id).because(EndReason::Limit));
    }
    Ok(Done { answer: New { token, record }, events })
}

/// Ends a session whose making could not be written down.
async fn take_back(state: &AdminState, id: SessionId) {
    let services = &state.services;
    let taken_back = async {
        match services.store.read(id).await? {
            crate::session::Standing::Live(live) => {
                services.store.end(id, &live.record, EndReason::Revoked, &By::Gateway).await
            }
            _ => Ok(false),
        }
    };
    match taken_back.await {
        Ok(ended) => services.metrics.sessions_ended(EndReason::Revoked, u64::from(ended)),
        // Nobody has its token: it times out by itself.
        Err(error) => tracing::warn!(%error, session_id = id.as_str(), "a session that nobody has could not be ended"),
    }
}

fn answer(state: &AdminState, new: &New) -> Result<Response, Problem> {
    let config = state.config();
    let max_age = new.record.remembered.then_some(config.session.limits.remember);
    let line = session_set_cookie(&config.cookie, &new.token, max_age);
    let id = new.token.id();
    let minted = Minted {
        id: id.to_string(),
        set_cookie: line.to_str().map_err(|error| Problem::internal(&error))?.to_owned(),
        expires_at: new.record.deadline.rfc3339(),
    };
    let text = serde_json::to_string(&minted).map_err(|error| Problem::internal(&error))?;
    let location = HeaderValue::try_from(format!("/v1/sessions/{id}")).map_err(|error| Problem::internal(&error))?;
    let headers: [(HeaderName, HeaderValue); 2] =
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/json")), (header::LOCATION, location)];
    Ok((StatusCode::CREATED, headers, text).into_response())
}
