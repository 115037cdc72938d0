//! Paths that servers read in different ways, for routes whose app wants them as they came (`path = "lenient"`): object
//! keys with `%2F`, package names, `//`, Latin-1.
//!
//! Nobody knows which way the backend reads them, so each way is a path of its own, and the caller asks for the strictest
//! of the routes that they take. What no reading makes harmless is refused as on any route: dot segments however they are
//! split, control characters, overlong UTF-8.

use ::http::Uri;
use ::http::uri::PathAndQuery;

use super::target::{hex_digit, upper_hex};
use super::{Refusal, Target};

/// One way to read a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its segments, decoded. Where `//` is read as it stands, some are empty.
    pub segments: Vec<String>,
    /// Whether it ends in a slash.
    pub trailing_slash: bool,
}

/// A target that is read in several ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LenientTarget {
    /// For the backend: slashes, backslashes and escapes beyond ASCII as they came, everything else in its normal form.
    pub target: Target,
    /// The ways to read it: at least two, or one where nothing but bytes that are no UTF-8 asks for leniency.
    pub readings: Vec<Reading>,
}

impl LenientTarget {
    /// Reads a target's path; `None`: there is nothing in it that servers read in different ways.
    ///
    /// # Errors
    /// [`Refusal::BadPath`] for what is refused on every route.
    pub fn of_uri(uri: &Uri) -> Result<Option<Self>, Refusal> {
        let Some(whole) = uri.path_and_query() else { return Ok(None) };
        let path = whole.path();
        if !path.starts_with('/') || !(path.contains("//") || path.contains('%')) {
            return Ok(None);
        }
        let mut normal = String::with_capacity(whole.as_str().len());
        let mut segments = Vec::new();
        for segment in path.split('/').skip(1) {
            normal.push('/');
            let decoded = take_segment(segment, &mut normal)?;
            check(&decoded)?;
            segments.push(decoded);
        }
        let slashes = segments.iter().any(|segment| segment.iter().any(|byte| is_slash(*byte)));
        let empty = path.contains("//");
        if !slashes && !empty && segments.iter().all(|segment| std::str::from_utf8(segment).is_ok()) {
            return Ok(None);
        }
        if let Some(query) = whole.query() {
            normal.push('?');
            normal.push_str(query);
        }
        let target = PathAndQuery::try_from(normal)
            .map_err(|_| Refusal::BadPath("The path has a character that must be percent-encoded."))?;
        let mut readings: Vec<Reading> = Vec::new();
        for decode in [Decode::Marked, Decode::Dropped, Decode::Latin1] {
            for separators in [&b"/\\"[..], b"/", b"\\", b""] {
                for merges in [true, false] {
                    let reading = read(&segments, decode, separators, merges);
                    if !readings.contains(&reading) {
                        refuse_dots(&reading)?;
                        readings.push(reading);
                    }
                }
            }
        }
        Ok(Some(Self { target: Target::as_it_came(target), readings }))
    }
}

/// What becomes of bytes that are no UTF-8.
#[derive(Clone, Copy)]
enum Decode {
    /// U+FFFD, as most do.
    Marked,
    /// Nothing.
    Dropped,
    /// Every byte is a character, as in Latin-1: of those of valid UTF-8 no name that a route has is made.
    Latin1,
}

impl Decode {
    fn text(self, bytes: &[u8]) -> String {
        match self {
            Self::Marked => String::from_utf8_lossy(bytes).into_owned(),
            Self::Dropped => bytes.utf8_chunks().map(|chunk| chunk.valid()).collect(),
            Self::Latin1 => match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
            },
        }
    }
}

