//! The tokens that a session has, kept from its browser in whatever else the app answers.
//!
//! Some apps repeat the token that came, in what they say of a user or in a header; some hand out another one, at a path
//! that nobody has named. What is found is overwritten in its place, by text of the same length, so that an answer streams
//! on with the head that it has. It is the *signature* that is looked for, as in a login's answer.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};
use memchr::memmem::{self, Finder};
use serde_json::Value;

use super::rules::{Left, TokenRules};
use super::stand_in::{SHORTEST_SIGNATURE, is_stand_in, secret_part, stand_in_of};
use super::token::AppToken;
use crate::http::JsonPointer;
use crate::jwt::unverified_claims;

/// The largest answer that is read as JSON, in bytes: another token is looked for at the places of the login's.
const LARGEST_READ: u64 = 64 << 10;
/// How every JSON Web Token begins, `{"` in base64url; and the shortest text in which one is looked for, in bytes.
const BEGIN: &[u8] = b"eyJ";
const SHORTEST_TOKEN: usize = 40;

/// How the bytes of an answer are read as JSON.
pub type Reader = fn(&[u8]) -> Option<Value>;

/// What is to be kept from a browser.
pub struct Withheld {
    secrets: Box<[Finder<'static>]>,
    make: Option<Make>,
    places: Box<[JsonPointer]>,
}

impl fmt::Debug for Withheld {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Withheld(..)")
    }
}

/// How the app makes its tokens: others of the same make are the app's, too.
struct Make {
    header: Box<str>,
    /// The names of its claims.
    names: Box<[Box<str>]>,
}

impl Withheld {
    /// The tokens of a session. `None` where its browser has them.
    #[must_use]
    pub fn of(token: &AppToken, rules: &TokenRules) -> Option<Self> {
        if rules.left == Left::Token {
            return None;
        }
        let tokens = [Some(&token.access), token.refresh.as_ref()];
        let secrets = tokens.into_iter().flatten().map(|token| Finder::new(secret_part(token)).into_owned());
        Some(Self {
            secrets: secrets.collect(),
            make: Make::of(token.access.expose_secret()),
            places: rules.token.iter().chain(&rules.refresh_token).cloned().collect(),
        })
    }

