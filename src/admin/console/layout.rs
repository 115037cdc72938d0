//! What all pages have around what they say: head, navigation, who is signed in; and the pages that say why there is none.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, Uri, header};
use maud::{DOCTYPE, Markup, html};

use super::calls::Refused;
use super::parts::{form, outside, sentence};
use super::paths::{AUDIT, FINDINGS, HOME, ICON, LOCKS, OBSERVED, SCRIPT, SESSIONS, SIGN_IN, SIGN_OUT, STYLE, TENANTS};

/// The pages that every page leads to.
const PAGES: [(&str, &str); 7] = [
    (HOME, "Overview"),
    (FINDINGS, "Findings"),
    (OBSERVED, "Observed"),
    (SESSIONS, "Sessions"),
    (LOCKS, "Locks"),
    (TENANTS, "Tenants"),
    (AUDIT, "Audit log"),
];

/// Who is signed in, and where.
pub(super) struct Frame<'a> {
    pub(super) operator: &'a str,
    pub(super) form_token: &'a str,
    /// The path of the page.
    pub(super) path: &'a str,
    /// What came of the last form.
    pub(super) notice: Option<&'a str>,
}

/// A page.
pub(super) fn page(frame: &Frame<'_>, title: &str, main: &Markup) -> Response {
    answer(StatusCode::OK, &document(Some(frame), title, main))
}

/// A page for who is not signed in.
pub(super) fn plain_page(status: StatusCode, title: &str, main: &Markup) -> Response {
    answer(status, &document(None, title, main))
}

/// A page that says why what was asked for was not done.
pub(super) fn refusal(frame: Option<&Frame<'_>>, refused: &Refused) -> Response {
    let title = title_of(refused);
    let main = html! {
        div.problem role="alert" { p { (why(refused)) } }
        @match frame {
            Some(_) => p { a href=(HOME) { "To the overview" } },
            None => p { a href=(SIGN_IN) { "To the sign-in" } },
        }
    };
    let mut answer = answer(refused.status, &document(frame, title, &main));
    if let Some(seconds) = refused.retry_after {
        answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    answer
}

/// What a refusal says, as sentences.
pub(super) fn why(refused: &Refused) -> Markup {
    html! {
        (outside(&sentence(&refused.detail)))
        @if let Some(seconds) = refused.retry_after {
            " Try again in " (seconds) @if seconds == 1 { " second." } @else { " seconds." }
        }
    }
}

fn title_of(refused: &Refused) -> &'static str {
    match (refused.code.as_str(), refused.status) {
        ("store_unavailable", _) => "The session store does not answer",
        ("audit_unavailable" | "audit_unconfirmed", _) => "The audit log cannot be written",
        (_, StatusCode::BAD_REQUEST) => "That was not understood",
        (_, StatusCode::UNAUTHORIZED) => "That is not a token of this gateway",
        (_, StatusCode::FORBIDDEN) => "That is not allowed",
        (_, StatusCode::NOT_FOUND) => "There is nothing here",
        (_, StatusCode::TOO_MANY_REQUESTS) => "Too many attempts",
        _ => "That did not work",
    }
}

/// A page that asks for itself once more: with what a link elsewhere leads to, the cookie does not come.
pub(super) fn come_again(uri: &Uri) -> Response {
    let here = uri.path_and_query().map_or(HOME, |here| here.as_str());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content={ "0; url=" (here) };
                title { "session-gateway" }
            }
            body { p { a href=(here) { "Go on" } } }
        }
    };
    answer(StatusCode::OK, &page)
}

fn document(frame: Option<&Frame<'_>>, title: &str, main: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · session-gateway" }
                link rel="stylesheet" href=(STYLE);
                link rel="icon" type="image/svg+xml" href=(ICON);
                @if frame.is_some() { script src=(SCRIPT) defer {} }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header {
                    p.brand { "session-gateway" }
                    @if let Some(frame) = frame { (navigation(frame)) }
                }
                main id="main" tabindex="-1" {
                    h1 { (title) }
                    @if let Some(notice) = frame.and_then(|frame| frame.notice) {
                        p.notice role="status" { (outside(notice)) }
                    }
                    (main)
                }
                @if frame.is_some() { p #news .hidden role="status" {} }
            }
        }
    }
}

fn navigation(frame: &Frame<'_>) -> Markup {
    html! {
        nav aria-label="Pages" {
            ul {
                @for (path, name) in PAGES {
                    li { a href=(path) aria-current=[is_in(frame.path, path).then_some("page")] { (name) } }
                }
            }
        }
        (form(frame.form_token, SIGN_OUT, "sign-out", &html! {
            span { "Signed in as " strong { (frame.operator) } }
            button { "Sign out" }
        }))
    }
}

/// Whether a page is the one that the navigation names, or below it.
fn is_in(page: &str, named: &str) -> bool {
    page == named || (named != HOME && page.strip_prefix(named).is_some_and(|rest| rest.starts_with('/')))
}

fn answer(status: StatusCode, page: &Markup) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    (status, [kind], page.0.clone()).into_response()
}
