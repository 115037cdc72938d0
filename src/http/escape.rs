//! Characters that no URI may hold and clients send all the same: percent-encoded, as browsers do it, before anybody
//! else reads the target.
//!
//! curl, urllib and Java's HttpURLConnection send `"`, `<`, `>`, `^`, a backtick, braces, `|` and bytes of UTF-8 as they
//! stand, and most servers take them. What servers disagree about is not encoded here but refused by whoever looks at the
//! path: a backslash, a control character. It must never touch an escape that is there already.

use super::Refusal;

/// What is done with a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It stays.
    Plain,
    /// It stays in a path, for [`Target`](super::Target) to refuse, and is encoded in a query.
    Backslash,
    /// It is encoded.
    Odd,
    /// The same; in a path the bytes must be UTF-8.
    NotAscii,
    /// White space, a control character, `#`.
    Never,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::NotAscii; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        classes[byte as usize] = match byte {
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => Class::Odd,
            b'\\' => Class::Backslash,
            b'#' => Class::Never,
            _ if byte.is_ascii_graphic() => Class::Plain,
            _ => Class::Never,
        };
        byte += 1;
    }
    classes
};

fn class(byte: u8) -> Class {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(Class::Never)
}

/// Whether the byte means itself wherever it stands in a target.
pub(super) fn is_plain(byte: u8) -> bool {
    class(byte) == Class::Plain
}

/// A request target, in origin-form or absolute-form, with what no URI may hold percent-encoded; `None` when nothing of
/// that kind is in it.
///
/// # Errors
/// For what cannot be mended: [`Refusal::BadPath`] for a path with white space, a control character or bytes that are not
/// UTF-8, [`Refusal::BadRequest`] for them elsewhere, a fragment, an odd character before the path.
pub(super) fn escaped(target: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    if target.iter().all(|byte| is_plain(*byte)) {
        return Ok(None);
    }
    if target.contains(&b'#') {
        return Err(Refusal::BadRequest("The request target has a fragment."));
    }
    let (start, rest) = target.split_at_checked(start_of_path(target)).unwrap_or((target, &[]));
    if !start.iter().all(|byte| is_plain(*byte)) {
        return Err(Refusal::BadRequest("The host in the request target has a character that no host has."));
    }
    let (path, query) = rest.split_at(memchr::memchr(b'?', rest).unwrap_or(rest.len()));
    let has_a_control = |part: &[u8]| part.iter().any(|byte| class(*byte) == Class::Never);
    if has_a_control(path) {
        return Err(Refusal::BadPath("The path has a control character."));
    }
    if has_a_control(query) {
        return Err(Refusal::BadRequest("The query has a control character."));
    }
    if std::str::from_utf8(path).is_err() {
        return Err(Refusal::BadPath("The path has bytes that are not UTF-8; they must be percent-encoded."));
    }
    let mut text = Vec::with_capacity(target.len() + 2 * target.len().min(64));
    text.extend_from_slice(start);
    append(path, &mut text, |class| matches!(class, Class::Odd | Class::NotAscii));
    append(query, &mut text, |class| class != Class::Plain);
    Ok((text != target).then_some(text))
}

/// Where the path of an absolute-form target begins; 0 in origin-form.
fn start_of_path(target: &[u8]) -> usize {
    if target.starts_with(b"/") {
        return 0;
    }
    let authority = memchr::memmem::find(target, b"://").map_or(0, |at| at + 3);
    let rest = target.get(authority..).unwrap_or_default();
    authority + rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len())
}

fn append(part: &[u8], text: &mut Vec<u8>, is_encoded: impl Fn(Class) -> bool) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in part {
        if is_encoded(class(*byte)) {
            let digit = |value: u8| HEX.get(usize::from(value)).copied().unwrap_or(b'0');
            text.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xf)]);
        } else {
            text.push(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_mended_is_the_paths_fault_where_it_stands_in_the_path() {
        for (raw, is_the_paths) in [
            (&b"/a\0"[..], true),
            (b"/a\x7fb", true),
            (b"/\xe4", true),
            (b"http://h/\x01", true),
            (b"/a?\x01", false),
            (b"/a#b", false),
            (b"h\x01", false),
        ] {
            let refused = escaped(raw).expect_err("it cannot be mended");
            assert_eq!(matches!(refused, Refusal::BadPath(_)), is_the_paths, "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn what_clients_send_raw_is_encoded_and_what_is_encoded_already_stays() {
        for (raw, expected) in [
            (&b"/a?b=c"[..], Some("/a?b=c")),
            (b"/a%22?%22", Some("/a%22?%22")),
            (b"/\"<>^`{|}", Some("/%22%3C%3E%5E%60%7B%7C%7D")),
            (b"/a?\"<>\\^`{|}", Some("/a?%22%3C%3E%5C%5E%60%7B%7C%7D")),
            ("/\u{e4}?\u{e4}".as_bytes(), Some("/%C3%A4?%C3%A4")),
            (b"/a?\xe4", Some("/a?%E4")),
            (b"/a?b?{", Some("/a?b?%7B")),
            (b"/a\\b", Some("/a\\b")),
            (b"/a\\{b", Some("/a\\%7Bb")),
            (b"http://h/{a}?{b}", Some("http://h/%7Ba%7D?%7Bb%7D")),
            (b"http://h?{b}", Some("http://h?%7Bb%7D")),
            (b"*", Some("*")),
            (b"/\xe4", None),
            (b"/a#b", None),
            (b"/a?b#c", None),
            (b"/a b", None),
            (b"/a?b c", None),
            (b"/a\0", None),
            (b"/a?\x7f", None),
            (b"http://h{/a", None),
            (b"h{", None),
        ] {
            let found = escaped(raw).map(|text| text.unwrap_or_else(|| raw.to_vec()));
            let found = found.as_deref().ok().map(|text| std::str::from_utf8(text).expect("ASCII"));
            assert_eq!(found, expected, "{}", raw.escape_ascii());
        }
    }
}
