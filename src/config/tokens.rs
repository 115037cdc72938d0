//! `login.capture = "jwt"`: where a login's answer has tokens, and what becomes of them.

use std::time::Duration;

use super::error::Problems;
use super::parsers::pointers;
use super::raw::{RawLogin, RawRefresh};
use super::value::{choice, duration_within, memory_within, quoted};
use super::whoami::{needed_pointers, tenants, whoami, whoami_target};
use crate::custody::{Left, RefreshRules, SentAs, TokenRules};
use crate::login::{IdentityPointers, JwtCapture};

const TOKENS: [&str; 4] = ["/access_token", "/token", "/data/token", "/data/access_token"];
const REFRESH_TOKENS: [&str; 2] = ["/refresh_token", "/data/refresh_token"];

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn capture(raw: RawLogin, problems: &mut Problems) -> Option<JwtCapture> {
    let chosen = tenants(&raw.tenants, problems);
    if !chosen.is_empty() {
        let message = "cannot stand beside `capture = \"jwt\"`: the app's token is of one tenant, whichever its user chooses; \
                       remove it";
        problems.error(raw.tenants.place(), message);
    }
    let (whoami, identity) = if raw.whoami.is_given() {
        let asked = raw.whoami.table();
        if asked.bearer.get() != Some(&true) {
            problems.error(
                asked.bearer.place(),
                "is not true: with `capture = \"jwt\"` the backend is asked with the token; write `bearer = true`, or \
                 remove `login.whoami` and have the token's claims read",
            );
        }
        let (target, identity) = whoami(&asked, chosen, problems);
        (Some(target?), identity)
    } else {
        let identity = IdentityPointers {
            tenant: needed_pointers(&raw.tenant, &["/org_id"], problems),
            user: needed_pointers(&raw.user, &["/sub"], problems),
            role: pointers(&raw.role, &[], problems),
            tenants: chosen,
        };
        (None, identity)
    };
    let words = [("placeholder", Left::Placeholder), ("remove", Left::Nothing), ("keep", Left::Token)];
    let tokens = TokenRules {
        token: needed_pointers(&raw.token, &TOKENS, problems),
        refresh_token: pointers(&raw.refresh_token, &REFRESH_TOKENS, problems),
        left: raw.answer.parse_or(Left::Placeholder, problems, choice(&words)),
        max_token: raw.max_token.parse_or(7 << 10, problems, memory_within(256..=16 << 10)),
        refresh: if raw.refresh.is_given() { refresh(&raw.refresh.table(), problems) } else { None },
    };
    if tokens.refresh.is_some() && tokens.refresh_token.is_empty() {
        problems
            .error(raw.refresh_token.place(), "is empty, and `login.refresh` needs one; write where the answer has it");
    }
    Some(JwtCapture { tokens, pointers: identity, whoami })
}

fn refresh(raw: &RawRefresh, problems: &mut Problems) -> Option<RefreshRules> {
    let target = raw.path.require(problems, "path = \"/api/auth/refresh\"", |text| whoami_target(text));
    let before = raw.before.parse_or(SECOND * 60, problems, duration_within(SECOND..=SECOND * 3600));
    let is_body = raw.send.parse_or(true, problems, choice(&[("body", true), ("bearer", false)]));
    let field = raw.field.parse_or(String::from("refresh"), problems, |text| {
        let plain = (1..=128).contains(&text.len()) && text.chars().all(|c| !c.is_control());
        if plain { Ok(text.clone()) } else { Err(format!("{} is not the name of a field", quoted(text))) }
    });
    if !is_body && raw.field.is_given() {
        problems.warn(raw.field.place(), "is not read with `send = \"bearer\"`; remove it or write `send = \"body\"`");
    }
    let send = if is_body { SentAs::Body(field.into()) } else { SentAs::Bearer };
    Some(RefreshRules { target: target?, before, send })
}
