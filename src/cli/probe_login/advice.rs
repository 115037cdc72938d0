//! What the answers to a login let one expect beyond who is logged in: tokens and what they claim, a second factor that is
//! still due, cookies that are the app's own session. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{HeaderMap, SET_COOKIE};
use serde_json::Value;

use super::candidates::{Named, Part};
use super::hidden::{Hidden, plain};
use super::values::{Leaf, leaves};
use crate::http::printable;
use crate::jwt::says_refresh;

/// The longest part of a token that is looked into.
const LONGEST_PART: usize = 16 * 1024;
/// The longest value that is taken for a word of the app's own.
const LONGEST_WORD: usize = 40;
/// What names and words of a second factor have in them.
const FACTOR: [&str; 10] = [
    "mfa",
    "2fa",
    "twofactor",
    "secondfactor",
    "otp",
    "stepup",
    "verificationrequired",
    "challenge",
    "mustchangepassword",
    "passwordexpired",
];
/// That somebody has a second factor says nothing of this login.
const SETTINGS: [&str; 6] = ["enabled", "configured", "verified", "setup", "enrolled", "available"];

/// A token that an answer holds.
pub(super) struct Token {
    /// Where.
    pub(super) pointer: String,
    /// What it claims.
    pub(super) claims: Value,
}

/// The JWTs in a document, read and not verified.
pub(super) fn tokens(document: &Value) -> Vec<Token> {
    let claims = |leaf: Leaf<'_>| Some(Token { claims: claims(leaf.value.as_str()?)?, pointer: leaf.pointer });
    leaves(document).into_iter().filter_map(claims).collect()
}

impl Token {
    /// Whether it says that it is for getting others.
    pub(super) fn is_refresh(&self) -> bool {
        self.claims.as_object().is_some_and(says_refresh)
    }
}

/// What keeps a token out of the browser that an answer hands out; `None` where it hands out none.
pub(super) fn captured(document: &Value) -> Option<String> {
    let tokens = tokens(document);
    let shown = |pointer: &str| printable(pointer.as_bytes(), super::hidden::LONGEST_SHOWN);
    let access = tokens.iter().find(|token| !token.is_refresh())?;
    let mut keys = format!("`capture = \"jwt\"`, `token = \"{}\"`", shown(&access.pointer));
    if let Some(refresh) = tokens.iter().find(|token| token.is_refresh()) {
        keys.push_str(&format!(", `refresh_token = \"{}\"`, `refresh = {{ path = … }}`", shown(&refresh.pointer)));
    }
    let claimed = Named::in_document(&access.claims);
    for (key, part) in [("tenant", Part::Tenant), ("user", Part::User)] {
        if let Some(best) = claimed.of(part).next() {
            keys.push_str(&format!(", `{key} = \"{}\"`", shown(&best.pointer)));
        }
    }
    Some(format!(
        "the answer hands the browser a token, which any script on its pages can take and which outlives a logout: {keys} \
         keep it for the session, and read who it is in its claims (needs `secrets.key`; docs/tokens.md)"
    ))
}

/// The claims of a JWT (RFC 7519); `None`: it is none.
pub(super) fn claims(text: &str) -> Option<Value> {
    let (head, rest) = text.split_once('.')?;
    let (payload, signature) = rest.split_once('.')?;
    if signature.contains('.') || head.len().max(payload.len()) > LONGEST_PART {
        return None;
    }
    let object = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object)
    };
    object(head)?;
    object(payload)
}

