//! Who is told of findings, how and how often (`[alerts]`).

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use lettre::Address;
use lettre::message::Mailbox;
use ring::hmac;

use crate::monitor::Severity;
use crate::secret::Secret;
use crate::upstream::{PeerAddress, Trust};

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
    /// Whether users are told of what happens to their accounts; those whose address is known.
    pub tells_users: bool,
    /// Which webhooks are called.
    pub webhooks: Vec<WebhookRules>,
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

/// A webhook (`[[alerts.webhooks]]`).
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookRules {
    /// What its queue is called: the same after each start, and nothing that is secret.
    pub queue: Box<str>,
    /// In which form it is told.
    pub format: WebhookFormat,
    /// Where it listens.
    pub peer: PeerAddress,
    /// What it is called there.
    pub host: HeaderValue,
    /// What is called: a path and perhaps a query, in which a secret may stand.
    pub target: Secret,
    /// Who vouches for it over TLS.
    pub trust: Option<Trust>,
    /// Of what it is told.
    pub severities: Vec<Severity>,
}

/// In which form a webhook is told.
#[derive(Clone, Debug, PartialEq)]
pub enum WebhookFormat {
    /// As Standard Webhooks say, signed by this key.
    Standard(SigningKey),
    /// As an incoming webhook of Slack wants it.
    Slack,
    /// As PagerDuty's Events API v2 wants it, with this routing key.
    PagerDuty(Secret),
    /// As a Detection Finding of OCSF; signed, where there is a key.
    Ocsf(Option<SigningKey>),
}

impl WebhookFormat {
    /// Its word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Standard(_) => "standard",
            Self::Slack => "slack",
            Self::PagerDuty(_) => "pagerduty",
            Self::Ocsf(_) => "ocsf",
        }
    }

    /// Whether people read it, who are told of many findings at once rather than of each.
    #[must_use]
    pub const fn is_for_people(&self) -> bool {
        matches!(self, Self::Slack | Self::PagerDuty(_))
    }

    /// What it is signed with.
    #[must_use]
    pub const fn signing_key(&self) -> Option<&SigningKey> {
        match self {
            Self::Standard(key) | Self::Ocsf(Some(key)) => Some(key),
            Self::Slack | Self::PagerDuty(_) | Self::Ocsf(None) => None,
        }
    }
}

/// The key that webhooks are signed with, as Standard Webhooks say.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Box<[u8]>);

impl SigningKey {
    /// Reads `whsec_` and 24 to 64 bytes in base64.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
        (24..=64).contains(&bytes.len()).then(|| Self(bytes.into()))
    }

    /// The signature of a body that is sent under this id at this time (s).
    #[must_use]
    pub fn sign(&self, id: &str, seconds: u64, body: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let tag = hmac::sign(&key, format!("{id}.{seconds}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(tag))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        // The example of Standard Webhooks.
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a key");
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        for wrong in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_a-b_"] {
            assert!(SigningKey::parse(wrong).is_none(), "{wrong}");
        }
    }
}
