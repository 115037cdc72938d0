//! Sealed cookies in the headers of requests and answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{HeaderMap, HeaderValue, SET_COOKIE};
use smallvec::SmallVec;

use super::keys::{Binding, SealingKeys};
use super::name::read;
use crate::entropy::{Entropy, EntropyError};
use crate::http::{CookieAttributes, CookieName, KnownName, NotedHeaders, Piece, app_set_cookie, cookie_pieces};
use crate::session::SessionId;

/// What browsers keep of a cookie, name and value together, in bytes (RFC 6265bis section 5.7).
pub const LONGEST_COOKIE: usize = 4096;
/// The most that are tried of one request. Browsers send one of a name and path.
const MOST_TRIED: usize = 32;

static COOKIE: KnownName = KnownName::new("cookie");

/// The cookies that are sealed (`identity.seal_cookies`), with the keys.
#[derive(Debug)]
pub struct SealedCookies {
    names: Vec<CookieName>,
    keys: Arc<SealingKeys>,
}

/// What a request's sealed cookies came to.
#[derive(Clone, Default)]
pub struct Opened {
    /// Those that opened: which name it is, and the value as the backend had set it.
    cookies: SmallVec<[(usize, Box<[u8]>); 2]>,
    /// How many did not, and were dropped.
    pub refused: u64,
}

impl fmt::Debug for Opened {
    /// Values are secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (opened, refused) = (self.cookies.len(), self.refused);
        formatter.debug_struct("Opened").field("opened", &opened).field("refused", &refused).finish()
    }
}

/// The session that takes the place of a request's, and what its own cookie looks like.
#[derive(Clone, Copy, Debug)]
pub struct Successor<'a> {
    /// Its id.
    pub id: SessionId,
    /// Its cookie's attributes.
    pub attributes: &'a CookieAttributes,
    /// How long browsers keep it; `None`: until they are closed.
    pub max_age: Option<Duration>,
}

/// Why a cookie cannot go out.
#[derive(Debug, thiserror::Error)]
pub enum NotSealed {
    /// No browser would keep it.
    #[error("the cookie {name} is {length} bytes long once it is sealed, and browsers keep {LONGEST_COOKIE}")]
    TooLong {
        /// Its name.
        name: String,
        /// Its length with its name.
        length: usize,
    },
    /// It could not be sealed, or not be written.
    #[error("the cookie {0} cannot be sealed")]
    Failed(String),
    /// There is no randomness.
    #[error(transparent)]
    NoRandomness(#[from] EntropyError),
}

impl SealedCookies {
    /// Cookies of these names.
    #[must_use]
    pub const fn new(names: Vec<CookieName>, keys: Arc<SealingKeys>) -> Self {
        Self { names, keys }
    }

    /// Whether a request has one, or what could be taken for one.
    #[must_use]
    pub fn are_in_request(&self, headers: &NotedHeaders) -> bool {
        headers.lines(&COOKIE).flat_map(|line| cookie_pieces(line.as_bytes())).any(|piece| self.is_one(piece))
    }

    fn is_one(&self, piece: &[u8]) -> bool {
        self.names.iter().any(|name| read(name, piece) != Piece::Other)
    }

    /// Puts what opens in its place and takes out what does not. With no binding (nobody can say which session it is) all
    /// of them go, and none is called refused.
    pub fn open(&self, headers: &mut NotedHeaders, binding: Option<Binding>) -> Opened {
        let mut opened = Opened::default();
        let mut tries = MOST_TRIED;
        let mut kept = Vec::with_capacity(headers.lines(&COOKIE).map(|line| line.len() + 2).sum());
        for piece in headers.lines(&COOKIE).flat_map(|line| cookie_pieces(line.as_bytes())) {
            match self.open_piece(piece, binding, &mut tries) {
                Reading::Refused => opened.refused += u64::from(binding.is_some()),
                Reading::Nobodys => {}
                // It stays byte for byte as it is.
                Reading::Other if kept.is_empty() => kept.extend_from_slice(piece.trim_ascii_start()),
                Reading::Other => kept.extend([b";", piece].concat()),
                Reading::Opened(index, value) => {
                    if !kept.is_empty() {
                        kept.extend_from_slice(b"; ");
                    }
                    kept.extend_from_slice(self.name(index).as_bytes());
                    kept.push(b'=');
                    kept.extend_from_slice(&value);
                    opened.cookies.push((index, value));
                }
            }
        }
        // Pieces of valid values are a valid value, and so is what a backend once set; were they not, no cookie is better
        // than a broken line.
        match HeaderValue::from_maybe_shared(bytes::Bytes::from(kept)) {
            Ok(mut line) if !line.is_empty() => {
                line.set_sensitive(true);
                headers.insert(COOKIE.name().clone(), line);
            }
            _ => headers.remove(&COOKIE),
        }
        opened
    }

