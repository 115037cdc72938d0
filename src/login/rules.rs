//! What the answer to a login says by itself: that it failed, that something is still due, who came in, or that the
//! backend has to be asked.

use ::http::StatusCode;
use ::http::header::{HeaderMap, SET_COOKIE};

use super::{Condition, IdentityPointers, LoginHeaders, LoginIdentity, Users, read_json};
use crate::http::{IdentityRules, JsonPointer, Target, json_says_failure};

/// How the answer to a login is read (`[login]`).
#[derive(Clone, Debug)]
pub struct LoginRules {
    /// Where the identity is read.
    pub capture: Capture,
    /// Whom it lets in.
    pub users: Users,
    /// Statuses that are a failed login although they look like success.
    pub failure: Vec<u16>,
    /// What an answer says while something is still due before the user is logged in.
    pub unless: Vec<Condition>,
}

/// Where a login's identity is read.
#[derive(Clone, Debug)]
pub enum Capture {
    /// In the JSON body of the answer.
    Json(IdentityPointers),
    /// In headers of the answer.
    Header(LoginHeaders),
    /// In the answer to a second request, made with the cookies that the login set.
    Whoami {
        /// What is asked: a path, perhaps with a query.
        target: Target,
        /// Where its JSON answer names the user.
        pointers: IdentityPointers,
    },
}

/// What the answer to a login says by itself.
#[derive(Debug)]
pub(super) enum Reading<'a> {
    /// That the login failed.
    Failed,
    /// That something is still due before the user is logged in (`login.unless`).
    Unfinished,
    /// Nothing, and it set no cookie with which the backend could be asked.
    NoCookie,
    /// Who logged in, or that nobody did.
    Names(LoginIdentity),
    /// Nothing: the backend is to be asked.
    Ask(Whoami<'a>),
}

/// What is asked, and where the answer names the user.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whoami<'a> {
    pub(super) target: &'a Target,
    pub(super) pointers: &'a IdentityPointers,
}

impl LoginRules {
    /// Where a JSON answer names the user, if one does.
    #[must_use]
    pub const fn pointers(&self) -> Option<&IdentityPointers> {
        match &self.capture {
            Capture::Json(pointers) | Capture::Whoami { pointers, .. } => Some(pointers),
            Capture::Header(_) => None,
        }
    }

    /// Whether an answer of this status may be a successful login: 2xx, and 3xx where the identity is not in the body.
    /// Never 304, which has nothing to do with this login.
    #[must_use]
    pub fn is_success(&self, status: StatusCode) -> bool {
        let redirects = !matches!(self.capture, Capture::Json(_));
        let plausible =
            status.is_success() || (redirects && status.is_redirection() && status != StatusCode::NOT_MODIFIED);
        plausible && !self.failure.contains(&status.as_u16())
    }

    /// Whether an answer of this status, which is no success, is the backend's refusal of the login.
    #[must_use]
    pub fn is_refusal(&self, status: StatusCode) -> bool {
        status.is_client_error() || self.failure.contains(&status.as_u16())
    }

    /// Where the user is looked for, for the log.
    #[must_use]
    pub fn places(&self) -> String {
        let listed = |pointers: &[JsonPointer]| {
            let pointers: Vec<&str> = pointers.iter().map(JsonPointer::as_str).collect();
            pointers.join(" or ")
        };
        match &self.capture {
            Capture::Json(pointers) | Capture::Whoami { pointers, .. } => {
                format!("a tenant at {}, a user at {}", listed(&pointers.tenant), listed(&pointers.user))
            }
            Capture::Header(names) => format!("a tenant in {}, a user in {}", names.tenant, names.user),
        }
    }

    /// Reads an answer of a status that may be a success. `headers` are the backend's as they came.
    pub(super) fn read(&self, headers: &HeaderMap, body: &[u8], spelling: &IdentityRules) -> Reading<'_> {
        let document = read_json(body);
        if let Some(document) = &document {
            if json_says_failure(document) {
                return Reading::Failed;
            }
            if self.unless.iter().any(|condition| condition.holds_for(document)) {
                return Reading::Unfinished;
            }
        }
        match &self.capture {
            Capture::Json(pointers) => Reading::Names(document.map_or(LoginIdentity::None, |answer| {
                LoginIdentity::from_json(&answer, pointers, &self.users, spelling)
            })),
            Capture::Header(names) => {
                Reading::Names(LoginIdentity::from_headers(headers, names, &self.users, spelling))
            }
            Capture::Whoami { .. } if !headers.contains_key(SET_COOKIE) => Reading::NoCookie,
            Capture::Whoami { target, pointers } => Reading::Ask(Whoami { target, pointers }),
        }
    }
}
