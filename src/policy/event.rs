//! Events: what a backend's own success means for sessions (docs/behaviour.md, "Events").
//!
//! The backend is believed about what it did, the client about nothing: whose sessions end follows from the request's own
//! session, from the path that the backend was asked for, and from the backend's answer. The only foreign thing that can
//! be named is a tenant, and only where the configuration says `any_tenant`.

use std::collections::HashMap;
use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::pattern::{PathPattern, PatternTree};
use super::route::{MethodSet, Overlap};
use crate::http::{EventAnswer, IdentityRules, JsonPointer};
use crate::session::{EndReason, Principal, Role, Scope, SessionId, TenantId};

const SESSION_EVENT: HeaderName = HeaderName::from_static("x-session-event");
/// No backend has more to say at once.
const MOST_ORDERS: usize = 8;

/// What one kind of request means for sessions once the backend has done it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The method and pattern, as the event's name in logs and audit lines.
    pub name: Arc<str>,
    /// What ends by the success itself; `None`: only what the answer orders.
    pub action: Option<Action>,
    /// What must be in the answer.
    pub when: Option<JsonPointer>,
    /// Where the answer says how many sessions ended.
    pub count: Option<JsonPointer>,
    /// Whose requests count; empty: everybody's.
    pub roles: Vec<Role>,
    /// Which orders of the backend are obeyed (`X-Session-Event`).
    pub obeyed: Vec<Order>,
    /// Why, where that is not the action's or order's own reason.
    pub reason: Option<EndReason>,
}

/// What a success ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// All sessions of a tenant.
    Tenant {
        /// Where it is named.
        named: TenantNamed,
        /// Whether it may be another than the session's own.
        any: bool,
    },
    /// All sessions of the session's user.
    User,
    /// All but this one.
    OtherSessions,
    /// This one.
    Session,
}

/// Where an event's tenant is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantNamed {
    /// In this segment of the path.
    InPath(usize),
    /// In the answer.
    InAnswer(JsonPointer),
}

/// What a backend can order in `X-Session-Event`, always about the session's own user and tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// This session ends.
    Logout,
    /// All sessions of the user end.
    RevokeUser,
    /// All but this one end.
    RevokeOtherSessions,
    /// All sessions of the tenant end.
    RevokeTenant,
    /// The user goes on in another tenant.
    SwitchTenant,
}

impl Order {
    /// Every order.
    pub const ALL: [Self; 5] =
        [Self::Logout, Self::RevokeUser, Self::RevokeOtherSessions, Self::RevokeTenant, Self::SwitchTenant];

    /// The value of the header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::RevokeUser => "revoke-user",
            Self::RevokeOtherSessions => "revoke-other-sessions",
            Self::RevokeTenant => "revoke-tenant",
            Self::SwitchTenant => "switch-tenant",
        }
    }
}

/// Whose request it was.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    /// The session.
    pub id: SessionId,
    /// Whose it is.
    pub principal: &'a Principal,
    /// The decoded segment of the path that names a tenant, where the event has one.
    pub path_tenant: Option<&'a str>,
}

/// What ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The session of the request.
    This(EndReason),
    /// Sessions of a user or tenant.
    Many {
        /// Whose.
        scope: Scope,
        /// Why.
        reason: EndReason,
    },
}

impl Ending {
    /// Whether that includes the session of the request.
    #[must_use]
    pub fn includes(&self, principal: &Principal) -> bool {
        match self {
            Self::This(_) | Self::Many { scope: Scope::User { .. }, .. } => true,
            Self::Many { scope: Scope::OtherSessions { .. }, .. } => false,
            Self::Many { scope: Scope::Tenant { tenant }, .. } => *tenant == principal.tenant,
        }
    }

    /// Whose they are, where the request's own are `principal`'s.
    #[must_use]
    pub const fn tenant<'a>(&'a self, principal: &'a Principal) -> &'a TenantId {
        match self {
            Self::This(_) => &principal.tenant,
            Self::Many { scope, .. } => match scope {
                Scope::User { tenant, .. } | Scope::OtherSessions { tenant, .. } | Scope::Tenant { tenant } => tenant,
            },
        }
    }
}

