//! `[identity]`: what the backend is told of a session, and what of the client's own claims is removed.

use http::{HeaderName, HeaderValue};

use super::error::{Place, Problems};
use super::mode::Mode;
use super::parsers::{cookie_name, each};
use super::raw::RawIdentity;
use super::reader::{DateText, Spot};
use super::signed;
use super::table::Field;
use super::value::{Parsed, choice, header_name, quoted};
use crate::clock::WallTime;
use crate::http::{Encode, IdentityHeaders, IdentityRules, ProtectedNames, TenantFormat};
use crate::policy::{IdentityMode, QueryRule, QueryRules};
use crate::session::TenantId;
use crate::signed::SignedIdentity;

/// What the backend is told of a session, and what of the client's own claims is removed.
#[derive(Clone, Debug)]
pub struct IdentityConfig {
    /// How far identity is enforced where a route says nothing else.
    pub mode: IdentityMode,
    /// What happens to a client's own identity header.
    pub client_value: ClientValue,
    /// How identity values are read from logins.
    pub rules: IdentityRules,
    /// The headers that carry identity. All different.
    pub headers: IdentityHeaders,
    /// Further headers that are removed from requests.
    pub strip: Vec<HeaderName>,
    /// The app's own cookies that are bound to the session they were set in, by name.
    pub seal_cookies: Vec<String>,
    /// Query parameters that hold a tenant, by name.
    pub query: QueryRules,
    /// The tenant header's value where there is no session; `None`: no header.
    pub anonymous: Option<HeaderValue>,
    /// How what the backend is told is signed, if it is.
    pub signed: Option<SignedIdentity>,
}

impl IdentityConfig {
    /// The names that clients may never send.
    #[must_use]
    pub fn protected_names(&self) -> ProtectedNames {
        ProtectedNames::new(&self.headers, &self.strip)
    }
}

/// What happens to a client's own identity header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientValue {
    /// Removed.
    Ignore,
    /// Refused unless it is the session's.
    Match,
    /// The same for methods that change something: an old page's writes land in no other tenant.
    MatchUnsafe,
    /// It picks one of the session's tenants; another is refused.
    Choose,
}

/// Headers with a meaning of their own for HTTP or for what the gateway sets: never identity, never stripped.
const TAKEN: [&str; 25] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "range",
    "referer",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "x-real-ip",
    "x-request-id",
    "x-session-assertion",
    "x-session-signature",
];
const TAKEN_PREFIXES: [&str; 5] = ["content-", "proxy-", "sec-", "x-forwarded-", "access-control-"];

const LONGEST_NAME: usize = 64;

pub(super) fn identity(raw: &RawIdentity, mode: Mode, problems: &mut Problems) -> IdentityConfig {
    let words = &[
        ("ignore", ClientValue::Ignore),
        ("match", ClientValue::Match),
        ("match-unsafe", ClientValue::MatchUnsafe),
        ("choose", ClientValue::Choose),
    ];
    let client_value = raw.client_value.parse_or(ClientValue::Ignore, problems, choice(words));
    let formats = &[("exact", TenantFormat::Exact), ("int", TenantFormat::Int), ("uuid", TenantFormat::Uuid)];
    let tenant_format = raw.tenant_format.parse_or(TenantFormat::Exact, problems, choice(formats));
    let encodings = &[("refuse", Encode::Refuse), ("percent", Encode::Percent)];
    let encode = raw.encode.parse_or(Encode::Refuse, problems, choice(encodings));
    let until = Until { field: &raw.compat_until, inherited: None };
    let identity_mode = identity_mode(&raw.mode, IdentityMode::Enforce, &until, mode, problems);
    let signed = signed::signed(raw, mode, problems);
    if signed.is_some() {
        signed::report_unsigned(raw, identity_mode, problems);
    }
    IdentityConfig {
        mode: identity_mode,
        client_value,
        rules: IdentityRules { tenant_format, encode },
        headers: headers(raw, problems),
        strip: each(&raw.strip, problems, own_header),
        seal_cookies: each(&raw.seal_cookies, problems, cookie_name),
        query: query(raw, problems),
        anonymous: raw.anonymous.parse_or(None, problems, |text| anonymous(text)),
        signed,
    }
}

/// When `compat` ends: what one table says, and what holds where it says nothing.
pub(super) struct Until<'a> {
    /// The table's own `compat_until`.
    pub(super) field: &'a Field<DateText>,
    /// What holds when it is absent.
    pub(super) inherited: Option<WallTime>,
}

/// The mode of `field`, else `inherited`, with its end. Production asks for an end; both modes that do not enforce are
/// worth a warning.
pub(super) fn identity_mode(
    field: &Field<String>,
    inherited: IdentityMode,
    until: &Until<'_>,
    mode: Mode,
    problems: &mut Problems,
) -> IdentityMode {
    let own = until.field.parse(problems, |DateText(text)| date(text));
    let compat = IdentityMode::Compat { until: None };
    let words = [("observe", IdentityMode::Observe), ("compat", compat), ("enforce", IdentityMode::Enforce)];
    let chosen = field.parse_or(inherited, problems, choice(&words));
    let IdentityMode::Compat { .. } = chosen else {
        if chosen == IdentityMode::Observe && field.is_given() {
            problems.warn(field.place(), "\"observe\" enforces nothing: the backend gets what clients claim");
        }
        return chosen;
    };
    let end = own.or(until.inherited);
    if field.is_given() {
        problems
            .warn(field.place(), "\"compat\" lets requests without a session reach the backend with their own claims");
        if end.is_none() && mode == Mode::Production && !until.field.is_given() {
            problems.error(field.place(), "\"compat\" needs an end in production; add `compat_until = \"2027-03-31\"`");
        }
    }
    IdentityMode::Compat { until: end }
}

