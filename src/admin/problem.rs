//! Errors of the operator's listener: RFC 9457 problem details.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// An error as the operator's tools read it. The type is `about:blank` (RFC 9457, section 4.2.1): the status says it all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    detail: &'static str,
}

impl Problem {
    pub(super) const NOT_FOUND: Self = Self { status: StatusCode::NOT_FOUND, detail: "there is nothing at this path" };
    pub(super) const METHOD_NOT_ALLOWED: Self =
        Self { status: StatusCode::METHOD_NOT_ALLOWED, detail: "this path can only be read, with GET" };
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        (self.status, [kind], body.to_string()).into_response()
    }
}
