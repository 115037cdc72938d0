//! Who asks for a page, and who sends a form: somebody who signed in, whose form is one of our own pages'.
//!
//! A page's handler takes a [`Visit`], a form's an [`Act`]: without one it does not get to run.

use std::collections::HashMap;
use std::net::IpAddr;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{HeaderMap, HeaderName, HeaderValue, LOCATION, ORIGIN, SET_COOKIE};
use http::request::Parts;
use http::{StatusCode, header};
use maud::Markup;

use super::calls::{Calls, Client, Refused};
use super::layout::{self, Frame};
use super::parts::FORM_TOKEN;
use super::paths::{HOME, SESSION, SIGN_IN};
use super::sign_ins::Handle;
use crate::admin::auth::{self, Operator, Peer};
use crate::admin::input;
use crate::admin::problem::Problem;
use crate::admin::state::AdminState;
use crate::audit::{ClientText, Details, Outcome};
use crate::clock::WallTime;
use crate::config::{AdminRole, AdminToken};
use crate::http::{
    CookieName, Origin, Piece, RequestHost, Scheme, cookie_pieces, is_from_another_site, is_led_here, login_redirect,
    request_host,
};

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

/// From where a request comes, and by which name it calls us.
pub(super) struct Caller {
    pub(super) address: IpAddr,
    host: RequestHost,
    over_tls: bool,
}

impl Caller {
    pub(super) fn of(parts: &Parts, console: &Console) -> Result<Self, Problem> {
        let address = parts.extensions.get::<Peer>().map(|Peer(address)| *address);
        let host = request_host(&parts.headers, &parts.uri).ok();
        let over_tls = console.admin.config().admin.tls.is_some();
        match (address, host) {
            (Some(address), Some(host)) => Ok(Self { address, host, over_tls }),
            // Old probes may name no host; browsers do.
            _ => Err(Problem::bad_request("name the host that you call")),
        }
    }

    /// A cookie's name. Cookies know no ports, so that the name has it: two gateways of one machine sign nobody out of the
    /// other.
    pub(super) fn cookie(&self, what: &str) -> String {
        let prefix = if self.over_tls { "__Host-" } else { "" };
        let port = self.host.port().map(|port| format!("-{port}")).unwrap_or_default();
        format!("{prefix}{what}{port}")
    }

    /// The value of the cookie of this name; `None` where there is none, or there are several that differ: somebody else
    /// may have planted one.
    pub(super) fn presented(&self, headers: &HeaderMap, what: &str) -> Option<Handle> {
        let name = CookieName::new(&self.cookie(what));
        let pieces = headers.get_all(header::COOKIE).iter().flat_map(|line| cookie_pieces(line.as_bytes()));
        let mut values = pieces.filter_map(|piece| match name.read(piece) {
            Piece::Own(value) => Some(value),
            Piece::Imitation | Piece::Other => None,
        });
        let value = values.next()?;
        if values.any(|other| other != value) {
            return None;
        }
        std::str::from_utf8(value).ok().map(Handle::sent)
    }

    /// The line that sets a cookie; without a value it removes it.
    pub(super) fn set_cookie(&self, what: &str, value: Option<&Handle>) -> HeaderValue {
        let mut cookie = cookie::Cookie::new(self.cookie(what), value.map_or("", Handle::as_str).to_owned());
        cookie.set_http_only(true);
        cookie.set_same_site(cookie::SameSite::Strict);
        // `__Host-` asks for this path.
        cookie.set_path(if self.over_tls { "/" } else { HOME });
        cookie.set_secure(self.over_tls);
        if value.is_none() {
            cookie.set_max_age(cookie::time::Duration::ZERO);
        }
        // Letters, digits and a few signs: it cannot fail.
        HeaderValue::try_from(cookie.to_string()).unwrap_or(HeaderValue::from_static(""))
    }

    /// The origin of our own pages. Without TLS of our own a server in front may speak it.
    fn origins(&self) -> impl Iterator<Item = Origin> {
        let schemes: &[Scheme] = if self.over_tls { &[Scheme::Https] } else { &[Scheme::Http, Scheme::Https] };
        schemes.iter().filter_map(|scheme| Origin::parse(&format!("{}://{}", scheme.as_str(), self.host)))
    }

    /// Whether a page of ours sent the form: browsers name its origin with each.
    pub(super) fn is_from_our_page(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(ORIGIN).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        let origin = line.to_str().ok().and_then(Origin::parse);
        !is_from_another_site(headers) && origin.is_some_and(|origin| self.origins().any(|ours| ours == origin))
    }

    /// Whether a link elsewhere led here, with which the cookie does not come.
    fn is_led_here(&self, headers: &HeaderMap) -> bool {
        self.origins().all(|ours| is_led_here(headers, &ours))
    }
}

/// Somebody who signed in, at a page.
pub(super) struct Visit {
    pub(super) console: Console,
    pub(super) client: Client,
    pub(super) caller: Caller,
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
        let caller = Caller::of(parts, console).map_err(IntoResponse::into_response)?;
        let uses = !parts.headers.contains_key(ONLY_LOOKS);
        let Some((session, found)) = caller.presented(&parts.headers, SESSION).and_then(|session| {
            let now = console.admin.services.commons.clock.monotonic();
            let found = console.admin.sign_ins.find(&session, now, uses)?;
            Some((session, found))
        }) else {
            return Err(unknown(&caller, parts));
        };
        let config = console.admin.config();
        let Some(AdminToken { name, roles, .. }) = found.token.find(&config.admin.tokens) else {
            // A reload took the token away.
            console.admin.sign_ins.end(&session);
            return Err(unknown(&caller, parts));
        };
        let client = Client {
            calls: console.calls.clone(),
            token: found.token,
            address: caller.address,
            user_agent: parts.headers.get(header::USER_AGENT).cloned(),
        };
        let visit = Self {
            client,
            console: console.clone(),
            caller,
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
fn unknown(caller: &Caller, parts: &Parts) -> Response {
    // The cookie comes with what our own page asks for. So it asks for this one once more.
    if parts.method.is_safe() && caller.is_led_here(&parts.headers) {
        return layout::come_again(&parts.uri);
    }
    let target = parts.uri.path_and_query().filter(|_| parts.method.is_safe());
    let location = target.map_or(HeaderValue::from_static(SIGN_IN), |target| login_redirect(SIGN_IN, target));
    let mut answer = (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response();
    answer.headers_mut().insert(SET_COOKIE, caller.set_cookie(SESSION, None));
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
        let ours = visit.caller.is_from_our_page(&parts.headers);
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
