//! Access tokens of issuers: from the text in `Authorization` to whom it stands for.
//!
//! What makes a token good is said in [`jwt`](crate::jwt), which is pure; here are the keys that come from elsewhere, and
//! what was verified a moment ago. A token that was seen before is found by the hash of *all* of it, so that no other
//! signature passes for the verified one; what it is called is the hash of what is signed. Whether it was denied, or its
//! user or tenant revoked, the store knows, and is asked about it by whoever uses this.
//!
//! Knows no request, no store, no policy and no configuration file. Nothing of a token leaves it but whose it is.

mod published;
mod rules;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use quick_cache::sync::Cache;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio_util::task::AbortOnDropHandle;

pub use self::rules::{BearerRules, IssuerRules, JwksAddress, KeySource};

use self::published::Published;
use crate::clock::{Monotonic, SharedClock, WallTime};
use crate::entropy::spread;
use crate::http::IdentityRules;
use crate::jwt::{Compact, KeySet, LONGEST_TOKEN, Lifetime, TokenFault, issuer};
use crate::login::{LoginIdentity, Users};
use crate::session::{SessionId, SessionRecord, StoreTime};
use crate::telemetry::Metrics;

/// How many tokens that were seen are remembered.
const MOST_SEEN: usize = 50_000;

/// All that is believed of tokens, and the tokens that were seen.
pub struct Bearer {
    rules: BearerRules,
    identity: IdentityRules,
    issuers: Vec<Issuer>,
    /// By the hash of the whole token: what is signed, and the signature. Each stands in the table itself, so that one that
    /// was seen long ago is looked for in one place.
    seen: Cache<[u8; 32], Seen>,
    clock: SharedClock,
}

enum Keys {
    Fixed(KeySet),
    Published { keys: Arc<Published>, _fresh: AbortOnDropHandle<()> },
}

struct Issuer {
    keys: Keys,
}

/// A token whose signature and claims were found good.
#[derive(Clone)]
struct Seen {
    token: VerifiedToken,
    lifetime: Lifetime,
    issuer: usize,
    version: u64,
}

/// A token that is good, as far as it can say that itself.
#[derive(Clone, Debug)]
pub struct VerifiedToken {
    /// What it is called.
    pub id: SessionId,
    /// What it says of itself.
    pub record: Arc<SessionRecord>,
    /// When what is open for it ends, by this machine's clock.
    pub over_at: Monotonic,
}

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBearer {
    /// The token's fault.
    Token(TokenFault),
    /// The keys of its issuer cannot be had, so that nobody can tell.
    KeysUnavailable,
}

impl From<TokenFault> for BadBearer {
    fn from(fault: TokenFault) -> Self {
        Self::Token(fault)
    }
}

impl Bearer {
    /// For these issuers. Asks for the keys that they publish at once, and keeps them fresh for as long as it lives.
    #[must_use]
    pub fn new(rules: BearerRules, identity: IdentityRules, clock: &SharedClock, metrics: &Metrics) -> Arc<Self> {
        let issuers = rules.issuers.iter().map(|rules| Issuer {
            keys: match &rules.keys {
                KeySource::Fixed(keys) => Keys::Fixed(keys.clone()),
                KeySource::Published(address) => {
                    let (issuer, algorithms) = (&rules.issuer, &rules.algorithms);
                    let published = Published::new(issuer, algorithms, address.clone(), clock, metrics);
                    let published = Arc::new(published);
                    let task = tokio::spawn(keep_fresh(Arc::downgrade(&published)));
                    Keys::Published { keys: published, _fresh: AbortOnDropHandle::new(task) }
                }
            },
        });
        let (issuers, seen, clock) = (issuers.collect(), Cache::new(MOST_SEEN), clock.clone());
        Arc::new(Self { rules, identity, issuers, seen, clock })
    }

    /// Whether it is for these rules.
    #[must_use]
    pub fn is_for(&self, rules: &BearerRules, identity: &IdentityRules) -> bool {
        (&self.rules, &self.identity) == (rules, identity)
    }

