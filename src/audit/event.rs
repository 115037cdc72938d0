//! One audit event and its line (docs/behaviour.md, "Audit events").
//!
//! Every line has all twelve fields, `null` where there is nothing to say, so that a reader needs no cases.

use std::net::IpAddr;

use crate::clock::WallTime;
use crate::json_line::JsonLine;
use crate::session::{EndReason, Principal, SessionId, TenantId, UserId};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditType {
    /// A login made a session.
    SessionCreated,
    /// A session is over; the reason says why.
    SessionEnded,
    /// A session is held: it may not be used before its user logs in again, or an operator lets it go on.
    SessionHeld,
    /// It is held no longer.
    SessionReleased,
    /// A session was used that had ended, or is held.
    SessionRejected,
    /// A token of an issuer was denied.
    TokenRevoked,
    /// A token that is not good was used.
    TokenRejected,
    /// A login did not succeed.
    LoginFailed,
    /// A login was refused unasked, after too many failures.
    LoginLocked,
    /// A login of somebody who paid and has no tenant.
    LoginOrphaned,
    /// A lock on logins was ended by an operator.
    LoginUnlocked,
    /// The monitoring found something.
    AnomalyFound,
    /// An operator said what is to be thought of that.
    AnomalyVerdict,
    /// A client sent a protected header that differs from its session.
    IdentitySpoofed,
    /// A tenant's status was changed.
    TenantChanged,
    /// The configuration was read again.
    ConfigReloaded,
    /// An operator called the admin API.
    AdminCalled,
    /// A backend named a session event that the gateway does not know.
    EventUnknown,
}

impl AuditType {
    /// Every type.
    pub const ALL: [Self; 18] = [
        Self::SessionCreated,
        Self::SessionEnded,
        Self::SessionHeld,
        Self::SessionReleased,
        Self::SessionRejected,
        Self::TokenRevoked,
        Self::TokenRejected,
        Self::LoginFailed,
        Self::LoginLocked,
        Self::LoginOrphaned,
        Self::LoginUnlocked,
        Self::AnomalyFound,
        Self::AnomalyVerdict,
        Self::IdentitySpoofed,
        Self::TenantChanged,
        Self::ConfigReloaded,
        Self::AdminCalled,
        Self::EventUnknown,
    ];

    /// The name in the line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SessionCreated => "session.created",
            Self::SessionEnded => "session.ended",
            Self::SessionHeld => "session.held",
            Self::SessionReleased => "session.released",
            Self::SessionRejected => "session.rejected",
            Self::TokenRevoked => "token.revoked",
            Self::TokenRejected => "token.rejected",
            Self::LoginFailed => "login.failed",
            Self::LoginLocked => "login.locked",
            Self::LoginOrphaned => "login.orphaned",
            Self::LoginUnlocked => "login.unlocked",
            Self::AnomalyFound => "anomaly.found",
            Self::AnomalyVerdict => "anomaly.verdict",
            Self::IdentitySpoofed => "identity.spoofed",
            Self::TenantChanged => "tenant.changed",
            Self::ConfigReloaded => "config.reloaded",
            Self::AdminCalled => "admin.called",
            Self::EventUnknown => "event.unknown",
        }
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// About to be done: another line says how it went.
    Begun,
    /// Done.
    Success,
    /// Tried, and it did not work.
    Failure,
    /// Refused.
    Denied,
}

impl Outcome {
    /// The name in the line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Denied => "denied",
        }
    }
}

/// Whose act it was.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The client's user, known or not.
    User,
    /// The gateway itself, as for an end by time.
    Gateway,
    /// An operator, by the name of the admin token.
    Operator(ClientText),
}

/// Text that came from outside, bounded: at most 256 characters, with an ellipsis where more was cut off, and U+FFFD
/// for what is not UTF-8.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientText(Box<str>);

impl ClientText {
    /// The longest text, in characters.
    pub const LONGEST: usize = 256;

