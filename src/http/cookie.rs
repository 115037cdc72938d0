//! The gateway's own cookie: found, taken out, set and expired.
//!
//! One rule both parses and strips, so that no reading exists in which a session was accepted from bytes that were then
//! forwarded. Only the exact bytes `name=token` are the session. What a laxer reader could take for our cookie is neither
//! the session nor forwarded: it is removed. All other cookies stay byte for byte as they were.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use ::http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use cookie::{Cookie, CookieBuilder};

use super::cookie_name::{CookieName, Piece, pieces};
use super::{KnownName, NotedHeaders};
use crate::session::{Credential, SessionToken};

#[cfg(test)]
mod tests;

/// The longest cookie name; browsers take 4096 bytes for name and value together.
const LONGEST_NAME: usize = 64;
static COOKIE: KnownName = KnownName::new("cookie");

/// A name for the gateway's cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayCookieName(CookieName);

/// A text that cannot name the gateway's cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not 1 to {LONGEST_NAME} letters, digits, `-`, `_` or `.`")]
pub struct CookieNameError;

impl GatewayCookieName {
    /// Checks a configured name.
    ///
    /// # Errors
    /// For a name that cookie parsers are known to disagree about.
    pub fn parse(text: &str) -> Result<Self, CookieNameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > LONGEST_NAME || !text.bytes().all(plain) {
            return Err(CookieNameError);
        }
        Ok(Self(CookieName::new(text)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Deref for GatewayCookieName {
    type Target = CookieName;

    fn deref(&self) -> &CookieName {
        &self.0
    }
}

impl fmt::Display for GatewayCookieName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a request presented as its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    /// No gateway cookie.
    None,
    /// One token (the same one several times counts as one).
    One(SessionToken),
    /// A gateway cookie whose value cannot be a token: nothing to look up.
    NotAToken,
    /// Gateway cookies with different values: one of them may have been planted, so none counts.
    Conflicting,
}

impl From<Presented> for Credential {
    /// Hashes the token, which is gone with it: what is looked up is not the secret.
    fn from(presented: Presented) -> Self {
        match presented {
            Presented::None => Self::None,
            Presented::One(token) => Self::Session(token.id()),
            Presented::NotAToken | Presented::Conflicting => Self::Unusable,
        }
    }
}

/// Takes the gateway's cookie out of all Cookie lines and says what it was.
///
/// The other cookies stay byte for byte. Several Cookie lines become one, joined with `; ` (backends join them with a
/// comma, which ends up in a value); a line with nothing left is dropped.
pub fn take_gateway_cookie(headers: &mut NotedHeaders, name: &GatewayCookieName) -> Presented {
    take_cookie(headers, name, |found| match found {
        Found::None => Presented::None,
        Found::Conflicting => Presented::Conflicting,
        Found::One(value) => SessionToken::parse(value).map_or(Presented::NotAToken, Presented::One),
    })
}

/// Takes another cookie of the gateway's own out, by the same rule. Answers its value, where it is one alone.
pub fn take_own_cookie(headers: &mut NotedHeaders, name: &CookieName) -> Option<Box<[u8]>> {
    take_cookie(headers, name, |found| match found {
        Found::One(value) => Some(value.into()),
        Found::None | Found::Conflicting => None,
    })
}

/// What a request has of a cookie.
enum Found<'a> {
    None,
    One(&'a [u8]),
    Conflicting,
}

fn take_cookie<T>(headers: &mut NotedHeaders, name: &CookieName, read: impl FnOnce(Found<'_>) -> T) -> T {
    let mut presented: Option<&[u8]> = None;
    let (mut conflicting, mut taken, mut has_others) = (false, false, false);
    let mut lines = 0;
    for line in headers.lines(&COOKIE) {
        lines += 1;
        for piece in pieces(line.as_bytes()) {
            match name.read(piece) {
                Piece::Own(value) => {
                    conflicting |= presented.is_some_and(|other| other != value);
                    presented = Some(value);
                    taken = true;
                }
                Piece::Imitation => taken = true,
                Piece::Other => has_others |= !is_blank(piece),
            }
        }
    }
    let outcome = read(match presented {
        None => Found::None,
        Some(_) if conflicting => Found::Conflicting,
        Some(value) => Found::One(value),
    });
    if taken || lines > 1 {
        match if has_others { others(headers, name) } else { None } {
            Some(others) => {
                headers.insert(COOKIE.name().clone(), others);
            }
            None => {
                headers.remove(&COOKIE);
            }
        }
    }
    outcome
}

/// Whether there is no cookie in it.
fn is_blank(pieces: &[u8]) -> bool {
    pieces.iter().all(|byte| matches!(byte, b';' | b' ' | b'\t'))
}

/// The cookies that are not ours, as one line. `None` when there are none.
fn others(headers: &NotedHeaders, name: &CookieName) -> Option<HeaderValue> {
    let mut kept = Vec::with_capacity(headers.lines(&COOKIE).map(|line| line.len() + 2).sum());
    for line in headers.lines(&COOKIE) {
        let mut first_of_line = true;
        for piece in pieces(line.as_bytes()) {
            if !matches!(name.read(piece), Piece::Other) {
                continue;
            }
            if first_of_line {
                let piece = piece.trim_ascii_start();
                if !kept.is_empty() && !piece.is_empty() {
                    kept.extend_from_slice(b"; ");
                }
                kept.extend_from_slice(piece);
                first_of_line = piece.is_empty();
            } else {
                kept.push(b';');
                kept.extend_from_slice(piece);
            }
        }
    }
    if is_blank(&kept) {
        return None;
    }
    // Pieces of valid values are a valid value; were they not, no cookie is better than a broken line.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(kept)).ok()
}

/// Drops the backend's Set-Cookie lines that set, or could be taken to set, the gateway's cookie. The others pass, one
/// line each. Returns how many were dropped.
pub fn drop_gateway_set_cookie(headers: &mut HeaderMap, name: &GatewayCookieName) -> usize {
    // Most answers have none, and their few names are looked through sooner than a hash is made.
    if !headers.keys().any(|name| *name == SET_COOKIE) {
        return 0;
    }
    let is_ours =
        |line: &HeaderValue| !matches!(name.read(pieces(line.as_bytes()).next().unwrap_or_default()), Piece::Other);
    let dropped = headers.get_all(SET_COOKIE).iter().filter(|line| is_ours(line)).count();
    if dropped > 0 {
        let kept: Vec<_> = headers.get_all(SET_COOKIE).iter().filter(|line| !is_ours(line)).cloned().collect();
        headers.remove(SET_COOKIE);
        for line in kept {
            headers.append(SET_COOKIE, line);
        }
    }
    dropped
}

/// `cookie.same_site`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Never sent with requests that another site causes, not even with links.
    Strict,
    /// Sent with links from other sites, not with their forms and fetches.
    #[default]
    Lax,
    /// Sent always. Browsers ask for Secure.
    None,
}

/// How the gateway's cookie is set. It always has Path=/ and HttpOnly and never a Domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieAttributes {
    /// Its name.
    pub name: GatewayCookieName,
    /// When browsers send it.
    pub same_site: SameSite,
    /// Whether it is for TLS only; false in development over http only.
    pub secure: bool,
    /// Whether a browser keeps one for each site in whose frames the app runs (CHIPS).
    pub partitioned: bool,
}

impl CookieAttributes {
    /// What every line of this cookie has; a line that differs from it would leave the browser with two cookies.
    fn with_value<'a>(&'a self, value: &'a str) -> CookieBuilder<'a> {
        self.named(self.name.as_str(), value)
    }

