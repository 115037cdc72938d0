//! What the journal writes down, and the bytes of it.

use serde::{Deserialize, Serialize};

use crate::clock::WallTime;
use crate::session::{By, EndReason, HoldWord, SessionId, StoreTime, TenantId, TenantStatus, UserId, Words};

/// The version of the bytes, which is the first of them.
const FORMAT: u8 = 2;

/// What was ended, or held. `floor` is the server's time just before; `standing` is what the server made of it, once known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) enum Entry {
    /// One session, which would have lived until `deadline` (µs); `owner` is its tenant and user.
    Session { id: String, reason: String, deadline: u64, applied: bool, owner: Option<(String, String)> },
    /// A user's sessions, but for `keep`.
    User { tenant: String, user: String, floor: u64, standing: Option<String>, keep: Option<String> },
    /// One token of an issuer, which nobody may use until `deadline` (µs).
    Token { id: String, reason: String, deadline: u64, applied: bool, owner: Option<(String, String)> },
    /// Whether one session is held, which would have lived until `deadline` (µs).
    Hold { id: String, word: String, floor: u64, deadline: u64, standing: Option<String>, owner: (String, String) },
    /// A tenant's sessions; with a change of its status, if `status` is one.
    Tenant { tenant: String, floor: u64, status: String, note: String, standing: Option<String> },
}

/// The call that asked for it, to be told should it come late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Call {
    /// When (µs), by the clock of the gateway.
    at: u64,
    reason: String,
    actor: Actor,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Actor {
    Gateway,
    User,
    Event(String),
    Operator { name: String, words: String, request_id: String },
}

impl Call {
    pub(in crate::store) fn new(at: WallTime, reason: EndReason, by: &By) -> Self {
        let actor = match by {
            By::Gateway => Actor::Gateway,
            By::User => Actor::User,
            By::Event(name) => Actor::Event(name.to_string()),
            By::Operator { name, words, request_id } => Actor::Operator {
                name: name.to_string(),
                words: words.as_str().to_owned(),
                request_id: request_id.to_string(),
            },
        };
        Self { at: at.as_micros(), reason: reason.as_str().to_owned(), actor }
    }

    fn by(&self) -> By {
        match &self.actor {
            Actor::Gateway => By::Gateway,
            Actor::User => By::User,
            Actor::Event(name) => By::Event(name.as_str().into()),
            Actor::Operator { name, words, request_id } => By::Operator {
                name: name.as_str().into(),
                words: Words::parse(words).unwrap_or_default(),
                request_id: request_id.as_str().into(),
            },
        }
    }
}

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Record {
    pub(in crate::store) entry: Entry,
    call: Call,
    /// When (µs) its delayed effect was told, by the latest that the server's clock could show then.
    told: Option<u64>,
}

impl Record {
    pub(in crate::store) const fn new(entry: Entry, call: Call) -> Self {
        Self { entry, call, told: None }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, rmp_serde::encode::Error> {
        let mut bytes = vec![FORMAT];
        rmp_serde::encode::write(&mut bytes, self)?;
        Ok(bytes)
    }

    /// Answers why not, if it cannot be read: what it ended is not known then, and must not be passed over.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        match bytes.split_first() {
            Some((&FORMAT, record)) => rmp_serde::from_slice(record).map_err(|error| error.to_string()),
            Some((format, _)) => Err(format!("it is of format {format}, which another version of the gateway wrote")),
            None => Err(String::from("it is empty")),
        }
    }

    /// Whether the server is not known to have it, so that it is yet to be carried out.
    pub(super) const fn is_open(&self) -> bool {
        self.told.is_none() && !self.is_applied()
    }

    /// Whether what the server made of it is known.
    pub(in crate::store) const fn is_applied(&self) -> bool {
        match &self.entry {
            Entry::Session { applied, .. } | Entry::Token { applied, .. } => *applied,
            Entry::User { standing, .. } | Entry::Tenant { standing, .. } | Entry::Hold { standing, .. } => {
                standing.is_some()
            }
        }
    }

    /// With what the server made of it.
    pub(super) fn applied(mut self, made: Option<&str>) -> Self {
        match &mut self.entry {
            Entry::Session { applied, .. } | Entry::Token { applied, .. } => *applied = true,
            Entry::User { standing, .. } | Entry::Tenant { standing, .. } | Entry::Hold { standing, .. } => {
                *standing = made.map(str::to_owned);
            }
        }
        self
    }

    /// Its delayed effect is on record elsewhere from now on.
    pub(super) const fn told(mut self, at: StoreTime) -> Self {
        self.told = Some(at.as_micros());
        self
    }

    /// When that was, if it was.
    pub(in crate::store) fn told_at(&self) -> Option<StoreTime> {
        self.told.map(StoreTime::from_micros)
    }

    /// The tenant whose status it changes, and whether that ends sessions as well.
    pub(super) fn status(&self) -> Option<(&str, bool)> {
        match &self.entry {
            Entry::Tenant { tenant, status, .. } if !status.is_empty() => {
                Some((tenant, status != TenantStatus::Active.as_str()))
            }
            _ => None,
        }
    }

    /// What it said of a tenant's status, where the server took it.
    pub(super) fn word(&self) -> Option<Word> {
        let Entry::Tenant { tenant, status, standing: Some(standing), .. } = &self.entry else { return None };
        let status = TenantStatus::parse(status)?;
        let generation = standing.split(' ').next()?.parse().ok()?;
        Some(Word { tenant: tenant.clone(), generation, shuts_out: status != TenantStatus::Active })
    }

    /// The generation that it has raised something to, 0 if it was about one session or token.
    pub(in crate::store) fn generation(&self) -> u64 {
        match &self.entry {
            Entry::Session { .. } | Entry::Token { .. } | Entry::Hold { .. } => 0,
            Entry::User { standing, floor, .. } | Entry::Tenant { standing, floor, .. } => {
                generation_of(standing.as_deref(), *floor)
            }
        }
    }

    /// What is left of it when a later word about the tenant's status counts.
    pub(super) fn without_status(mut self) -> Self {
        if let Entry::Tenant { status, note, .. } = &mut self.entry {
            status.clear();
            note.clear();
        }
        self
    }

    /// Why the sessions end.
    pub(in crate::store) fn reason(&self) -> EndReason {
        let (known, otherwise) = match &self.entry {
            Entry::Session { reason, .. } | Entry::Token { reason, .. } => (reason, EndReason::Revoked),
            Entry::User { .. } | Entry::Hold { .. } => (&self.call.reason, EndReason::UserRevoked),
            Entry::Tenant { .. } => (&self.call.reason, EndReason::TenantRevoked),
        };
        EndReason::parse(known.as_bytes()).unwrap_or(otherwise)
    }

    /// What is to be told of its delayed effect.
    pub(in crate::store) fn late(&self) -> Late {
        let (mut tenant, mut user, mut session, mut word) = (None, None, None, None);
        match &self.entry {
            Entry::Session { id, owner, .. } | Entry::Token { id, owner, .. } => {
                session = SessionId::parse(id.as_bytes());
                if let Some((of_tenant, of_user)) = owner {
                    (tenant, user) = (TenantId::parse_kept(of_tenant).ok(), UserId::parse_kept(of_user).ok());
                }
            }
            Entry::Hold { id, word: said, owner: (of_tenant, of_user), .. } => {
                (session, word) = (SessionId::parse(id.as_bytes()), HoldWord::decode(said));
                (tenant, user) = (TenantId::parse_kept(of_tenant).ok(), UserId::parse_kept(of_user).ok());
            }
            Entry::User { tenant: of_tenant, user: of_user, .. } => {
                (tenant, user) = (TenantId::parse_kept(of_tenant).ok(), UserId::parse_kept(of_user).ok());
            }
            Entry::Tenant { tenant: of_tenant, .. } => tenant = TenantId::parse_kept(of_tenant).ok(),
        }
        Late {
            tenant,
            user,
            session,
            word,
            status: None,
            reason: self.reason(),
            by: self.call.by(),
            asked: WallTime::from_micros(self.call.at),
            ended: 0,
            already: false,
        }
    }
}

