//! Roles that are asked for where nobody has one.

use super::error::Problems;
use super::parsers::role;
use super::raw::{RawEvent, RawRoute};
use super::reader::Spot;
use crate::login::{Capture, LoginRules};
use crate::policy::RouteTable;

/// Whether a login of these rules gives anybody a role.
pub(super) fn are_named_by(rules: &LoginRules) -> bool {
    match &rules.capture {
        Capture::Json(pointers) | Capture::Whoami { pointers, .. } => !pointers.role.is_empty(),
        Capture::Jwt(jwt) => !jwt.pointers.role.is_empty(),
        Capture::Header(names) => names.role.is_some(),
    }
}

/// Where no login names a role, what asks for one lets nobody in, and its events never count.
pub(super) fn report_unnamed(routes: &[Spot<RawRoute>], events: &[Spot<RawEvent>], problems: &mut Problems) {
    const WHY: &str = "and no login names a role (`login.role`), so that nobody has one";
    for Spot { value: route, .. } in routes {
        // A public route's are reported by themselves.
        let public = route.auth.get().is_some_and(|auth| auth == "public");
        if route.roles.get().is_some_and(|roles| !roles.is_empty()) && !public {
            problems.warn(route.roles.place(), format!("is asked for here, {WHY}: 403 `forbidden_role` for everybody"));
        }
    }
    for Spot { value: event, .. } in events {
        if event.roles.get().is_some_and(|roles| !roles.is_empty()) {
            problems.warn(event.roles.place(), format!("is asked for here, {WHY}: the event never counts"));
        }
    }
}

/// An event counts for roles that its route lets in, or never.
pub(super) fn report_excluded(events: &[Spot<RawEvent>], routes: &RouteTable, problems: &mut Problems) {
    for Spot { value: event, .. } in events {
        let Some((method, pattern)) = event.pattern.get().and_then(|text| text.split_once(' ')) else { continue };
        let Ok(method) = http::Method::from_bytes(method.as_bytes()) else { continue };
        let wanted: Vec<_> =
            event.roles.get().into_iter().flatten().filter_map(|spot| role(&spot.value).ok()).collect();
        let segments: Vec<&str> = pattern.split('/').filter(|segment| !segment.is_empty()).collect();
        let let_in = &routes.pick(&method, &segments, pattern.ends_with('/')).roles;
        if !wanted.is_empty() && !let_in.is_empty() && !wanted.iter().any(|role| let_in.contains(role)) {
            let names: Vec<&str> = let_in.iter().map(crate::session::Role::as_str).collect();
            problems.warn(
                event.roles.place(),
                format!("can never match: the event's route lets in {} alone; name one of these", names.join(", ")),
            );
        }
    }
}
