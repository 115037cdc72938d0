use ::http::HeaderValue;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn read(kind: &str, body: &[u8]) -> Result<Vec<Value>, Refusal> {
    let mut headers = HeaderMap::new();
    if !kind.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_bytes(kind.as_bytes()).expect("a value"));
    }
    let places = ["/customer_id", "/org/id"].map(|place| JsonPointer::parse(place).expect(place));
    values_in_body(&headers, body, &places)
}

#[test]
fn what_stands_there_is_found_in_json_and_in_forms() {
    for (kind, body, values) in [
        (JSON, r#"{"customer_id": 42}"#, json!([42])),
        (JSON, r#"{"customer_id": "42", "org": {"id": 77}}"#, json!(["42", 77])),
        (JSON, r#"{"customer\u005fid": 77}"#, json!([77])),
        (JSON, r#"{"org": {"id": null}, "x": {"customer_id": 77}}"#, json!([null])),
        (JSON, r#"[{"customer_id": 77}]"#, json!([])),
        (JSON, "{}", json!([])),
        ("Application/JSON; charset=\"UTF-8\"", r#"{"customer_id": 1.0}"#, json!([1.0])),
        ("application/vnd.api+json", r#"{"customer_id": 1}"#, json!([1])),
        ("", r#"{"customer_id": 77}"#, json!([77])),
        ("text/plain;charset=UTF-8", r#"{"customer_id": 77}"#, json!([77])),
        ("text/plain", r#"{"a": "&customer_id=77&"}"#, json!(["77"])),
        (FORM, "customer_id=42&a=1", json!(["42"])),
        (FORM, "customer_id=42&customer_id=77", json!(["42", "77"])),
        (FORM, "customer%5Fid=%37%37", json!(["77"])),
        (FORM, "a=1;customer_id=77", json!(["77"])),
        (FORM, "id=77", json!(["77"])),
        (FORM, "customer_id", json!([""])),
        (FORM, "customer_id+=77", json!([])),
        (FORM, "a=1", json!([])),
        (FORM, r#" {"customer_id": 77}"#, json!([77])),
        ("multipart/form-data; boundary=x", "", json!([])),
    ] {
        let found = read(kind, body.as_bytes()).map(|values| {
            // A form without semicolons is read once.
            values.into_iter().collect::<Value>()
        });
        let found = found.unwrap_or_else(|refusal| panic!("{kind} {body}: {refusal:?}"));
        let (found, expected) = (found.as_array().expect("a list"), values.as_array().expect("a list"));
        let shown = |values: &[Value]| values.iter().map(Value::to_string).collect::<std::collections::BTreeSet<_>>();
        let superfluous: Vec<_> = shown(found).difference(&shown(expected)).cloned().collect();
        assert!(superfluous.is_empty() && shown(expected).is_subset(&shown(found)), "{kind} {body}: {found:?}");
    }
}

#[test]
fn what_two_readers_may_take_for_different_things_is_refused() {
    let utf16: Vec<u8> = r#"{"customer_id": 77}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let form16: Vec<u8> = "customer_id=77".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xef\xbb\xbf", &br#"{"customer_id": 77}"#[..]].concat();
    for (kind, body) in [
        (JSON, &br#"{"customer_id": 42, "customer_id": 77}"#[..]),
        (JSON, br#"{"customer_id": 42, "customer\u005fid": 77}"#),
        (JSON, br#"{"org": {"id": 42, "id": 77}}"#),
        (JSON, br#"{"a": {"b": 1, "b": 2}}"#),
        (JSON, br#"{"customer_id": 42"#),
        (JSON, br#"{"customer_id": 42} x"#),
        (JSON, br#"{"customer_id": NaN}"#),
        (JSON, br#"{'customer_id': 77}"#),
        (JSON, b"{\"customer_id\": 77, \"a\": \"\xff\"}"),
        (JSON, br#"{"a": "\ud800", "customer_id": 77}"#),
        (JSON, b"customer_id=77"),
        (JSON, b" "),
        (JSON, &marked),
        (JSON, &utf16),
        ("application/json; charset=utf-16", br#"{"customer_id": 42}"#),
        ("application/json; charset*=utf-8''utf-7", br#"{"customer_id": 42}"#),
        ("application/json; charset=utf-8; charset=utf-7", br#"{"customer_id": 42}"#),
        ("application/json; a=\"b;charset=utf-7\"", br#"{"customer_id": 42}"#),
        (FORM, &form16),
        (FORM, b"\xef\xbb\xbfcustomer_id=77"),
        (FORM, br#"{"customer_id": 42, "customer_id": 77}"#),
        ("application/x-www-form-urlencoded; charset=utf-7", b"+AGM-ustomer_id=77"),
        ("", b"customer_id=77"),
        ("text/plain", b"customer_id=77"),
        ("application/x-www-form-urlencoded, application/json", b"customer_id=77"),
        ("application/xml", b"<customer_id>77</customer_id>"),
        ("multipart/form-data; boundary=x", b"--x\r\n"),
        ("multipart/mixed", br#"{"customer_id": 42}"#),
        ("application/json\u{e9}", br#"{"customer_id": 77, "customer_id": 1}"#),
    ] {
        let read = read(kind, body);
        assert!(matches!(read, Err(Refusal::BadRequest(_))), "{kind} {}: {read:?}", body.escape_ascii());
    }
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    assert!(read(JSON, deep.as_bytes()).is_err());
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(values_in_body(&headers, b"x", &[]), Err(COMPRESSED));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(kind in "application/json|application/x-www-form-urlencoded|text/plain|", body in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&kind, &body);
    }

    /// Python's reader takes the last of two, Go's old one any; here there is never more than one.
    #[test]
    fn what_is_found_is_what_a_plain_reader_finds(value in 0..100_u32, other in "[a-z_]{1,12}") {
        let body = format!(r#"{{"{other}": 1, "customer_id": {value}}}"#);
        let plain: Value = serde_json::from_str(&body).expect("JSON");
        match read(JSON, body.as_bytes()) {
            Ok(values) => prop_assert_eq!(values, vec![plain["customer_id"].clone()]),
            Err(_) => prop_assert_eq!(other, "customer_id"),
        }
    }
}
