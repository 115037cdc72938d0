//! What a JSON answer says at a place: anything at all, or one value.

use serde_json::Value;

use crate::http::{JsonPointer, JsonPointerError};

/// A condition on an answer (`login.unless`): `/mfa_required`, something truthy there; `/status=otp_required`, this value
/// there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    pointer: JsonPointer,
    value: Option<Box<str>>,
}

impl Condition {
    /// Reads a condition. What follows the first `=` is the value.
    ///
    /// # Errors
    /// When what stands before it is no JSON pointer.
    pub fn parse(text: &str) -> Result<Self, JsonPointerError> {
        let (pointer, value) = match text.split_once('=') {
            Some((pointer, value)) => (pointer, Some(value.into())),
            None => (text, None),
        };
        Ok(Self { pointer: JsonPointer::parse(pointer)?, value })
    }

    /// Whether it holds. Truthy is as in JavaScript: everything but `false`, `null`, a zero and the empty string. So an
    /// empty list counts as truthy, which errs on the side of no session. A value is compared as it is written: a text
    /// letter by letter, a number digit by digit.
    #[must_use]
    pub fn holds_for(&self, answer: &Value) -> bool {
        let found = self.pointer.find_in(answer).unwrap_or(&Value::Null);
        match (&self.value, found) {
            (Some(wanted), Value::String(text)) => **wanted == *text.as_str(),
            (Some(wanted), Value::Number(_) | Value::Bool(_)) => **wanted == *found.to_string(),
            (Some(_), _) | (None, Value::Null | Value::Bool(false)) => false,
            (None, Value::String(text)) => !text.is_empty(),
            (None, Value::Number(number)) => !is_zero(&number.to_string()),
            (None, Value::Bool(true) | Value::Array(_) | Value::Object(_)) => true,
        }
    }
}

/// Whether a JSON number is zero, however it is written.
pub(super) fn is_zero(number: &str) -> bool {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    mantissa.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_asks_for_anything_truthy_or_for_one_value() {
        let answer =
            json!({"status": "otp_required", "step": 2, "mfa": true, "a=b": 1, "list": [], "none": null, "eq": "x=y"});
        for (condition, holds) in [
            ("/status=otp_required", true),
            ("/status=otp", false),
            ("/status=OTP_REQUIRED", false),
            ("/status=", false),
            ("/status", true),
            ("/step=2", true),
            ("/step=2.0", false),
            ("/mfa=true", true),
            ("/mfa=false", false),
            ("/eq=x=y", true),
            ("/list", true),
            ("/list=[]", false),
            ("/none", false),
            ("/none=null", false),
            ("/absent", false),
            ("/absent=", false),
        ] {
            assert_eq!(Condition::parse(condition).expect(condition).holds_for(&answer), holds, "{condition}");
        }
        assert_eq!(Condition::parse("status=x"), Err(JsonPointerError::NoSlash));
    }
}
