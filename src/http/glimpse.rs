//! What is still seen of a request whose head was refused: not what it asks for, which nobody knows, but what its answer
//! should look like. A person gets a page in their language, a page of another origin may read why it failed, and the log
//! names the client.
//!
//! Pure. Nothing that decides about anything may be taken from here.

/// The lines that are looked for.
const SEEN: [&str; 7] = [
    "accept",
    "accept-language",
    "origin",
    "sec-fetch-mode",
    "upgrade-insecure-requests",
    "user-agent",
    "x-requested-with",
];
/// No browser's is longer.
const LONGEST_VALUE: usize = 300;
const MOST_LINES: usize = 8;

/// The lines of a head that say how its refusal is to look, as plain header lines. `head` is what has come of it, with
/// what follows it perhaps.
#[must_use]
pub fn glimpse(head: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut left = MOST_LINES;
    let whole = head.split_inclusive(|byte| *byte == b'\n').filter_map(|line| line.strip_suffix(b"\n"));
    let content = whole.map(|line| line.strip_suffix(b"\r").unwrap_or(line)).skip_while(|line| line.is_empty());
    for line in content.skip(1).take_while(|line| !line.is_empty()) {
        let Some((name, value)) = seen(line).filter(|_| left > 0) else { continue };
        left -= 1;
        lines.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    lines
}

/// A line that is looked for, if it is one in every reading.
fn seen(line: &[u8]) -> Option<(&'static str, &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?.trim_ascii());
    let name = SEEN.iter().find(|seen| name.eq_ignore_ascii_case(seen.as_bytes()))?;
    let is_plain = value.len() <= LONGEST_VALUE && value.iter().all(|byte| matches!(byte, b' '..=b'~'));
    is_plain.then_some((*name, value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(head: &str) -> String {
        String::from_utf8(glimpse(head.as_bytes())).expect("text")
    }

    #[test]
    fn what_says_how_an_answer_is_to_look_is_seen_and_nothing_else() {
        let head = "GET /a?b HTTP/1.1\r\nHost: a.test\r\nSec-Fetch-Mode: navigate\r\nACCEPT-LANGUAGE:de\r\nCookie: a=b\r\n\
                    X Y: broken\r\nOrigin: https://front.test\r\nAuthorization: Basic x\r\n\r\nAccept: of the body\r\n";
        assert_eq!(text(head), "sec-fetch-mode: navigate\r\naccept-language: de\r\norigin: https://front.test\r\n");
        assert_eq!(text(&format!("\r\n\r\n{head}")), text(head), "empty lines may come before it");
        assert_eq!(text(&head.replace("\r\n", "\n")), text(head));
    }

    #[test]
    fn what_is_not_whole_odd_or_long_is_not_seen() {
        let long = format!("GET / HTTP/1.1\r\nAccept: {}\r\n", "x".repeat(301));
        for head in [
            "",
            "\r\n",
            "Accept: a",
            "Accept: the request line\r\n",
            "GET / HTTP/1.1\r\nAccept: text/h",
            "GET / HTTP/1.1\r\n Accept: folded\r\n",
            "GET / HTTP/1.1\r\nAccept : blank\r\n",
            "GET / HTTP/1.1\r\nAccept: \u{1}\r\n",
            "GET / HTTP/1.1\r\nAccept: \u{e4}\r\n",
            "GET / HTTP/1.1\r\nAccept: a\rb\r\n",
            &long,
        ] {
            assert_eq!(text(head), "", "{head:?}");
        }
        assert_eq!(text(&format!("GET / HTTP/1.1\r\n{}", "Accept: a\r\n".repeat(50))).lines().count(), 8);
    }

    proptest! {
        #[test]
        fn whatever_comes_it_is_a_few_header_lines(head in proptest::collection::vec(any::<u8>(), 0..600)) {
            let head = [b"G\r\naccept:", &head[..], b"\r\n"].concat();
            let lines = glimpse(&head);
            let mut room = [httparse::EMPTY_HEADER; MOST_LINES];
            let whole = [&lines[..], b"\r\n"].concat();
            let parsed = httparse::parse_headers(&whole, &mut room);
            prop_assert!(parsed.is_ok_and(|parsed| parsed.is_complete()), "{}", lines.escape_ascii());
        }
    }
}
