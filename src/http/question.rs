//! The head of a question that the gateway asks a backend in the name of a login's sender: who has just come in, may
//! they use this tenant.

use ::http::header::{ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderMap, HeaderValue, USER_AGENT};

/// The largest answer to a question, in bytes.
pub const LARGEST_ANSWER_TO_A_QUESTION: usize = 64 * 1024;

/// The headers of a question after a login with these headers: the same user agent and language, for backends bind
/// their sessions to them, and JSON that can be read. Cookies are the jar's to add.
#[must_use]
pub fn question_headers(login: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [USER_AGENT, ACCEPT_LANGUAGE] {
        if let Some(value) = login.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_has_the_senders_agent_and_language_and_nothing_else_of_the_login() {
        let mut login = HeaderMap::new();
        for (name, value) in [
            ("user-agent", "browser"),
            ("accept-language", "en"),
            ("accept", "text/html"),
            ("cookie", "a=b"),
            ("authorization", "x"),
        ] {
            login.insert(name, HeaderValue::from_static(value));
        }
        let headers = question_headers(&login);
        let mut names: Vec<&str> = headers.keys().map(::http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "accept-encoding", "accept-language", "user-agent"]);
        assert_eq!(headers[ACCEPT], "application/json");
    }
}
