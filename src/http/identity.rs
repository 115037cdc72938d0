//! A login's answer, read for who logged in (docs/behaviour.md, "Login").
//!
//! Three outcomes are kept apart: nobody yet (a second factor is due; the answer passes unchanged), somebody, and an
//! answer that names somebody in a way that could be misread in a header, which makes no session and is a 502. A value
//! is never repaired into a valid one.
//!
//! Where a JSON object has a key twice the last one counts, as for Python's and JavaScript's parsers: backend, browser
//! and gateway see the same. Depth is bounded by the parser (128), size by the caller.

use std::borrow::Cow;

use ::http::StatusCode;
use ::http::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::JsonPointer;
use crate::session::{IdentityValueError, Principal, Role, TenantId, UserId};

#[cfg(test)]
mod tests;

const SESSION_TENANT: HeaderName = HeaderName::from_static("x-session-tenant");
const SESSION_ROLE: HeaderName = HeaderName::from_static("x-session-role");

/// Where a JSON answer names tenant, user and role. Of each list the first pointer that finds something counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityPointers {
    /// `login.tenant`.
    pub tenant: Vec<JsonPointer>,
    /// `login.user`.
    pub user: Vec<JsonPointer>,
    /// `login.role`; may be empty.
    pub role: Vec<JsonPointer>,
}

/// The response headers in which a backend names them (`login.header`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginHeaders {
    /// The tenant's.
    pub tenant: HeaderName,
    /// The user's.
    pub user: HeaderName,
    /// The role's.
    pub role: Option<HeaderName>,
}

/// `identity.tenant_format`: which spellings mean one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TenantFormat {
    /// Each spelling is a tenant of its own.
    #[default]
    Exact,
    /// A decimal integer; `007` is `7`.
    Int,
    /// A UUID; written in lower case with hyphens.
    Uuid,
}

/// `identity.encode`: what happens to values that are not visible ASCII.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encode {
    /// They are refused.
    #[default]
    Refuse,
    /// Each byte outside visible ASCII, and `%` and `,`, is written as `%XX`. So no two values become one.
    Percent,
}

/// Why a text cannot be a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// It could be misread in a header.
    #[error(transparent)]
    Value(#[from] IdentityValueError),
    /// `tenant_format = "int"`.
    #[error("is not a decimal integer")]
    NotAnInteger,
    /// `tenant_format = "uuid"`.
    #[error("is not a UUID")]
    NotAUuid,
}

/// How identity values are spelt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdentityRules {
    /// `identity.tenant_format`.
    pub tenant_format: TenantFormat,
    /// `identity.encode`.
    pub encode: Encode,
}

impl IdentityRules {
    /// The one spelling of a tenant as the backend names it.
    ///
    /// # Errors
    /// When the format or the encoding does not allow it.
    pub fn canonical_tenant(&self, raw: &str) -> Result<TenantId, TenantError> {
        let formatted = self.format(raw)?;
        Ok(TenantId::parse(&self.encoded(formatted.as_bytes())?)?)
    }

    /// The one spelling of a tenant that is given as the gateway itself shows it: in headers, logs and lists. It differs
    /// from [`canonical_tenant`](Self::canonical_tenant) where values are encoded: these are already.
    ///
    /// # Errors
    /// As there.
    pub fn shown_tenant(&self, text: &str) -> Result<TenantId, TenantError> {
        Ok(TenantId::parse(&self.format(text)?)?)
    }

    /// The tenant that a value in a JSON answer names. `None` when it names none, or one that cannot be.
    #[must_use]
    pub fn tenant_of(&self, value: &Value) -> Option<TenantId> {
        match read(value) {
            Finding::Bytes(raw) => self.tenant(&raw).ok(),
            Finding::Nothing | Finding::Unusable => None,
        }
    }

