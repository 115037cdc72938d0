//! `/console/sign-in` and `/console/sign-out`: who shows a token has a session until its end.

use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::SET_COOKIE;
use http::request::Parts;
use maud::{Markup, html};

use super::browser::Browser;
use super::calls::Refused;
use super::layout::{plain_page, refusal, why};
use super::parts::FORM_TOKEN;
use super::paths::{HOME, SESSION, SIGN_IN, VISITOR, back};
use super::sign_ins::Handle;
use super::visit::{Act, Console, Visit, fields, not_ours, see_other};
use crate::admin::auth::{self, Operator};
use crate::admin::input;
use crate::admin::problem::Problem;
use crate::admin::token_digest::TokenDigest;
use crate::audit::{Details, Outcome};

/// The page with the form.
pub(super) async fn ask(State(console): State<Console>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let given = fields(parts.uri.query().unwrap_or_default().as_bytes());
    let next = back(given.get("next").map(String::as_str), HOME);
    if Visit::from_request_parts(&mut parts, &console).await.is_ok() {
        return see_other(&next);
    }
    match Browser::of(&parts, &console.admin) {
        Ok(browser) => form_page(&console, &browser, &next, None),
        Err(problem) => problem.into_response(),
    }
}

/// The form: with a right token, a session of its own begins, whatever was there before.
pub(super) async fn begin(State(console): State<Console>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let browser = match Browser::of(&parts, &console.admin) {
        Ok(browser) => browser,
        Err(problem) => return problem.into_response(),
    };
    let fields = match input::read(body).await {
        Ok(body) => fields(&body),
        Err(problem) => return refusal(None, &problem.into()),
    };
    let of_our_form = browser
        .presented(&parts.headers, VISITOR)
        .is_some_and(|visitor| fields.get(FORM_TOKEN).is_some_and(|sent| visitor.is(sent)));
    if !of_our_form || !browser.is_from_our_page(&parts.headers) {
        return refusal(None, &not_ours());
    }
    let next = back(fields.get("next").map(String::as_str), HOME);
    let agent = auth::user_agent(&parts.headers);
    let token = TokenDigest::of(fields.get("token").map_or("", |token| token.trim()).as_bytes());
    let config = console.admin.config();
    let Some(known) = token.find(&config.admin.tokens) else {
        let problem = auth::fail(&console.admin, browser.address, agent);
        return form_page(&console, &browser, &next, Some(&problem));
    };
    match session(&console, &browser, &parts, token) {
        Ok(answer) => {
            let operator = Operator::new(known, browser.address, agent);
            auth::tell(&console.admin, &operator, Outcome::Success, None, called("console_sign_in"));
            (answer, see_other(&next)).into_response()
        }
        Err(refused) => refusal(None, &refused),
    }
}

/// Begins a session, in place of the one that the browser had.
fn session(
    console: &Console,
    browser: &Browser,
    parts: &Parts,
    token: TokenDigest,
) -> Result<axum::response::AppendHeaders<[(http::HeaderName, http::HeaderValue); 2]>, Refused> {
    let commons = &console.admin.services.commons;
    let new = || Handle::new(&*commons.entropy).map_err(|error| Refused::internal(&error));
    let (session, form) = (new()?, new()?);
    if let Some(before) = browser.presented(&parts.headers, SESSION) {
        console.admin.sign_ins.end(&before);
    }
    console.admin.sign_ins.begin(token, &session, form, commons.clock.monotonic());
    Ok(axum::response::AppendHeaders([
        (SET_COOKIE, browser.set_cookie(SESSION, Some(&session))),
        (SET_COOKIE, browser.set_cookie(VISITOR, None)),
    ]))
}

/// Ends the session.
pub(super) async fn end(act: Act) -> Response {
    let visit = &act.visit;
    visit.end();
    if let Some(operator) = visit.operator() {
        auth::tell(&visit.console.admin, &operator, Outcome::Success, None, called("console_sign_out"));
    }
    ([(SET_COOKIE, visit.browser.set_cookie(SESSION, None))], see_other(SIGN_IN)).into_response()
}

fn called(call: &'static str) -> Details {
    Details::none().text("call", call)
}

/// The form, with a secret of its own for this browser; and why the last one was not accepted.
fn form_page(console: &Console, browser: &Browser, next: &str, problem: Option<&Problem>) -> Response {
    let visitor = match Handle::new(&*console.admin.services.commons.entropy) {
        Ok(visitor) => visitor,
        Err(error) => return refusal(None, &Refused::internal(&error)),
    };
    let main = form(&visitor, next, problem);
    let status = problem.map_or(StatusCode::OK, Problem::status);
    let mut answer = plain_page(status, "Sign in", &main);
    answer.headers_mut().append(SET_COOKIE, browser.set_cookie(VISITOR, Some(&visitor)));
    answer
}

fn form(visitor: &Handle, next: &str, problem: Option<&Problem>) -> Markup {
    let wrong = problem.map(|problem| match problem.retry_after() {
        None => html! { "That is not a token of this gateway." },
        Some(_) => why(&problem.clone().into()),
    });
    html! {
        form.sign-in method="post" action=(SIGN_IN) {
            input type="hidden" name=(FORM_TOKEN) value=(visitor.as_str());
            input type="hidden" name="next" value=(next);
            @if let Some(wrong) = &wrong { div.problem #wrong role="alert" { p { (wrong) } } }
            label { "Admin token"
                input name="token" type="password" required autocomplete="current-password" autofocus
                    aria-invalid=[wrong.as_ref().map(|_| "true")] aria-describedby=[wrong.as_ref().map(|_| "wrong")];
            }
            button.main { "Sign in" }
        }
        p.hint { "One of the tokens of the configuration’s " code { "[admin]" } ". The session ends after 30 minutes without use, and after 8 hours." }
    }
}
