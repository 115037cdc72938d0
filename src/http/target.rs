//! The request target, normalised to the one form that policy judges and the backend gets.
//!
//! 44 server builds were asked for `/admin/secret` under other spellings, and most of them answered: a
//! guard that matches one spelling and forwards another guards nothing. So the path is brought to one form first, and
//! where servers are known to disagree about the form it is refused.
//!
//! An escape is decoded once and never again: `%252e` stays `%252e` and its segment is the text `%2e`. That is safe
//! because policy and backend then see the same text. Both decode once (WSGI's PATH_INFO is decoded once), and a `%` is
//! never written out bare, so what is forwarded cannot turn into a dot segment or a slash by being decoded once.

use std::borrow::Cow;

use ::http::Uri;
use ::http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

use super::Refusal;
use super::escape::{escaped, is_plain};

/// A normalised origin-form target. Cheap to clone; it shares the request's own bytes where they were normal already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(PathAndQuery);

impl Target {
    /// Normalises a request's target. Absolute-form is accepted (its authority is for
    /// [`request_host`](super::request_host) to check); `*` and authority-form name no path and are refused.
    ///
    /// # Errors
    /// [`Refusal::BadPath`], or [`Refusal::BadRequest`] for a target of another form.
    pub fn of_uri(uri: &Uri) -> Result<Self, Refusal> {
        if uri.scheme().is_none() && uri.authority().is_some() {
            return Err(Refusal::BadRequest("The request target names no path."));
        }
        if let Some(scheme) = uri.scheme_str()
            && !matches!(scheme, "http" | "https")
        {
            return Err(Refusal::BadRequest("The request target is a URL of a scheme that is not served here."));
        }
        let whole = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        Ok(match normal_form(whole)? {
            None => Self(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))),
            Some(text) => Self(parse_normal(text)?),
        })
    }

    /// A target that was checked, and is not in the one normal form.
    pub(super) const fn as_it_came(target: PathAndQuery) -> Self {
        Self(target)
    }

    /// Normalises the path and query of an origin-form target.
    ///
    /// # Errors
    /// As [`of_uri`](Self::of_uri).
    pub fn parse(raw: &str) -> Result<Self, Refusal> {
        let text = normal_form(raw)?.unwrap_or_else(|| raw.to_owned());
        parse_normal(text).map(Self)
    }

    /// The path: unreserved characters bare, all other escapes upper-case, no empty segment but a last one.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// The segments as a router reads them: decoded, none empty. `/` has none, and `/a/` has the same as `/a`.
    pub fn segments(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let mut rest = self.path();
        std::iter::from_fn(move || {
            rest = rest.trim_start_matches('/');
            // One walk finds the end, and whether there is anything to decode: mostly there is not.
            let mut has_escape = false;
            let end = rest.bytes().position(|byte| {
                has_escape |= byte == b'%';
                byte == b'/'
            });
            let (part, others) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
            rest = others;
            // The lossy form loses nothing: a path that is not UTF-8 was refused.
            let decoded = || percent_decode_str(part).decode_utf8_lossy();
            (!part.is_empty()).then(|| if has_escape { decoded() } else { Cow::Borrowed(part) })
        })
    }

    /// The query without its `?`, byte for byte as it was sent, but that what no URI may hold is percent-encoded. It may
    /// be empty.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.0.query()
    }

    /// The whole target for the backend.
    #[must_use]
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.0
    }

    /// The whole target as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// The `http` crate's own idea of a target is narrower still; hyper would have refused such a request before.
fn parse_normal(text: String) -> Result<PathAndQuery, Refusal> {
    PathAndQuery::try_from(text)
        .map_err(|_| Refusal::BadRequest("The request target has a character that must be percent-encoded."))
}

