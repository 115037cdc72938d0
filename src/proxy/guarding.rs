//! The guard of logins (docs/behaviour.md, "Login guard"): whoever failed too often is refused before the backend is asked.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, SET_COOKIE};
use http::{Response, StatusCode};

use super::body::AnswerBody;
use super::exchange::Exchange;
use super::failure::Failure;
use super::newcomer::tell_of_none;
use super::services::Gateway;
use super::whereabouts::Made;
use crate::config::Login;
use crate::http::{Refusal, own_set_cookie};
use crate::login::{AccountUnclear, Capture, Verdict, accounts_named};
use crate::monitor::{MonitorMode, MonitorRules, Named, normalised};
use crate::secret::Secret;
use crate::session::{By, SessionId};
use crate::sessions::Issued;
use crate::told::NoLogin;
use crate::watch::{Admission, CameOut, Guarded, Tried};

/// A login between its request and what came of it.
pub(super) struct Guess {
    /// The cookie of a device, as it came.
    device: Option<Box<[u8]>>,
    guarded: Option<Guarded>,
    came_out: CameOut,
    /// The mail address that the backend's answer has.
    email: Option<Secret>,
    /// The session that it made.
    made: Option<Made>,
}

impl Guess {
    pub(super) const fn with(device: Option<Box<[u8]>>) -> Self {
        Self { device, guarded: None, came_out: CameOut::Neither, email: None, made: None }
    }

    /// Whether the backend may be asked.
    pub(super) async fn admit(
        &mut self,
        gateway: &Gateway,
        exchange: &Exchange,
        login: &Login,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> Result<(), Failure> {
        let Some(rules) = &gateway.config().monitor else { return Ok(()) };
        let mut named = match named(gateway, login, headers, body) {
            Ok(named) => named,
            // Nobody is refused by what only looks on.
            Err(_) if rules.mode == MonitorMode::Observe => Named::default(),
            Err(AccountUnclear::TooMany) => {
                return Err(Failure::Refused(Refusal::BadRequest("The login names more accounts than anybody has.")));
            }
            Err(AccountUnclear::Body) => {
                let text = "The login's body can be read in several ways; send JSON or a form in UTF-8.";
                return Err(Failure::Refused(Refusal::BadRequest(text)));
            }
        };
        named.device = gateway.watch().known_device(rules, &named, self.device.as_deref());
        let address = exchange.client.get();
        let is_proxy = gateway.is_trusted_proxy(address);
        match gateway.watch().admit(rules, Tried { named, address, is_proxy }).await {
            Admission::Go(guarded) => {
                self.guarded = Some(guarded);
                Ok(())
            }
            Admission::Locked { seconds, by } => {
                tell_of_none(gateway, exchange, NoLogin::Locked(Some(by)));
                Err(Failure::LoginLocked { seconds })
            }
            Admission::Busy => {
                tell_of_none(gateway, exchange, NoLogin::Locked(None));
                Err(Failure::TooManyLogins)
            }
        }
    }

    /// The backend's answer has this status, which is no success.
    pub(super) fn answered(&mut self, login: &Login, status: StatusCode) {
        if login.rules.is_failed_login(status) {
            self.came_out = CameOut::Failed;
        }
    }

    /// Its answer came to this, and has this mail address of whoever came in.
    pub(super) fn judged(&mut self, login: &Login, verdict: &Verdict, email: Option<Secret>) {
        self.email = email;
        let failed = match verdict {
            Verdict::Failed | Verdict::NoCookie => true,
            // Of a path that is not there, or too busy, nothing can be said.
            Verdict::Refused(status) => !matches!(status.as_u16(), 404 | 405 | 408 | 413 | 415 | 429),
            Verdict::Unnamed => matches!(login.rules.capture, Capture::Whoami { .. }),
            Verdict::Unfinished | Verdict::NamedBefore | Verdict::LoggedIn(..) | Verdict::Bad(_) => false,
        };
        if failed {
            self.came_out = CameOut::Failed;
        }
    }

    /// It made this session, and its user logged in again for a held one.
    pub(super) fn let_in(&mut self, issued: &Issued, releases: Option<SessionId>) {
        self.came_out = CameOut::In(issued.id, issued.record.principal.clone());
        self.made = Some(Made::of(issued, releases));
    }

    /// Counts what came of it, and has the browser of a success know that the account was here.
    pub(super) async fn settle(
        self,
        gateway: &Gateway,
        exchange: &Exchange,
        outcome: &mut Result<Response<AnswerBody>, Failure>,
    ) {
        let (Some(rules), Some(guarded)) = (&gateway.config().monitor, self.guarded) else { return };
        if let (CameOut::In(..), Ok(response)) = (&self.came_out, outcome) {
            remember_device(gateway, rules, &guarded, response.headers_mut());
        }
        if let (CameOut::In(_, principal), Some(email)) = (&self.came_out, &self.email) {
            gateway.watch().alerts().remember(guarded.account(), principal, email);
        }
        if let Some(made) = &self.made {
            gateway.see_login(exchange, rules, made, guarded.knows_device());
        }
        gateway.watch().settle(rules, guarded, self.came_out, &exchange.origin(By::User)).await;
    }
}

/// Whom a login names, as it counts.
fn named(gateway: &Gateway, login: &Login, headers: &HeaderMap, body: &Bytes) -> Result<Named, AccountUnclear> {
    let kind = login.rules.users.kind.as_ref().map(crate::session::UserKind::as_str);
    let mut named = Named::default();
    for name in accounts_named(headers.get(CONTENT_TYPE), body, &login.account)? {
        let Some(name) = normalised(&name) else { continue };
        let account = gateway.watch().account(kind, &name);
        if !named.accounts.contains(&account) {
            named.accounts.push(account);
        }
    }
    Ok(named)
}

fn remember_device(gateway: &Gateway, rules: &MonitorRules, guarded: &Guarded, headers: &mut HeaderMap) {
    let Some(name) = gateway.device_cookie() else { return };
    if let Some((value, lifetime)) = gateway.watch().device_cookie(rules, guarded) {
        headers.append(SET_COOKIE, own_set_cookie(name, &value, gateway.config().cookie.secure, lifetime));
    }
}
