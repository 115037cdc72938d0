//! The journal applied again, before a connection is used: a server that came back with older data would revive what
//! was ended.
//!
//! With the generation that each revocation got then, and never a newer one: sessions made since go on.

use std::sync::Arc;

use redis::{Cmd, Value};

use super::super::journal::{Entry, Journal};
use super::connection::Lane;
use super::fault::Fault;
use super::keys::Keys;
use super::{eval, late, scripts};
use crate::session::{SessionId, StoreTime, TenantId, UserId};
use crate::store::REASON_KEPT;

/// Entries applied in one step.
const STEP: usize = 200;

/// Applies what `server`, as it calls itself, may not have: all that any server ever had, unless it is the one that was
/// seen last. Then what none is known to have.
pub(super) async fn replay(
    lane: &Lane,
    keys: &Keys,
    journal: &Arc<Journal>,
    server: Option<&str>,
) -> Result<(), Fault> {
    let known = server.is_some() && journal.server().as_deref() == server;
    if !known {
        do_again(lane, keys, journal).await?;
    }
    late::carry_out(lane, keys, journal).await?;
    if let (false, Some(server)) = (known, server) {
        journal.note_server(server);
    }
    Ok(())
}

async fn do_again(lane: &Lane, keys: &Keys, journal: &Journal) -> Result<(), Fault> {
    let (mut after, mut count) = (0, 0);
    loop {
        let (records, last) = journal.carried_out(after, STEP).map_err(Fault::Unfit)?;
        let Some(last) = last else { break };
        after = last;
        let mut pipeline = redis::pipe();
        count += records.len();
        for record in records {
            if !record.is_applied() {
                // It came late, and one by one: so it does again.
                late::again(lane, keys, &record).await?;
            } else if let Some(command) = again(keys, &record.entry) {
                // What is no tenant, user or session was never written.
                pipeline.add_command(command);
            }
        }
        if !pipeline.is_empty() {
            lane.ask(&pipeline).await?;
        }
    }
    if count > 0 {
        tracing::info!(revocations = count, "the journal was applied to the session store again");
    }
    Ok(())
}

/// The command that has the server do again what an entry says.
fn again(keys: &Keys, entry: &Entry) -> Option<Cmd> {
    match entry {
        Entry::Session { id, reason, deadline, .. } => {
            Some(end(keys, &SessionId::parse(id.as_bytes())?, reason, *deadline))
        }
        Entry::User { tenant, user, floor, standing, .. } => {
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

/// The end of one session.
pub(super) fn end(keys: &Keys, id: &SessionId, reason: &str, deadline: u64) -> Cmd {
    let mut end = eval(scripts::END, &[keys.touch(id), keys.ended(id)]);
    let kept = StoreTime::from_micros(deadline).after(REASON_KEPT).as_millis_rounded_up();
    end.arg(reason).arg(kept).arg(deadline);
    end
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
