//! Who is told of findings, how and how often (`[alerts]`).

use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;

use crate::monitor::Severity;
use crate::secret::Secret;
use crate::upstream::Trust;

const HOUR: Duration = Duration::from_secs(3600);

/// Who is told (`[alerts]`).
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRules {
    /// What the site is called, as in `app.example.com`.
    pub site: Box<str>,
    /// For how long the same finding counts on the first, and is not told again.
    pub repeat: Duration,
    /// How many alerts go to somebody at once within an hour; the rest is told together.
    pub max_per_hour: u32,
    /// Who gets mail; `None`: nobody.
    pub mail: Option<MailRules>,
}

impl AlertRules {
    /// For how long the same counts on the first where nothing is said of alerts.
    pub const REPEAT: Duration = Duration::from_secs(4 * 3600);
}

/// Who gets mail, and from where.
#[derive(Clone, Debug, PartialEq)]
pub struct MailRules {
    /// The server that takes it.
    pub server: MailServer,
    /// Whom it is from.
    pub from: Mailbox,
    /// Of what is [high](Severity::High).
    pub high: Recipients,
    /// Of what is [medium](Severity::Medium).
    pub medium: Recipients,
    /// Of what is [low](Severity::Low).
    pub low: Recipients,
}

impl MailRules {
    /// Who is told of what is as bad as this.
    #[must_use]
    pub const fn recipients(&self, severity: Severity) -> &Recipients {
        match severity {
            Severity::High => &self.high,
            Severity::Medium => &self.medium,
            Severity::Low => &self.low,
        }
    }
}

/// A mail server.
#[derive(Clone, Debug, PartialEq)]
pub struct MailServer {
    /// Its name or address, by which it is verified.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// How what is said is protected.
    pub security: Security,
    /// As whom to log in.
    pub credentials: Option<(Box<str>, Secret)>,
}

/// How what a mail server is told is protected.
#[derive(Clone, Debug, PartialEq)]
pub enum Security {
    /// By TLS from the first byte on.
    Tls(Trust),
    /// By TLS once the server was asked for it; without it nothing is said.
    StartTls(Trust),
    /// Not at all.
    Plaintext,
}

/// Who is told, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipients {
    /// Whom.
    pub to: Vec<Address>,
    /// When.
    pub send: Send,
}

/// When somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Send {
    /// At once, one by one.
    Now,
    /// Together, each full hour.
    Hourly,
    /// Together, each midnight (UTC).
    Daily,
}

impl Send {
    /// For how long it is gathered; `None`: it is not.
    #[must_use]
    pub const fn period(self) -> Option<Duration> {
        match self {
            Self::Now => None,
            Self::Hourly => Some(HOUR),
            Self::Daily => Some(Duration::from_secs(24 * 3600)),
        }
    }
}
