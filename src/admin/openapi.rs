//! The OpenAPI 3.1 document, made from the handlers: what each call answers by itself stands with its handler, what all
//! of them may answer is added here.

use axum::extract::Extension;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, HeaderBuilder, OpenApi, Ref, ResponseBuilder, response};
use utoipa::{Modify, OpenApi as _};

use super::auth::{Caller, Read};
use super::input::{NoParameters, Query};
use super::problem::{CONTENT_TYPE, Problem, ProblemBody};

/// The document's frame.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "session-gateway: admin API", description = "Sessions, tenants and audit events, for operators."),
    components(schemas(ProblemBody)),
    modifiers(&Tokens),
    tags(
        (name = "sessions", description = "Live sessions"),
        (name = "tenants", description = "Tenants and their users"),
        (name = "maintenance", description = "The site is closed for a while"),
        (name = "monitoring", description = "What was found, and which logins are locked"),
        (name = "audit", description = "What happened"),
    ),
)]
struct Frame;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, openapi: &mut OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// The document before any call is in it.
pub(super) fn frame() -> OpenApi {
    let mut frame = Frame::openapi();
    // No licence of the API's own, and nobody to write to.
    frame.info.license = None;
    frame.info.contact = None;
    frame
}

/// Statuses that every call may answer: its code in the document, and what it means.
const OF_ALL: [(u16, &str); 6] = [
    (400, "Something in the call is not understood; the detail says what"),
    (401, "No right token was shown"),
    (403, "The token's roles do not allow this call, or the tenant is suspended or deleted"),
    (429, "Too many calls without a right token from this address, or too many sessions of this user"),
    (431, "The head of the request is larger than 8 KiB"),
    (503, "The store or the audit log does not answer"),
];
/// Statuses of calls with a body.
const OF_BODIES: [(u16, &str); 3] = [
    (408, "The body did not come within 10 seconds"),
    (413, "The body is larger than 16 KiB"),
    (415, "The body is not `application/json`"),
];

/// The document with all that every call may answer.
pub(super) fn complete(mut openapi: OpenApi) -> OpenApi {
    for item in openapi.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        operations.into_iter().flatten().for_each(complete_operation);
    }
    openapi
}

fn complete_operation(operation: &mut Operation) {
    let of_bodies = OF_BODIES.iter().filter(|_| operation.request_body.is_some());
    for (status, meaning) in OF_ALL.iter().chain(of_bodies) {
        operation.responses.responses.entry(status.to_string()).or_insert_with(|| answer(*status, meaning).into());
    }
}

fn answer(status: u16, meaning: &str) -> response::Response {
    let mut answer = ResponseBuilder::new().description(meaning);
    // The server refuses a huge head before anything of it is understood.
    if status != 431 {
        let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        answer = answer.content(CONTENT_TYPE, problem);
    }
    let header = |description: &str| HeaderBuilder::new().description(Some(description)).build();
    match status {
        401 => answer.header("WWW-Authenticate", header("`Bearer`")),
        429 | 503 => answer.header("Retry-After", header("In seconds")),
        _ => answer,
    }
    .build()
}

/// The document as it is served.
#[derive(Clone, Debug)]
pub(super) struct Document(pub(super) axum::body::Bytes);

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "document", security(("token" = ["read"])),
    responses((status = 200, description = "An OpenAPI 3.1 document", body = serde_json::Value)),
)]
pub(super) async fn openapi(
    _: Caller<Read>,
    Query(NoParameters {}): Query<NoParameters>,
    Extension(Document(text)): Extension<Document>,
) -> Result<Response, Problem> {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(([kind], text).into_response())
}
