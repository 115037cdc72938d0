//! What the answer to a login says by itself: that it failed, that something is still due, who came in, or that the
//! backend has to be asked.

use ::http::StatusCode;
use ::http::header::{HeaderMap, SET_COOKIE};

use serde_json::Value;

use super::{Condition, IdentityPointers, LoginHeaders, LoginIdentity, Users, read_json};
use crate::custody::TokenRules;
use crate::http::{Finding, IdentityRules, JsonPointer, Target, json_says_failure};
use crate::session::Principal;

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
    /// Where a JSON answer has the user's mail address, if anybody wants to know.
    pub email: Option<JsonPointer>,
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
    /// In the claims of a token that the JSON body of the answer has, and then in that body.
    Jwt(Box<JwtCapture>),
}

/// How a login that hands out a token is read.
#[derive(Clone, Debug)]
pub struct JwtCapture {
    /// Where the tokens are, and what becomes of them.
    pub tokens: TokenRules,
    /// Where claims and answer name the user; with `whoami`, where its answer does.
    pub pointers: IdentityPointers,
    /// What is asked with the token instead: for tokens that say nothing.
    pub whoami: Option<Target>,
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
    /// The same, with the token that the answer has: who has just got it has logged in.
    AskWith(Whoami<'a>, String),
    /// A token that cannot be believed, or that names nobody. The text is for the log and holds no value.
    Bad(&'static str),
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
            Capture::Jwt(jwt) => Some(&jwt.pointers),
            Capture::Header(_) => None,
        }
    }

    /// Where its answer has tokens, and what becomes of them; `None` where none are captured.
    #[must_use]
    pub fn tokens(&self) -> Option<&TokenRules> {
        if let Capture::Jwt(jwt) = &self.capture { Some(&jwt.tokens) } else { None }
    }

    /// Whether an answer of this status may be a successful login: 2xx, and 3xx where the identity is not in the body.
    /// Never 304, which has nothing to do with this login.
    #[must_use]
    pub fn is_success(&self, status: StatusCode) -> bool {
        let redirects = !matches!(self.capture, Capture::Json(_) | Capture::Jwt(_));
        let plausible =
            status.is_success() || (redirects && status.is_redirection() && status != StatusCode::NOT_MODIFIED);
        plausible && !self.failure.contains(&status.as_u16())
    }

    /// Whether an answer of this status, which is no success, is the backend's refusal of the login.
    #[must_use]
    pub fn is_refusal(&self, status: StatusCode) -> bool {
        status.is_client_error() || self.failure.contains(&status.as_u16())
    }

    /// Whether an answer of this status, which is no success, is what a wrong password gets: what a client did wrong in some
    /// other way is not, and a backend that failed says nothing.
    #[must_use]
    pub fn is_failed_login(&self, status: StatusCode) -> bool {
        matches!(status.as_u16(), 400 | 401 | 403 | 422) || self.failure.contains(&status.as_u16())
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
            Capture::Jwt(jwt) => format!("a token at {}", listed(&jwt.tokens.token)),
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
            Capture::Jwt(jwt) => match document {
                Some(answer) => self.read_token(jwt, &answer, spelling),
                None => Reading::Names(LoginIdentity::None),
            },
        }
    }

    /// Who a token says has logged in; what it does not say the rest of the answer may.
    fn read_token<'a>(&self, jwt: &'a JwtCapture, answer: &Value, spelling: &IdentityRules) -> Reading<'a> {
        let claims = match jwt.tokens.claims(answer) {
            Ok(Some(claims)) => Value::Object(claims),
            // No token, so nobody has come in yet.
            Ok(None) => return Reading::Names(LoginIdentity::None),
            Err(why) => return Reading::Bad(why),
        };
        if let Some(target) = &jwt.whoami {
            let Some(token) = jwt.tokens.text(answer) else { return Reading::Names(LoginIdentity::None) };
            return Reading::AskWith(Whoami { target, pointers: &jwt.pointers }, token.to_owned());
        }
        match LoginIdentity::from_several(&[&claims, answer], &jwt.pointers, &self.users, spelling) {
            // Passed on as it is, it would be in the browser for good.
            LoginIdentity::None => Reading::Bad(
                "neither the token's claims nor the answer name a user and a tenant where `login.user` \
                              and `login.tenant` look",
            ),
            named => Reading::Names(named),
        }
    }

    /// Whether the claims of a token name this user, as far as they name one.
    #[must_use]
    pub fn may_be_of(&self, claims: &Value, whose: &Principal, spelling: &IdentityRules) -> bool {
        // What the token itself says is asked of nothing else.
        let Capture::Jwt(jwt) = &self.capture else { return true };
        let JwtCapture { pointers, whoami: None, .. } = &**jwt else { return true };
        let same = |pointers: &[JsonPointer], is: &dyn Fn(&str) -> bool| {
            let mut found = pointers.iter().filter_map(|pointer| pointer.find_in(claims)).map(Finding::of);
            match found.find(|finding| !matches!(finding, Finding::Nothing)) {
                None => true,
                Some(Finding::Bytes(bytes)) => std::str::from_utf8(&bytes).is_ok_and(is),
                Some(_) => false,
            }
        };
        let of_tenant = |text: &str| spelling.named_tenant(text.as_bytes()).is_ok_and(|tenant| tenant == whose.tenant);
        let of_user = |text: &str| {
            let user = spelling.canonical_user(text.as_bytes());
            user.is_ok_and(|user| user.of_kind(self.users.kind.as_ref()) == whose.user)
        };
        same(&pointers.tenant, &of_tenant) && same(&pointers.user, &of_user)
    }
}
