//! `[[routes]]`: who may call what, and the table that a request's route is picked from.

use std::sync::Arc;

use http::Method;

use super::error::{Place, Problems};
use super::identity::{Until, identity_mode};
use super::mode::Mode;
use super::parsers::{each, not_forwarded, pattern, pointer, role};
use super::paths::OwnPath;
use super::raw::RawRoute;
use super::reader::{DateText, OneOrMany, Spot};
use super::table::Field;
use super::upstream::Upstreams;
use super::value::{Parsed, choice, did_you_mean, quoted};
use crate::clock::WallTime;
use crate::http::ProtocolName;
use crate::policy::{
    Auth, Authorization, IdentityMode, MethodSet, NamingPlaces, PathPattern, PatternTree, Route, RouteTable,
};

/// What holds for a route that does not say otherwise.
pub(super) struct Defaults<'a> {
    pub(super) mode: Mode,
    /// `server.methods`
    pub(super) further_methods: &'a [Method],
    pub(super) identity: IdentityMode,
    /// `identity.compat_until`
    pub(super) compat_until: Option<WallTime>,
}

/// The name of the route that a request takes when no pattern matches.
const UNMATCHED: &str = "default";
const CATCH_ALL: &str = "/*";

struct Explicit {
    patterns: Vec<Spot<PathPattern>>,
    methods: MethodSet,
    /// With the pattern left empty.
    route: Route,
}

pub(super) fn routes(
    raw: &[Spot<RawRoute>],
    own_paths: &[OwnPath],
    defaults: &Defaults<'_>,
    upstreams: &Upstreams,
    problems: &mut Problems,
) -> RouteTable {
    let explicit: Vec<Explicit> = raw.iter().map(|spot| route(spot, defaults, upstreams, problems)).collect();
    report_overlaps(&explicit, problems);
    let mut table = RouteTable::new(unmatched(&explicit, defaults, upstreams, problems));
    for Explicit { patterns, methods, route } in &explicit {
        for Spot { value: pattern, .. } in patterns {
            // An overlap has been reported with both lines already.
            let naming = NamingPlaces::of(pattern, route.naming.in_body().to_vec());
            let route = Route { pattern: pattern.as_str().into(), naming, ..route.clone() };
            let _ = table.add(pattern, methods.clone(), route);
        }
    }
    add_implicit(&mut table, own_paths);
    report_unreachable(&table, &explicit, own_paths, problems);
    report_shadowed(&explicit, own_paths, problems);
    table
}

fn route(spot: &Spot<RawRoute>, defaults: &Defaults<'_>, upstreams: &Upstreams, problems: &mut Problems) -> Explicit {
    let raw = &spot.value;
    let words = [("required", Auth::Required), ("optional", Auth::Optional), ("public", Auth::Public)];
    let auth = raw.auth.parse_or(Auth::Required, problems, choice(&words));
    let roles = each(&raw.roles, problems, role);
    let methods = methods(&raw.methods, defaults.further_methods, problems);
    report_unchecked_roles(&raw.roles, auth, &methods, problems);
    let passing = [("pass", Authorization::Pass), ("drop", Authorization::Drop)];
    let authorization = raw.authorization.parse_or(Authorization::Pass, problems, choice(&passing));
    let csrf = raw.csrf.parse_or(true, problems, choice(&[("on", true), ("off", false)]));
    let lenient = raw.path.parse_or(false, problems, is_lenient);
    let until = Until { field: &raw.compat_until, inherited: defaults.compat_until };
    let mode = identity_mode(&raw.mode, defaults.identity, &until, defaults.mode, problems);
    report_useless_date(&raw.compat_until, mode, problems);
    let upstream = upstream(&raw.upstream, spot, upstreams, problems);
    let upgrade = each(&raw.upgrade, problems, |name| {
        ProtocolName::parse(name).map_err(|error| format!("{} {error}", quoted(name)))
    });
    let patterns = patterns(raw, problems);
    let in_body = each(&raw.tenant_in_body, problems, pointer);
    report_uncompared(raw, auth, &patterns, problems);
    // Each pattern has segments of its own.
    let naming = NamingPlaces::in_bodies(in_body);
    Explicit {
        patterns,
        methods,
        route: Route {
            pattern: Arc::from(""),
            auth,
            roles,
            csrf,
            lenient,
            authorization,
            upstream,
            mode,
            upgrade,
            naming,
        },
    }
}

