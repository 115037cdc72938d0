//! Alerts: who is told of findings, by mail and by webhooks, and that they are told.
//!
//! What is to be told is put into the store's outbox with the finding, and sent from there by whichever gateway takes it. A
//! server that is slow or down holds up nothing but its own queue, and no request ever.

mod content;
mod courier;
mod formats;
mod letter;
mod mail;
mod mailer;
mod notice;
mod office;
mod parcel;
mod plan;
mod rules;
mod sender;
mod smtp;
mod trial;
mod webhook;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

pub use office::AlertServices;
pub use plan::Plan;
pub use rules::{
    AlertRules, MailRules, MailServer, Recipients, Security, Send, SigningKey, WebhookFormat, WebhookRules,
};
pub use trial::{reach, send_test};

use crate::monitor::{AccountId, ContactId, Finding};
use crate::secret::Secret;
use crate::session::Principal;
use crate::store::alerts::{AlertOutbox, Fate, Posting};
use crate::store::contacts::Contact;
use courier::Courier;
use office::{Office, channel};
use sender::Sender;

/// Between two looks at how many wait, and for those that wait for too long.
const BETWEEN_COUNTS: Duration = Duration::from_secs(10);
const BETWEEN_SWEEPS: u32 = 60;
/// The longest address that mail can go to (RFC 5321).
const LONGEST_ADDRESS: usize = 254;

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
    pub async fn plan(&self, finding: &Finding) -> Plan {
        let Some(rules) = self.0.rules.borrow().clone() else { return Plan::default() };
        let user = if plan::notifies(finding, &rules) { self.contact(finding).await } else { None };
        Plan::of(finding, &rules, user.as_ref())
    }

    /// Whom a finding is about, if they can be written to.
    async fn contact(&self, finding: &Finding) -> Option<ContactId> {
        let AlertServices { contacts, contact_keys: keys, .. } = &self.0.services;
        let of_account = finding.account.as_ref().map(|account| keys.of_account(account));
        let of_user = finding.session.as_ref().map(|(_, principal)| keys.of_user(principal));
        for id in of_account.into_iter().chain(of_user) {
            if matches!(contacts.contact(&id.to_string()).await, Ok(Some(_))) {
                return Some(id);
            }
        }
        None
    }

    /// A login's answer named the address of somebody, who logged in as this account. Kept for when they are to be told
    /// something; never waits.
    pub fn remember(&self, account: Option<&AccountId>, principal: &Principal, address: &Secret) {
        let services = &self.0.services;
        if !self.0.rules.borrow().as_ref().is_some_and(|rules| rules.tells_users) {
            return;
        }
        let usable = is_usable(address.expose_secret());
        let Some(place) = usable.then(|| self.0.remembering.clone().try_acquire_owned().ok()).flatten() else {
            return;
        };
        let keys = &services.contact_keys;
        let ids = account.map(|account| keys.of_account(account)).into_iter().chain([keys.of_user(principal)]);
        let contacts: Vec<Contact> = ids
            .filter_map(|id| {
                let sealed = keys.seal(&id, address, &*services.entropy)?;
                Some(Contact { id: id.to_string(), sealed })
            })
            .collect();
        let store = services.contacts.clone();
        services.tasks.spawn(async move {
            let _place = place;
            if let Err(error) = store.remember(&contacts).await {
                tracing::debug!(%error, "it is not remembered how a user is written to");
            }
        });
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
            let couriers = in_force.iter().flat_map(|rules| Courier::of(rules, &self.0.services.clock));
            for courier in couriers {
                let sender = Sender { office: self.0.clone(), courier, rules: rules.clone() };
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

/// Whether mail can go to an address that a backend named, by any server.
fn is_usable(address: &str) -> bool {
    address.len() <= LONGEST_ADDRESS && address.is_ascii() && address.parse::<lettre::Address>().is_ok()
}

impl fmt::Debug for Alerts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Alerts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_no_mail_can_go_to_is_none() {
        for usable in ["bob@users.example", "bob+x.y@a-b.example", "o'neil@users.example"] {
            assert!(is_usable(usable), "{usable}");
        }
        let long = format!("{}@users.example", "x".repeat(300));
        for unusable in [
            "",
            "bob",
            "@users.example",
            "bob@",
            "bob@users.example\r\nRCPT TO:<eve@users.example>",
            "bob@users.example, eve@users.example",
            "<bob@users.example>",
            "Bob <bob@users.example>",
            "bob@users.example\0",
            "b\u{f6}b@users.example",
            &long,
        ] {
            assert!(!is_usable(unusable), "{unusable}");
        }
    }
}
