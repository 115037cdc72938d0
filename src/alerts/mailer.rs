//! Alerts by mail: one connection for those that are due one after the other.

use std::time::Duration;

use lettre::Address;
use tokio::time::timeout;

use super::letter::Subject;
use super::mail::{Writing, write};
use super::notice::notice;
use super::parcel::{Handed, Parcel};
use super::rules::MailRules;
use super::smtp::{Connection, MailError};

/// How long a connection is given to end well.
const FAREWELL: Duration = Duration::from_secs(2);

/// Who hands mail over.
pub(super) struct Mailer {
    site: Box<str>,
    rules: MailRules,
    connection: Option<Connection>,
}

impl Mailer {
    pub(super) fn new(site: &str, rules: &MailRules) -> Self {
        Self { site: site.into(), rules: rules.clone(), connection: None }
    }

    /// What is on its way is given up.
    pub(super) fn give_up(&mut self) {
        self.connection = None;
    }

    /// Nothing more comes for a while.
    pub(super) async fn rest(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = timeout(FAREWELL, connection.close()).await;
        }
    }

    /// Whether the server lets this one in.
    pub(super) async fn reach(&mut self) -> Result<(), String> {
        let opened = Connection::open(&self.rules.server, &self.site).await.map_err(|error| error.to_string())?;
        self.connection = Some(opened);
        self.rest().await;
        Ok(())
    }

    /// Hands one over.
    pub(super) async fn send(&mut self, parcel: &Parcel<'_>) -> Handed {
        let Parcel { waiting, subject, user, now } = parcel;
        let to = user.map_or(waiting.target.to.as_str(), |user| user.expose_secret());
        let Ok(to) = to.parse::<Address>() else {
            return Handed::Never(String::from("its recipient has no address"));
        };
        let content = match (user, subject) {
            (Some(_), Subject::One(told)) => notice(told, &self.site, &waiting.id),
            // Nothing is gathered for users.
            (Some(_), Subject::Many(..)) => return Handed::Never(String::from("it is not for users")),
            (None, subject) => subject.content(&self.site, &waiting.id),
        };
        let from = &self.rules.from;
        let writing = Writing { id: &waiting.id, site: &self.site, from, to: &to, at: *now, content: &content };
        let Some(mail) = write(&writing) else { return Handed::Never(String::from("it cannot be written")) };
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => match Connection::open(&self.rules.server, &self.site).await {
                Ok(connection) => connection,
                Err(error) => return Handed::to_nobody(error),
            },
        };
        let sent = connection.send(&mail.envelope, &mail.bytes).await;
        if connection.is_usable() {
            self.connection = Some(connection);
        }
        match sent {
            Ok(words) => Handed::Over(words),
            Err(MailError::Never(why)) => Handed::Never(why),
            Err(MailError::NotNow(why)) => Handed::NotNow(why),
            Err(MailError::Server(why)) => Handed::to_nobody(why),
        }
    }
}
