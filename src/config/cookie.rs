//! `[cookie]`: the session cookie's name and attributes.

use super::error::Problems;
use super::raw::RawCookie;
use super::value::{Parsed, choice, quoted};
use crate::http::{CookieAttributes, GatewayCookieName, Origin, SameSite, Scheme};

/// Browsers take these names only from https, whatever their case.
const PREFIXES: [&str; 2] = ["__host-", "__secure-"];

/// `public_url` is where browsers come; `None`: it is wrong, and was reported.
pub(super) fn cookie(
    raw: &RawCookie,
    public_url: Option<&Origin>,
    problems: &mut Problems,
) -> Option<CookieAttributes> {
    let secure = public_url.is_none_or(|url| url.scheme() == Scheme::Https);
    let default = match public_url {
        // Cookies know no ports: two gateways on one machine would share one name, and log each other's users out.
        Some(url) if !secure => format!("session-gateway-{}", url.port()),
        _ => String::from("__Host-session"),
    };
    let name = raw.name.parse_or(default, problems, |text| name(text, secure));
    if raw.name.is_given() && secure && !name.to_ascii_lowercase().starts_with("__host-") {
        problems.warn(
            raw.name.place(),
            "does not start with `__Host-`, so that a site on a neighbouring domain can plant a cookie of this name",
        );
    }
    let words = &[("strict", SameSite::Strict), ("lax", SameSite::Lax), ("none", SameSite::None)];
    let same_site = raw.same_site.parse_or(SameSite::Lax, problems, choice(words));
    if same_site == SameSite::None && !secure {
        problems.error(
            raw.same_site.place(),
            "\"none\" needs a Secure cookie, and so an https `server.public_url`; use \"lax\" or \"strict\" over http",
        );
    }
    let partitioned = raw.partitioned.get().copied().unwrap_or(false);
    if partitioned && same_site != SameSite::None {
        problems.error(
            raw.partitioned.place(),
            "is for apps in the frames of other sites, where browsers send no cookie but one of `same_site = \"none\"`; \
             set that, too, or remove it",
        );
    }
    let name = GatewayCookieName::parse(&name).ok()?;
    Some(CookieAttributes { name, same_site, secure, partitioned })
}

fn name(text: &str, secure: bool) -> Parsed<String> {
    GatewayCookieName::parse(text).map_err(|error| format!("{} {error}", quoted(text)))?;
    let lower = text.to_ascii_lowercase();
    match PREFIXES.iter().find(|prefix| lower.starts_with(**prefix)) {
        Some(_) if !secure => Err(format!(
            "{} would be dropped by browsers: they take such a name only over https; use an https `server.public_url` \
             or another name",
            quoted(text)
        )),
        _ => Ok(text.to_owned()),
    }
}