    fn tenant(&self, raw: &[u8]) -> Result<TenantId, &'static str> {
        std::str::from_utf8(raw)
            .ok()
            .and_then(|tenant| self.canonical_tenant(tenant).ok())
            .ok_or("the tenant is not 1 to 128 visible ASCII characters without comma, or not of the configured format")
    }

    fn named_role(&self, role: Finding<'_>) -> Result<Option<Role>, &'static str> {
        match role {
            Finding::Nothing => Ok(None),
            Finding::Unusable => Err("the role is neither one string nor an integer"),
            Finding::Bytes(role) => self
                .canonical_role(&role)
                .map(Some)
                .map_err(|_| "the role is not 1 to 128 visible ASCII characters without comma"),
        }
    }

    fn format<'a>(&self, raw: &'a str) -> Result<Cow<'a, str>, TenantError> {
        match self.tenant_format {
            TenantFormat::Exact => Ok(Cow::Borrowed(raw)),
            TenantFormat::Int => integer(raw, LeadingZeros::Dropped).ok_or(TenantError::NotAnInteger),
            TenantFormat::Uuid => uuid(raw).map(Cow::Owned).ok_or(TenantError::NotAUuid),
        }
    }

    /// Whether some backend could read a tenant in what has no canonical form: `int("+42")` is 42 in Python, and
    /// `parseInt("42x")` in JavaScript.
    #[must_use]
    pub fn may_be_read_as_tenant(&self, raw: &[u8]) -> bool {
        match self.tenant_format {
            TenantFormat::Exact => false,
            // Digits of other scripts, too.
            TenantFormat::Int => raw.iter().any(|byte| byte.is_ascii_digit() || !byte.is_ascii()),
            TenantFormat::Uuid => raw.iter().filter(|byte| byte.is_ascii_hexdigit()).count() >= 32,
        }
    }

    /// The one spelling of a user as the backend names it.
    ///
    /// # Errors
    /// When the encoding does not allow it.
    pub fn canonical_user(&self, raw: &[u8]) -> Result<UserId, IdentityValueError> {
        UserId::parse(&self.encoded(raw)?)
    }

    /// The one spelling of a role as the backend names it.
    ///
    /// # Errors
    /// When the encoding does not allow it.
    pub fn canonical_role(&self, raw: &[u8]) -> Result<Role, IdentityValueError> {
        Role::parse(&self.encoded(raw)?)
    }

    fn encoded<'a>(&self, raw: &'a [u8]) -> Result<Cow<'a, str>, IdentityValueError> {
        match self.encode {
            Encode::Refuse => std::str::from_utf8(raw).map(Cow::Borrowed).map_err(|_| IdentityValueError::Character),
            Encode::Percent => Ok(percent_encoding::percent_encode(raw, NOT_IN_A_VALUE).into()),
        }
    }
}

/// What [`Encode::Percent`] escapes besides non-ASCII bytes.
const NOT_IN_A_VALUE: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS.add(b' ').add(b'%').add(b',');

/// Who an answer says has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginIdentity {
    /// Nobody, or nobody yet. The answer passes unchanged and makes no session.
    None,
    /// Somebody.
    Principal(Principal),
    /// Somebody, in a way that cannot be believed: 502 `bad_identity`. The text is for the log and holds no value.
    Bad(&'static str),
}

impl LoginIdentity {
    /// Reads a JSON answer. What is no JSON, says that it failed ([`json_says_failure`]), or has something truthy at an
    /// `unless` pointer names nobody; so does one without a tenant or a user.
    #[must_use]
    pub fn from_json(body: &[u8], pointers: &IdentityPointers, unless: &[JsonPointer], rules: &IdentityRules) -> Self {
        let Ok(answer) = serde_json::from_slice::<Value>(body) else {
            return Self::None;
        };
        if json_says_failure(&answer) || is_unfinished(&answer, unless) {
            return Self::None;
        }
        Self::of_findings(
            find(&answer, &pointers.tenant),
            find(&answer, &pointers.user),
            find(&answer, &pointers.role),
            rules,
        )
    }

    /// Reads the answer to the question who is logged in. A refusal names nobody.
    #[must_use]
    pub fn from_whoami(status: StatusCode, body: &[u8], pointers: &IdentityPointers, rules: &IdentityRules) -> Self {
        if status.is_server_error() {
            return Self::Bad("the whoami path answered with a server error");
        }
        if !status.is_success() {
            return Self::None;
        }
        Self::from_json(body, pointers, &[], rules)
    }

    /// Reads an answer's headers. An absent or empty one is no identity; two of one name are not believed.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, names: &LoginHeaders, rules: &IdentityRules) -> Self {
        let role = names.role.as_ref().map_or(Finding::Nothing, |name| find_header(headers, name));
        Self::of_findings(find_header(headers, &names.tenant), find_header(headers, &names.user), role, rules)
    }

    /// Reads who a user is after switching tenants: the headers `X-Session-Tenant` and `X-Session-Role` of the answer.
    /// The user stays. The role does not: one that was held in another tenant is nothing in this one.
    #[must_use]
    pub fn from_switch(headers: &HeaderMap, user: &UserId, rules: &IdentityRules) -> Self {
        let tenant = match find_header(headers, &SESSION_TENANT) {
            Finding::Nothing => return Self::None,
            Finding::Unusable => return Self::Bad("there are several X-Session-Tenant"),
            Finding::Bytes(tenant) => rules.tenant(&tenant),
        };
        match (tenant, rules.named_role(find_header(headers, &SESSION_ROLE))) {
            (Ok(tenant), Ok(role)) => Self::Principal(Principal { tenant, user: user.clone(), role }),
            (Err(why), _) | (_, Err(why)) => Self::Bad(why),
        }
    }

    fn of_findings(tenant: Finding<'_>, user: Finding<'_>, role: Finding<'_>, rules: &IdentityRules) -> Self {
        let (tenant, user) = match (tenant, user) {
            (Finding::Nothing, _) | (_, Finding::Nothing) => return Self::None,
            (Finding::Unusable, _) => return Self::Bad("the tenant is neither one string nor an integer"),
            (_, Finding::Unusable) => return Self::Bad("the user is neither one string nor an integer"),
            (Finding::Bytes(tenant), Finding::Bytes(user)) => (tenant, user),
        };
        let tenant = match rules.tenant(&tenant) {
            Ok(tenant) => tenant,
            Err(why) => return Self::Bad(why),
        };
        let Ok(user) = rules.canonical_user(&user) else {
            return Self::Bad("the user is not 1 to 128 visible ASCII characters without comma");
        };
        match rules.named_role(role) {
            Ok(role) => Self::Principal(Principal { tenant, user, role }),
            Err(why) => Self::Bad(why),
        }
    }
}