/// On a public route nobody's tenant is known.
fn report_uncompared(raw: &RawRoute, auth: Auth, patterns: &[Spot<PathPattern>], problems: &mut Problems) {
    if auth != Auth::Public {
        return;
    }
    if raw.tenant_in_body.get().is_some_and(|list| !list.is_empty()) {
        let message = "needs `auth = \"required\"`: nobody's tenant is known on a public route";
        problems.error(raw.tenant_in_body.place(), message);
    }
    for Spot { place, value } in patterns.iter().filter(|spot| NamingPlaces::of(&spot.value, Vec::new()).are_in_path())
    {
        let message = format!("\"{value}\" has a `{{tenant}}` or `{{user}}`, which is not compared on a public route");
        problems.warn(place, message);
    }
}

/// How paths are read. Elsewhere `path` is what `match` is here.
fn is_lenient(text: &String) -> Parsed<bool> {
    if text.starts_with('/') {
        return Err(format!("says how paths are read, as in \"strict\"; write `match = {}`", quoted(text)));
    }
    choice(&[("strict", false), ("lenient", true)])(text)
}

/// On a public route roles hold only for the methods that it does not list.
fn report_unchecked_roles(field: &Field<Vec<Spot<String>>>, auth: Auth, methods: &MethodSet, problems: &mut Problems) {
    if field.get().is_none_or(Vec::is_empty) {
        return;
    }
    match auth {
        Auth::Public if *methods == MethodSet::ALL => {
            let message = "needs `auth = \"required\"`: nobody's role is checked on a public route";
            problems.error(field.place(), message);
        }
        Auth::Public => {
            problems.warn(field.place(), "is checked only for methods that this public route does not list");
        }
        Auth::Optional => problems.warn(field.place(), "is not checked for requests without a session"),
        Auth::Required | Auth::Blocked => {}
    }
}

fn report_useless_date(field: &Field<DateText>, mode: IdentityMode, problems: &mut Problems) {
    if field.is_given() && !matches!(mode, IdentityMode::Compat { .. }) {
        problems.error(field.place(), "has no effect without `mode = \"compat\"`; remove it");
    }
}

fn patterns(raw: &RawRoute, problems: &mut Problems) -> Vec<Spot<PathPattern>> {
    raw.pattern.require(problems, "match = \"/static/*\"", |OneOrMany(list)| {
        if list.is_empty() { Err(String::from("is empty; write at least one pattern")) } else { Ok(()) }
    });
    let mut patterns = Vec::new();
    for Spot { place, value } in raw.pattern.get().into_iter().flat_map(|OneOrMany(list)| list) {
        match pattern(value) {
            Ok(value) => patterns.push(Spot { place: place.clone(), value }),
            Err(message) => problems.error(place, message),
        }
    }
    patterns
}

fn methods(field: &Field<Vec<Spot<String>>>, further: &[Method], problems: &mut Problems) -> MethodSet {
    let parsed = each(field, problems, |text| {
        MethodSet::NONE.with(text, further).map(|_| text.to_owned()).ok_or_else(|| not_forwarded(text))
    });
    if parsed.is_empty() {
        return MethodSet::ALL;
    }
    parsed.iter().fold(MethodSet::NONE, |set, name| set.clone().with(name, further).unwrap_or(set))
}

fn upstream(field: &Field<String>, spot: &Spot<RawRoute>, upstreams: &Upstreams, problems: &mut Problems) -> Arc<str> {
    if !field.is_given() {
        if upstreams.fallback().is_none() && !upstreams.names().is_empty() {
            let names = upstreams.names().join("`, `");
            let message =
                format!("names no upstream, and there is no `[upstream]`; add `upstream = …`, one of `{names}`");
            problems.error(&spot.place, message);
        }
        return upstreams.fallback().unwrap_or_default();
    }
    let known = field.parse(problems, |name| {
        if upstreams.names().contains(name) {
            return Ok(Arc::from(name.as_str()));
        }
        let hint = did_you_mean(name, upstreams.names().iter().map(String::as_str));
        let advice =
            hint.map_or_else(|| String::from("add it to `[upstreams]`"), |near| format!("did you mean `{near}`?"));
        Err(format!("there is no upstream {}; {advice}", quoted(name)))
    });
    known.unwrap_or_default()
}

