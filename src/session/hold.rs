//! A hold: the session lives, and may not be used until its user logs in again or an operator lets it go on.
//!
//! It is said of the whole line of a session, under the id of the first of its tokens. Of several words the last counts,
//! which is why a release is kept as well: what was said before it is not said again by who hears of it late.

use super::{EndReason, StoreTime, Words};

/// That a session is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Since when, by the store's time.
    pub since: StoreTime,
    /// Why: what was found, or an operator's words.
    pub why: Words,
}

/// What is said of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldWord {
    /// It is held, and why.
    Hold(Words),
    /// It may be used again.
    Release,
}

impl HoldWord {
    /// The text that is kept: `+` and why, or `-`.
    #[must_use]
    pub fn encode(&self) -> String {
        match self {
            Self::Hold(why) => format!("+{}", why.as_str()),
            Self::Release => String::from("-"),
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        match text.split_at_checked(1)? {
            ("+", why) => Words::parse(why).map(Self::Hold),
            ("-", "") => Some(Self::Release),
            _ => None,
        }
    }

    /// Whether it holds.
    #[must_use]
    pub const fn holds(&self) -> bool {
        matches!(self, Self::Hold(_))
    }
}

/// The last word about a session, and when it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastWord {
    /// When, by the store's time; each word's is later than that of the one before.
    pub at: StoreTime,
    /// What.
    pub word: HoldWord,
}

impl LastWord {
    /// The last word once this is said at `now`. `None` where it says nothing new: what is held stays held for the reason
    /// that it was first held for.
    #[must_use]
    pub fn after(before: Option<&Self>, word: HoldWord, now: StoreTime) -> Option<Self> {
        if word.holds() == before.is_some_and(|before| before.word.holds()) {
            return None;
        }
        let later = before.map_or(0, |before| before.at.as_micros().saturating_add(1));
        Some(Self { at: StoreTime::from_micros(now.as_micros().max(later)), word })
    }

    /// The hold, if it is one.
    #[must_use]
    pub fn hold(self) -> Option<Hold> {
        match self.word {
            HoldWord::Hold(why) => Some(Hold { since: self.at, why }),
            HoldWord::Release => None,
        }
    }

    /// The text that is kept: the time (µs), a space, and the word.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{} {}", self.at.as_micros(), self.word.encode())
    }

    /// Reads what [`encode`](Self::encode) wrote. `None` for anything else: nobody knows what that said.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        let (at, word) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        let digits = !at.is_empty() && at.bytes().all(|byte| byte.is_ascii_digit());
        let at = at.parse().ok().filter(|_| digits).map(StoreTime::from_micros)?;
        Some(Self { at, word: HoldWord::decode(word)? })
    }
}

/// Why a session may not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// It is over.
    Ended(EndReason),
    /// It is held.
    Held,
}

impl Barred {
    /// Whether time did it, and nobody.
    #[must_use]
    pub const fn is_by_time(self) -> bool {
        matches!(self, Self::Ended(reason) if reason.is_by_time())
    }

    /// Its name in audit lines and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended(reason) => reason.as_str(),
            Self::Held => "held",
        }
    }
}

impl From<EndReason> for Barred {
    fn from(reason: EndReason) -> Self {
        Self::Ended(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(why: &str) -> HoldWord {
        HoldWord::Hold(Words::parse(why).expect("one line"))
    }

    fn at(micros: u64) -> StoreTime {
        StoreTime::from_micros(micros)
    }

    #[test]
    fn a_word_survives_the_store_and_garbage_is_none() {
        for word in [hold("IMPOSSIBLE_TRAVEL"), hold(""), hold("- a laptop, lost"), HoldWord::Release] {
            let last = LastWord { at: at(17), word };
            assert_eq!(LastWord::decode(last.encode().as_bytes()), Some(last));
        }
        for garbage in ["", "17", "17 ", "17 x", "17 -x", " +x", "-1 -", "+1 -", "x -", "17 +a\nb"] {
            assert_eq!(LastWord::decode(garbage.as_bytes()), None, "{garbage:?}");
        }
    }

    #[test]
    fn of_several_words_the_last_counts_and_one_that_says_nothing_new_is_none() {
        assert_eq!(LastWord::after(None, HoldWord::Release, at(5)), None, "it was not held");
        let held = LastWord::after(None, hold("a"), at(5)).expect("new");
        assert_eq!(LastWord::after(Some(&held), hold("b"), at(6)), None, "it is held already");
        let released = LastWord::after(Some(&held), HoldWord::Release, at(6)).expect("new");
        assert_eq!(LastWord::after(Some(&released), HoldWord::Release, at(7)), None);
        let again = LastWord::after(Some(&released), hold("b"), at(3)).expect("new");
        assert_eq!(again.at, at(7), "later than the word before, whatever the clock says");
        assert_eq!(again.hold().map(|hold| hold.since), Some(at(7)));
        assert_eq!(released.hold(), None);
    }
}
