//! The tables of the file: what is kept under what, how it is read back, and what can be wrong with it.

use redb::TableDefinition;

use super::super::Unavailable;
use crate::session::{End, LastWord, TenantStanding, UserStanding};

/// The layout of the tables.
pub(super) const FORMAT: u64 = 3;
pub(super) const FORMAT_KEY: &str = "format";
pub(super) const TIME_KEY: &str = "time";

/// The format, and the last time that was written down (µs).
pub(super) const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
/// Session to record.
pub(super) const SESSIONS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("sessions");
/// Session to the app's token, sealed.
pub(super) const SEALED_TOKENS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("sealed_tokens");
/// Session to touch deadline (µs), as long as it was not ended.
pub(super) const TOUCHES: TableDefinition<'static, &str, u64> = TableDefinition::new("touches");
/// Session to the end of it, or of its token alone, and until when (µs) that is kept.
pub(super) const ENDS: TableDefinition<'static, &str, (&str, u64)> = TableDefinition::new("ends");
/// The first of a session's line to the last word about whether it is held, and until when (µs) that is kept.
pub(super) const HOLDS: TableDefinition<'static, &str, (&str, u64)> = TableDefinition::new("holds");
/// Tenant to standing.
pub(super) const TENANTS: TableDefinition<'static, &str, &str> = TableDefinition::new("tenants");
/// Tenant to the note of its last change.
pub(super) const NOTES: TableDefinition<'static, &str, &str> = TableDefinition::new("tenant_notes");
/// Tenant and user to standing.
pub(super) const USERS: TableDefinition<'static, (&str, &str), &str> = TableDefinition::new("users");
/// The sessions of a tenant's user, in the order in which they were made (µs).
pub(super) const USER_INDEX: TableDefinition<'static, UserEntry, ()> = TableDefinition::new("user_index");
/// The sessions of a tenant, likewise.
pub(super) const TENANT_INDEX: TableDefinition<'static, TenantEntry, ()> = TableDefinition::new("tenant_index");
/// When (µs) to look whether a session can be forgotten.
pub(super) const EXPIRY: TableDefinition<'static, (u64, &str), ()> = TableDefinition::new("expiry");
/// Audit chain to where it stands.
pub(super) const AUDIT_ANCHORS: TableDefinition<'static, &str, &str> = TableDefinition::new("audit_anchors");
/// What all are to know, by its name.
pub(super) const NOTICES: TableDefinition<'static, &str, &str> = TableDefinition::new("notices");
/// What a login is counted by, to its tally, and until when (µs) that says anything.
pub(super) const LOGIN_BUCKETS: TableDefinition<'static, &str, (&[u8], u64)> = TableDefinition::new("login_buckets");
/// When (µs) a bucket can be forgotten.
pub(super) const LOGIN_EXPIRY: TableDefinition<'static, (u64, &str), ()> = TableDefinition::new("login_expiry");
/// User to the accounts by which they were seen to log in, and until when (µs) that is known.
pub(super) const LOGIN_ACCOUNTS: TableDefinition<'static, &str, (&[u8], u64)> = TableDefinition::new("login_accounts");
/// When (µs) that can be forgotten.
pub(super) const LOGIN_ACCOUNT_EXPIRY: TableDefinition<'static, (u64, &str), ()> =
    TableDefinition::new("login_account_expiry");
/// Lock to what it is and until when (µs) it holds.
pub(super) const LOGIN_LOCKS: TableDefinition<'static, &str, (&str, u64)> = TableDefinition::new("login_locks");
/// Finding (ms, number) to what was found.
pub(super) const FINDINGS: TableDefinition<'static, (u64, u64), &str> = TableDefinition::new("findings");
/// Finding to how often it was found again.
pub(super) const FINDINGS_AGAIN: TableDefinition<'static, (u64, u64), u64> = TableDefinition::new("findings_again");
/// Finding to what was said of it.
pub(super) const FINDING_NOTES: TableDefinition<'static, (u64, u64), &str> = TableDefinition::new("finding_notes");
/// Finding and session that it is open of, to how bad it is and until when (µs) that is so.
pub(super) const OPEN_RISKS: TableDefinition<'static, (u64, u64, &str), (&str, u64)> =
    TableDefinition::new("open_risks");
