//! Names of variables as PHP reads them: a blank, a dot and a bracket are underscores there, what is blank before them goes,
//! a NUL ends them, and `a[]` and `a[x]` are parts of an array `a`. So they are to Rack and to Node's `qs`, to which `[a]` is
//! `a`, too. Whoever compares a client's names with known ones must not see less than such a reader.

use std::borrow::Cow;

/// A name as such a reader has it.
#[must_use]
pub fn folded_name(name: &[u8]) -> Cow<'_, [u8]> {
    let name = name.trim_ascii_start();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = match name
        .strip_prefix(b"[")
        .and_then(|rest| rest.split(|byte| *byte == b']').next().filter(|inner| inner.len() < rest.len()))
    {
        Some(inner) => inner,
        None => name,
    };
    let name = match memchr::memchr(b'[', name) {
        Some(open) if name.get(open..).is_some_and(|rest| rest.contains(&b']')) => name.get(..open).unwrap_or_default(),
        _ => name,
    };
    let folds = |byte: &u8| matches!(byte, b' ' | b'.' | b'[');
    if name.iter().any(folds) {
        name.iter().map(|byte| if folds(byte) { b'_' } else { *byte }).collect()
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_dots_and_brackets_are_underscores_and_a_part_of_an_array_is_called_as_that() {
        for (name, folded) in [
            ("a_b", "a_b"),
            ("a.b", "a_b"),
            (" a b", "a_b"),
            ("a[b", "a_b"),
            ("ab", "ab"),
            ("a-b", "a-b"),
            ("a_b[]", "a_b"),
            ("a.b[x][y]", "a_b"),
            ("a_b\0c", "a_b"),
            ("[a_b]", "a_b"),
            ("[a_b][0]", "a_b"),
            ("[a", "_a"),
            ("", ""),
        ] {
            assert_eq!(folded_name(name.as_bytes()), folded.as_bytes(), "{name}");
        }
    }
}
