//! Names of variables as PHP reads them: a blank, a dot and a bracket are underscores there, and what is blank before them
//! goes. Whoever compares a client's names with known ones must not see less than such a reader.

use std::borrow::Cow;

/// A name as such a reader has it.
#[must_use]
pub fn folded_name(name: &[u8]) -> Cow<'_, [u8]> {
    let name = name.trim_ascii_start();
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
    fn blanks_dots_and_brackets_are_underscores() {
        for (name, folded) in
            [("a_b", "a_b"), ("a.b", "a_b"), (" a b", "a_b"), ("a[b", "a_b"), ("ab", "ab"), ("a-b", "a-b")]
        {
            assert_eq!(folded_name(name.as_bytes()), folded.as_bytes(), "{name}");
        }
    }
}
