//! What is shown of an answer, and what is concluded: pure, and the place that decides which values may be seen.
//!
//! Of an answer's values only those are shown that stand where a tenant, a user or a role may stand, and only if they
//! are no secret: not the password, not a cookie's value, nothing under a name such as `token`. Of all others it shows
//! the type and the length.

use std::fmt::Write as _;

use http::header::{CONTENT_TYPE, COOKIE, HeaderMap, SET_COOKIE};
use http::{HeaderName, StatusCode};
use serde_json::Value;

use crate::http::{JsonPointer, printable};
use crate::login::{Capture, IdentityPointers, Verdict, read_json};
use crate::session::Principal;

/// The most lines about one answer's values, and how deep they are looked for.
const MOST_VALUES: usize = 100;
const DEEPEST: usize = 8;
/// The longest name or value that is shown.
const LONGEST_SHOWN: usize = 128;

/// Parts of names, without separators and in lower case, whose values nobody may see.
const SENSITIVE: [&str; 16] = [
    "token",
    "secret",
    "passw",
    "pwd",
    "passphrase",
    "jwt",
    "cookie",
    "session",
    "csrf",
    "xsrf",
    "apikey",
    "privatekey",
    "credential",
    "signature",
    "otp",
    "authorization",
];
/// Names of fields, without separators and in lower case, that usually hold a tenant; the likeliest first.
const TENANT_NAMES: [&str; 15] = [
    "customerid",
    "tenantid",
    "orgid",
    "organizationid",
    "organisationid",
    "companyid",
    "accountid",
    "clientid",
    "workspaceid",
    "customer",
    "tenant",
    "org",
    "organization",
    "organisation",
    "company",
];
/// The same for a user.
const USER_NAMES: [&str; 10] =
    ["userid", "uid", "memberid", "personid", "username", "login", "email", "sub", "user", "id"];
/// The same for a role.
const ROLE_NAMES: [&str; 3] = ["role", "userrole", "rolename"];
/// Of an object with one of these names, `id` is the tenant.
const TENANT_OBJECTS: [&str; 8] =
    ["customer", "tenant", "org", "organization", "organisation", "company", "account", "workspace"];

/// Whether the value of a field of this name is a secret.
pub(super) fn is_sensitive(name: &str) -> bool {
    let name = plain(name);
    SENSITIVE.iter().any(|part| name.contains(part))
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Values that are never shown, wherever they turn up.
#[derive(Default)]
pub(super) struct Hidden(Vec<String>);

impl Hidden {
    /// Hides a value.
    pub(super) fn add(&mut self, value: &str) {
        if !value.is_empty() {
            self.0.push(value.to_owned());
        }
    }

    /// Hides the cookies of a request.
    pub(super) fn add_cookies(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(COOKIE) {
            for pair in String::from_utf8_lossy(line.as_bytes()).split(';') {
                self.add(pair.split_once('=').map_or(pair, |(_, value)| value).trim());
            }
        }
    }

    /// Hides the cookies that an answer sets, and what stands under sensitive names in its body.
    pub(super) fn add_answer(&mut self, headers: &HeaderMap, body: &[u8]) {
        for line in headers.get_all(SET_COOKIE) {
            let line = String::from_utf8_lossy(line.as_bytes());
            let pair = line.split(';').next().unwrap_or_default();
            self.add(pair.split_once('=').map_or(pair, |(_, value)| value).trim());
        }
        if let Some(document) = read_json(body) {
            self.add_sensitive(&document, false);
        }
    }

    fn add_sensitive(&mut self, value: &Value, sensitive: bool) {
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(name, value)| self.add_sensitive(value, sensitive || is_sensitive(name)));
            }
            Value::Array(elements) => elements.iter().for_each(|value| self.add_sensitive(value, sensitive)),
            Value::String(text) if sensitive => self.add(text),
            Value::Number(number) if sensitive => self.add(&number.to_string()),
            _ => {}
        }
    }

    /// The value, made printable, if it may be shown.
    fn show(&self, value: &str) -> Option<String> {
        let seen = !value.is_empty() && value.len() <= LONGEST_SHOWN && !self.0.iter().any(|hidden| hidden == value);
        seen.then(|| printable(value.as_bytes(), LONGEST_SHOWN))
    }
}

