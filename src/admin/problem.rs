//! Errors of the operator's listener: RFC 9457 problem details, made into HTTP in this one place.
//!
//! What the operator's tool is told is here. What only the log may know (why a store does not answer) is logged where it
//! is found, and never told.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::sessions::NotIssued;
use crate::store::Unavailable;

/// The media type of errors.
pub(super) const CONTENT_TYPE: &str = "application/problem+json";
/// The longest detail, in characters: it may quote what was sent.
const LONGEST_DETAIL: usize = 300;

/// An error as the operator's tools read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    /// In seconds.
    retry_after: Option<u64>,
}

/// An error (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// Always `about:blank`: status and code say it all (RFC 9457, section 4.2.1).
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'a str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, for people.
    detail: &'a str,
    /// What is wrong, for programs.
    code: &'static str,
}

impl Problem {
    pub(super) const NOT_FOUND: Self = Self::told(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path");
    pub(super) const NO_SESSION: Self =
        Self::told(StatusCode::NOT_FOUND, "session_not_found", "there is no live session of this id");
    pub(super) const NO_FINDING: Self = Self::told(
        StatusCode::NOT_FOUND,
        "finding_not_found",
        "there is no finding of this id; they are kept for 90 days",
    );
    pub(super) const NO_LOCK: Self =
        Self::told(StatusCode::NOT_FOUND, "lock_not_found", "there is no lock of this id in force");
    pub(super) const METHOD_NOT_ALLOWED: Self = Self::told(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not take this method; the Allow header has those that it takes",
    );
    pub(super) const HOST_NOT_ALLOWED: Self = Self::told(
        StatusCode::MISDIRECTED_REQUEST,
        "host_not_allowed",
        "this listener answers to addresses, to localhost, and to the names in admin.hosts",
    );
    pub(super) const UNAUTHORIZED: Self = Self::told(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "show a token of the configuration: `Authorization: Bearer …`",
    );
    pub(super) const BODY_TOO_LARGE: Self =
        Self::told(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is larger than 16 KiB");
    pub(super) const BODY_TOO_SLOW: Self =
        Self::told(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body did not come within 10 seconds");
    pub(super) const NOT_JSON: Self =
        Self::told(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", "send the body as `Content-Type: application/json`");
    pub(super) const SUPERSEDED: Self = Self::told(
        StatusCode::CONFLICT,
        "session_revoked",
        "the user or the tenant was revoked in this very moment; there is no session, ask again",
    );
    pub(super) const TENANT_REFUSED: Self = Self::told(
        StatusCode::FORBIDDEN,
        "tenant_suspended",
        "the tenant is suspended or deleted; there is no session",
    );
    /// As for a login: a place comes free when somebody logs out or a session times out.
    pub(super) const TOO_MANY_SESSIONS: Self = Self::retried(
        60,
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_sessions",
        "the user has as many sessions as session.max_per_user allows; there is no further one",
    );
    /// Nothing was done.
    pub(super) const NOT_AUDITED: Self = Self::retried(
        5,
        StatusCode::SERVICE_UNAVAILABLE,
        "audit_unavailable",
        "the audit log cannot be written, and nothing is changed without it; nothing was done",
    );
    /// It was done, and nobody can tell whether the log says so.
    pub(super) const AUDIT_UNCONFIRMED: Self = Self::retried(
        5,
        StatusCode::SERVICE_UNAVAILABLE,
        "audit_unconfirmed",
        "it was done, but the audit log could not confirm its line; the line is written once the log takes lines again",
    );
    /// The audit log goes to standard output alone.
    pub(super) const NO_EVENTS_KEPT: Self = Self::told(
        StatusCode::NOT_FOUND,
        "audit_not_kept",
        "the audit log is standard output, and there is no shared store: events are not kept here",
    );

    const fn told(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self { status, code, detail: Cow::Borrowed(detail), retry_after: None }
    }

    /// The same with a time to wait, in seconds.
    const fn retried(retry_after: u64, status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self { status, code, detail: Cow::Borrowed(detail), retry_after: Some(retry_after) }
    }

    /// The request's fault: `detail` says what is wrong with it.
    pub(super) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::told(StatusCode::BAD_REQUEST, "bad_request", "").with_detail(detail)
    }

    /// The operator's: another role is needed.
    pub(super) fn forbidden_role(needed: &str) -> Self {
        let detail = format!("this token's roles do not have `{needed}`, which this call needs");
        Self::told(StatusCode::FORBIDDEN, "forbidden_role", "").with_detail(detail)
    }

    /// Too many failed attempts from one place.
    pub(super) const fn too_many_failures(retry_after: u64) -> Self {
        Self::retried(
            retry_after,
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "too many calls without a right token came from this address; one with a right token is answered",
        )
    }

    /// The gateway's own fault.
    pub(super) fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a call of the admin API failed");
        Self::told(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the gateway failed; its log says how")
    }

    fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        if let Some((end, _)) = self.detail.char_indices().nth(LONGEST_DETAIL) {
            self.detail = format!("{}…", self.detail.get(..end).unwrap_or_default()).into();
        }
        self
    }

    /// What is wrong, for programs.
    pub(super) const fn code(&self) -> &'static str {
        self.code
    }

    /// What is wrong, for people.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The status.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// When to try again, in seconds.
    pub(super) const fn retry_after(&self) -> Option<u64> {
        self.retry_after
    }
}

/// The store's fault.
impl From<NotIssued> for Problem {
    fn from(none: NotIssued) -> Self {
        match none {
            NotIssued::Unavailable(unavailable) => unavailable.into(),
            NotIssued::LimitReached => Self::TOO_MANY_SESSIONS,
            NotIssued::Superseded => Self::SUPERSEDED,
            NotIssued::TenantRefused => Self::TENANT_REFUSED,
            NotIssued::NoRandomness(error) => Self::internal(&error),
            NotIssued::NotSealed(error) => Self::internal(&error),
        }
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        tracing::warn!(%error, "a call of the admin API was not answered");
        let detail = "the session store does not answer; what was asked for may have been done, or is done once it answers, or not";
        Self::retried(1, StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        // A few texts and a number: it cannot fail.
        (self.status, headers, serde_json::to_string(&body).unwrap_or_default()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_quoted_but_not_at_length() {
        let problem = Problem::bad_request("é".repeat(100_000));
        assert_eq!(problem.detail.chars().count(), LONGEST_DETAIL + 1);
        assert_eq!(Problem::bad_request("short").detail, "short");
    }
}
