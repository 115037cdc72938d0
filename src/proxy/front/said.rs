//! What a call says: its query and its body. Strict: what is not understood is refused.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::super::exchange::Exchange;
use super::super::failure::Failure;
use super::super::forward::Cleared;
use super::super::services::Gateway;

/// The largest body of a call that says one thing.
pub(super) const LARGEST_BODY: usize = 4096;

/// The parameters of the query, each at most once.
pub(super) fn query<T: DeserializeOwned>(cleared: &Cleared) -> Result<T, Failure> {
    let mut given = Map::new();
    for (name, value) in form_urlencoded::parse(cleared.target.query().unwrap_or_default().as_bytes()) {
        if given.insert(name.into_owned(), Value::String(value.into_owned())).is_some() {
            return Err(Failure::Misunderstood("A parameter of the query is given twice."));
        }
    }
    serde_json::from_value(Value::Object(given))
        .map_err(|_| Failure::Misunderstood("The query has parameters that are not known here."))
}

/// A small body of JSON.
pub(super) async fn body<T: DeserializeOwned>(
    gateway: &Gateway,
    exchange: &mut Exchange,
    cleared: &mut Cleared,
) -> Result<T, Failure> {
    parsed(&text(gateway, exchange, cleared, LARGEST_BODY).await?)
}

/// A body that says that it is JSON, which no form of another site can send without being asked for.
pub(super) async fn text(
    gateway: &Gateway,
    exchange: &mut Exchange,
    cleared: &mut Cleared,
    largest: usize,
) -> Result<Bytes, Failure> {
    if !is_of_type(&cleared.headers, "application/json") {
        return Err(Failure::Misunderstood("Send JSON, and say so: Content-Type: application/json."));
    }
    whole(gateway, exchange, cleared, largest).await
}

/// A body of any type. However long it took to come, its session may still be used when it is there.
pub(super) async fn whole(
    gateway: &Gateway,
    exchange: &mut Exchange,
    cleared: &mut Cleared,
    largest: usize,
) -> Result<Bytes, Failure> {
    let text = cleared.content.buffer(gateway, largest).await?;
    if let Some(outdated) = exchange.take_outdated(gateway.clock().monotonic()) {
        Box::pin(gateway.look_again(outdated)).await?;
    }
    Ok(text)
}

/// What it says. A list of the values in their order would do for serde, and is not meant.
pub(super) fn parsed<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, Failure> {
    let is_object = text.trim_ascii_start().first() == Some(&b'{');
    let read = is_object.then(|| serde_json::from_slice(text).ok()).flatten();
    read.ok_or(Failure::Misunderstood("The body is not the JSON that is wanted here."))
}

/// Whether the body is said to be of this type.
pub(super) fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let kind = line.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
}
