//! Events: what a backend's own success means for sessions (docs/behaviour.md, "Events").
//!
//! The backend is believed about what it did, the client about nothing: whose sessions end follows from the request's own
//! session, from the path that the backend was asked for, and from the backend's answer. Another tenant than the session's
//! own can be named only where the configuration says `any_tenant`.

use std::collections::HashMap;
use std::sync::Arc;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::pattern::{PathPattern, PatternTree};
use super::route::{MethodSet, Overlap};
use crate::http::{EventAnswer, IdentityRules, JsonPointer};
use crate::session::{EndReason, Keep, Principal, Role, Scope, SessionRecord, TenantId, TenantStatus, UserId};

#[cfg(test)]
mod tests;

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
    /// Where the answer says how many sessions ended. Without that it was a preview.
    pub count: Option<JsonPointer>,
    /// Whose requests count; empty: everybody's.
    pub roles: Vec<Role>,
    /// Which orders of the backend are obeyed (`X-Session-Event`).
    pub obeyed: Vec<Order>,
    /// Why, where that is not the action's or order's own reason.
    pub reason: Option<EndReason>,
    /// What the monitoring counts it as.
    pub counts_as: Option<CountsAs>,
}

/// What the monitoring counts an event as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountsAs {
    /// A change of the user's password: of whom it names, else of the session's own.
    PasswordChange,
}

/// What a success ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// All sessions of a tenant.
    Tenant {
        /// Whose.
        tenant: TenantNamed,
        /// What becomes of the tenant itself; `None`: it stays what it is.
        status: Option<TenantStatus>,
    },
    /// All sessions of a user.
    User {
        /// Where the user is named; `None`: the session's own.
        user: Option<Named>,
        /// Where the user's tenant is named; `None`: the session's own.
        tenant: Option<TenantNamed>,
    },
    /// All but this one.
    OtherSessions,
    /// This one.
    Session,
}

/// How an event's tenant is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantNamed {
    /// Where.
    pub at: Named,
    /// Whether it may be another than the session's own.
    pub any: bool,
}

/// Where an event names somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// In this segment of the path.
    InPath(usize),
    /// In the answer.
    InAnswer(JsonPointer),
}

impl Named {
    /// The tenant that stands there. The error is for the log.
    fn tenant(&self, path: &[String], answer: &EventAnswer, rules: &IdentityRules) -> Result<TenantId, &'static str> {
        match self {
            Self::InPath(segment) => path
                .get(*segment)
                .and_then(|raw| rules.canonical_tenant(raw).ok())
                .ok_or("what the path names cannot be a tenant"),
            Self::InAnswer(pointer) => answer
                .value_at(pointer)
                .and_then(|value| rules.tenant_of(&value))
                .ok_or("the answer names no tenant, or one that cannot be"),
        }
    }

    /// The users who may be meant there; never none. The error is for the log.
    fn users(&self, path: &[String], answer: &EventAnswer, rules: &IdentityRules) -> Result<Vec<UserId>, &'static str> {
        let (users, why) = match self {
            Self::InPath(segment) => {
                let named = path.get(*segment).map(|raw| rules.users_meant(raw.as_bytes()));
                (named, "what the path names cannot be a user")
            }
            Self::InAnswer(pointer) => {
                let named = answer.value_at(pointer).map(|value| rules.users_of(&value));
                (named, "the answer names no user, or one that cannot be")
            }
        };
        users.filter(|users| !users.is_empty()).ok_or(why)
    }
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
    /// What it came with, and what stays where all others end.
    pub with: Keep,
    /// Whose it is.
    pub principal: &'a Principal,
    /// The decoded segments of the path that the backend was asked for.
    pub path: &'a [String],
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
    /// A tenant's status changes, and its sessions end with it.
    Status {
        /// Which tenant.
        tenant: TenantId,
        /// What it becomes.
        status: TenantStatus,
        /// Why.
        reason: EndReason,
    },
}

impl Ending {
    /// Whether that includes the session of the request.
    #[must_use]
    pub fn includes(&self, session: &SessionRecord) -> bool {
        match self {
            Self::This(_) => true,
            Self::Many { scope: Scope::User { tenant, user }, .. } => {
                *user == session.principal.user && session.generations_in(tenant).is_some()
            }
            Self::Many { scope: Scope::OtherSessions { .. }, .. } => false,
            Self::Many { scope: Scope::Tenant { tenant }, .. } | Self::Status { tenant, .. } => {
                session.ends_with_its_tenant() && *tenant == session.principal.tenant
            }
        }
    }

    /// The same of the session's own user in each of its tenants, where it has several: whoever ends their own sessions
    /// means all of them, wherever each of them was logged in.
    #[must_use]
    pub fn in_every_tenant(self, session: &SessionRecord) -> Vec<Self> {
        let is_own = |tenant: &TenantId, user: &UserId| {
            *user == session.principal.user && session.generations_in(tenant).is_some()
        };
        let tenants = || session.tenants().map(|(tenant, _)| tenant.clone());
        match self {
            Self::Many { scope: Scope::User { tenant, user }, reason } if is_own(&tenant, &user) => {
                let scopes = tenants().map(|tenant| Scope::User { tenant, user: user.clone() });
                scopes.map(|scope| Self::Many { scope, reason }).collect()
            }
            Self::Many { scope: Scope::OtherSessions { tenant, user, keep }, reason } if is_own(&tenant, &user) => {
                let scopes = tenants().map(|tenant| Scope::OtherSessions { tenant, user: user.clone(), keep });
                scopes.map(|scope| Self::Many { scope, reason }).collect()
            }
            other => vec![other],
        }
    }

