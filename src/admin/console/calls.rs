//! The console as a client of the admin API: each of its pages asks by calls, in the name of who signed in, and has no
//! other way to know or to do anything. So roles, audit lines, bounds and answers are those of the calls.

use std::net::IpAddr;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use http::response::Parts;
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::admin::auth::{Peer, SignedIn};
use crate::admin::problem::Problem;
use crate::admin::token_digest::TokenDigest;

/// More than the largest page of any call.
const LARGEST_ANSWER: usize = 64 << 20;

/// What stands in a path or a query as it is. Dots do not: a path of dots alone leads elsewhere.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// A text as part of a path or a query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// A path with what of its parameters is there.
pub(super) fn with_query<'a>(path: &str, parameters: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The calls, as one service.
pub(in crate::admin) type Calls = TowerToHyperService<Router>;

/// Calls in an operator's name.
pub(super) struct Client {
    pub(super) calls: Calls,
    pub(super) token: TokenDigest,
    pub(super) address: IpAddr,
    pub(super) user_agent: Option<HeaderValue>,
}

/// Why a call did not do what it was to.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) detail: String,
    /// When to try again, in seconds.
    pub(super) retry_after: Option<u64>,
}

impl Refused {
    /// The gateway's own fault.
    pub(super) fn internal(error: &dyn std::fmt::Display) -> Self {
        Problem::internal(error).into()
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self {
            status: problem.status(),
            code: problem.code().to_owned(),
            detail: problem.detail().to_owned(),
            retry_after: problem.retry_after(),
        }
    }
}

/// A problem, as the calls answer it.
#[derive(Deserialize)]
struct Told {
    code: String,
    detail: String,
}

impl Client {
    /// Asks.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refused> {
        self.call(Method::GET, path, None).await
    }

    /// Has something done, or asks.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, Refused> {
        let (head, body) = self.send(method, path, body).await?;
        if head.status.is_success() {
            return read(&body);
        }
        let Told { code, detail } = read(&body)?;
        let seconds = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Err(Refused { status: head.status, code, detail, retry_after: seconds })
    }

    /// Asks what is answered alike by a gateway that is well and by one that is not.
    pub(super) async fn get_whatever_the_status<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refused> {
        let (_, body) = self.send(Method::GET, path, None).await?;
        read(&body)
    }

    /// Asks for a text.
    pub(super) async fn get_text(&self, path: &str) -> Result<String, Refused> {
        let (_, body) = self.send(Method::GET, path, None).await?;
        String::from_utf8(body.to_vec()).map_err(|error| Refused::internal(&error))
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(Parts, Bytes), Refused> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(agent) = &self.user_agent {
            request = request.header(header::USER_AGENT, agent);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut request = request.body(body).map_err(|error| Refused::internal(&error))?;
        request.extensions_mut().insert(Peer(self.address));
        request.extensions_mut().insert(SignedIn(self.token));
        let (head, body) = self.calls.call(request).await.unwrap_or_else(|never| match never {}).into_parts();
        let body = to_bytes(body, LARGEST_ANSWER).await.map_err(|error| Refused::internal(&error))?;
        Ok((head, body))
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::internal(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_place_in_a_path_or_a_query() {
        assert_eq!(encoded("a/b?c#d&e=f .."), "a%2Fb%3Fc%23d%26e%3Df%20%2E%2E");
        assert_eq!(encoded("TY_M0SkkOT005ztEzAACUg-0"), "TY_M0SkkOT005ztEzAACUg-0");
        assert_eq!(with_query("/p", [("a", None), ("b", None)]), "/p");
        assert_eq!(with_query("/p", [("a", Some("x&b=1 #é")), ("b", Some(""))]), "/p?a=x%26b%3D1+%23%C3%A9&b=");
    }
}
