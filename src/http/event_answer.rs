//! A backend's answer to a request that means something for sessions (docs/behaviour.md, "Events"): read, and its count
//! of ended sessions corrected.
//!
//! What cannot be read is kept apart from what says nothing. Whoever may put a text into an answer, a lone surrogate in
//! the name of an organisation say, must not be able to hide from the gateway that the organisation was deleted.
//!
//! The count is changed in place: every other byte of the answer stays what the backend wrote, the order of keys and the
//! spelling of numbers included. Where a key stands twice the last one counts, as for Python's and JavaScript's parsers.

use std::ops::Range;

use ::http::HeaderMap;
use ::http::header::CONTENT_TYPE;
use bytes::Bytes;
use serde_json::Value;

use super::JsonPointer;

/// What a successful answer says.
#[derive(Clone, Debug, PartialEq)]
pub enum EventAnswer {
    /// This, in JSON.
    Json(Value),
    /// Nothing that could be pointed to: it is empty, or a page, say.
    Other,
    /// Something that is almost JSON. What stands where can be told, and not what is missing.
    Garbled(Bytes),
    /// Something that cannot be read: compressed, too large, or broken off.
    Unreadable,
}

impl EventAnswer {
    /// Reads a whole body.
    #[must_use]
    pub fn of(headers: &HeaderMap, body: &Bytes) -> Self {
        if let Ok(document) = serde_json::from_slice(body) {
            return Self::Json(document);
        }
        let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
        let called_json = headers.get(CONTENT_TYPE).is_some_and(|kind| is_json(kind.as_bytes()));
        match first {
            Some(b'{' | b'[') => Self::Garbled(body.clone()),
            Some(_) if called_json => Self::Garbled(body.clone()),
            _ => Self::Other,
        }
    }

    /// Whether the backend did what it was asked: unless it says otherwise, as for logins, or lacks any of what must then
    /// be there. What cannot be read may say anything, so it is taken for a yes: ending too much is mended by a login.
    #[must_use]
    pub fn says_done<'a>(&self, mut needed: impl Iterator<Item = &'a JsonPointer>) -> bool {
        match self {
            Self::Json(document) => {
                let is_there = |pointer: &JsonPointer| pointer.find_in(document).is_some_and(|value| !value.is_null());
                !json_says_failure(document) && needed.all(is_there)
            }
            Self::Other => needed.next().is_none(),
            Self::Garbled(body) => !["success", "ok"].iter().any(|key| {
                let flag = Scanner { text: body, at: 0 }.member_span(key);
                flag.and_then(|span| body.get(span)).is_some_and(|flag| flag == b"false")
            }),
            Self::Unreadable => true,
        }
    }

    /// The single value that stands there.
    #[must_use]
    pub fn value_at(&self, pointer: &JsonPointer) -> Option<Value> {
        match self {
            Self::Json(document) => pointer.find_in(document).filter(|value| is_single(value)).cloned(),
            Self::Garbled(body) => {
                let span = Scanner { text: body, at: 0 }.find(pointer)?;
                serde_json::from_slice(body.get(span)?).ok()
            }
            Self::Other | Self::Unreadable => None,
        }
    }
}

/// Whether an answer says by itself that the login failed: `false` (and nothing else) at `/success` or `/ok`.
#[must_use]
pub fn json_says_failure(answer: &Value) -> bool {
    ["success", "ok"].iter().any(|key| answer.get(key) == Some(&Value::Bool(false)))
}

const fn is_single(value: &Value) -> bool {
    !matches!(value, Value::Object(_) | Value::Array(_))
}

/// `application/json`, and what ends in `+json`.
fn is_json(content_type: &[u8]) -> bool {
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    kind == b"application/json" || kind.ends_with(b"+json")
}

/// The document with this count at the pointer. `None` when nothing stands there, or something that is no single value,
/// or when it is not JSON.
#[must_use]
pub fn with_count(document: &[u8], pointer: &JsonPointer, count: u64) -> Option<Vec<u8>> {
    let span = Scanner { text: document, at: 0 }.find(pointer)?;
    let (before, after) = (document.get(..span.start)?, document.get(span.end..)?);
    Some([before, count.to_string().as_bytes(), after].concat())
}

