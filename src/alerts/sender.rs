//! Works off a queue: takes what is due, one after the other, has it handed over, and says what became of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::courier::Courier;
use super::letter::{Subject, Told};
use super::office::{AlertServices, Office, channel};
use super::parcel::{Handed, Parcel};
use super::plan::USER;
use super::rules::AlertRules;

use crate::entropy::spread;
use crate::monitor::ContactKeys;
use crate::secret::Secret;
use crate::session::StoreTime;
use crate::store::StoreResult;
use crate::store::alerts::{Attempts, Taken};

/// Between two looks at a queue into which another gateway may have put something, which died with it.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// After the store could not be asked.
const STORE_PAUSE: Duration = Duration::from_secs(2);
/// Between two attempts at a server that takes nothing: first this, then doubling.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LAST_PAUSE: Duration = Duration::from_secs(300);
/// The same for one alert that is not taken while others are.
const FIRST_RETRY: Duration = Duration::from_secs(15);
const LAST_RETRY: Duration = Duration::from_secs(3600);
/// The longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);
/// How often it is tried to say that one was handed over, while it is the sender's still.
const NOTED_TRIES: usize = 8;
const NOTED_AGAIN: Duration = Duration::from_secs(1);

/// Who works off one queue.
pub(super) struct Sender {
    pub(super) office: Arc<Office>,
    pub(super) courier: Courier,
    /// Changes when this one is to end.
    pub(super) rules: watch::Receiver<Option<Arc<AlertRules>>>,
}

/// How a round ended.
enum Round {
    /// Nothing is due before that.
    Idle(Duration),
    /// The other side takes nothing, and will not before this is over, if it says so.
    Failing(Option<Duration>),
}

