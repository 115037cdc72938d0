//! Whose act something is.

use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::audit::{Actor, AuditEvent, AuditType, ClientText, Details, Outcome, Reason};
use crate::clock::WallTime;
use crate::session::{By, Principal, Words};
use crate::store::journal::Late;

/// Whose act something is, and what is known of the request by which it came.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Who asked for it: told to the store, should it come late, and to the audit log.
    pub by: By,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The client's user agent.
    pub user_agent: Option<ClientText>,
    /// What logs call the request.
    pub request_id: Option<ClientText>,
    /// Whose request it was, which need not be whose sessions it is about.
    pub requester: Option<Arc<Principal>>,
    /// Where the audit lines wait for the line of the call that they belong to.
    pub(super) held: Option<Arc<Mutex<Vec<AuditEvent>>>>,
}

impl Origin {
    /// An act of which nothing more is known.
    #[must_use]
    pub const fn of(by: By) -> Self {
        Self { by, address: None, user_agent: None, request_id: None, requester: None, held: None }
    }

    /// The same, by a request: the client's address, its user agent, what logs call it, and whose it was.
    #[must_use]
    pub fn by_request(
        self,
        address: IpAddr,
        user_agent: Option<ClientText>,
        request_id: &str,
        requester: Option<Arc<Principal>>,
    ) -> Self {
        Self { address: Some(address), user_agent, request_id: Some(request_id.into()), requester, ..self }
    }

    /// The same, from this address.
    #[must_use]
    pub fn from_address(self, address: IpAddr) -> Self {
        Self { address: Some(address), ..self }
    }

    /// The same request; but what comes of it here is somebody else's act.
    #[must_use]
    pub fn but_by(&self, by: By) -> Self {
        Self { by, ..self.clone() }
    }

    /// The same; but its audit lines are not written yet: they are [`taken`](Self::take_held) together.
    #[must_use]
    pub fn holding(self) -> Self {
        Self { held: Some(Arc::default()), ..self }
    }

    /// The same; and its audit lines are written at once.
    #[must_use]
    pub fn at_once(self) -> Self {
        Self { held: None, ..self }
    }

    /// The audit lines that were held, in the order in which they were told.
    #[must_use]
    pub fn take_held(&self) -> Vec<AuditEvent> {
        self.held.as_ref().map(|held| std::mem::take(&mut *held.lock())).unwrap_or_default()
    }

    /// An audit event that goes back to this.
    #[must_use]
    pub fn event(&self, time: WallTime, kind: AuditType, outcome: Outcome) -> AuditEvent {
        let mut event = AuditEvent::new(time, kind, outcome, Actor::from(&self.by));
        event.address = self.address;
        event.user_agent.clone_from(&self.user_agent);
        event.request_id.clone_from(&self.request_id);
        event
    }

    /// What the details say of who asked, beside the actor: an operator's words; an event's name, and whose request it was.
    pub(super) fn details(&self) -> Details {
        match &self.by {
            By::Gateway | By::User => Details::none(),
            By::Operator { words, .. } => with_words(Details::none(), words),
            By::Event(name) => {
                let details = Details::none().text("event", &**name);
                match &self.requester {
                    Some(by) => by_whom(details, by),
                    None => details,
                }
            }
        }
    }
}

/// Whose request it was.
fn by_whom(mut details: Details, by: &Principal) -> Details {
    if let Some(tenant) = by.tenant.name() {
        details = details.text("by_tenant", tenant);
    }
    if let Some(kind) = by.user.kind() {
        details = details.text("by_kind", kind);
    }
    details.text("by_user", by.user.as_str())
}

fn with_words(details: Details, words: &Words) -> Details {
    if words.as_str().is_empty() { details } else { details.text("words", words.as_str()) }
}

impl From<&Late> for Origin {
    fn from(late: &Late) -> Self {
        let request_id = match &late.by {
            By::Operator { request_id, .. } => Some(ClientText::from(&**request_id)),
            _ => None,
        };
        Self { request_id, ..Self::of(late.by.clone()) }
    }
}

impl From<&By> for Actor {
    fn from(by: &By) -> Self {
        match by {
            By::Operator { name, .. } => Self::Operator(ClientText::from(&**name)),
            By::User | By::Event(_) => Self::User,
            By::Gateway => Self::Gateway,
        }
    }
}

/// An operator's words as a reason. `None` where there are none.
#[must_use]
pub fn reason_of(words: &Words) -> Option<Reason> {
    let text = words.as_str();
    (!text.is_empty()).then(|| Reason::Words(ClientText::from(text)))
}