/// Why a success ends nothing although the backend did what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Requests of this role do not count.
    Role,
    /// It is about another tenant than the session's own.
    OtherTenant(TenantId),
}

/// What a success comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing: the event has no action, or the backend did not do it.
    Nothing,
    /// These sessions end.
    Ends(Ending),
    /// They would, but for a guard.
    Refused(Guard),
    /// They would, but nobody can say of which tenant: the text is for the log.
    Unclear(&'static str),
}

impl Event {
    /// Whether the answer must be read, so that it cannot be passed on as it comes.
    #[must_use]
    pub const fn reads_answer(&self) -> bool {
        self.action.is_some()
    }

    /// Which segment of the path names the tenant.
    #[must_use]
    pub const fn tenant_segment(&self) -> Option<usize> {
        match self.action {
            Some(Action::Tenant { named: TenantNamed::InPath(segment), .. }) => Some(segment),
            _ => None,
        }
    }

    /// What a success (2xx) with this answer ends.
    #[must_use]
    pub fn judge(&self, requester: Requester<'_>, answer: &EventAnswer, rules: &IdentityRules) -> Judgement {
        let Some(action) = &self.action else { return Judgement::Nothing };
        if !answer.says_done(self.when.as_ref()) {
            return Judgement::Nothing;
        }
        if !self.counts(requester.principal) {
            return Judgement::Refused(Guard::Role);
        }
        let named = match action {
            Action::User => return Judgement::Ends(self.of_user(requester, EndReason::UserRevoked)),
            Action::OtherSessions => return Judgement::Ends(self.of_others(requester)),
            Action::Session => return Judgement::Ends(Ending::This(self.reason.unwrap_or(EndReason::Revoked))),
            Action::Tenant { named: TenantNamed::InPath(_), .. } => requester
                .path_tenant
                .and_then(|raw| rules.canonical_tenant(raw).ok())
                .ok_or("what the path names cannot be a tenant"),
            Action::Tenant { named: TenantNamed::InAnswer(pointer), .. } => answer
                .value_at(pointer)
                .and_then(|value| rules.tenant_of(&value))
                .ok_or("the answer names no tenant, or one that cannot be"),
        };
        let any = matches!(action, Action::Tenant { any: true, .. });
        match named {
            Err(why) => Judgement::Unclear(why),
            Ok(tenant) if any || tenant == requester.principal.tenant => {
                Judgement::Ends(self.of_tenant(tenant, EndReason::OrgDeleted))
            }
            Ok(tenant) => Judgement::Refused(Guard::OtherTenant(tenant)),
        }
    }

    /// What the backend's headers order; an error for each line that is no order, or none that this event obeys.
    pub fn orders<'a>(&'a self, said: &'a HeaderMap) -> impl Iterator<Item = Result<Order, &'a HeaderValue>> {
        said.get_all(SESSION_EVENT).iter().take(MOST_ORDERS).map(|line| {
            let known = self.obeyed.iter().find(|order| order.as_str().as_bytes() == line.as_bytes());
            known.copied().ok_or(line)
        })
    }

    /// What an order ends; `None` for the one that ends nothing at once.
    #[must_use]
    pub fn ordered(&self, order: Order, requester: Requester<'_>) -> Option<Ending> {
        match order {
            Order::Logout => Some(Ending::This(self.reason.unwrap_or(EndReason::Logout))),
            Order::RevokeUser => Some(self.of_user(requester, EndReason::UserRevoked)),
            Order::RevokeOtherSessions => Some(self.of_others(requester)),
            Order::RevokeTenant => Some(self.of_tenant(requester.principal.tenant.clone(), EndReason::TenantRevoked)),
            Order::SwitchTenant => None,
        }
    }

    /// Whether requests of this principal count.
    #[must_use]
    pub fn counts(&self, principal: &Principal) -> bool {
        self.roles.is_empty() || principal.role.as_ref().is_some_and(|role| self.roles.contains(role))
    }

    fn of_user(&self, requester: Requester<'_>, otherwise: EndReason) -> Ending {
        let Principal { tenant, user, .. } = requester.principal;
        self.many(Scope::User { tenant: tenant.clone(), user: user.clone() }, otherwise)
    }

