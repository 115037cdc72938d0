//! Who hands alerts over: to the mail server.

use std::time::Duration;

use lettre::Address;
use tokio::time::timeout;

use super::letter::Subject;
use super::mail::{Writing, write};
use super::rules::MailRules;
use super::smtp::{Connection, MailError};
use crate::session::StoreTime;
use crate::store::alerts::{LEASE, Waiting};

/// How long handing one over may take: it is somebody else's to send at the end of its lease, well after this.
const PATIENCE: Duration = Duration::from_secs(20);
const _: () = assert!(PATIENCE.as_secs() + 5 < LEASE.as_secs());
/// How long a connection is given to end well.
const FAREWELL: Duration = Duration::from_secs(2);

/// What became of an alert that was to be handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// It was taken.
    Over,
    /// It never will be.
    Never(String),
    /// It was not taken now; others may be.
    NotNow(String),
    /// Nothing can be handed over now.
    ToNobody(String),
}

/// What is handed over.
pub(super) struct Parcel<'a> {
    /// Where it goes, and its id.
    pub(super) waiting: &'a Waiting,
    /// What it tells of.
    pub(super) subject: &'a Subject,
    /// The store's time.
    pub(super) now: StoreTime,
}

/// Who hands alerts of one queue over.
pub(super) struct Courier {
    site: Box<str>,
    mail: MailRules,
    connection: Option<Connection>,
}

impl Courier {
    pub(super) fn of_mail(site: &str, mail: &MailRules) -> Self {
        Self { site: site.into(), mail: mail.clone(), connection: None }
    }

    /// Hands one over, however long the other side takes within bounds.
    pub(super) async fn hand_over(&mut self, parcel: &Parcel<'_>) -> Handed {
        let handed = timeout(PATIENCE, self.mail(parcel)).await;
        handed.unwrap_or_else(|_| {
            self.connection = None;
            Handed::ToNobody(format!("it takes longer than {PATIENCE:?}"))
        })
    }

    /// Nothing more comes for a while.
    pub(super) async fn rest(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = timeout(FAREWELL, connection.close()).await;
        }
    }

    async fn mail(&mut self, parcel: &Parcel<'_>) -> Handed {
        let Parcel { waiting, subject, now } = parcel;
        let Ok(to) = waiting.target.to.parse::<Address>() else {
            return Handed::Never(String::from("its recipient has no address"));
        };
        let content = subject.content(&self.site, &waiting.id);
        let from = &self.mail.from;
        let writing = Writing { id: &waiting.id, site: &self.site, from, to: &to, at: *now, content: &content };
        let Some(mail) = write(&writing) else { return Handed::Never(String::from("it cannot be written")) };
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match Connection::open(&self.mail.server, &self.site).await {
                Ok(connection) => connection,
                Err(error) => return Handed::ToNobody(error.to_string()),
            },
        };
        let sent = connection.send(&mail.envelope, &mail.bytes).await;
        if connection.is_usable() {
            self.connection = Some(connection);
        }
        match sent {
            Ok(()) => Handed::Over,
            Err(MailError::Never(why)) => Handed::Never(why),
            Err(MailError::NotNow(why)) => Handed::NotNow(why),
            Err(MailError::Server(why)) => Handed::ToNobody(why),
        }
    }
}