    /// What it takes in memory, about, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.secrets.iter().map(|secret| 100 + secret.needle().len()).sum::<usize>() + 40 * self.places.len() + 200
    }

    /// Overwrites tokens in an answer's headers. Another token than the session's stays where it is the app's own cookie.
    /// Answers whether there were any.
    pub fn clean_headers(&self, headers: &mut HeaderMap) -> bool {
        let mut found = false;
        for (name, value) in headers.iter_mut() {
            // Nearly all are too short, or have nothing of it.
            if value.len() < SHORTEST_SIGNATURE || !self.may_be_in(value.as_bytes()) {
                continue;
            }
            let mut places = self.places_of_secrets(value.as_bytes());
            if *name != SET_COOKIE {
                places.extend(self.places_of_others(value.as_bytes()));
            }
            if places.is_empty() {
                continue;
            }
            found = true;
            let mut text = value.as_bytes().to_vec();
            overwrite(&mut text, &places);
            // Text of the same length, and of characters that may stand anywhere.
            *value = HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""));
        }
        found
    }

    /// What an answer with these headers, and of this length where that is known, is to be searched by. `None` where it is
    /// no text.
    #[must_use]
    pub fn search(self: &Arc<Self>, headers: &HeaderMap, length: Option<u64>, read: Reader) -> Option<Search> {
        let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        // What is compressed cannot be read; the backend was asked not to.
        let is_plain = headers.get(CONTENT_ENCODING).is_none_or(|coding| coding.as_bytes() == b"identity");
        if !is_plain || !kind.is_none_or(is_text) {
            return None;
        }
        let is_read = kind.is_some_and(is_json) && length.is_some_and(|length| length <= LARGEST_READ);
        let held = BytesMut::new();
        Some(Search { withheld: self.clone(), read: is_read.then_some(read), held, found: false })
    }

    /// Whether there is any of it, or what may be another token. Quick where there is not.
    fn may_be_in(&self, text: &[u8]) -> bool {
        self.has_secrets(text) || (self.make.is_some() && has_begin(text))
    }

    fn has_secrets(&self, text: &[u8]) -> bool {
        self.secrets.iter().any(|secret| secret.find(text).is_some())
    }

    fn places_of_secrets(&self, text: &[u8]) -> Vec<Range<usize>> {
        let of = |secret: &Finder<'static>| -> Vec<_> {
            secret.find_iter(text).map(|at| at..at + secret.needle().len()).collect()
        };
        self.secrets.iter().flat_map(of).collect()
    }

    /// The signatures of tokens of the same make.
    fn places_of_others(&self, text: &[u8]) -> Vec<Range<usize>> {
        let Some(make) = &self.make else { return Vec::new() };
        if text.len() < SHORTEST_TOKEN {
            return Vec::new();
        }
        let mut places = Vec::new();
        let mut from = 0;
        while let Some(at) = text.get(from..).and_then(|rest| memmem::find(rest, BEGIN)) {
            let begin = from + at;
            let rest = text.get(begin..).unwrap_or_default();
            let length = rest.iter().position(|byte| !is_of_token(*byte)).unwrap_or(rest.len());
            let token = rest.get(..length).and_then(|token| std::str::from_utf8(token).ok()).unwrap_or_default();
            if make.made(token)
                && let Some((input, signature)) = token.rsplit_once('.')
            {
                let signature_at = begin + input.len() + 1;
                places.push(signature_at..signature_at + signature.len());
            }
            from = begin + length.max(BEGIN.len());
        }
        places
    }

    /// The signatures of tokens of the same make that stand in a document where a login's answer has its.
    fn others_in(&self, document: &Value) -> Vec<String> {
        let Some(make) = &self.make else { return Vec::new() };
        let texts = self.places.iter().filter_map(|place| place.find_in(document)?.as_str());
        let made = texts.filter(|text| make.made(text));
        made.filter_map(|text| text.rsplit_once('.').map(|(_, signature)| signature.to_owned())).collect()
    }
}

impl Make {
    fn of(token: &str) -> Option<Self> {
        let claims = unverified_claims(token).ok()??;
        let (header, _) = token.split_once('.')?;
        Some(Self { header: header.into(), names: claims.keys().map(|name| name.as_str().into()).collect() })
    }

    /// Whether a text is a token of this make, with a signature: the same header, and claims of the same names at least.
    fn made(&self, text: &str) -> bool {
        let is_of_header = text.strip_prefix(&*self.header).is_some_and(|rest| rest.starts_with('.'));
        let is_signed = text.rsplit('.').next().is_some_and(|signature| signature.len() >= SHORTEST_SIGNATURE);
        if !is_of_header || !is_signed || is_stand_in(text.as_bytes()) {
            return false;
        }
        let Ok(Some(claims)) = unverified_claims(text) else { return false };
        self.names.iter().all(|name| claims.contains_key(&**name))
    }
}

/// An answer's body on its way to a browser, piece by piece.
pub struct Search {
    withheld: Arc<Withheld>,
    /// For an answer that is read as a whole.
    read: Option<Reader>,
    /// What is kept back: all of an answer that is read, or what a token may begin with.
    held: BytesMut,
    found: bool,
}

/// There is a token in an answer that is spelt in some other way, and cannot be overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer has a token that cannot be taken out of it")]
pub struct NotWithheld;

