//! Who asks for a page, and who sends a form: somebody who signed in, whose form is one of our own pages'.
//!
//! A page's handler takes a [`Visit`], a form's an [`Act`]: without one it does not get to run.

use std::collections::HashMap;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{StatusCode, header};
use maud::Markup;

use super::browser::Browser;
use super::calls::{Calls, Client, Refused};
use super::layout::{self, Frame};
use super::parts::FORM_TOKEN;
use super::paths::{SESSION, SIGN_IN};
use super::sign_ins::Handle;
use crate::admin::auth::{self, Operator};
use crate::admin::input;
use crate::admin::problem::Problem;
use crate::admin::state::AdminState;
use crate::audit::{ClientText, Details, Outcome};
use crate::clock::WallTime;
use crate::config::{AdminRole, AdminToken};
use crate::http::login_redirect;

/// What a page of ours that is open sends when it looks for news by itself: that is no use of the session.
const ONLY_LOOKS: HeaderName = HeaderName::from_static("x-console-refresh");
/// The most fields of a form.
const MOST_FIELDS: usize = 20;

/// What the console works with.
#[derive(Clone)]
pub(super) struct Console {
    pub(super) admin: AdminState,
    pub(super) calls: Calls,
}

/// Somebody who signed in, at a page.
pub(super) struct Visit {
    pub(super) console: Console,
    pub(super) client: Client,
    pub(super) browser: Browser,
    /// Who it is, by the token's name.
    pub(super) name: Box<str>,
    roles: Vec<AdminRole>,
    session: Handle,
    form: Handle,
    notice: Option<String>,
    path: String,
    query: HashMap<String, String>,
}

impl Visit {
    /// Whether the operator may do what asks for this role.
    pub(super) fn may(&self, role: AdminRole) -> bool {
        self.roles.contains(&role)
    }

    /// What every form of this visit's pages carries.
    pub(super) fn form_token(&self) -> &str {
        self.form.as_str()
    }

    /// A parameter of the page's query, where it says something.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// A page.
    pub(super) fn page(&self, title: &str, main: &Markup) -> Response {
        layout::page(&self.frame(), title, main)
    }

    /// A page, or why there is none.
    pub(super) fn show(&self, title: &str, main: Result<Markup, Refused>) -> Response {
        match main {
            Ok(main) => self.page(title, &main),
            Err(refused) => self.refused(&refused),
        }
    }

    /// Why something was not done.
    pub(super) fn refused(&self, refused: &Refused) -> Response {
        layout::refusal(Some(&self.frame()), refused)
    }

    fn frame(&self) -> Frame<'_> {
        let notice = self.notice.as_deref();
        Frame { operator: &self.name, form_token: self.form_token(), path: &self.path, notice }
    }

    /// The time, to say how long ago something was.
    pub(super) fn now(&self) -> WallTime {
        self.console.admin.services.commons.clock.wall()
    }

    /// Ends the session.
    pub(super) fn end(&self) {
        self.console.admin.sign_ins.end(&self.session);
    }

    /// The operator.
    pub(super) fn operator(&self) -> Option<Operator> {
        let config = self.console.admin.config();
        let agent = self.client.user_agent.as_ref().map(|agent| ClientText::of(agent.as_bytes()));
        self.client.token.find(&config.admin.tokens).map(|token| Operator::new(token, self.client.address, agent))
    }

    /// To a page, which says what was done.
    pub(super) fn done(&self, notice: String, page: &str) -> Response {
        self.console.admin.sign_ins.note(&self.session, notice);
        see_other(page)
    }
}

impl FromRequestParts<Console> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Response> {
        let browser = Browser::of(parts, &console.admin).map_err(IntoResponse::into_response)?;
        let uses = !parts.headers.contains_key(ONLY_LOOKS);
        let Some((session, found)) = browser.presented(&parts.headers, SESSION).and_then(|session| {
            let now = console.admin.services.commons.clock.monotonic();
            let found = console.admin.sign_ins.find(&session, now, uses)?;
            Some((session, found))
        }) else {
            return Err(unknown(&browser, parts));
        };
        let config = console.admin.config();
        let Some(AdminToken { name, roles, .. }) = found.token.find(&config.admin.tokens) else {
            // A reload took the token away.
            console.admin.sign_ins.end(&session);
            return Err(unknown(&browser, parts));
        };
        let client = Client {
            calls: console.calls.clone(),
            token: found.token,
            address: browser.address,
            user_agent: parts.headers.get(header::USER_AGENT).cloned(),
        };
        let visit = Self {
            client,
            console: console.clone(),
            browser,
            name: name.clone(),
            roles: roles.clone(),
            session,
            form: found.form,
            notice: found.notice,
            path: parts.uri.path().to_owned(),
            query: fields(parts.uri.query().unwrap_or_default().as_bytes()),
        };
        // Nothing can be shown to who may not look; it is asked here, so that one page is one refusal in the audit log.
        if parts.method.is_safe() && !visit.may(AdminRole::Read) {
            return Err(visit.refused(&Problem::forbidden_role(AdminRole::Read.as_str()).into()));
        }
        Ok(visit)
    }
}

/// What somebody gets who is not signed in.
fn unknown(browser: &Browser, parts: &Parts) -> Response {
    // The cookie comes with what our own page asks for. So it asks for this one once more.
    if parts.method.is_safe() && browser.is_led_here(&parts.headers) {
        return layout::come_again(&parts.uri);
    }
    let target = parts.uri.path_and_query().filter(|_| parts.method.is_safe());
    let location = target.map_or(HeaderValue::from_static(SIGN_IN), |target| login_redirect(SIGN_IN, target));
    let mut answer = (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response();
    answer.headers_mut().insert(SET_COOKIE, browser.set_cookie(SESSION, None));
    answer
}

/// Somebody who signed in, and sends a form of one of our pages.
pub(super) struct Act {
    pub(super) visit: Visit,
    fields: HashMap<String, String>,
}

impl Act {
    /// A field, where it says something.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

impl FromRequest<Console> for Act {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Console) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, console).await?;
        let ours = visit.browser.is_from_our_page(&parts.headers);
        let body = input::read(body).await.map_err(|problem| visit.refused(&problem.into()))?;
        let fields = fields(&body);
        if ours && fields.get(FORM_TOKEN).is_some_and(|sent| visit.form.is(sent)) {
            return Ok(Self { visit, fields });
        }
        if let Some(operator) = visit.operator() {
            let details = Details::none().text("method", parts.method.as_str()).text("path", parts.uri.path());
            auth::tell(&console.admin, &operator, Outcome::Denied, Some(NOT_OURS), details);
        }
        Err(visit.refused(&not_ours()))
    }
}

/// The code of a form that no page of ours sent.
const NOT_OURS: &str = "csrf_failed";

pub(super) fn not_ours() -> Refused {
    Refused {
        status: StatusCode::FORBIDDEN,
        code: NOT_OURS.to_owned(),
        detail: String::from(
            "this form did not come from a page of this console, or the page was too old; nothing was done",
        ),
        retry_after: None,
    }
}

/// The fields of a form or a query, the first of each name.
pub(super) fn fields(text: &[u8]) -> HashMap<String, String> {
    let mut fields = HashMap::new();
    for (name, value) in form_urlencoded::parse(text).take(MOST_FIELDS) {
        fields.entry(name.into_owned()).or_insert_with(|| value.into_owned());
    }
    fields
}

/// To another page, by GET.
pub(super) fn see_other(page: &str) -> Response {
    Redirect::to(page).into_response()
}