/// The generation of a standing; of one that was never confirmed, the time just before it was asked for.
pub(in crate::store) fn generation_of(standing: Option<&str>, floor: u64) -> u64 {
    standing.and_then(|standing| standing.split(' ').next()?.parse().ok()).unwrap_or(floor)
}

/// What was said of a tenant's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) tenant: String,
    /// The tenant's with it. Of two words the one with the higher is the later.
    pub(super) generation: u64,
    pub(super) shuts_out: bool,
}

/// The delayed effect of a call that failed, or was cut off before it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Late {
    /// Whose sessions ended.
    pub tenant: Option<TenantId>,
    /// The user, where it was not the whole tenant.
    pub user: Option<UserId>,
    /// The session, where it was one alone.
    pub session: Option<SessionId>,
    /// What was said of that session, if it was not to end it.
    pub word: Option<HoldWord>,
    /// What the tenant was made, if it was about that.
    pub status: Option<TenantStatus>,
    /// Why the sessions ended.
    pub reason: EndReason,
    /// Who had asked for it.
    pub by: By,
    /// When, by the gateway's clock.
    pub asked: WallTime,
    /// How many sessions were live.
    pub ended: u64,
    /// Whether the server had it already: the call had come through and its answer was lost, or a later one did the same.
    pub already: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(status: &str) -> Record {
        let entry = Entry::Tenant {
            tenant: String::from("acme"),
            floor: 17,
            status: String::from(status),
            note: String::from("tenant_revoked unpaid"),
            standing: None,
        };
        let by = By::Operator {
            name: "ops".into(),
            words: Words::parse("unpaid").expect("one line"),
            request_id: "5c1d".into(),
        };
        Record::new(entry, Call::new(WallTime::from_micros(99), EndReason::TenantRevoked, &by))
    }

    #[test]
    fn a_record_survives_the_disk_and_says_who_asked() {
        let record = tenant("suspended");
        let read = Record::decode(&record.encode().expect("encodes")).expect("decodes");
        assert_eq!(read, record);
        let late = read.late();
        assert_eq!((late.asked, late.reason), (WallTime::from_micros(99), EndReason::TenantRevoked));
        let By::Operator { name, words, request_id } = late.by else { panic!("an operator asked") };
        assert_eq!((&*name, words.as_str(), &*request_id), ("ops", "unpaid", "5c1d"));
    }

    #[test]
    fn what_cannot_be_read_is_no_entry_that_may_be_passed_over() {
        for bytes in [&b""[..], b"\x02\x90", b"\x01", b"\x01\xc1", b"\x81\xa4User"] {
            assert!(Record::decode(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_superseded_change_of_status_is_still_an_end_unless_it_restored() {
        assert_eq!(tenant("suspended").status(), Some(("acme", true)));
        assert_eq!(tenant("active").status(), Some(("acme", false)));
        assert_eq!(tenant("deleted").without_status().status(), None);
        assert!(tenant("deleted").without_status().is_open());
    }
}