    /// Whose they are, where the request's own are `principal`'s.
    #[must_use]
    pub const fn tenant<'a>(&'a self, principal: &'a Principal) -> &'a TenantId {
        match self {
            Self::This(_) => &principal.tenant,
            Self::Status { tenant, .. } => tenant,
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
    /// These sessions end: where a user is named in a way that can be read in several, those of each.
    Ends(Vec<Ending>),
    /// They would, but for a guard.
    Refused(Guard),
    /// They would, but nobody can say whose: the text is for the log.
    Unclear(&'static str),
}

impl Event {
    /// Whether the answer must be read, so that it cannot be passed on as it comes.
    #[must_use]
    pub const fn reads_answer(&self) -> bool {
        self.action.is_some() || (self.counts_as.is_some() && self.when.is_some())
    }

    /// Whether a success (2xx) with this answer counts for the monitoring, whose requester this is.
    #[must_use]
    pub fn is_done(&self, requester: &Principal, answer: &EventAnswer) -> bool {
        self.counts(requester) && answer.says_done(self.when.iter().chain(&self.count))
    }

    /// Whether its answer may have a session go on in another tenant.
    #[must_use]
    pub fn may_switch(&self) -> bool {
        self.obeyed.contains(&Order::SwitchTenant)
    }

    /// Whether it names the user whose sessions end. What stands there is an id alone, of a user of whichever kind.
    #[must_use]
    pub const fn names_user(&self) -> bool {
        matches!(self.action, Some(Action::User { user: Some(_), .. }))
    }

    /// What a success (2xx) with this answer ends.
    #[must_use]
    pub fn judge(&self, requester: Requester<'_>, answer: &EventAnswer, rules: &IdentityRules) -> Judgement {
        let Some(action) = &self.action else { return Judgement::Nothing };
        if !answer.says_done(self.when.iter().chain(&self.count)) {
            return Judgement::Nothing;
        }
        if !self.counts(requester.principal) {
            return Judgement::Refused(Guard::Role);
        }
        let tenant_of = |named: &TenantNamed| match named.at.tenant(requester.path, answer, rules) {
            Err(why) => Err(Judgement::Unclear(why)),
            Ok(tenant) if named.any || tenant == requester.principal.tenant => Ok(tenant),
            Ok(tenant) => Err(Judgement::Refused(Guard::OtherTenant(tenant))),
        };
        let users_of = |named: &Named| named.users(requester.path, answer, rules).map_err(Judgement::Unclear);
        let own = requester.principal;
        match action {
            Action::OtherSessions => Judgement::Ends(vec![self.of_others(requester)]),
            Action::Session => Judgement::Ends(vec![Ending::This(self.reason.unwrap_or(EndReason::Revoked))]),
            Action::User { user, tenant } => {
                let tenant = tenant.as_ref().map_or_else(|| Ok(own.tenant.clone()), tenant_of);
                let users = user.as_ref().map_or_else(|| Ok(vec![own.user.clone()]), users_of);
                match (tenant, users) {
                    (Ok(tenant), Ok(users)) => {
                        Judgement::Ends(users.into_iter().map(|user| self.of_user(tenant.clone(), user)).collect())
                    }
                    (Err(judgement), _) | (_, Err(judgement)) => judgement,
                }
            }
            Action::Tenant { tenant, status } => match tenant_of(tenant) {
                Ok(tenant) => Judgement::Ends(vec![self.of_tenant(tenant, *status)]),
                Err(judgement) => judgement,
            },
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
            Order::RevokeUser => {
                Some(self.of_user(requester.principal.tenant.clone(), requester.principal.user.clone()))
            }
            Order::RevokeOtherSessions => Some(self.of_others(requester)),
            // The others who have none have nothing to do with this one.
            Order::RevokeTenant if requester.principal.tenant.name().is_none() => {
                Some(self.of_user(requester.principal.tenant.clone(), requester.principal.user.clone()))
            }
            Order::RevokeTenant => {
                let tenant = requester.principal.tenant.clone();
                Some(self.many(Scope::Tenant { tenant }, EndReason::TenantRevoked))
            }
            Order::SwitchTenant => None,
        }
    }

    /// Whether requests of this principal count.
    #[must_use]
    pub fn counts(&self, principal: &Principal) -> bool {
        self.roles.is_empty() || principal.role.as_ref().is_some_and(|role| self.roles.contains(role))
    }

    fn of_user(&self, tenant: TenantId, user: UserId) -> Ending {
        self.many(Scope::User { tenant, user }, EndReason::UserRevoked)
    }

    fn of_others(&self, requester: Requester<'_>) -> Ending {
        let Principal { tenant, user, .. } = requester.principal;
        let scope = Scope::OtherSessions { tenant: tenant.clone(), user: user.clone(), keep: requester.with };
        self.many(scope, EndReason::UserOthersRevoked)
    }

    fn of_tenant(&self, tenant: TenantId, status: Option<TenantStatus>) -> Ending {
        let Some(status) = status else { return self.many(Scope::Tenant { tenant }, EndReason::OrgDeleted) };
        let otherwise = match status {
            TenantStatus::Deleted => EndReason::OrgDeleted,
            TenantStatus::Active | TenantStatus::Suspended => EndReason::TenantRevoked,
        };
        Ending::Status { tenant, status, reason: self.reason.unwrap_or(otherwise) }
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
