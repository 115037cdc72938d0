//! Ends what is outdated in a tenant's index, one by one, after a generation ended all of it at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::Value;

use super::super::codec;
use super::super::walk::{Outdated, STEP, Tally};
use super::answers::touch_deadline;
use super::commands::eval;
use super::entry::{Entry, UserHash};
use super::fault::{Fault, number, text};
use super::index::{Found, Index, Node, Nodes, Splits};
use super::keys::Keys;
use super::lane::Lane;
use super::scripts;
use super::times::kept_until;
use crate::monitor::EndNote;
use crate::session::{EndReason, SessionRecord, TenantId, UserId};

/// Whose sessions a walk looks at.
#[derive(Clone, Debug)]
pub(super) struct Whose {
    pub(super) tenant: TenantId,
    pub(super) user: Option<UserId>,
}

/// The walk.
pub(super) struct Walk {
    keys: Keys,
    whose: Whose,
    outdated: Outdated,
    reason: EndReason,
    tally: Tally,
    /// Whether there is anything in the index that is not outdated.
    left: AtomicBool,
    /// Why something of it was left out, where a master of a cluster could not be asked.
    left_out: OnceLock<Fault>,
    /// Whether it is remembered whose they were, and where their logins came from.
    remembers: bool,
}

/// What a walk came to.
pub(super) struct Walked {
    /// Whether anything is in the index that is not outdated.
    pub(super) left: bool,
    /// The nodes where all entries were, as far as none was split since.
    pub(super) leaves: Vec<String>,
}

impl Walk {
    pub(super) const fn new(keys: Keys, whose: Whose, outdated: Outdated, reason: EndReason, tally: Tally) -> Self {
        Self {
            keys,
            whose,
            outdated,
            reason,
            tally,
            left: AtomicBool::new(false),
            left_out: OnceLock::new(),
            remembers: false,
        }
    }

    /// The same, by which something is remembered of each session, or not.
    pub(super) fn remembering(self, remembers: bool) -> Self {
        Self { remembers, ..self }
    }

    /// To its end on one connection.
    pub(super) async fn run_on(self, lane: &Lane) -> Result<Walked, Fault> {
        let mut nodes = self.nodes(lane).await?;
        while self.step(lane, &mut nodes).await? {}
        Ok(Walked { left: self.left.into_inner(), leaves: nodes.into_leaves() })
    }

    fn user(&self) -> Option<UserHash> {
        self.whose.user.as_ref().map(|user| self.keys.user_hash(user))
    }

    /// Where it begins.
    pub(super) async fn nodes(&self, lane: &Lane) -> Result<Nodes, Fault> {
        let (keys, tenant, splits) = (&self.keys, &self.whose.tenant, &Splits::default());
        let node = match self.user() {
            Some(user) => Index { keys, splits, tenant, epoch: 0 }.find(lane, user).await?,
            None => Node::root(keys, tenant),
        };
        Ok(Nodes::below(node, 0))
    }

    /// Answers whether there is more.
    pub(super) async fn step(&self, lane: &Lane, nodes: &mut Nodes) -> Result<bool, Fault> {
        let Some(Found { node, mut entries, .. }) = nodes.step(lane).await? else {
            return self.left_out.get().map_or(Ok(false), |fault| Err(fault.clone()));
        };
        if let Some(user) = self.user() {
            entries.retain(|entry| entry.user == user);
        }
        for some in entries.chunks(STEP) {
            match self.end_outdated(lane, &node, some).await {
                Err(Fault::Shard(_)) => self.end_what_can_be(lane, &node, some).await?,
                done => done?,
            }
        }
        Ok(true)
    }

    /// One by one, where not all can be asked about.
    async fn end_what_can_be(&self, lane: &Lane, node: &Node, entries: &[Entry]) -> Result<(), Fault> {
        for entry in entries {
            match self.end_outdated(lane, node, std::slice::from_ref(entry)).await {
                Err(fault @ Fault::Shard(_)) => drop(self.left_out.set(fault)),
                done => done?,
            }
        }
        Ok(())
    }

