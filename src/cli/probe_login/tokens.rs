//! Tokens in the answer to a login: where they stand, what they say and claim, and what would become of them here. Pure.
//!
//! It must never show one: what comes out are places, algorithms, claims and times.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::candidates::{Named, Part};
use super::hidden::LONGEST_SHOWN;
use super::values::{Leaf, leaves};
use crate::clock::WallTime;
use crate::custody::{Left, SentAs, TokenRules};
use crate::http::{JsonPointer, printable};
use crate::jwt::says_refresh;

/// The longest part of a token that is looked into.
const LONGEST_PART: usize = 16 * 1024;
/// Claims that name nobody and are no secret: times, who made it, for whom, what it is for.
const PLAIN: [&str; 7] = ["/exp", "/iat", "/nbf", "/iss", "/aud", "/type", "/token_type"];
const TIMES: [&str; 3] = ["/exp", "/iat", "/nbf"];

/// A token that an answer holds.
pub(super) struct Token {
    /// Where.
    pub(super) pointer: String,
    /// By what it says that it is signed.
    pub(super) algorithm: Option<String>,
    /// What it claims.
    pub(super) claims: Value,
}

/// The JWTs in a document, read and not verified.
pub(super) fn tokens(document: &Value) -> Vec<Token> {
    leaves(document).into_iter().filter_map(token).collect()
}

/// The first token of a document that is not for getting others: where it stands, and its text.
pub(super) fn first_access(document: &Value) -> Option<(String, &str)> {
    leaves(document).into_iter().find_map(|leaf| {
        let text = leaf.value.as_str()?;
        let pointer = leaf.pointer.clone();
        token(leaf).filter(|token| !token.is_refresh()).map(|_| (pointer, text))
    })
}

fn token(leaf: Leaf<'_>) -> Option<Token> {
    let (header, claims) = parts(leaf.value.as_str()?)?;
    let algorithm = header.get("alg").and_then(Value::as_str);
    let algorithm = algorithm.map(|algorithm| printable(algorithm.as_bytes(), 16));
    Some(Token { pointer: leaf.pointer, algorithm, claims })
}

impl Token {
    /// Whether it says that it is for getting others.
    pub(super) fn is_refresh(&self) -> bool {
        self.claims.as_object().is_some_and(says_refresh)
    }
}

/// Whether a claim may be shown although it names nobody.
pub(super) fn is_plain(pointer: &str) -> bool {
    PLAIN.contains(&pointer)
}

/// A time as people read it, where a claim is one.
pub(super) fn time(pointer: &str, value: &Value) -> Option<String> {
    let seconds = value.as_u64().filter(|_| TIMES.contains(&pointer))?;
    Some(WallTime::from_micros(seconds.checked_mul(1_000_000)?).rfc3339())
}

/// What keeps a token out of the browser that an answer hands out; `None` where it hands out none.
pub(super) fn captured(document: &Value) -> Option<String> {
    let tokens = tokens(document);
    let access = tokens.iter().find(|token| !token.is_refresh())?;
    let mut keys = format!("`capture = \"jwt\"`, `token = \"{}\"`", shown(&access.pointer));
    if let Some(refresh) = tokens.iter().find(|token| token.is_refresh()) {
        keys.push_str(&format!(", `refresh_token = \"{}\"`, `refresh = {{ path = … }}`", shown(&refresh.pointer)));
    }
    keys.push_str(&claimed(access));
    Some(format!(
        "the answer hands the browser a token, which any script on its pages can take and which outlives a logout: {keys} \
         keep it for the session, and read who it is in its claims (needs `secrets.key`; docs/tokens.md)"
    ))
}

/// What lets API clients in with the token that an answer hands out.
pub(super) fn believed(document: &Value) -> Option<String> {
    let tokens = tokens(document);
    let access = tokens.iter().find(|token| !token.is_refresh())?;
    let text = |name: &str| access.claims.get(name).and_then(Value::as_str).map(shown);
    let issuer = text("iss").unwrap_or_default();
    let audience = text("aud").map_or_else(|| String::from("\"any\""), |audience| format!("[\"{audience}\"]"));
    let algorithm = access.algorithm.as_deref().unwrap_or("…");
    Some(format!(
        "clients without cookies come in with that token by `[[bearer.issuers]]` with `issuer = \"{issuer}\"`, `audience = \
         {audience}`, `algorithms = [\"{algorithm}\"]`{} and its key (docs/tokens.md)",
        claimed(access)
    ))
}

/// Where its claims name whom, as keys.
fn claimed(token: &Token) -> String {
    let named = Named::in_document(&token.claims);
    let best = |(key, part)| Some(format!(", `{key} = \"{}\"`", shown(&named.of(part).next()?.pointer)));
    [("tenant", Part::Tenant), ("user", Part::User)].into_iter().filter_map(best).collect()
}