const fn is_slash(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

/// Reads decoded segments: an encoded slash or backslash separates or is a part, each by itself, for the one separates at
/// every WSGI server, and the other at none; empty segments are merged or stand.
fn read(segments: &[Vec<u8>], decode: Decode, separators: &[u8], merges: bool) -> Reading {
    let parts = segments.iter().flat_map(|segment| segment.split(|byte| separators.contains(byte)));
    let mut read: Vec<String> = parts.map(|part| decode.text(part)).collect();
    let trailing_slash = read.last().is_some_and(String::is_empty);
    if trailing_slash {
        read.pop();
    }
    if merges {
        read.retain(|segment| !segment.is_empty());
    }
    Reading { segments: read, trailing_slash }
}

/// No reading may have a dot segment, also where it becomes one by bytes that are dropped.
fn refuse_dots(reading: &Reading) -> Result<(), Refusal> {
    let parts = reading.segments.iter().flat_map(|segment| segment.split(['/', '\\']));
    let mut names = parts.map(|part| part.split(';').next().unwrap_or_default());
    if names.any(|name| matches!(name, "." | "..")) { Err(DOTS) } else { Ok(()) }
}

/// Appends a segment for the backend to `normal`, and answers its bytes.
fn take_segment(segment: &str, normal: &mut String) -> Result<Vec<u8>, Refusal> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if byte == b'\\' || byte == b'#' || !byte.is_ascii_graphic() {
                return Err(Refusal::BadPath("The path has a character that must be percent-encoded."));
            }
            normal.push(char::from(byte));
            decoded.push(byte);
            continue;
        }
        let (Some(first), Some(second)) = (bytes.next(), bytes.next()) else { return Err(BAD_ESCAPE) };
        let (Some(high), Some(low)) = (hex_digit(first), hex_digit(second)) else { return Err(BAD_ESCAPE) };
        let byte = high << 4 | low;
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => normal.push(char::from(byte)),
            // As it came.
            0x80.. | b'/' | b'\\' => normal.extend(['%', char::from(first), char::from(second)]),
            _ => normal.extend(['%', upper_hex(high), upper_hex(low)]),
        }
        decoded.push(byte);
    }
    Ok(decoded)
}

const BAD_ESCAPE: Refusal = Refusal::BadPath("A % in the path is not followed by two hexadecimal digits.");

fn check(segment: &[u8]) -> Result<(), Refusal> {
    match std::str::from_utf8(segment) {
        Ok(text) if text.chars().any(char::is_control) => return Err(CONTROL),
        Ok(_) => {}
        // Whoever reads Latin-1 sees control characters here; and whoever decodes UTF-8 without care, a dot or a slash.
        Err(_) if segment.iter().any(|byte| matches!(byte, 0..=0x1f | 0x7f..=0x9f)) => {
            return Err(if is_overlong(segment) { OVERLONG } else { CONTROL });
        }
        Err(_) if is_overlong(segment) => return Err(OVERLONG),
        Err(_) => {}
    }
    for part in segment.split(|byte| is_slash(*byte)) {
        let name = part.split(|byte| *byte == b';').next().unwrap_or_default();
        if matches!(name, b"." | b"..") {
            return Err(DOTS);
        }
    }
    Ok(())
}

const DOTS: Refusal = Refusal::BadPath("The path has a dot segment.");
const CONTROL: Refusal = Refusal::BadPath("The path has a control character.");
const OVERLONG: Refusal = Refusal::BadPath("The path has overlong UTF-8.");

