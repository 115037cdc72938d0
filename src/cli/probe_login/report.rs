//! What is shown of an answer, and what is concluded: pure, and the place that decides which values may be seen.
//!
//! Of an answer's values only those are shown that stand where a tenant, a user or a role may stand, and only if they
//! are no secret: not the password, not a cookie's value, nothing under a name such as `token`. Of all others it shows
//! the type and the length. A token's claims are an answer's values like any other.

use std::fmt::Write as _;

use http::header::{CONTENT_TYPE, COOKIE, HeaderMap, SET_COOKIE};
use http::{HeaderName, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::advice::{self, listed};
use super::candidates::{Candidate, Named, Part};
use super::hidden::{Hidden, LONGEST_SHOWN, is_below_secret};
use super::tokens::{self, Token};
use super::values::{MOST_VALUES, leaves};
use crate::http::{JsonPointer, printable};
use crate::login::{Capture, Condition, IdentityPointers, LoginRules, Verdict, read_json};
use crate::session::{Principal, TenantId};

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
        matches!(self, Self::Settled(Verdict::LoggedIn(..)))
    }
}

/// What is shown of one answer.
#[derive(Serialize)]
pub(super) struct Seen {
    /// What was asked.
    request: String,
    status: u16,
    /// Names alone.
    headers: Vec<String>,
    cookies: Vec<String>,
    /// What the body is, where it is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    values: Vec<Shown>,
    /// Values that are not shown, for there are too many.
    more_values: usize,
    tokens: Vec<Claims>,
}

/// One value of an answer.
#[derive(Serialize)]
struct Shown {
    pointer: String,
    /// What it is, or its type.
    value: String,
    /// What the configuration reads here.
    #[serde(skip_serializing_if = "Option::is_none")]
    read_as: Option<&'static str>,
}

/// What a token in an answer claims.
#[derive(Serialize)]
struct Claims {
    /// Where the token stands.
    pointer: String,
    /// By what it says that it is signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
    claims: Vec<Shown>,
}

/// A place that may name a part.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    part: &'static str,
    pointer: String,
    /// `None`: it may not be shown.
    value: Option<String>,
    /// Where the token stands that claims it; `None`: it stands in the answer itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// A list of tenants.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Choice {
    pointer: String,
    count: usize,
}

/// What the answer that says who is logged in has to offer.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Offers {
    /// Best first.
    pub(super) candidates: Vec<Place>,
    pub(super) memberships: Vec<Choice>,
}

/// What is configured already, so that nobody is advised to do it.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) rules: &'a LoginRules,
    /// `identity.seal_cookies`
    pub(super) sealed: &'a [String],
    /// `logout.clear_cookies`
    pub(super) cleared: &'a [String],
    /// Whether there is a `[bearer]`.
    pub(super) believes: bool,
}

/// What there is to say of answers to a login.
pub(super) struct Report<'a> {
    pub(super) known: Known<'a>,
    pub(super) hidden: &'a Hidden,
}

