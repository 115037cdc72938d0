//! Logging in, and reading what a backend was told.

use serde_json::{Value, json};

use super::browser::Browser;
use super::echo::Seen;
use super::gateway::Gateway;
use super::http::Response;

/// What a login at the echo backend answers for this identity.
pub fn identity(tenant: impl Into<Value>, user: impl Into<Value>) -> Value {
    json!({"success": true, "user": {"customer_id": tenant.into(), "user_id": user.into()}})
}

impl Browser {
    /// Logs in at the echo backend, which answers `answer`.
    pub fn log_in_with(&mut self, answer: &Value) -> Response {
        self.post_json("/api/login", &json!({"answer": answer}))
    }

    /// Logs in at the Flask app; fails unless a session came of it.
    #[track_caller]
    pub fn log_in_to_flask(&mut self, name: &str) -> Response {
        let response = self.post_json("/api/login", &json!({"username": name, "password": "demo"})).expect(200);
        assert!(self.has_session_cookie(), "{response:?}");
        response
    }

    /// Logs in at the Django app's form, its CSRF token included.
    pub fn log_in_to_django(&mut self, name: &str) -> Response {
        self.get("/accounts/login/").expect(200);
        let token = self.cookie("csrftoken").expect("the form sets it").to_owned();
        self.post_form("/accounts/login/", &[("csrfmiddlewaretoken", &token), ("username", name), ("password", "demo")])
    }
}

impl Gateway {
    /// A browser that is logged in at the echo backend.
    #[track_caller]
    pub fn logged_in(&self, tenant: &str, user: &str) -> Browser {
        let mut browser = self.browser();
        let response = browser.log_in_with(&identity(tenant, user)).expect(200);
        assert!(browser.has_session_cookie(), "{response:?}");
        browser
    }

    /// A browser that is logged in at the echo backend, with a role.
    #[track_caller]
    pub fn logged_in_as(&self, tenant: &str, user: &str, role: &str) -> Browser {
        let mut browser = self.browser();
        let mut answer = identity(tenant, user);
        answer["user"]["role"] = role.into();
        browser.log_in_with(&answer).expect(200);
        assert!(browser.has_session_cookie());
        browser
    }
}

impl Seen {
    /// The tenant and user that the backend was told, each at most once.
    pub fn identity(&self) -> (Option<&str>, Option<&str>) {
        (self.header("x-customer-id"), self.header("x-user-id"))
    }

    /// Fails if any header could be taken for an identity, under any spelling that a server folds.
    #[track_caller]
    pub fn assert_anonymous(&self) {
        for (name, value) in &self.headers.0 {
            let folded: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
            let folded = folded.to_ascii_lowercase();
            let protected = ["x-customer-id", "x-user-id", "x-user-role"].contains(&folded.as_str());
            assert!(!protected && !folded.starts_with("x-session-"), "{name}: {value} reached the backend");
        }
    }
}
