//! What the claims of a token must say before anybody believes them (RFC 7519 section 4.1, RFC 8725 section 3).
//!
//! The time is an argument, and is the gateway's own.

use std::time::Duration;

use serde_json::{Map, Value};

use super::compact::Header;
use super::fault::TokenFault;
use crate::clock::WallTime;

/// By how much a token may have been made in the future: clocks differ.
pub const AHEAD_AT_MOST: Duration = Duration::from_secs(5);
/// The type of a token that says none.
const USUAL_TYPE: &str = "jwt";
/// The claims in which apps and issuers say what a token is for (Flask-JWT-Extended, SimpleJWT, Keycloak).
const PURPOSES: [&str; 3] = ["type", "token_type", "typ"];
/// The end of the year 9999.
const LATEST: f64 = 253_402_300_799.0;

/// What is asked of an issuer's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectations {
    /// Whom they are meant for.
    pub audience: Audience,
    /// The values of `typ` that they may have, in lower case.
    pub types: Vec<Box<str>>,
    /// By how much the issuer's clock may be off.
    pub leeway: Duration,
    /// How long they may live, from `iat` to `exp`.
    pub max_lifetime: Duration,
}

/// Whom tokens are meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whoever: dangerous where the issuer serves several apps.
    Any,
    /// One of these.
    OneOf(Vec<Box<str>>),
}

/// When a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// `iat`.
    pub issued: WallTime,
    /// `nbf`, less the leeway; else `iat`, less what clocks may differ by.
    pub from: WallTime,
    /// `exp`.
    pub expires: WallTime,
    /// The same, and the leeway.
    pub until: WallTime,
}

impl Lifetime {
    /// Whether a token is good now.
    ///
    /// # Errors
    /// When it is not yet, or no longer.
    pub fn check(&self, now: WallTime) -> Result<(), TokenFault> {
        if now >= self.until {
            Err(TokenFault::Expired)
        } else if now < self.from {
            Err(TokenFault::NotYet)
        } else {
            Ok(())
        }
    }
}

/// The issuer that a token names; of one that names none, the empty text. Nothing is proven by it but which keys to look at.
///
/// # Errors
/// When it is no text.
pub fn issuer(claims: &Map<String, Value>) -> Result<&str, TokenFault> {
    match claims.get("iss") {
        None => Ok(""),
        Some(Value::String(issuer)) => Ok(issuer),
        Some(_) => Err(TokenFault::Issuer),
    }
}

impl Expectations {
    /// Checks all that does not change while a token lives, and says when it is good.
    ///
    /// # Errors
    /// When it is none of the issuer's access tokens for us.
    pub fn check(&self, header: &Header, claims: &Map<String, Value>) -> Result<Lifetime, TokenFault> {
        let typ = header.typ.as_deref().unwrap_or(USUAL_TYPE);
        if !self.types.iter().any(|known| **known == *typ) {
            return Err(TokenFault::Type);
        }
        if says_refresh(claims) {
            return Err(TokenFault::Refresh);
        }
        self.audience.check(claims.get("aud"))?;
        self.lifetime(claims)
    }

    fn lifetime(&self, claims: &Map<String, Value>) -> Result<Lifetime, TokenFault> {
        let (Some(issued), Some(expires)) = (time(claims, "iat")?, time(claims, "exp")?) else {
            return Err(TokenFault::Claim);
        };
        if expires <= issued || expires - issued > micros(self.max_lifetime) {
            return Err(TokenFault::Lifetime);
        }
        let made = issued.saturating_sub(micros(AHEAD_AT_MOST));
        let not_before = time(claims, "nbf")?.map_or(0, |from| from.saturating_sub(micros(self.leeway)));
        Ok(Lifetime {
            issued: WallTime::from_micros(issued),
            from: WallTime::from_micros(made.max(not_before)),
            expires: WallTime::from_micros(expires),
            until: WallTime::from_micros(expires.saturating_add(micros(self.leeway))),
        })
    }
}

impl Audience {
    fn check(&self, named: Option<&Value>) -> Result<(), TokenFault> {
        let Self::OneOf(ours) = self else { return Ok(()) };
        let is_ours = |value: &Value| ours.iter().any(|our| value.as_str() == Some(our));
        let meant = match named {
            Some(Value::Array(several)) => several.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        };
        if meant { Ok(()) } else { Err(TokenFault::Audience) }
    }
}

/// When a token says that it is over, if it does.
///
/// # Errors
/// When that is no time.
pub fn expiry(claims: &Map<String, Value>) -> Result<Option<WallTime>, TokenFault> {
    time(claims, "exp").map(|micros| micros.map(WallTime::from_micros))
}

/// Whether a token says that it is for getting others.
#[must_use]
pub fn says_refresh(claims: &Map<String, Value>) -> bool {
    PURPOSES.iter().any(|name| is_refresh(claims.get(*name)))
}

/// Whether a claim says that the token is for getting others.
fn is_refresh(purpose: Option<&Value>) -> bool {
    let text = purpose.and_then(Value::as_str);
    text.is_some_and(|text| text.to_ascii_lowercase().contains("refresh"))
}