    /// Plain commands, each of which the server runs by itself: no step keeps it from others.
    async fn end_outdated(&self, lane: &Lane, node: &Node, entries: &[Entry]) -> Result<(), Fault> {
        let keys = &self.keys;
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        for entry in entries {
            pipeline.cmd("GET").arg(keys.record(&entry.id));
            pipeline.cmd("PEXPIRETIME").arg(keys.record(&entry.id));
        }
        let (clocks, answers) = lane.ask_timed(&mut pipeline).await?;
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let (mut live, mut over) = (Vec::new(), Vec::new());
        for (place, entry) in entries.iter().enumerate() {
            // Each pair of answers is of one session, and of one server.
            let now = clocks.at(2 * place)?;
            let (kept, touch_deadline) = (text(next())?, touch_deadline(&next())?);
            // One that cannot be read is not live for anybody, and is left to expire.
            let Some(Ok(record)) = kept.map(|bytes| codec::decode(&bytes)) else { continue };
            if self.whose.user.as_ref().is_some_and(|user| *user != record.principal.user) {
                continue;
            }
            // What time has ended is not counted here, and keeps its own reason.
            let is_live = now < record.deadline && touch_deadline.is_some_and(|deadline| now < deadline);
            match (self.outdated.covers(entry.id, &record), is_live) {
                (true, true) => live.push((*entry, record)),
                (true, false) => over.push(*entry),
                (false, _) => {
                    if now < record.deadline {
                        self.left.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
        self.remember(lane, &live).await;
        self.write_down(lane, &live).await?;
        if live.is_empty() && over.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for (entry, record) in &live {
            if record.line.is_some() {
                // Its end is under the first of its line: that it is known why by this token, too.
                let mut end = eval(scripts::END, &[keys.ended(&entry.id)]);
                end.arg(self.reason.as_str()).arg(kept_until(record));
                pipeline.add_command(end);
            }
            pipeline.cmd("UNLINK").arg(keys.record(&entry.id));
            pipeline.cmd("UNLINK").arg(keys.sealed_token(&entry.id));
        }
        let ended = live.iter().map(|(entry, _)| entry).chain(&over);
        let members: Vec<_> = ended.filter(|entry| !self.is_to_be_found(lane, entry)).map(Entry::encode).collect();
        let members: Vec<&[u8]> = members.iter().map(|member| &member[..]).collect();
        if !members.is_empty() {
            pipeline.cmd("ZREM").arg(&node.key).arg(members);
        }
        if pipeline.is_empty() {
            return Ok(());
        }
        lane.ask_each(&mut pipeline).await.map(drop)
    }

    /// Whether the place of a session that ended late stays: on a cluster its end is on another master, which may lose it with a
    /// failover. Only by its place is it found again. One that looks younger than it is would pass for a login since.
    fn is_to_be_found(&self, lane: &Lane, entry: &Entry) -> bool {
        match self.outdated {
            Outdated::MadeUntil { call, .. } => matches!(lane, Lane::All(_)) && entry.created <= call,
            Outdated::OfUser { .. } | Outdated::OfTenant(_) => false,
        }
    }

    /// Remembers whose they were, before anybody is refused for their end. Without that they end all the same.
    async fn remember(&self, lane: &Lane, live: &[(Entry, SessionRecord)]) {
        if !self.remembers || live.is_empty() {
            return;
        }
        let mut pipeline = redis::pipe();
        for (entry, record) in live {
            let note = EndNote::of(&record.principal, record.address).encode();
            let first = record.decided_by(entry.id);
            for id in [Some(entry.id), Some(first).filter(|first| *first != entry.id)].into_iter().flatten() {
                pipeline.cmd("SET").arg(self.keys.end_note(&id)).arg(&note).arg("PXAT").arg(kept_until(record));
            }
        }
        if let Err(fault) = lane.ask_each(&mut pipeline).await {
            tracing::debug!(%fault, "nothing is remembered of sessions that are ended");
        }
    }

    /// Writes down why, and counts those that nobody wrote down before.
    async fn write_down(&self, lane: &Lane, live: &[(Entry, SessionRecord)]) -> Result<(), Fault> {
        let keys = &self.keys;
        let mut pipeline = redis::pipe();
        for (entry, record) in live {
            let reason = pipeline.cmd("SET").arg(keys.ended(&record.decided_by(entry.id))).arg(self.reason.as_str());
            reason.arg("NX").arg("PXAT").arg(kept_until(record));
        }
        if live.is_empty() {
            return Ok(());
        }
        let answers = lane.ask_each(&mut pipeline).await?;
        let (mut again, mut counted) = (redis::pipe(), 0);
        for ((entry, record), answer) in live.iter().zip(answers) {
            if answer == Value::Okay {
                counted += 1;
            } else if answer != Value::Nil || record.line.is_some() {
                // A full server refuses a plain write; and that a token was replaced is no end.
                let mut end = eval(scripts::END, &[keys.ended(&record.decided_by(entry.id))]);
                end.arg(self.reason.as_str()).arg(kept_until(record));
                again.add_command(end);
            }
        }
        self.tally.add(counted);
        if !again.is_empty() {
            for answer in lane.ask(&again).await? {
                self.tally.add(u64::from(number(&answer)? == 1));
            }
        }
        Ok(())
    }
}
