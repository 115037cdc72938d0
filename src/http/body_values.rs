//! What a request's body says at certain places, where a tenant may be named (`routes.tenant_in_body`).
//!
//! The backend reads the body once more, with another reader, which must not find there what this one did not. So what two
//! readers may take for different things is refused: a name that stands twice, a charset in which bytes mean something
//! else, a coding, a kind of body that is not looked into. Legacy apps read JSON whatever its type says
//! (`get_json(force=True)`), so that what looks like JSON must be JSON under every type.

use std::collections::HashSet;
use std::fmt;

use ::http::HeaderMap;
use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::{JsonPointer, Refusal, folded_name};

#[cfg(test)]
mod tests;

const COMPRESSED: Refusal = Refusal::BadRequest("The body must not be compressed here.");
const CHARSET: Refusal = Refusal::BadRequest("The body's charset is not served here; send UTF-8.");
const KIND: Refusal =
    Refusal::BadRequest("The body's Content-Type is not served here; send JSON or a urlencoded form.");
const NO_JSON: Refusal = Refusal::BadRequest("The body is not valid JSON, or has a name twice.");
const NO_FORM: Refusal = Refusal::BadRequest("The body is not a valid form.");

/// Charsets in which ASCII is what it is.
const CHARSETS: [&str; 4] = ["utf-8", "utf8", "us-ascii", "iso-8859-1"];

/// What kind a body says that it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Form,
    /// Nothing, or something that no framework reads by itself: then an app may take it for either.
    Unsaid,
}

/// What stands at these places of a body. In a form they are the fields of the places' last names.
///
/// # Errors
/// When a backend may read something else there than this, or cannot read it at all.
pub fn values_in_body(headers: &HeaderMap, body: &[u8], places: &[JsonPointer]) -> Result<Vec<Value>, Refusal> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")) {
        return Err(COMPRESSED);
    }
    let kind = kind(headers)?;
    let mut values = Vec::new();
    let looks_like_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    if kind != Kind::Form || looks_like_json {
        let document = json(body)?;
        values.extend(places.iter().filter_map(|place| place.find_in(&document)).cloned());
    }
    if kind != Kind::Json {
        values.extend(form_values(body, places)?);
    }
    Ok(values)
}

fn kind(headers: &HeaderMap) -> Result<Kind, Refusal> {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        // Two of them are refused long before.
        return Ok(Kind::Unsaid);
    };
    let line = std::str::from_utf8(line.as_bytes()).map_err(|_| KIND)?.to_ascii_lowercase();
    let mut parts = line.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"');
        // `charset*` is another way to write it (RFC 8187).
        if name.trim().starts_with("charset") && (name.trim() != "charset" || !CHARSETS.contains(&value)) {
            return Err(CHARSET);
        }
    }
    match media_type {
        "application/json" => Ok(Kind::Json),
        "application/x-www-form-urlencoded" => Ok(Kind::Form),
        _ if media_type.starts_with("application/") && media_type.ends_with("+json") => Ok(Kind::Json),
        // Readers of multipart differ about boundaries, names and ends in too many ways.
        _ if media_type.starts_with("multipart/") => Err(KIND),
        _ => Ok(Kind::Unsaid),
    }
}

fn json(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice::<NamesOnce>(body).map_err(|_| NO_JSON)?;
    serde_json::from_slice(body).map_err(|_| NO_JSON)
}

/// Every field of these names, also where a reader ends one at a semicolon.
fn form_values(body: &[u8], places: &[JsonPointer]) -> Result<Vec<Value>, Refusal> {
    // Then it is UTF-16 or the like, or has a mark before its first name.
    if body.contains(&0) || !matches!(body.first(), Some(byte) if byte.is_ascii()) {
        return Err(NO_FORM);
    }
    let names: Vec<String> = places.iter().map(JsonPointer::last_part).collect();
    let semicolons = body.contains(&b';');
    let pieces = body.split(|byte| *byte == b'&');
    let more = body.split(|byte| matches!(byte, b'&' | b';')).filter(|_| semicolons);
    let fields = pieces.chain(more).flat_map(form_urlencoded::parse);
    Ok(fields
        .filter(|(name, _)| {
            names.iter().any(|known| known == name || *folded_name(name.as_bytes()) == *known.as_bytes())
        })
        .map(|(_, value)| Value::from(&*value))
        .collect())
}

/// JSON in which no object has a name twice: of two values one reader takes the first and another the last.
struct NamesOnce;

impl<'de> Deserialize<'de> for NamesOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesOnceVisitor)
    }
}

struct NamesOnceVisitor;

impl<'de> Visitor<'de> for NamesOnceVisitor {
    type Value = NamesOnce;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without a name that stands twice")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<NamesOnce, A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                return Err(serde::de::Error::custom("a name stands twice"));
            }
            members.next_value::<NamesOnce>()?;
        }
        Ok(NamesOnce)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<NamesOnce, A::Error> {
        while elements.next_element::<NamesOnce>()?.is_some() {}
        Ok(NamesOnce)
    }

    fn visit_bool<E>(self, _: bool) -> Result<NamesOnce, E> {
        Ok(NamesOnce)
    }

    fn visit_i64<E>(self, _: i64) -> Result<NamesOnce, E> {
        Ok(NamesOnce)
    }

    fn visit_u64<E>(self, _: u64) -> Result<NamesOnce, E> {
        Ok(NamesOnce)
    }

    fn visit_f64<E>(self, _: f64) -> Result<NamesOnce, E> {
        Ok(NamesOnce)
    }

    fn visit_str<E>(self, _: &str) -> Result<NamesOnce, E> {
        Ok(NamesOnce)
    }

    fn visit_unit<E>(self) -> Result<NamesOnce, E> {
        Ok(NamesOnce)
    }
}
