//! What is done with a session, as the monitoring sees it (docs/monitoring.md): calls are counted, and so are things that
//! were refused, passwords that were changed, and sessions that were used after their end.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;

use super::exchange::Exchange;
use super::failure::Failure;
use super::lookup::{EndedUse, LiveUse};
use super::services::Gateway;
use crate::config::WatchedPaths;
use crate::http::Target;
use crate::policy::{CountsAs, Ending, Event, Permit, RouteTable};
use crate::session::{By, Principal, Scope};
use crate::watch::{TooMany, Who};

/// The code of a refusal for a role, which is the gateway's own.
const FORBIDDEN_ROLE: &str = "forbidden_role";

impl Gateway {
    /// Counts a call, just before the backend is asked: what was refused until then is none. One that is too many is
    /// refused where that is wanted.
    pub(super) fn count_call(&self, exchange: &Exchange, live: &LiveUse) -> Result<(), Failure> {
        let Some(rules) = &self.config().monitor else { return Ok(()) };
        // By the login's own user: whoever may choose from several tenants has not several times as many.
        match self.watch().called(rules, &live.record.principal, live.now) {
            None => Ok(()),
            Some(too_many) => self.called_too_often(exchange, live, too_many),
        }
    }

    #[cold]
    fn called_too_often(&self, exchange: &Exchange, live: &LiveUse, too_many: TooMany) -> Result<(), Failure> {
        let Some(rules) = &self.config().monitor else { return Ok(()) };
        if too_many.first {
            let session = (live.id, live.record.principal.clone());
            self.watch().found_calls(rules, too_many, session, exchange.origin(By::User));
        }
        if rules.throttles() { Err(Failure::TooManyCalls { seconds: too_many.seconds }) } else { Ok(()) }
    }

    /// Something was answered with 403, by the backend or here: it counts where the session's user reached for what only
    /// some may have.
    #[cold]
    pub(super) fn note_refusal(&self, exchange: &Exchange) {
        let (Some(rules), Some(who)) = (&self.config().monitor, who(exchange)) else { return };
        let by_backend = exchange.code.is_none();
        if rules.privileges.is_none() || !(by_backend || exchange.code == Some(FORBIDDEN_ROLE)) {
            return;
        }
        let target = exchange.target.as_ref().and_then(|target| Target::parse(target.path()).ok());
        let Some(target) = target else { return };
        let segments: Vec<Cow<'_, str>> = target.segments().collect();
        let asked = Asked { method: &exchange.method, segments: &segments, slash: target.path().ends_with('/') };
        if let Some(reached_for) = reached_for(&self.config().routes, &self.config().watched, &asked) {
            self.watch().refused(rules, &reached_for, &who, exchange.origin(By::User));
        }
    }

