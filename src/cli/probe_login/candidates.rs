//! Where a document names a tenant, a user or a role, judged by the names that apps give to such fields: every place, the
//! likeliest first. Pure.
//!
//! What may as well be a user's own id is never taken for a tenant: a wrong tenant is another customer's data.

use serde_json::{Map, Value};

use super::hidden::{is_sensitive, plain};

/// How deep it is looked.
const DEEPEST: usize = 8;
/// How many places are kept, and how many elements of a list are looked at.
const MOST: usize = 64;
/// The longest value that can be one.
const LONGEST: usize = 128;

/// Names that hold a tenant; the likeliest first.
const TENANTS: [&str; 13] = [
    "customerid",
    "tenantid",
    "orgid",
    "organizationid",
    "organisationid",
    "companyid",
    "workspaceid",
    "customer",
    "tenant",
    "org",
    "organization",
    "organisation",
    "company",
];
/// Names that hold a tenant in one app and a user in another.
const EITHER: [&str; 3] = ["accountid", "clientid", "account"];
/// Objects that are a tenant.
const TENANT_OBJECTS: [&str; 7] = ["customer", "tenant", "org", "organization", "organisation", "company", "workspace"];
/// Names that hold a user; the likeliest first. What people can change comes last.
const USERS: [&str; 10] =
    ["userid", "uid", "memberid", "personid", "employeeid", "sub", "user", "username", "login", "email"];
/// From this one on they are no ids.
const FIRST_NAME: usize = 7;
/// Objects that are a user.
const USER_OBJECTS: [&str; 7] = ["user", "profile", "me", "person", "member", "employee", "currentuser"];
/// What only people have.
const PERSONAL: [&str; 10] =
    ["email", "username", "firstname", "lastname", "fullname", "login", "phone", "isadmin", "isstaff", "lastlogin"];
/// What people have, and what stands beside a tenant for the role that they have there.
const AT_ROLE: [&str; 2] = ["role", "roles"];
/// Objects around the answer proper.
const WRAPPERS: [&str; 5] = ["data", "result", "response", "payload", "body"];
const ROLES: [&str; 3] = ["role", "userrole", "rolename"];
const IDS: [&str; 5] = ["id", "uuid", "guid", "pk", "_id"];

/// What a value can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Tenant,
    User,
    Role,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Tenant, Self::User, Self::Role];

    /// Its key in the configuration.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::User => "user",
            Self::Role => "role",
        }
    }
}

/// A place that may name something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) part: Part,
    pub(super) pointer: String,
    pub(super) value: String,
    /// The likeliest is the least: by name, then by how near it is to the root.
    rank: (usize, usize),
    /// It may be a user's id as well as a tenant's.
    either: bool,
}

/// A list of which each element names a tenant: those that the user may choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Memberships {
    /// With `*` for the elements.
    pub(super) pointer: String,
    pub(super) values: Vec<String>,
}

/// What a document names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Best first.
    pub(super) candidates: Vec<Candidate>,
    pub(super) memberships: Vec<Memberships>,
}

impl Named {
    /// All that `document` may name.
    pub(super) fn in_document(document: &Value) -> Self {
        let mut named = Self::default();
        named.look(document, "", &[]);
        named.settle();
        named
    }

    /// The places of one part, best first.
    pub(super) fn of(&self, part: Part) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(move |candidate| candidate.part == part)
    }

    /// What stands at a place.
    pub(super) fn at(&self, pointer: &str) -> Option<Part> {
        self.candidates.iter().find(|candidate| candidate.pointer == pointer).map(|candidate| candidate.part)
    }

    /// Whether a place is that of a tenant in the first element of a list of them.
    pub(super) fn is_membership(&self, pointer: &str) -> bool {
        self.memberships.iter().any(|list| list.pointer.replacen("/*", "/0", 1) == pointer)
    }

    fn look(&mut self, value: &Value, pointer: &str, names: &[String]) {
        if names.len() > DEEPEST || self.candidates.len() >= MOST {
            return;
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    if is_sensitive(name) {
                        continue;
                    }
                    let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                    if let Some(text) = scalar(member) {
                        self.candidates.extend(candidate(&plain(name), members, names, pointer, text));
                    } else {
                        self.look(member, &pointer, &[names, &[plain(name)]].concat());
                    }
                }
            }
            Value::Array(elements) => self.memberships.extend(memberships(elements, pointer, names)),
            _ => {}
        }
    }

    /// Decides about what is either, and puts the best first.
    fn settle(&mut self) {
        let users: Vec<String> =
            self.of(Part::User).filter(|user| !user.either).map(|user| user.value.clone()).collect();
        for candidate in self.candidates.iter_mut().filter(|candidate| candidate.either) {
            // Beside a user of another id it is what the user belongs to; alone it is the user.
            if users.is_empty() || users.contains(&candidate.value) {
                candidate.part = Part::User;
            }
        }
        self.candidates.sort_by_key(|candidate| (candidate.part, candidate.rank));
    }
}

