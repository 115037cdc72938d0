//! Who may keep an answer that was made for a session: its browser, or nobody. Never a cache that others share, be it a
//! CDN that goes by a header of its own.
//!
//! Pure. What is stricter stays.

use ::http::header::{CACHE_CONTROL, Entry, HeaderMap, HeaderName, HeaderValue, OccupiedEntry, VARY};

const PRIVATE: HeaderValue = HeaderValue::from_static("private");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Lets the browser keep it that asked for it, by this header, and nobody else.
pub fn keep_private(headers: &mut HeaderMap, by: &HeaderValue) {
    match headers.entry(CACHE_CONTROL) {
        Entry::Vacant(none) => _ = none.insert(PRIVATE),
        Entry::Occupied(mut lines) => _ = lines.insert(made_private(&lines)),
    }
    address_no_shared_cache(headers);
    vary_by(headers, by);
}

/// Lets nobody keep it, nor give it to whoever asks with another value of this header.
pub fn keep_nowhere_by(headers: &mut HeaderMap, by: &HeaderValue) {
    keep_nowhere(headers);
    vary_by(headers, by);
}

/// Lets nobody keep it.
pub fn keep_nowhere(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, NO_STORE);
    address_no_shared_cache(headers);
}

/// Removes what caches in front obey in place of `Cache-Control`: the targeted fields (RFC 9213), and those from before
/// there were such.
fn address_no_shared_cache(headers: &mut HeaderMap) {
    let addressed: Vec<HeaderName> = headers.keys().filter(|name| addresses_a_cache(name.as_str())).cloned().collect();
    for name in addressed {
        headers.remove(name);
    }
}

fn addresses_a_cache(name: &str) -> bool {
    name.ends_with("-cache-control") || matches!(name, "surrogate-control" | "edge-control" | "x-accel-expires")
}

/// Says that it is another answer for another value of this header.
pub fn vary_by(headers: &mut HeaderMap, by: &HeaderValue) {
    match headers.entry(VARY) {
        Entry::Vacant(none) => _ = none.insert(by.clone()),
        Entry::Occupied(mut lines) if !does_vary_by(&lines, by) => lines.append(by.clone()),
        Entry::Occupied(_) => {}
    }
}

/// What `Cache-Control` says, all lines in one, without what lets others share the answer.
fn made_private(lines: &OccupiedEntry<'_, HeaderValue>) -> HeaderValue {
    let mut kept = Vec::new();
    let mut strict = false;
    for value in lines.iter() {
        let Ok(text) = value.to_str() else { continue };
        for directive in text.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
            let name = directive.split('=').next().unwrap_or_default().trim();
            if name.eq_ignore_ascii_case("public") || name.eq_ignore_ascii_case("s-maxage") {
                continue;
            }
            // `private="X-Header"` and `no-cache="X-Header"` speak of a header alone.
            strict |= ["private", "no-store"].iter().any(|strict| directive.eq_ignore_ascii_case(strict));
            kept.push(directive);
        }
    }
    if !strict {
        kept.insert(0, "private");
    }
    HeaderValue::from_str(&kept.join(", ")).unwrap_or(PRIVATE)
}

fn does_vary_by(lines: &OccupiedEntry<'_, HeaderValue>, by: &HeaderValue) -> bool {
    let names = lines.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    names.map(str::trim).any(|name| name == "*" || name.as_bytes().eq_ignore_ascii_case(by.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: HeaderValue = HeaderValue::from_static("Cookie");

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn said(headers: &HeaderMap, name: &str) -> Vec<String> {
        headers.get_all(name).iter().map(|value| value.to_str().expect("text").to_owned()).collect()
    }

    #[test]
    fn no_shared_cache_keeps_it_whatever_it_goes_by() {
        for name in [
            "cdn-cache-control",
            "cloudflare-cdn-cache-control",
            "akamai-cache-control",
            "netlify-cdn-cache-control",
            "vercel-cdn-cache-control",
            "x-litespeed-cache-control",
            "surrogate-control",
            "edge-control",
            "x-accel-expires",
        ] {
            let said_before =
                headers(&[(name, "max-age=600"), ("cache-control", "max-age=5, public"), ("expires", "0")]);
            let (mut private, mut nowhere) = (said_before.clone(), said_before);
            keep_private(&mut private, &COOKIE);
            keep_nowhere(&mut nowhere);
            for kept in [&private, &nowhere] {
                assert!(!kept.contains_key(name) && kept.contains_key("expires"), "{name}: {kept:?}");
            }
            assert_eq!(said(&private, "cache-control"), ["private, max-age=5"]);
            assert_eq!(said(&nowhere, "cache-control"), ["no-store"]);
        }
    }

    #[test]
    fn what_is_stricter_stays_and_what_lets_others_share_goes() {
        for (before, after) in [
            (&[][..], "private"),
            (&["public"], "private"),
            (&["public, max-age=60", "S-MaxAge=600"], "private, max-age=60"),
            (&["no-store"], "no-store"),
            (&["PRIVATE, max-age=1"], "PRIVATE, max-age=1"),
            (&["private=\"Set-Cookie\""], "private, private=\"Set-Cookie\""),
            (&["no-cache"], "private, no-cache"),
        ] {
            let lines: Vec<_> = before.iter().map(|line| ("cache-control", *line)).collect();
            let mut headers = headers(&lines);
            keep_private(&mut headers, &COOKIE);
            assert_eq!(said(&headers, "cache-control"), [after], "{before:?}");
        }
    }

    #[test]
    fn it_varies_by_what_was_presented_once() {
        for (before, after) in [
            (&[][..], &["Cookie"][..]),
            (&["accept"], &["accept", "Cookie"]),
            (&["Accept, COOKIE"], &["Accept, COOKIE"]),
            (&["*"], &["*"]),
        ] {
            let lines: Vec<_> = before.iter().map(|line| ("vary", *line)).collect();
            let mut headers = headers(&lines);
            keep_nowhere_by(&mut headers, &COOKIE);
            assert_eq!(said(&headers, "vary"), after);
        }
    }
}
