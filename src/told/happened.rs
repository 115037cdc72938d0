//! What happened, as a value.

use std::net::IpAddr;
use std::sync::Arc;

use crate::audit::{ClientText, Outcome};
use crate::monitor::{Finding, Lock, Taken, Verdict};
use crate::session::{
    Barred, EndReason, Hold, Principal, Revocation, SessionId, SessionRecord, StoreTime, TenantChange, TenantId, Words,
};
use crate::store::Revoked;
use crate::store::journal::Late;

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
