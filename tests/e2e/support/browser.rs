//! A small browser: a cookie jar and a few defaults. It follows no redirects and opens a connection for each request.

use std::net::SocketAddr;

use serde_json::Value;

use super::http::{Response, SetCookie, Wire};

/// The gateway's cookie in development mode.
pub const SESSION_COOKIE: &str = "session-gateway";

/// A client with a cookie jar. A clone is a thief with a copy of the jar.
#[derive(Clone)]
pub struct Browser {
    address: SocketAddr,
    host: String,
    cookies: Vec<(String, String)>,
    headers: Vec<(String, String)>,
}

impl Browser {
    /// A fresh browser for the server at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, host: address.to_string(), cookies: Vec::new(), headers: Vec::new() }
    }

    /// The same jar, used with another server (another gateway of the same site).
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, host: address.to_string(), ..self.clone() }
    }

    /// Sends this header with every request.
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends no such header any more.
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| key != name);
        self
    }

    /// A cookie's value.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The session token; fails when there is none.
    #[track_caller]
    pub fn token(&self) -> String {
        self.cookie(SESSION_COOKIE).expect("the browser holds a session cookie").to_owned()
    }

    /// Whether the browser holds a session cookie.
    pub fn has_session_cookie(&self) -> bool {
        self.cookie(SESSION_COOKIE).is_some()
    }

    /// Puts a cookie into the jar.
    pub fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.retain(|(key, _)| key != name);
        self.cookies.push((name.to_owned(), value.to_owned()));
    }

    /// A request to be completed.
    pub fn request(&mut self, method: &str, target: &str) -> Request<'_> {
        Request { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None, browser: self }
    }

    /// `GET target`, as a page's script does it.
    pub fn get(&mut self, target: &str) -> Response {
        self.request("GET", target).send()
    }

    /// `GET target`, as a click on a link does it.
    pub fn navigate(&mut self, target: &str) -> Response {
        self.request("GET", target).header("Sec-Fetch-Mode", "navigate").header("Accept", "text/html").send()
    }

    /// `POST target` without a body.
    pub fn post(&mut self, target: &str) -> Response {
        self.request("POST", target).send()
    }

    /// `POST target` with JSON.
    pub fn post_json(&mut self, target: &str, body: &Value) -> Response {
        self.request("POST", target).json(body).send()
    }

    /// `POST target` with a form. Values must need no escaping.
    pub fn post_form(&mut self, target: &str, fields: &[(&str, &str)]) -> Response {
        let body: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let kind = "application/x-www-form-urlencoded";
        self.request("POST", target).header("Content-Type", kind).body(body.join("&")).send()
    }

    fn keep(&mut self, response: &Response) {
        // In order, the last line of a name wins, as in a real browser.
        for cookie in response.headers.all("set-cookie").into_iter().map(SetCookie::parse) {
            self.cookies.retain(|(name, _)| *name != cookie.name);
            if !cookie.expires_it() {
                self.cookies.push((cookie.name, cookie.value));
            }
        }
    }
}

/// A request being put together.
pub struct Request<'b> {
    browser: &'b mut Browser,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request<'_> {
    /// Adds a header line.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body, sent with a `Content-Length`.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    /// The bytes that would be sent.
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let mut line = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            line("Host", &self.browser.host);
        }
        line("Connection", "close");
        for (name, value) in self.browser.headers.iter().chain(&self.headers) {
            line(name, value);
        }
        if !self.browser.cookies.is_empty() {
            let pairs: Vec<_> = self.browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            line("Cookie", &pairs.join("; "));
        }
        if let Some(body) = &self.body {
            line("Content-Length", &body.len().to_string());
        }
        // Header values of tests may hold any Latin-1 character; on the wire each is one byte.
        let mut bytes: Vec<u8> = head.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect();
        bytes.extend(b"\r\n");
        bytes.extend(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Sends it, keeps the cookies of the answer, and returns the answer.
    pub fn send(self) -> Response {
        self.try_send().expect("a whole answer")
    }

    /// Sends it; an answer that does not come or is cut short is an error.
    pub fn try_send(self) -> std::io::Result<Response> {
        let bytes = self.bytes();
        let mut wire = Wire::try_connect(self.browser.address)?;
        wire.try_send(bytes)?;
        let response = wire.try_receive(&self.method)?;
        self.browser.keep(&response);
        Ok(response)
    }

    /// Sends it and hangs up without reading.
    pub fn send_and_hang_up(self) {
        let bytes = self.bytes();
        Wire::connect(self.browser.address).send(bytes);
    }
}
