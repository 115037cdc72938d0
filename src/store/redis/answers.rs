//! Answers of the server as what they mean. What was never written is a fault, never "nothing".

use redis::Value;

use super::super::{REASON_KEPT, codec};
use super::fault::{Fault, number, text, unexpected};
use crate::session::{
    End, Hold, LastWord, SessionRecord, StoreTime, TenantId, TenantNote, TenantStanding, UserStanding,
};

/// What stands for a session that never came to be, where its record or its end would be.
pub(super) const NEVER: &str = "-";

pub(super) fn exactly<const N: usize>(values: Vec<Value>) -> Result<[Value; N], Fault> {
    values.try_into().map_err(|_| Fault::garbled("not one answer for each command"))
}

/// The answer of `TIME`: seconds and microseconds, as texts.
pub(super) fn time(value: Value) -> Result<StoreTime, Fault> {
    let wrong = || Fault::garbled("TIME is not a time");
    let Value::Array(parts) = value else { return Err(unexpected("a time", &value)) };
    let [seconds, micros] = exactly(parts)?;
    let part = |value| text(value)?.and_then(|text| decimal(&text)).ok_or_else(wrong);
    let (seconds, micros) = (part(seconds)?, part(micros)?);
    seconds
        .checked_mul(1_000_000)
        .and_then(|time| time.checked_add(micros))
        .map(StoreTime::from_micros)
        .ok_or_else(wrong)
}

/// The answer of `PEXPIRETIME` of a record: a time in milliseconds, which is an hour after the touch deadline, or -2 where
/// there is no key. A record that never expires (-1) was never written.
pub(super) fn touch_deadline(value: &Value) -> Result<Option<StoreTime>, Fault> {
    match number(value)? {
        -2 => Ok(None),
        millis => u64::try_from(millis)
            .map(|millis| Some(StoreTime::from_millis(millis).before(REASON_KEPT)))
            .map_err(|_| Fault::Unreadable(String::from("a record without an end"))),
    }
}

/// A number of microseconds, or milliseconds, as a script gives it.
pub(super) fn micros(value: Value) -> Result<StoreTime, Fault> {
    let number = text(value)?.and_then(|text| decimal(&text));
    number.map(StoreTime::from_micros).ok_or_else(|| Fault::garbled("not a time where one should be"))
}

pub(super) fn tenant_standing(value: Value) -> Result<TenantStanding, Fault> {
    text(value)?.map_or(Ok(TenantStanding::default()), |text| {
        TenantStanding::decode(&text).ok_or_else(|| Fault::garbled("a tenant's standing cannot be read"))
    })
}

pub(super) fn user_standing(value: Value) -> Result<UserStanding, Fault> {
    text(value)?.map_or(Ok(UserStanding::default()), |text| {
        UserStanding::decode(&text).ok_or_else(|| Fault::garbled("a user's standing cannot be read"))
    })
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// A text that is kept of a session, unless it says that there never was one. A key of another type was not written by any
/// gateway.
fn kept(value: Value) -> Result<Option<Vec<u8>>, Fault> {
    let kept = text(value).map_err(|fault| match fault {
        Fault::Refused { code, text } if code == "WRONGTYPE" => Fault::Unreadable(text),
        fault => fault,
    });
    Ok(kept?.filter(|bytes| bytes != NEVER.as_bytes()))
}

/// A record as it was stored; `None` where there is none, or never will be.
pub(super) fn record(value: Value) -> Result<Option<SessionRecord>, Fault> {
    kept(value)?.map(|bytes| codec::decode(&bytes)).transpose().map_err(|error| Fault::Unreadable(error.to_string()))
}

/// The end of a session, or of its token alone, where one was written down. One that never came to be has none.
pub(super) fn end(value: Value) -> Result<Option<End>, Fault> {
    let unknown = || Fault::Unreadable(String::from("an unknown reason of an end"));
    kept(value)?.map(|end| End::decode(&end).ok_or_else(unknown)).transpose()
}

/// The hold on a session, where the last word about it is one.
pub(super) fn hold(value: Value) -> Result<Option<Hold>, Fault> {
    let unknown = || Fault::Unreadable(String::from("whether it is held cannot be read"));
    let word = kept(value)?.map(|word| LastWord::decode(&word).ok_or_else(unknown)).transpose()?;
    Ok(word.and_then(LastWord::hold))
}

/// What a script answers that says whether a session is held: the last word, and what came of what was to be said.
pub(super) fn last_word(answer: Value) -> Result<(String, i64), Fault> {
    let Value::Array(parts) = answer else { return Err(unexpected("a word about a session", &answer)) };
    let [last, came_of_it] = exactly(parts)?;
    let last = text(last)?.and_then(|last| String::from_utf8(last).ok());
    Ok((last.unwrap_or_default(), number(&came_of_it)?))
}

/// The note of a tenant's last change.
pub(super) fn note(value: Value) -> Result<Option<TenantNote>, Fault> {
    let unreadable = || Fault::garbled("the note of a tenant's change cannot be read");
    text(value)?.map(|text| TenantNote::decode(&text).ok_or_else(unreadable)).transpose()
}

/// The tenants of a list of them. What is no tenant is not ours.
pub(super) fn tenants(value: Value) -> Result<Vec<TenantId>, Fault> {
    let Value::Array(values) = value else { return Err(unexpected("a list of tenants", &value)) };
    let mut tenants = Vec::with_capacity(values.len());
    for value in values {
        let name = text(value)?.and_then(|text| String::from_utf8(text).ok());
        tenants.extend(name.and_then(|name| TenantId::parse_kept(&name).ok()));
    }
    Ok(tenants)
}