    fn open_piece(&self, piece: &[u8], binding: Option<Binding>, tries: &mut usize) -> Reading {
        let mut imitated = false;
        for (index, name) in self.names.iter().enumerate() {
            match read(name, piece) {
                Piece::Own(sealed) => {
                    let (Some(binding), Some(left)) = (binding, tries.checked_sub(1)) else { return Reading::Refused };
                    *tries = left;
                    let opens = |binding| self.keys.open(binding, name.as_str().as_bytes(), sealed);
                    return match opens(binding) {
                        Some(value) => Reading::Opened(index, value.into()),
                        None if opens(Binding::NoSession).is_some() => Reading::Nobodys,
                        None => Reading::Refused,
                    };
                }
                Piece::Imitation => imitated = true,
                Piece::Other => {}
            }
        }
        if imitated { Reading::Refused } else { Reading::Other }
    }

    fn name(&self, index: usize) -> &str {
        self.names.get(index).map_or("", CookieName::as_str)
    }

    /// Whether an answer sets one.
    #[must_use]
    pub fn are_in_answer(&self, headers: &HeaderMap) -> bool {
        headers.keys().any(|name| *name == SET_COOKIE)
            && headers.get_all(SET_COOKIE).iter().any(|line| self.set_by(line.as_bytes()).is_some())
    }

    /// Which of them a Set-Cookie line sets, with the value and what follows it, from the semicolon on.
    fn set_by<'a>(&self, line: &'a [u8]) -> Option<(usize, &'a [u8], &'a [u8])> {
        let end = memchr::memchr(b';', line).unwrap_or(line.len());
        let (pair, attributes) = line.split_at_checked(end)?;
        let equals = memchr::memchr(b'=', pair)?;
        // As browsers do it (RFC 6265 section 5.2).
        let name = pair.get(..equals)?.trim_ascii();
        let index = self.names.iter().position(|known| known.as_str().as_bytes() == name)?;
        Some((index, pair.get(equals + 1..)?.trim_ascii(), attributes))
    }

