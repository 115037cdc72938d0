//! The browser that a login comes from, as far as the backend knows it: in its name the gateway asks who has just come
//! in, and whether they may use this tenant.

use ::http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, USER_AGENT,
};

use super::BrowserJar;
use crate::http::{GatewayCookieName, Target, drop_gateway_set_cookie};

/// The largest answer to a question, in bytes.
pub const LARGEST_ANSWER_TO_A_QUESTION: usize = 64 * 1024;

/// A question, by GET.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is asked.
    pub target: Target,
    /// The headers, but for those that say which exchange it belongs to.
    pub headers: HeaderMap,
}

/// A browser, with the cookies that it has by now.
#[derive(Clone, Debug)]
pub struct Browser {
    /// Those of every question.
    headers: HeaderMap,
    path: Box<str>,
    jar: BrowserJar,
    own_cookie: GatewayCookieName,
}

impl Browser {
    /// The sender of a request with these headers to this path. `host` is the request's in lower case, without a port;
    /// `own_cookie` is the gateway's, which is out of the request already and which no backend sets.
    #[must_use]
    pub fn of_request(own_cookie: &GatewayCookieName, headers: &HeaderMap, host: &str, path: &str) -> Self {
        Self {
            headers: question_headers(headers),
            path: path.into(),
            jar: BrowserJar::of_request(headers, host),
            own_cookie: own_cookie.clone(),
        }
    }

    /// Takes in the cookies of the request's answer. `unix_seconds` is the time that they expire by.
    pub fn receive(&mut self, answer: &HeaderMap, unix_seconds: u64) {
        let mut answer = answer.clone();
        drop_gateway_set_cookie(&mut answer, &self.own_cookie);
        self.jar.receive(&answer, &self.path, unix_seconds);
    }

    /// Whether it would send a cookie there.
    pub(super) fn has_cookies_for(&self, target: &Target) -> bool {
        self.jar.cookie_header(target.path()).is_some()
    }

    /// The question for what stands there, as the browser would ask it.
    #[must_use]
    pub fn question(&self, target: &Target) -> Question {
        let mut headers = self.headers.clone();
        if let Some(cookies) = self.jar.cookie_header(target.path()) {
            headers.insert(COOKIE, cookies);
        }
        Question { target: target.clone(), headers }
    }

    /// The same with a token, and without any cookie. `None` for what no header can hold.
    pub(super) fn question_with(&self, target: &Target, token: &str) -> Option<Question> {
        let mut headers = self.headers.clone();
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Some(Question { target: target.clone(), headers })
    }

    /// What it has of the cookies with these names, as bytes to be compared.
    pub(super) fn values_of(&self, names: &[&str]) -> Vec<u8> {
        self.jar.values_of(names)
    }

    /// It, without the cookies of these names.
    pub(super) fn without(mut self, names: &[&str]) -> Self {
        self.jar.forget(names);
        self
    }

    /// The names of its first cookies.
    #[must_use]
    pub fn cookie_names(&self, most: usize) -> Vec<&str> {
        self.jar.names(most)
    }
}

/// The headers of a question after a login with these headers: the same user agent and language, for backends bind
/// their sessions to them, and JSON that can be read. Cookies are the jar's to add.
fn question_headers(login: &HeaderMap) -> HeaderMap {
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
