//! A JSON answer as apps write it, read leniently where that cannot change who is meant.
//!
//! Python writes lone surrogates, `NaN` and `Infinity`; old .NET and PHP put a byte order mark before it or send UTF-16;
//! a name somewhere in it may be in no encoding at all. None of that is a reason to overlook a login. What could not be
//! read as it stands becomes something that is no identity: a replacement character (see [`Finding`](crate::http::Finding)),
//! or an empty list, which is no failure, no name, and truthy.
//!
//! Of a key that stands twice the last value counts, as for the parsers of Python, JavaScript, PHP and Ruby: backend,
//! browser and gateway see the same. Depth is bounded: what stands deeper than anything is pointed to is an empty list.

use std::borrow::Cow;

use serde_json::Value;

/// The deepest that is read. The parser's own bound is 128.
const DEEPEST: usize = 100;

/// The document. `None` for what is no JSON, however it is looked at.
#[must_use]
pub fn read_json(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok().or_else(|| serde_json::from_str(&repaired(&text(body))).ok())
}

/// The bytes as text. What is in no encoding becomes U+FFFD.
fn text(body: &[u8]) -> Cow<'_, str> {
    match body {
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8_lossy(rest),
        [0xFF, 0xFE, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)),
        [0xFE, 0xFF, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)),
        // JSON begins with two ASCII characters (RFC 4627 section 3).
        [0, 1..=255, ..] => Cow::Owned(utf16(body, u16::from_be_bytes)),
        [1..=255, 0, ..] => Cow::Owned(utf16(body, u16::from_le_bytes)),
        _ => String::from_utf8_lossy(body),
    }
}

fn utf16(body: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let (pairs, _) = body.as_chunks::<2>();
    char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).map(|read| read.unwrap_or('\u{FFFD}')).collect()
}

/// The text without what no parser takes.
fn repaired(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len());
    let mut rest = text;
    let mut depth = 0_usize;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '"' => string_length(rest),
            _ => constant(rest).map_or(next.len_utf8(), str::len),
        };
        let (token, behind) = rest.split_at(length);
        rest = behind;
        if matches!(next, '}' | ']') {
            depth = depth.saturating_sub(1);
        }
        match next {
            // It stands for all that is in it.
            '{' | '[' if depth == DEEPEST => repaired.push_str("[]"),
            _ if depth > DEEPEST || (depth == DEEPEST && matches!(next, '}' | ']')) => {}
            '"' => push_string(&mut repaired, token),
            _ if constant(token).is_some() => repaired.push_str("[]"),
            _ => repaired.push_str(token),
        }
        if matches!(next, '{' | '[') {
            depth += 1;
        }
    }
    repaired
}

/// The constant of JavaScript that it begins with.
fn constant(text: &str) -> Option<&'static str> {
    ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| text.starts_with(word))
}

/// The length of the string that it begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Writes a string with U+FFFD for surrogates without their other half, and with control characters escaped.
fn push_string(repaired: &mut String, mut text: &str) {
    while let Some(next) = text.chars().next() {
        let mut length = next.len_utf8();
        match (next, unit(text)) {
            ('\\', Some(0xD800..=0xDBFF)) if matches!(text.get(6..).and_then(unit), Some(0xDC00..=0xDFFF)) => {
                length = 12;
                repaired.push_str(text.get(..length).unwrap_or_default());
            }
            ('\\', Some(0xD800..=0xDFFF)) => {
                length = 6;
                repaired.push('\u{FFFD}');
            }
            ('\\', _) => {
                length += text.chars().nth(1).map_or(0, char::len_utf8);
                repaired.push_str(text.get(..length).unwrap_or_default());
            }
            ('\0'..='\u{1F}', _) => repaired.push_str(&format!("\\u{:04x}", u32::from(next))),
            _ => repaired.push(next),
        }
        text = text.get(length..).unwrap_or_default();
    }
}