/// What the gateway would conclude.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Conclusion {
    /// The status is no success.
    NoSuccess(StatusCode),
    /// The answer could not be read.
    Unreadable(String),
    /// Nobody is named; what is missing, and what might help.
    Nobody(Vec<String>),
    /// Anything else.
    Settled(Verdict),
}

impl Conclusion {
    /// Whether there would be a session.
    pub(super) const fn is_session(&self) -> bool {
        matches!(self, Self::Settled(Verdict::LoggedIn(_)))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Tenant,
    User,
    Role,
}

/// One value of a JSON answer.
struct Leaf<'a> {
    pointer: String,
    value: &'a Value,
    /// Which part it may be, and how likely: 0 is likeliest.
    candidate: Option<(Part, usize)>,
}

/// What there is to say of answers to this kind of capture.
pub(super) struct Report<'a> {
    pub(super) capture: &'a Capture,
    pub(super) hidden: &'a Hidden,
}

impl Report<'_> {
    /// An answer: status, names of headers and cookies, where there is what in its body.
    pub(super) fn answer(&self, status: StatusCode, headers: &HeaderMap, body: Result<&[u8], &str>) -> String {
        let mut text = String::new();
        line(&mut text, "status", status.as_str());
        let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        line(&mut text, "headers", &names.join(", "));
        let cookies: Vec<String> =
            headers.get_all(SET_COOKIE).iter().map(|line| cookie_name(line.as_bytes())).collect();
        if !cookies.is_empty() {
            line(&mut text, "cookies", &cookies.join(", "));
        }
        match body {
            Err(why) => line(&mut text, "body", why),
            Ok(body) => match read_json(body) {
                Some(document) => self.values(&mut text, &document),
                None => {
                    let kind = headers.get(CONTENT_TYPE).map_or(&b"of no type"[..], http::HeaderValue::as_bytes);
                    line(&mut text, "body", &format!("{}, {} bytes, no JSON", printable(kind, 64), body.len()));
                }
            },
        }
        text.truncate(text.trim_end().len());
        text
    }

    fn values(&self, text: &mut String, document: &Value) {
        line(text, "body", "JSON:");
        let leaves = leaves(document);
        for leaf in leaves.iter().take(MOST_VALUES) {
            let part = self.configured(&leaf.pointer);
            let named = part.or(leaf.candidate.map(|(part, _)| part)).is_some() && !is_below_secret(&leaf.pointer);
            let shown = printable(leaf.pointer.as_bytes(), LONGEST_SHOWN);
            let mark = match part {
                Some(Part::Tenant) => "   <- tenant",
                Some(Part::User) => "   <- user",
                Some(Part::Role) => "   <- role",
                None => "",
            };
            let _ = writeln!(text, "    {shown:<32} {}{mark}", self.describe(leaf.value, named));
        }
        if leaves.len() > MOST_VALUES {
            let _ = writeln!(text, "    … and {} more", leaves.len() - MOST_VALUES);
        }
    }

    fn describe(&self, value: &Value, shown: bool) -> String {
        match value {
            Value::Null => String::from("null"),
            Value::Bool(value) => value.to_string(),
            Value::Number(number) => {
                let number = number.to_string();
                self.hidden.show(&number).filter(|_| shown).unwrap_or_else(|| String::from("number"))
            }
            Value::String(text) => match self.hidden.show(text).filter(|_| shown) {
                Some(text) => format!("\"{text}\""),
                None => format!("text, {} characters", text.chars().count()),
            },
            Value::Array(elements) => format!("list of {}", elements.len()),
            Value::Object(_) => String::from("object, empty or too deep to be shown"),
        }
    }

    fn pointers(&self) -> Option<&IdentityPointers> {
        match self.capture {
            Capture::Json(pointers) | Capture::Whoami { pointers, .. } => Some(pointers),
            Capture::Header(_) => None,
        }
    }

    /// Which part a configured pointer reads here.
    fn configured(&self, pointer: &str) -> Option<Part> {
        let pointers = self.pointers()?;
        let names = |list: &[JsonPointer]| list.iter().any(|one| one.as_str() == pointer);
        [(Part::Tenant, &pointers.tenant), (Part::User, &pointers.user), (Part::Role, &pointers.role)]
            .into_iter()
            .find_map(|(part, list)| names(list).then_some(part))
    }

    /// What a verdict means for the operator, with the answer that it was read from last.
    pub(super) fn explain(&self, verdict: Verdict, headers: &HeaderMap, body: &[u8]) -> Conclusion {
        if verdict != Verdict::Unnamed {
            return Conclusion::Settled(verdict);
        }
        let mut missing = Vec::new();
        if let Capture::Header(names) = self.capture {
            for (key, name) in [("tenant", &names.tenant), ("user", &names.user)] {
                if headers.get(name).is_none_or(http::HeaderValue::is_empty) {
                    missing.push(format!("no {name} came (`login.header`, {key})"));
                }
            }
            return Conclusion::Nobody(missing);
        }
        let Some(document) = read_json(body) else {
            missing.push(String::from("the body is no JSON; a form login is captured with `capture = \"whoami\"`"));
            return Conclusion::Nobody(missing);
        };
        let section = if matches!(self.capture, Capture::Whoami { .. }) { "login.whoami." } else { "login." };
        let Some(pointers) = self.pointers() else { return Conclusion::Nobody(missing) };
        for (part, key, list) in [(Part::Tenant, "tenant", &pointers.tenant), (Part::User, "user", &pointers.user)] {
            if finds(&document, list) {
                continue;
            }
            let tried: Vec<&str> = list.iter().map(JsonPointer::as_str).collect();
            let advice = suggest(&document, part).map_or_else(
                || String::from("nothing in the answer looks like one"),
                |pointer| format!("try `{section}{key} = [\"{}\"]`", printable(pointer.as_bytes(), LONGEST_SHOWN)),
            );
            missing.push(format!("no {key} at {}; {advice}", tried.join(" or ")));
        }
        Conclusion::Nobody(missing)
    }

    /// The last lines of the report.
    pub(super) fn conclusion(&self, conclusion: &Conclusion) -> String {
        match conclusion {
            Conclusion::NoSuccess(status) if status.is_redirection() && matches!(self.capture, Capture::Json(_)) => {
                format!(
                    "No session: {} is a redirect, and `login.capture = \"json\"` reads the answer to the login itself. A \
                     login that redirects names its user elsewhere: set `capture = \"whoami\"` and `login.whoami`.",
                    status.as_str()
                )
            }
            Conclusion::NoSuccess(status) => format!("No session: {} is no success here.", status.as_str()),
            Conclusion::Unreadable(why) => format!("No session, and 502 for the client: {why}."),
            Conclusion::Nobody(missing) => {
                let mut text = String::from("No session: the answer names nobody.");
                for one in missing {
                    let _ = write!(text, "\n  {one}");
                }
                text
            }
            Conclusion::Settled(verdict) => self.verdict(verdict),
        }
    }

    fn verdict(&self, verdict: &Verdict) -> String {
        match verdict {
            Verdict::Failed => String::from("No session: the answer says that the login failed."),
            Verdict::Unfinished => {
                String::from("No session: something at `login.unless` is still due (a second factor, say).")
            }
            Verdict::NoCookie => {
                String::from("No session: no cookie was set with which the backend could be asked (`login.whoami`).")
            }
            Verdict::NamedBefore => String::from(
                "No session: the request's own cookies name a user already, so the answer proves nothing about this login.",
            ),
            Verdict::Refused(status) => {
                format!("No session: `login.whoami.path` answered {}, so nobody is logged in.", status.as_str())
            }
            Verdict::Unnamed => String::from("No session: the answer names nobody."),
            Verdict::LoggedIn(principal) => self.session_of(principal),
            Verdict::Bad(why) => format!("No session, and 502 bad_identity for the client: {why}."),
        }
    }

    fn session_of(&self, principal: &Principal) -> String {
        let shown = |value: &str| self.hidden.show(value).unwrap_or_else(|| String::from("(hidden)"));
        let role = principal
            .role
            .as_ref()
            .map_or_else(|| String::from("without a role"), |role| format!("with the role {}", shown(role.as_str())));
        let (tenant, user) = (shown(principal.tenant.as_str()), shown(principal.user.as_str()));
        format!("A session for user {user} of tenant {tenant}, {role}.")
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {name:<8} {value}");
}

