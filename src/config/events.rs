//! `[[events]]`: which requests mean something for sessions once the backend has done them.

use super::error::{Place, Problems};
use super::parsers::{each, not_forwarded, pattern, pointer, role};
use super::paths::OwnPath;
use super::raw::RawEvent;
use super::reader::Spot;
use super::table::Field;
use super::value::{Parsed, choice, did_you_mean, quoted};
use crate::policy::{
    ANY, Action, Auth, CountsAs, Event, EventTable, MethodSet, Named, Order, PathPattern, PatternTree, RouteTable,
    TenantNamed,
};
use crate::session::{EndReason, TenantStatus};

const EXAMPLE: &str = "match = \"DELETE /admin/organizations/{tenant}\"";
/// The names of the segments that hold a tenant and a user.
const TENANT: &str = "tenant";
const USER: &str = "user";
/// Ends by time, by a limit or by a new login are the gateway's own to notice: said of anything else they would lie, and
/// ends by time are treated more gently.
const REASONS: [EndReason; 8] = [
    EndReason::Logout,
    EndReason::LogoutAll,
    EndReason::Revoked,
    EndReason::UserRevoked,
    EndReason::TenantRevoked,
    EndReason::OrgDeleted,
    EndReason::OrgSoftDeleted,
    EndReason::UserOthersRevoked,
];

