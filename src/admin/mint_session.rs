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
use super::change::{Change, Target};
use super::input::{Json, NoParameters, Query, kind, words};
use super::problem::{Problem, ProblemBody};
use super::state::AdminState;
use crate::config::ClientValue;
use crate::session::{MOST_TENANTS, Principal, TenantId, UserAgent};
use crate::sessions::{Issued, Newcomer, Terms};
use crate::told::{Origin, Source};

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MintSession)]
pub(super) struct Body {
    /// The tenant, as a login's answer would name it: `identity.tenant_format` and `identity.encode` hold. Null or absent: the
    /// user has none
    #[schema(min_length = 1, max_length = 128, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    tenant: Option<String>,
    /// The user
    #[schema(min_length = 1, max_length = 128, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    user: String,
    /// The kind of the user's login (`login.kind`), where there are several
    #[schema(min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    kind: Option<String>,
    /// The user's role, if there are roles
    #[schema(min_length = 1, max_length = 128, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    role: Option<String>,
    /// The tenants that its client may choose from, `tenant` among them or not (`identity.client_value = "choose"`)
    #[serde(default)]
    #[schema(max_items = 64)]
    tenants: Vec<String>,
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
    let tenants = tenants(&state, &body)?;
    let target = Target { tenant: Some(principal.tenant.clone()), user: Some(principal.user.clone()), session: None };
    let change = Change::new(state.clone(), caller.operator(), "mint_session", words, target);
    let made =
        change.run_or_undo(move |state, origin| make(state, origin, (principal, tenants), body.remember), take_back);
    answer(&made.await?)
}

fn principal(state: &AdminState, body: &Body) -> Result<Principal, Problem> {
    let rules = state.config().identity.rules;
    let bad = |what: &str, error: &dyn std::fmt::Display| Problem::bad_request(format!("{what}: {error}"));
    let user = rules.canonical_user(body.user.as_bytes()).map_err(|error| bad("user", &error))?;
    Ok(Principal {
        tenant: match &body.tenant {
            Some(tenant) => rules.canonical_tenant(tenant).map_err(|error| bad("tenant", &error))?,
            None => TenantId::none(),
        },
        user: user.of_kind(kind(body.kind.as_deref())?.as_ref()),
        role: match &body.role {
            Some(role) => Some(rules.canonical_role(role.as_bytes()).map_err(|error| bad("role", &error))?),
            None => None,
        },
    })
}

fn tenants(state: &AdminState, body: &Body) -> Result<Vec<TenantId>, Problem> {
    let identity = &state.config().identity;
    if body.tenants.is_empty() {
        return Ok(Vec::new());
    }
    if identity.client_value != ClientValue::Choose {
        return Err(Problem::bad_request("tenants: needs `identity.client_value = \"choose\"`"));
    }
    if body.tenants.len() > MOST_TENANTS {
        return Err(Problem::bad_request(format!("tenants: more than {MOST_TENANTS}")));
    }
    let canonical = |tenant: &String| identity.rules.canonical_tenant(tenant);
    let tenants = body.tenants.iter().map(canonical).collect::<Result<_, _>>();
    tenants.map_err(|error| Problem::bad_request(format!("tenants: {error}")))
}

async fn make(
    state: AdminState,
    origin: Origin,
    (principal, tenants): (Principal, Vec<TenantId>),
    remembered: bool,
) -> Result<Issued, Problem> {
    let services = &state.services;
    let config = state.config();
    let newcomer = Newcomer {
        deposit: None,
        principal,
        tenants,
        remembered,
        // The user's own are not known here; the caller's would mislead.
        address: None,
        user_agent: UserAgent::default(),
        began: services.commons.store.begin().await?,
    };
    let terms =
        Terms { limits: &config.session.limits, max_per_user: config.session.max_per_user, cookie: &config.cookie };
    Ok(services.commons.sessions.issue(&origin, Source::Minted, terms, newcomer, None).await?)
}

/// Ends a session whose making could not be written down.
async fn take_back(state: AdminState, origin: Origin, made: Issued) {
    state.services.commons.sessions.take_back(&origin, &made).await;
}

fn answer(made: &Issued) -> Result<Response, Problem> {
    let id = made.id;
    let minted = Minted {
        id: id.to_string(),
        set_cookie: made.set_cookie.to_str().map_err(|error| Problem::internal(&error))?.to_owned(),
        expires_at: made.record.deadline.rfc3339(),
    };
    let text = serde_json::to_string(&minted).map_err(|error| Problem::internal(&error))?;
    let location = HeaderValue::try_from(format!("/v1/sessions/{id}")).map_err(|error| Problem::internal(&error))?;
    let headers: [(HeaderName, HeaderValue); 2] =
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/json")), (header::LOCATION, location)];
    Ok((StatusCode::CREATED, headers, text).into_response())
}
