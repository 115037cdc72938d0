//! The walk after a revocation: ends, counts and tidies up what the raised generation has ended, in small steps.
//!
//! Nothing depends on it but the count, and the reason that is written down. It may be interrupted at any point.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::{Revoked, StoreResult};
use crate::session::{Generation, Line, SessionId, SessionRecord, StoreTime, UserStanding};

/// By how much the clocks of two servers may differ without a revocation missing anybody.
const CLOCKS_APART: Duration = Duration::from_secs(60);
/// How long an answer waits for the count.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sessions looked at in one step.
pub(super) const STEP: usize = 200;

/// What a revocation has ended, by what it left as the current generation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outdated {
    /// A user's. One of an older generation of its tenant was over before, and is counted by what ended the tenant.
    OfUser { standing: UserStanding, tenant: Generation },
    /// A tenant's.
    OfTenant(Generation),
    /// One that comes late, and ends what was made until its call, but for one session: what was made since goes on.
    MadeUntil {
        /// Of a tenant, which ends no session that has another.
        of_tenant: bool,
        call: StoreTime,
        keep: Option<SessionId>,
        /// How long a session lives at most.
        longest: Duration,
        /// When it had come late, if this is once more: nothing that was made since is concerned.
        told: Option<StoreTime>,
    },
}

impl Outdated {
    /// Whether it ends a session.
    pub(super) fn covers(self, id: SessionId, record: &SessionRecord) -> bool {
        let generations = record.generations;
        match self {
            // One of a later generation was made after another revocation, while this walk went on.
            Self::OfUser { standing, tenant } => {
                let was_live = generations.tenant == tenant || !record.ends_with_its_tenant();
                let is_older = generations.user < standing.generation;
                is_older && !standing.admits(id, generations.user) && was_live
            }
            Self::OfTenant(current) => record.ends_with_its_tenant() && generations.tenant < current,
            Self::MadeUntil { of_tenant, call, keep, longest, told } => {
                let is_concerned = !of_tenant || record.ends_with_its_tenant();
                // One that goes on from another has the deadline of that, which alone says when there was a login.
                let goes_on_from = |line: &Line| [line.first, line.before].map(Some).contains(&keep);
                let (began, is_kept) = match record.line.as_deref() {
                    Some(line) => (record.created.min(record.deadline.before(longest)), goes_on_from(line)),
                    None => (record.created, false),
                };
                let was_there = told.is_none_or(|told| record.created <= told.after(CLOCKS_APART));
                is_concerned && was_there && began <= call && keep != Some(id) && !is_kept
            }
        }
    }
}

/// How many sessions a walk has ended so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<AtomicU64>);

impl Tally {
    pub(super) fn add(&self, ended: u64) {
        self.0.fetch_add(ended, Ordering::Relaxed);
    }

    pub(super) fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs a walk for as long as it takes, and answers what it came to within [`PATIENCE`].
pub(super) async fn counted(
    walk: impl Future<Output = StoreResult<()>> + Send + 'static,
    tally: Tally,
    journalled: bool,
) -> Revoked {
    let walking = tokio::spawn(walk);
    let complete = match timeout(PATIENCE, walking).await {
        Ok(Ok(Ok(()))) => true,
        Ok(Ok(Err(cause))) => {
            tracing::warn!(%cause, "sessions were revoked, but could not all be counted");
            false
        }
        // It panicked, which is in the log, or goes on.
        Ok(Err(_)) | Err(_) => false,
    };
    Revoked { ended: tally.so_far(), complete, journalled, replicated: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::samples::{self, id};
    use crate::store::Unavailable;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A session of eight hours that was made at `created`, and went on from another one at once.
    fn went_on(created: StoreTime) -> SessionRecord {
        let line = Line { first: id(1), before: id(1), until: created, left: None };
        SessionRecord { line: Some(Box::new(line)), ..samples::record(created, created.after(8 * HOUR)) }
    }

    #[test]
    fn what_came_late_ends_nobody_who_began_since_when_it_is_done_again() {
        let call = StoreTime::from_micros(1_700_000_000_000_000);
        let longest = 7 * 24 * HOUR;
        let covers = |told, made_after: Duration| {
            Outdated::MadeUntil { of_tenant: true, call, keep: None, longest, told }
                .covers(id(2), &went_on(call.after(made_after)))
        };
        assert!(covers(None, HOUR / 60), "it may be as old as a remembered one");
        let told = Some(call.after(HOUR / 30));
        assert!(covers(told, HOUR / 60), "the same, once more");
        assert!(!covers(told, 72 * HOUR), "one that began days later");
    }

    #[tokio::test(start_paused = true)]
    async fn a_walk_that_takes_long_goes_on_after_the_answer() {
        let tally = Tally::default();
        let walked = tally.clone();
        let walk = async move {
            for _ in 0..10 {
                walked.add(200);
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Ok(())
        };
        assert_eq!(
            counted(walk, tally.clone(), true).await,
            Revoked { ended: 1000, complete: false, journalled: true, replicated: true }
        );
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(tally.so_far(), 2000);
    }

    #[tokio::test]
    async fn a_walk_that_fails_has_revoked_all_the_same() {
        let tally = Tally::default();
        tally.add(3);
        let walk = async { Err(Unavailable::because("gone")) };
        assert_eq!(
            counted(walk, tally, true).await,
            Revoked { ended: 3, complete: false, journalled: true, replicated: true }
        );
        assert_eq!(
            counted(async { Ok(()) }, Tally::default(), true).await,
            Revoked { ended: 0, complete: true, journalled: true, replicated: true }
        );
    }
}
