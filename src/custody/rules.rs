//! Where an answer has the app's tokens, and what is believed of them.

use std::time::Duration;

use serde_json::{Map, Value};

use super::token::AppToken;
use crate::clock::WallTime;
use crate::http::{JsonPointer, Target};
use crate::jwt::{expiry, says_refresh, unverified_claims};
use crate::secret::Secret;

/// What is shorter could stand in an answer by chance.
const SHORTEST: usize = 16;
const SCHEME: &str = "Bearer ";

/// Where a login's answer has tokens, and what becomes of them (`login.capture = "jwt"`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// `login.token`: the first that finds a text.
    pub token: Vec<JsonPointer>,
    /// `login.refresh_token`.
    pub refresh_token: Vec<JsonPointer>,
    /// `login.answer`.
    pub left: Left,
    /// `login.max_token`: the longest value of `Authorization`, in bytes.
    pub max_token: usize,
    /// How a token is refreshed; `None`: it is not, and the session is over with it.
    pub refresh: Option<RefreshRules>,
}

/// What a login's answer has in the place of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// One that says the same and verifies nowhere.
    Placeholder,
    /// Nothing.
    Nothing,
    /// The token itself.
    Token,
}

/// How a token is refreshed (`login.refresh`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshRules {
    /// What is asked, by POST.
    pub target: Target,
    /// How long before its end.
    pub before: Duration,
    /// Where the refresh token stands.
    pub send: SentAs,
}

/// Where the refresh token stands in the request for another token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SentAs {
    /// In a JSON body, under this name.
    Body(Box<str>),
    /// In `Authorization`.
    Bearer,
}

/// A token in an answer.
struct Found<'a> {
    text: &'a str,
    place: &'a JsonPointer,
}

impl TokenRules {
    /// What the token of an answer claims, unverified. `None` where there is no token; an empty object for one that is no
    /// JSON Web Token.
    ///
    /// # Errors
    /// When it cannot be believed. The text is for the log and holds no value.
    pub fn claims(&self, answer: &Value) -> Result<Option<Map<String, Value>>, &'static str> {
        find(answer, &self.token).map(|found| claims_of(found.text)).transpose()
    }

    /// The token of an answer.
    #[must_use]
    pub fn text<'a>(&'a self, answer: &'a Value) -> Option<&'a str> {
        find(answer, &self.token).map(|found| found.text)
    }

    /// The token of an answer, and the refresh token where there is one.
    ///
    /// # Errors
    /// When it is of no use to a backend. The text is for the log and holds no value.
    pub fn take(&self, answer: &Value, now: WallTime) -> Result<Option<AppToken>, &'static str> {
        let Some(access) = find(answer, &self.token) else { return Ok(None) };
        check_text(access.text)?;
        if SCHEME.len() + access.text.len() > self.max_token {
            return Err("the token is longer than `login.max_token`");
        }
        let claims = claims_of(access.text)?;
        if says_refresh(&claims) {
            return Err("the token at `login.token` says that it is a refresh token");
        }
        let expires = expiry(&claims).map_err(|_| "the token's exp is no time")?;
        if expires.is_some_and(|expires| now >= expires) {
            return Err("the token in the answer is over already; compare the clocks of gateway and backend");
        }
        let refresh = find(answer, &self.refresh_token).filter(|refresh| refresh.text != access.text);
        if let Some(refresh) = &refresh {
            check_text(refresh.text)?;
            if refresh.text.len() > self.max_token {
                return Err("the refresh token is longer than `login.max_token`");
            }
        }
        Ok(Some(AppToken {
            access: Secret::new(access.text),
            refresh: refresh.as_ref().map(|refresh| Secret::new(refresh.text)),
            taken: now,
            expires,
            place: access.place.as_str().into(),
            refresh_place: refresh.map(|refresh| refresh.place.as_str().into()),
        }))
    }
}

fn find<'a>(answer: &'a Value, pointers: &'a [JsonPointer]) -> Option<Found<'a>> {
    pointers.iter().find_map(|place| {
        let text = place.find_in(answer)?.as_str().filter(|text| !text.is_empty())?;
        Some(Found { text, place })
    })
}

fn claims_of(token: &str) -> Result<Map<String, Value>, &'static str> {
    let claims = unverified_claims(token).map_err(|_| "the token has a claim twice")?;
    Ok(claims.unwrap_or_default())
}

/// Of what a token may be made (RFC 6750 section 2.1): it is to stand in a header.
fn check_text(token: &str) -> Result<(), &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if !token.bytes().all(is_plain) {
        return Err("a token has a character that no bearer token has");
    }
    if token.len() < SHORTEST { Err("a token is shorter than any is") } else { Ok(()) }
}
