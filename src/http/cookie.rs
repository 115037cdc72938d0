//! The gateway's own cookie: found, taken out, set and expired.
//!
//! One rule both parses and strips, so that no reading exists in which a session was accepted from bytes that were then
//! forwarded: a Cookie header is split at every `;`, quotes mean nothing, and a name ends at the first `=`. Only the
//! exact bytes `name=token` are the session. What a laxer reader could take for our cookie is neither the session nor
//! forwarded: it is removed. All other cookies stay byte for byte as they were.

use std::fmt;
use std::time::Duration;

use ::http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use cookie::{Cookie, CookieBuilder};

use super::{KnownName, NotedHeaders};
use crate::session::{Credential, SessionToken};

#[cfg(test)]
mod tests;

/// The longest cookie name; browsers take 4096 bytes for name and value together.
const LONGEST_NAME: usize = 64;
static COOKIE: KnownName = KnownName::new("cookie");

/// A name for the gateway's cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayCookieName(Box<str>);

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
        Ok(Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a piece of a Cookie header, or the first part of a Set-Cookie line, is to us.
    fn read<'a>(&self, piece: &'a [u8]) -> Piece<'a> {
        let bare = piece.strip_prefix(b" ").unwrap_or(piece);
        if let Some(value) = bare.strip_prefix(self.0.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
            return Piece::Own(value);
        }
        if self.is_imitated_by(piece) { Piece::Imitation } else { Piece::Other }
    }

    /// Old readers end a cookie at a comma, too.
    fn is_behind_a_comma_of(&self, piece: &[u8]) -> bool {
        piece.split(|byte| *byte == b',').any(|part| self.is_imitated_by(part))
    }

    /// Whether some reader could take the piece for our cookie: in any case, in quotes, without a name
    /// (`=__Host-session=v` is stored under no name and comes back as `__Host-session=v`), or with white space or
    /// other bytes around the name that a `strip()` or a wrong decoding takes away.
    fn is_imitated_by(&self, piece: &[u8]) -> bool {
        if piece.len() < self.0.len() {
            return false;
        }
        if memchr::memchr(b',', piece).is_some() {
            return self.is_behind_a_comma_of(piece);
        }
        let is_noise = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\'' | b'\\' | b'=' | b',');
        let start = piece.iter().position(|byte| !is_noise(byte)).unwrap_or(piece.len());
        let core = piece.get(start..).unwrap_or_default();
        let name = core.split(|byte| *byte == b'=').next().unwrap_or_default();
        let end = name.iter().rposition(|byte| !is_noise(byte)).map_or(0, |last| last + 1);
        name.get(..end).unwrap_or_default().eq_ignore_ascii_case(self.0.as_bytes())
    }
}

impl fmt::Display for GatewayCookieName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

enum Piece<'a> {
    /// Exactly our name; the value.
    Own(&'a [u8]),
    /// Could be taken for ours.
    Imitation,
    Other,
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
    let mut presented: Option<&[u8]> = None;
    let (mut conflicting, mut taken, mut has_others) = (false, false, false);
    let mut lines = 0;
    for line in headers.lines(&COOKIE) {
        lines += 1;
        for piece in pieces(line) {
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
    let outcome = match presented {
        None => Presented::None,
        Some(_) if conflicting => Presented::Conflicting,
        Some(value) => SessionToken::parse(value).map_or(Presented::NotAToken, Presented::One),
    };
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

/// A line's pieces between semicolons.
fn pieces(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let mut left = Some(line.as_bytes());
    std::iter::from_fn(move || {
        let text = left?;
        let (piece, rest) = match memchr::memchr(b';', text).and_then(|end| text.split_at_checked(end)) {
            Some((piece, rest)) => (piece, rest.get(1..)),
            None => (text, None),
        };
        left = rest;
        Some(piece)
    })
}

/// Whether there is no cookie in it.
fn is_blank(pieces: &[u8]) -> bool {
    pieces.iter().all(|byte| matches!(byte, b';' | b' ' | b'\t'))
}

/// The cookies that are not ours, as one line. `None` when there are none.
fn others(headers: &NotedHeaders, name: &GatewayCookieName) -> Option<HeaderValue> {
    let mut kept = Vec::with_capacity(headers.lines(&COOKIE).map(|line| line.len() + 2).sum());
    for line in headers.lines(&COOKIE) {
        let mut first_of_line = true;
        for piece in pieces(line) {
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
    let is_ours = |line: &HeaderValue| !matches!(name.read(pieces(line).next().unwrap_or_default()), Piece::Other);
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
        let same_site = match self.same_site {
            SameSite::Strict => cookie::SameSite::Strict,
            SameSite::Lax => cookie::SameSite::Lax,
            SameSite::None => cookie::SameSite::None,
        };
        let cookie = Cookie::build((self.name.as_str(), value)).path("/").http_only(true);
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
    let cookie = attributes.with_value(token.expose_secret());
    let seconds = |age: Duration| i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    written(match max_age {
        Some(age) => cookie.max_age(cookie::time::Duration::seconds(seconds(age))),
        None => cookie,
    })
}

/// The Set-Cookie line that takes the session's cookie away: the same attributes, or browsers keep it.
#[must_use]
pub fn expire_set_cookie(attributes: &CookieAttributes) -> HeaderValue {
    written(expired(attributes.with_value("")))
}

/// The Set-Cookie line that takes a backend's cookie (`clear_cookies`) away.
#[must_use]
pub fn expire_backend_cookie(name: &str, secure: bool) -> HeaderValue {
    written(expired(Cookie::build((name, "")).path("/").secure(secure)))
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
