//! The link to a cluster: up while one of its masters is open. Each is opened, proven and given up by itself; what the link
//! adds is what concerns all of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Link, Masters, fitness, order};
use crate::session::StoreTime;
use crate::store::Condition;
use crate::store::redis::answers::exactly;
use crate::store::redis::fault::Fault;
use crate::store::redis::fitness::Missing;
use crate::store::redis::lane::Lanes;
use crate::store::redis::opening::Opening;
use crate::store::redis::route::{Kind, Route};

/// For the masters to be open at the start.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// For the masters to say what was last in their order.
const TOLD_WITHIN: Duration = Duration::from_millis(200);

impl Link {
    /// The masters, where several share the sessions.
    pub(in crate::store::redis) const fn masters(&self) -> Option<&Arc<Masters>> {
        self.masters.as_ref()
    }

    /// Who opens them.
    pub(in crate::store::redis) fn opening(&self) -> Option<Opening> {
        let (masters, keys) = (Arc::clone(self.masters.as_ref()?), self.keys.clone());
        let (clock, journal) = (self.settings.clock.clone(), self.settings.journal.clone());
        let (hearing, turn) = (self.hearing.clone(), tokio::sync::Mutex::default());
        Some(Opening { masters, keys, clock, journal, turn, hearing })
    }

    /// Connections to all masters that are open now. They are made anew whenever another one is.
    pub(super) async fn attempt_on(&self, masters: &Arc<Masters>) -> Result<Lanes, Fault> {
        if masters.all().is_empty() {
            let mut openings = masters.openings();
            let _ = timeout(OPEN_WITHIN, openings.wait_for(|_| masters.whole().is_ok())).await;
        }
        if masters.all().is_empty() {
            return Err(masters.why_none());
        }
        let epoch = masters.next_epoch();
        let lane = |kind| Route::lane(Arc::clone(masters), kind, epoch);
        let lanes = Lanes {
            epoch,
            quick: lane(Kind::Quick),
            careful: lane(Kind::Careful),
            bulk: lane(Kind::Bulk),
            fence: None,
            client: masters.any_client()?,
            node: None,
            since: masters.now(),
            identity: None,
            birth: Vec::new(),
        };
        // Nothing is ended here before it is known what time it was.
        self.beat_on(masters, &lanes).await?;
        if !self.claimed.load(Ordering::Relaxed) {
            self.claim(&lanes.careful).await?;
        }
        // Of a master that is not open it is done once it is.
        match self.unfinished.bury(self.indexes(&lanes), &lanes).await {
            Err(Fault::Shard(_)) | Ok(()) => Ok(lanes),
            Err(fault) => Err(fault),
        }
    }

    /// Waits for another master to be open.
    pub(super) async fn another(openings: &mut Option<watch::Receiver<u64>>) {
        let opened = match openings {
            Some(openings) => openings.changed().await.is_ok(),
            None => false,
        };
        if !opened {
            std::future::pending::<()>().await;
        }
    }

    /// Whether any master is open, and what time it is where it is latest.
    pub(super) async fn beat_on(&self, masters: &Masters, lanes: &Lanes) -> Result<(), Fault> {
        if masters.all().is_empty() {
            return Err(masters.why_none());
        }
        self.observer.slots_uncovered(masters.uncovered());
        let here = StoreTime::from_micros(self.settings.clock.wall().as_micros());
        let clocks = masters.clocks();
        let skews = clocks.iter().map(|now| now.since(here).as_secs_f64() - here.since(*now).as_secs_f64());
        // Of the one that is furthest off.
        let worst = skews.max_by(|one, other| one.abs().total_cmp(&other.abs()));
        worst.into_iter().for_each(|skew| self.observer.clock_skew(skew));
        let (Some(journal), Some(mut latest)) = (self.journal(), clocks.into_iter().max()) else { return Ok(()) };
        let asked = journal.moment();
        let moments = self.keys.orders().into_iter().map(|order| async move {
            let mut read = redis::pipe();
            read.cmd("GET").arg(order);
            timeout(TOLD_WITHIN, lanes.quick.ask(&read)).await
        });
        for moment in join_all(moments).await {
            // Two of three tell. One that hangs is nothing to whoever needs another.
            let Ok(Ok(answers)) = moment else { continue };
            let [moment] = exactly(answers)?;
            latest = order::read(moment)?.map_or(latest, |moment| moment.max(latest));
        }
        journal.saw(asked, latest);
        Ok(())
    }

    /// How it stands with a cluster: good while all slots are served.
    pub(in crate::store::redis) async fn check_on(&self, masters: &Masters, lanes: &Lanes) -> Result<Condition, Fault> {
        let uncovered = masters.uncovered();
        let mut warnings = Vec::new();
        if uncovered > 0 {
            let why = masters.whole().err().map_or_else(|| String::from("not proven"), |fault| fault.to_string());
            warnings.push(format!("{uncovered} of 16384 slots of the cluster are not served: {why}"));
        }
        for master in masters.all() {
            warnings.extend(master.fence.warning(&master.lanes).map(|warning| format!("{}: {warning}", master.node)));
        }
        match fitness::missing_rights(&lanes.careful, self.keys.probe()).await {
            Ok(missing) => {
                if !missing.for_audit.is_empty() {
                    warnings.push(Missing::text(&missing.for_audit, &self.keys));
                }
                if let Some(refusal) = missing.refusal(&self.keys) {
                    return Err(refusal);
                }
            }
            Err(Fault::Shard(_)) => {}
            Err(fault) => return Err(fault),
        }
        Ok(if warnings.is_empty() { Condition::Good } else { Condition::GoodBut(warnings.join("; ")) })
    }
}
