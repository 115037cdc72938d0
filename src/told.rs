//! What happened, said once: whoever makes it happen describes it as a [`Told`] with its [`Origin`], and [`Teller::tell`]
//! has everyone hear of it who listens: the metrics, the audit log.
//!
//! Nothing here decides, waits or fails: what cannot be written is counted by the audit log itself. What is told holds no
//! secret.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::audit::{Actor, AuditEvent, AuditLog, AuditType, ClientText, Details, Outcome, Reason};
use crate::clock::{SharedClock, WallTime};
use crate::monitor::{Finding, Lock, MonitorMode, Taken, Verdict};
use crate::session::{
    Barred, By, EndReason, Hold, HoldWord, Principal, Revocation, Scope, SessionId, SessionRecord, StoreTime,
    TenantChange, TenantId, TenantStatus, Words,
};
use crate::store::Revoked;
use crate::store::journal::Late;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{LoginOutcome, RevocationScope};

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
    held: Option<Arc<Mutex<Vec<AuditEvent>>>>,
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
    fn details(&self) -> Details {
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

/// How a login went that made no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoLogin {
    /// The backend refused it, with this status.
    Failed(u16),
    /// It was answered, and nobody is logged in yet: a second factor is due, say.
    Undecided,
    /// It succeeded, and nothing in the answer says who came in.
    Unnamed,
    /// Whether it would have been one is unknown: the store or the backend failed.
    Unanswered,
    /// The backend accepted it, and the gateway did not.
    Refused(&'static str),
    /// The backend was not asked, after too many failures: what is locked, or nothing where too many others are under way.
    Locked(Option<&'static str>),
}

/// What is known of a session that is over, beside whose it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedFrom {
    /// The address of its login.
    pub address: Option<IpAddr>,
    /// When it would have been over.
    pub deadline: StoreTime,
    /// The first of its line.
    pub first: SessionId,
}

impl EndedFrom {
    /// Of a session of this record.
    #[must_use]
    pub fn of(id: SessionId, record: &SessionRecord) -> Self {
        Self { address: record.address, deadline: record.deadline, first: record.decided_by(id) }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Told {
    /// A session was made.
    SessionCreated {
        /// Its id.
        id: SessionId,
        /// Its record.
        record: Arc<SessionRecord>,
        /// How it came to be.
        from: Source,
    },
    /// A session is over.
    SessionEnded {
        /// Its id.
        id: SessionId,
        /// Whose it was, unless that could not be read.
        principal: Option<Arc<Principal>>,
        /// Why.
        reason: EndReason,
        /// What else is known of it.
        from: Option<EndedFrom>,
    },
    /// A session is held.
    SessionHeld {
        /// Its id.
        id: SessionId,
        /// Whose it is.
        principal: Arc<Principal>,
        /// Why: what was found, or an operator's words.
        why: Words,
    },
    /// A session is held no longer.
    SessionReleased {
        /// Its id.
        id: SessionId,
        /// Whose it is.
        principal: Arc<Principal>,
        /// The hold that was on it, where that is known.
        held: Option<Hold>,
        /// The session that took its place, where its user logged in again.
        by: Option<SessionId>,
    },
    /// A token of an issuer was denied.
    TokenRevoked {
        /// Its id.
        id: SessionId,
        /// Whose it was, where that is known.
        principal: Option<Arc<Principal>>,
        /// Why.
        reason: EndReason,
    },
    /// A token that is not good was used.
    TokenRejected {
        /// Its id and whose it was, where that was verified.
        token: Option<(SessionId, Arc<Principal>)>,
        /// Why it is not good.
        why: &'static str,
    },
    /// Many sessions are over.
    SessionsEnded {
        /// Whose, and why.
        revocation: Revocation,
        /// What it came to.
        revoked: Revoked,
    },
    /// A tenant's status was changed.
    TenantChanged {
        /// The tenant.
        tenant: TenantId,
        /// What it was changed to.
        change: TenantChange,
        /// What became of its sessions.
        revoked: Revoked,
    },
    /// What a call that failed had asked for came about after all.
    CameLate(Late),
    /// A session was used that had ended, or is held.
    SessionRejected {
        /// Its id.
        id: SessionId,
        /// Whose it was, if that is still known.
        principal: Option<Arc<Principal>>,
        /// Why it may not be used.
        reason: Barred,
    },
    /// An event would have ended sessions, and did not: a guard refused (`Denied`), or it could not be done (`Failure`).
    EventEndedNothing {
        /// Which of the two.
        outcome: Outcome,
        /// Why.
        why: &'static str,
        /// Whose tenant's sessions it was about, where that is known.
        tenant: Option<TenantId>,
        /// The session of the request.
        session: Option<SessionId>,
    },
    /// A backend gave an order that is not known, or not obeyed here.
    EventUnknown {
        /// The session of the request.
        session: Option<SessionId>,
        /// The order.
        said: ClientText,
    },
    /// A login made no session.
    NoLogin {
        /// Why.
        why: NoLogin,
        /// Who it would have been, where the backend said it.
        principal: Option<Arc<Principal>>,
    },
    /// A login of somebody who paid and has no tenant.
    LoginOrphaned {
        /// Who.
        principal: Arc<Principal>,
        /// Whether they were let in, to get one.
        let_in: bool,
        /// Whether they are new among those; `None` where the store cannot say.
        is_new: Option<bool>,
    },
    /// The monitoring found something.
    Found {
        /// What.
        finding: Box<Finding>,
        /// What it is kept as.
        id: Option<String>,
        /// What was done about it, or would have been.
        taken: Vec<Taken>,
    },
    /// Somebody said what is to be thought of a finding.
    FindingJudged {
        /// What it is kept as.
        id: String,
        /// What they said.
        verdict: Verdict,
        /// What was found.
        kind: Box<str>,
        /// The tenant of its session.
        tenant: Option<TenantId>,
    },
    /// A user said what is to be thought of a finding about themselves: whoever has their session can.
    FindingReported {
        /// What it is kept as.
        id: String,
        /// What they said.
        verdict: Verdict,
    },
    /// A lock on logins was ended.
    LoginUnlocked(Box<Lock>),
    /// A client claimed an identity that is not its session's.
    IdentitySpoofed {
        /// By what.
        by: Spoof,
        /// The path of the request.
        path: ClientText,
        /// The session of the request.
        session: Option<SessionId>,
        /// Whose it is.
        principal: Option<Arc<Principal>>,
    },
}

/// By what a client claims an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoof {
    /// So many identity headers.
    Headers(u64),
    /// So many of the app's own cookies, which were sealed for another session or for none.
    Cookies(u64),
    /// Another tenant or user in the path or the body.
    Place(&'static str),
}

/// How a session came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// By a login through the gateway.
    Login,
    /// By a login that the backend did with some answer, and the gateway saw by its cookie.
    Followed,
    /// By an operator's call, for a login elsewhere.
    Minted,
    /// It goes on for another one, with a new token.
    RotatedFrom(SessionId),
}

/// Hears what is told, beside the metrics and the audit log. Must not block.
pub trait Listener: Send + Sync + 'static {
    /// Something happened.
    fn hear(&self, origin: &Origin, told: &Told, now: WallTime);
}

/// Who hears of it, beside the metrics and the audit log.
type Listeners = ArcSwap<Vec<Arc<dyn Listener>>>;

/// Has everyone hear of what happened who listens.
#[derive(Clone)]
pub struct Teller {
    audit: Arc<AuditLog>,
    metrics: Arc<Metrics>,
    clock: SharedClock,
    listeners: Arc<Listeners>,
}

impl Teller {
    /// A teller to these listeners.
    #[must_use]
    pub fn new(audit: Arc<AuditLog>, metrics: Arc<Metrics>, clock: SharedClock) -> Self {
        Self { audit, metrics, clock, listeners: Arc::default() }
    }

    /// From now on this one hears of it, too. Said by one alone, while nothing is told yet.
    pub fn tell_to(&self, listener: Arc<dyn Listener>) {
        let mut all = Vec::clone(&self.listeners.load());
        all.push(listener);
        self.listeners.store(Arc::new(all));
    }

    /// Whose time stands in what is told.
    #[must_use]
    pub const fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Tells. Never blocks and never fails.
    pub fn tell(&self, origin: &Origin, told: &Told) {
        self.count(origin, told);
        let now = self.clock.wall();
        self.have_heard(origin, told, now);
        let lines = lines(origin, told, now);
        match &origin.held {
            Some(held) => held.lock().extend(lines),
            None => lines.for_each(|line| self.audit.record(line)),
        }
    }

    /// Waits until the audit lines of all that was told so far are in the file; see [`AuditLog::written`].
    pub async fn written(&self) -> bool {
        self.audit.written().await
    }

    /// Tells, and answers whether all of it is on disk.
    pub async fn tell_durably(&self, origin: &Origin, told: &Told) -> bool {
        self.count(origin, told);
        let now = self.clock.wall();
        self.have_heard(origin, told, now);
        let lines = lines(origin, told, now).map(|line| self.audit.record_durably(line));
        futures_util::future::join_all(lines).await.iter().all(Result::is_ok)
    }

    /// Who listens hears.
    fn have_heard(&self, origin: &Origin, told: &Told, now: WallTime) {
        for listener in self.listeners.load().iter() {
            listener.hear(origin, told, now);
        }
    }

    /// What the metrics hear.
    fn count(&self, origin: &Origin, told: &Told) {
        let metrics = &self.metrics;
        match told {
            Told::SessionCreated { from, .. } => {
                metrics.session_created();
                if matches!(from, Source::Login | Source::Followed) {
                    metrics.login(LoginOutcome::Success);
                }
            }
            Told::SessionEnded { reason, .. } => {
                metrics.sessions_ended(*reason, 1);
                if is_revocation(*reason) {
                    metrics.revocation(RevocationScope::Session);
                }
            }
            Told::SessionHeld { .. } => metrics.session_held(held_by(origin)),
            Told::SessionReleased { by, .. } => {
                metrics.session_released(if by.is_some() { "login" } else { "operator" });
            }
            Told::TokenRevoked { .. } => metrics.revocation(RevocationScope::Token),
            Told::SessionsEnded { revocation, revoked } => {
                metrics.sessions_ended(revocation.reason, revoked.ended);
                metrics.revocation(match revocation.scope {
                    Scope::User { .. } | Scope::OtherSessions { .. } => RevocationScope::User,
                    Scope::Tenant { .. } => RevocationScope::Tenant,
                });
            }
            Told::TenantChanged { change, revoked, .. } => {
                if ends_sessions(change, *revoked) {
                    metrics.sessions_ended(change.reason, revoked.ended);
                    metrics.revocation(RevocationScope::Tenant);
                }
            }
            // What was held is counted when it is said, be that late.
            Told::CameLate(Late { word: Some(word), .. }) if word.holds() => metrics.session_held(held_by(origin)),
            Told::CameLate(Late { word: Some(_), .. }) => metrics.session_released("operator"),
            Told::CameLate(late) => metrics.sessions_ended(late.reason, late.ended),
            Told::NoLogin { why, .. } => metrics.login(match why {
                NoLogin::Failed(_) => LoginOutcome::Failure,
                NoLogin::Undecided => LoginOutcome::Incomplete,
                NoLogin::Unnamed => LoginOutcome::Unnamed,
                NoLogin::Unanswered => LoginOutcome::Error,
                NoLogin::Refused(_) => LoginOutcome::Denied,
                NoLogin::Locked(_) => LoginOutcome::Locked,
            }),
            Told::Found { finding, .. } => metrics.finding(finding.kind.as_str(), finding.severity.as_str()),
            Told::FindingJudged { verdict, .. } => metrics.finding_verdict(verdict.as_str()),
            Told::IdentitySpoofed { by: Spoof::Headers(count), .. } => metrics.spoofed_headers(*count),
            Told::IdentitySpoofed { by: Spoof::Cookies(count), .. } => metrics.spoofed_cookies(*count),
            Told::IdentitySpoofed { by: Spoof::Place(_), .. } => {}
            Told::SessionRejected { .. }
            | Told::TokenRejected { .. }
            | Told::EventEndedNothing { .. }
            | Told::EventUnknown { .. }
            | Told::LoginOrphaned { .. }
            | Told::FindingReported { .. }
            | Told::LoginUnlocked(_) => {}
        }
    }
}

/// What the audit log hears.
fn lines(origin: &Origin, told: &Told, now: WallTime) -> impl Iterator<Item = AuditEvent> + use<> {
    let event = |kind, outcome| origin.event(now, kind, outcome);
    let (first, second) = match told {
        Told::SessionCreated { id, record, from } => {
            let details = origin.details().flag("remembered", record.remembered);
            let details = match &record.choices {
                Some(choices) => details.count("tenants", choices.as_slice().len() as u64 + 1),
                None => details,
            };
            let details = match from {
                Source::RotatedFrom(old) => details.text("rotated_from", old.as_str()),
                Source::Followed => details.flag("followed", true),
                Source::Login | Source::Minted => details,
            };
            let created = event(AuditType::SessionCreated, Outcome::Success).of_principal(&record.principal);
            (Some(created.of_session(*id).with_details(details)), None)
        }
        Told::SessionEnded { id, principal, reason, from: _ } => {
            let ended = of(event(AuditType::SessionEnded, Outcome::Success).of_session(*id), principal.as_deref());
            (Some(ended.because(*reason).with_details(origin.details())), None)
        }
        Told::SessionHeld { id, principal, why } => {
            let held = event(AuditType::SessionHeld, Outcome::Success).of_session(*id).of_principal(principal);
            (Some(AuditEvent { reason: reason_of(why), ..held }), None)
        }
        Told::SessionReleased { id, principal, held, by } => {
            let released = event(AuditType::SessionReleased, Outcome::Success).of_session(*id).of_principal(principal);
            let details = match held {
                Some(Hold { since, why }) => {
                    Details::none().text("held_at", since.rfc3339().as_str()).text("held_for", why.as_str())
                }
                None => Details::none(),
            };
            let released = match (by, &origin.by) {
                (Some(new), _) => released.because("logged_in").with_details(details.text("by_session", new.as_str())),
                (None, By::Operator { words, .. }) => {
                    AuditEvent { reason: reason_of(words), ..released }.with_details(details)
                }
                (None, _) => released.with_details(details),
            };
            (Some(released), None)
        }
        Told::TokenRevoked { id, principal, reason } => {
            let revoked = of(event(AuditType::TokenRevoked, Outcome::Success).of_session(*id), principal.as_deref());
            (Some(revoked.because(*reason).with_details(origin.details())), None)
        }
        Told::TokenRejected { token, why } => {
            // By its sender, who can make up as many tokens as it likes, and not by the token.
            let mut rejected = event(AuditType::TokenRejected, Outcome::Denied).because(*why);
            if let Some((id, principal)) = token {
                rejected = rejected.of_principal(principal).with_details(Details::none().text("token", id.as_str()));
            }
            (Some(rejected), None)
        }
        Told::SessionsEnded { revocation: Revocation { scope, reason, .. }, revoked } => {
            let mut details = ended(origin, *revoked);
            let mut line = event(AuditType::SessionEnded, Outcome::Success).because(*reason);
            match scope {
                Scope::User { tenant, user } => (line.tenant, line.user) = (Some(tenant.clone()), Some(user.clone())),
                Scope::OtherSessions { tenant, user, keep } => {
                    (line.tenant, line.user) = (Some(tenant.clone()), Some(user.clone()));
                    details = details.text("kept", keep.id().as_str());
                }
                Scope::Tenant { tenant } => line.tenant = Some(tenant.clone()),
            }
            (Some(line.with_details(details)), None)
        }
        Told::TenantChanged { tenant, change, revoked } => {
            let line = |kind| {
                let mut line = event(kind, Outcome::Success);
                line.tenant = Some(tenant.clone());
                line
            };
            let details = ended(origin, *revoked).text("status", change.status.as_str());
            let ended = ends_sessions(change, *revoked)
                .then(|| line(AuditType::SessionEnded).because(change.reason).with_details(ended(origin, *revoked)));
            let changed = line(AuditType::TenantChanged).with_details(details);
            let shut_out = change.status != TenantStatus::Active;
            (Some(if shut_out { changed.because(change.reason) } else { changed }), ended)
        }
        Told::CameLate(late) => came_late(origin, late, now),
        Told::SessionRejected { id, principal, reason } => {
            let rejected = event(AuditType::SessionRejected, Outcome::Denied).of_session(*id).because(reason.as_str());
            (Some(of(rejected, principal.as_deref())), None)
        }
        Told::EventEndedNothing { outcome, why, tenant, session } => {
            let mut nothing = event(AuditType::SessionEnded, *outcome).because(*why).with_details(origin.details());
            nothing.tenant.clone_from(tenant);
            nothing.session_id = *session;
            (Some(nothing), None)
        }
        Told::EventUnknown { session, said } => {
            let mut unknown = event(AuditType::EventUnknown, Outcome::Failure);
            unknown.session_id = *session;
            (Some(unknown.with_details(origin.details().text("said", said.clone()))), None)
        }
        Told::NoLogin {
            why: NoLogin::Undecided | NoLogin::Unnamed | NoLogin::Unanswered | NoLogin::Locked(None),
            ..
        } => (None, None),
        Told::NoLogin { why: NoLogin::Locked(Some(by)), .. } => {
            (Some(event(AuditType::LoginLocked, Outcome::Denied).because(*by)), None)
        }
        Told::LoginOrphaned { principal, let_in, is_new } => {
            let orphaned = event(AuditType::LoginOrphaned, if *let_in { Outcome::Success } else { Outcome::Denied });
            let details = is_new.map_or_else(Details::none, |is_new| Details::none().flag("new", is_new));
            (Some(orphaned.of_principal(principal).with_details(details)), None)
        }
        Told::Found { finding, id, taken } => {
            (Some(found(event(AuditType::AnomalyFound, Outcome::Success), finding, id, taken)), None)
        }
        Told::FindingJudged { id, verdict, .. } => {
            let details = origin.details().text("finding", id.as_str()).text("verdict", verdict.as_str());
            (Some(event(AuditType::AnomalyVerdict, Outcome::Success).with_details(details)), None)
        }
        Told::FindingReported { id, verdict } => {
            let details = Details::none().text("finding", id.as_str()).text("verdict", verdict.as_str());
            let reported = event(AuditType::AnomalyVerdict, Outcome::Success).because("client_reported");
            (Some(of(reported, origin.requester.as_deref()).with_details(details)), None)
        }
        Told::LoginUnlocked(lock) => {
            let details = origin.details().text("lock", lock.id().as_str()).text("by", lock.note.by.as_str());
            (Some(event(AuditType::LoginUnlocked, Outcome::Success).with_details(details)), None)
        }
        Told::NoLogin { why: NoLogin::Failed(status), .. } => {
            let failed = event(AuditType::LoginFailed, Outcome::Failure);
            (Some(failed.with_details(Details::none().count("status", u64::from(*status)))), None)
        }
        Told::NoLogin { why: NoLogin::Refused(why), principal } => {
            let refused = event(AuditType::LoginFailed, Outcome::Denied).because(*why);
            (Some(of(refused, principal.as_deref())), None)
        }
        Told::IdentitySpoofed { by, path, session, principal } => {
            let (details, spoofed) =
                (Details::none().text("path", path.clone()), event(AuditType::IdentitySpoofed, Outcome::Denied));
            let mut spoofed = match by {
                Spoof::Headers(count) => spoofed.with_details(details.count("headers", *count)),
                Spoof::Cookies(count) => spoofed.because("app_cookie").with_details(details.count("cookies", *count)),
                Spoof::Place(place) => spoofed.because(*place).with_details(details),
            };
            spoofed.session_id = *session;
            (Some(of(spoofed, principal.as_deref())), None)
        }
    };
    first.into_iter().chain(second)
}

/// The line of a finding: the gateway's own, whoever caused it.
fn found(event: AuditEvent, finding: &Finding, id: &Option<String>, taken: &[Taken]) -> AuditEvent {
    let details = Details::none().text("severity", finding.severity.as_str()).text("mode", finding.mode.as_str());
    let actions: Vec<&str> = finding.actions.iter().map(|action| action.as_str()).collect();
    let details = details.text("action", &*actions.join(" ")).text("evidence", &*finding.evidence.to_string());
    let details = match id {
        Some(id) => details.text("finding", id.as_str()),
        None => details,
    };
    let failed: Vec<&str> = taken.iter().filter(|taken| !taken.done).map(|taken| taken.action.as_str()).collect();
    let details = match finding.mode {
        MonitorMode::Enforce if !failed.is_empty() => details.text("not_done", &*failed.join(" ")),
        MonitorMode::Enforce | MonitorMode::Observe => details,
    };
    let (session_id, actor) = (finding.session.as_ref().map(|(id, _)| *id), Actor::Gateway);
    let event = AuditEvent { session_id, actor, ..event.because(finding.kind.as_str()) };
    of(event, finding.session.as_ref().map(|(_, principal)| &**principal)).with_details(details)
}

fn of(event: AuditEvent, principal: Option<&Principal>) -> AuditEvent {
    match principal {
        Some(principal) => event.of_principal(principal),
        None => event,
    }
}

/// The details of an end of many sessions.
fn ended(origin: &Origin, revoked: Revoked) -> Details {
    let mut details = origin.details().count("invalidated_sessions", revoked.ended);
    if !revoked.complete {
        details = details.flag("counting", true);
    }
    if !revoked.journalled {
        details = details.flag("journalled", false);
    }
    if !revoked.replicated {
        details = details.flag("replicated", false);
    }
    details
}

/// That it is the delayed effect of a call that failed, by whoever had asked for it, and what is known of that call.
fn came_late(origin: &Origin, late: &Late, now: WallTime) -> (Option<AuditEvent>, Option<AuditEvent>) {
    let details = || {
        let details = origin.details().flag("late", true).text("asked_at", late.asked.rfc3339().as_str());
        if late.already { details.flag("already", true) } else { details }
    };
    let line = |kind| {
        let mut line = origin.event(now, kind, Outcome::Success);
        (line.tenant, line.user, line.session_id) = (late.tenant.clone(), late.user.clone(), late.session);
        line
    };
    if let Some(word) = &late.word {
        let (kind, reason) = match word {
            HoldWord::Hold(why) => (AuditType::SessionHeld, reason_of(why)),
            HoldWord::Release => (AuditType::SessionReleased, None),
        };
        return (Some(AuditEvent { reason, ..line(kind).with_details(details()) }), None);
    }
    let status = late.status.map(|status| {
        let changed = line(AuditType::TenantChanged).with_details(details().text("status", status.as_str()));
        if status == TenantStatus::Active { changed } else { changed.because(late.reason) }
    });
    let ended = (late.status != Some(TenantStatus::Active)).then(|| {
        let details = details().count("invalidated_sessions", late.ended);
        line(AuditType::SessionEnded).because(late.reason).with_details(details)
    });
    (status, ended)
}

/// Who held a session, as it is counted.
fn held_by(origin: &Origin) -> &'static str {
    if origin.by == By::Gateway { "finding" } else { "operator" }
}

/// Whether a change of a tenant's status was the end of sessions.
fn ends_sessions(change: &TenantChange, revoked: Revoked) -> bool {
    change.status != TenantStatus::Active || revoked.ended > 0
}

/// Whether a session that ended for this reason was ended by force, and neither by its own user nor by time.
const fn is_revocation(reason: EndReason) -> bool {
    !matches!(
        reason,
        EndReason::Logout
            | EndReason::LogoutAll
            | EndReason::Replaced
            | EndReason::IdleTimeout
            | EndReason::Expired
            | EndReason::Limit
    )
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

impl From<&Late> for Origin {
    fn from(late: &Late) -> Self {
        let request_id = match &late.by {
            By::Operator { request_id, .. } => Some(ClientText::from(&**request_id)),
            _ => None,
        };
        Self { request_id, ..Self::of(late.by.clone()) }
    }
}