const COUNTS_AS: [(&str, CountsAs); 1] = [("password_change", CountsAs::PasswordChange)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum ActionWord {
    /// Of a tenant, and what becomes of it.
    Tenant(Option<TenantStatus>),
    User,
    OtherSessions,
    Session,
}

struct Match {
    name: String,
    method: http::Method,
    methods: MethodSet,
    pattern: PathPattern,
}

pub(super) fn events(
    raw: &[Spot<RawEvent>],
    further: &[http::Method],
    routes: &RouteTable,
    own_paths: &[OwnPath],
    problems: &mut Problems,
) -> EventTable {
    let mut table = EventTable::default();
    let mut lines: Vec<(String, usize)> = Vec::new();
    for Spot { value: raw, .. } in raw {
        let matched = raw.pattern.require(problems, EXAMPLE, |text| matched(text, further));
        let event = event(raw, matched.as_ref(), problems);
        let Some(matched) = matched else { continue };
        report_without_session(&matched, raw, routes, own_paths, problems);
        if crate::http::is_safe(&matched.method) {
            problems.warn(raw.pattern.place(), "can be called by a link on any page; use a method that changes things");
        }
        if let Err(overlap) = table.add(&matched.methods, &matched.pattern, event) {
            let line = lines.iter().find(|(name, _)| *name == *overlap.other).map_or(0, |(_, line)| *line);
            let message = format!(
                "\"{}\" is the same as `{}` in line {line}, for the same method; merge the two events",
                matched.name, overlap.other
            );
            problems.error(raw.pattern.place(), message);
        }
        lines.push((matched.name, raw.pattern.place().line));
    }
    table
}

/// A method and a pattern.
fn matched(text: &str, further: &[http::Method]) -> Parsed<Match> {
    let without = || format!("{} has no method; write it as \"DELETE /admin/organizations/{{tenant}}\"", quoted(text));
    let (method, path) = text.split_once(' ').ok_or_else(without)?;
    let methods = MethodSet::NONE.with(method, further).ok_or_else(|| not_forwarded(method))?;
    let method = http::Method::from_bytes(method.as_bytes()).map_err(|_| without())?;
    Ok(Match { name: text.to_owned(), method, methods, pattern: pattern(path)? })
}

fn event(raw: &RawEvent, matched: Option<&Match>, problems: &mut Problems) -> Event {
    let obeyed = each(&raw.header, problems, order);
    let word = action_word(raw, problems);
    let event = Event {
        name: matched.map_or("", |matched| &matched.name).into(),
        action: word.and_then(|word| action(word, raw, matched, problems)),
        when: raw.when_pointer.parse(problems, |text| pointer(text)),
        count: raw.count_pointer.parse(problems, |text| pointer(text)),
        roles: each(&raw.roles, problems, role),
        obeyed,
        reason: raw.reason.parse(problems, |text| reason(text)),
        counts_as: raw.counts_as.parse(problems, choice(&COUNTS_AS)),
    };
    if let Some(Match { pattern, .. }) = matched {
        report_names(raw, pattern, problems);
    }
    report_useless(raw, word, matched, problems);
    event
}

/// What the success itself ends. One that only obeys the backend's orders, or is only counted, ends nothing by itself.
fn action_word(raw: &RawEvent, problems: &mut Problems) -> Option<ActionWord> {
    let words = [
        ("revoke-tenant", ActionWord::Tenant(None)),
        ("suspend-tenant", ActionWord::Tenant(Some(TenantStatus::Suspended))),
        ("delete-tenant", ActionWord::Tenant(Some(TenantStatus::Deleted))),
        ("restore-tenant", ActionWord::Tenant(Some(TenantStatus::Active))),
        ("revoke-user", ActionWord::User),
        ("revoke-other-sessions", ActionWord::OtherSessions),
        ("revoke-session", ActionWord::Session),
    ];
    let only_orders = raw.header.get().is_some_and(|header| !header.is_empty());
    if !raw.action.is_given() && (only_orders || raw.counts_as.is_given()) {
        return None;
    }
    // One that is wrong has been reported, and must not be followed by errors about another.
    if raw.action.is_given() { raw.action.parse(problems, choice(&words)) } else { Some(ActionWord::Tenant(None)) }
}

fn action(word: ActionWord, raw: &RawEvent, matched: Option<&Match>, problems: &mut Problems) -> Option<Action> {
    let any = raw.any_tenant.get().copied().unwrap_or_default();
    let tenant = named(&raw.tenant_pointer, TENANT, matched, problems).map(|at| TenantNamed { at, any });
    let user = named(&raw.user_pointer, USER, matched, problems);
    match word {
        ActionWord::User => Some(Action::User { user, tenant }),
        ActionWord::OtherSessions => Some(Action::OtherSessions),
        ActionWord::Session => Some(Action::Session),
        ActionWord::Tenant(status) => {
            if tenant.is_none() && !raw.tenant_pointer.is_given() {
                let pattern = &matched?.pattern;
                let name = raw.action.get().map_or("revoke-tenant", String::as_str);
                let message = format!(
                    "\"{pattern}\" does not say which tenant \"{name}\" is about; name the segment `{{tenant}}`, or add \
                     `tenant_pointer = \"/data/organization_id\"`"
                );
                problems.error(raw.pattern.place(), message);
            }
            Some(Action::Tenant { tenant: tenant?, status })
        }
    }
}

/// Where somebody is named: in the answer, else in the path.
fn named(field: &Field<String>, name: &str, matched: Option<&Match>, problems: &mut Problems) -> Option<Named> {
    if field.is_given() {
        return field.parse(problems, |text| pointer(text)).map(Named::InAnswer);
    }
    matched?.pattern.position_of(name).map(Named::InPath)
}

/// A name that means nothing would let an operator believe that it does.
fn report_names(raw: &RawEvent, pattern: &PathPattern, problems: &mut Problems) {
    for name in pattern.names().filter(|name| ![TENANT, USER, ANY].contains(name)) {
        let message = format!(
            "has a `{{{name}}}`, which no event knows; write `{{tenant}}` or `{{user}}` for whom it is about, or `{{_}}` \
             for any"
        );
        problems.error(raw.pattern.place(), message);
    }
}

/// What is written and has no effect would let an operator believe that it has.
fn report_useless(raw: &RawEvent, word: Option<ActionWord>, matched: Option<&Match>, problems: &mut Problems) {
    if word.is_none() && raw.action.is_given() {
        return;
    }
    let mut useless: Vec<(&Place, &str)> = Vec::new();
    let in_path = |name: &str| matched.is_some_and(|matched| matched.pattern.position_of(name).is_some());
    if word.is_none() {
        let when = Some(&raw.when_pointer).filter(|_| !raw.counts_as.is_given());
        let given = when.into_iter().chain([&raw.count_pointer]).filter(|field| field.is_given());
        useless.extend(given.map(|field| (field.place(), "is read only with an `action`; add one, or remove it")));
    }
    let names_a_user = word == Some(ActionWord::User) && (raw.user_pointer.is_given() || in_path(USER));
    if word != Some(ActionWord::User) {
        let message = "is read only with `action = \"revoke-user\"`; remove it";
        useless.extend(raw.user_pointer.is_given().then(|| (raw.user_pointer.place(), message)));
        let message = "has a `{user}`, which is read only with `action = \"revoke-user\"`; write `{_}`";
        useless.extend(in_path(USER).then(|| (raw.pattern.place(), message)));
    }
    if !names_a_user && !matches!(word, Some(ActionWord::Tenant(_))) {
        let message = "is read only with an `action` about a tenant, or about a user who is named; remove it";
        useless.extend(raw.tenant_pointer.is_given().then(|| (raw.tenant_pointer.place(), message)));
        useless.extend((raw.any_tenant.get() == Some(&true)).then(|| (raw.any_tenant.place(), message)));
        let message = "has a `{tenant}`, which is read only with an `action` about a tenant, or about a user who is named; write `{_}`";
        useless.extend(in_path(TENANT).then(|| (raw.pattern.place(), message)));
    } else if names_a_user && raw.any_tenant.get() == Some(&true) && !raw.tenant_pointer.is_given() && !in_path(TENANT)
    {
        let message = "needs a tenant beside the user, who is one of that tenant's: a `{tenant}` in the path, or \
                       `tenant_pointer`";
        useless.push((raw.any_tenant.place(), message));
    }
    for (place, message) in useless {
        problems.error(place, message);
    }
    if word == Some(ActionWord::Tenant(Some(TenantStatus::Active))) && raw.any_tenant.get() != Some(&true) {
        let message = "restores nobody without `any_tenant = true`: of a tenant that is shut out nobody has a session to \
                       ask with";
        problems.warn(raw.action.place(), message);
    }
}

/// No session is looked up on a public route, and the gateway's own paths have their own meaning.
fn report_without_session(
    matched: &Match,
    raw: &RawEvent,
    routes: &RouteTable,
    own_paths: &[OwnPath],
    problems: &mut Problems,
) {
    let Match { name, method, pattern, .. } = matched;
    let mut own: PatternTree<&OwnPath> = PatternTree::default();
    own_paths.iter().for_each(|path| own.insert(&path.pattern, path));
    if let Some(path) = own.entry(pattern).first() {
        let key = &path.setting.place.key;
        problems
            .error(raw.pattern.place(), format!("\"{pattern}\" is `{key}`, which is no event; choose another path"));
        return;
    }
    let segments: Vec<&str> = pattern.as_str().split('/').filter(|segment| !segment.is_empty()).collect();
    let route = routes.pick(method, &segments, pattern.as_str().ends_with('/'));
    if route.auth == Auth::Public {
        let message = format!(
            "\"{name}\" takes the public route \"{}\", where nobody has a session; give it a route with \
             `auth = \"required\"`",
            route.pattern
        );
        problems.error(raw.pattern.place(), message);
    }
}

fn order(text: &str) -> Parsed<Order> {
    let words = Order::ALL.map(|order| (order.as_str(), order));
    choice(&words)(&text.to_owned())
}

fn reason(text: &str) -> Parsed<EndReason> {
    let found = REASONS.into_iter().find(|reason| reason.as_str() == text);
    found.ok_or_else(|| {
        let names = REASONS.map(EndReason::as_str);
        let advice = did_you_mean(text, names)
            .map_or_else(|| format!("choose one of {}", names.join(", ")), |near| format!("did you mean `{near}`?"));
        format!("{} is not a reason for which a backend ends sessions; {advice}", quoted(text))
    })
}
