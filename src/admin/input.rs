//! What a call says: query, body, and the ids in its path. Strict: what is not understood is refused, and named.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use http::request::Parts;
use http::{HeaderMap, header};
use http_body_util::LengthLimitError;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::problem::Problem;
use super::state::AdminState;
use crate::monitor::LockId;
use crate::session::{SessionId, TenantId, UserId, UserKind, Words};
use crate::store::monitor::FindingId;

/// The largest body.
const MOST_BYTES: usize = 16 * 1024;
/// How long it may take to come.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// The items of a page where the call does not say.
const USUAL_PAGE: usize = 100;
/// The most items of a page.
pub(super) const LARGEST_PAGE: usize = 1000;

/// The query, each parameter at most once.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<AdminState> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AdminState) -> Result<Self, Problem> {
        let mut given = Map::new();
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            if given.insert(name.clone().into_owned(), Value::String(value.into_owned())).is_some() {
                return Err(Problem::bad_request(format!("the parameter `{name}` is given twice")));
            }
        }
        serde_json::from_value(Value::Object(given))
            .map(Self)
            .map_err(|error| Problem::bad_request(format!("the query is not as it should be: {error}")))
    }
}

/// For calls without parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoParameters {}

/// A page's parameters.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageParameters {
    /// Where the page begins: `next_cursor` of the one before
    #[param(max_length = 256, pattern = r"^[A-Za-z0-9_-]+$")]
    pub(super) cursor: Option<String>,
    /// The most items of the page
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    pub(super) limit: Option<String>,
}

/// An operator's words about a call that takes no body.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ReasonParameter {
    /// Why, in the operator's words: one line
    #[param(max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    pub(super) reason: Option<String>,
}

/// An operator's words about a call.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReasonBody {
    /// Why, in the operator's words: one line
    #[schema(max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    pub(super) reason: Option<String>,
}

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<AdminState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &AdminState) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = read(body).await?;
        // Without a body there is no media type that could be wrong.
        if !body.is_empty() && !is_json(&parts.headers) {
            return Err(Problem::NOT_JSON);
        }
        parse(&body).map(Self)
    }
}

/// A JSON body that need not be there, or may be `null`.
pub(super) struct OptionalJson<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequest<AdminState> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &AdminState) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = read(body).await?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        if !is_json(&parts.headers) {
            return Err(Problem::NOT_JSON);
        }
        if body.trim_ascii() == b"null" {
            return Ok(Self(T::default()));
        }
        parse(&body).map(Self)
    }
}

/// Reads a body, within the bounds.
pub(super) async fn read(body: Body) -> Result<axum::body::Bytes, Problem> {
    match tokio::time::timeout(BODY_WITHIN, to_bytes(body, MOST_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let too_large =
                std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<LengthLimitError>);
            Err(if too_large { Problem::BODY_TOO_LARGE } else { Problem::bad_request("the body broke off") })
        }
        Err(_) => Err(Problem::BODY_TOO_SLOW),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

/// Reads an object: a list of its values in order would do for serde, but is not in the document.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Problem::bad_request("the body is not as it should be: it is no JSON object"));
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the body is not as it should be: {error}")))
}

/// `limit` as a number.
pub(super) fn limit(given: Option<&str>) -> Result<usize, Problem> {
    let Some(text) = given else { return Ok(USUAL_PAGE) };
    let number = text.parse().ok().filter(|number| (1..=LARGEST_PAGE).contains(number));
    number.ok_or_else(|| Problem::bad_request(format!("limit: choose a number from 1 to {LARGEST_PAGE}")))
}

/// The operator's words.
pub(super) fn words(given: Option<&str>) -> Result<Words, Problem> {
    Words::parse(given.unwrap_or_default()).ok_or_else(|| {
        Problem::bad_request("reason: write one line of at most 200 characters, without control characters")
    })
}

/// A tenant as the gateway shows it, in its one spelling; `,` is that of the users who have none.
pub(super) fn tenant(state: &AdminState, text: &str) -> Result<TenantId, Problem> {
    if text == TenantId::none().shown() {
        return Ok(TenantId::none());
    }
    let rules = state.config().identity.rules;
    rules.shown_tenant(text).map_err(|error| Problem::bad_request(format!("tenant: {error}")))
}

/// A user as the gateway shows it, of that kind.
pub(super) fn user(text: &str, kind: Option<&UserKind>) -> Result<UserId, Problem> {
    let user = UserId::parse(text).map_err(|error| Problem::bad_request(format!("user: {error}")))?;
    Ok(user.of_kind(kind))
}

/// The kind of a user's login.
pub(super) fn kind(given: Option<&str>) -> Result<Option<UserKind>, Problem> {
    let parse = |text| UserKind::parse(text).map_err(|error| Problem::bad_request(format!("kind: {error}")));
    given.map(parse).transpose()
}

/// The kind of the user whom a path names.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct KindParameter {
    /// The kind of the user's login (`login.kind`), where there are several
    #[param(min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    pub(super) kind: Option<String>,
}

/// The `{id}` of a path. What cannot be an id is nobody's.
pub(super) struct SessionPath(pub(super) SessionId);

impl FromRequestParts<AdminState> for SessionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, Problem> {
        let id = captured(parts, state, "id").await?;
        SessionId::parse(id.as_bytes()).map(Self).ok_or(Problem::NO_SESSION)
    }
}

/// The `{id}` of a path of a finding.
pub(super) struct FindingPath(pub(super) FindingId);

impl FromRequestParts<AdminState> for FindingPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, Problem> {
        captured(parts, state, "id").await?.parse().map(Self).map_err(|_| Problem::NO_FINDING)
    }
}

/// The `{id}` of a path of a lock.
pub(super) struct LockPath(pub(super) LockId);

impl FromRequestParts<AdminState> for LockPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, Problem> {
        LockId::parse(&captured(parts, state, "id").await?).map(Self).ok_or(Problem::NO_LOCK)
    }
}

/// The `{tenant}` of a path.
pub(super) struct TenantPath(pub(super) TenantId);

impl FromRequestParts<AdminState> for TenantPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, Problem> {
        tenant(state, &captured(parts, state, "tenant").await?).map(Self)
    }
}

/// The `{user}` of a path: of no kind, which the query says.
pub(super) struct UserPath(pub(super) UserId);

impl FromRequestParts<AdminState> for UserPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AdminState) -> Result<Self, Problem> {
        user(&captured(parts, state, "user").await?, None).map(Self)
    }
}

/// A captured part of the path, its percent-escapes decoded.
async fn captured(parts: &mut Parts, state: &AdminState, name: &str) -> Result<String, Problem> {
    let bad = |_| Problem::bad_request(format!("the path's {name} is not UTF-8"));
    let captured = RawPathParams::from_request_parts(parts, state).await.map_err(bad)?;
    let value = captured.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    value.ok_or_else(|| Problem::internal(&"a route does not capture what its handler wants"))
}
