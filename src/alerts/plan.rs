//! Whom a finding is told, by the rules.

use std::time::Duration;

use super::rules::{AlertRules, MailRules};
use crate::monitor::{Action, Finding};
use crate::store::alerts::{Limit, Posting, Target};

/// The queue of the mail server.
pub(super) const MAIL_QUEUE: &str = "mail";
/// Mail to an operator.
pub(super) const MAIL: &str = "mail";

const HOUR: Duration = Duration::from_secs(3600);

/// Whom a finding is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What the outbox is to send.
    pub postings: Vec<Posting>,
    /// Whether operators are among them.
    pub operators: bool,
}

impl Plan {
    /// Of a finding that was made now. Operators are told of what was only observed, too.
    #[must_use]
    pub(super) fn of(finding: &Finding, rules: &AlertRules) -> Self {
        let mut plan = Self::default();
        if finding.actions.contains(&Action::Alert) {
            if let Some(mail) = &rules.mail {
                plan.postings.extend(mails(finding, mail, rules.max_per_hour));
            }
            plan.operators = !plan.postings.is_empty();
        }
        plan
    }
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
