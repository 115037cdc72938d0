//! The browser that asks: where it is, by which name it calls us, and what cookies it has and gets.

use std::net::IpAddr;

use http::header::{COOKIE, HeaderMap, HeaderValue, ORIGIN};
use http::request::Parts;

use super::paths::HOME;
use super::sign_ins::Handle;
use crate::admin::auth::Peer;
use crate::admin::problem::Problem;
use crate::admin::state::AdminState;
use crate::http::{
    CookieName, Origin, Piece, RequestHost, Scheme, cookie_pieces, is_from_another_site, is_led_here, request_host,
};

/// One request's browser.
pub(super) struct Browser {
    pub(super) address: IpAddr,
    host: RequestHost,
    over_tls: bool,
}

impl Browser {
    pub(super) fn of(parts: &Parts, admin: &AdminState) -> Result<Self, Problem> {
        let address = parts.extensions.get::<Peer>().map(|Peer(address)| *address);
        let host = request_host(&parts.headers, &parts.uri).ok();
        let over_tls = admin.config().admin.tls.is_some();
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
        let pieces = headers.get_all(COOKIE).iter().flat_map(|line| cookie_pieces(line.as_bytes()));
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
    pub(super) fn is_led_here(&self, headers: &HeaderMap) -> bool {
        self.origins().all(|ours| is_led_here(headers, &ours))
    }
}
