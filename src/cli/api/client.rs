//! One call to the admin API, and lists page by page.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::access::Access;
use super::trouble::Trouble;
use crate::http::printable;

/// To connect, with TLS.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// From the request to the end of its answer. A revocation counts for 5 s, and waits for the audit log.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// The largest answer: a page of the largest items.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;
/// The longest text of the API's that is shown of an error, in bytes.
const LONGEST_DETAIL: usize = 1000;
/// The most items asked for at once.
const PAGE: u64 = 500;
/// All but what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A value as a part of a path. What a proxy on the way could take for another path is refused: of
/// `/users/../revoke` it makes the call that ends a whole tenant.
pub(in crate::cli) fn path_segment(value: &str) -> Result<String, Trouble> {
    if value.is_empty() || value.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(Trouble::Usage(format!(
            "\"{}\" cannot be named here: it would change the path of the call",
            printable(value.as_bytes(), LONGEST_DETAIL)
        )));
    }
    Ok(utf8_percent_encode(value, ESCAPED).to_string())
}

/// Calls the admin API.
pub(in crate::cli) struct Client {
    access: Access,
}

impl Client {
    /// Calls it there, as that.
    pub(in crate::cli) const fn new(access: Access) -> Self {
        Self { access }
    }

    /// Asks for what is at `path` with this query.
    pub(in crate::cli) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Trouble> {
        self.call(Method::GET, &target(path, query), None).await
    }

    /// The same; `None`: the token may not look.
    pub(in crate::cli) async fn get_if_allowed(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Value>, Trouble> {
        match self.get(path, query).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Trouble::Forbidden(_)) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Changes what is at `target`, a path with its query.
    pub(in crate::cli) async fn call(
        &self,
        method: Method,
        target: &str,
        body: Option<&Value>,
    ) -> Result<Value, Trouble> {
        let io = self.connect().await?;
        let request = self.request(method, target, body)?;
        match timeout(ANSWER_WITHIN, exchange(io, request)).await {
            Ok(Ok((status, body))) => self.understand(status, &body),
            Ok(Err(error)) => Err(self.unavailable(&format!("broke off: {error}"))),
            Err(_) => Err(self.unavailable("did not answer within 30 s")),
        }
    }

    /// A list, to be fetched page by page.
    pub(in crate::cli) fn pages<'a>(&'a self, path: &'a str, query: Vec<(&'a str, &'a str)>, limit: u64) -> Pages<'a> {
        Pages { client: self, path, query, left: limit, cursor: None, is_over: false }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, Trouble> {
        let Access { host, port, trust, .. } = &self.access;
        let connect = async {
            let socket = TcpStream::connect((host.as_str(), *port)).await?;
            socket.set_nodelay(true)?;
            let stream: Box<dyn Stream> = match trust {
                Some(trust) => Box::new(trust.connect(host, socket).await?),
                None => Box::new(socket),
            };
            io::Result::Ok(stream)
        };
        let cause = match timeout(CONNECT_WITHIN, connect).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => String::from("no connection within 5 s"),
        };
        let advice = if trust.is_some() {
            "is the gateway running, is its certificate for this name (--url names another) and from a known authority \
             (--ca)?"
        } else {
            "is the gateway running, and is this its admin.listen? --url names another"
        };
        Err(self.unavailable(&format!("cannot be reached: {cause}; {advice}")))
    }

    fn request(&self, method: Method, target: &str, body: Option<&Value>) -> Result<Request<Full<Bytes>>, Trouble> {
        let bad = |error: http::Error| Trouble::Usage(format!("this cannot be sent: {error}"));
        let bearer = format!("Bearer {}", self.access.token.expose_secret());
        let mut bearer = HeaderValue::try_from(bearer).map_err(|error| bad(error.into()))?;
        bearer.set_sensitive(true);
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, &self.access.authority)
            .header(USER_AGENT, concat!("session-gateway/", env!("CARGO_PKG_VERSION")))
            .header(AUTHORIZATION, bearer);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        request.body(Full::new(Bytes::from(body))).map_err(bad)
    }