fn cookie_name(line: &[u8]) -> String {
    let name = line.split(|byte| matches!(byte, b'=' | b';')).next().unwrap_or_default();
    // Without `=` it would be a value without a name.
    if line.contains(&b'=') { printable(name.trim_ascii(), 64) } else { String::from("(without a name)") }
}

/// The names of the cookies that a request carries.
pub(super) fn cookie_names(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(COOKIE).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).map(cookie_name).collect()
}

fn is_below_secret(pointer: &str) -> bool {
    pointer.split('/').any(is_sensitive)
}

fn finds(document: &Value, pointers: &[JsonPointer]) -> bool {
    pointers
        .iter()
        .filter_map(|pointer| pointer.find_in(document))
        .any(|value| !matches!(value, Value::Null) && value.as_str() != Some(""))
}

/// The likeliest place of a part: by its name, then by how near it is to the root.
fn suggest(document: &Value, part: Part) -> Option<String> {
    leaves(document)
        .into_iter()
        .filter(|leaf| matches!(leaf.value, Value::String(text) if !text.is_empty()) || leaf.value.is_number())
        .filter(|leaf| !is_below_secret(&leaf.pointer))
        .filter_map(|leaf| match leaf.candidate {
            Some((of, rank)) if of == part => Some((rank, leaf.pointer.matches('/').count(), leaf.pointer)),
            _ => None,
        })
        .min()
        .map(|(_, _, pointer)| pointer)
}