/// A value that can name something.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() && text.len() <= LONGEST => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What a member of this name may be, of an object that stands under these names.
fn candidate(
    name: &str,
    siblings: &Map<String, Value>,
    names: &[String],
    pointer: String,
    value: String,
) -> Option<Candidate> {
    let (depth, is_address) = (names.len(), value.contains('@'));
    let is = |part, rank, either| Some(Candidate { part, pointer, value, rank: (rank, depth), either });
    let parent = names.last().map(String::as_str).unwrap_or_default();
    if IDS.contains(&name) {
        let is_person = has(siblings, &PERSONAL);
        let theirs = USER_OBJECTS.contains(&parent) || is_person || has(siblings, &AT_ROLE) || holds_a_tenant(siblings);
        return match parent {
            parent if TENANT_OBJECTS.contains(&parent) && !is_person => is(Part::Tenant, 0, false),
            _ if theirs => is(Part::User, 0, false),
            "account" => is(Part::Tenant, TENANTS.len(), true),
            parent if parent.is_empty() || WRAPPERS.contains(&parent) => is(Part::User, 1, false),
            _ => None,
        };
    }
    if let Some(rank) = TENANTS.iter().position(|known| *known == name) {
        return is(Part::Tenant, rank, false);
    }
    if EITHER.contains(&name) {
        return is(Part::Tenant, TENANTS.len(), true);
    }
    if let Some(rank) = USERS.iter().position(|known| *known == name) {
        let rank = if is_address { USERS.len() } else { rank };
        // An id beside it is better than what people can change.
        return is(Part::User, if rank >= FIRST_NAME { rank + 1 } else { rank }, false);
    }
    ROLES.iter().position(|known| *known == name).and_then(|rank| is(Part::Role, rank, false))
}

fn has(members: &Map<String, Value>, names: &[&str]) -> bool {
    members.keys().any(|name| names.contains(&plain(name).as_str()))
}

/// Whether an object says to which tenant it belongs, so that it is none.
fn holds_a_tenant(members: &Map<String, Value>) -> bool {
    has(members, &TENANTS) || has(members, &TENANT_OBJECTS)
}

/// The tenants that the elements of a list name, if each names one in the same place.
fn memberships(elements: &[Value], pointer: &str, names: &[String]) -> Option<Memberships> {
    let list = names.last()?;
    let one = singular(list);
    if USER_OBJECTS.contains(&one.as_str()) && one != "member" {
        return None;
    }
    let is_tenant = TENANTS.contains(&one.as_str()) || TENANT_OBJECTS.contains(&one.as_str());
    let looked_at = elements.get(..MOST).unwrap_or(elements);
    let scalars: Option<Vec<String>> = looked_at.iter().map(scalar).collect();
    if let Some(values) = scalars.filter(|values| is_tenant && !values.is_empty()) {
        return Some(Memberships { pointer: format!("{pointer}/*"), values });
    }
    let mut place: Option<String> = None;
    let mut values = Vec::new();
    for element in looked_at {
        let mut named = Named::default();
        named.look(element, "", std::slice::from_ref(&one));
        named.candidates.sort_by_key(|candidate| (candidate.part, candidate.rank));
        let best = named.of(Part::Tenant).find(|candidate| !candidate.either)?;
        if place.get_or_insert_with(|| best.pointer.clone()) != &best.pointer {
            return None;
        }
        values.push(best.value.clone());
    }
    place.map(|place| Memberships { pointer: format!("{pointer}/*{place}"), values })
}

