//! Whether a login request asked to be remembered.

use ::http::HeaderValue;
use memchr::memmem;
use serde_json::Value;

use super::condition::is_zero;
use super::read_json;
use crate::http::JsonPointer;

/// RFC 2046 section 5.1.1.
const LONGEST_BOUNDARY: usize = 70;

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

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = memchr::memchr(at, text)?;
    Some((text.get(..position)?, text.get(position + 1..)?))
}

/// A parameter of a header value (`; name=value` or `; name="value"`).
fn parameter<'a>(parameters: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    parameters.split(|byte| *byte == b';').find_map(|parameter| {
        let (key, value) = split_once(parameter, b'=')?;
        let value = value.trim_ascii();
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        key.trim_ascii().eq_ignore_ascii_case(name).then_some(unquoted)
    })
}

/// What stands between the delimiters of a multipart body (RFC 7578).
fn parts<'a>(body: &'a [u8], boundary: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let usable = (1..=LONGEST_BOUNDARY).contains(&boundary.len());
    let delimiter = [b"--", boundary].concat();
    let starts: Vec<usize> = if usable { memmem::find_iter(body, &delimiter).collect() } else { Vec::new() };
    let ends: Vec<usize> = starts.iter().skip(1).copied().collect();
    let length = delimiter.len();
    starts.into_iter().zip(ends).filter_map(move |(start, end)| body.get(start + length..end))
}

/// The value of a part, if it is the form field of that name.
fn part_named<'a>(part: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let part = part.strip_prefix(b"\r\n")?.strip_suffix(b"\r\n")?;
    let head = memmem::find(part, b"\r\n\r\n")?;
    let (head, value) = (part.get(..head)?, part.get(head + 4..)?);
    let disposition = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = split_once(line, b':')?;
        name.trim_ascii().eq_ignore_ascii_case(b"content-disposition").then_some(value)
    })?;
    let (_, parameters) = split_once(disposition, b';')?;
    (parameter(parameters, b"name")? == wanted).then_some(value)
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
