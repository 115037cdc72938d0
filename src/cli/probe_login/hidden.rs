//! Which values may be seen: not the password, not a cookie's value, nothing under a name such as `token`.

use http::header::{COOKIE, HeaderMap, SET_COOKIE};
use serde_json::Value;

use crate::http::printable;
use crate::login::read_json;

/// The longest name or value that is shown.
pub(super) const LONGEST_SHOWN: usize = 128;

/// Parts of names, without separators and in lower case, whose values nobody may see.
const SENSITIVE: [&str; 16] = [
    "token",
    "secret",
    "passw",
    "pwd",
    "passphrase",
    "jwt",
    "cookie",
    "session",
    "csrf",
    "xsrf",
    "apikey",
    "privatekey",
    "credential",
    "signature",
    "otp",
    "authorization",
];

/// Whether the value of a field of this name is a secret.
pub(super) fn is_sensitive(name: &str) -> bool {
    let name = plain(name);
    SENSITIVE.iter().any(|part| name.contains(part))
}

/// Whether a place in a document is a secret's, or within one.
pub(super) fn is_below_secret(pointer: &str) -> bool {
    pointer.split('/').any(is_sensitive)
}

/// A name without what people write differently: separators and capitals.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Values that are never shown, wherever they turn up.
#[derive(Default)]
pub(super) struct Hidden(Vec<String>);

impl Hidden {
    /// Hides a value.
    pub(super) fn add(&mut self, value: &str) {
        if !value.is_empty() {
            self.0.push(value.to_owned());
        }
    }

    /// Hides the cookies of a request.
    pub(super) fn add_cookies(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(COOKIE) {
            for pair in String::from_utf8_lossy(line.as_bytes()).split(';') {
                self.add(pair.split_once('=').map_or(pair, |(_, value)| value).trim());
            }
        }
    }

    /// Hides the cookies that an answer sets, and what stands under sensitive names in its body.
    pub(super) fn add_answer(&mut self, headers: &HeaderMap, body: &[u8]) {
        for line in headers.get_all(SET_COOKIE) {
            let line = String::from_utf8_lossy(line.as_bytes());
            let pair = line.split(';').next().unwrap_or_default();
            self.add(pair.split_once('=').map_or(pair, |(_, value)| value).trim());
        }
        if let Some(document) = read_json(body) {
            self.add_sensitive(&document, false);
        }
    }

    fn add_sensitive(&mut self, value: &Value, sensitive: bool) {
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| self.add_sensitive(value, sensitive || is_sensitive(name)));
            }
            Value::Array(elements) => elements.iter().for_each(|value| self.add_sensitive(value, sensitive)),
            Value::String(text) if sensitive => self.add(text),
            Value::Number(number) if sensitive => self.add(&number.to_string()),
            _ => {}
        }
    }

    /// The value, made printable, if it may be shown.
    pub(super) fn show(&self, value: &str) -> Option<String> {
        let seen = !value.is_empty() && value.len() <= LONGEST_SHOWN && !self.0.iter().any(|hidden| hidden == value);
        seen.then(|| printable(value.as_bytes(), LONGEST_SHOWN))
    }
}
