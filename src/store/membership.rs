//! What a store does for `[tenants]`: it keeps who paid and has no tenant yet, for operators, and has each user or tenant asked
//! about by one gateway.
//!
//! # The contract
//!
//! - Whoever is noted is kept until they are forgotten, or nobody asked about them for [`ORPHANS_KEPT`]; of more than
//!   [`MOST_ORPHANS`] those go that were asked about longest ago.
//! - Since when somebody waits never changes, however often they are noted; attempts add up, and the last error stays until
//!   there is another.
//! - Of calls that claim the same at once, at however many gateways, one alone has it.
//!
//! What is not kept costs an operator a line, and nobody a login.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::monitor::Malformed;
use super::{Page, StoreResult};
use crate::session::{StoreTime, TenantId, UserId};

/// For how long after the last attempt somebody is kept.
pub const ORPHANS_KEPT: Duration = Duration::from_secs(90 * 86_400);
/// How many are kept.
pub const MOST_ORPHANS: usize = 10_000;
/// The longest error that is kept, in characters.
pub const LONGEST_ERROR: usize = 200;

/// Somebody who paid and has no tenant yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Who.
    pub user: UserId,
    /// Since when, in whole milliseconds.
    pub since: StoreTime,
    /// When the backend was asked about them last.
    pub last: StoreTime,
    /// How often it was.
    pub attempts: u64,
    /// What went wrong last, if anything ever did.
    pub error: Option<String>,
}

/// What was learnt of somebody by asking the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// How often it was asked.
    pub count: u32,
    /// What went wrong. For operators; holds nobody's value.
    pub error: Option<String>,
}

impl Attempts {
    /// So many, of which the last went wrong like this.
    #[must_use]
    pub fn new(count: u32, error: Option<&str>) -> Self {
        let printable =
            |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_ERROR).collect();
        Self { count, error: error.map(printable).filter(|error: &String| !error.is_empty()) }
    }
}

/// Whether somebody was kept already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanNoted {
    /// They were not.
    New,
    /// They were.
    Known,
}

/// A place in the list of those who wait: behind whom it goes on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrphanCursor {
    /// Since when they wait, in ms.
    pub(super) since: u64,
    /// What stands for them.
    pub(super) key: String,
}

impl fmt::Display for OrphanCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}", self.since, self.key)
    }
}

impl FromStr for OrphanCursor {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (since, key) = text.split_once('_').ok_or(Malformed)?;
        let digits = (1..=16).contains(&since.len()) && since.bytes().all(|byte| byte.is_ascii_digit());
        let since = since.parse().ok().filter(|_| digits).ok_or(Malformed)?;
        let is_key = URL_SAFE_NO_PAD.decode(key).is_ok_and(|bytes| bytes.len() == 16);
        if is_key { Ok(Self { since, key: key.to_owned() }) } else { Err(Malformed) }
    }
}

/// What stands for a user in keys and cursors: 22 characters for any text.
pub(super) fn key_of(user: &UserId) -> String {
    let hash = Sha256::digest(user.kept().as_bytes());
    URL_SAFE_NO_PAD.encode(hash.get(..16).unwrap_or_default())
}

/// About whom the backend is asked again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A user of a tenant.
    User(TenantId, UserId),
    /// All of a tenant.
    Tenant(TenantId),
}

impl Subject {
    /// The text that stands for it alone: no tenant has a space in it.
    #[must_use]
    pub fn kept(&self) -> String {
        match self {
            Self::User(tenant, user) => format!("{} {}", tenant.kept(), user.kept()),
            Self::Tenant(tenant) => tenant.kept().to_owned(),
        }
    }
}

/// Keeps who has no tenant, and whose turn it is to ask.
#[async_trait]
pub trait MembershipStore: Send + Sync + 'static {
    /// Notes that somebody paid and has no tenant.
    async fn note_orphan(&self, user: &UserId, attempts: &Attempts) -> StoreResult<OrphanNoted>;

    /// Notes further attempts, if they are kept. Answers whether they are.
    async fn note_attempts(&self, user: &UserId, attempts: &Attempts) -> StoreResult<bool>;

    /// Forgets somebody: they have a tenant, or have not paid. Answers whether they were kept.
    async fn forget_orphan(&self, user: &UserId) -> StoreResult<bool>;

    /// Those who are kept, who waits longest first; behind `after` alone. A page may hold fewer than `limit` without being
    /// the last.
    async fn orphans(&self, after: Option<&OrphanCursor>, limit: usize) -> StoreResult<Page<Orphan, OrphanCursor>>;

    /// How many are kept.
    async fn count_orphans(&self) -> StoreResult<u64>;

    /// Claims to be who asks the backend about it for so long. `false`: another did.
    async fn claim(&self, subject: &Subject, lasts: Duration) -> StoreResult<bool>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_nothing_else_does() {
        let user = UserId::parse("auth0|7").expect("visible ASCII");
        let cursor = OrphanCursor { since: 1_700_000_000_000, key: key_of(&user) };
        assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
        for garbage in [
            "",
            "_",
            "7",
            "7_short",
            "x_AAAAAAAAAAAAAAAAAAAAAA",
            "+7_AAAAAAAAAAAAAAAAAAAAAA",
            "7_AAAAAAAAAAAAAAAAAAAAA!",
        ] {
            assert_eq!(garbage.parse::<OrphanCursor>(), Err(Malformed), "{garbage}");
        }
    }

    #[test]
    fn an_error_is_one_short_line() {
        assert_eq!(Attempts::new(1, Some("a\r\nb")).error.as_deref(), Some("a  b"));
        assert_eq!(Attempts::new(1, Some(&"ü".repeat(300))).error.map(|error| error.chars().count()), Some(200));
        assert_eq!(Attempts::new(1, Some("")).error, None);
    }

    #[test]
    fn no_two_subjects_have_one_text() {
        let (tenant, user) = (TenantId::parse("acme").expect("a tenant"), UserId::parse("7").expect("a user"));
        let nobodys = Subject::User(TenantId::none(), user.clone());
        let texts =
            [Subject::Tenant(tenant.clone()), Subject::User(tenant, user), nobodys].map(|subject| subject.kept());
        assert_eq!(texts, ["acme", "acme 7", " 7"]);
    }
}