impl Search {
    /// The next piece; what comes out may be less, and the rest comes with later ones. With `is_last` all of it comes.
    ///
    /// # Errors
    /// When the answer must not be passed on.
    pub fn pass(&mut self, piece: Bytes, is_last: bool) -> Result<Bytes, NotWithheld> {
        if self.read.is_some() && !is_last {
            self.held.extend_from_slice(&piece);
            return Ok(Bytes::new());
        }
        let mut text = piece;
        if !self.held.is_empty() {
            self.held.extend_from_slice(&text);
            text = self.held.split().freeze();
        }
        if self.withheld.has_secrets(&text) {
            text = self.overwritten(text, Withheld::places_of_secrets);
        }
        if let Some(read) = self.read {
            return self.without_others(text, read);
        }
        if !is_last {
            let begun = self.withheld.secrets.iter().map(|secret| begun(&text, secret.needle())).max().unwrap_or(0);
            self.held = BytesMut::from(text.split_off(text.len() - begun));
        }
        Ok(text)
    }

    /// How much is kept back, in bytes.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether a token was found.
    #[must_use]
    pub const fn found(&self) -> bool {
        self.found
    }

    /// Without tokens of the same make where a login's answer has its.
    fn without_others(&mut self, text: Bytes, read: Reader) -> Result<Bytes, NotWithheld> {
        if text.len() < SHORTEST_TOKEN || !(has_begin(&text) || has_escapes(&text)) {
            return Ok(text);
        }
        let Some(document) = read(&text) else { return Ok(text) };
        let others = self.withheld.others_in(&document);
        if others.is_empty() {
            return Ok(text);
        }
        let text = self.overwritten(text, |_, text| {
            let of = |other: &String| -> Vec<_> {
                memmem::find_iter(text, other.as_bytes()).map(|at| at..at + other.len()).collect()
            };
            others.iter().flat_map(of).collect()
        });
        match read(&text) {
            Some(document) if self.withheld.others_in(&document).is_empty() => Ok(text),
            _ => Err(NotWithheld),
        }
    }

    fn overwritten(&mut self, text: Bytes, places: impl Fn(&Withheld, &[u8]) -> Vec<Range<usize>>) -> Bytes {
        let places = places(&self.withheld, &text);
        if places.is_empty() {
            return text;
        }
        self.found = true;
        let mut text = text.to_vec();
        overwrite(&mut text, &places);
        text.into()
    }
}

/// Whether a text has what every token begins with. Its last letter is rare.
fn has_begin(text: &[u8]) -> bool {
    memchr::memchr_iter(b'J', text).any(|at| text.get(at.saturating_sub(2)..=at) == Some(BEGIN))
}

/// Whether letters of a text are spelt in another way.
fn has_escapes(text: &[u8]) -> bool {
    memchr::memchr_iter(b'\\', text).any(|at| text.get(at + 1) == Some(&b'u'))
}

fn overwrite(text: &mut [u8], places: &[Range<usize>]) {
    for place in places {
        if let Some(part) = text.get_mut(place.clone()) {
            part.iter_mut().zip(stand_in_of()).for_each(|(byte, by)| *byte = by);
        }
    }
}

/// How much of a text's end may be the begin of what is looked for, which is not in it as a whole.
fn begun(text: &[u8], needle: &[u8]) -> usize {
    let tail = text.get(text.len().saturating_sub(needle.len().saturating_sub(1))..).unwrap_or_default();
    let Some(first) = needle.first() else { return 0 };
    let may_begin = |at: &usize| tail.get(*at..).is_some_and(|rest| needle.starts_with(rest));
    memchr::memchr_iter(*first, tail).find(may_begin).map_or(0, |at| tail.len() - at)
}

const fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// The media type before its parameters.
fn bare(kind: &[u8]) -> &[u8] {
    kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

fn is_text(kind: &[u8]) -> bool {
    let kind = bare(kind);
    let is_of = |word: &&[u8]| kind.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    let words: [&[u8]; 6] = [b"json", b"text/", b"xml", b"javascript", b"ecmascript", b"urlencoded"];
    kind.is_empty() || kind.ends_with(b"/json") || kind.starts_with(b"text/") || words.iter().any(is_of)
}

fn is_json(kind: &[u8]) -> bool {
    let kind = bare(kind);
    let is_suffix = kind.len() > 5 && kind.get(kind.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case(b"+json"));
    kind.eq_ignore_ascii_case(b"application/json") || is_suffix
}