    /// For how long a token could be used of which nothing is known.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.rules.longest()
    }

    /// Whom a token stands for.
    ///
    /// # Errors
    /// When it is not good, or nobody can tell.
    pub async fn verify(&self, token: &[u8]) -> Result<VerifiedToken, BadBearer> {
        if token.len() > LONGEST_TOKEN {
            return Err(TokenFault::TooLong.into());
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        let now = self.clock.wall();
        if let Some(seen) = self.seen.get(&hash)
            && self.keys_are_still(&seen)
        {
            return seen.at(now, self.clock.monotonic()).map_err(BadBearer::from);
        }
        // What is rare is boxed: the memory of its future is that of every request under way.
        Box::pin(self.verify_unseen(token, hash, now)).await
    }

    async fn verify_unseen(&self, token: &[u8], hash: [u8; 32], now: WallTime) -> Result<VerifiedToken, BadBearer> {
        let Ok(token) = std::str::from_utf8(token) else { return Err(TokenFault::Encoding.into()) };
        let seen = self.judge(token).await?;
        let verified = seen.clone().at(now, self.clock.monotonic());
        // What is over is not kept: it takes a place from what is not.
        if verified.is_ok() {
            self.seen.insert(hash, seen);
        }
        verified.map_err(BadBearer::from)
    }

    fn keys_are_still(&self, seen: &Seen) -> bool {
        match self.issuers.get(seen.issuer).map(|issuer| &issuer.keys) {
            Some(Keys::Fixed(_)) => true,
            Some(Keys::Published { keys, .. }) => keys.is_still(seen.version),
            None => false,
        }
    }

    /// All that does not change while a token lives.
    async fn judge(&self, token: &str) -> Result<Seen, BadBearer> {
        let compact = Compact::parse(token)?;
        let claims = compact.claims()?;
        let named = issuer(&claims)?;
        let at = self.rules.issuers.iter().position(|rules| *rules.issuer == *named).ok_or(TokenFault::Issuer)?;
        let (Some(rules), Some(issuer)) = (self.rules.issuers.get(at), self.issuers.get(at)) else {
            return Err(TokenFault::Issuer.into());
        };
        // Before anybody is asked for a key: what would be refused with any.
        if !rules.algorithms.contains(&compact.header().algorithm) {
            return Err(TokenFault::Algorithm.into());
        }
        let lifetime = rules.expectations.check(compact.header(), &claims)?;
        let version = issuer.keys.verify(&compact, rules).await?;
        let principal = match LoginIdentity::from_json(
            &Value::Object(claims),
            &rules.pointers,
            &Users::default(),
            &self.identity,
        ) {
            LoginIdentity::Principal(principal, _) => Arc::new(principal),
            LoginIdentity::None | LoginIdentity::Bad(_) => return Err(TokenFault::Identity.into()),
        };
        let time = |time: WallTime| StoreTime::from_micros(time.as_micros());
        let record = SessionRecord::of_token(principal, time(lifetime.issued), time(lifetime.until));
        // When it is over depends on when it is used.
        let over_at = Monotonic::from_micros(0);
        let token = VerifiedToken { id: compact.id(), record: Arc::new(record), over_at };
        Ok(Seen { token, lifetime, issuer: at, version })
    }
}

/// Keeps what an issuer publishes fresh for as long as anybody wants it.
async fn keep_fresh(published: Weak<Published>) {
    while let Some(wanted) = published.upgrade() {
        let next = wanted.keep_fresh().await;
        drop(wanted);
        tokio::time::sleep(spread(next)).await;
    }
}

impl Keys {
    /// Checks a token's signature; answers with which version of the keys.
    async fn verify(&self, token: &Compact<'_>, rules: &IssuerRules) -> Result<u64, BadBearer> {
        let published = match self {
            Self::Fixed(keys) => return Ok(keys.verify(token, &rules.algorithms).map(|()| 0)?),
            Self::Published { keys, .. } => keys,
        };
        if let Some(known) = published.known() {
            match known.keys.verify(token, &rules.algorithms) {
                Ok(()) => return Ok(known.version),
                // It may have been published since.
                Err(TokenFault::UnknownKey) => {}
                Err(fault) => return Err(fault.into()),
            }
        }
        let is_current = published.look_again().await;
        let known = published.known().ok_or(BadBearer::KeysUnavailable)?;
        match known.keys.verify(token, &rules.algorithms) {
            Ok(()) => Ok(known.version),
            Err(TokenFault::UnknownKey) if !is_current => Err(BadBearer::KeysUnavailable),
            Err(fault) => Err(fault.into()),
        }
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bearer").finish_non_exhaustive()
    }
}

impl Seen {
    /// The token, where it is good at this time.
    fn at(self, now: WallTime, monotonic: Monotonic) -> Result<VerifiedToken, TokenFault> {
        self.lifetime.check(now)?;
        // What began in time is cut when the token is over; what began in its leeway, after that.
        let over = if now < self.lifetime.expires { self.lifetime.expires } else { self.lifetime.until };
        let left = Duration::from_micros(over.as_micros().saturating_sub(now.as_micros()));
        Ok(VerifiedToken { over_at: monotonic.after(left), ..self.token })
    }
}