fn singular(name: &str) -> String {
    match name.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => name.strip_suffix('s').unwrap_or(name).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn places(document: &Value, part: Part) -> Vec<String> {
        Named::in_document(document)
            .of(part)
            .map(|candidate| format!("{} = {}", candidate.pointer, candidate.value))
            .collect()
    }

    #[test]
    fn a_users_id_is_never_taken_for_a_tenant() {
        for (document, tenants, users) in [
            (json!({"account": {"id": 7, "tenant": {"id": 42}}}), vec!["/account/tenant/id = 42"], "/account/id = 7"),
            (
                json!({"data": {"account": {"id": 7, "customer_id": 42}}}),
                vec!["/data/account/customer_id = 42"],
                "/data/account/id = 7",
            ),
            (json!({"account": {"id": 7, "email": "a@b"}}), vec![], "/account/id = 7"),
            (json!({"account": {"id": 7}}), vec![], "/account/id = 7"),
            (json!({"account_id": 7}), vec![], "/account_id = 7"),
            (json!({"account_id": 7, "user_id": 7}), vec![], "/user_id = 7"),
            (json!({"customer": {"id": 7, "email": "a@b", "org": "x"}}), vec!["/customer/org = x"], "/customer/id = 7"),
            (json!({"account": {"id": 42}, "user": {"id": 7}}), vec!["/account/id = 42"], "/user/id = 7"),
            (json!({"account_id": 42, "user_id": 7}), vec!["/account_id = 42"], "/user_id = 7"),
        ] {
            assert_eq!(places(&document, Part::Tenant), tenants, "{document}");
            assert_eq!(places(&document, Part::User).first().map(String::as_str), Some(users), "{document}");
        }
    }

    #[test]
    fn ids_come_before_names_and_names_before_addresses() {
        let document = json!({"email": "a@b", "username": "alice", "id": 9, "plan": {"id": 3}});
        assert_eq!(places(&document, Part::User), ["/id = 9", "/username = alice", "/email = a@b"]);
        let document = json!({"user": "a@b.example", "uid": "u-1"});
        assert_eq!(places(&document, Part::User), ["/uid = u-1", "/user = a@b.example"]);
    }

    #[test]
    fn every_place_is_listed_the_best_first() {
        let document = json!({"org": {"id": 5}, "user": {"id": 9, "company_id": 6}, "tenant": "acme"});
        assert_eq!(places(&document, Part::Tenant), ["/org/id = 5", "/user/company_id = 6", "/tenant = acme"]);
        let document =
            json!({"a/b": {"company-id": 1}, "session": {"tenant_id": 2}, "org_id": "", "customer_id": null});
        assert_eq!(places(&document, Part::Tenant), ["/a~1b/company-id = 1"]);
    }

    #[test]
    fn lists_are_memberships_and_no_tenant() {
        for (document, pointer, values) in [
            (json!({"memberships": [{"org_id": 1}, {"org_id": 2}]}), "/memberships/*/org_id", vec!["1", "2"]),
            (json!({"user": {"organizations": [{"id": "a", "name": "A"}]}}), "/user/organizations/*/id", vec!["a"]),
            (json!({"organizations": [{"id": 8, "role": "admin"}]}), "/organizations/*/id", vec!["8"]),
            (json!({"teams": [{"company": {"id": 3}}]}), "/teams/*/company/id", vec!["3"]),
            (json!({"companies": [4, 5]}), "/companies/*", vec!["4", "5"]),
            (json!({"org_ids": [4, 5]}), "/org_ids/*", vec!["4", "5"]),
        ] {
            let named = Named::in_document(&document);
            assert_eq!(named.of(Part::Tenant).count(), 0, "{document}");
            let values = values.into_iter().map(str::to_owned).collect();
            assert_eq!(named.memberships, [Memberships { pointer: pointer.to_owned(), values }], "{document}");
        }
        for none in [json!({"tags": ["a"]}), json!({"users": [{"id": 1, "org_id": 2}]}), json!({"roles": [{"id": 1}]})]
        {
            assert_eq!(Named::in_document(&none).memberships, [], "{none}");
        }
    }

    #[test]
    fn what_a_backend_sends_is_bounded() {
        let mut deep = json!({"user_id": 1});
        for _ in 0..100 {
            deep = json!({ "d": deep });
        }
        assert_eq!(Named::in_document(&deep), Named::default());
        let wide: Map<String, Value> =
            (0..5000).map(|number| (format!("o{number}"), json!({"org_id": number}))).collect();
        assert!(Named::in_document(&Value::Object(wide)).candidates.len() <= MOST);
    }
}
