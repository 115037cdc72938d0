//! The journal applied again, before a connection is used: a server that came back with older data would revive what
//! was ended.
//!
//! With the generation that each revocation got then, and never a newer one: sessions made since go on.

use redis::{Cmd, Value};

use super::super::journal::{Entry, Journal, Written};
use super::connection::Lane;
use super::fault::{Fault, text};
use super::keys::Keys;
use super::{eval, scripts};
use crate::session::{SessionId, StoreTime, TenantId, UserId};
use crate::store::REASON_KEPT;

/// Entries applied in one step.
const STEP: usize = 200;

/// Applies what `server`, as it calls itself, may not have. All of it, unless it is the one that has all but what was
/// never confirmed.
pub(super) async fn replay(lane: &Lane, keys: &Keys, journal: &Journal, server: Option<&str>) -> Result<(), Fault> {
    let known = server.is_some() && journal.server().as_deref() == server;
    let (mut after, mut count) = (0, 0);
    loop {
        let entries = journal.entries(after, STEP).map_err(Fault::Unfit)?;
        let Some((last, _)) = entries.last() else { break };
        after = *last;
        let due: Vec<(u64, Entry)> = entries.into_iter().filter(|(_, entry)| !known || !entry.is_applied()).collect();
        let mut pipeline = redis::pipe();
        let mut applying = Vec::with_capacity(due.len());
        for (sequence, entry) in due {
            // What is no tenant, user or session was never written.
            let Some(command) = again(keys, &entry) else { continue };
            pipeline.add_command(command);
            applying.push((sequence, entry));
        }
        if applying.is_empty() {
            continue;
        }
        count += applying.len();
        for ((sequence, entry), answer) in applying.into_iter().zip(lane.ask(&pipeline).await?) {
            if entry.is_applied() {
                continue;
            }
            match &entry {
                Entry::Session { .. } => journal.applied(sequence, entry, None),
                Entry::User { .. } | Entry::Tenant { .. } => {
                    let standing = text(answer)?.and_then(|text| String::from_utf8(text).ok());
                    journal.applied(sequence, entry, standing.as_deref());
                }
            }
        }
    }
    if count > 0 {
        tracing::info!(revocations = count, "the journal was applied to the session store again");
    }
    if let (false, Some(server)) = (known, server) {
        journal.note_server(server);
    }
    Ok(())
}

/// The command that has the server do again what an entry says.
fn again(keys: &Keys, entry: &Entry) -> Option<Cmd> {
    match entry {
        Entry::Session { id, reason, deadline, .. } => {
            let id = SessionId::parse(id.as_bytes())?;
            let mut end = eval(scripts::END, &[keys.touch(&id), keys.ended(&id)]);
            let kept = StoreTime::from_micros(*deadline).after(REASON_KEPT).as_millis_rounded_up();
            end.arg(reason).arg(kept).arg(*deadline);
            Some(end)
        }
        Entry::User { tenant, user, floor, standing } => {
            let (tenant, user) = (TenantId::parse(tenant).ok()?, UserId::parse(user).ok()?);
            let mut raise = eval(scripts::RAISE_USER_AGAIN, &[keys.user(&tenant, &user)]);
            raise.arg(generation(standing.as_deref(), *floor)).arg(standing.as_deref().unwrap_or_default());
            Some(raise)
        }
        Entry::Tenant { tenant, floor, status, note, standing } => {
            let tenant = TenantId::parse(tenant).ok()?;
            let mut raise = eval(scripts::RAISE_TENANT_AGAIN, &[keys.tenant(&tenant), keys.tenant_note(&tenant)]);
            raise.arg(generation(standing.as_deref(), *floor)).arg(standing.as_deref().unwrap_or_default());
            raise.arg(status).arg(note);
            Some(raise)
        }
    }
}

/// The generation of a standing; of one that was never confirmed, the time just before it was asked for.
fn generation(standing: Option<&str>, floor: u64) -> String {
    let known = standing.and_then(|standing| standing.split(' ').next());
    known.map_or_else(|| floor.to_string(), str::to_owned)
}

/// An entry's way through the journal: written before a revocation is sent, completed after it.
pub(super) struct Kept<'a> {
    journal: Option<&'a Journal>,
    written: Option<Written>,
}

impl<'a> Kept<'a> {
    pub(super) async fn write(journal: Option<&'a Journal>, entry: Entry) -> Self {
        let written = match journal {
            Some(journal) => journal.write(entry).await,
            None => None,
        };
        Self { journal, written }
    }

    /// Whether it outlives this process, where it was asked to.
    pub(super) const fn is_kept(&self) -> bool {
        self.journal.is_none() || self.written.is_some()
    }

    /// The server has it, and made this of it.
    pub(super) fn complete(self, standing: Option<&str>) {
        if let (Some(journal), Some(written)) = (self.journal, self.written) {
            journal.complete(written, standing);
        }
    }
}

/// What a server calls itself: this run of it, and the history of data that it holds.
pub(super) async fn identity(lane: &Lane) -> Result<Option<String>, Fault> {
    let mut pipeline = redis::pipe();
    for section in ["server", "replication"] {
        pipeline.cmd("INFO").arg(section);
    }
    let mut identity = String::new();
    for (answer, field) in lane.ask_each(&mut pipeline).await?.into_iter().zip(["run_id:", "master_replid:"]) {
        let info = match answer {
            Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
            Value::VerbatimString { text, .. } => text,
            // A user who may not ask: everything is applied on each connection.
            _ => return Ok(None),
        };
        let Some(value) = info.lines().find_map(|line| line.strip_prefix(field)) else { return Ok(None) };
        identity.push_str(value.trim());
        identity.push(' ');
    }
    Ok(Some(identity))
}