/// The UTF-16 unit of the escape that it begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn encoded(text: &str, unit: fn(u16) -> [u8; 2], mark: &[u8]) -> Vec<u8> {
        [mark.to_vec(), text.encode_utf16().flat_map(unit).collect()].concat()
    }

    #[test]
    fn what_apps_write_is_read() {
        let plain = r#"{"id": 7, "name": "Zoë"}"#;
        let id = json!({"id": 7, "name": "Zoë"});
        let deep = format!(r#"{{"deep": {}1{}, "id": 7}}"#, "[".repeat(200), "]".repeat(200));
        let deeper =
            format!(r#"{{"deep": {}{}, "id": 7}}"#, "{\"]\":".repeat(20_000), "1".to_owned() + &"}".repeat(20_000));
        for (row, body, expected) in [
            ("as it should be", plain.as_bytes().to_vec(), Some(id.clone())),
            ("a byte order mark", [b"\xEF\xBB\xBF", plain.as_bytes()].concat(), Some(id.clone())),
            ("UTF-16 with a mark", encoded(plain, u16::to_le_bytes, b"\xFF\xFE"), Some(id.clone())),
            ("the other UTF-16", encoded(plain, u16::to_be_bytes, b"\xFE\xFF"), Some(id.clone())),
            ("UTF-16 without a mark", encoded(plain, u16::to_le_bytes, b""), Some(id.clone())),
            ("the other one", encoded(plain, u16::to_be_bytes, b""), Some(id)),
            ("a lone high surrogate", br#"{"n": "a\ud800b"}"#.to_vec(), Some(json!({"n": "a\u{FFFD}b"}))),
            ("a lone low one", br#"{"n": "\uDC00\\u"}"#.to_vec(), Some(json!({"n": "\u{FFFD}\\u"}))),
            ("in a key", br#"{"\udfff": 1, "id": 7}"#.to_vec(), Some(json!({"\u{FFFD}": 1, "id": 7}))),
            ("a pair beside one", br#"{"n": "\ud83d\ude00\ud83d\n"}"#.to_vec(), Some(json!({"n": "😀\u{FFFD}\n"}))),
            ("bytes of Latin-1", b"{\"n\": \"Zo\xEB\", \"id\": 7}".to_vec(), Some(json!({"n": "Zo\u{FFFD}", "id": 7}))),
            ("NaN", br#"{"r": NaN, "s": [-Infinity, Infinity]}"#.to_vec(), Some(json!({"r": [], "s": [[], []]}))),
            (
                "their names in a string",
                br#"{"r": NaN, "n": "NaN \" Infinity"}"#.to_vec(),
                Some(json!({"r": [], "n": "NaN \" Infinity"})),
            ),
            ("a line break in a string", b"{\"n\": \"a\nb\"}".to_vec(), Some(json!({"n": "a\nb"}))),
            ("a key twice", br#"{"id": 1, "id": 7, "r": NaN}"#.to_vec(), Some(json!({"id": 7, "r": []}))),
            ("no JSON", b"<html>".to_vec(), None),
            ("nothing", b"".to_vec(), None),
            ("half of it", br#"{"id": 7, "n": "\ud800"#.to_vec(), None),
            ("two", br#"{"id": NaN} {"id": 7}"#.to_vec(), None),
        ] {
            assert_eq!(read_json(&body), expected, "{row}");
        }
        for body in [deep, deeper] {
            assert_eq!(read_json(body.as_bytes()).expect("JSON")["id"], 7);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "[\\[\\]{}:,\"\\\\udD8c0NaInfity -]{0,60}") {
            let _ = (read_json(&bytes), read_json(text.as_bytes()));
        }

        #[test]
        fn what_a_strict_parser_takes_is_not_repaired(text in "[\\[\\]{}:,\"\\\\u0aé -]{0,30}") {
            if let Ok(strict) = serde_json::from_str::<Value>(&text) {
                prop_assert_eq!(serde_json::from_str::<Value>(&repaired(&text)).ok(), Some(strict));
            }
        }
    }
}