    /// A cookie of that name that is otherwise like this one.
    fn named<'a>(&self, name: &'a str, value: &'a str) -> CookieBuilder<'a> {
        let same_site = match self.same_site {
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::Lax => cookie::SameSite::Lax,
            SameSite::None => cookie::SameSite::None,
        };
        let cookie = Cookie::build((name, value)).path("/").http_only(true);
        cookie.same_site(same_site).secure(self.secure).partitioned(self.partitioned)
    }
}

/// The Set-Cookie line that gives a browser its session. `max_age` only when the login asked to be remembered; without
/// it the cookie ends with the browser.
#[must_use]
pub fn session_set_cookie(
    attributes: &CookieAttributes,
    token: &SessionToken,
    max_age: Option<Duration>,
) -> HeaderValue {
    written(for_as_long(attributes.with_value(token.expose_secret()), max_age))
}

/// The Set-Cookie line of an app's own cookie that is to live as the session's own does, at the same places.
#[must_use]
pub fn app_set_cookie(
    attributes: &CookieAttributes,
    name: &str,
    value: &str,
    max_age: Option<Duration>,
) -> HeaderValue {
    written(for_as_long(attributes.named(name, value), max_age))
}

/// The Set-Cookie line of a cookie of the gateway's own that outlives sessions. Never for frames of other sites.
#[must_use]
pub fn own_set_cookie(name: &CookieName, value: &str, secure: bool, max_age: Duration) -> HeaderValue {
    let cookie = Cookie::build((name.as_str(), value)).path("/").http_only(true).secure(secure);
    written(for_as_long(cookie.same_site(cookie::SameSite::Lax), Some(max_age)))
}

fn for_as_long(cookie: CookieBuilder<'_>, max_age: Option<Duration>) -> CookieBuilder<'_> {
    let seconds = |age: Duration| i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    match max_age {
        Some(age) => cookie.max_age(cookie::time::Duration::seconds(seconds(age))),
        None => cookie,
    }
}

/// The Set-Cookie line that takes the session's cookie away: the same attributes, or browsers keep it.
#[must_use]
pub fn expire_set_cookie(attributes: &CookieAttributes) -> HeaderValue {
    written(expired(attributes.with_value("")))
}

/// The Set-Cookie lines that take a backend's cookie (`clear_cookies`) away. Where the gateway's own goes into other sites'
/// frames, the backend's does, too: there browsers take no line without these attributes.
pub fn expire_backend_cookie(name: &str, own: &CookieAttributes) -> impl Iterator<Item = HeaderValue> {
    expire_backend_cookie_at(name, "/", own)
}

/// The same of one that was set for this path.
pub fn expire_backend_cookie_at(name: &str, path: &str, own: &CookieAttributes) -> impl Iterator<Item = HeaderValue> {
    let line = move |partitioned: bool| {
        let mut cookie = Cookie::build((name, "")).path(path).secure(own.secure);
        if own.same_site == SameSite::None {
            cookie = cookie.same_site(cookie::SameSite::None);
        }
        written(expired(cookie.partitioned(partitioned)))
    };
    // The app may have set it in the one way or in the other.
    let partitioned = own.partitioned.then(|| line(true));
    partitioned.into_iter().chain([line(false)])
}

/// The paths below the root that cookies of a request for this one may have been set for (RFC 6265 section 5.1.4): with and
/// without a last slash each is another. Of a path that is very deep, or cannot stand in an attribute, there are none.
pub fn cookie_paths(path: &str) -> impl Iterator<Item = &str> {
    const DEEPEST: usize = 8;
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';');
    let ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).skip(1).collect();
    let usable = plain && ends.len() <= DEEPEST;
    let below = ends.into_iter().flat_map(|at| [at, at + 1]);
    let whole = (path.len() > 1 && !path.ends_with('/')).then_some(path.len());
    below.chain(whole).filter(move |_| usable).filter_map(|end| path.get(..end))
}

/// Both, because old clients know only Expires.
fn expired(cookie: CookieBuilder<'_>) -> CookieBuilder<'_> {
    cookie.max_age(cookie::time::Duration::ZERO).expires(cookie::time::OffsetDateTime::UNIX_EPOCH)
}

/// Names and tokens are visible ASCII by their types, so this always succeeds; were it otherwise, an empty line sets
/// nothing.
fn written(cookie: CookieBuilder<'_>) -> HeaderValue {
    let line = HeaderValue::try_from(cookie.build().to_string());
    let mut line = line.unwrap_or_else(|_| HeaderValue::from_static(""));
    line.set_sensitive(true);
    line
}
