//! `login.capture = "jwt"` beside what it needs of other sections.

use super::bearer::BearerConfig;
use super::error::{Place, Problems};
use super::login::LoginConfig;
use super::mode::Mode;
use super::secrets::SecretsConfig;
use super::session::SessionConfig;
use crate::custody::Left;
use crate::login::Capture;
use crate::session::LimitAction;

/// Reports what logins that capture tokens lack.
pub(super) fn report(
    place: &Place,
    logins: &LoginConfig,
    secrets: &SecretsConfig,
    (bearer, session): (Option<&BearerConfig>, &SessionConfig),
    mode: Mode,
    problems: &mut Problems,
) {
    let mut kinds = Vec::new();
    let mut keeps = false;
    for login in &logins.logins {
        let Capture::Jwt(jwt) = &login.rules.capture else { continue };
        keeps |= jwt.tokens.left == Left::Token;
        if kinds.contains(&login.rules.users.kind) {
            problems.error(
                place,
                "captures tokens (`capture = \"jwt\"`) in two tables of one `kind`: which of them a session's token is \
                 refreshed by could not be told; list both paths in one table, or give one a `kind`",
            );
        }
        kinds.push(login.rules.users.kind.clone());
    }
    if kinds.is_empty() {
        return;
    }
    if secrets.key.is_none() {
        match mode {
            Mode::Production => problems.error(
                place,
                "captures tokens (`capture = \"jwt\"`), which needs `secrets.key` or `secrets.key_file`; make a key with \
                 `session-gateway keygen`",
            ),
            Mode::Development => problems.warn(
                place,
                "captures tokens and has no `secrets.key`: the gateway makes one that it forgets when it stops, and with \
                 it every session's token; make a lasting one with `session-gateway keygen` before production",
            ),
        }
    }
    if keeps && bearer.is_none() {
        problems.error(
            place,
            "leaves the token to the browser (`answer = \"keep\"`), and nothing denies it when the session ends: that \
             needs `[bearer]` with the key of the app's tokens; or write `answer = \"placeholder\"`",
        );
    }
    let displaces = session.max_per_user.is_some_and(|limit| limit.action == LimitAction::RevokeOldest);
    if keeps && displaces {
        problems.error(
            place,
            "leaves the token to the browser (`answer = \"keep\"`), and that of a session which has to go for another \
             (`session.max_per_user`, \"revoke-oldest\") would not be denied; write `answer = \"placeholder\"`, or \
             `action = \"deny\"`",
        );
    }
}
