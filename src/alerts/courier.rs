//! Who hands the alerts of a queue over: to the mail server, or to a webhook.

use std::time::Duration;

use tokio::time::timeout;

use super::mailer::Mailer;
use super::parcel::{Handed, Parcel};
use super::plan::{MAIL_QUEUE, USER_QUEUE};
use super::rules::AlertRules;
use super::webhook::Caller;
use crate::clock::SharedClock;
use crate::store::alerts::LEASE;

/// How long handing one over may take: it is somebody else's to send at the end of its lease, well after this.
const PATIENCE: Duration = Duration::from_secs(20);
const _: () = assert!(PATIENCE.as_secs() + 5 < LEASE.as_secs());

/// Who hands alerts of one queue over.
pub(super) struct Courier {
    /// Which.
    pub(super) queue: String,
    way: Way,
}

enum Way {
    Mail(Box<Mailer>),
    Webhook(Box<Caller>),
}

impl Courier {
    /// Each that the rules ask for.
    pub(super) fn of(rules: &AlertRules, clock: &SharedClock) -> Vec<Self> {
        let queues = [Some(MAIL_QUEUE), rules.tells_users.then_some(USER_QUEUE)].into_iter().flatten();
        let mail = rules.mail.iter().flat_map(|mail| queues.clone().map(move |queue| (queue, mail)));
        let mail = mail.map(|(queue, mail)| Self {
            queue: queue.to_owned(),
            way: Way::Mail(Box::new(Mailer::new(&rules.site, mail))),
        });
        let webhooks = rules.webhooks.iter().map(|webhook| Self {
            queue: webhook.queue.to_string(),
            way: Way::Webhook(Box::new(Caller::new(&rules.site, webhook, clock))),
        });
        mail.chain(webhooks).collect()
    }

    /// Hands one over, however long the other side takes within bounds.
    pub(super) async fn hand_over(&mut self, parcel: &Parcel<'_>) -> Handed {
        let handed = match &mut self.way {
            Way::Mail(mailer) => timeout(PATIENCE, mailer.send(parcel)).await,
            Way::Webhook(caller) => timeout(PATIENCE, caller.call(parcel)).await,
        };
        handed.unwrap_or_else(|_| {
            if let Way::Mail(mailer) = &mut self.way {
                mailer.give_up();
            }
            Handed::to_nobody(format_args!("it takes longer than {PATIENCE:?}"))
        })
    }

    /// Nothing more comes for a while.
    pub(super) async fn rest(&mut self) {
        if let Way::Mail(mailer) = &mut self.way {
            mailer.rest().await;
        }
    }
}