    /// Bounds a text from outside.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        // Four bytes a character at most: the rest of a huge value is not even decoded.
        let start = bytes.get(..4 * (Self::LONGEST + 1)).unwrap_or(bytes);
        let decoded = String::from_utf8_lossy(start);
        let text = match decoded.char_indices().nth(Self::LONGEST) {
            Some((end, _)) => format!("{}…", decoded.get(..end).unwrap_or_default()),
            None => decoded.into_owned(),
        };
        Self(text.into_boxed_str())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ClientText {
    fn from(text: &str) -> Self {
        Self::of(text.as_bytes())
    }
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// One of the gateway's own words: the end of a session, an error code, an HTTP status.
    Named(&'static str),
    /// An operator's or a configuration's words.
    Words(ClientText),
}

impl Reason {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Named(name) => name,
            Self::Words(words) => words.as_str(),
        }
    }
}

impl From<EndReason> for Reason {
    fn from(reason: EndReason) -> Self {
        Self::Named(reason.as_str())
    }
}

impl From<&'static str> for Reason {
    fn from(name: &'static str) -> Self {
        Self::Named(name)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Detail {
    Count(u64),
    Text(ClientText),
    Flag(bool),
}

/// What is particular to one type of event: a few named values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details(Vec<(&'static str, Detail)>);

impl Details {
    /// Nothing more to say.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Adds a number.
    #[must_use]
    pub fn count(self, key: &'static str, value: u64) -> Self {
        self.with(key, Detail::Count(value))
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, key: &'static str, value: impl Into<ClientText>) -> Self {
        self.with(key, Detail::Text(value.into()))
    }

    /// Adds a yes or no.
    #[must_use]
    pub fn flag(self, key: &'static str, value: bool) -> Self {
        self.with(key, Detail::Flag(value))
    }

    fn with(mut self, key: &'static str, value: Detail) -> Self {
        self.0.push((key, value));
        self
    }
}

/// Among the details: the kind of the user, whose id alone stands in its field.
pub(super) const USER_KIND: &str = "kind";

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// When.
    pub time: WallTime,
    /// What happened (`type` in the line).
    pub kind: AuditType,
    /// How it went.
    pub outcome: Outcome,
    /// The tenant, verified.
    pub tenant: Option<TenantId>,
    /// The user, verified.
    pub user: Option<UserId>,
    /// The session.
    pub session_id: Option<SessionId>,
    /// Whose act it was.
    pub actor: Actor,
    /// Why.
    pub reason: Option<Reason>,
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The client's user agent.
    pub user_agent: Option<ClientText>,
    /// The request.
    pub request_id: Option<ClientText>,
    /// What is particular to the type.
    pub details: Details,
}

impl AuditEvent {
    /// An event of which nothing more is known yet; the fields are set one by one or by the `by_*`, `of_*` methods.
    #[must_use]
    pub const fn new(time: WallTime, kind: AuditType, outcome: Outcome, actor: Actor) -> Self {
        Self {
            time,
            kind,
            outcome,
            tenant: None,
            user: None,
            session_id: None,
            actor,
            reason: None,
            address: None,
            user_agent: None,
            request_id: None,
            details: Details::none(),
        }
    }

    /// Sets tenant and user.
    #[must_use]
    pub fn of_principal(mut self, principal: &Principal) -> Self {
        self.tenant = Some(principal.tenant.clone());
        self.user = Some(principal.user.clone());
        self
    }

    /// Sets the session.
    #[must_use]
    pub const fn of_session(mut self, id: SessionId) -> Self {
        self.session_id = Some(id);
        self
    }

    /// Sets the reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Reason>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Sets what is known of the request: the client's address, its `User-Agent` value, the request id.
    #[must_use]
    pub fn by_request(mut self, address: IpAddr, user_agent: Option<&[u8]>, request_id: &str) -> Self {
        self.address = Some(address);
        self.user_agent = user_agent.map(ClientText::of);
        self.request_id = Some(request_id.into());
        self
    }