/// Checks a target. `None` when it is normal already, else its normal form.
fn normal_form(raw: &str) -> Result<Option<String>, Refusal> {
    if !raw.starts_with('/') {
        return Err(Refusal::BadRequest("The request target is not a path that begins with a slash."));
    }
    let plain = plain_length(raw.as_bytes());
    let rest = raw.as_bytes().get(plain..).unwrap_or_default();
    if matches!(rest.first(), None | Some(b'?')) && rest.iter().all(|byte| is_plain(*byte)) {
        return Ok(None);
    }
    // Over HTTP/2 nobody has done it yet.
    let encoded = escaped(raw.as_bytes())?.and_then(|text| String::from_utf8(text).ok());
    let whole = encoded.as_deref().unwrap_or(raw);
    let end = memchr::memchr(b'?', whole.as_bytes());
    let (path, query) = end.and_then(|end| whole.split_at_checked(end)).unwrap_or((whole, ""));
    let mut normal = String::with_capacity(whole.len());
    let mut decoded = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        normal.push('/');
        decoded.clear();
        normalise_segment(segment, &mut normal, &mut decoded)?;
        check_decoded(&decoded)?;
    }
    if path.ends_with('/') {
        normal.push('/');
    }
    normal.push_str(query);
    Ok((normal != raw).then_some(normal))
}

/// The bytes that mean themselves in a path.
const PLAIN: [bool; 256] = {
    let (mut plain, mut byte) = ([false; 256], 0);
    while byte < 128 {
        let is_punctuation = matches!(byte, b'/' | b'.' | b'-' | b'_' | b'~' | b'@' | b':' | b'+' | b',' | b'=');
        plain[byte as usize] = byte.is_ascii_alphanumeric() || is_punctuation;
        byte += 1;
    }
    plain
};

/// How many bytes of a path are so plain that they need no second look: mostly all of it, which costs one walk and no
/// allocation.
fn plain_length(path: &[u8]) -> usize {
    let mut previous = 0;
    for (at, byte) in path.iter().enumerate() {
        // An empty segment or a dot that begins one needs the longer look; so do `;`, `%` and all that is not plain.
        if !PLAIN[usize::from(*byte)] || previous == b'/' && matches!(byte, b'/' | b'.') {
            return at;
        }
        previous = *byte;
    }
    path.len()
}

/// Appends one segment's normal form to `normal` and its decoded bytes to `decoded`.
fn normalise_segment(segment: &str, normal: &mut String, decoded: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if byte == b'\\' {
                return Err(Refusal::BadPath("The path has a backslash."));
            }
            if !byte.is_ascii_graphic() || byte == b'#' {
                return Err(Refusal::BadPath("The path has a character that must be percent-encoded."));
            }
            normal.push(char::from(byte));
            decoded.push(byte);
            continue;
        }
        let (high, low) = (bytes.next().and_then(hex_digit), bytes.next().and_then(hex_digit));
        let (Some(high), Some(low)) = (high, low) else {
            return Err(Refusal::BadPath("A % in the path is not followed by two hexadecimal digits."));
        };
        let byte = high << 4 | low;
        match byte {
            b'/' => return Err(Refusal::BadPath("The path has an encoded slash.")),
            b'\\' => return Err(Refusal::BadPath("The path has an encoded backslash.")),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => normal.push(char::from(byte)),
            _ => {
                normal.push('%');
                normal.push(upper_hex(high));
                normal.push(upper_hex(low));
            }
        }
        decoded.push(byte);
    }
    Ok(())
}

fn check_decoded(segment: &[u8]) -> Result<(), Refusal> {
    let text = std::str::from_utf8(segment).map_err(|_| Refusal::BadPath("The path is not UTF-8 when decoded."))?;
    // C1 controls too: U+0085 is a line end to some, and is stripped as white space.
    if text.chars().any(char::is_control) {
        return Err(Refusal::BadPath("The path has a control character."));
    }
    // Some servers cut path parameters off first, so that `..;x` is `..` to them.
    let name = text.split(';').next().unwrap_or_default();
    if matches!(name, "." | "..") {
        return Err(Refusal::BadPath("The path has a dot segment."));
    }
    Ok(())
}

pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

