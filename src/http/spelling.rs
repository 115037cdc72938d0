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

    /// The users that a value in a JSON answer [may mean](Self::users_meant); none when it names none, or one that cannot
    /// be.
    #[must_use]
    pub fn users_of(&self, value: &Value) -> Vec<UserId> {
        match Finding::of(value) {
            Finding::Bytes(raw) => self.users_meant(&raw),
            Finding::Nothing | Finding::Unusable => Vec::new(),
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

    /// Every user that a backend may mean by this: the one of exactly this spelling, and those that it is read as a number
    /// or as a UUID. Apps convert what stands in their paths, and `007`, `+7` and ` 7` are 7 to Python's `int()`: whoever
    /// was thrown out must not stay because of a spelling.
    #[must_use]
    pub fn users_meant(&self, raw: &[u8]) -> Vec<UserId> {
        let mut users: Vec<UserId> = self.canonical_user(raw).into_iter().collect();
        let text = std::str::from_utf8(raw).unwrap_or_default();
        for reading in number_in(text).into_iter().chain(uuid(text.trim())) {
            match UserId::parse(&reading) {
                Ok(user) if !users.contains(&user) => users.push(user),
                _ => {}
            }
        }
        users
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

/// What Python's `int()` reads in a text: with white space around, a sign, underscores between digits, digits of any script.
fn number_in(text: &str) -> Option<String> {
    let text = text.trim();
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) if text.starts_with('-') => ("-", digits),
        Some(digits) => ("", digits),
        None => ("", text),
    };
    if digits.len() > LONGEST_NUMBER || digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let digits: Option<String> = digits.chars().filter(|digit| *digit != '_').map(digit).collect();
    integer(&format!("{sign}{}", digits?), LeadingZeros::Dropped).map(|number| match &*number {
        "-0" => String::from("0"),
        number => number.to_owned(),
    })
}

/// The longest number that is read in a text, in bytes.
const LONGEST_NUMBER: usize = 512;

/// A decimal digit of any script, in ASCII.
fn digit(character: char) -> Option<char> {
    if character.is_ascii_digit() {
        return Some(character);
    }
    let point = u32::from(character);
    let zero = ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&point))?;
    char::from_digit(point - zero, 10)
}

/// The zeros of all scripts, each with its nine digits behind it (Unicode 16, general category Nd).
const ZEROS: [u32; 75] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
    0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0,
    0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x10d40, 0x11066, 0x110f0, 0x11136, 0x111d0,
    0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x116d0, 0x116da, 0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50,
    0x11d50, 0x11da0, 0x11f50, 0x16130, 0x16a60, 0x16ac0, 0x16b50, 0x16d70, 0x1ccf0, 0x1d7ce, 0x1d7d8, 0x1d7e2,
    0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0, 0x1e5f1, 0x1e950, 0x1fbf0,
];

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