    /// Sets what is particular to the type.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = details;
        self
    }

    /// Writes the event's twelve fields.
    pub fn write_fields(&self, line: &mut JsonLine<'_>) {
        line.text("time", &self.time.rfc3339());
        line.text("type", self.kind.as_str());
        line.text("outcome", self.outcome.as_str());
        line.text_or_null("tenant", self.tenant.as_ref().and_then(TenantId::name));
        line.text_or_null("user", self.user.as_ref().map(UserId::as_str));
        line.text_or_null("session_id", self.session_id.as_ref().map(SessionId::as_str));
        match &self.actor {
            Actor::User => line.text("actor", "user"),
            Actor::Gateway => line.text("actor", "gateway"),
            Actor::Operator(name) => line.text("actor", &format!("operator:{}", name.as_str())),
        }
        line.text_or_null("reason", self.reason.as_ref().map(Reason::as_str));
        line.text_or_null("address", self.address.map(|address| address.to_string()).as_deref());
        line.text_or_null("user_agent", self.user_agent.as_ref().map(ClientText::as_str));
        line.text_or_null("request_id", self.request_id.as_ref().map(ClientText::as_str));
        line.object("details", |details| {
            if let Some(kind) = self.user.as_ref().and_then(UserId::kind) {
                details.text(USER_KIND, kind);
            }
            for (key, value) in &self.details.0 {
                match value {
                    Detail::Count(count) => details.number(key, *count),
                    Detail::Text(text) => details.text(key, text.as_str()),
                    Detail::Flag(flag) => details.flag(key, *flag),
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: WallTime = WallTime::from_micros(1_700_000_000_000_000);

    fn event() -> AuditEvent {
        AuditEvent::new(NOON, AuditType::SessionEnded, Outcome::Success, Actor::User)
    }

    fn line(event: &AuditEvent) -> String {
        let mut out = Vec::new();
        let mut line = JsonLine::open(&mut out);
        event.write_fields(&mut line);
        line.close();
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn a_line_has_the_promised_fields_in_their_order() {
        let principal = Principal {
            tenant: TenantId::parse("acme").expect("a tenant"),
            user: UserId::parse("7").expect("a user"),
            role: None,
        };
        let event = event()
            .of_principal(&principal)
            .of_session(SessionId::parse(&[b'a'; 22]).expect("an id"))
            .because(EndReason::LogoutAll)
            .by_request(IpAddr::from([192, 0, 2, 1]), Some(b"curl/8"), "r-1")
            .with_details(Details::none().count("sessions", 3).text("header", "x").flag("noted", true));
        assert_eq!(
            line(&event),
            "{\"time\":\"2023-11-14T22:13:20.000Z\",\"type\":\"session.ended\",\"outcome\":\"success\",\
             \"tenant\":\"acme\",\"user\":\"7\",\"session_id\":\"aaaaaaaaaaaaaaaaaaaaaa\",\"actor\":\"user\",\
             \"reason\":\"logout_all\",\"address\":\"192.0.2.1\",\"user_agent\":\"curl/8\",\"request_id\":\"r-1\",\
             \"details\":{\"sessions\":3,\"header\":\"x\",\"noted\":true}}\n"
        );
    }

    #[test]
    fn what_is_not_known_is_null_and_not_absent() {
        assert_eq!(
            line(&event()),
            "{\"time\":\"2023-11-14T22:13:20.000Z\",\"type\":\"session.ended\",\"outcome\":\"success\",\
             \"tenant\":null,\"user\":null,\"session_id\":null,\"actor\":\"user\",\"reason\":null,\
             \"address\":null,\"user_agent\":null,\"request_id\":null,\"details\":{}}\n"
        );
    }

    #[test]
    fn a_hostile_value_stays_one_bounded_ascii_line() {
        let long = "x".repeat(1_000_000);
        for hostile in [
            &b"\r\n{\"type\":\"session.created\"}"[..],
            b"\x1b[31m\x7f",
            b"\xff\xfe\xc0\x80",
            "\u{2028}\u{2029}".as_bytes(),
            b"\",\"actor\":\"operator:root",
            long.as_bytes(),
            "😀".repeat(5000).as_bytes(),
        ] {
            let mut event = event().by_request(IpAddr::from([192, 0, 2, 1]), Some(hostile), "r");
            event.actor = Actor::Operator(ClientText::of(hostile));
            event.reason = Some(Reason::Words(ClientText::of(hostile)));
            event.details = Details::none().text("value", ClientText::of(hostile));
            let line = line(&event);
            assert_eq!(line.matches('\n').count(), 1);
            assert!(line.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            assert!(line.len() < 16 * 1024, "{}", line.len());
            let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(read["type"], "session.ended");
            assert_eq!(read.as_object().expect("an object").len(), 12);
        }
    }

    #[test]
    fn a_text_is_cut_at_256_characters_and_says_so() {
        let text = ClientText::of("é".repeat(257).as_bytes());
        assert_eq!(text.as_str(), format!("{}…", "é".repeat(256)));
        assert_eq!(ClientText::of("é".repeat(256).as_bytes()).as_str(), "é".repeat(256));
    }
}
