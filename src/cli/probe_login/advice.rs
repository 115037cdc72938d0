//! What the answers to a login let one expect beyond who is logged in: a second factor that is still due, cookies that are
//! the app's own session. Pure.

use http::header::{HeaderMap, SET_COOKIE};
use serde_json::Value;

use super::hidden::{Hidden, plain};
use super::values::{Leaf, leaves};
use crate::http::printable;

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
