//! The Cookie header that a browser would send after an answer: for the whoami capture, which asks the backend who has
//! just logged in, with the cookies that the login set.
//!
//! RFC 6265 section 5, as far as one exchange needs it; attributes are read by the `cookie` crate. It keeps nothing
//! beyond that exchange. Attributes that only
//! limit where a browser sends a cookie from (Secure, HttpOnly, SameSite) do not matter here: the question goes to the
//! same backend, for the same browser.

use ::http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use cookie::Cookie;
use cookie::time::{Duration, OffsetDateTime};

#[cfg(test)]
mod tests;

#[derive(Clone)]
struct Kept {
    name: Vec<u8>,
    value: Vec<u8>,
    /// `None`: it came with the request, which does not say for which path it was set.
    path: Option<Vec<u8>>,
}

/// The cookies of one browser for one host.
#[derive(Clone)]
pub(super) struct BrowserJar {
    host: Box<str>,
    cookies: Vec<Kept>,
}

impl BrowserJar {
    /// The jar as a request shows it. `host` is the request's host in lower case, without a port. Take the gateway's own
    /// cookie out of the request before.
    #[must_use]
    pub(super) fn of_request(headers: &HeaderMap, host: &str) -> Self {
        let lines = headers.get_all(COOKIE).iter();
        let pieces = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let cookies = pieces
            .map(<[u8]>::trim_ascii)
            .filter(|piece| !piece.is_empty())
            .map(|piece| {
                let (name, value) = name_and_value(piece);
                Kept { name: name.to_vec(), value: value.to_vec(), path: None }
            })
            .collect();
        Self { host: host.into(), cookies }
    }

    /// Takes in the Set-Cookie lines of the answer to a request for `path`. `unix_seconds` is the time that Expires is
    /// compared with. Drop lines of the gateway's own name before.
    pub(super) fn receive(&mut self, headers: &HeaderMap, path: &str, unix_seconds: u64) {
        for line in headers.get_all(SET_COOKIE) {
            self.receive_line(line.as_bytes(), path.as_bytes(), unix_seconds);
        }
    }

    fn receive_line(&mut self, line: &[u8], request_path: &[u8], unix_seconds: u64) {
        let end = memchr::memchr(b';', line).unwrap_or(line.len());
        let (name, value) = name_and_value(line.get(..end).unwrap_or_default());
        if name.is_empty() && value.is_empty() {
            return;
        }
        let attributes = Attributes::read(line.get(end + 1..).unwrap_or_default());
        if attributes.domain.as_deref().is_some_and(|domain| !self.is_covered_by(domain)) {
            return;
        }
        let path = attributes.path.as_ref().map_or_else(|| default_path(request_path), String::as_bytes);
        // The browser replaces a cookie of the same name and path. One that came with the request has an unknown path;
        // a login that sets the name again means the same cookie.
        self.cookies.retain(|cookie| {
            cookie.name != name || cookie.path.as_ref().is_some_and(|of_cookie| of_cookie.as_slice() != path)
        });
        if !attributes.is_expired(unix_seconds) {
            self.cookies.push(Kept { name: name.to_vec(), value: value.to_vec(), path: Some(path.to_vec()) });
        }
    }

    /// Takes out the cookies of these names.
    pub(super) fn forget(&mut self, names: &[&str]) {
        self.cookies.retain(|cookie| !names.iter().any(|name| name.as_bytes() == cookie.name));
    }

    /// The cookies of these names, a line each, in the order of their names and values: where they are good for is not told.
    #[must_use]
    pub(super) fn values_of(&self, names: &[&str]) -> Vec<u8> {
        let is_meant = |cookie: &&Kept| names.iter().any(|name| name.as_bytes() == cookie.name);
        let mut lines: Vec<Vec<u8>> = self
            .cookies
            .iter()
            .filter(is_meant)
            .map(|cookie| [&cookie.name, &b"="[..], &cookie.value].concat())
            .collect();
        lines.sort_unstable();
        lines.dedup();
        lines.join(&b'\n')
    }

