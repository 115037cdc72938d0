//! `identity.seal_cookies` beside what it needs and what it should agree with.

use super::error::Problems;
use super::login::LoginConfig;
use super::mode::Mode;
use super::raw::{RawIdentity, RawLogout};
use super::secrets::SecretsConfig;
use super::value::quoted;

/// Reports what a list of sealed cookies lacks. `own` is the gateway's cookie.
pub(super) fn report(
    raw: &RawIdentity,
    raw_logout: &RawLogout,
    own: &str,
    secrets: &SecretsConfig,
    mode: Mode,
    problems: &mut Problems,
) {
    let names = raw.seal_cookies.get().map_or(&[][..], Vec::as_slice);
    for (index, spot) in names.iter().enumerate() {
        // No reader may take one for the other.
        if spot.value.eq_ignore_ascii_case(own) {
            problems.error(&spot.place, "is the gateway's own cookie; name only the app's");
        } else if names.iter().take(index).any(|other| other.value.eq_ignore_ascii_case(&spot.value)) {
            problems.error(&spot.place, "stands there already; name each cookie once");
        }
    }
    if !names.is_empty() && secrets.key.is_none() {
        let place = raw.seal_cookies.place();
        match mode {
            Mode::Production => problems
                .error(place, "needs `secrets.key` or `secrets.key_file`; make a key with `session-gateway keygen`"),
            Mode::Development => problems.warn(
                place,
                "has no `secrets.key`: the gateway makes one that it forgets when it stops; make a lasting one with \
                 `session-gateway keygen` before production",
            ),
        }
    }
    for spot in raw_logout.clear_cookies.get().into_iter().flatten() {
        if !names.iter().any(|sealed| sealed.value == spot.value) {
            problems.warn(
                &spot.place,
                "is not in `identity.seal_cookies`: whoever has copied that cookie may use it beside a session of their \
                 own; seal it, unless the app's scripts read it",
            );
        }
    }
}

/// Reports what is followed and not sealed.
pub(super) fn report_followed(raw: &RawIdentity, logins: Option<&LoginConfig>, problems: &mut Problems) {
    let sealed = raw.seal_cookies.get().map_or(&[][..], Vec::as_slice);
    let followed = logins.into_iter().flat_map(|config| &config.logins).flat_map(|login| &login.follow);
    for name in followed.filter(|name| sealed.iter().all(|sealed| sealed.value != **name)) {
        problems.warn(
            raw.seal_cookies.place(),
            format!(
                "lacks {}, which `login.follow` follows: a user whose sessions are revoked comes back by the app's own \
                 cookie; seal it, unless the app's scripts read it",
                quoted(name)
            ),
        );
    }
}
