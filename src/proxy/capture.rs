//! The login exchange: the backend decides, the store has the session first, then the answer goes out with the cookie.
//!
//! It is buffered, and runs to its end even when the client hangs up: the caller spawns it.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::body::AnswerBody;
use super::exchange::Exchange;
use super::failure::Failure;
use super::follow::{Follower, Settled, settle};
use super::forward::{Cleared, clean_answer, send};
use super::guarding::Guess;
use super::held_token::without_tokens;
use super::limits::OWN_REQUEST_MAX;
use super::newcomer::{Vouched, end_presented, end_replaced, give, make_session, tell_of_none};
use super::outgoing::ask_for_what_can_be_read;
use super::questions::{Questions, read_answer, unix_seconds};
use super::sealing::Came;
use super::services::Gateway;
use super::verify::verify_login;
use crate::config::Login;
use crate::http::expire_set_cookie;
use crate::login::{Inquiry, Step, Verdict, remembered};
use crate::policy::{Route, permit_login};
use crate::session::{By, Credential, EndReason};
use crate::told::{NoLogin, Source};

/// The most cookies that are expired unasked.
const MOST_CLEARED: usize = 50;

/// A login, beside what of its request goes to the backend.
pub(super) struct Call<'a> {
    /// Which of the configuration's.
    pub(super) number: usize,
    pub(super) route: &'a Route,
    pub(super) credential: Credential,
    /// The cookie of a device, as it came.
    pub(super) device: Option<Box<[u8]>>,
}

/// Runs a login, and tells of one that came to nothing here.
pub(super) async fn login(
    gateway: &Arc<Gateway>,
    exchange: &mut Exchange,
    mut call: Call<'_>,
    cleared: Box<Cleared>,
) -> Result<Response<AnswerBody>, Failure> {
    let mut guess = Guess::with(call.device.take());
    let mut outcome = exchange_login(gateway, exchange, &call, cleared, &mut guess).await;
    guess.settle(gateway, exchange, &mut outcome).await;
    match &outcome {
        Err(failure) if failure.refuses_the_login() => {
            tell_of_none(gateway, exchange, NoLogin::Refused(failure.code()));
        }
        Err(failure) if !failure.is_the_clients() => tell_of_none(gateway, exchange, NoLogin::Unanswered),
        Ok(_) | Err(_) => {}
    }
    outcome
}

