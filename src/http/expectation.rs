//! `Expect` (RFC 9110 §10.1.1).

use http::header::{EXPECT, HeaderMap};

use super::Refusal;

/// Refuses every expectation but `100-continue`, which hyper meets when the body is first asked for: after the request
/// was authorised.
///
/// # Errors
/// [`Refusal::ExpectationFailed`].
pub fn check_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let met = headers.get_all(EXPECT).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if met { Ok(()) } else { Err(Refusal::ExpectationFailed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_100_continue_can_be_met() {
        let mut headers = HeaderMap::new();
        assert_eq!(check_expectation(&headers), Ok(()));
        headers.insert(EXPECT, "100-Continue".parse().expect("a value"));
        assert_eq!(check_expectation(&headers), Ok(()));
        for other in ["", "200-ok", "100-continue, x"] {
            headers.insert(EXPECT, other.parse().expect("a value"));
            assert_eq!(check_expectation(&headers), Err(Refusal::ExpectationFailed), "{other}");
        }
    }
}
