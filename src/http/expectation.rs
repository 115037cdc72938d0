//! What a client expects before it sends its body (RFC 9110 section 10.1.1).

use super::{KnownName, NotedHeaders, Refusal};

static EXPECT: KnownName = KnownName::new("expect");

/// Accepts no expectation or one single `100-continue`, which is answered when the body is first read, so after the
/// request was allowed. Anything else the gateway would promise on the backend's behalf.
///
/// # Errors
/// [`Refusal::ExpectationFailed`].
pub fn check_expectation(headers: &NotedHeaders) -> Result<(), Refusal> {
    let mut lines = headers.lines(&EXPECT);
    match (lines.next(), lines.next()) {
        (None, _) => Ok(()),
        (Some(line), None) if line.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        (Some(_), _) => Err(Refusal::ExpectationFailed),
    }
}

#[cfg(test)]
mod tests {
    use ::http::header::{EXPECT, HeaderMap, HeaderValue};

    use super::{NotedHeaders, check_expectation};

    #[test]
    fn nothing_but_one_100_continue_can_be_expected() {
        for (lines, expected) in [
            (&[][..], true),
            (&["100-continue"], true),
            (&["100-Continue"], true),
            (&[""], false),
            (&["200-ok"], false),
            (&["100-continue, x"], false),
            (&["100-continue", "100-continue"], false),
        ] {
            let headers: HeaderMap = lines.iter().map(|line| (EXPECT, HeaderValue::from_static(line))).collect();
            assert_eq!(check_expectation(&NotedHeaders::from(headers)).is_ok(), expected, "{lines:?}");
        }
    }
}