    /// The names of its first cookies, each once, as far as they can stand in a Set-Cookie line: as tokens (RFC 6265).
    #[must_use]
    pub(super) fn names(&self, most: usize) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for cookie in &self.cookies {
            let Ok(name) = std::str::from_utf8(&cookie.name) else { continue };
            if names.len() < most && !names.contains(&name) && HeaderName::from_bytes(name.as_bytes()).is_ok() {
                names.push(name);
            }
        }
        names
    }

    /// The Cookie header for a request to `path`: longest paths first, then as they came. `None` without any cookie.
    #[must_use]
    pub(super) fn cookie_header(&self, path: &str) -> Option<HeaderValue> {
        let path = path.split('?').next().unwrap_or_default().as_bytes();
        let mut sent: Vec<&Kept> = self
            .cookies
            .iter()
            .filter(|cookie| cookie.path.as_ref().is_none_or(|of_cookie| path_matches(path, of_cookie)))
            .collect();
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.as_ref().map_or(1, Vec::len)));
        let pairs: Vec<Vec<u8>> = sent
            .iter()
            .map(|cookie| match cookie.name.as_slice() {
                b"" => cookie.value.clone(),
                name => [name, b"=", &cookie.value].concat(),
            })
            .collect();
        if pairs.is_empty() {
            return None;
        }
        let mut line = HeaderValue::from_bytes(&pairs.join(&b"; "[..])).ok()?;
        line.set_sensitive(true);
        Some(line)
    }

    /// RFC 6265 section 5.1.3; an address is covered by itself only, which a name with a dot before it never equals.
    fn is_covered_by(&self, domain: &str) -> bool {
        let domain = domain.strip_prefix('.').unwrap_or(domain);
        let host = &*self.host;
        if host == domain {
            return true;
        }
        let is_address = host.starts_with('[') || host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        !is_address && host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    }
}

impl std::fmt::Debug for BrowserJar {
    /// Names are no secrets; values are.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BrowserJar").field("cookies", &self.cookies.len()).finish_non_exhaustive()
    }
}

fn name_and_value(pair: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', pair) {
        None => (b"", pair.trim_ascii()),
        Some(at) => {
            let (name, value) = (pair.get(..at).unwrap_or_default(), pair.get(at + 1..).unwrap_or_default());
            (name.trim_ascii(), value.trim_ascii())
        }
    }
}

/// The attributes that decide whether and where a cookie is sent, as the `cookie` crate reads them.
struct Attributes {
    domain: Option<String>,
    path: Option<String>,
    max_age: Option<Duration>,
    expires: Option<OffsetDateTime>,
}

impl Attributes {
    /// `parts` are what follows the first semicolon. Name and value are not the crate's to read: it takes no cookie
    /// without a name, and no bytes that are not UTF-8.
    fn read(parts: &[u8]) -> Self {
        let line = [b"x=;", parts].concat();
        let cookie = Cookie::parse(String::from_utf8_lossy(&line)).ok();
        let cookie = cookie.as_ref();
        Self {
            domain: cookie.and_then(Cookie::domain).map(str::to_ascii_lowercase),
            path: cookie.and_then(Cookie::path).filter(|path| path.starts_with('/')).map(str::to_owned),
            max_age: cookie.and_then(Cookie::max_age),
            expires: cookie.and_then(Cookie::expires_datetime),
        }
    }

    /// Max-Age wins over Expires.
    fn is_expired(&self, unix_seconds: u64) -> bool {
        let now = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
        match self.max_age {
            Some(age) => !age.is_positive(),
            None => self.expires.is_some_and(|expires| expires.unix_timestamp() <= now),
        }
    }
}

/// RFC 6265 section 5.1.4.
fn default_path(request_path: &[u8]) -> &[u8] {
    match memchr::memrchr(b'/', request_path) {
        None | Some(0) => b"/",
        Some(at) => request_path.get(..at).unwrap_or(b"/"),
    }
}

fn path_matches(request: &[u8], cookie: &[u8]) -> bool {
    request.strip_prefix(cookie).is_some_and(|rest| rest.is_empty() || cookie.ends_with(b"/") || rest.starts_with(b"/"))
}