/// What stands at a pointer or in a header.
enum Finding<'a> {
    /// Absent, null or empty.
    Nothing,
    Bytes(Cow<'a, [u8]>),
    /// Something that is no single text and no integer.
    Unusable,
}

fn find<'a>(answer: &'a Value, pointers: &[JsonPointer]) -> Finding<'a> {
    let values = pointers.iter().filter_map(|pointer| pointer.find_in(answer));
    values.map(read).find(|finding| !matches!(finding, Finding::Nothing)).unwrap_or(Finding::Nothing)
}

fn read(value: &Value) -> Finding<'_> {
    match value {
        Value::Null => Finding::Nothing,
        Value::String(text) if text.is_empty() => Finding::Nothing,
        Value::String(text) => Finding::Bytes(Cow::Borrowed(text.as_bytes())),
        // The digits as they were written: exact beyond 2^64. A fraction or an exponent is no id.
        Value::Number(number) => match integer(&number.to_string(), LeadingZeros::Refused) {
            Some(text) => Finding::Bytes(Cow::Owned(text.into_owned().into_bytes())),
            None => Finding::Unusable,
        },
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => Finding::Unusable,
    }
}

fn find_header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Finding<'a> {
    let mut lines = headers.get_all(name).into_iter();
    match (lines.next().map(HeaderValue::as_bytes), lines.next()) {
        (None | Some(b""), None) => Finding::Nothing,
        (Some(value), None) => Finding::Bytes(Cow::Borrowed(value)),
        (_, Some(_)) => Finding::Unusable,
    }
}

/// Whether an answer says by itself that the login failed: `false` (and nothing else) at `/success` or `/ok`.
#[must_use]
pub fn json_says_failure(answer: &Value) -> bool {
    ["success", "ok"].iter().any(|key| answer.get(key) == Some(&Value::Bool(false)))
}

/// Whether something truthy stands at one of the `unless` pointers: a second factor is due, say.
///
/// Truthy as in JavaScript: everything but `false`, `null`, a zero and the empty string. So an empty list counts as
/// truthy, which errs on the side of no session.
#[must_use]
pub fn is_unfinished(answer: &Value, unless: &[JsonPointer]) -> bool {
    unless.iter().filter_map(|pointer| pointer.find_in(answer)).any(|value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => !is_zero(&number.to_string()),
        Value::Bool(true) | Value::Array(_) | Value::Object(_) => true,
    })
}

#[derive(Clone, Copy, PartialEq)]
enum LeadingZeros {
    Dropped,
    Refused,
}

/// An exact decimal integer in its one spelling; `-0` is `0`.
fn integer(text: &str, zeros: LeadingZeros) -> Option<Cow<'_, str>> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_start_matches('0');
    if significant.is_empty() {
        return (zeros == LeadingZeros::Dropped || digits.len() == 1).then_some(Cow::Borrowed("0"));
    }
    if significant.len() == digits.len() {
        return Some(Cow::Borrowed(text));
    }
    (zeros == LeadingZeros::Dropped).then(|| Cow::Owned(format!("{sign}{significant}")))
}

/// Whether a JSON number is zero, however it is written.
fn is_zero(number: &str) -> bool {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    mantissa.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'))
}

/// 32 hexadecimal digits, with hyphens in the usual four places or none at all.
fn uuid(text: &str) -> Option<String> {
    let hyphens = [8, 13, 18, 23];
    let digits: String = match text.len() {
        32 => text.to_ascii_lowercase(),
        36 if hyphens.iter().all(|at| text.as_bytes().get(*at) == Some(&b'-')) => {
            text.bytes().filter(|byte| *byte != b'-').map(|byte| char::from(byte.to_ascii_lowercase())).collect()
        }
        _ => return None,
    };
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32];
    let parts: Option<Vec<&str>> = parts.into_iter().map(|part| digits.get(part)).collect();
    Some(parts?.join("-"))
}
