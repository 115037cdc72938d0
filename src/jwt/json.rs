//! JSON as a token or a key may have it: every name once (RFC 7515 section 4), and not deeper than any of them needs to be.
//!
//! Of a name that stands twice one parser takes the first value and another the last: what was checked here would not be
//! what the backend reads.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::fault::TokenFault;

/// The deepest that is read.
const DEEPEST: usize = 16;

/// Reads one object, and nothing behind it.
pub(super) fn object(text: &[u8]) -> Result<Map<String, Value>, TokenFault> {
    let text = std::str::from_utf8(text).map_err(|_| TokenFault::Json)?;
    object_within(text, DEEPEST)
}

fn object_within(text: &str, depth: usize) -> Result<Map<String, Value>, TokenFault> {
    let depth = depth.checked_sub(1).ok_or(TokenFault::Json)?;
    let mut parser = serde_json::Deserializer::from_str(text);
    let members = parser.deserialize_map(Members).map_err(|_| TokenFault::Json)?;
    parser.end().map_err(|_| TokenFault::Json)?;
    let mut object = Map::new();
    for (name, value) in members {
        if object.insert(name, value_within(value.get(), depth)?).is_some() {
            return Err(TokenFault::DuplicateName);
        }
    }
    Ok(object)
}

fn value_within(text: &str, depth: usize) -> Result<Value, TokenFault> {
    match text.as_bytes().first() {
        Some(b'{') => object_within(text, depth).map(Value::Object),
        Some(b'[') => {
            let depth = depth.checked_sub(1).ok_or(TokenFault::Json)?;
            let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| TokenFault::Json)?;
            let elements = elements.into_iter().map(|element| value_within(element.get(), depth));
            elements.collect::<Result<_, _>>().map(Value::Array)
        }
        // Most values are strings without an escape, which were read once already.
        Some(b'"') if !text.contains('\\') => {
            let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            inner.map(|inner| Value::String(inner.to_owned())).ok_or(TokenFault::Json)
        }
        _ => serde_json::from_str(text).map_err(|_| TokenFault::Json),
    }
}

/// The members of an object in their order, whatever their names.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_refused_however_it_is_written_and_wherever_it_stands() {
        for text in [
            r#"{"sub":"1","sub":"2"}"#,
            r#"{"sub":"1","sub":"1"}"#,
            r#"{"sub":"1","\u0073ub":"2"}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
        ] {
            assert_eq!(object(text.as_bytes()), Err(TokenFault::DuplicateName), "{text}");
        }
        let text = r#" { "a" : { "b" : [1, {"c": null}] }, "b": 1.50 } "#;
        assert_eq!(object(text.as_bytes()).map(Value::Object), Ok(serde_json::from_str(text).expect("JSON")));
    }

    #[test]
    fn what_is_no_object_or_has_something_behind_it_is_refused() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(17), "}".repeat(17));
        let in_lists = format!(r#"{{"a":{}{}}}"#, "[".repeat(17), "]".repeat(17));
        for text in ["", "null", "[]", "\"{}\"", "{} {}", "{", r#"{"a":NaN}"#, r#"{"a":01}"#, &deep, &in_lists] {
            assert_eq!(object(text.as_bytes()), Err(TokenFault::Json), "{text}");
        }
        for bytes in [
            &b"{\"a\":\"\xff\"}"[..],
            b"{\"a\":\"\x01\"}",
            b"{\"a\":\"\n\"}",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\\ud800\"}",
        ] {
            assert_eq!(object(bytes), Err(TokenFault::Json), "{bytes:?}");
        }
        assert_eq!(object(br#"{"a":{}}"#).map(Value::Object), Ok(json!({"a": {}})));
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_any_parser_reads(text in "\\{[\\[\\]{}:,\"\\\\uab01. \u{1}é-]{0,40}\\}") {
            if let Ok(read) = object(text.as_bytes()) {
                prop_assert_eq!(Some(Value::Object(read)), serde_json::from_str(&text).ok());
            }
        }
    }
}
