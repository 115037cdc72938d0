//! The Cookie header that a browser would send after an answer: for the whoami capture, which asks the backend who has
//! just logged in, with the cookies that the login set.
//!
//! RFC 6265 section 5, as far as one exchange needs it. It keeps nothing beyond that exchange. Attributes that only
//! limit where a browser sends a cookie from (Secure, HttpOnly, SameSite) do not matter here: the question goes to the
//! same backend, for the same browser.

use ::http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};

mod date;
#[cfg(test)]
mod tests;

#[derive(Clone, Debug)]
struct Cookie {
    name: Vec<u8>,
    value: Vec<u8>,
    /// `None`: it came with the request, which does not say for which path it was set.
    path: Option<Vec<u8>>,
}

/// The cookies of one browser for one host.
#[derive(Clone)]
pub struct BrowserJar {
    host: Box<str>,
    cookies: Vec<Cookie>,
}

impl BrowserJar {
    /// The jar as a request shows it. `host` is the request's host in lower case, without a port. Take the gateway's own
    /// cookie out of the request before.
    #[must_use]
    pub fn of_request(headers: &HeaderMap, host: &str) -> Self {
        let lines = headers.get_all(COOKIE).iter();
        let pieces = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let cookies = pieces
            .map(<[u8]>::trim_ascii)
            .filter(|piece| !piece.is_empty())
            .map(|piece| {
                let (name, value) = name_and_value(piece);
                Cookie { name: name.to_vec(), value: value.to_vec(), path: None }
            })
            .collect();
        Self { host: host.into(), cookies }
    }

    /// Takes in the Set-Cookie lines of the answer to a request for `path`. `unix_seconds` is the time that Expires is
    /// compared with. Drop lines of the gateway's own name before.
    pub fn receive(&mut self, headers: &HeaderMap, path: &str, unix_seconds: u64) {
        for line in headers.get_all(SET_COOKIE) {
            self.receive_line(line.as_bytes(), path.as_bytes(), unix_seconds);
        }
    }

    fn receive_line(&mut self, line: &[u8], request_path: &[u8], unix_seconds: u64) {
        let mut parts = line.split(|byte| *byte == b';');
        let (name, value) = name_and_value(parts.next().unwrap_or_default());
        if name.is_empty() && value.is_empty() {
            return;
        }
        let attributes = Attributes::read(parts);
        if attributes.domain.is_some_and(|domain| !self.is_covered_by(domain)) {
            return;
        }
        let path = attributes.path.unwrap_or_else(|| default_path(request_path));
        // The browser replaces a cookie of the same name and path. One that came with the request has an unknown path;
        // a login that sets the name again means the same cookie.
        self.cookies.retain(|cookie| {
            cookie.name != name || cookie.path.as_ref().is_some_and(|of_cookie| of_cookie.as_slice() != path)
        });
        if !attributes.is_expired(unix_seconds) {
            self.cookies.push(Cookie { name: name.to_vec(), value: value.to_vec(), path: Some(path.to_vec()) });
        }
    }

    /// The names of its first cookies, each once, as far as they can stand in a Set-Cookie line: as tokens (RFC 6265).
    #[must_use]
    pub fn names(&self, most: usize) -> Vec<&str> {
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
    pub fn cookie_header(&self, path: &str) -> Option<HeaderValue> {
        let path = path.split('?').next().unwrap_or_default().as_bytes();
        let mut sent: Vec<&Cookie> = self
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
    fn is_covered_by(&self, domain: &[u8]) -> bool {
        let domain = domain.strip_prefix(b".").unwrap_or(domain).to_ascii_lowercase();
        let host = self.host.as_bytes();
        if host == domain {
            return true;
        }
        let is_address = host.starts_with(b"[") || host.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
        !is_address && host.strip_suffix(domain.as_slice()).is_some_and(|rest| rest.ends_with(b"."))
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

/// The attributes that decide whether and where a cookie is sent; of several of one kind the last counts.
#[derive(Default)]
struct Attributes<'a> {
    domain: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    /// Whether Max-Age says that it is over.
    over: Option<bool>,
    /// Expires, in seconds since 1970.
    expires: Option<i64>,
}

impl<'a> Attributes<'a> {
    fn read(parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut attributes = Self::default();
        for part in parts {
            let (name, value) = match memchr::memchr(b'=', part) {
                None => continue,
                Some(_) => name_and_value(part),
            };
            if name.eq_ignore_ascii_case(b"domain") {
                attributes.domain = Some(value).filter(|domain| !domain.is_empty());
            } else if name.eq_ignore_ascii_case(b"path") {
                attributes.path = Some(value).filter(|path| path.starts_with(b"/"));
            } else if name.eq_ignore_ascii_case(b"max-age") {
                attributes.over = max_age_is_over(value).or(attributes.over);
            } else if name.eq_ignore_ascii_case(b"expires") {
                attributes.expires = date::parse(value).or(attributes.expires);
            }
        }
        attributes
    }

    /// Max-Age wins over Expires.
    fn is_expired(&self, unix_seconds: u64) -> bool {
        let now = i64::try_from(unix_seconds).unwrap_or(i64::MAX);
        self.over.unwrap_or_else(|| self.expires.is_some_and(|expires| expires <= now))
    }
}

/// Whether a Max-Age is zero or negative; `None` when it is no number and thus ignored.
fn max_age_is_over(value: &[u8]) -> Option<bool> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(negative || digits.iter().all(|digit| *digit == b'0'))
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
