//! Alerts tried before they are needed: whether the mail server can be used, and whether alerts arrive. Without the outbox: it
//! is said at once what became of each.

use std::time::Duration;

use tokio::time::timeout;

use super::courier::Courier;
use super::letter::{Subject, Told};
use super::mailer::Mailer;
use super::parcel::{Handed, Parcel};
use super::plan::{MAIL, MAIL_QUEUE};
use super::rules::AlertRules;
use crate::clock::SharedClock;
use crate::session::StoreTime;
use crate::store::alerts::{AlertId, Attempts, Target, Waiting};
use crate::store::monitor::FindingId;

/// How long a mail server may take to let somebody in.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whether the mail server lets the gateway in. `None`: nobody gets mail.
pub async fn reach(rules: &AlertRules) -> Option<Result<(), String>> {
    let mut mailer = Mailer::new(&rules.site, rules.mail.as_ref()?);
    let reached = timeout(PATIENCE, mailer.reach()).await;
    Some(reached.unwrap_or_else(|_| Err(format!("it takes longer than {PATIENCE:?}"))))
}

/// Tells everybody who would be told of anything that nothing was found. Answers whom, and what the other side said, or why
/// they could not be told.
pub async fn send_test(rules: &AlertRules, clock: &SharedClock) -> Vec<(String, Result<String, String>)> {
    let now = StoreTime::from_micros(clock.wall().as_micros());
    let subject = Subject::One(Told::test(now));
    let mut sent = Vec::new();
    for mut courier in Courier::of(rules, clock) {
        for target in targets(rules, &courier.queue) {
            let finding = FindingId { millis: now.as_micros() / 1000, count: 0 };
            let to = if target.channel == MAIL { target.to.clone() } else { courier.queue.clone() };
            let id = AlertId::at_once(finding, sent.len());
            let waiting = Waiting { id, target, due: now, attempts: Attempts::default(), gathered: None };
            let parcel = Parcel { waiting: &waiting, subject: &subject, user: None, now };
            let handed = match courier.hand_over(&parcel).await {
                Handed::Over(words) => Ok(words),
                Handed::Never(why) | Handed::NotNow(why) | Handed::ToNobody(why, _) => Err(why),
            };
            sent.push((to, handed));
        }
        courier.rest().await;
    }
    sent
}

/// Whom a queue tells.
fn targets(rules: &AlertRules, queue: &str) -> Vec<Target> {
    let target = |channel: &str, to: &str| Target { queue: queue.into(), channel: channel.into(), to: to.into() };
    if let (MAIL_QUEUE, Some(mail)) = (queue, &rules.mail) {
        let mut addresses: Vec<String> = Vec::new();
        for address in mail.high.to.iter().chain(&mail.medium.to).chain(&mail.low.to) {
            let address = address.to_string();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        return addresses.iter().map(|address| target(MAIL, address)).collect();
    }
    let webhook = rules.webhooks.iter().find(|webhook| *webhook.queue == *queue);
    webhook.into_iter().map(|webhook| target(webhook.format.as_str(), &webhook.peer.to_string())).collect()
}