/// A date (to its end, in UTC) or a time with its zone.
pub(super) fn date(text: &str) -> Parsed<WallTime> {
    let at = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        // A time without a zone would be read as its date alone.
        let date_alone = (text.len() == "2027-03-31".len()).then_some(text)?;
        let next_day = date_alone.parse::<jiff::civil::Date>().ok()?.tomorrow().ok()?;
        jiff::tz::TimeZone::UTC.to_timestamp(next_day.to_datetime(jiff::civil::Time::midnight())).ok()
    });
    at.and_then(|at| u64::try_from(at.as_microsecond()).ok()).map(WallTime::from_micros).ok_or_else(|| {
        format!("{} is not a date; write it as \"2027-03-31\" or \"2027-03-31T18:00:00Z\"", quoted(text))
    })
}

fn headers(raw: &RawIdentity, problems: &mut Problems) -> IdentityHeaders {
    let fields = [&raw.tenant_header, &raw.user_header, &raw.role_header, &raw.session_header];
    let defaults = ["x-customer-id", "x-user-id", "x-user-role", "x-session-id"];
    let mut names: Vec<(HeaderName, &Place)> = Vec::with_capacity(fields.len());
    for (field, default) in fields.into_iter().zip(defaults) {
        let name = field.parse_or(HeaderName::from_static(default), problems, |text| own_header(text));
        if let Some((_, other)) = names.iter().find(|(other, _)| *other == name) {
            let place = if field.is_given() { field.place() } else { other };
            let twin = if field.is_given() { &other.key } else { &field.place().key };
            problems.error(place, format!("is the same header as `{twin}`; give each its own"));
        }
        names.push((name, field.place()));
    }
    let mut names = names.into_iter().map(|(name, _)| name);
    let mut next = |default| names.next().unwrap_or(HeaderName::from_static(default));
    IdentityHeaders {
        tenant: next("x-customer-id"),
        user: next("x-user-id"),
        role: next("x-user-role"),
        session: next("x-session-id"),
    }
}

/// The name of a header that the gateway may set or remove.
pub(super) fn own_header(text: &str) -> Parsed<HeaderName> {
    let name = header_name(text)?;
    let shown = name.as_str();
    if TAKEN.contains(&shown) || TAKEN_PREFIXES.iter().any(|prefix| shown.starts_with(prefix)) {
        return Err(format!(
            "{} has a meaning of its own in HTTP or is set by the gateway; choose another",
            quoted(text)
        ));
    }
    if !shown.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') || shown.len() > LONGEST_NAME {
        return Err(format!(
            "{} cannot be told apart by every backend; use up to 64 letters, digits and `-`",
            quoted(text)
        ));
    }
    Ok(name)
}

/// Refuses protected headers in `server.allow_headers`: letting them through would let clients claim an identity.
pub(super) fn report_allowed(
    field: &Field<Vec<Spot<String>>>,
    allowed: &[HeaderName],
    identity: &IdentityConfig,
    problems: &mut Problems,
) {
    let protected = identity.protected_names();
    for name in allowed.iter().filter(|name| protected.is_protected(name)) {
        problems.error(field.place(), format!("\"{name}\" is protected; clients may never send it, so remove it"));
    }
}

fn query(raw: &RawIdentity, problems: &mut Problems) -> QueryRules {
    let Some(named) = raw.query.get() else { return QueryRules::default() };
    let parse = choice(&[
        ("overwrite", QueryRule::Overwrite),
        ("set", QueryRule::Set),
        ("drop", QueryRule::Drop),
        ("match", QueryRule::Match),
    ]);
    let mut rules = Vec::with_capacity(named.0.len());
    for (name, spot) in &named.0 {
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            problems.error(&spot.place, "is not the name of a query parameter");
        }
        match parse(&spot.value) {
            Ok(rule) => rules.push((name.clone(), rule)),
            Err(message) => problems.error(&spot.place, message),
        }
    }
    QueryRules::new(rules)
}

fn anonymous(text: &str) -> Parsed<Option<HeaderValue>> {
    if text == "omit" {
        return Ok(None);
    }
    TenantId::parse(text).map_err(|error| format!("{} {error}; write \"omit\" or a tenant", quoted(text)))?;
    HeaderValue::from_str(text).map(Some).map_err(|_| String::from("is not a header value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_ends_with_its_day_and_a_time_needs_a_zone() {
        for (text, at) in [
            ("2027-03-31", Some("2027-04-01T00:00:00.000Z")),
            ("2027-03-31T18:00:00Z", Some("2027-03-31T18:00:00.000Z")),
            ("2027-03-31T18:00:00+02:00", Some("2027-03-31T16:00:00.000Z")),
            ("2027-03-31T18:00:00", None),
            ("31.3.2027", None),
            ("1950-01-01", None),
            ("9999-12-31", None),
            ("", None),
        ] {
            assert_eq!(date(text).ok().map(WallTime::rfc3339).as_deref(), at, "{text}");
        }
    }
}