/// Walks over JSON, and over what Python writes that is almost JSON; in any other text it may find anything, or nothing.
#[derive(Clone, Copy)]
struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    /// Where the single value stands that the pointer points to.
    fn find(mut self, pointer: &JsonPointer) -> Option<Range<usize>> {
        self.skip_space();
        for part in pointer.parts() {
            self = match self.peek()? {
                b'{' => self.member(&part)?,
                b'[' => self.element(&part)?,
                _ => return None,
            };
        }
        self.single()
    }

    /// Where the single value of that name stands in the outermost object.
    fn member_span(mut self, name: &str) -> Option<Range<usize>> {
        self.skip_space();
        if self.peek()? != b'{' {
            return None;
        }
        self.member(name)?.single()
    }

    fn single(mut self) -> Option<Range<usize>> {
        let start = self.at;
        if matches!(self.peek()?, b'{' | b'[') {
            return None;
        }
        self.skip_value()?;
        Some(start..self.at)
    }

    /// The last value of that name in the object that begins here.
    fn member(mut self, name: &str) -> Option<Self> {
        let mut found = None;
        self.at += 1;
        loop {
            self.skip_space();
            match self.peek()? {
                b'}' => return found,
                b',' => self.at += 1,
                b'"' => {
                    let start = self.at;
                    self.skip_value()?;
                    // One that is no text is no key that anybody points to.
                    let key: Option<String> = serde_json::from_slice(self.text.get(start..self.at)?).ok();
                    self.skip_space();
                    if self.peek()? != b':' {
                        return None;
                    }
                    self.at += 1;
                    self.skip_space();
                    if key.as_deref() == Some(name) {
                        found = Some(self);
                    }
                    self.skip_value()?;
                }
                _ => return None,
            }
        }
    }

    /// The value at that place in the list that begins here.
    fn element(mut self, place: &str) -> Option<Self> {
        let mut left: usize = place.parse().ok()?;
        if left.to_string() != place {
            return None;
        }
        self.at += 1;
        loop {
            self.skip_space();
            match self.peek()? {
                b']' => return None,
                b',' => self.at += 1,
                _ if left == 0 => return Some(self),
                _ => {
                    self.skip_value()?;
                    left -= 1;
                }
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }

    /// Moves on at least one byte, or fails.
    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth == 0 => return None,
                b',' | b':' => self.at += 1,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => self.skip_word(),
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    /// A number, `true`, `false` or `null`.
    fn skip_word(&mut self) {
        let ends =
            |byte: u8| matches!(byte, b',' | b':' | b'"' | b'{' | b'}' | b'[' | b']') || byte.is_ascii_whitespace();
        while self.peek().is_some_and(|byte| !ends(byte)) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pointer(text: &str) -> JsonPointer {
        JsonPointer::parse(text).expect("a pointer")
    }

    fn headers(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    #[test]
    fn what_cannot_be_read_is_not_what_says_nothing() {
        use EventAnswer::Other;
        let (json, html) = ("application/json; charset=utf-8", "text/html");
        let garbled = |body: &'static [u8]| EventAnswer::Garbled(Bytes::from_static(body));
        for (kind, body, expected) in [
            (json, &b"{\"a\": 1}"[..], Some(EventAnswer::Json(json!({"a": 1})))),
            (html, b"{\"a\": 1}", Some(EventAnswer::Json(json!({"a": 1})))),
            (json, b"", Some(Other)),
            (json, b" \r\n", Some(Other)),
            (html, b"<p>{}</p>", Some(Other)),
            (html, b"done", Some(Other)),
            (json, b"done", None),
            ("application/problem+JSON", b"done", None),
            // Python writes all of these, and each is a way to hide what else is there.
            (json, b"{\"name\": \"\\ud800\", \"deleted\": 1}", None),
            (json, b"{\"rating\": NaN, \"deleted\": 1}", None),
            (html, b" {\"rating\": Infinity}", None),
            (html, b"[1", None),
            (json, b"{\"name\": \"\xff\"}", None),
        ] {
            let found = EventAnswer::of(&headers(kind), &Bytes::from_static(body));
            assert_eq!(found, expected.unwrap_or_else(|| garbled(body)), "{kind} {}", String::from_utf8_lossy(body));
        }
        let deep = Bytes::from([vec![b'['; 200], vec![b']'; 200]].concat());
        assert_eq!(EventAnswer::of(&headers(json), &deep), EventAnswer::Garbled(deep.clone()));
    }

    #[test]
    fn what_is_almost_json_still_says_what_stands_where() {
        let id = pointer("/org/id");
        for (body, expected) in [
            ("{\"name\": \"\\ud800\", \"org\": {\"id\": 77}}", Some(json!(77))),
            ("{\"\\udfff\": 1, \"rating\": -Infinity, \"org\": {\"r\": NaN, \"id\": \"77\"}}", Some(json!("77"))),
            ("{\"org\": {\"id\": 42}, \"org\": {\"id\": 77, \"r\": NaN}}", Some(json!(77))),
            ("{\"org\": {\"id\": \"\\ud800\"}}", None),
            ("{\"org\": {\"id\": NaN}}", None),
            ("{\"org\": {\"id\": [NaN]}}", None),
            ("{\"r\": NaN}", None),
            ("{\"org\": {\"id\": 77", None),
        ] {
            let answer = EventAnswer::of(&HeaderMap::new(), &Bytes::from(body));
            assert!(matches!(answer, EventAnswer::Garbled(_)), "{body}");
            assert_eq!(answer.value_at(&id), expected, "{body}");
        }
    }

    #[test]
    fn a_success_that_denies_itself_or_lacks_what_is_needed_is_none() {
        let needed = pointer("/data/n");
        for (answer, without, with) in [
            (EventAnswer::Json(json!({})), true, false),
            (EventAnswer::Json(json!({"data": {"n": 0}})), true, true),
            (EventAnswer::Json(json!({"data": {"n": false}})), true, true),
            (EventAnswer::Json(json!({"data": {"n": null}})), true, false),
            (EventAnswer::Json(json!({"success": false, "data": {"n": 5}})), false, false),
            (EventAnswer::Json(json!({"ok": false})), false, false),
            (EventAnswer::Other, true, false),
            (EventAnswer::Garbled(Bytes::from_static(b"{NaN}")), true, true),
            (EventAnswer::Garbled(Bytes::from_static(b"{\"a\": NaN, \"success\" : false}")), false, false),
            (EventAnswer::Garbled(Bytes::from_static(b"{\"a\": NaN, \"ok\": 0, \"success\": true}")), true, true),
            (EventAnswer::Unreadable, true, true),
        ] {
            assert_eq!(
                (answer.says_done([].into_iter()), answer.says_done([&needed].into_iter())),
                (without, with),
                "{answer:?}"
            );
        }
    }

    #[test]
    fn the_count_is_changed_and_no_other_byte() {
        for (document, at, expected) in [
            ("{\"n\":0}", "/n", Some("{\"n\":7}")),
            ("{ \"z\" : 1.0e2 , \"n\" :\t-12.5E3 }\n", "/n", Some("{ \"z\" : 1.0e2 , \"n\" :\t7 }\n")),
            ("{\"a\":{\"n\":\"12\"},\"n\":1}", "/a/n", Some("{\"a\":{\"n\":7},\"n\":1}")),
            ("{\"n\":null}", "/n", Some("{\"n\":7}")),
            ("[[1,2],[3,4]]", "/1/0", Some("[[1,2],[7,4]]")),
            ("{\"n\":1,\"n\":2}", "/n", Some("{\"n\":1,\"n\":7}")),
            ("{\"a\":{\"n\":1},\"a\":{\"m\":2}}", "/a/n", None),
            ("{\"\\u006e\":1}", "/n", Some("{\"\\u006e\":7}")),
            ("{\"x\":\"\\\"n\\\":3\",\"n\":1}", "/n", Some("{\"x\":\"\\\"n\\\":3\",\"n\":7}")),
            ("{\"a/b\":{\"m~n\":1}}", "/a~1b/m~0n", Some("{\"a/b\":{\"m~n\":7}}")),
            ("{\"n\":{}}", "/n", None),
            ("{\"n\":[1]}", "/n", None),
            ("{\"m\":1}", "/n", None),
            ("[1]", "/01", None),
            ("[1]", "/1", None),
            ("3", "/n", None),
            ("", "/n", None),
        ] {
            let changed = with_count(document.as_bytes(), &pointer(at), 7);
            assert_eq!(changed.as_deref(), expected.map(str::as_bytes), "{document} {at}");
        }
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~\\n\"\\\\é]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ab/~\"\\\\]{1,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The pointers to everything in a document.
    fn all_pointers(document: &Value, path: &str, found: &mut Vec<String>) {
        found.push(path.to_owned());
        match document {
            Value::Object(members) => {
                for (name, value) in members {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    all_pointers(value, &format!("{path}/{name}"), found);
                }
            }
            Value::Array(values) => {
                for (place, value) in values.iter().enumerate() {
                    all_pointers(value, &format!("{path}/{place}"), found);
                }
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn what_is_parsed_again_differs_in_the_count_alone(document in documents(), pretty: bool, count: u64) {
            let text = if pretty { serde_json::to_vec_pretty(&document) } else { serde_json::to_vec(&document) };
            let text = text.expect("a document");
            let mut pointers = Vec::new();
            all_pointers(&document, "", &mut pointers);
            for path in pointers.iter().filter(|path| !path.is_empty()) {
                let mut expected = document.clone();
                let place = expected.pointer_mut(path).expect("it is there");
                let single = !place.is_object() && !place.is_array();
                *place = Value::from(count);
                let changed = with_count(&text, &pointer(path), count);
                let changed = changed.map(|text| serde_json::from_slice::<Value>(&text).expect("still JSON"));
                prop_assert_eq!(changed, single.then_some(expected), "{}", path);
            }
        }

        #[test]
        fn no_bytes_make_it_panic_or_turn_for_ever(bytes: Vec<u8>, text in "[\\[\\]{}:,\"\\\\a0 ]{0,40}") {
            for document in [bytes.as_slice(), text.as_bytes()] {
                for at in ["/a", "/0", "/0/a", "/a/a/0"] {
                    let _ = with_count(document, &pointer(at), 1);
                }
            }
        }
    }
}