impl Report<'_> {
    /// An answer: status, names of headers and cookies, where there is what in its body.
    pub(super) fn answer(
        &self,
        request: &str,
        status: StatusCode,
        headers: &HeaderMap,
        body: Result<&[u8], &str>,
    ) -> Seen {
        let mut seen = Seen {
            request: request.to_owned(),
            status: status.as_u16(),
            headers: headers.keys().map(HeaderName::as_str).map(str::to_owned).collect(),
            cookies: headers.get_all(SET_COOKIE).iter().map(|line| cookie_name(line.as_bytes())).collect(),
            body: None,
            values: Vec::new(),
            more_values: 0,
            tokens: Vec::new(),
        };
        match body.map(|body| (read_json(body), body.len())) {
            Err(why) => seen.body = Some(why.to_owned()),
            Ok((Some(document), _)) => {
                (seen.values, seen.more_values) = self.values(&document, |pointer| self.configured(pointer));
                let read = self.known.rules.tokens().and_then(|rules| rules.text(&document));
                let claims = |token: Token| Claims {
                    pointer: printable(token.pointer.as_bytes(), LONGEST_SHOWN),
                    claims: self.claims(
                        &token,
                        read.is_some() && document.pointer(&token.pointer).and_then(Value::as_str) == read,
                    ),
                    algorithm: token.algorithm,
                };
                seen.tokens = tokens::tokens(&document).into_iter().map(claims).collect();
            }
            Ok((None, length)) => {
                let kind = headers.get(CONTENT_TYPE).map_or(&b"of no type"[..], http::HeaderValue::as_bytes);
                seen.body = Some(format!("{}, {length} bytes, no JSON", printable(kind, 64)));
            }
        }
        seen
    }

    fn values(&self, document: &Value, read_as: impl Fn(&str) -> Option<Part>) -> (Vec<Shown>, usize) {
        let named = Named::in_document(document);
        let leaves = leaves(document);
        let shown = leaves.iter().take(MOST_VALUES).map(|leaf| {
            let part = read_as(&leaf.pointer);
            let may_name = part.or_else(|| named.at(&leaf.pointer)).is_some() || named.is_membership(&leaf.pointer);
            Shown {
                pointer: printable(leaf.pointer.as_bytes(), LONGEST_SHOWN),
                value: self.describe(leaf.value, may_name && !is_below_secret(&leaf.pointer)),
                read_as: part.map(Part::key),
            }
        });
        (shown.collect(), leaves.len().saturating_sub(MOST_VALUES))
    }

    /// What a token claims; `is_read`: by which the configuration says who it is.
    fn claims(&self, token: &Token, is_read: bool) -> Vec<Shown> {
        let (mut shown, _) = self.values(&token.claims, |pointer| self.configured(pointer).filter(|_| is_read));
        for (one, leaf) in shown.iter_mut().zip(leaves(&token.claims)) {
            if tokens::is_plain(&leaf.pointer) {
                one.value = self.describe(leaf.value, true);
            }
            if let Some(time) = tokens::time(&leaf.pointer, leaf.value) {
                one.value.push_str(&format!(" ({time})"));
            }
        }
        shown
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
        self.known.rules.pointers()
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
        if let Capture::Header(names) = &self.known.rules.capture {
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
        if let Some(tokens) = self.known.rules.tokens()
            && tokens.text(&document).is_none()
        {
            let tried: Vec<&str> = tokens.token.iter().map(JsonPointer::as_str).collect();
            let found = tokens::tokens(&document).into_iter().find(|token| !token.is_refresh());
            let advice = found.map_or_else(
                || String::from("nothing in the answer looks like one"),
                |token| format!("try `login.token = [\"{}\"]`", printable(token.pointer.as_bytes(), LONGEST_SHOWN)),
            );
            missing.push(format!("no token at {}; {advice}", tried.join(" or ")));
            return Conclusion::Nobody(missing);
        }
        let named = Named::in_document(&document);
        let section =
            if matches!(self.known.rules.capture, Capture::Whoami { .. }) { "login.whoami." } else { "login." };
        let Some(pointers) = self.pointers() else { return Conclusion::Nobody(missing) };
        for (part, key, list) in [(Part::Tenant, "tenant", &pointers.tenant), (Part::User, "user", &pointers.user)] {
            if finds(&document, list) {
                continue;
            }
            let tried: Vec<&str> = list.iter().map(JsonPointer::as_str).collect();
            let best = named.of(part).next();
            let advice = best.map_or_else(
                || String::from("nothing in the answer looks like one"),
                |best| format!("try `{section}{key} = [\"{}\"]`", printable(best.pointer.as_bytes(), LONGEST_SHOWN)),
            );
            missing.push(format!("no {key} at {}; {advice}", tried.join(" or ")));
        }
        Conclusion::Nobody(missing)
    }

    /// What an answer has to offer, in itself and in its tokens.
    pub(super) fn offers(&self, body: &[u8]) -> Offers {
        let Some(document) = read_json(body) else { return Offers::default() };
        let named = Named::in_document(&document);
        let place = |candidate: &Candidate, token: Option<&Token>| Place {
            part: candidate.part.key(),
            pointer: printable(candidate.pointer.as_bytes(), LONGEST_SHOWN),
            value: self.hidden.show(&candidate.value),
            token: token.map(|token| printable(token.pointer.as_bytes(), LONGEST_SHOWN)),
        };
        let mut candidates: Vec<Place> = named.candidates.iter().map(|candidate| place(candidate, None)).collect();
        for token in tokens::tokens(&document) {
            candidates.extend(Named::in_document(&token.claims).candidates.iter().map(|one| place(one, Some(&token))));
        }
        let order = |place: &Place| Part::ALL.iter().position(|part| part.key() == place.part);
        candidates.sort_by_key(order);
        let lists = named.memberships.iter();
        let memberships = lists.map(|list| Choice {
            pointer: printable(list.pointer.as_bytes(), LONGEST_SHOWN),
            count: list.values.len(),
        });
        Offers { candidates, memberships: memberships.collect() }
    }

    /// What might be added to the configuration, by what the login's own answer has, and the last one.
    pub(super) fn advice(
        &self,
        conclusion: &Conclusion,
        login: &HeaderMap,
        body: &[u8],
        offers: &Offers,
    ) -> Vec<String> {
        let Known { rules, sealed, cleared, believes } = self.known;
        let mut advice = Vec::new();
        let document = read_json(body);
        for condition in document.iter().flat_map(|document| advice::still_due(document, self.hidden)) {
            let known = Condition::parse(&condition).is_ok_and(|due| rules.unless.contains(&due));
            if !known && !matches!(conclusion, Conclusion::Settled(Verdict::Unfinished | Verdict::Failed)) {
                advice.push(format!(
                    "the answer speaks of something that is still due, a second factor say: were it so, \
                     `login.unless = [\"{condition}\"]` keeps the gateway from making a session before"
                ));
            }
        }
        let chosen = rules.pointers().map_or(&[][..], |pointers| &pointers.tenants);
        for list in offers.memberships.iter().filter(|list| chosen.iter().all(|known| known.as_str() != list.pointer)) {
            advice.push(format!(
                "{pointer} lists {count} of the user's tenants; an element's place in the list is no tenant: have the app \
                 say, at a place of its own, which of them this login is for. Where the client names one with each \
                 request, let it choose: `login.tenants = [\"{pointer}\"]` and `identity.client_value = \"choose\"`",
                pointer = list.pointer,
                count = list.count
            ));
        }
        if rules.tokens().is_none() {
            advice.extend(document.as_ref().and_then(tokens::captured));
        }
        if !believes {
            advice.extend(document.as_ref().and_then(tokens::believed));
        }
        let no_json = document.is_none() && !matches!(conclusion, Conclusion::Unreadable(_));
        let by_answer = matches!(rules.capture, Capture::Json(_));
        let own = advice::own_cookies(login);
        if by_answer && no_json && !own.is_empty() {
            advice.push(String::from(
                "the answer is no JSON and sets a session's cookie, as forms do: set `capture = \"whoami\"` and `whoami = { \
                 path = \"/api/me\", tenant = \"/org/id\", user = \"/id\" }`, with a path of the app's that says who is \
                 logged in",
            ));
        }
        let missing =
            |known: &[String]| -> Vec<String> { own.iter().filter(|name| !known.contains(name)).cloned().collect() };
        let (unsealed, uncleared) = (missing(sealed), missing(cleared));
        if !unsealed.is_empty() {
            advice.push(format!(
                "the app's own session is in cookies that work beside any session of the gateway's; bind them to theirs: \
                 `identity.seal_cookies = {}` (needs `secrets.key`)",
                listed(&[sealed, &unsealed].concat())
            ));
        }
        if !uncleared.is_empty() {
            advice.push(format!(
                "let them end with the gateway's session: `logout.clear_cookies = {}`",
                listed(&[cleared, &uncleared].concat())
            ));
        }
        advice
    }

    /// The last lines of the report.
    pub(super) fn conclusion(&self, conclusion: &Conclusion) -> String {
        match conclusion {
            Conclusion::NoSuccess(status)
                if status.is_redirection() && matches!(self.known.rules.capture, Capture::Json(_)) =>
            {
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
            Verdict::LoggedIn(principal, tenants) => self.session_of(principal, tenants),
            Verdict::Bad(why) => format!("No session, and 502 bad_identity for the client: {why}."),
        }
    }

    fn session_of(&self, principal: &Principal, tenants: &[TenantId]) -> String {
        let shown = |value: &str| self.hidden.show(value).unwrap_or_else(|| String::from("(hidden)"));
        let role = principal
            .role
            .as_ref()
            .map_or_else(|| String::from("without a role"), |role| format!("with the role {}", shown(role.as_str())));
        let tenant =
            principal.tenant.name().map_or_else(|| String::from("no tenant"), |name| format!("tenant {}", shown(name)));
        let user = shown(principal.user.as_str());
        let names: Vec<String> = tenants.iter().filter_map(|tenant| tenant.name().map(&shown)).collect();
        let choice =
            if names.is_empty() { String::new() } else { format!(", that may choose from {}", names.join(", ")) };
        format!("A session for user {user} of {tenant}, {role}{choice}.")
    }
}

impl Seen {
    /// Its lines, for people.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        line(&mut text, "status", &self.status.to_string());
        line(&mut text, "headers", &self.headers.join(", "));
        if !self.cookies.is_empty() {
            line(&mut text, "cookies", &self.cookies.join(", "));
        }
        line(&mut text, "body", self.body.as_deref().unwrap_or("JSON:"));
        let values = |text: &mut String, values: &[Shown]| {
            for Shown { pointer, value, read_as } in values {
                let mark = read_as.map_or_else(String::new, |part| format!("   <- {part}"));
                let _ = writeln!(text, "    {pointer:<32} {value}{mark}");
            }
        };
        values(&mut text, &self.values);
        if self.more_values > 0 {
            let _ = writeln!(text, "    … and {} more", self.more_values);
        }
        for token in &self.tokens {
            let by = token.algorithm.as_ref().map_or_else(String::new, |algorithm| format!(", {algorithm}"));
            line(&mut text, "token", &format!("at {}{by}, read and not verified:", token.pointer));
            values(&mut text, &token.claims);
        }
        text.truncate(text.trim_end().len());
        text
    }
}

impl Offers {
    /// Its lines, for people; empty where there is nothing to choose from.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        for Place { part, pointer, value, token } in &self.candidates {
            let value = value.as_deref().unwrap_or("(hidden)");
            let of = token.as_ref().map_or_else(String::new, |token| format!(", claimed by the token at {token}"));
            let _ = writeln!(text, "  {part:<8} {pointer} = {value}{of}");
        }
        text.truncate(text.trim_end().len());
        text
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

fn finds(document: &Value, pointers: &[JsonPointer]) -> bool {
    pointers
        .iter()
        .filter_map(|pointer| pointer.find_in(document))
        .any(|value| !matches!(value, Value::Null) && value.as_str() != Some(""))
}

#[cfg(test)]
mod tests;