    /// Whether all that an answer sets can be sealed.
    ///
    /// # Errors
    /// For the first that cannot.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), NotSealed> {
        headers.get_all(SET_COOKIE).iter().filter_map(|line| self.set_by(line.as_bytes())).try_for_each(
            |(index, value, _)| {
                let name = self.name(index);
                let length = name.len() + SealingKeys::sealed_length(value.len());
                if length <= LONGEST_COOKIE {
                    return Ok(());
                }
                Err(NotSealed::TooLong { name: name.to_owned(), length })
            },
        )
    }

    /// Seals what an answer sets. Attributes stay as they are; `HttpOnly` is added, for no script could use what it read.
    ///
    /// # Errors
    /// When one of them cannot be sealed: then the answer must not go out.
    pub fn seal(&self, headers: &mut HeaderMap, binding: Binding, entropy: &dyn Entropy) -> Result<(), NotSealed> {
        self.check(headers)?;
        let sealed: Result<Vec<HeaderValue>, NotSealed> =
            headers.get_all(SET_COOKIE).iter().map(|line| self.seal_line(line, binding, entropy)).collect();
        replace(headers, sealed?);
        Ok(())
    }

    fn seal_line(&self, line: &HeaderValue, binding: Binding, entropy: &dyn Entropy) -> Result<HeaderValue, NotSealed> {
        let Some((index, value, attributes)) = self.set_by(line.as_bytes()) else { return Ok(line.clone()) };
        let name = self.name(index);
        let failed = || NotSealed::Failed(name.to_owned());
        let sealed = self.keys.seal(binding, name.as_bytes(), value, entropy)?.ok_or_else(failed)?;
        let mut text = [name.as_bytes(), b"=", sealed.as_bytes(), attributes].concat();
        let is_http_only = |attribute: &[u8]| {
            let end = memchr::memchr(b'=', attribute).unwrap_or(attribute.len());
            attribute.get(..end).is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"httponly"))
        };
        if !cookie_pieces(attributes).any(is_http_only) {
            text.extend_from_slice(b"; HttpOnly");
        }
        let mut line = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).map_err(|_| failed())?;
        line.set_sensitive(true);
        Ok(line)
    }

    /// The same for a session that takes the place of the request's; and what came with the request and the answer does
    /// not set by itself is sealed for it, too, because what the browser has no longer opens. Nobody knows with which
    /// attributes it was set: they are the gateway's own cookie's.
    ///
    /// # Errors
    /// As there.
    pub fn seal_anew(
        &self,
        headers: &mut HeaderMap,
        came: &Opened,
        to: Successor<'_>,
        entropy: &dyn Entropy,
    ) -> Result<(), NotSealed> {
        let Successor { id, attributes, max_age } = to;
        let binding = Binding::Session(id);
        let set = headers.get_all(SET_COOKIE).iter().filter_map(|line| Some(self.set_by(line.as_bytes())?.0));
        let mut done: SmallVec<[usize; 4]> = set.collect();
        if !done.is_empty() {
            self.seal(headers, binding, entropy)?;
        }
        for (index, value) in &came.cookies {
            // Of several the first is that of the closest path.
            if done.contains(index) {
                continue;
            }
            done.push(*index);
            let name = self.name(*index);
            let failed = || NotSealed::Failed(name.to_owned());
            let sealed = self.keys.seal(binding, name.as_bytes(), value, entropy)?.ok_or_else(failed)?;
            headers.append(SET_COOKIE, app_set_cookie(attributes, name, &sealed, max_age));
        }
        Ok(())
    }

    /// Names of those that came and that the answer does not set.
    #[must_use]
    pub fn left_by(&self, came: &Opened, headers: &HeaderMap) -> Vec<&str> {
        let set = headers.get_all(SET_COOKIE).iter().filter_map(|line| Some(self.set_by(line.as_bytes())?.0));
        let mut done: SmallVec<[usize; 4]> = set.collect();
        let mut left = Vec::new();
        for (index, _) in &came.cookies {
            if !done.contains(index) {
                done.push(*index);
                left.push(self.name(*index));
            }
        }
        left
    }

    /// Makes of what an answer sets what takes it away, for the same path and domain.
    pub fn expire(&self, headers: &mut HeaderMap) {
        let lines = headers.get_all(SET_COOKIE).iter().filter_map(|line| match self.set_by(line.as_bytes()) {
            None => Some(line.clone()),
            Some((index, _, attributes)) => {
                let lifetime = |attribute: &&[u8]| {
                    let end = memchr::memchr(b'=', attribute).unwrap_or(attribute.len());
                    let name = attribute.get(..end).unwrap_or_default().trim_ascii();
                    name.is_empty()
                        || [&b"max-age"[..], b"expires"].iter().any(|known| name.eq_ignore_ascii_case(known))
                };
                let mut text = [self.name(index).as_bytes(), b"="].concat();
                for attribute in cookie_pieces(attributes).filter(|attribute| !lifetime(attribute)) {
                    text.extend_from_slice(b"; ");
                    text.extend_from_slice(attribute.trim_ascii());
                }
                text.extend_from_slice(b"; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
                HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()
            }
        });
        let lines = lines.collect();
        replace(headers, lines);
    }

    /// Takes out of an answer what it sets.
    pub fn withhold(&self, headers: &mut HeaderMap) {
        let lines = headers.get_all(SET_COOKIE).iter();
        let others = lines.filter(|line| self.set_by(line.as_bytes()).is_none()).cloned().collect();
        replace(headers, others);
    }
}

/// What a piece of a request's cookies is.
enum Reading {
    /// None of these.
    Other,
    /// It does not open.
    Refused,
    /// It was set for no session, before the login: for a path of the app's own perhaps, where a login leaves it.
    Nobodys,
    /// Which one it is, and its value.
    Opened(usize, Box<[u8]>),
}

fn replace(headers: &mut HeaderMap, lines: Vec<HeaderValue>) {
    headers.remove(SET_COOKIE);
    for line in lines {
        headers.append(SET_COOKIE, line);
    }
}