    /// A client claimed an identity that is not its session's, in these headers.
    pub(super) fn note_claims<'a>(&self, exchange: &Exchange, claimed: impl Iterator<Item = &'a str>) {
        let (Some(rules), Some(who)) = (&self.config().monitor, who(exchange)) else { return };
        for header in claimed {
            self.watch().refused(rules, &format!("identity header: {header}"), &who, exchange.origin(By::User));
        }
    }

    /// The backend did what an event stands for. `endings`: whose sessions that ends.
    pub(super) fn note_event(&self, exchange: &Exchange, event: &Event, live: &LiveUse, endings: &[Ending]) {
        let (Some(rules), Some(CountsAs::PasswordChange)) = (&self.config().monitor, event.counts_as) else { return };
        let own = &live.record.principal;
        let origin = || exchange.origin(By::Event(Box::from(&*event.name)));
        if !event.names_user() {
            let who = Who { session: Some(live.id), principal: own.clone() };
            return self.watch().password_changed(rules, &who, origin());
        }
        for ending in endings {
            let Ending::Many { scope: Scope::User { tenant, user }, .. } = ending else { continue };
            let who = if *tenant == own.tenant && *user == own.user {
                Who { session: Some(live.id), principal: own.clone() }
            } else {
                let of = Principal { tenant: tenant.clone(), user: user.clone(), role: None };
                Who { session: None, principal: Arc::new(of) }
            };
            self.watch().password_changed(rules, &who, origin());
        }
    }

    /// Has the backend told what is open of the session.
    pub(super) fn with_risk(&self, permit: Permit, live: &LiveUse) -> Permit {
        let risk = self
            .config()
            .monitor
            .as_ref()
            .and_then(|rules| self.watch().risk(rules.mode, live.record.decided_by(live.id)));
        match risk {
            Some(severity) => permit.with_risk(severity.as_str()),
            None => permit,
        }
    }

    /// The cookie of a session came that is over.
    pub(super) fn note_use_after_end(&self, exchange: &Exchange, ended: &EndedUse) {
        let Some(rules) = &self.config().monitor else { return };
        // What goes on with another token is not over; and a proxy's own address stands for no client.
        if ended.next.is_none() && !self.is_trusted_proxy(exchange.client.get()) {
            let origin = exchange.origin(By::User);
            self.watch().used_after_end(rules, ended.id, ended.reason, ended.record.as_deref(), origin);
        }
    }
}

/// Whose request it is, where it is one of a session's.
pub(super) fn who(exchange: &Exchange) -> Option<Who> {
    let (session, principal) = (exchange.session?, exchange.principal.clone()?);
    Some(Who { session: Some(session), principal })
}

/// What a request asked for.
struct Asked<'a> {
    method: &'a Method,
    segments: &'a [Cow<'a, str>],
    slash: bool,
}

/// What somebody reached for who was refused it, in words that tell it from other things: the method and the route, or where
/// that is a whole folder, what is next in it. `None`: it is for everybody, or nobody said that it is not.
fn reached_for(routes: &RouteTable, watched: &WatchedPaths, asked: &Asked<'_>) -> Option<String> {
    let Asked { method, segments, slash } = asked;
    let route = routes.pick(method, segments, *slash);
    let pattern =
        if route.roles.is_empty() { watched.privileged.find(segments, *slash).first()? } else { &route.pattern };
    let Some(folder) = pattern.strip_suffix('*') else { return Some(format!("{method} {pattern}")) };
    let depth = folder.split('/').filter(|segment| !segment.is_empty()).count();
    let next = segments.get(depth).map_or("", |segment| segment);
    let rest = if segments.len() > depth + 1 { "/*" } else { "" };
    Some(format!("{method} {folder}{next}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_reached_for_is_a_route_and_of_a_folder_what_is_next_in_it() {
        let text = "server.public_url = \"https://a.test\"\nupstream.url = \"http://b\"\nstore.embedded = \"s\"\n\
                    secrets.key = \"kLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbEd8s\"\nmonitor.mode = \"observe\"\n\
                    [[routes]]\nmatch = [\"/reports/*\", \"/users/{id}/role\"]\nroles = [\"boss\"]\n";
        let config = Config::parse("t.toml", text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        for (path, expected) in [
            ("/reports/2026", Some("PUT /reports/2026")),
            ("/reports/2026/q1", Some("PUT /reports/2026/*")),
            ("/reports/2026/q2", Some("PUT /reports/2026/*")),
            ("/users/7/role", Some("PUT /users/{id}/role")),
            ("/users/8/role", Some("PUT /users/{id}/role")),
            ("/admin/users/7", Some("PUT /admin/users/*")),
            ("/api/admin/", Some("PUT /api/admin/")),
            ("/users/7", None),
            ("/", None),
        ] {
            let target = Target::parse(path).expect("a path");
            let segments: Vec<Cow<'_, str>> = target.segments().collect();
            let asked = Asked { method: &Method::PUT, segments: &segments, slash: path.ends_with('/') };
            assert_eq!(reached_for(&config.routes, &config.watched, &asked).as_deref(), expected, "{path}");
        }
    }
}