async fn exchange_login(
    gateway: &Arc<Gateway>,
    exchange: &mut Exchange,
    call: &Call<'_>,
    mut cleared: Box<Cleared>,
    guess: &mut Guess,
) -> Result<Response<AnswerBody>, Failure> {
    let Call { number, route, credential, .. } = *call;
    let settings = gateway.config().login.logins.get(number);
    let settings = settings.ok_or_else(|| Failure::Internal(format!("there is no login {number}")))?;
    let body = cleared.content.buffer(gateway, OWN_REQUEST_MAX).await?;
    // The store's time *before* the backend is asked: a revocation from here on wins over this login. It also shows
    // that there is a store, before the backend has done anything. Whether the login may go on is asked with it.
    let may_go_on = guess.admit(gateway, exchange, settings, &cleared.headers, &body);
    let (began, admitted) = tokio::join!(gateway.store().begin(), may_go_on);
    let began = began.map_err(Failure::Store)?;
    admitted?;
    let content_type = cleared.headers.get(CONTENT_TYPE);
    let remembered = remembered(content_type, &body, &gateway.config().session.remember_field);
    ask_for_what_can_be_read(&mut cleared.headers);
    gateway.open_cookies(exchange, &mut cleared).await;
    let mut backend = Questions::like(gateway, route, &cleared);
    let follower = Follower::of(gateway, route, &cleared, credential, None).await;
    let permit = permit_login(route);
    let (mut parts, upstream_body) = send(gateway, exchange, &permit, cleared).await?.into_parts();
    let said = parts.headers.clone();
    clean_answer(gateway, exchange, &permit, &mut parts.headers);

    if !settings.rules.is_success(parts.status) {
        let why = if settings.rules.is_refusal(parts.status) {
            NoLogin::Failed(parts.status.as_u16())
        } else if parts.status.is_server_error() {
            NoLogin::Unanswered
        } else {
            NoLogin::Undecided
        };
        guess.answered(settings, parts.status);
        tell_of_none(gateway, exchange, why);
        settle(gateway, exchange, follower, &mut parts.headers).await?;
        return Ok(Response::from_parts(parts, AnswerBody::streamed(upstream_body)));
    }
    let mut body = read_answer(gateway, &permit, &parts.headers, upstream_body, settings.max_body).await?;
    let verdict = judge(gateway, exchange, (settings, guess), &mut backend, &said, &body).await?;
    match verdict {
        Verdict::Failed => {
            tell_of_none(gateway, exchange, NoLogin::Failed(parts.status.as_u16()));
            settle(gateway, exchange, follower, &mut parts.headers).await?;
        }
        Verdict::Unfinished | Verdict::NoCookie | Verdict::Refused(_) => {
            tell_of_none(gateway, exchange, NoLogin::Undecided);
            settle(gateway, exchange, follower, &mut parts.headers).await?;
        }
        Verdict::Unnamed => {
            tell_of_none(gateway, exchange, NoLogin::Unnamed);
            if gateway.unnamed().is_due(gateway.clock().monotonic()) {
                let (request_id, path) = (exchange.id.as_str(), exchange.path());
                let tried = settings.rules.places();
                tracing::warn!(request_id, %path, tried, "a login succeeded and named nobody, so it made no session");
            }
            settle(gateway, exchange, follower, &mut parts.headers).await?;
        }
        Verdict::Bad(why) => return Err(Failure::BadIdentity(why)),
        // What proves nothing about this login says whose the app's new cookie is, where that is followed.
        Verdict::NamedBefore if follower.as_ref().is_some_and(|known| known.may_tell(gateway, &parts.headers)) => {
            if settle(gateway, exchange, follower, &mut parts.headers).await? == Settled::AsItWas {
                tell_of_none(gateway, exchange, NoLogin::Undecided);
            }
        }
        Verdict::NamedBefore => {
            tell_of_none(gateway, exchange, NoLogin::Refused("named_before"));
            // The backend may have logged that user out meanwhile, or somebody else in.
            end_presented(gateway, exchange, credential, EndReason::Revoked).await.map_err(Failure::Store)?;
            return Ok(start_over(gateway, settings, credential, &backend));
        }
        Verdict::LoggedIn(principal, tenants) => {
            let token = gateway.take_token(exchange, settings, &body).await?;
            let (token, rules) = (token.as_ref(), settings.rules.tokens());
            if let (Some(token), Some(rules)) = (token, rules) {
                // From here on nobody but the session has it.
                body = without_tokens(token, rules.left, &mut parts.headers, body);
            }
            gateway.check_cookies(exchange, &parts.headers)?;
            let principal = verify_login(gateway, exchange, &backend, principal).await?;
            let deposit = token.zip(rules).and_then(|(token, rules)| gateway.deposit(token, rules));
            let vouched = Vouched { principal, tenants, source: Source::Login, remembered, began, deposit };
            let issued = make_session(gateway, exchange, vouched, credential).await?;
            if let (Some(tokens), Some(_)) = (gateway.app_tokens(), token) {
                tokens.remember(issued.id, token, rules);
            }
            let released = end_replaced(gateway, exchange, credential, &issued).await?;
            if let Err(failure) = gateway.seal_cookies_anew(exchange, &mut parts.headers, &issued, Came::OfWhoever) {
                gateway.sessions().take_back(&exchange.origin(By::Gateway), &issued).await;
                return Err(failure);
            }
            guess.let_in(&issued, released);
            give(&mut parts.headers, issued);
        }
    }
    // The length is the body's own from here on.
    parts.headers.remove(CONTENT_LENGTH);
    Ok(Response::from_parts(parts, AnswerBody::whole(body)))
}

/// What a login's answer with a successful status comes to, once the backend was asked what it takes. `said` are its
/// headers as they came.
async fn judge(
    gateway: &Gateway,
    exchange: &mut Exchange,
    (login, guess): (&Login, &mut Guess),
    backend: &mut Questions,
    said: &HeaderMap,
    body: &[u8],
) -> Result<Verdict, Failure> {
    let mut inquiry = Inquiry::new(&login.rules, &gateway.config().identity.rules);
    let mut step = inquiry.read(&mut backend.browser, said, body, unix_seconds(gateway));
    loop {
        match step {
            Step::Settled(verdict) => {
                guess.judged(login, &verdict, inquiry.take_email());
                return Ok(verdict);
            }
            Step::Ask(question) => {
                let reply = backend.ask(gateway, exchange, question).await?;
                step = inquiry.answered(&mut backend.browser, reply.status, &reply.body);
            }
        }
    }
}

/// Sends the browser back to the login page without the cookies that would name the user again: those of
/// `clear_cookies`, or all that came with the request where none are configured.
fn start_over(gateway: &Gateway, login: &Login, credential: Credential, backend: &Questions) -> Response<AnswerBody> {
    let config = gateway.config();
    let mut response = Response::new(AnswerBody::empty());
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    // Checked when it was configured.
    let login_url = HeaderValue::from_str(&login.login_url);
    headers.insert(LOCATION, login_url.unwrap_or(HeaderValue::from_static("/")));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if credential.is_ambient() {
        headers.append(SET_COOKIE, expire_set_cookie(&config.cookie));
    }
    if config.logout.clear_cookies.is_empty() {
        for name in backend.browser.cookie_names(MOST_CLEARED) {
            gateway.expire_backend_cookie(headers, name);
        }
    }
    gateway.expire_backend_cookies(headers);
    response
}
