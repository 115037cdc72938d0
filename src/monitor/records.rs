//! Records of an export, counted while its answer streams by: nothing of it is kept.

use memchr::memchr_iter;

use super::members::MemberCounter;

/// How the records of an answer are counted (`monitor.exports.routes.count`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountBy {
    /// A header of the answer says it.
    Header(http::HeaderName),
    /// `Content-Range` says it, in a unit that is not bytes.
    ContentRange,
    /// Lines that are not empty.
    Lines,
    /// The members of what the JSON has at this place: the parts of a pointer, none for the whole.
    Pointer(Vec<String>),
    /// One for as many bytes, as far as these go.
    Bytes(u64),
    /// Each answer is one.
    Each,
}

impl CountBy {
    /// Whether it reads what the answer holds, which must not be compressed then.
    #[must_use]
    pub const fn reads(&self) -> bool {
        matches!(self, Self::Lines | Self::Pointer(_))
    }

    /// What counts the records of an answer as it streams; `None` where its head says it all.
    #[must_use]
    pub fn counter(&self) -> Option<RecordCounter> {
        Some(match self {
            Self::Header(_) | Self::ContentRange | Self::Each => return None,
            Self::Lines => RecordCounter::Lines { lines: 0, is_open: false },
            Self::Pointer(parts) => RecordCounter::Members(Box::new(MemberCounter::at(parts))),
            Self::Bytes(each) => RecordCounter::Bytes { each: (*each).max(1), bytes: 0 },
        })
    }
}

/// Counts what streams by.
#[derive(Debug)]
pub enum RecordCounter {
    /// Lines.
    Lines {
        /// Those that have ended.
        lines: u64,
        /// Whether there is something in one that has not.
        is_open: bool,
    },
    /// Members of a JSON value.
    Members(Box<MemberCounter>),
    /// Bytes.
    Bytes {
        /// How many are one record.
        each: u64,
        /// How many there were.
        bytes: u64,
    },
}

impl RecordCounter {
    /// So much more of it.
    pub fn take(&mut self, piece: &[u8]) {
        match self {
            Self::Lines { lines, is_open } => {
                let mut from = 0;
                for at in memchr_iter(b'\n', piece) {
                    let line = piece.get(from..at).unwrap_or_default();
                    *lines += u64::from(*is_open || has_text(line));
                    (*is_open, from) = (false, at + 1);
                }
                *is_open |= has_text(piece.get(from..).unwrap_or_default());
            }
            Self::Members(members) => members.take(piece),
            Self::Bytes { bytes, .. } => *bytes += piece.len() as u64,
        }
    }

    /// How many records there were until now.
    #[must_use]
    pub fn records(&self) -> u64 {
        match self {
            Self::Lines { lines, is_open } => lines + u64::from(*is_open),
            Self::Members(members) => members.members(),
            Self::Bytes { each, bytes } => bytes.div_ceil(*each),
        }
    }
}

fn has_text(line: &[u8]) -> bool {
    line.iter().any(|byte| *byte != b'\r')
}

/// How many records a `Content-Range` says, in whatever unit but bytes: `items 0-24/319` are 25.
#[must_use]
pub fn in_content_range(value: &[u8]) -> Option<u64> {
    let (unit, range) = std::str::from_utf8(value).ok()?.trim().split_once(' ')?;
    if unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (range, _) = range.split_once('/')?;
    if range == "*" {
        // There was nothing to send.
        return Some(0);
    }
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first.as_bytes())?, number(last.as_bytes())?);
    last.checked_sub(first)?.checked_add(1)
}

/// How many records a header says.
#[must_use]
pub fn number(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    let plain = (1..=20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counted(by: &CountBy, text: &str) -> u64 {
        let mut counter = by.counter().expect("it reads");
        counter.take(text.as_bytes());
        counter.records()
    }

    #[test]
    fn lines_count_that_are_not_empty_whether_the_last_one_ends_or_not() {
        for (text, lines) in [
            ("", 0),
            ("\n\r\n", 0),
            ("a", 1),
            ("a\n", 1),
            ("a\nb", 2),
            ("a\r\n\r\nb\r\n", 2),
            ("\r\r\n", 0),
            ("a,b\n1,2\n3,4\n", 3),
        ] {
            assert_eq!(counted(&CountBy::Lines, text), lines, "{text:?}");
        }
    }

    #[test]
    fn bytes_count_as_far_as_they_go() {
        for (length, records) in [(0, 0), (1, 1), (4096, 1), (4097, 2)] {
            assert_eq!(counted(&CountBy::Bytes(4096), &"x".repeat(length)), records, "{length}");
        }
    }

    #[test]
    fn a_content_range_of_records_says_how_many_and_one_of_bytes_does_not() {
        for (text, records) in [
            ("items 0-24/319", Some(25)),
            ("items 0-0/*", Some(1)),
            ("rows */0", Some(0)),
            ("bytes 0-499/1234", None),
            ("items 5-3/9", None),
            ("items", None),
            ("items +1-+3/9", None),
            ("items 0-18446744073709551615/9", None),
        ] {
            assert_eq!(in_content_range(text.as_bytes()), records, "{text}");
        }
        assert_eq!((number(b" 17 "), number(b"-1"), number(b"1e3"), number(b"")), (Some(17), None, None, None));
    }

    proptest! {
        #[test]
        fn it_is_the_same_however_the_answer_comes_in_pieces(text in "[ab\r\n]{0,60}", cuts: Vec<prop::sample::Index>) {
            let mut counter = CountBy::Lines.counter().expect("it reads");
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            places.extend([0, text.len()]);
            places.sort_unstable();
            for pair in places.windows(2) {
                counter.take(&text.as_bytes()[pair[0]..pair[1]]);
            }
            let lines = text.lines().filter(|line| has_text(line.as_bytes())).count() as u64;
            // A carriage return of its own may stand anywhere; only before an end it is part of that.
            prop_assert!(counter.records() >= lines);
            prop_assert_eq!(counter.records(), counted(&CountBy::Lines, &text));
        }
    }
}