/// Whether some character is written longer than it is (RFC 3629 §3), as `%c0%af` is a slash to who does not look.
fn is_overlong(segment: &[u8]) -> bool {
    segment.windows(2).any(|pair| {
        matches!(
            pair,
            [0xc0 | 0xc1, 0x80..=0xbf] | [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f] | [0xf8..=0xff, 0x80..=0xbf]
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lenient(path: &str) -> Result<Option<LenientTarget>, Refusal> {
        LenientTarget::of_uri(&path.parse().expect(path))
    }

    #[test]
    fn each_way_to_read_a_path_is_a_path_and_the_backend_gets_it_as_it_came() {
        for (path, sent, readings) in [
            ("/o/a%2Fb", "/o/a%2Fb", &["o,a,b", "o,a/b"][..]),
            ("/o/a%2fb?x=%2f//", "/o/a%2fb?x=%2f//", &["o,a,b", "o,a/b"]),
            ("/o/%61%2Fb%20c%e2%82%ac", "/o/a%2Fb%20c%e2%82%ac", &["o,a,b c\u{20ac}", "o,a/b c\u{20ac}"]),
            ("/o/a%5Cb", "/o/a%5Cb", &["o,a,b", "o,a\\b"]),
            ("/o//a", "/o//a", &["o,a", "o,,a"]),
            ("//o", "//o", &["o", ",o"]),
            ("/o//", "/o//", &["o/", "o,/"]),
            ("/o/a%2F", "/o/a%2F", &["o,a/", "o,a/"]),
            ("/o/%E9", "/o/%E9", &["o,\u{fffd}", "o/", "o,\u{e9}"]),
            ("/o/a%2Fb%5Cc", "/o/a%2Fb%5Cc", &["o,a,b,c", "o,a,b\\c", "o,a/b,c", "o,a/b\\c"]),
            ("/o/adm%FFin", "/o/adm%FFin", &["o,adm\u{fffd}in", "o,admin", "o,adm\u{ff}in"]),
            ("/o/%2F/a", "/o/%2F/a", &["o,a", "o,,,a", "o,/,a"]),
        ] {
            let read = lenient(path).unwrap_or_else(|refusal| panic!("{path}: {refusal:?}")).expect(path);
            assert_eq!(read.target.as_str(), sent);
            let shown = |reading: &Reading| {
                let slash = if reading.trailing_slash { "/" } else { "" };
                format!("{}{slash}", reading.segments.join(","))
            };
            let shown: Vec<String> = read.readings.iter().map(shown).collect();
            assert_eq!(shown, readings, "{path}");
        }
        for path in ["/", "/a/b", "/a%20b/", "/a%2Eb", "/%c3%a4", "/a?b=%2F//"] {
            assert_eq!(lenient(path), Ok(None), "{path}");
        }
    }

    #[test]
    fn what_no_reading_makes_harmless_is_refused() {
        for path in [
            "/o/a%2F..%2Fb",
            "/o/..%2Fb",
            "/o/%2e%2e%2fb",
            "/o/a%2F.%2Fb",
            "/o/a%5C..%5Cb",
            "/o//../b",
            "/o/..%3bx%2Fb",
            "/o/..;x%2Fb",
            "/o/a%2Fb%00",
            "/o/a%2Fb%0a",
            "/o/a%2Fb%7f",
            "/o/%E9%85",
            "/o/.%FF./b",
            "/o/.%E9",
            "/o/%FF.%FF.%2Fb",
            "/o/%85",
            "/o/%c0%af",
            "/o/%c0%ae%c0%ae%2Fb",
            "/o/%e0%80%af",
            "/o/%f0%80%80%af",
            "/o/a%2Fb%c2%85",
            "/o/a%2Fb%",
            "/o/a%2Fb%zz",
        ] {
            assert!(matches!(lenient(path), Err(Refusal::BadPath(_))), "{path}: {:?}", lenient(path));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_reading_has_a_dot_segment_and_what_is_sent_reads_the_same(
            path in "/([ab.;/]|%2[fFeE]|%5[cC]|%[89a-f][0-9a-f]|%25){0,12}",
        ) {
            if let Ok(Some(read)) = lenient(&path) {
                for reading in &read.readings {
                    let parts = reading.segments.iter().flat_map(|segment| segment.split(['/', '\\']));
                    for part in parts {
                        prop_assert!(!matches!(part.split(';').next(), Some("." | "..")));
                    }
                }
                prop_assert_eq!(lenient(read.target.as_str()), Ok(Some(read.clone())));
            }
        }

        #[test]
        fn what_needs_no_leniency_is_what_the_strict_rule_takes_as_it_is(path in "/([ab./;]|%[0-9a-fA-F]{2}){0,10}") {
            if path.contains('%') && lenient(&path) == Ok(None) {
                prop_assert!(Target::parse(&path).is_ok(), "{path}");
            }
        }
    }
}
