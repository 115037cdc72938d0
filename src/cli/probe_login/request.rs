//! The body of the login that is sent, and the options that it is made of.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

/// How fields are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As a JSON object.
    Json,
    /// As a form.
    Form,
}

/// Content type and body for these fields.
pub(super) fn encode(encoding: Encoding, fields: &[(String, String)]) -> (HeaderValue, Bytes) {
    match encoding {
        Encoding::Json => {
            let object: Map<String, Value> =
                fields.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
            (HeaderValue::from_static("application/json"), Value::Object(object).to_string().into())
        }
        Encoding::Form => {
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
            (HeaderValue::from_static("application/x-www-form-urlencoded"), form.into())
        }
    }
}

/// `NAME=VALUE`.
pub(super) fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(String::from("write it as NAME=VALUE")),
    }
}

/// `NAME: VALUE`.
pub(super) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as \"NAME: VALUE\"")?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| "that is not the name of a header")?;
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| "that is not the value of a header")?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_a_json_object_or_a_form() {
        let fields =
            [(String::from("user"), String::from("a \"b\"")), (String::from("password"), String::from("x&y=ü"))];
        let (kind, body) = encode(Encoding::Json, &fields);
        assert_eq!(kind, "application/json");
        let parsed: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(parsed, serde_json::json!({"user": "a \"b\"", "password": "x&y=ü"}));
        let (kind, body) = encode(Encoding::Form, &fields);
        assert_eq!(kind, "application/x-www-form-urlencoded");
        assert_eq!(body, "user=a+%22b%22&password=x%26y%3D%C3%BC");
    }

    #[test]
    fn options_are_read_or_refused() {
        assert_eq!(field("a=b=c"), Ok((String::from("a"), String::from("b=c"))));
        for bad in ["a", "=b", ""] {
            assert!(field(bad).is_err(), "{bad}");
        }
        let (name, value) = header("Cookie: a=b").expect("a header");
        assert_eq!((name.as_str(), value.as_bytes()), ("cookie", &b"a=b"[..]));
        for bad in ["Cookie", "Coo kie: a", "A: b\nc"] {
            assert!(header(bad).is_err(), "{bad}");
        }
    }
}
