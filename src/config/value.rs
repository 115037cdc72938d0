//! Small values: durations, sizes, `"off"`, choices, and `${NAME}` from the environment.
//!
//! Pure: text in, value or message out. A message continues `key: `, says what is wrong and what would be right.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// A value, or what is wrong with the text.
pub(super) type Parsed<T> = Result<T, String>;

/// Texts are quoted up to this many characters.
const LONGEST_QUOTE: usize = 60;

/// `text` in quotes, control characters escaped, cut when long: fit for one line of a terminal.
pub(super) fn quoted(text: &str) -> String {
    let mut shown = String::from("\"");
    for c in text.chars().take(LONGEST_QUOTE) {
        if c == '"' || c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown.push_str(if text.chars().nth(LONGEST_QUOTE).is_some() { "…\"" } else { "\"" });
    shown
}

/// The known word that `text` was perhaps meant to be.
pub(super) fn did_you_mean<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(text, word), word))
        .filter(|(distance, word)| *distance <= (word.len().max(text.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

const UNITS: [(&str, u64); 6] =
    [("y", 31_536_000_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A duration as in `"500ms"`, `"30m"` or `"1h30m"`: whole numbers with units, the larger unit first.
pub(crate) fn duration(text: &str) -> Parsed<Duration> {
    parse_duration(text).ok_or_else(|| {
        format!("{} is not a duration; write one as \"500ms\", \"30s\", \"1h30m\" or \"7d\"", quoted(text))
    })
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_number(rest)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        // The iterator moves on, so a smaller unit before a larger one, or one twice, is not found.
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        millis = millis.checked_add(number.checked_mul(*factor)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

/// A duration as it would be written in the file.
pub(crate) fn show_duration(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    let mut shown = String::new();
    for (unit, factor) in UNITS {
        let factor = u128::from(factor);
        // Years stand alone: 400 days are 400 days.
        if unit == "y" && !millis.is_multiple_of(factor) {
            continue;
        }
        let count = millis / factor;
        millis %= factor;
        if count > 0 {
            // Writing to a String cannot fail.
            let _ = write!(shown, "{count}{unit}");
        }
    }
    if shown.is_empty() { String::from("0s") } else { shown }
}

/// A duration within bounds.
pub(super) fn duration_within(bounds: RangeInclusive<Duration>) -> impl Fn(&String) -> Parsed<Duration> {
    move |text| {
        let value = duration(text)?;
        if bounds.contains(&value) {
            return Ok(value);
        }
        let (least, most) = (show_duration(*bounds.start()), show_duration(*bounds.end()));
        Err(format!("{} is out of bounds; choose from \"{least}\" to \"{most}\"", quoted(text)))
    }
}

const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// A size in bytes as in `"16MiB"`, `"64KiB"` or `"10MB"`.
pub(super) fn size(text: &str) -> Parsed<u64> {
    split_number(text)
        .and_then(|(number, unit)| {
            let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit)?;
            number.checked_mul(*factor)
        })
        .ok_or_else(|| {
            format!("{} is not a size; write one as \"512B\", \"64KiB\", \"16MiB\" or \"1GiB\"", quoted(text))
        })
}

fn show_size(bytes: u64) -> String {
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .map_or_else(|| format!("{bytes}B"), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

/// A size within bounds.
pub(super) fn size_within(bounds: RangeInclusive<u64>) -> impl Fn(&String) -> Parsed<u64> {
    move |text| {
        let value = size(text)?;
        if bounds.contains(&value) {
            return Ok(value);
        }
        let (least, most) = (show_size(*bounds.start()), show_size(*bounds.end()));
        Err(format!("{} is out of bounds; choose from \"{least}\" to \"{most}\"", quoted(text)))
    }
}

/// A size of something that is held in memory, within bounds.
pub(super) fn memory_within(bounds: RangeInclusive<u64>) -> impl Fn(&String) -> Parsed<usize> {
    let parse = size_within(bounds);
    move |text| usize::try_from(parse(text)?).map_err(|_| String::from("is more than this machine can address"))
}

/// A whole number within bounds.
pub(super) fn count_within<T: TryFrom<u64>>(bounds: RangeInclusive<u64>) -> impl Fn(&u64) -> Parsed<T> {
    move |value| {
        let within = bounds.contains(value).then(|| T::try_from(*value).ok()).flatten();
        within.ok_or_else(|| format!("{value} is out of bounds; choose from {} to {}", bounds.start(), bounds.end()))
    }
}

/// `None` for `"off"`, else what `parse` makes of the text.
pub(super) fn or_off<T>(parse: impl Fn(&String) -> Parsed<T>) -> impl Fn(&String) -> Parsed<Option<T>> {
    move |text| if text == "off" { Ok(None) } else { parse(text).map(Some) }
}

/// One of a few words.
pub(super) fn choice<T: Clone>(words: &[(&'static str, T)]) -> impl Fn(&String) -> Parsed<T> {
    move |text| {
        words.iter().find(|(word, _)| word == text).map(|(_, value)| value.clone()).ok_or_else(|| {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            format!("{} is not known; choose one of {}", quoted(text), known.join(", "))
        })
    }
}

/// A header's name.
pub(super) fn header_name(text: &str) -> Parsed<HeaderName> {
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| format!("{} is not a header name; use letters, digits and `-`", quoted(text)))
}

/// A header's value: visible ASCII, spaces inside allowed.
pub(super) fn header_value(text: &str) -> Parsed<HeaderValue> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    HeaderValue::from_str(text)
        .ok()
        .filter(|_| plain && text.trim() == text && text.len() <= 1024)
        .ok_or_else(|| format!("{} is not a header value; use 1 to 1024 visible ASCII characters", quoted(text)))
}

/// `text` with each `${NAME}` replaced from the environment; `$${` stands for a literal `${`.
pub(super) fn expand(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Parsed<String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(literal) = before.strip_suffix('$') {
            expanded.push_str(literal);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        expanded.push_str(before);
        let (name, after) = after
            .split_once('}')
            .filter(|(name, _)| is_variable(name))
            .ok_or("has a `${` that no variable's name and `}` follow; write `$${` for a literal `${`")?;
        let value = environment(name).ok_or_else(|| {
            // Somebody may have put a secret between the braces: only what is plainly a name is repeated.
            let shown = if is_plainly_a_name(name) { format!(" ({name})") } else { String::new() };
            format!("names an environment variable that is not set{shown}; set it, or write `$${{` for a literal `${{`")
        })?;
        expanded.push_str(&value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn is_variable(name: &str) -> bool {
    name.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether it is a name as people give variables: short words of capitals and digits. Secrets have longer ones.
fn is_plainly_a_name(name: &str) -> bool {
    let is_word =
        |word: &str| word.len() <= 12 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    name.len() <= 64 && name.split('_').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_is_not_set_is_named_where_its_name_can_be_no_secret() {
        let said = |name: &str| expand(&format!("${{{name}}}"), &|_| None).expect_err("not set");
        for name in ["REDIS_PASSWORD", "E2E_NOT_SET", "TOKEN"] {
            assert!(said(name).contains(name), "{name}");
        }
        for secret in ["JBSWY3DPEHPK3PXP", "hunter2", "q2FTd5Zk", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"] {
            assert!(!said(secret).contains(secret), "{secret}");
        }
    }

    #[test]
    fn durations_are_numbers_with_units_the_larger_first() {
        for (text, millis) in [
            ("500ms", 500),
            ("0s", 0),
            ("30s", 30_000),
            ("30m", 1_800_000),
            ("8h", 28_800_000),
            ("7d", 604_800_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("400d", 34_560_000_000),
            ("1y", 31_536_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(duration(&show_duration(Duration::from_millis(millis))), Ok(Duration::from_millis(millis)));
        }
        for text in [
            "",
            "30",
            "m",
            "-1s",
            "1.5h",
            "30 m",
            " 30m",
            "30M",
            "1m1h",
            "1s1s",
            "1w",
            "s30",
            "99999999999999999999s",
            "9999999999999999d",
            "3٣s",
            "é",
            "1é",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_binary_or_decimal_and_never_without_a_unit() {
        for (text, bytes) in [
            ("512B", 512),
            ("64KiB", 65_536),
            ("16MiB", 16_777_216),
            ("1GiB", 1 << 30),
            ("10MB", 10_000_000),
            ("0B", 0),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "16", "16 MiB", "16mib", "-1B", "1.5MiB", "99999999999999999999B", "99999999999999999TiB"] {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn variables_are_replaced_once_and_two_dollars_stand_for_one() {
        let environment = |name: &str| match name {
            "A" => Some(String::from("one")),
            "NESTED" => Some(String::from("${A}")),
            _ => None,
        };
        for (text, expanded) in [
            ("plain $ {x} $A", "plain $ {x} $A"),
            ("${A}", "one"),
            ("x${A}y${A}", "xoneyone"),
            ("${NESTED}", "${A}"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
        ] {
            assert_eq!(expand(text, &environment).as_deref(), Ok(expanded), "{text}");
        }
        for text in ["${B}", "${", "${}", "${A", "${1}", "${A B}"] {
            assert!(expand(text, &environment).is_err(), "{text}");
        }
    }

    #[test]
    fn a_quoted_text_is_one_short_line() {
        assert_eq!(quoted("a\r\n\u{1b}[31m\"b"), "\"a\\r\\n\\u{1b}[31m\\\"b\"");
        assert!(quoted(&"x".repeat(5000)).chars().count() < 70);
    }

    #[test]
    fn a_near_miss_is_guessed_and_a_far_one_is_not() {
        let known = ["idle", "absolute", "remember"];
        assert_eq!(did_you_mean("idel", known), Some("idle"));
        assert_eq!(did_you_mean("absolut", known), Some("absolute"));
        assert_eq!(did_you_mean("zebra", known), None);
    }
}