/// What becomes of the tokens that these rules find, in lines.
///
/// # Errors
/// When the gateway would refuse the answer for them.
pub(super) fn custody(rules: &TokenRules, document: &Value, now: WallTime) -> Result<Vec<String>, &'static str> {
    let Some(token) = rules.take(document, now)? else { return Err("there is no token in the login's answer") };
    let left = match rules.left {
        Left::Placeholder => "the browser gets what stands for it",
        Left::Nothing => "the browser gets none",
        Left::Token => "the browser has it, too, until the session ends",
    };
    let lives = token
        .left(now)
        .map_or_else(|| String::from("says not when it is over"), |left| format!("is over in {} s", left.as_secs()));
    let mut lines =
        vec![format!("the token at {} {lives}; it is kept for the session, and {left}", shown(&token.place))];
    lines.push(match (&rules.refresh, &token.refresh_place) {
        (Some(refresh), Some(place)) => {
            let how = match &refresh.send {
                SentAs::Body(field) => format!("as JSON under \"{}\"", shown(field)),
                SentAs::Bearer => String::from("as `Authorization`"),
            };
            format!("the refresh token at {} gets another one by POST {}, {how}", shown(place), refresh.target.path())
        }
        (Some(_), None) => {
            let tried: Vec<&str> = rules.refresh_token.iter().map(JsonPointer::as_str).collect();
            format!("there is no refresh token at {}: the session is over with its token", tried.join(" or "))
        }
        (None, Some(place)) => {
            format!(
                "the refresh token at {} is not used without `login.refresh`: the session is over with its token",
                shown(place)
            )
        }
        (None, None) => String::from("the session is over with its token"),
    });
    if let Some(field) = token.too_long_for_gunicorn() {
        lines.push(format!(
            "its line has {} bytes, and gunicorn reads {}: raise its limit_request_field_size",
            field.length, field.limit
        ));
    }
    Ok(lines)
}

fn shown(text: &str) -> String {
    printable(text.as_bytes(), LONGEST_SHOWN)
}

/// Header and claims of a JWT (RFC 7519); `None`: it is none.
fn parts(text: &str) -> Option<(Value, Value)> {
    let (head, rest) = text.split_once('.')?;
    let (payload, signature) = rest.split_once('.')?;
    if signature.contains('.') || head.len().max(payload.len()) > LONGEST_PART {
        return None;
    }
    let object = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object)
    };
    Some((object(head)?, object(payload)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn jwt(claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2lnbmF0dXJlLW9mLXRoZS1hcHA", part(&json!({"alg": "HS256"})), part(claims))
    }

    fn rules(left: Left) -> TokenRules {
        let pointer = |text: &str| vec![JsonPointer::parse(text).expect(text)];
        let (token, refresh_token) = (pointer("/access"), pointer("/refresh"));
        TokenRules { token, refresh_token, left, max_token: 7 << 10, refresh: None }
    }

    #[test]
    fn the_claims_of_a_token_are_found_wherever_it_stands() {
        let document = json!({"data": {"access_token": jwt(&json!({"sub": "7"})), "other": "a.b.c"}, "n": 1});
        let found = tokens(&document);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].pointer.as_str(), &found[0].claims), ("/data/access_token", &json!({"sub": "7"})));
        assert_eq!(found[0].algorithm.as_deref(), Some("HS256"));
        for none in ["", "a.b", "a.b.c", "e30.W10.x", &format!("{}.x", jwt(&json!({})))] {
            assert!(parts(none).is_none(), "{none}");
        }
    }

    #[test]
    fn what_becomes_of_an_answers_tokens_is_said_without_them() {
        let now = WallTime::from_micros(NOW * 1_000_000);
        let (access, refresh) = (jwt(&json!({"sub": "7", "exp": NOW + 900})), "an-opaque-refresh-token");
        let document = json!({"access": access, "refresh": refresh});
        for (left, says) in [
            (Left::Placeholder, "the browser gets what stands for it"),
            (Left::Nothing, "the browser gets none"),
            (Left::Token, "the browser has it, too"),
        ] {
            let lines = custody(&rules(left), &document, now).expect("it is taken").join("\n");
            assert!(lines.contains("the token at /access is over in 900 s") && lines.contains(says), "{lines}");
            assert!(lines.contains("the refresh token at /refresh is not used without `login.refresh`"), "{lines}");
            assert!(!lines.contains(&access) && !lines.contains(refresh), "{lines}");
        }
        let over = json!({"access": jwt(&json!({"sub": "7", "exp": NOW - 1}))});
        assert!(custody(&rules(Left::Placeholder), &over, now).is_err_and(|why| why.contains("over already")));
        assert!(custody(&rules(Left::Placeholder), &json!({"token": "x"}), now).is_err());
    }

    #[test]
    fn times_are_shown_as_such_and_other_numbers_are_not() {
        assert_eq!(time("/exp", &json!(NOW)).as_deref(), Some("2023-11-14T22:13:20.000Z"));
        for (pointer, value) in
            [("/exp", json!("soon")), ("/n", json!(NOW)), ("/exp", json!(u64::MAX)), ("/a/exp", json!(NOW))]
        {
            assert_eq!(time(pointer, &value), None, "{pointer}");
        }
    }
}