pub(super) fn upper_hex(digit: u8) -> char {
    char::from(if digit < 10 { b'0' + digit } else { b'A' + digit - 10 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_that_reach_admin_secret_are_one_path_or_refused() {
        let secret = Some("/admin/secret");
        for (row, raw, expected) in [
            ("plain", "/admin/secret", secret),
            ("an encoded letter", "/%61dmin/secret", secret),
            ("an encoded letter, upper-case hex", "/%61dmi%6E/secret", secret),
            ("an encoded slash", "/admin%2fsecret", None),
            ("an encoded slash, upper-case hex", "/admin%2Fsecret", None),
            ("a double slash", "//admin/secret", secret),
            ("many slashes", "///admin////secret", secret),
            ("a fragment", "/admin/secret#frag", None),
            ("no leading slash", "admin/secret", None),
            ("another scheme", "foo:/admin/secret", None),
            ("a trailing %0a", "/admin/secret%0a", None),
            ("a trailing raw x85", "/admin/secret\u{85}", None),
            ("a trailing encoded U+0085", "/admin/secret%c2%85", None),
            ("dot dot", "/pub/../admin/secret", None),
            ("dot", "/./admin/secret", None),
            ("encoded dot dot", "/pub/%2e%2e/admin/secret", None),
            ("half encoded dot dot", "/pub/.%2E/admin/secret", None),
            ("dot dot with a parameter", "/pub/..;/admin/secret", None),
            ("dot dot with a named parameter", "/pub/..;a=b/admin/secret", None),
            ("dot with a parameter", "/.;x/admin/secret", None),
            ("dot dot with an encoded semicolon", "/pub/..%3b/admin/secret", None),
            ("dot dot at the end", "/admin/secret/..", None),
            ("a backslash", "/admin\\secret", None),
            ("an encoded backslash", "/admin%5csecret", None),
            ("dot dot backslash", "/pub/..\\admin/secret", None),
            ("NUL", "/admin/secret%00", None),
            ("a raw control", "/admin\t/secret", None),
            ("an encoded delete", "/admin/secret%7f", None),
            ("a space", "/admin/secret HTTP/1.1", None),
            ("invalid UTF-8", "/admin/secret%ff", None),
            ("overlong slash", "/admin%c0%afsecret", None),
            ("overlong dot", "/%c0%ae%c0%ae/admin", None),
            ("half a surrogate", "/%ed%a0%80", None),
            ("a bad %", "/admin/secret%", None),
            ("a bad % with one digit", "/admin/secret%6", None),
            ("a bad % with other letters", "/admin/%zzsecret", None),
            ("a %u escape", "/admin%u002fsecret", None),
            ("empty", "", None),
            ("only a query", "?x", None),
            ("an asterisk", "*", None),
        ] {
            let target = Target::parse(raw);
            assert_eq!(target.as_ref().ok().map(Target::path), expected, "{row}: {raw}");
        }
    }

    #[test]
    fn what_is_left_stands_in_one_spelling() {
        for (raw, path, segments) in [
            ("/", "/", &[][..]),
            ("//", "/", &[]),
            ("/a", "/a", &["a"]),
            ("/a/", "/a/", &["a"]),
            ("/a//", "/a/", &["a"]),
            ("/a//b", "/a/b", &["a", "b"]),
            ("/%7euser/%2D%5f%2Ex", "/~user/-_.x", &["~user", "-_.x"]),
            ("/a%20b%c3%a4", "/a%20b%C3%A4", &["a b\u{e4}"]),
            ("/a%3fb%23c%25d", "/a%3Fb%23c%25d", &["a?b#c%d"]),
            // Decoded once: the segment is the text `%2e%2e`, to us as to the backend.
            ("/%252e%252e/x", "/%252e%252e/x", &["%2e%2e", "x"]),
            ("/%252Fx", "/%252Fx", &["%2Fx"]),
            ("/...", "/...", &["..."]),
            ("/.well-known/x", "/.well-known/x", &[".well-known", "x"]),
            ("/a..b/..c", "/a..b/..c", &["a..b", "..c"]),
            ("/a;..", "/a;..", &["a;.."]),
            ("/;a", "/;a", &[";a"]),
            ("/a+b&c=d,e@f:g!$'()*", "/a+b&c=d,e@f:g!$'()*", &["a+b&c=d,e@f:g!$'()*"]),
            ("/{id}|x", "/%7Bid%7D%7Cx", &["{id}|x"]),
            ("/\u{e4}\"<>^`", "/%C3%A4%22%3C%3E%5E%60", &["\u{e4}\"<>^`"]),
            ("/a\u{a0}", "/a%C2%A0", &["a\u{a0}"]),
        ] {
            let target = Target::parse(raw).unwrap_or_else(|refusal| panic!("{raw}: {refusal:?}"));
            assert_eq!(target.path(), path);
            assert_eq!(target.segments().collect::<Vec<_>>(), segments, "{raw}");
        }
    }

    #[test]
    fn the_query_passes_byte_for_byte() {
        for (raw, query) in [
            ("/a", None),
            ("/a?", Some("")),
            ("//a?b=//../%2f%zz;&c=%61", Some("b=//../%2f%zz;&c=%61")),
            ("/a?b=\\{\"c\"}&\u{e4}", Some("b=%5C%7B%22c%22%7D&%C3%A4")),
            ("/a?b?c", Some("b?c")),
        ] {
            let target = Target::parse(raw).unwrap_or_else(|refusal| panic!("{raw}: {refusal:?}"));
            assert_eq!(target.query(), query);
            assert_eq!(target.path(), "/a");
        }
        for raw in ["/a?b c", "/a?b\r\nX: 1", "/a?b\0", "/a?b#c"] {
            assert!(Target::parse(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn absolute_form_gives_its_path_and_forms_without_a_path_are_refused() {
        for (uri, path) in [
            ("/a//b", Some("/a/b")),
            ("//a/b", Some("/a/b")),
            ("//app.example.com/../b", None),
            ("http://app.example.com/a?b", Some("/a")),
            ("https://app.example.com", Some("/")),
            ("http://app.example.com?b", None),
            ("http://app.example.com/a/../b", None),
            ("ftp://app.example.com/a", None),
            ("app.example.com:443", None),
            ("app.example.com", None),
            ("*", None),
        ] {
            let parsed: Uri = uri.parse().expect(uri);
            assert_eq!(Target::of_uri(&parsed).ok().as_ref().map(Target::path), path, "{uri}");
        }
    }

    #[test]
    fn a_normal_path_is_shared_with_the_request_and_not_copied() {
        let uri: Uri = "/api/items/4711?x=1".parse().expect("a target");
        let target = Target::of_uri(&uri).expect("normal");
        assert_eq!(target.as_str().as_ptr(), uri.path_and_query().expect("origin-form").as_str().as_ptr());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn normalising_twice_changes_nothing(raw in "/([a./;%\\\\?#~ ]|%2[0-9a-fA-F]|%[0-9a-f]{2}|[!-~]){0,16}") {
            if let Ok(target) = Target::parse(&raw) {
                let again = Target::parse(target.as_str());
                prop_assert_eq!(again.as_ref(), Ok(&target));
                prop_assert!(target.segments().all(|segment| !segment.is_empty()
                    && segment != "." && segment != ".." && !segment.contains('/') && !segment.contains('\\')));
                let query = raw.split_once('?').map(|(_, query)| query.chars().map(|c| match c {
                    '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' => format!("%{:02X}", u32::from(c)),
                    _ => c.to_string(),
                }).collect::<String>());
                prop_assert_eq!(target.query().map(str::to_owned), query);
            }
        }

        #[test]
        fn segments_are_what_is_between_slashes_decoded(raw in "(/|[a-z.;]|%20|%c3%a4|%25){0,12}") {
            if let Ok(target) = Target::parse(&format!("/{raw}")) {
                let parts = target.path().split('/').filter(|part| !part.is_empty());
                let decoded = parts.map(|part| percent_decode_str(part).decode_utf8_lossy());
                prop_assert!(target.segments().eq(decoded));
            }
        }

        #[test]
        fn no_text_makes_it_panic(raw in any::<String>()) {
            let _ = Target::parse(&raw);
            let _ = Target::parse(&format!("/{raw}"));
        }
    }
}
