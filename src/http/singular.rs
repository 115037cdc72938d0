//! Headers that decide something and so must not be there twice: of two lines one backend takes the first, another the
//! last, a third joins them, and the gateway would have judged the one that does not count.

use ::http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName,
    ORIGIN, REFERER,
};

use super::Refusal;

/// Whose request it is, where it comes from and how its body is read. Host and lengths have rules of their own.
const DECIDING: [HeaderName; 11] = [
    AUTHORIZATION,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    ORIGIN,
    REFERER,
    ACCESS_CONTROL_REQUEST_METHOD,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-fetch-mode"),
    HeaderName::from_static("sec-fetch-dest"),
    HeaderName::from_static("sec-fetch-user"),
];

/// Refuses a request in which one of them has more than one line, equal or not.
///
/// # Errors
/// [`Refusal::BadRequest`].
pub fn check_singular(headers: &HeaderMap) -> Result<(), Refusal> {
    // Most requests have no name twice, and are not looked through.
    if headers.len() == headers.keys_len() {
        return Ok(());
    }
    let is_doubled = |name: &HeaderName| headers.get_all(name).iter().nth(1).is_some();
    if DECIDING.iter().any(is_doubled) {
        return Err(Refusal::BadRequest(
            "A header that must be there once (Authorization, Content-Type, Origin and the like) is there twice.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    #[test]
    fn what_decides_is_there_once_and_lists_may_have_several_lines() {
        for (name, fine) in [
            ("content-type", false),
            ("content-encoding", false),
            ("authorization", false),
            ("origin", false),
            ("sec-fetch-site", false),
            ("sec-fetch-mode", false),
            ("accept", true),
            ("cookie", true),
            ("x-anything", true),
        ] {
            let name = HeaderName::from_static(name);
            for second in ["a", "b"] {
                let mut headers = HeaderMap::new();
                headers.append(&name, HeaderValue::from_static("a"));
                assert_eq!(check_singular(&headers), Ok(()), "{name} once");
                headers.append(&name, HeaderValue::from_static(second));
                assert_eq!(check_singular(&headers).is_ok(), fine, "{name} twice, a and {second}");
            }
        }
    }
}