    fn of_others(&self, requester: Requester<'_>) -> Ending {
        let Principal { tenant, user, .. } = requester.principal;
        let scope = Scope::OtherSessions { tenant: tenant.clone(), user: user.clone(), keep: requester.id };
        self.many(scope, EndReason::UserOthersRevoked)
    }

    fn of_tenant(&self, tenant: TenantId, otherwise: EndReason) -> Ending {
        self.many(Scope::Tenant { tenant }, otherwise)
    }

    fn many(&self, scope: Scope, otherwise: EndReason) -> Ending {
        Ending::Many { scope, reason: self.reason.unwrap_or(otherwise) }
    }
}

/// All events. For each method by itself the most specific pattern wins: an event of another method on a closer pattern
/// hides none.
#[derive(Clone, Debug, Default)]
pub struct EventTable {
    by_method: HashMap<Box<str>, PatternTree<Arc<Event>>>,
}

impl EventTable {
    /// Adds an event.
    ///
    /// # Errors
    /// When an equal pattern already has one of these methods.
    pub fn add(&mut self, methods: &MethodSet, pattern: &PathPattern, event: Event) -> Result<(), Overlap> {
        for method in methods.names() {
            if let Some(other) = self.by_method.entry(method.into()).or_default().entry(pattern).first() {
                return Err(Overlap { other: other.name.clone() });
            }
        }
        let event = Arc::new(event);
        for method in methods.names() {
            self.by_method.entry(method.into()).or_default().insert(pattern, event.clone());
        }
        Ok(())
    }