/// What in an answer says that a second factor, or something like it, is still due: as `login.unless` takes it.
pub(super) fn still_due(document: &Value, hidden: &Hidden) -> Vec<String> {
    let due = |leaf: Leaf<'_>| {
        let name = plain(leaf.pointer.rsplit('/').next().unwrap_or_default());
        let pointer = printable(leaf.pointer.as_bytes(), super::hidden::LONGEST_SHOWN);
        match leaf.value {
            Value::Bool(true) => {
                let due = speaks_of_a_factor(&name) && !SETTINGS.iter().any(|setting| name.ends_with(setting));
                due.then_some(pointer)
            }
            Value::String(text) => {
                let is_word = text.len() <= LONGEST_WORD
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b' '));
                let word = Some(text).filter(|text| is_word && speaks_of_a_factor(&plain(text)))?;
                hidden.show(word).map(|word| format!("{pointer}={word}"))
            }
            _ => None,
        }
    };
    leaves(document).into_iter().filter_map(due).collect()
}

fn speaks_of_a_factor(text: &str) -> bool {
    FACTOR.iter().any(|part| text.contains(part))
}

/// The cookies of an answer by which the app knows its user: what scripts must not read, or what is called so. Not those
/// against forgery.
pub(super) fn own_cookies(headers: &HeaderMap) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for line in headers.get_all(SET_COOKIE) {
        let Ok(line) = line.to_str() else { continue };
        let mut parts = line.split(';');
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
        let attributes: Vec<String> = parts.map(|part| part.trim().to_ascii_lowercase()).collect();
        let called = plain(name);
        let forgery = ["csrf", "xsrf"].iter().any(|part| called.contains(part));
        let session =
            ["sess", "sid", "remember", "auth", "token", "jwt", "login"].iter().any(|part| called.contains(part));
        let ends = attributes.iter().any(|attribute| attribute == "max-age=0");
        let own = !forgery
            && !ends
            && !value.trim().is_empty()
            && (session || attributes.iter().any(|one| one == "httponly"));
        let name = name.trim().to_owned();
        if own && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// A list as it is written in the configuration.
pub(super) fn listed(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{}\"", printable(name.as_bytes(), 64))).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn jwt(claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2lnbmF0dXJl", part(&json!({"alg": "HS256"})), part(claims))
    }

    #[test]
    fn the_claims_of_a_token_are_found_wherever_it_stands() {
        let document = json!({"data": {"access_token": jwt(&json!({"sub": "7"})), "other": "a.b.c"}, "n": 1});
        let found = tokens(&document);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].pointer.as_str(), &found[0].claims), ("/data/access_token", &json!({"sub": "7"})));
        for none in ["", "a.b", "a.b.c", "e30.W10.x", &format!("{}.x", jwt(&json!({})))] {
            assert_eq!(claims(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_still_due_is_told_from_what_is_set_up() {
        let hidden = Hidden::default();
        for (document, expected) in [
            (json!({"status": "otp_required"}), vec!["/status=otp_required"]),
            (json!({"next": "mfa-challenge", "ok": true}), vec!["/next=mfa-challenge"]),
            (json!({"data": {"requires_totp": true}}), vec!["/data/requires_totp"]),
            (json!({"must_change_password": true}), vec!["/must_change_password"]),
            (json!({"user": {"mfa_enabled": true, "otp_configured": true}, "mfa": false}), vec![]),
            (json!({"message": "Your one-time code (OTP) was sent to a@example.com."}), vec![]),
            (json!({"status": "ok"}), vec![]),
        ] {
            assert_eq!(still_due(&document, &hidden), expected, "{document}");
        }
    }

    #[test]
    fn the_apps_own_session_is_told_from_its_other_cookies() {
        let mut headers = HeaderMap::new();
        for line in [
            "sessionid=x; HttpOnly; Path=/",
            "csrftoken=x; HttpOnly",
            "remember_token=x; Path=/",
            "theme=dark",
            "old_session=; Max-Age=0",
            "opaque=1; httponly",
            "sessionid=y; HttpOnly; Path=/api",
        ] {
            headers.append(SET_COOKIE, HeaderValue::from_static(line));
        }
        let own = own_cookies(&headers);
        assert_eq!(own, ["sessionid", "remember_token", "opaque"]);
        assert_eq!(listed(&own), "[\"sessionid\", \"remember_token\", \"opaque\"]");
    }
}
