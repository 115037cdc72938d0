//! Small parsers that several sections share: lists, patterns, pointers, paths, statuses, methods, roles, cookies.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;

use super::error::Problems;
use super::reader::{OneOrMany, Spot, StatusText};
use super::table::Field;
use super::value::{Parsed, or_off, quoted};
use crate::http::{JsonPointer, USUAL_METHODS};
use crate::policy::PathPattern;
use crate::session::Role;

/// What `parse` makes of each element; what is wrong is reported and left out.
pub(super) fn each<T>(
    field: &Field<Vec<Spot<String>>>,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Parsed<T>,
) -> Vec<T> {
    field.get().map_or_else(Vec::new, |list| each_of(list, problems, parse))
}

/// What `parse` makes of each element; what is wrong is reported and left out.
pub(super) fn each_of<T>(list: &[Spot<String>], problems: &mut Problems, parse: impl Fn(&str) -> Parsed<T>) -> Vec<T> {
    let mut parsed = Vec::with_capacity(list.len());
    for spot in list {
        match parse(&spot.value) {
            Ok(value) => parsed.push(value),
            Err(message) => problems.error(&spot.place, message),
        }
    }
    parsed
}

/// A network; an address is one of itself alone.
pub(super) fn network(text: &str) -> Parsed<IpNet> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().ok().or(address.ok()).map(|net| net.trunc()).ok_or_else(|| {
        format!("{} is neither a network nor an address; write it as \"10.0.0.0/8\" or \"10.1.2.3\"", quoted(text))
    })
}

/// A path pattern.
pub(super) fn pattern(text: &str) -> Parsed<PathPattern> {
    PathPattern::parse(text).map_err(|error| format!("{} {error}", quoted(text)))
}

/// A path that the gateway itself answers: literal, so that nobody is surprised what else it covers.
pub(super) fn endpoint(text: &str) -> Parsed<PathPattern> {
    let pattern = pattern(text)?;
    if text.contains(['{', '*']) {
        return Err(format!("{} is a pattern; write one path", quoted(text)));
    }
    Ok(pattern)
}

/// An endpoint of the gateway, `None` for `"off"`.
pub(super) fn endpoint_or_off(field: &Field<String>, default: &str, problems: &mut Problems) -> Option<PathPattern> {
    let default = PathPattern::parse(default).ok();
    field.parse_or(default, problems, or_off(|text| endpoint(text)))
}

/// A path on the backend, with an optional query, as it is sent.
pub(super) fn request_path(text: &str) -> Parsed<String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\');
    if text.starts_with('/') && !text.starts_with("//") && plain && text.len() <= 2048 {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not a path; start it with one `/` and write it percent-encoded", quoted(text)))
    }
}

/// A JSON pointer.
pub(super) fn pointer(text: &str) -> Parsed<JsonPointer> {
    JsonPointer::parse(text).map_err(|error| format!("{} {error}", quoted(text)))
}

fn defaults(pointers: &[&str]) -> Vec<JsonPointer> {
    pointers.iter().filter_map(|text| JsonPointer::parse(text).ok()).collect()
}

/// JSON pointers, one or many.
pub(super) fn pointers(field: &Field<OneOrMany>, default: &[&str], problems: &mut Problems) -> Vec<JsonPointer> {
    field.get().map_or_else(|| defaults(default), |OneOrMany(list)| each_of(list, problems, pointer))
}

/// Statuses within a range; `wrong` says what is wrong with another, and what to write.
pub(super) fn statuses(
    field: &Field<Vec<Spot<StatusText>>>,
    within: Range<u16>,
    problems: &mut Problems,
    wrong: &str,
) -> Vec<u16> {
    let mut statuses = Vec::new();
    for spot in field.get().into_iter().flatten() {
        let StatusText(text) = &spot.value;
        match text.parse().ok().filter(|status| within.contains(status)) {
            Some(status) => statuses.push(status),
            None => problems.error(&spot.place, format!("{} {wrong}", quoted(text))),
        }
    }
    statuses
}

/// The name of one of the backend's cookies: a token (RFC 6265), so that it can stand in a `Set-Cookie` line.
pub(super) fn cookie_name(text: &str) -> Parsed<String> {
    let token = |byte: u8| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte);
    if (1..=256).contains(&text.len()) && text.bytes().all(token) {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is not the name of a cookie", quoted(text)))
    }
}

/// A role.
pub(super) fn role(text: &str) -> Parsed<Role> {
    Role::parse(text).map_err(|error| format!("{} {error}", quoted(text)))
}

/// What is said of a method that does not pass.
pub(super) fn not_forwarded(method: &str) -> String {
    format!(
        "{} is not a method that is forwarded; write {}, or name it in `server.methods`",
        quoted(method),
        USUAL_METHODS.join(", ")
    )
}

/// The gateway sees to its own cookie by itself.
pub(super) fn report_own_cookie(names: &Field<Vec<Spot<String>>>, own: &str, problems: &mut Problems) {
    for spot in names.get().into_iter().flatten().filter(|spot| spot.value == own) {
        problems.error(&spot.place, "is the gateway's own cookie; name only the backend's");
    }
}