/// What tells the same finding, to the first of it, and until when (µs) it counts there.
pub(super) const SAME_FINDINGS: TableDefinition<'static, &str, (u64, u64, u64)> = TableDefinition::new("same_findings");
/// What stands for somebody who paid and has no tenant, to who they are, since when they wait and when they were asked about
/// last (ms), how often, and what went wrong.
pub(super) const ORPHANS: TableDefinition<'static, &str, (&str, u64, u64, u64, &str)> = TableDefinition::new("orphans");
/// Since when (ms) somebody of them waits.
pub(super) const ORPHANS_WAITING: TableDefinition<'static, (u64, &str), ()> = TableDefinition::new("orphans_waiting");
/// When (ms) somebody of them was asked about last.
pub(super) const ORPHANS_ASKED: TableDefinition<'static, (u64, &str), ()> = TableDefinition::new("orphans_asked");
/// Alert to where it goes, and when (ms) it is due.
pub(super) const ALERTS: TableDefinition<'static, &str, (&str, u64)> = TableDefinition::new("alerts");
/// The alerts of a queue, by when (ms) each is due.
pub(super) const ALERT_QUEUES: TableDefinition<'static, (&str, u64, &str), ()> = TableDefinition::new("alert_queues");
/// Alert to what was tried so far.
pub(super) const ALERT_ATTEMPTS: TableDefinition<'static, &str, &str> = TableDefinition::new("alert_attempts");
/// Alert to what was gathered for it.
pub(super) const ALERTS_GATHERED: TableDefinition<'static, &str, &str> = TableDefinition::new("alerts_gathered");
/// Limit to how many there were, and until when (ms) they count.
pub(super) const ALERT_COUNTS: TableDefinition<'static, &str, (u32, u64)> = TableDefinition::new("alert_counts");
/// Contact to how it is written to, sealed, and until when (µs) that is kept.
pub(super) const CONTACTS: TableDefinition<'static, &str, (&[u8], u64)> = TableDefinition::new("contacts");
/// What acts count with, to their tally, and until when (µs) that says anything.
pub(super) const ACTS: TableDefinition<'static, &str, (&[u8], u64)> = TableDefinition::new("acts");
/// When (µs) a tally can be forgotten.
pub(super) const ACT_EXPIRY: TableDefinition<'static, (u64, &str), ()> = TableDefinition::new("act_expiry");
/// Ended session to what is remembered of it, and until when (µs).
pub(super) const END_NOTES: TableDefinition<'static, &str, (&[u8], u64)> = TableDefinition::new("end_notes");
/// When (µs) that can be forgotten.
pub(super) const END_NOTE_EXPIRY: TableDefinition<'static, (u64, &str), ()> = TableDefinition::new("end_note_expiry");
/// User to where they were, and until when (µs) that is kept.
pub(super) const FOOTPRINTS: TableDefinition<'static, u64, (&[u8], u64)> = TableDefinition::new("footprints");
/// When (µs) a user's can be forgotten.
pub(super) const FOOTPRINT_EXPIRY: TableDefinition<'static, (u64, u64), ()> = TableDefinition::new("footprint_expiry");
/// Cell of a tenant's and user to when (µs) the user was last there.
pub(super) const CELL_USERS: TableDefinition<'static, (u64, u64), u64> = TableDefinition::new("cell_users");
/// Day, of whom and what, to how often it was counted.
pub(super) const REPORT_COUNTS: TableDefinition<'static, (u32, &str, &str), u64> =
    TableDefinition::new("report_counts");
/// A tenant's findings (ms, number), to whose each is.
pub(super) const FINDINGS_OF_TENANTS: TableDefinition<'static, (&str, u64, u64), &str> =
    TableDefinition::new("findings_of_tenants");
/// What front ends of a tenant report (ms, number).
pub(super) const ACTIVITIES: TableDefinition<'static, (&str, u64, u64), &str> = TableDefinition::new("activities");
/// Which app's sessions they are.
pub(super) const APPS: TableDefinition<'static, &str, &str> = TableDefinition::new("apps");
pub(super) const APP_KEY: &str = "public_url";

pub(super) type UserEntry = (&'static str, &'static str, u64, &'static str);
pub(super) type TenantEntry = (&'static str, u64, &'static str);

/// Sorts after every session id.
pub(super) const AFTER_ALL_IDS: &str = "~";

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// What is stored is not what was written: this call alone fails.
    Garbled(String),
    /// So is what is stored of this one session.
    Unreadable(String),
    /// The storage failed: nothing of the transaction may be kept.
    Storage(redb::Error),
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Storage(error.into())
    }
}

impl From<Fault> for Unavailable {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Garbled(cause) => Self::because(cause),
            Fault::Unreadable(cause) => Self { unreadable: true, ..Self::because(cause) },
            Fault::Storage(error) => Self::because(error),
        }
    }
}

pub(super) fn garbled(what: impl std::fmt::Display) -> Fault {
    Fault::Garbled(what.to_string())
}

pub(super) fn end_of(text: &str) -> Result<End, Fault> {
    End::decode(text.as_bytes()).ok_or_else(|| Fault::Unreadable(String::from("an unknown reason of an end")))
}

pub(super) fn last_word_of(text: &str) -> Result<LastWord, Fault> {
    let unknown = || Fault::Unreadable(String::from("whether it is held cannot be read"));
    LastWord::decode(text.as_bytes()).ok_or_else(unknown)
}

pub(super) fn standing_of(text: &str) -> Result<TenantStanding, Fault> {
    TenantStanding::decode(text.as_bytes()).ok_or_else(|| garbled("a tenant's standing cannot be read"))
}

pub(super) fn user_of(text: &str) -> Result<UserStanding, Fault> {
    UserStanding::decode(text.as_bytes()).ok_or_else(|| garbled("a user's standing cannot be read"))
}