    /// What a request means, if anything.
    pub fn pick<S: AsRef<str>>(&self, method: &Method, segments: &[S], trailing_slash: bool) -> Option<&Arc<Event>> {
        self.by_method.get(method.as_str())?.find(segments, trailing_slash).first()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::http::TenantFormat;
    use crate::session::{SessionToken, UserId};

    fn event(action: Option<Action>) -> Event {
        let (when, count, roles, obeyed) = (None, None, Vec::new(), Order::ALL.to_vec());
        Event { name: "x".into(), action, when, count, roles, obeyed, reason: None }
    }

    fn of_tenant(named: TenantNamed, any: bool) -> Event {
        event(Some(Action::Tenant { named, any }))
    }

    fn principal() -> Principal {
        Principal {
            tenant: TenantId::parse("42").expect("a tenant"),
            user: UserId::parse("7").expect("a user"),
            role: Some(Role::parse("admin").expect("a role")),
        }
    }

    fn pointer(text: &str) -> JsonPointer {
        JsonPointer::parse(text).expect("a pointer")
    }

    fn verdict(event: &Event, path: Option<&str>, answer: &EventAnswer, rules: &IdentityRules) -> String {
        let principal = principal();
        let id = SessionToken::generate(&SystemEntropy).expect("entropy").id();
        match event.judge(Requester { id, principal: &principal, path_tenant: path }, answer, rules) {
            Judgement::Nothing => "nothing".to_owned(),
            Judgement::Unclear(_) => "unclear".to_owned(),
            Judgement::Refused(Guard::Role) => "role".to_owned(),
            Judgement::Refused(Guard::OtherTenant(tenant)) => format!("other {tenant}"),
            Judgement::Ends(Ending::This(reason)) => format!("this {}", reason.as_str()),
            Judgement::Ends(Ending::Many { scope, reason }) => {
                let whose = match scope {
                    Scope::User { tenant, user } => format!("user {tenant}/{user}"),
                    Scope::OtherSessions { tenant, user, keep } if keep == id => format!("others {tenant}/{user}"),
                    Scope::OtherSessions { .. } => "somebody".to_owned(),
                    Scope::Tenant { tenant } => format!("tenant {tenant}"),
                };
                format!("{whose} {}", reason.as_str())
            }
        }
    }

    #[test]
    fn a_tenant_in_the_path_is_the_sessions_own_in_its_one_spelling_or_refused() {
        let (exact, int) =
            (IdentityRules::default(), IdentityRules { tenant_format: TenantFormat::Int, ..IdentityRules::default() });
        for (path, rules, own, any) in [
            (Some("42"), &exact, "tenant 42 org_deleted", "tenant 42 org_deleted"),
            (Some("77"), &exact, "other 77", "tenant 77 org_deleted"),
            (Some("042"), &exact, "other 042", "tenant 042 org_deleted"),
            (Some("042"), &int, "tenant 42 org_deleted", "tenant 42 org_deleted"),
            (Some("42;x"), &int, "unclear", "unclear"),
            (Some(" 42"), &int, "unclear", "unclear"),
            (Some("٤٢"), &int, "unclear", "unclear"),
            (Some("4,2"), &exact, "unclear", "unclear"),
            (None, &exact, "unclear", "unclear"),
        ] {
            let answer = EventAnswer::Other;
            for (any_tenant, expected) in [(false, own), (true, any)] {
                let event = of_tenant(TenantNamed::InPath(1), any_tenant);
                assert_eq!(verdict(&event, path, &answer, rules), expected, "{path:?} {any_tenant}");
            }
        }
    }

    #[test]
    fn a_tenant_in_the_answer_is_one_text_or_one_integer() {
        let (exact, event) = (IdentityRules::default(), of_tenant(TenantNamed::InAnswer(pointer("/id")), false));
        for (answer, expected) in [
            (json!({"id": 42}), "tenant 42 org_deleted"),
            (json!({"id": "42"}), "tenant 42 org_deleted"),
            (json!({"id": 77}), "other 77"),
            (json!({"id": 42.0}), "tenant 42 org_deleted"),
            (json!({"id": 42.5}), "unclear"),
            (json!({"id": ["42"]}), "unclear"),
            (json!({"id": {"id": 42}}), "unclear"),
            (json!({"id": null}), "unclear"),
            (json!({"id": ""}), "unclear"),
            (json!({}), "unclear"),
            (json!({"id": 42, "success": false}), "nothing"),
        ] {
            let shown = answer.to_string();
            // The path says nothing: the answer stands in its place.
            assert_eq!(verdict(&event, Some("42"), &EventAnswer::Json(answer), &exact), expected, "{shown}");
        }
        let twice = EventAnswer::of(&HeaderMap::new(), &Bytes::from_static(b"{\"id\": 77, \"id\": 42}"));
        assert_eq!(verdict(&event, None, &twice, &exact), "tenant 42 org_deleted");
        let garbled = EventAnswer::Garbled(Bytes::from_static(b"{\"name\": \"\\ud800\", \"id\": 42}"));
        assert_eq!(verdict(&event, None, &garbled, &exact), "tenant 42 org_deleted", "a name hides nothing");
        for answer in [EventAnswer::Other, EventAnswer::Unreadable] {
            assert_eq!(verdict(&event, None, &answer, &exact), "unclear", "{answer:?}");
        }
    }

    #[test]
    fn what_must_be_in_the_answer_decides_and_an_answer_that_cannot_be_read_hides_nothing() {
        let rules = IdentityRules::default();
        let event = Event { when: Some(pointer("/n")), ..of_tenant(TenantNamed::InPath(0), false) };
        for (answer, expected) in [
            (EventAnswer::Json(json!({"n": 0})), "tenant 42 org_deleted"),
            (EventAnswer::Json(json!({"m": 0})), "nothing"),
            (EventAnswer::Other, "nothing"),
            (EventAnswer::Unreadable, "tenant 42 org_deleted"),
        ] {
            assert_eq!(verdict(&event, Some("42"), &answer, &rules), expected, "{answer:?}");
        }
    }

    #[test]
    fn the_other_actions_are_about_the_sessions_own_user_and_the_role_guards_them_all() {
        let rules = IdentityRules::default();
        for (action, expected) in [
            (None, "nothing"),
            (Some(Action::User), "user 42/7 user_revoked"),
            (Some(Action::OtherSessions), "others 42/7 user_others_revoked"),
            (Some(Action::Session), "this revoked"),
        ] {
            assert_eq!(verdict(&event(action.clone()), Some("77"), &EventAnswer::Other, &rules), expected);
            if action.is_none() {
                continue;
            }
            let role = |role: &str| vec![Role::parse(role).expect("a role")];
            let guarded = Event { roles: role("Admin"), ..event(action.clone()) };
            assert_eq!(verdict(&guarded, None, &EventAnswer::Other, &rules), "role");
            let allowed = Event { roles: role("admin"), reason: Some(EndReason::OrgSoftDeleted), ..event(action) };
            assert!(verdict(&allowed, None, &EventAnswer::Other, &rules).ends_with(" org_soft_deleted"));
        }
    }

    #[test]
    fn an_order_is_obeyed_letter_by_letter_and_only_where_it_is_configured() {
        let mut said = HeaderMap::new();
        for line in ["logout", "revoke-tenant", "Logout", "logout, revoke-user", "", "reboot"] {
            said.append(SESSION_EVENT, HeaderValue::from_static(line));
        }
        let event = Event { obeyed: vec![Order::Logout, Order::SwitchTenant], ..event(None) };
        let orders: Vec<_> = event.orders(&said).map(|order| order.map_err(|line| line.to_str().ok())).collect();
        let unknown = ["revoke-tenant", "Logout", "logout, revoke-user", "", "reboot"];
        let unknown = unknown.into_iter().map(|line| Err(Some(line)));
        assert_eq!(orders, [Ok(Order::Logout)].into_iter().chain(unknown).collect::<Vec<_>>());
    }

    #[test]
    fn the_session_itself_is_over_unless_it_stays_or_another_tenant_is_meant() {
        let principal = principal();
        let id = SessionToken::generate(&SystemEntropy).expect("entropy").id();
        let requester = Requester { id, principal: &principal, path_tenant: None };
        for (order, over) in [
            (Order::Logout, true),
            (Order::RevokeUser, true),
            (Order::RevokeOtherSessions, false),
            (Order::RevokeTenant, true),
        ] {
            let ending = event(None).ordered(order, requester).expect("an ending");
            assert_eq!(ending.includes(&principal), over, "{order:?}");
        }
        assert_eq!(event(None).ordered(Order::SwitchTenant, requester), None);
        let other = event(None).of_tenant(TenantId::parse("77").expect("a tenant"), EndReason::OrgDeleted);
        assert!(!other.includes(&principal));
    }

    proptest! {
        #[test]
        fn no_path_and_no_answer_reaches_another_tenant(path in ".{0,8}|[0-9]{1,3}", id in "[ -~]{0,4}", format in 0..3_usize) {
            let formats = [TenantFormat::Exact, TenantFormat::Int, TenantFormat::Uuid];
            let rules = IdentityRules { tenant_format: formats[format], ..IdentityRules::default() };
            let answer = EventAnswer::Json(json!({"id": id}));
            for named in [TenantNamed::InPath(0), TenantNamed::InAnswer(pointer("/id"))] {
                let verdict = verdict(&of_tenant(named, false), Some(&path), &answer, &rules);
                prop_assert!(!verdict.starts_with("tenant ") || verdict.starts_with("tenant 42 "), "{}", verdict);
            }
        }
    }

    #[test]
    fn an_event_of_another_method_on_a_closer_pattern_hides_none() {
        let mut table = EventTable::default();
        let methods = |name: &str| MethodSet::NONE.with(name, &[]).expect("a method");
        let pattern = |text: &str| PathPattern::parse(text).expect("a pattern");
        let named = |name: &str| Event { name: name.into(), ..event(None) };
        table.add(&methods("DELETE"), &pattern("/orgs/{tenant}"), named("delete")).expect("no overlap");
        table.add(&methods("POST"), &pattern("/orgs/*"), named("post")).expect("no overlap");
        table.add(&methods("GET"), &pattern("/orgs/{tenant}"), named("get")).expect("no overlap");
        let picked =
            |method: Method, path: &[&str]| table.pick(&method, path, false).map(|event| event.name.to_string());
        assert_eq!(picked(Method::POST, &["orgs", "5"]).as_deref(), Some("post"));
        assert_eq!(picked(Method::DELETE, &["orgs", "5"]).as_deref(), Some("delete"));
        assert_eq!(picked(Method::HEAD, &["orgs", "5"]).as_deref(), Some("get"));
        assert_eq!(picked(Method::PUT, &["orgs", "5"]), None);
        assert_eq!(picked(Method::DELETE, &["orgs", "5", "x"]), None);
        let again = table.add(&methods("HEAD"), &pattern("/orgs/{id}"), named("head"));
        assert_eq!(again, Err(Overlap { other: "get".into() }));
    }
}
