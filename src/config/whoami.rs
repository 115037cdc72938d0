//! `login.whoami`: what is asked about a login, and where the answer names the user; and the pointers that any capture needs.

use super::error::Problems;
use super::parsers::{each_of, pointers, request_path};
use super::raw::RawWhoami;
use super::reader::OneOrMany;
use super::table::Field;
use super::value::{Parsed, quoted};
use crate::http::{JsonPointer, ManyPointer, Target};
use crate::login::IdentityPointers;

/// Pointers, of which there must be some.
pub(super) fn needed_pointers(field: &Field<OneOrMany>, default: &[&str], problems: &mut Problems) -> Vec<JsonPointer> {
    let found = pointers(field, default, problems);
    if field.get().is_some_and(|OneOrMany(list)| list.is_empty()) {
        problems.error(field.place(), "is empty; write where the answer names it, as in \"/user/id\"");
    }
    found
}

/// The question, if it can be one, and where its answer names the user.
pub(super) fn whoami(
    raw: &RawWhoami,
    tenants: Vec<ManyPointer>,
    problems: &mut Problems,
) -> (Option<Target>, IdentityPointers) {
    let path = raw.path.require(problems, "path = \"/api/me\"", |text| whoami_target(text));
    let pointers = IdentityPointers {
        tenant: required_pointers(&raw.tenant, "tenant = \"/org/id\"", problems),
        user: required_pointers(&raw.user, "user = \"/id\"", problems),
        role: pointers(&raw.role, &[], problems),
        tenants,
    };
    (path, pointers)
}

/// A path that the gateway would forward.
pub(super) fn whoami_target(text: &str) -> Parsed<Target> {
    let path = request_path(text)?;
    Target::parse(&path).map_err(|_| format!("{} is not a path that the gateway would forward", quoted(text)))
}

fn required_pointers(field: &Field<OneOrMany>, example: &str, problems: &mut Problems) -> Vec<JsonPointer> {
    field.require(problems, example, |_| Ok(()));
    needed_pointers(field, &[], problems)
}

/// Where the tenants are listed that a user may choose from.
pub(super) fn tenants(field: &Field<OneOrMany>, problems: &mut Problems) -> Vec<ManyPointer> {
    let Some(OneOrMany(list)) = field.get() else { return Vec::new() };
    each_of(list, problems, |text| {
        let pointer = ManyPointer::parse(text).map_err(|error| format!("{} {error}", quoted(text)))?;
        if !pointer.has_star() {
            let example = "/memberships/*/org_id";
            return Err(format!("{} names one value; write `*` for each of a list, as in \"{example}\"", quoted(text)));
        }
        Ok(pointer)
    })
}
