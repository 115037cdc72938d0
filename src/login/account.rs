//! Which accounts a login's request names.
//!
//! The backend reads the request with another reader, and takes one value of several in its own way. So every value counts
//! that stands at one of the places, however the body is read: whoever adds another name to a login adds another account that
//! is counted, and takes none away.

use ::http::HeaderValue;
use serde_json::Value;

use super::multipart::{is_plain, parameter, part_named, parts, split_once};
use super::read_json;
use crate::http::JsonPointer;

/// An e-mail address and a name; more no login of a rightful user has. A failure counts for each: the more there may be, the
/// more accounts a stranger could lock at once.
const MOST: usize = 2;

/// Which account a login means cannot be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountUnclear {
    /// It names more accounts than anybody has.
    #[error("names more accounts than anybody has")]
    TooMany,
    /// A backend may read another account in it than this reader.
    #[error("can be read in several ways")]
    Body,
}

/// The names at these places of a login's request, in a form (urlencoded or multipart) in the fields of their last parts'
/// names. As they stand there, each once.
///
/// # Errors
/// When there are more than any rightful login has, or a backend may find there what is not seen here.
pub fn accounts_named(
    content_type: Option<&HeaderValue>,
    body: &[u8],
    places: &[JsonPointer],
) -> Result<Vec<String>, AccountUnclear> {
    let content_type = content_type.map(HeaderValue::as_bytes).unwrap_or_default();
    let (media_type, parameters) = split_once(content_type, b';').unwrap_or((content_type, b""));
    let media_type = media_type.trim_ascii();
    let mut names = Vec::new();
    let mut add = |name: String| {
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() > MOST { Err(AccountUnclear::TooMany) } else { Ok(()) }
    };
    let fields: Vec<String> = places.iter().map(JsonPointer::last_part).collect();
    if media_type.eq_ignore_ascii_case(b"multipart/form-data")
        && let Some(boundary) = parameter(parameters, b"boundary")
    {
        for part in parts(body, boundary) {
            if !is_plain(part) {
                return Err(AccountUnclear::Body);
            }
            for value in fields.iter().filter_map(|field| part_named(part, field.as_bytes())) {
                add(String::from_utf8_lossy(value).into_owned())?;
            }
        }
        return Ok(names);
    }
    // Legacy apps read JSON whatever its type says, and a form where nothing says that it is none.
    let document = read_json(body);
    if document.is_none() && body.contains(&0) {
        // UTF-32, which Python's reader of JSON takes.
        return Err(AccountUnclear::Body);
    }
    if let Some(document) = document {
        for value in places.iter().filter_map(|place| place.find_in(&document)) {
            match value {
                Value::String(text) => add(text.clone())?,
                Value::Number(number) => add(number.to_string())?,
                Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
            }
        }
    }
    if !media_type.eq_ignore_ascii_case(b"application/json") {
        // Older readers end a field at a semicolon, too.
        let pieces = body.split(|byte| *byte == b'&');
        let more = body.split(|byte| matches!(byte, b'&' | b';')).filter(|_| body.contains(&b';'));
        for (name, value) in pieces.chain(more).flat_map(form_urlencoded::parse) {
            if fields.iter().any(|field| *field == name) {
                add(value.into_owned())?;
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places() -> Vec<JsonPointer> {
        ["/email", "/username", "/user/login"].map(|text| JsonPointer::parse(text).expect(text)).into()
    }

    fn named(kind: &str, body: &str) -> Result<Vec<String>, AccountUnclear> {
        let kind = HeaderValue::from_str(kind).expect("a value");
        accounts_named(Some(&kind), body.as_bytes(), &places())
    }

    #[test]
    fn whatever_a_backend_could_take_for_the_account_is_one() {
        let (json, form) = ("application/json", "application/x-www-form-urlencoded");
        let multipart = "multipart/form-data; boundary=x";
        for (kind, body, names) in [
            (json, r#"{"email":"bob","password":"p"}"#, &["bob"][..]),
            (json, r#"{"username":7}"#, &["7"]),
            (json, r#"{"user":{"login":"bob"}}"#, &["bob"]),
            (json, r#"{"email":"x","username":"bob"}"#, &["x", "bob"]),
            (json, r#"{"email":"bob","username":"bob"}"#, &["bob"]),
            (json, r#"{"email":null,"username":["bob"]}"#, &[]),
            (json, "{}", &[]),
            (json, "no json", &[]),
            (form, r#"{"email":"bob"}"#, &["bob"]),
            (form, "username=bob&password=p", &["bob"]),
            (form, "user%6eame=b%6fb", &["bob"]),
            (form, "login=bob", &["bob"]),
            (form, "username=x&username=bob", &["x", "bob"]),
            ("", "username=bob", &["bob"]),
            (form, r#""a&username=bob&b""#, &["bob"]),
            ("text/plain", r#"{"email":"bob"}"#, &["bob"]),
            (multipart, "--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nbob\r\n--x--\r\n", &["bob"]),
            (form, "a=1;username=bob", &["bob"]),
            (form, "", &[]),
        ] {
            assert_eq!(named(kind, body).expect("few"), names, "{kind} {body}");
        }
    }

    #[test]
    fn a_login_with_more_names_than_anybody_has_is_none() {
        let many = |count: usize| (0..count).map(|n| format!("email={n}&")).collect::<String>();
        assert_eq!(named("", &many(MOST)).expect("few").len(), MOST);
        assert_eq!(named("", &many(MOST + 1)), Err(AccountUnclear::TooMany));
        assert_eq!(named("", &"email=bob&".repeat(1000)).expect("one"), ["bob"]);
    }

    #[test]
    fn a_body_in_which_a_backend_may_read_another_account_is_refused() {
        let part = |head: &str| format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\nbob\r\n--x--\r\n");
        let utf_32: String = r#"{"email":"bob"}"#.chars().flat_map(|letter| [letter, '\0', '\0', '\0']).collect();
        for (kind, body) in [
            ("application/json", utf_32),
            ("multipart/form-data; boundary=x", part("name*=utf-8''username")),
            ("multipart/form-data; boundary=x", part("name=\"username\"\r\nContent-Transfer-Encoding: base64")),
            ("multipart/form-data; boundary=x", part("name=\"username\"").replace("\r\n", "\n")),
            ("multipart/form-data; boundary=x", part("name=\"a\"\n\nx")),
        ] {
            assert_eq!(named(kind, &body), Err(AccountUnclear::Body), "{body:?}");
        }
        assert_eq!(named("multipart/form-data; boundary=x", &part("name=\"username\"")).expect("plain"), ["bob"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in 0..3_usize, body in proptest::collection::vec(any::<u8>(), 0..80)) {
            let kinds = ["application/json", "multipart/form-data; boundary=-", "application/x-www-form-urlencoded"];
            let _ = accounts_named(Some(&HeaderValue::from_static(kinds[kind])), &body, &places());
        }
    }
}