/// A NumericDate in microseconds: seconds since 1970, perhaps with a fraction.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, TokenFault> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds)).ok_or(TokenFault::Claim)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within bounds, just compared")]
    Ok(Some((seconds * 1e6) as u64))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Algorithm;
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn expectations() -> Expectations {
        Expectations {
            audience: Audience::OneOf(vec!["api".into(), "mobile".into()]),
            types: vec!["at+jwt".into(), "jwt".into()],
            leeway: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(86_400),
        }
    }

    fn check(typ: Option<&str>, claims: &Value) -> Result<Lifetime, TokenFault> {
        let header = Header { algorithm: Algorithm::Rs256, kid: None, typ: typ.map(Box::from) };
        expectations().check(&header, claims.as_object().expect("an object"))
    }

    fn with(changes: &Value) -> Value {
        let mut claims = json!({"iat": NOW, "exp": NOW + 600, "aud": "api", "sub": "7"});
        let members = claims.as_object_mut().expect("an object");
        for (name, value) in changes.as_object().expect("an object") {
            if value.is_null() {
                members.remove(name);
            } else {
                members.insert(name.clone(), value.clone());
            }
        }
        claims
    }

    #[test]
    fn every_claim_that_is_needed_is_there_and_says_what_it_must() {
        for (changes, fault) in [
            (json!({}), None),
            (json!({"exp": null}), Some(TokenFault::Claim)),
            (json!({"iat": null}), Some(TokenFault::Claim)),
            (json!({"exp": "1700000600"}), Some(TokenFault::Claim)),
            (json!({"exp": true}), Some(TokenFault::Claim)),
            (json!({"exp": -1}), Some(TokenFault::Claim)),
            (json!({"exp": 1e300}), Some(TokenFault::Claim)),
            (json!({"iat": [NOW]}), Some(TokenFault::Claim)),
            (json!({"nbf": "now"}), Some(TokenFault::Claim)),
            (json!({"exp": NOW}), Some(TokenFault::Lifetime)),
            (json!({"exp": NOW - 1}), Some(TokenFault::Lifetime)),
            (json!({"exp": NOW + 86_400}), None),
            (json!({"exp": NOW + 86_401}), Some(TokenFault::Lifetime)),
            (json!({"aud": "mobile"}), None),
            (json!({"aud": ["other", "api"]}), None),
            (json!({"aud": ["other"]}), Some(TokenFault::Audience)),
            (json!({"aud": []}), Some(TokenFault::Audience)),
            (json!({"aud": "api "}), Some(TokenFault::Audience)),
            (json!({"aud": "API"}), Some(TokenFault::Audience)),
            (json!({"aud": {"api": 1}}), Some(TokenFault::Audience)),
            (json!({"aud": null}), Some(TokenFault::Audience)),
            (json!({"type": "access"}), None),
            (json!({"type": "refresh"}), Some(TokenFault::Refresh)),
            (json!({"token_type": "Refresh"}), Some(TokenFault::Refresh)),
            (json!({"typ": "Refresh"}), Some(TokenFault::Refresh)),
            (json!({"token_type": "refresh_token"}), Some(TokenFault::Refresh)),
        ] {
            assert_eq!(check(Some("jwt"), &with(&changes)).err(), fault, "{changes}");
        }
    }

    #[test]
    fn a_type_is_one_of_the_configured_and_none_counts_as_jwt() {
        for (typ, good) in [(None, true), (Some("jwt"), true), (Some("at+jwt"), true), (Some("logout+jwt"), false)] {
            assert_eq!(check(typ, &with(&json!({}))).is_ok(), good, "{typ:?}");
        }
        let header = Header { algorithm: Algorithm::Rs256, kid: None, typ: None };
        let strict = Expectations { types: vec!["at+jwt".into()], ..expectations() };
        assert_eq!(strict.check(&header, with(&json!({})).as_object().expect("one")), Err(TokenFault::Type));
    }

    #[test]
    fn a_token_is_good_from_its_making_to_its_end_give_or_take_what_clocks_differ_by() {
        let at = |changes: &Value, now: u64| {
            let lifetime = check(None, &with(changes)).expect("claims");
            lifetime.check(WallTime::from_micros(now * 1_000_000)).err()
        };
        for (changes, now, fault) in [
            (json!({}), NOW, None),
            (json!({}), NOW - 5, None),
            (json!({}), NOW - 6, Some(TokenFault::NotYet)),
            (json!({}), NOW + 629, None),
            (json!({}), NOW + 630, Some(TokenFault::Expired)),
            (json!({"nbf": NOW + 100}), NOW + 69, Some(TokenFault::NotYet)),
            (json!({"nbf": NOW + 100}), NOW + 70, None),
            (json!({"nbf": 0}), NOW - 6, Some(TokenFault::NotYet)),
            (json!({"exp": NOW as f64 + 600.5}), NOW + 630, None),
        ] {
            assert_eq!(at(&changes, now), fault, "{changes} {now}");
        }
    }

    #[test]
    fn an_issuer_is_a_text_or_nothing() {
        let of = |claims: Value| issuer(claims.as_object().expect("an object")).map(str::to_owned);
        assert_eq!(of(json!({})), Ok(String::new()));
        assert_eq!(of(json!({"iss": "https://a/"})), Ok(String::from("https://a/")));
        assert_eq!(of(json!({"iss": ["https://a/"]})), Err(TokenFault::Issuer));
    }
}