/// The route of what no pattern matches. Without a default upstream its requests go where those of `/*` go, which must
/// then be there.
fn unmatched(explicit: &[Explicit], defaults: &Defaults<'_>, upstreams: &Upstreams, problems: &mut Problems) -> Route {
    let catches_all = |route: &&Explicit| route.patterns.iter().any(|spot| spot.value.as_str() == CATCH_ALL);
    let catch_all = explicit.iter().find(catches_all).map(|explicit| explicit.route.upstream.clone());
    if upstreams.fallback().is_none() && catch_all.is_none() && !upstreams.names().is_empty() {
        let message = "has several upstreams and none is the default; call one `[upstream]`, or add a route that \
                       matches \"/*\"";
        problems.error(upstreams.place(), message);
    }
    Route {
        pattern: UNMATCHED.into(),
        auth: Auth::Required,
        roles: Vec::new(),
        csrf: true,
        lenient: false,
        authorization: Authorization::Pass,
        upstream: upstreams.fallback().or(catch_all).unwrap_or_default(),
        mode: defaults.identity,
        upgrade: Vec::new(),
        naming: NamingPlaces::default(),
    }
}

fn report_overlaps(explicit: &[Explicit], problems: &mut Problems) {
    let mut seen: PatternTree<(MethodSet, Place)> = PatternTree::default();
    for Explicit { patterns, methods, .. } in explicit {
        for Spot { place, value: pattern } in patterns {
            let entries = seen.entry(pattern);
            if let Some((_, other)) = entries.iter().find(|(other, _)| other.overlaps(methods)) {
                let message = format!(
                    "\"{pattern}\" is the same as `{}` in line {}, for the same methods; merge the two routes or give \
                     each its own methods",
                    other.key, other.line
                );
                problems.error(place, message);
            }
            entries.push((methods.clone(), place.clone()));
        }
    }
}

/// Adds the routes of login and logout. They are public, and go where an explicit route that covers them would send
/// them.
fn add_implicit(table: &mut RouteTable, own_paths: &[OwnPath]) {
    let implicit: Vec<(&PathPattern, Route)> = own_paths
        .iter()
        .filter(|own| own.is_public())
        .map(|own| {
            let covering =
                table.pick(&own.needed_without_session().unwrap_or(Method::POST), &own.segments(), own.ends_in_slash());
            let route = Route {
                pattern: own.pattern.as_str().into(),
                auth: Auth::Public,
                roles: Vec::new(),
                csrf: true,
                lenient: false,
                upgrade: Vec::new(),
                naming: NamingPlaces::default(),
                ..covering.as_ref().clone()
            };
            (&own.pattern, route)
        })
        .collect();
    for (pattern, route) in implicit {
        table.add_implicit(pattern, route);
    }
}

/// Keeps clients from what the gateway asks the backend for itself, unless a route of the same pattern lets them.
pub(super) fn block(table: &mut RouteTable, asked: &PathPattern) {
    let segments: Vec<&str> = asked.as_str().split('/').filter(|segment| !segment.is_empty()).collect();
    let covering = table.pick(&Method::GET, &segments, asked.as_str().ends_with('/'));
    let route = Route {
        pattern: asked.as_str().into(),
        auth: Auth::Blocked,
        roles: Vec::new(),
        csrf: true,
        lenient: false,
        mode: IdentityMode::Enforce,
        upgrade: Vec::new(),
        naming: NamingPlaces::default(),
        ..covering.as_ref().clone()
    };
    table.add_implicit(asked, route);
}

/// An explicit route may take the way to the login away.
fn report_unreachable(table: &RouteTable, explicit: &[Explicit], own_paths: &[OwnPath], problems: &mut Problems) {
    let mut places: PatternTree<&Place> = PatternTree::default();
    for Spot { place, value: pattern } in explicit.iter().flat_map(|route| &route.patterns) {
        places.insert(pattern, place);
    }
    for own in own_paths {
        let Some(method) = own.needed_without_session() else { continue };
        if table.pick(&method, &own.segments(), own.ends_in_slash()).auth != Auth::Required {
            continue;
        }
        // Only an explicit route of the same pattern can have replaced the implicit, public one.
        let place = places.entry(&own.pattern).first().map_or(&own.setting.place, |place| *place);
        let message = format!(
            "\"{}\" is `{}` and would need a session for {method}, so nobody could log in; let a route with \
             `auth = \"public\"` have it",
            own.pattern, own.setting.place.key
        );
        problems.error(place, message);
    }
}

fn report_shadowed(explicit: &[Explicit], own_paths: &[OwnPath], problems: &mut Problems) {
    let mut answered: PatternTree<&OwnPath> = PatternTree::default();
    for own in own_paths.iter().filter(|own| own.is_answered_by_gateway()) {
        answered.insert(&own.pattern, own);
    }
    for Spot { place, value: pattern } in explicit.iter().flat_map(|route| &route.patterns) {
        if let Some(own) = answered.entry(pattern).first() {
            let key = &own.setting.place.key;
            problems.warn(
                place,
                format!("\"{pattern}\" is `{key}`, which the gateway answers itself; it has no effect here"),
            );
        }
    }
}