    fn understand(&self, status: StatusCode, body: &[u8]) -> Result<Value, Trouble> {
        let answer = serde_json::from_slice::<Value>(body);
        if status.is_success() {
            return answer.map_err(|_| self.failed("answered with something other than JSON; is it the admin API?"));
        }
        let problem = answer.unwrap_or_default();
        let detail = problem.get("detail").and_then(Value::as_str);
        let detail = detail.map(|text| printable(text.as_bytes(), LONGEST_DETAIL));
        let Access { token_source, .. } = &self.access;
        match (status, detail) {
            (StatusCode::UNAUTHORIZED, _) => Err(self.failed(&format!(
                "does not know the token (401), which is {token_source}; name one of the gateway's with --token-file"
            ))),
            (StatusCode::FORBIDDEN, Some(detail)) => Err(Trouble::Forbidden(format!(
                "the admin API at {} refused (403) {token_source}: {detail}; name a token that may with --token-file",
                self.place()
            ))),
            (StatusCode::BAD_REQUEST, Some(detail)) => Err(Trouble::Usage(detail)),
            (StatusCode::NOT_FOUND, Some(detail)) => Err(Trouble::Failed(format!("not found: {detail}"))),
            (StatusCode::NOT_FOUND, None) => Err(self.failed(
                "has no such call (404); is it the admin API, and has the gateway a token (admin.token) and this version?",
            )),
            (status, Some(detail)) if status.is_server_error() => {
                Err(self.unavailable(&format!("failed ({}): {detail}", status.as_u16())))
            }
            (status, None) if status.is_server_error() => {
                Err(self.unavailable(&format!("failed ({}); its log says how", status.as_u16())))
            }
            (status, detail) => {
                let detail = detail.unwrap_or_else(|| String::from("is it the admin API?"));
                Err(self.failed(&format!("refused ({}): {detail}", status.as_u16())))
            }
        }
    }

    fn place(&self) -> String {
        let scheme = if self.access.trust.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.access.authority)
    }

    fn failed(&self, what: &str) -> Trouble {
        Trouble::Failed(format!("the admin API at {} {what}", self.place()))
    }

    fn unavailable(&self, what: &str) -> Trouble {
        Trouble::Unavailable(format!("the admin API at {} {what}", self.place()))
    }
}

/// A path with its query.
pub(in crate::cli) fn target(path: &str, query: &[(&str, &str)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    encoded.extend_pairs(query);
    format!("{path}?{}", encoded.finish())
}

async fn exchange(io: Box<dyn Stream>, request: Request<Full<Bytes>>) -> io::Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(io::Error::other)?;
    let call = async {
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await.map_err(io::Error::other)?;
        Ok((status, body.to_bytes()))
    };
    let mut call = std::pin::pin!(call);
    tokio::select! {
        answer = &mut call => answer,
        // It ends before the last bytes of its answer are taken.
        _ = connection => call.await,
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A list on its way.
pub(in crate::cli) struct Pages<'a> {
    client: &'a Client,
    path: &'a str,
    query: Vec<(&'a str, &'a str)>,
    left: u64,
    cursor: Option<String>,
    is_over: bool,
}

impl Pages<'_> {
    /// The next items; `None`: there are no more, or the limit is reached.
    pub(in crate::cli) async fn next(&mut self) -> Result<Option<Vec<Value>>, Trouble> {
        if self.is_over || self.left == 0 {
            return Ok(None);
        }
        let limit = self.left.min(PAGE).to_string();
        let mut query = self.query.clone();
        query.push(("limit", &limit));
        query.extend(self.cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let mut page = self.client.get(self.path, &query).await?;
        let Some(Value::Array(mut items)) = page.get_mut("items").map(Value::take) else {
            return Err(self.client.failed("answered with no list; is it the admin API?"));
        };
        let next = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        if next.is_some() && next == self.cursor {
            return Err(self.client.failed("answered with the same page twice; its log may say why"));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        items.truncate(most);
        self.left = self.left.saturating_sub(u64::try_from(items.len()).unwrap_or(u64::MAX));
        self.is_over = next.is_none();
        self.cursor = next;
        Ok(Some(items))
    }

    /// All of it; and whether the limit cut it.
    pub(in crate::cli) async fn all(mut self) -> Result<(Vec<Value>, bool), Trouble> {
        let mut all = Vec::new();
        while let Some(items) = self.next().await? {
            all.extend(items);
        }
        Ok((all, !self.is_over))
    }
}

#[cfg(test)]
mod tests;
