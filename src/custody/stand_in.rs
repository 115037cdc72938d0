//! What a browser gets in the place of a token: the same header and claims, which front ends read, and a signature that
//! verifies nowhere.
//!
//! It is the *signature* that is looked for in an answer, not the token: some apps hand one out in two halves, and the
//! halves are the token. Where a login's answer repeats it, in another field, a cookie or a header, it goes there as well.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use memchr::memmem;
use serde_json::Value;

use super::rules::Left;
use super::token::AppToken;
use crate::http::JsonPointer;
use crate::secret::Secret;

/// What stands where a signature stood, or a token that has none. 64 characters of base64url: 48 bytes, which no algorithm
/// writes.
const STAND_IN: &str = "placeholder_of_the_session_gateway__this_signature_is_of_nobody_";
/// A part that is shorter is no signature.
pub(super) const SHORTEST_SIGNATURE: usize = 16;
/// What is left of it in the place of the shortest.
const MARK: &[u8] = STAND_IN.as_bytes().split_at(SHORTEST_SIGNATURE).0;

/// Whether a header's value, or any other text, holds what stands for a token.
#[must_use]
pub fn is_stand_in(value: &[u8]) -> bool {
    memmem::find(value, MARK).is_some()
}

/// What stands in the place of a secret of any length.
pub(super) fn stand_in_of() -> impl Iterator<Item = u8> {
    STAND_IN.bytes().cycle()
}

/// What has to go from a login's answer.
pub struct StandIns<'a> {
    token: &'a AppToken,
    left: Left,
    secrets: Vec<&'a str>,
}

impl<'a> StandIns<'a> {
    /// For the tokens of an answer.
    #[must_use]
    pub fn of(token: &'a AppToken, left: Left) -> Self {
        let tokens = [Some(&token.access), token.refresh.as_ref()];
        let secrets = match left {
            Left::Token => Vec::new(),
            Left::Placeholder | Left::Nothing => tokens.into_iter().flatten().map(secret_part).collect(),
        };
        Self { token, left, secrets }
    }

    /// What stands for the token; `None` where nothing does.
    #[must_use]
    pub fn access(&self) -> Option<String> {
        self.shown(&self.token.access)
    }

    fn shown(&self, token: &Secret) -> Option<String> {
        match self.left {
            Left::Nothing => None,
            Left::Placeholder => Some(token.expose_secret().replace(secret_part(token), STAND_IN)),
            Left::Token => Some(token.expose_secret().to_owned()),
        }
    }

    /// An answer in the shape of the login's.
    #[must_use]
    pub fn answer(&self) -> Value {
        let mut answer = Value::Object(serde_json::Map::new());
        let places = [
            (Some(&*self.token.place), self.access()),
            (self.token.refresh_place.as_deref(), self.token.refresh.as_ref().and_then(|refresh| self.shown(refresh))),
        ];
        for (place, text) in places {
            if let (Some(Ok(place)), Some(text)) = (place.map(JsonPointer::parse), text) {
                set(&mut answer, &place, text);
            }
        }
        answer
    }

    /// Takes the tokens out of an answer's headers.
    pub fn clean_headers(&self, headers: &mut HeaderMap) {
        let holds = |value: &HeaderValue| self.secrets.iter().any(|secret| holds(value.as_bytes(), secret));
        if self.secrets.is_empty() || !headers.values().any(holds) {
            return;
        }
        let mut cleaned = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers.iter() {
            if !holds(value) {
                cleaned.append(name.clone(), value.clone());
            } else if self.left == Left::Placeholder
                && let Ok(value) = HeaderValue::from_bytes(&self.replaced(value.as_bytes()))
            {
                cleaned.append(name.clone(), value);
            }
        }
        *headers = cleaned;
    }

    /// An answer's body without the tokens. `document` is what it says as JSON, as `read` reads it.
    #[must_use]
    pub fn cleaned(&self, body: Bytes, document: &Value, read: impl Fn(&[u8]) -> Option<Value>) -> Cleaned {
        if self.secrets.is_empty() {
            return Cleaned::AsItWas(body);
        }
        if self.left == Left::Placeholder {
            // Byte for byte what the app wrote, but for that.
            let replaced = self.replaced(&body);
            if read(&replaced).is_some_and(|again| !self.is_in(&again)) {
                return Cleaned::Changed(replaced.into());
            }
        }
        // Spelt in some other way, or to be taken out.
        let mut document = document.clone();
        self.clean(&mut document);
        Cleaned::Rewritten(document.to_string().into())
    }

    fn replaced(&self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Cow::Borrowed(bytes);
        for secret in &self.secrets {
            if holds(&text, secret) {
                text = Cow::Owned(replace(&text, secret.as_bytes(), STAND_IN.as_bytes()));
            }
        }
        text.into_owned()
    }

    /// Whether a document has any of them, in a value or in a name.
    fn is_in(&self, document: &Value) -> bool {
        let names = |text: &str| self.secrets.iter().any(|secret| text.contains(secret));
        match document {
            Value::String(text) => names(text),
            Value::Array(list) => list.iter().any(|element| self.is_in(element)),
            Value::Object(members) => members.iter().any(|(name, value)| names(name) || self.is_in(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    fn clean(&self, document: &mut Value) {
        match document {
            Value::String(text) => {
                for secret in &self.secrets {
                    *text = text.replace(secret, if self.left == Left::Placeholder { STAND_IN } else { "" });
                }
            }
            Value::Array(list) => {
                if self.left == Left::Nothing {
                    list.retain(|element| !element.is_string() || !self.is_in(element));
                }
                list.iter_mut().for_each(|element| self.clean(element));
            }
            Value::Object(members) => {
                let goes = |name: &str, value: &Value| {
                    self.secrets.iter().any(|secret| name.contains(secret))
                        || (self.left == Left::Nothing && value.is_string() && self.is_in(value))
                };
                members.retain(|name, value| !goes(name, value));
                members.values_mut().for_each(|value| self.clean(value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// A body from which tokens were taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// There was nothing to take.
    AsItWas(Bytes),
    /// Its bytes are the app's, but for the tokens.
    Changed(Bytes),
    /// It is JSON in UTF-8 now, whatever it was.
    Rewritten(Bytes),
}

/// What makes a token one: its signature, or all of it where it has none.
pub(super) fn secret_part(token: &Secret) -> &str {
    let text = token.expose_secret();
    let mut parts = text.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(_), Some(signature), None) if signature.len() >= SHORTEST_SIGNATURE => signature,
        _ => text,
    }
}

fn holds(text: &[u8], secret: &str) -> bool {
    memmem::find(text, secret.as_bytes()).is_some()
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memmem::find(rest, from) {
        let (before, found) = rest.split_at(at);
        replaced.extend_from_slice(before);
        replaced.extend_from_slice(to);
        rest = found.get(from.len()..).unwrap_or_default();
    }
    replaced.extend_from_slice(rest);
    replaced
}

/// Sets a text where a pointer says, in an object that has no lists.
fn set(document: &mut Value, place: &JsonPointer, text: String) {
    let mut at = document;
    for part in place.parts() {
        let Value::Object(members) = at else { return };
        at = members.entry(part).or_insert_with(|| Value::Object(serde_json::Map::new()));
    }
    *at = Value::String(text);
}
