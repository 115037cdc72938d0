//! Alerts: who is told of findings, by mail and by webhooks, and that they are told.
//!
//! What is to be told is put into the store's outbox with the finding, and sent from there by whichever gateway takes it. A
//! server that is slow or down holds up nothing but its own queue, and no request ever.

mod content;
mod courier;
mod letter;
mod mail;
mod office;
mod plan;
mod rules;
mod sender;
mod smtp;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

pub use office::AlertServices;
pub use plan::Plan;
pub use rules::{AlertRules, MailRules, MailServer, Recipients, Security, Send};

use crate::monitor::Finding;
use crate::store::alerts::{AlertOutbox, Fate, Posting};
use courier::Courier;
use office::{Office, channel};
use plan::MAIL_QUEUE;
use sender::Sender;

/// Between two looks at how many wait, and for those that wait for too long.
const BETWEEN_COUNTS: Duration = Duration::from_secs(10);
const BETWEEN_SWEEPS: u32 = 60;

/// The alerts. A copy is the same.
#[derive(Clone)]
pub struct Alerts(Arc<Office>);

impl Alerts {
    /// Alerts by these rules; without any nobody is told.
    #[must_use]
    pub fn new(services: AlertServices, rules: Option<Arc<AlertRules>>) -> Self {
        Self(Arc::new(Office::new(services, rules)))
    }

    /// Other rules are in force.
    pub fn take_over(&self, rules: Option<Arc<AlertRules>>) {
        self.0.rules.send_if_modified(|before| {
            let differ = *before != rules;
            *before = rules;
            differ
        });
    }

    /// For how long the same finding counts on the first, and is not told again.
    #[must_use]
    pub fn repeat(&self) -> Duration {
        self.0.rules.borrow().as_ref().map_or(AlertRules::REPEAT, |rules| rules.repeat)
    }

    /// Whom a finding is told.
    #[must_use]
    pub fn plan(&self, finding: &Finding) -> Plan {
        let rules = self.0.rules.borrow().clone();
        rules.map(|rules| Plan::of(finding, &rules)).unwrap_or_default()
    }

    /// A finding was kept, with this fate of each posting: what was put in is sent.
    pub fn kept(&self, postings: &[Posting], fates: &[Fate]) {
        let metrics = &self.0.services.metrics;
        for (posting, fate) in postings.iter().zip(fates) {
            match fate {
                Fate::Put => self.0.put_in.send_modify(|count| *count += 1),
                Fate::Gathered => {}
                Fate::Limited => metrics.alert(channel(&posting.target.channel), "limited"),
                Fate::Dropped => {
                    metrics.alert(channel(&posting.target.channel), "dropped");
                    tracing::warn!("an alert is dropped: too many wait");
                }
            }
        }
    }

    /// The outbox.
    #[must_use]
    pub fn outbox(&self) -> &dyn AlertOutbox {
        &*self.0.services.outbox
    }

    /// Sends what waits, for ever.
    pub async fn run(self) {
        let mut rules = self.0.rules.subscribe();
        let mut senders = JoinSet::new();
        senders.spawn(self.clone().look_after());
        loop {
            let in_force = rules.borrow_and_update().clone();
            self.0.begin_anew();
            for (queue, courier) in couriers(in_force.as_ref()) {
                let sender = Sender { office: self.0.clone(), queue, courier, rules: rules.clone() };
                senders.spawn(sender.run());
            }
            // Those under the rules before end by themselves, once what they have in hand is handed over.
            while senders.try_join_next().is_some() {}
            if rules.changed().await.is_err() {
                return;
            }
        }
    }

    async fn look_after(self) {
        let mut turn = 0;
        loop {
            let Self(office) = &self;
            let services = &office.services;
            let is_on = office.rules.borrow().is_some();
            if is_on && let Ok(count) = services.outbox.count_waiting().await {
                services.metrics.alerts_waiting(count);
            }
            if is_on
                && turn == 0
                && let Ok(old @ 1..) = services.outbox.forget_old().await
            {
                tracing::warn!(count = old, "alerts are given up that could not be sent for three days");
                services.metrics.alerts_given_up(old);
            }
            turn = (turn + 1) % BETWEEN_SWEEPS;
            tokio::time::sleep(BETWEEN_COUNTS).await;
        }
    }
}

impl fmt::Debug for Alerts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Alerts").finish_non_exhaustive()
    }
}

/// Each queue with who works it off.
fn couriers(rules: Option<&Arc<AlertRules>>) -> Vec<(String, Courier)> {
    let Some(rules) = rules else { return Vec::new() };
    let mail = rules.mail.as_ref().map(|mail| (MAIL_QUEUE.to_owned(), Courier::of_mail(&rules.site, mail)));
    mail.into_iter().collect()
}