impl Sender {
    /// Works for as long as the rules are in force.
    pub(super) async fn run(mut self) {
        let mut put_in = self.office.put_in.subscribe();
        let mut failures = 0;
        loop {
            let round = self.work_off(failures).await;
            let (pause, wakes) = match round {
                Round::Idle(pause) => {
                    failures = 0;
                    (pause, true)
                }
                Round::Failing(asked) => {
                    failures += 1;
                    let pause = spread(doubled(FIRST_PAUSE, failures - 1, LAST_PAUSE));
                    (pause.max(asked.unwrap_or_default()), false)
                }
            };
            self.courier.rest().await;
            tokio::select! {
                _ = self.rules.changed() => return,
                changed = put_in.changed(), if wakes => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn work_off(&mut self, failures: u32) -> Round {
        let services = &self.office.services;
        loop {
            // What others do not take yet is left to who goes on.
            if services.readiness.is_draining() || self.rules.has_changed().unwrap_or(true) {
                return Round::Idle(LOOK_AGAIN);
            }
            let next = match services.outbox.take(&self.courier.queue).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::debug!(%error, "the outbox of alerts cannot be asked");
                    return Round::Idle(STORE_PAUSE);
                }
            };
            let Some(taken) = next.taken else {
                let due = next.due.map_or(LOOK_AGAIN, |due| due.since(next.now));
                return Round::Idle(due.clamp(Duration::from_millis(50), spread(LOOK_AGAIN)));
            };
            let _in_hand = services.tasks.token();
            let handed = match self.addressed(&taken).await {
                Ok(Some((subject, user))) => {
                    let parcel =
                        Parcel { waiting: &taken.waiting, subject: &subject, user: user.as_ref(), now: next.now };
                    self.courier.hand_over(&parcel).await
                }
                Ok(None) => Handed::Never(String::from("what it tells of, or the address, is kept no more")),
                // It is taken again at the end of the lease.
                Err(_) => return Round::Idle(STORE_PAUSE),
            };
            if let Err(asked) = self.settle(&taken, handed, failures, next.now).await {
                return Round::Failing(asked);
            }
        }
    }

    /// What an alert tells of, and the address of the user that it is for.
    async fn addressed(&self, taken: &Taken) -> StoreResult<Option<(Subject, Option<Secret>)>> {
        let Some(subject) = self.subject(taken).await? else { return Ok(None) };
        let target = &taken.waiting.target;
        if target.channel != USER {
            return Ok(Some((subject, None)));
        }
        let AlertServices { contacts, contact_keys, .. } = &self.office.services;
        let Some(id) = ContactKeys::parse(&target.to) else { return Ok(None) };
        let sealed = contacts.contact(&target.to).await?;
        let address = sealed.and_then(|sealed| contact_keys.open(&id, &sealed));
        Ok(address.map(|address| (subject, Some(address))))
    }

    /// What an alert tells of.
    async fn subject(&self, taken: &Taken) -> StoreResult<Option<Subject>> {
        let findings = &self.office.services.findings;
        if let Some(gathered) = &taken.waiting.gathered {
            let mut told = Vec::with_capacity(gathered.ids.len());
            for id in &gathered.ids {
                if let Ok(id) = id.parse() {
                    told.extend(findings.finding(id).await?.and_then(Told::of));
                }
            }
            return Ok(Some(Subject::Many(gathered.clone(), told)));
        }
        let Some(id) = taken.waiting.id.finding() else { return Ok(None) };
        Ok(findings.finding(id).await?.and_then(Told::of).map(Subject::One))
    }

    /// Says what became of one. An error: no others can be handed over, before this is over if the other side says so.
    async fn settle(
        &self,
        taken: &Taken,
        handed: Handed,
        failures: u32,
        now: StoreTime,
    ) -> Result<(), Option<Duration>> {
        let services = &self.office.services;
        let channel = channel(&taken.waiting.target.channel);
        let count = taken.waiting.attempts.count;
        let id = taken.waiting.id.as_str();
        let (outcome, works) = match handed {
            Handed::Over(_) => {
                services.metrics.alert_delay(now.since(taken.waiting.id.since()));
                self.office.queue_state(&self.courier.queue, None);
                self.note(taken).await;
                ("sent", Ok(()))
            }
            Handed::Never(why) => {
                tracing::warn!(alert = id, channel, why, "an alert is refused, and not tried again");
                self.note(taken).await;
                ("refused", Ok(()))
            }
            Handed::NotNow(why) => {
                tracing::info!(alert = id, channel, why, "an alert is not taken yet");
                self.postpone(taken, spread(doubled(FIRST_RETRY, count, LAST_RETRY)), why).await;
                ("retried", Ok(()))
            }
            Handed::ToNobody(why, asked) => {
                let asked = asked.map(|asked| asked.min(LONGEST_ASKED));
                self.office.queue_state(&self.courier.queue, Some(why.clone()));
                let pause = doubled(FIRST_PAUSE, failures, LAST_PAUSE) / 2;
                self.postpone(taken, pause.max(asked.unwrap_or_default()), why).await;
                ("retried", Err(asked))
            }
        };
        services.metrics.alert(channel, outcome);
        works
    }

    /// Takes one out. What cannot be noted is handed over once more, at the end of the lease.
    async fn note(&self, taken: &Taken) {
        for _ in 0..NOTED_TRIES {
            match self.office.services.outbox.done(taken).await {
                Ok(_) => return,
                Err(error) => tracing::debug!(%error, "it cannot be noted yet that an alert was handed over"),
            }
            tokio::time::sleep(NOTED_AGAIN).await;
        }
        let id = taken.waiting.id.as_str();
        tracing::warn!(alert = id, "it cannot be noted that an alert was handed over: it may be sent once more");
    }

    async fn postpone(&self, taken: &Taken, pause: Duration, error: String) {
        let attempts = Attempts { count: taken.waiting.attempts.count.saturating_add(1), error };
        if let Err(error) = self.office.services.outbox.postpone(taken, pause, &attempts).await {
            tracing::debug!(%error, "an alert waits for the end of its lease");
        }
    }
}

/// A pause that doubles each time, up to the last.
fn doubled(first: Duration, times: u32, last: Duration) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times.min(20)).unwrap_or(u32::MAX)).min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_last() {
        let pauses: Vec<u64> = (0..10).map(|times| doubled(FIRST_PAUSE, times, LAST_PAUSE).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(doubled(FIRST_PAUSE, u32::MAX, LAST_PAUSE), LAST_PAUSE);
    }
}
