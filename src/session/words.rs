//! An operator's own words, for people.

/// The longest words of an operator about a tenant, in characters.
const LONGEST_WORDS: usize = 200;

/// A short text of an operator: one line of at most 200 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(Box<str>);

impl Words {
    /// Takes a text that came from outside. `None` when it is longer than 200 characters, or has control characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.chars().count() <= LONGEST_WORDS && !text.chars().any(char::is_control);
        fits.then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_one_short_line() {
        assert!(Words::parse("").is_some());
        assert!(Words::parse(&"ü".repeat(200)).is_some());
        assert_eq!(Words::parse(&"x".repeat(201)), None);
        assert_eq!(Words::parse("a\nb"), None);
    }
}
