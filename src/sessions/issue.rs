//! Makes sessions: the store has one before its cookie can go anywhere.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::Sessions;
use crate::custody::{AppToken, CustodyKeys, NotSealed};
use crate::entropy::EntropyError;
use crate::http::{CookieAttributes, session_set_cookie};
use crate::session::{
    By, Candidate, EndReason, Limits, Principal, SessionId, SessionLimit, SessionRecord, SessionToken, StoreTime,
    TenantId, UserAgent,
};
use crate::store::{Creation, NewSession, Unavailable};
use crate::told::{Origin, Source, Told};

/// How long the old token of a session that goes on under a new one still works, for what is in flight.
const GRACE: Duration = Duration::from_secs(10);
/// Tokens that are drawn at the most for one that can be stored.
const DRAWS: usize = 32;

/// What the configuration grants a session.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// How long it lives.
    pub limits: &'a Limits,
    /// How many of them a user may have; `None` when any number.
    pub max_per_user: Option<SessionLimit>,
    /// What its cookie looks like.
    pub cookie: &'a CookieAttributes,
}

/// Whom a session is for, and how it came to be asked for.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// Whom it is for: verified.
    pub principal: Principal,
    /// The tenants that the user may choose from, the principal's among them or not.
    pub tenants: Vec<TenantId>,
    /// Whether the login asked to be remembered.
    pub remembered: bool,
    /// The user's address; `None` where it is not known.
    pub address: Option<IpAddr>,
    /// The user's browser.
    pub user_agent: UserAgent,
    /// The store's time before the backend was asked: a revocation from then on wins.
    pub began: StoreTime,
    /// The token that the app handed out for it.
    pub deposit: Option<Deposit>,
}

/// A token of the app's, which is kept for a session and sealed for its cookie, which nobody has yet.
#[derive(Clone, Debug)]
pub struct Deposit {
    /// What seals it.
    pub keys: Arc<CustodyKeys>,
    /// What is kept.
    pub token: AppToken,
    /// For how long the session lives at most: with the token, where nothing gets another one.
    pub at_most: Option<Duration>,
    /// Whether the browser has the token, too, so that it is denied when the session ends.
    pub is_left: bool,
}

/// A session that was made.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Its id.
    pub id: SessionId,
    /// Its record.
    pub record: Arc<SessionRecord>,
    /// The line that gives it to a browser: whoever has it is the user.
    pub set_cookie: HeaderValue,
}

impl Issued {
    /// How long browsers keep its cookie; `None`: until they are closed.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        max_age(&self.record)
    }
}

fn max_age(record: &SessionRecord) -> Option<Duration> {
    record.remembered.then(|| record.deadline.since(record.created))
}

/// Why no session was made.
#[derive(Debug, thiserror::Error)]
pub enum NotIssued {
    /// The store cannot say.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The user has as many sessions as they may have.
    #[error("the user has as many sessions as they may have")]
    LimitReached,
    /// The user or tenant was revoked since it began, or the session to go on from is over.
    #[error("it was revoked before it was made")]
    Superseded,
    /// The tenant is suspended or deleted.
    #[error("the tenant is suspended or deleted")]
    TenantRefused,
    /// There is no token.
    #[error(transparent)]
    NoRandomness(#[from] EntropyError),
    /// The app's token cannot be kept.
    #[error("the app's token cannot be sealed: {0}")]
    NotSealed(NotSealed),
}

impl Sessions {
    /// Makes a session. `replaces` is one that the caller ends as soon as this one is made: it does not count.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn issue(
        &self,
        origin: &Origin,
        source: Source,
        terms: Terms<'_>,
        of: Newcomer,
        replaces: Option<SessionId>,
    ) -> Result<Issued, NotIssued> {
        let token = self.draw()?;
        let candidates = Candidate::beside(&of.principal.tenant, of.tenants.clone());
        let creation = self.store.create(self.new_session(&token, terms, of, candidates, replaces)?).await?;
        self.issued(origin, source, terms, &token, creation)
    }

    /// Has a session go on under a new token, perhaps in another tenant, for no longer than it had. The old token works
    /// a moment more. What its user could choose stays to be chosen, and what was lost of that stays lost.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn rotate(
        &self,
        origin: &Origin,
        terms: Terms<'_>,
        of: Newcomer,
        old: SessionId,
        old_record: &SessionRecord,
    ) -> Result<Issued, NotIssued> {
        let token = self.draw()?;
        let candidates = old_record.candidates_for(&of.principal);
        let new = self.new_session(&token, terms, of, candidates, Some(old))?;
        let creation = self.store.rotate(old, old_record, new, GRACE).await?;
        let issued = self.issued(origin, Source::RotatedFrom(old), terms, &token, creation)?;
        let principal = Some(old_record.principal.clone());
        self.teller.tell(origin, &Told::SessionEnded { id: old, principal, reason: EndReason::Replaced, from: None });
        Ok(issued)
    }

    /// A new token: where part of the store cannot take sessions, one of a session that another part would have.
    fn draw(&self) -> Result<SessionToken, EntropyError> {
        for _ in 1..DRAWS {
            let token = SessionToken::generate(&*self.entropy)?;
            if self.store.would_take(token.id()) {
                return Ok(token);
            }
        }
        SessionToken::generate(&*self.entropy)
    }

    fn new_session(
        &self,
        token: &SessionToken,
        terms: Terms<'_>,
        of: Newcomer,
        candidates: Vec<Candidate>,
        replaces: Option<SessionId>,
    ) -> Result<NewSession, NotIssued> {
        let (idle, absolute) = terms.limits.of(of.remembered);
        let at_most = of.deposit.as_ref().and_then(|deposit| deposit.at_most);
        let seal = |Deposit { keys, token: kept, is_left, .. }: Deposit| {
            keys.seal(token, &of.principal, &kept, is_left, &*self.entropy).map_err(NotIssued::NotSealed)
        };
        let sealed_token = of.deposit.map(seal).transpose()?;
        Ok(NewSession {
            id: token.id(),
            principal: of.principal,
            candidates,
            remembered: of.remembered,
            idle,
            absolute: at_most.map_or(absolute, |most| absolute.min(most)),
            address: of.address,
            user_agent: of.user_agent,
            began: of.began,
            limit: terms.max_per_user,
            replaces,
            sealed_token,
        })
    }

    /// Tells of what was made, and of what had to go for it.
    fn issued(
        &self,
        origin: &Origin,
        source: Source,
        terms: Terms<'_>,
        token: &SessionToken,
        creation: Creation,
    ) -> Result<Issued, NotIssued> {
        let (record, displaced) = match creation {
            Creation::Stored { record, displaced } => (Arc::new(record), displaced),
            Creation::LimitReached => return Err(NotIssued::LimitReached),
            Creation::Superseded => return Err(NotIssued::Superseded),
            Creation::TenantRefused(_) => return Err(NotIssued::TenantRefused),
        };
        let id = token.id();
        self.teller.tell(origin, &Told::SessionCreated { id, record: record.clone(), from: source });
        // Nobody asked for it.
        let by_a_rule = origin.but_by(By::Gateway);
        for (id, record) in displaced {
            self.is_over(&by_a_rule, id, &record, EndReason::Limit);
        }
        Ok(Issued { id, set_cookie: session_set_cookie(terms.cookie, token, max_age(&record)), record })
    }
}
