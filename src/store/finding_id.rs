//! What a finding is called.

use std::fmt;
use std::str::FromStr;

/// A text that is no cursor, or no name of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A finding's name: when it was found, by the store's time in ms, and which of that moment's it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindingId {
    /// When, in ms.
    pub millis: u64,
    /// Which of that moment's.
    pub count: u64,
}

impl fmt::Display for FindingId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.millis, self.count)
    }
}

impl FromStr for FindingId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (millis, count) = text.split_once('-').ok_or(Malformed)?;
        let number = |text: &str| {
            let digits = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or(Malformed)
        };
        Ok(Self { millis: number(millis)?, count: number(count)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_nothing_else_does() {
        let id = FindingId { millis: 1_700_000_000_000, count: 3 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for garbage in ["", "-", "1", "1-", "+1-0", "1-0-0", "1-99999999999999999999", "AAAA"] {
            assert_eq!(garbage.parse::<FindingId>(), Err(Malformed), "{garbage}");
        }
    }
}
