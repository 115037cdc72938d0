//! One JSON object on one line, for every reader: audit lines and access lines.
//!
//! What is written is ASCII alone. Everything outside space to `~` becomes `\uXXXX`: a line feed, ESC, DEL, U+2028 or
//! a byte that is no UTF-8 in a client's value can neither start a second line, nor steer a terminal, nor make the line
//! unreadable to a parser.

use std::io::Write as _;
use std::time::Duration;

/// Digits of the largest number.
const MOST_DIGITS: usize = 20;

/// A JSON object being written to a buffer. Keys are the program's own words and are not escaped.
#[derive(Debug)]
pub struct JsonLine<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> JsonLine<'a> {
    /// Opens an object at the end of `out`.
    #[must_use]
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Goes on with the object at the end of `out`, which has fields already and was not closed.
    #[must_use]
    pub const fn resume(out: &'a mut Vec<u8>) -> Self {
        Self { out, empty: false }
    }

    /// What was written from this place of the buffer on.
    #[must_use]
    pub fn written_since(&self, start: usize) -> &[u8] {
        self.out.get(start..).unwrap_or_default()
    }

    /// Closes the object and the line.
    pub fn close(self) {
        self.out.extend_from_slice(b"}\n");
    }

    /// A text.
    pub fn text(&mut self, key: &'static str, value: &str) {
        self.key(key);
        quoted(self.out, value);
    }

    /// A text, or `null`.
    pub fn text_or_null(&mut self, key: &'static str, value: Option<&str>) {
        match value {
            Some(value) => self.text(key, value),
            None => self.null(key),
        }
    }

    /// A whole number.
    pub fn number(&mut self, key: &'static str, value: u64) {
        self.key(key);
        decimal(self.out, value, 1);
    }

    /// A duration as milliseconds with three decimals.
    pub fn millis(&mut self, key: &'static str, value: Duration) {
        self.number(key, u64::try_from(value.as_millis()).unwrap_or(u64::MAX));
        self.out.push(b'.');
        decimal(self.out, u64::from(value.subsec_micros() % 1000), 3);
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// `null`.
    pub fn null(&mut self, key: &'static str) {
        self.key(key);
        self.out.extend_from_slice(b"null");
    }

    /// An object within.
    pub fn object(&mut self, key: &'static str, fill: impl FnOnce(&mut JsonLine<'_>)) {
        self.key(key);
        let mut inner = JsonLine::open(self.out);
        fill(&mut inner);
        self.out.push(b'}');
    }

    fn key(&mut self, key: &'static str) {
        if self.empty {
            self.out.push(b'"');
        } else {
            self.out.extend_from_slice(b",\"");
        }
        self.empty = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// A duration shown as milliseconds with three decimals.
#[derive(Clone, Copy, Debug)]
pub struct Millis(pub Duration);

impl std::fmt::Display for Millis {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{:03}", self.0.as_millis(), self.0.subsec_micros() % 1000)
    }
}

/// Appends `text` as a JSON string in ASCII.
pub fn quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    loop {
        let is_special = |byte| !PLAIN.get(usize::from(byte)).copied().unwrap_or(false);
        let plain = rest.bytes().position(is_special).unwrap_or(rest.len());
        let (run, from_special) = rest.split_at(plain);
        out.extend_from_slice(run.as_bytes());
        let mut characters = from_special.chars();
        match characters.next() {
            None => break,
            Some('"') => out.extend_from_slice(b"\\\""),
            Some('\\') => out.extend_from_slice(b"\\\\"),
            Some(other) => escape(out, other),
        }
        rest = characters.as_str();
    }
    out.push(b'"');
}

/// Appends one character as `\uXXXX`, or as two of them (a surrogate pair).
pub fn escape(out: &mut Vec<u8>, character: char) {
    let mut units = [0_u16; 2];
    for unit in character.encode_utf16(&mut units) {
        append(out, format_args!("\\u{unit:04x}"));
    }
}

/// Appends a number in at least so many digits. By hand, for each request's line has several, and formatting is made for
/// more than that.
fn decimal(out: &mut Vec<u8>, number: u64, least: usize) {
    let mut digits = [b'0'; MOST_DIGITS];
    let mut rest = number;
    let mut length = 0;
    for digit in digits.iter_mut().rev() {
        if rest == 0 && length >= least {
            break;
        }
        *digit += u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        length += 1;
    }
    out.extend_from_slice(digits.get(MOST_DIGITS - length..).unwrap_or_default());
}

/// Appends formatted text; writing to memory cannot fail.
pub fn append(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// What stands in a JSON string as it is.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        table[byte as usize] = byte != b'"' && byte != b'\\';
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_value_holds_it_is_one_ascii_line_that_reads_back() {
        for value in [
            "plain",
            "",
            "a\r\nforged: line",
            "\u{1b}[2J\u{7f}",
            "\u{2028}\u{2029}\u{85}",
            "quote \" backslash \\ slash /",
            "\0",
            "ä 漢 😀",
            "\u{feff}\u{202e}",
        ] {
            let mut out = Vec::new();
            let mut line = JsonLine::open(&mut out);
            line.text("value", value);
            line.close();
            let (last, body) = out.split_last().expect("not empty");
            assert_eq!(*last, b'\n');
            assert!(body.iter().all(|byte| (b' '..=b'~').contains(byte)), "{value:?}");
            let read: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            assert_eq!(read["value"], value);
        }
    }

    #[test]
    fn every_kind_of_value_stands_in_its_place() {
        let mut out = Vec::new();
        let mut line = JsonLine::open(&mut out);
        line.text_or_null("a", None);
        line.number("b", u64::MAX);
        line.millis("c", Duration::from_micros(12_034_005));
        line.millis("c", Duration::ZERO);
        line.flag("d", true);
        line.number("d", 0);
        line.object("e", |inner| inner.number("f", 1));
        line.object("g", |_| {});
        line.close();
        let expected = "{\"a\":null,\"b\":18446744073709551615,\"c\":12034.005,\"c\":0.000,\"d\":true,\"d\":0,\"e\":{\"f\":1},\"g\":{}}\n";
        assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
    }
}
