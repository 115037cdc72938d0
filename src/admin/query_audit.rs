//! `GET /v1/audit`: what happened, oldest or newest first.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::answer::Answer;
use super::auth::{Caller, Read};
use super::input::{self, Query, limit, tenant, user};
use super::list_sessions::bad_cursor;
use super::problem::{Problem, ProblemBody};
use super::state::AdminState;
use crate::audit::{AuditCursor, AuditFilter, AuditRecord, AuditType, QueryError};
use crate::clock::WallTime;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// At this time or later (RFC 3339)
    #[param(format = DateTime)]
    since: Option<String>,
    /// Before this time (RFC 3339)
    #[param(format = DateTime)]
    until: Option<String>,
    /// Of this tenant
    #[param(min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    tenant: Option<String>,
    /// Of this user
    #[param(min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    user: Option<String>,
    /// Of users of this kind (`login.kind`); without it those of no kind where `user` is given
    #[serde(rename = "kind")]
    #[param(rename = "kind", min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    user_kind: Option<String>,
    /// Of this type, as `session.ended`
    #[serde(rename = "type")]
    #[param(schema_with = kinds)]
    kind: Option<String>,
    /// Which come first
    #[param(schema_with = orders)]
    order: Option<String>,
    /// Where the page begins: `next_cursor` of the one before
    #[param(max_length = 256, pattern = r"^[0-9A-Za-z_.:-]+$")]
    cursor: Option<String>,
    /// The most items of the page
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
}

/// A page of audit events
#[derive(Serialize, ToSchema)]
pub(super) struct Events {
    /// Oldest first, unless `order` says otherwise; may be fewer than `limit`, even none, without being the last page
    items: Vec<AuditRecord>,
    /// Where the next page begins; null: there is nothing more now
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Lists audit events
///
/// With Redis those of all gateways, within a second; else this gateway's own.
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit", security(("token" = ["read"])),
    params(Parameters),
    responses(
        (status = 200, description = "A page", body = Events),
        (status = 404, description = "The audit log is standard output, and no store is shared", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn query_audit(
    _: Caller<Read>,
    State(state): State<AdminState>,
    Query(query): Query<Parameters>,
) -> Result<Answer<Events>, Problem> {
    let filter = AuditFilter {
        since: query.since.as_deref().map(|text| time("since", text)).transpose()?,
        until: query.until.as_deref().map(|text| time("until", text)).transpose()?,
        tenant: query.tenant.as_deref().map(|text| tenant(&state, text)).transpose()?,
        user: query.user.as_deref().map(|text| user(text, None)).transpose()?,
        user_kind: input::kind(query.user_kind.as_deref())?,
        kind: query.kind.as_deref().map(kind).transpose()?,
    };
    let after: Option<AuditCursor> = match &query.cursor {
        Some(text) => Some(text.parse().map_err(|_| bad_cursor())?),
        None => None,
    };
    let (events, limit) = (&state.services.events, limit(query.limit.as_deref())?);
    let page = match query.order.as_deref() {
        None | Some(OLDEST) => events.page(&filter, after.as_ref(), limit).await,
        Some(NEWEST) => events.back(&filter, after.as_ref(), limit).await,
        Some(_) => return Err(Problem::bad_request(format!("order: choose {OLDEST} or {NEWEST}"))),
    };
    let page = page.map_err(|error| match error {
        QueryError::Unavailable(error) => Problem::from(error),
        QueryError::Cursor(_) => bad_cursor(),
        QueryError::NotKept => Problem::NO_EVENTS_KEPT,
    })?;
    Ok(Answer(Events { items: page.events, next_cursor: page.more.then(|| page.position.to_string()) }))
}

/// The words for which come first.
const OLDEST: &str = "oldest";
const NEWEST: &str = "newest";

fn orders() -> Object {
    let words = Some([OLDEST, NEWEST]);
    ObjectBuilder::new().schema_type(Type::String).enum_values(words).default(Some(OLDEST.into())).build()
}

/// A time; nothing happened before 1970.
fn time(name: &str, text: &str) -> Result<WallTime, Problem> {
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        Problem::bad_request(format!("{name}: is not a time; write it as `2026-11-24T17:00:00Z`, a `+` as `%2B`"))
    })?;
    Ok(WallTime::from_micros(u64::try_from(time.as_microsecond()).unwrap_or(0)))
}

/// Every type there is, for the document.
fn kinds() -> Object {
    let kinds = AuditType::ALL.map(AuditType::as_str);
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(kinds)).build()
}

fn kind(text: &str) -> Result<AuditType, Problem> {
    AuditType::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let known = AuditType::ALL.map(AuditType::as_str).join(", ");
        Problem::bad_request(format!("type: is not known; choose one of {known}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_and_none_is_before_1970() {
        for (text, expected) in [
            ("1970-01-01T00:00:01Z", Some(1_000_000)),
            ("1970-01-01T01:00:00.5+01:00", Some(500_000)),
            ("1815-12-10T00:00:00Z", Some(0)),
            ("1970-01-01", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(time("since", text).ok().map(WallTime::as_micros), expected, "{text}");
        }
    }

    #[test]
    fn every_type_can_be_asked_for_and_no_other() {
        for known in AuditType::ALL {
            assert_eq!(kind(known.as_str()), Ok(known));
        }
        assert!(kind("session").is_err());
    }
}
