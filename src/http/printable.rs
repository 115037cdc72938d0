//! Bytes from outside as one line of visible ASCII, for logs and audit lines.

use std::fmt::Write as _;

/// Writes `bytes` so that they cannot break or forge a line, move a terminal's cursor or hide: visible ASCII and the
/// space stay, a backslash is doubled, everything else becomes an escape (`\n`, `\r`, `\t`, `\x1b`, `\u{2028}`).
/// Reads at most `limit` bytes; `…` would not be ASCII, so a cut is shown as `...`.
#[must_use]
pub fn printable(bytes: &[u8], limit: usize) -> String {
    let shown = bytes.get(..limit).unwrap_or(bytes);
    let mut text = String::with_capacity(shown.len() + 3);
    for chunk in shown.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                ' '..='~' => text.push(character),
                '\0'..='\u{7f}' => push(&mut text, format_args!("\\x{:02x}", u32::from(character))),
                _ => push(&mut text, format_args!("\\u{{{:x}}}", u32::from(character))),
            }
        }
        for byte in chunk.invalid() {
            push(&mut text, format_args!("\\x{byte:02x}"));
        }
    }
    if shown.len() < bytes.len() {
        text.push_str("...");
    }
    text
}

/// Writing into a `String` cannot fail.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn log_values_with_crlf_esc_u2028_invalid_utf8_become_one_parseable_line() {
        for (bytes, expected) in [
            (&b"curl/8.0 (x)"[..], "curl/8.0 (x)"),
            (b"a\r\nlevel=info", "a\\r\\nlevel=info"),
            (b"\x1b[2J", "\\x1b[2J"),
            ("a\u{2028}b\u{85}".as_bytes(), "a\\u{2028}b\\u{85}"),
            (b"\xff\xfeok", "\\xff\\xfeok"),
            (b"\0\x7f\t", "\\x00\\x7f\\t"),
            (b"\\x1b", "\\\\x1b"),
            ("grün".as_bytes(), "gr\\u{fc}n"),
            (b"", ""),
        ] {
            assert_eq!(printable(bytes, 100), expected);
        }
    }

    #[test]
    fn a_long_value_is_cut_and_says_so() {
        assert_eq!(printable(b"abcdef", 3), "abc...");
        assert_eq!(printable(b"abc", 3), "abc");
        // Cut in the middle of a character: its bytes are shown, nothing is lost or joined.
        assert_eq!(printable("aü".as_bytes(), 2), "a\\xc3...");
    }

    proptest! {
        #[test]
        fn whatever_comes_in_is_visible_ascii_and_different_values_stay_different(
            one in proptest::collection::vec(any::<u8>(), 0..40),
            two in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let shown = printable(&one, 100);
            prop_assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(one == two, shown == printable(&two, 100));
        }
    }
}
