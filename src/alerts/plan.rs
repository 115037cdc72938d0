//! Whom a finding is told, by the rules.

use std::time::Duration;

use super::rules::{AlertRules, MailRules, WebhookRules};
use crate::monitor::{Action, ContactId, Finding, MonitorMode};
use crate::store::alerts::{Limit, Posting, Target};

/// The queue of the mail server, for operators.
pub(super) const MAIL_QUEUE: &str = "mail";
/// The same for users: however many of them are written to, operators keep their room.
pub(super) const USER_QUEUE: &str = "mail to users";
/// Mail to an operator.
pub(super) const MAIL: &str = "mail";
/// Mail to a user.
pub(super) const USER: &str = "user";

/// How many mails a user gets of one kind of findings, and within which time: whoever attacks from many places must not
/// bury them in mail.
const MOST_NOTICES: u32 = 3;
const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

/// Whom a finding is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What the outbox is to send.
    pub postings: Vec<Posting>,
    /// Whether operators are among them.
    pub operators: bool,
    /// Whether the user is.
    pub user: bool,
}

impl Plan {
    /// Of a finding that was made now, about whoever this stands for, if they can be written to. Operators are told of what was
    /// only observed, too; users are not.
    pub(super) fn of(finding: &Finding, rules: &AlertRules, user: Option<&ContactId>) -> Self {
        let mut plan = Self::default();
        if finding.actions.contains(&Action::Alert) {
            if let Some(mail) = &rules.mail {
                plan.postings.extend(mails(finding, mail, rules.max_per_hour));
            }
            let told = rules.webhooks.iter().filter(|webhook| webhook.severities.contains(&finding.severity));
            plan.postings.extend(told.map(|webhook| call(webhook, rules.max_per_hour)));
            plan.operators = !plan.postings.is_empty();
        }
        if let Some(user) = user.filter(|_| notifies(finding, rules)) {
            plan.postings.push(notice(finding, user));
            plan.user = true;
        }
        plan
    }
}

/// Whether the user is told of it, if they can be.
pub(super) fn notifies(finding: &Finding, rules: &AlertRules) -> bool {
    let is_asked_for = finding.actions.contains(&Action::Notify) && finding.mode == MonitorMode::Enforce;
    is_asked_for && rules.tells_users && rules.mail.is_some()
}

fn notice(finding: &Finding, user: &ContactId) -> Posting {
    let target = Target { queue: USER_QUEUE.to_owned(), channel: USER.to_owned(), to: user.to_string() };
    let name = format!("{}:{}", target.short(), finding.kind.as_str());
    let limit = Limit { name, most: MOST_NOTICES, within: DAY, beyond: None };
    Posting { target, gathered: None, limit: Some(limit) }
}

fn mails(finding: &Finding, mail: &MailRules, most: u32) -> impl Iterator<Item = Posting> {
    let recipients = mail.recipients(finding.severity);
    let gathered = recipients.send.period();
    recipients.to.iter().map(move |address| {
        let target = Target { queue: MAIL_QUEUE.to_owned(), channel: MAIL.to_owned(), to: address.to_string() };
        let limit = || Limit { name: target.short(), most, within: HOUR, beyond: Some(HOUR) };
        let limit = gathered.is_none().then(limit);
        Posting { target, gathered, limit }
    })
}

fn call(webhook: &WebhookRules, most: u32) -> Posting {
    let target = Target {
        queue: webhook.queue.to_string(),
        channel: webhook.format.as_str().to_owned(),
        to: webhook.peer.to_string(),
    };
    // Programs count for themselves.
    let limit =
        webhook.format.is_for_people().then(|| Limit { name: target.short(), most, within: HOUR, beyond: Some(HOUR) });
    Posting { target, gathered: None, limit }
}