/// Every value of a document that is no object; of a list its length, and its first element's values.
fn leaves(document: &Value) -> Vec<Leaf<'_>> {
    let mut found = Vec::new();
    collect(document, String::new(), &[], &mut found);
    found
}

fn collect<'a>(value: &'a Value, pointer: String, names: &[&str], found: &mut Vec<Leaf<'a>>) {
    // Counted on, so that the report can say how many there are, but not without end.
    if found.len() > 10 * MOST_VALUES {
        return;
    }
    match value {
        Value::Object(members) if names.len() < DEEPEST && !members.is_empty() => {
            for (name, value) in members {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                collect(value, format!("{pointer}/{escaped}"), &[names, &[name.as_str()]].concat(), found);
            }
        }
        Value::Array(elements) => {
            found.push(Leaf { pointer: pointer.clone(), value, candidate: None });
            if let (Some(first), true) = (elements.first(), names.len() < DEEPEST) {
                collect(first, format!("{pointer}/0"), names, found);
            }
        }
        _ => found.push(Leaf { pointer, value, candidate: candidate(names) }),
    }
}

/// What a value under these names may be.
fn candidate(names: &[&str]) -> Option<(Part, usize)> {
    let name = plain(names.last()?);
    let parent = names.iter().rev().nth(1).map(|name| plain(name)).unwrap_or_default();
    if name == "id" && TENANT_OBJECTS.contains(&parent.as_str()) {
        return Some((Part::Tenant, 0));
    }
    let lists = [(Part::Tenant, &TENANT_NAMES[..]), (Part::User, &USER_NAMES[..]), (Part::Role, &ROLE_NAMES[..])];
    lists.into_iter().find_map(|(part, list)| Some((part, list.iter().position(|known| *known == name)?)))
}

#[cfg(test)]
mod tests;
