//! How identity values are spelt: one tenant, one spelling, whether a login, an event or an operator names it.
//!
//! A value is never repaired into a valid one: what could be misread in a header is refused.

use std::borrow::Cow;

use serde_json::Value;

use crate::session::{IdentityValueError, Role, TenantId, UserId};

#[cfg(test)]
mod tests;

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
        match Finding::of(value) {
            Finding::Bytes(raw) => self.named_tenant(&raw).ok(),
            Finding::Nothing | Finding::Unusable => None,
        }
    }

    /// The user that a value in a JSON answer names. `None` when it names none, or one that cannot be.
    #[must_use]
    pub fn user_of(&self, value: &Value) -> Option<UserId> {
        match Finding::of(value) {
            Finding::Bytes(raw) => self.canonical_user(&raw).ok(),
            Finding::Nothing | Finding::Unusable => None,
        }
    }

    /// The tenant that a login names, or why it names none.
    ///
    /// # Errors
    /// A text for the log, without the value.
    pub fn named_tenant(&self, raw: &[u8]) -> Result<TenantId, &'static str> {
        std::str::from_utf8(raw)
            .ok()
            .and_then(|tenant| self.canonical_tenant(tenant).ok())
            .ok_or("the tenant is not 1 to 128 visible ASCII characters without comma, or not of the configured format")
    }

    /// The role that a login names, or why it cannot be one.
    ///
    /// # Errors
    /// A text for the log, without the value.
    pub fn named_role(&self, role: &Finding<'_>) -> Result<Option<Role>, &'static str> {
        match role {
            Finding::Nothing => Ok(None),
            Finding::Unusable => Err("the role is neither one string nor an integer"),
            Finding::Bytes(role) => self
                .canonical_role(role)
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

/// A value that somebody is named by, before it is spelt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding<'a> {
    /// Absent, null or empty.
    Nothing,
    /// A text, or the digits of an integer.
    Bytes(Cow<'a, [u8]>),
    /// Something that is no single text and no integer.
    Unusable,
}

impl<'a> Finding<'a> {
    /// What a JSON value names.
    #[must_use]
    pub fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Nothing,
            Value::String(text) if text.is_empty() => Self::Nothing,
            // That is what a decoder puts for what it could not read: two names could become one.
            Value::String(text) if text.contains(char::REPLACEMENT_CHARACTER) => Self::Unusable,
            Value::String(text) => Self::Bytes(Cow::Borrowed(text.as_bytes())),
            // The digits as they were written: exact beyond 2^64. A fraction or an exponent is no id; 42.0 is how a column
            // with gaps writes 42.
            Value::Number(number) => match integer(whole(&number.to_string()), LeadingZeros::Refused) {
                Some(text) => Self::Bytes(Cow::Owned(text.into_owned().into_bytes())),
                None => Self::Unusable,
            },
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => Self::Unusable,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum LeadingZeros {
    Dropped,
    Refused,
}

/// A number without a fraction of zeros.
fn whole(number: &str) -> &str {
    match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0') => whole,
        _ => number,
    }
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
