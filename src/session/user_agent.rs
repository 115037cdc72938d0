//! The client's program: a hash to notice a change by, and a few words by which people know their sessions.
//!
//! The words are for people alone. Nothing is ever decided by them.

use sha2::{Digest as _, Sha256};

/// The longest summary, in characters.
const LONGEST: usize = 48;
/// No more of a `User-Agent` is looked at for the summary.
const LOOKED_AT: usize = 512;

/// Browsers by the product token that gives them away; those that pass for another come first.
const BROWSERS: [(&str, &str); 8] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("OPR/", "Opera"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Version/", "Safari"),
];

/// Systems by a word in the comment.
const SYSTEMS: [(&str, &str); 7] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// What is kept of a `User-Agent`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAgent {
    /// The first 8 bytes of its SHA-256, 0 when there was none: enough to notice a change, too little to be worth
    /// stealing.
    pub hash: u64,
    /// A few words for people.
    pub summary: UserAgentSummary,
}

impl UserAgent {
    /// What is kept of a `User-Agent` value.
    #[must_use]
    pub fn of(value: Option<&[u8]>) -> Self {
        let Some(value) = value else { return Self::default() };
        let mut first = [0_u8; 8];
        first.copy_from_slice(&Sha256::digest(value)[..8]);
        Self { hash: u64::from_be_bytes(first), summary: UserAgentSummary::of(value) }
    }
}

/// A few words about a client's program, such as `Firefox/128 Windows`: at most 48 printable ASCII characters, none
/// when it did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserAgentSummary(Box<str>);

impl UserAgentSummary {
    fn of(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&value[..value.len().min(LOOKED_AT)]);
        let browser = BROWSERS.into_iter().find_map(|(token, name)| Some((name, major(text.split_once(token)?.1)?)));
        let words = match browser {
            Some((name, version)) => {
                let system = SYSTEMS.into_iter().find(|(word, _)| text.contains(word));
                format!("{name}/{version}{}", system.map_or(String::new(), |(_, system)| format!(" {system}")))
            }
            None => text.split_ascii_whitespace().next().unwrap_or_default().to_owned(),
        };
        Self(words.chars().filter(|character| is_printable(*character)).take(LONGEST).collect())
    }

    /// Reads what [`as_str`](Self::as_str) gave. `None` for what was never one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() <= LONGEST && text.chars().all(is_printable)).then(|| Self(text.into()))
    }

    /// The words.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn is_printable(character: char) -> bool {
    character.is_ascii_graphic() || character == ' '
}

/// The first number of a version.
fn major(version: &str) -> Option<&str> {
    let end = version.find(|character: char| !character.is_ascii_digit()).unwrap_or(version.len());
    (1..=4).contains(&end).then(|| &version[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn people_know_their_browsers_by_it() {
        for (value, summary) in [
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox/128 Windows"),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 \
                 Safari/605.1.15",
                "Safari/17 macOS",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 \
                 Safari/537.36 Edg/126.0.0.0",
                "Edge/126 Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile \
                 Safari/537.36",
                "Chrome/126 Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1",
                "Chrome/126 iPhone",
            ),
            ("curl/8.1.2", "curl/8.1.2"),
            ("python-requests/2.32.3", "python-requests/2.32.3"),
            ("", ""),
            ("Firefox/", "Firefox/"),
        ] {
            assert_eq!(UserAgent::of(Some(value.as_bytes())).summary.as_str(), summary, "{value}");
        }
        assert_eq!(UserAgent::of(None), UserAgent::default());
    }

    proptest! {
        #[test]
        fn whatever_a_client_says_is_short_printable_and_survives_the_store(value in any::<Vec<u8>>()) {
            let summary = UserAgent::of(Some(&value)).summary;
            prop_assert!(summary.as_str().len() <= LONGEST);
            prop_assert_eq!(UserAgentSummary::parse(summary.as_str()), Some(summary.clone()));
        }
    }

    #[test]
    fn what_was_never_a_summary_is_none() {
        for text in ["a\nb", "ä", &"x".repeat(49)] {
            assert_eq!(UserAgentSummary::parse(text), None, "{text:?}");
        }
    }
}
