//! From the backend's answer to a login to a verdict, by way of the questions that it takes.
//!
//! With `whoami` the backend is asked twice who the browser is: with the request's own cookies, then with those that the
//! login's answer leaves it with. Were the request's own enough, this login need not have succeeded for them to be enough
//! afterwards.

use ::http::StatusCode;
use ::http::header::HeaderMap;

use super::rules::{Reading, Whoami};
use super::{Browser, LoginIdentity, LoginRules, Question, read_json};
use crate::http::{IdentityRules, json_says_failure};
use crate::secret::Secret;
use crate::session::{Principal, TenantId};

/// The longest address that mail has (RFC 5321, 4.5.3.1.3).
const LONGEST_EMAIL: usize = 254;

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// The backend is asked this; its answer goes to [`Inquiry::answered`].
    Ask(Question),
    /// It is settled.
    Settled(Verdict),
}

/// What a login's answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The login failed.
    Failed,
    /// Something is still due before the user is logged in (`login.unless`).
    Unfinished,
    /// The backend is to be asked, and the browser has no cookie to ask with.
    NoCookie,
    /// The backend was asked, and refused to name anybody.
    Refused(StatusCode),
    /// The request's own cookies named a user already, so the answer proves nothing about this login.
    NamedBefore,
    /// A success that names nobody.
    Unnamed,
    /// Somebody is logged in, who may choose from these tenants.
    LoggedIn(Principal, Vec<TenantId>),
    /// Somebody, in a way that cannot be believed. The text is for the log and holds no value.
    Bad(&'static str),
}

/// A login between the backend's answer and its verdict.
#[derive(Debug)]
pub struct Inquiry<'a> {
    rules: &'a LoginRules,
    spelling: &'a IdentityRules,
    asked: Option<Asked<'a>>,
    email: Option<Secret>,
}

/// The question that is open.
#[derive(Debug)]
struct Asked<'a> {
    whoami: Whoami<'a>,
    /// What the login answered, while the browser does not have its cookies yet.
    login: Option<(HeaderMap, u64)>,
}

impl<'a> Inquiry<'a> {
    /// By these rules, of identities that are spelt so.
    #[must_use]
    pub const fn new(rules: &'a LoginRules, spelling: &'a IdentityRules) -> Self {
        Self { rules, spelling, asked: None, email: None }
    }

    /// Reads the login's answer, whose status may be a success. `headers` are the backend's as they came; `unix_seconds`
    /// is the time that cookies expire by.
    pub fn read(&mut self, browser: &mut Browser, headers: &HeaderMap, body: &[u8], unix_seconds: u64) -> Step {
        self.look_for_email(body);
        let verdict = match self.rules.read(headers, body, self.spelling) {
            Reading::Failed => Verdict::Failed,
            Reading::Unfinished => Verdict::Unfinished,
            Reading::NoCookie => Verdict::NoCookie,
            Reading::Names(identity) => {
                browser.receive(headers, unix_seconds);
                named(identity)
            }
            Reading::Bad(why) => Verdict::Bad(why),
            // No cookie of before has anything to do with it.
            Reading::AskWith(whoami, token) => {
                browser.receive(headers, unix_seconds);
                self.asked = Some(Asked { whoami, login: None });
                return match browser.question_with(whoami.target, &token) {
                    Some(question) => Step::Ask(question),
                    None => Step::Settled(Verdict::Bad("the token cannot stand in a header")),
                };
            }
            Reading::Ask(whoami) if browser.has_cookies_for(whoami.target) => {
                self.asked = Some(Asked { whoami, login: Some((headers.clone(), unix_seconds)) });
                return Step::Ask(browser.question(whoami.target));
            }
            // A browser without cookies is nobody, unasked.
            Reading::Ask(whoami) => return self.ask_again(browser, whoami, headers, unix_seconds),
        };
        Step::Settled(verdict)
    }

    /// Takes the answer to the question of the last step.
    pub fn answered(&mut self, browser: &mut Browser, status: StatusCode, body: &[u8]) -> Step {
        let Some(Asked { whoami, login }) = self.asked.take() else { return Step::Settled(Verdict::NoCookie) };
        self.look_for_email(body);
        let verdict = self.who_is_it(whoami, status, body);
        match (login, verdict) {
            (Some((headers, seconds)), Verdict::Unnamed | Verdict::Refused(_)) => {
                self.ask_again(browser, whoami, &headers, seconds)
            }
            (Some(_), _) => Step::Settled(Verdict::NamedBefore),
            // Passed on as it is, the token would be in the browser for good.
            (None, Verdict::Unnamed | Verdict::Refused(_)) if self.rules.tokens().is_some() => {
                Step::Settled(Verdict::Bad("the whoami path names nobody for the login's token"))
            }
            (None, verdict) => Step::Settled(verdict),
        }
    }

    /// The mail address that the last answer has, where it is looked for; once a user is logged in it is theirs.
    pub fn take_email(&mut self) -> Option<Secret> {
        self.email.take()
    }

    fn look_for_email(&mut self, body: &[u8]) {
        let Some(pointer) = &self.rules.email else { return };
        let answer = read_json(body);
        let found = answer.as_ref().and_then(|answer| pointer.find_in(answer)?.as_str());
        // That of an answer before may be somebody else's.
        self.email = found.filter(|email| email.len() <= LONGEST_EMAIL).map(Secret::new);
    }

    fn ask_again(&mut self, browser: &mut Browser, whoami: Whoami<'a>, headers: &HeaderMap, seconds: u64) -> Step {
        browser.receive(headers, seconds);
        if !browser.has_cookies_for(whoami.target) {
            return Step::Settled(Verdict::NoCookie);
        }
        self.asked = Some(Asked { whoami, login: None });
        Step::Ask(browser.question(whoami.target))
    }

    fn who_is_it(&self, whoami: Whoami<'_>, status: StatusCode, body: &[u8]) -> Verdict {
        if status.is_server_error() {
            return Verdict::Bad("the whoami path answered with a server error");
        }
        if !status.is_success() {
            return Verdict::Refused(status);
        }
        let Some(answer) = read_json(body) else { return Verdict::Unnamed };
        if json_says_failure(&answer) {
            return Verdict::Refused(status);
        }
        named(LoginIdentity::from_json(&answer, whoami.pointers, &self.rules.users, self.spelling))
    }
}

fn named(identity: LoginIdentity) -> Verdict {
    match identity {
        LoginIdentity::None => Verdict::Unnamed,
        LoginIdentity::Principal(principal, tenants) => Verdict::LoggedIn(principal, tenants),
        LoginIdentity::Bad(why) => Verdict::Bad(why),
    }
}

#[cfg(test)]
mod tests;
