//! What an operator wrote down about issuers.

use std::time::Duration;

use http::HeaderValue;
use http::uri::PathAndQuery;

use crate::jwt::{AHEAD_AT_MOST, Algorithm, Expectations, KeySet};
use crate::login::IdentityPointers;
use crate::upstream::{PeerAddress, Trust};

/// Which tokens are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BearerRules {
    /// The issuers, no two of one name. Never empty.
    pub issuers: Vec<IssuerRules>,
    /// By how much their clocks may be off.
    pub leeway: Duration,
    /// How long a token may live at most.
    pub max_lifetime: Duration,
}

impl BearerRules {
    /// For how long a token could be used that is made now, whatever it says.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.max_lifetime + self.leeway + AHEAD_AT_MOST
    }
}

/// One issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerRules {
    /// What its tokens call it, exactly; empty for those that call it nothing.
    pub issuer: Box<str>,
    /// By which algorithms it signs; all of one family, never none.
    pub algorithms: Vec<Algorithm>,
    /// What its tokens must say.
    pub expectations: Expectations,
    /// Where its keys are.
    pub keys: KeySource,
    /// Where its claims name tenant, user and role.
    pub pointers: IdentityPointers,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// In the configuration.
    Fixed(KeySet),
    /// Where the issuer publishes them.
    Published(JwksAddress),
}

/// Where an issuer publishes its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksAddress {
    /// The host.
    pub peer: PeerAddress,
    /// What it is called in the request.
    pub host: HeaderValue,
    /// Path and query.
    pub target: PathAndQuery,
    /// Who vouches for it over TLS.
    pub trust: Option<Trust>,
}
