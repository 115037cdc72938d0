//! Whether a login request asked to be remembered.

use ::http::HeaderValue;
use serde_json::Value;

use super::condition::is_zero;
use super::multipart::{parameter, part_named, parts, split_once};
use super::read_json;
use crate::http::JsonPointer;

/// Whether a login request asked to be remembered: anything but a no at `field`, in a form (urlencoded or multipart) in
/// the field of its last part's name. Of several values one is enough (a hidden `0` goes with many checkboxes).
#[must_use]
pub fn remembered(content_type: Option<&HeaderValue>, body: &[u8], field: &JsonPointer) -> bool {
    let content_type = content_type.map(HeaderValue::as_bytes).unwrap_or_default();
    let (media_type, parameters) = split_once(content_type, b';').unwrap_or((content_type, b""));
    let media_type = media_type.trim_ascii();
    if media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        let wanted = field.last_part();
        return form_urlencoded::parse(body).any(|(name, value)| name == wanted && says_yes(value.as_bytes()));
    }
    if media_type.eq_ignore_ascii_case(b"multipart/form-data") {
        let wanted = field.last_part();
        return parameter(parameters, b"boundary").is_some_and(|boundary| {
            parts(body, boundary).any(|part| part_named(part, wanted.as_bytes()).is_some_and(says_yes))
        });
    }
    // Legacy apps read JSON whatever its type says.
    read_json(body).as_ref().and_then(|request| field.find_in(request)).is_some_and(value_says_yes)
}

fn value_says_yes(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => !is_zero(&number.to_string()),
        Value::String(text) => says_yes(text.as_bytes()),
        Value::Array(values) => values.iter().any(value_says_yes),
        Value::Object(members) => !members.is_empty(),
    }
}

/// What frameworks write for a checkbox that is ticked differs (`on`, `1`, WTForms' `y`); the words for no are few.
fn says_yes(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let noes: [&[u8]; 8] = [b"", b"0", b"false", b"off", b"no", b"n", b"null", b"none"];
    !noes.iter().any(|no| text.eq_ignore_ascii_case(no))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn anything_but_a_no_asks_to_be_remembered() {
        let json = "application/json; charset=utf-8";
        let form = "application/x-www-form-urlencoded";
        let multipart = "multipart/form-data; boundary=\"x\"";
        let nested = "/options/remember";
        for (kind, body, field, expected) in [
            (json, r#"{"remember":true}"#, "/remember", true),
            (json, r#"{"remember":1}"#, "/remember", true),
            (json, r#"{"remember":"1"}"#, "/remember", true),
            (json, r#"{"remember":"on"}"#, "/remember", true),
            (json, r#"{"remember":"true"}"#, "/remember", true),
            (json, r#"{"remember":"yes"}"#, "/remember", true),
            (json, r#"{"remember":false}"#, "/remember", false),
            (json, r#"{"remember":0}"#, "/remember", false),
            (json, r#"{"remember":0.0}"#, "/remember", false),
            (json, r#"{"remember":2}"#, "/remember", true),
            (json, r#"{"remember":1.0}"#, "/remember", true),
            (json, r#"{"remember":"y"}"#, "/remember", true),
            (json, r#"{"remember":"30 days"}"#, "/remember", true),
            (json, r#"{"remember":""}"#, "/remember", false),
            (json, r#"{"remember":"NO"}"#, "/remember", false),
            (json, r#"{"remember":" Off "}"#, "/remember", false),
            (json, r#"{"remember":"None"}"#, "/remember", false),
            (json, r#"{"remember":["0"]}"#, "/remember", false),
            (json, r#"{"remember":[]}"#, "/remember", false),
            (json, r#"{"remember":{}}"#, "/remember", false),
            (json, "\u{feff}{\"remember\":true}", "/remember", true),
            (json, r#"{"remember":"no"}"#, "/remember", false),
            (json, r#"{"remember":[true]}"#, "/remember", true),
            (json, r#"{"remember":null}"#, "/remember", false),
            (json, "{}", "/remember", false),
            (json, "not json", "/remember", false),
            (json, r#"{"options":{"remember":true}}"#, nested, true),
            ("", r#"{"remember":true}"#, "/remember", true),
            ("text/plain", r#"{"remember":true}"#, "/remember", true),
            (form, "user=a&remember=on", "/remember", true),
            (form, "user=a&remember=yes", nested, true),
            (form, "user=a&rem%65mber=1", "/remember", true),
            (form, "remember=0&remember=1", "/remember", true),
            (form, "remember=y", "/remember", true),
            (form, "remember=N", "/remember", false),
            (form, "remember=", "/remember", false),
            (form, "remember=0", "/remember", false),
            (form, "remember", "/remember", false),
            (form, "remember_me=1", "/remember", false),
            (form, r#"{"remember":true}"#, "/remember", false),
            (
                multipart,
                "--x\r\nContent-Disposition: form-data; name=\"remember\"\r\n\r\non\r\n--x--\r\n",
                "/remember",
                true,
            ),
            (
                multipart,
                "--x\r\ncontent-disposition: form-data; name=remember\r\n\r\n0\r\n--x--\r\n",
                "/remember",
                false,
            ),
            (
                multipart,
                "--x\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\non\r\n--x--\r\n",
                "/remember",
                false,
            ),
            (multipart, "--x", "/remember", false),
            (multipart, "--x--x--x\r\n\r\n--x", "/remember", false),
            ("multipart/form-data", "--x\r\n", "/remember", false),
        ] {
            let kind = (!kind.is_empty()).then(|| HeaderValue::from_static(kind));
            let field = JsonPointer::parse(field).expect(field);
            assert_eq!(remembered(kind.as_ref(), body.as_bytes(), &field), expected, "{kind:?} {body}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in 0..3_usize, body in proptest::collection::vec(any::<u8>(), 0..60)) {
            let kinds = ["application/json", "multipart/form-data; boundary=-", "application/x-www-form-urlencoded"];
            let kind = HeaderValue::from_static(kinds[kind]);
            let _ = remembered(Some(&kind), &body, &JsonPointer::of_field("remember"));
        }
    }
}
