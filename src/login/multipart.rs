//! Forms with parts (RFC 7578), as far as a login's fields go.

use memchr::memmem;

/// RFC 2046 section 5.1.1.
const LONGEST_BOUNDARY: usize = 70;

/// What stands before a byte, and behind it.
pub(super) fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = memchr::memchr(at, text)?;
    Some((text.get(..position)?, text.get(position + 1..)?))
}

/// A parameter of a header value (`; name=value` or `; name="value"`).
pub(super) fn parameter<'a>(parameters: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    parameters.split(|byte| *byte == b';').find_map(|parameter| {
        let (key, value) = split_once(parameter, b'=')?;
        let value = value.trim_ascii();
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        key.trim_ascii().eq_ignore_ascii_case(name).then_some(unquoted)
    })
}

/// What stands between the delimiters of a multipart body (RFC 7578).
pub(super) fn parts<'a>(body: &'a [u8], boundary: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    let usable = (1..=LONGEST_BOUNDARY).contains(&boundary.len());
    let delimiter = [b"--", boundary].concat();
    let starts: Vec<usize> = if usable { memmem::find_iter(body, &delimiter).collect() } else { Vec::new() };
    let ends: Vec<usize> = starts.iter().skip(1).copied().collect();
    let length = delimiter.len();
    starts.into_iter().zip(ends).filter_map(move |(start, end)| body.get(start + length..end))
}

/// Whether every reader of forms finds the same field in a part: lines end in CRLF, nothing is encoded, and its name stands
/// there in one way.
pub(super) fn is_plain(part: &[u8]) -> bool {
    let Some(part) = part.strip_prefix(b"\r\n").and_then(|part| part.strip_suffix(b"\r\n")) else { return false };
    let Some(head) = memmem::find(part, b"\r\n\r\n").and_then(|end| part.get(..end)) else { return false };
    let head = head.to_ascii_lowercase();
    let bare =
        head.iter().enumerate().any(|(at, byte)| *byte == b'\n' && (at == 0 || head.get(at - 1) != Some(&b'\r')));
    let is_encoded =
        memmem::find(&head, b"content-transfer-encoding").is_some() || memmem::find(&head, b"name*").is_some();
    !bare && !is_encoded
}

/// The value of a part, if it is the form field of that name.
pub(super) fn part_named<'a>(part: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let part = part.strip_prefix(b"\r\n")?.strip_suffix(b"\r\n")?;
    let head = memmem::find(part, b"\r\n\r\n")?;
    let (head, value) = (part.get(..head)?, part.get(head + 4..)?);
    let disposition = head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = split_once(line, b':')?;
        name.trim_ascii().eq_ignore_ascii_case(b"content-disposition").then_some(value)
    })?;
    let (_, parameters) = split_once(disposition, b';')?;
    (parameter(parameters, b"name")? == wanted).then_some(value)
}
