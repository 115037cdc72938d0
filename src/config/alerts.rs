//! `[alerts]`: who is told of what was found, and how.

use std::net::IpAddr;
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;

use super::address::host_and_port;
use super::error::Problems;
use super::files::Files;
use super::raw::{RawAlerts, RawRecipients};
use super::reader::{OneOrMany, Spot};
use super::secrets::secret_or_file;
use super::table::Field;
use super::upstream::read_authorities;
use super::value::{Parsed, choice, count_within, duration_within, or_off, quoted};
use super::webhooks::webhooks;
use crate::alerts::{AlertRules, MailRules, MailServer, Recipients, Security, Send};
use crate::http::JsonPointer;
use crate::upstream::Trust;

const MINUTE: Duration = Duration::from_secs(60);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Whom findings of one severity are told.
const MOST_RECIPIENTS: usize = 20;
const SMTPS: u16 = 465;
const SUBMISSION: u16 = 587;

const SENDS: [(&str, Send); 3] = [("now", Send::Now), ("hourly", Send::Hourly), ("daily", Send::Daily)];
const EXAMPLE: &str = "smtp = \"smtps://alerts@mail.example.com\"";

/// Where a login's answer has the user's address (`alerts.user_email`); `None`: users are not told.
pub(super) fn user_email(raw: &RawAlerts, problems: &mut Problems) -> Option<JsonPointer> {
    let pointer = |text: &String| {
        let advice = "write where a login's answer has it, as in \"/user/email\", or \"off\"";
        JsonPointer::parse(text).map_err(|error| format!("{} is no JSON pointer ({error}); {advice}", quoted(text)))
    };
    let pointer = raw.user_email.parse_or(None, problems, or_off(pointer));
    if pointer.is_some() && !raw.smtp.is_given() {
        problems.error(raw.user_email.place(), "needs a mail server; add `smtp` and `from`");
    }
    pointer
}

/// `site`: what the site is called.
pub(super) fn alerts(raw: &RawAlerts, site: &str, tells_users: bool, problems: &mut Problems) -> Option<AlertRules> {
    let repeat = raw.repeat.parse_or(AlertRules::REPEAT, problems, duration_within(MINUTE..=WEEK));
    let max_per_hour = raw.max_per_hour.parse_or(20, problems, count_within(1..=1000));
    let webhooks = webhooks(&raw.webhooks, problems);
    let mails = raw.smtp.is_given() || raw.from.is_given() || raw.high.is_given() || raw.medium.is_given();
    if !mails && !raw.low.is_given() && raw.webhooks.is_given() {
        return Some(AlertRules {
            site: site.into(),
            repeat,
            max_per_hour,
            mail: None,
            tells_users,
            webhooks: webhooks?,
        });
    }
    let mail = mail(raw, problems);
    Some(AlertRules { site: site.into(), repeat, max_per_hour, mail: Some(mail?), tells_users, webhooks: webhooks? })
}

/// The files that are named.
pub(super) fn files(raw: &RawAlerts, files: &mut Files) {
    files.read(&raw.smtp_password_file);
    files.read(&raw.ca);
    for Spot { value: raw, .. } in raw.webhooks.get().into_iter().flatten() {
        files.read(&raw.secret_file);
        files.read(&raw.ca);
    }
}

fn mail(raw: &RawAlerts, problems: &mut Problems) -> Option<MailRules> {
    let server = server(raw, problems);
    let from = raw.from.require(problems, "from = \"alerts@example.com\"", |text| mailbox(text));
    if !raw.high.is_given() && !raw.medium.is_given() && !raw.low.is_given() {
        problems.error(
            raw.high.place(),
            "names nobody to tell; add `high.to = [\"ops@example.com\"]`, or `[[alerts.webhooks]]`",
        );
    }
    // Whom nothing is said of is told as those of what is worse.
    let high = recipients(&raw.high, None, Send::Now, problems);
    let medium = recipients(&raw.medium, Some(&high), Send::Hourly, problems);
    let low = recipients(&raw.low, Some(&medium), Send::Daily, problems);
    Some(MailRules { server: server?, from: from?, high, medium, low })
}

fn recipients(
    field: &Field<RawRecipients>,
    worse: Option<&Recipients>,
    send: Send,
    problems: &mut Problems,
) -> Recipients {
    let inherited = || worse.map(|worse| worse.to.clone()).unwrap_or_default();
    let Some(raw) = field.get() else { return Recipients { to: inherited(), send } };
    let send = raw.send.parse_or(send, problems, choice(&SENDS));
    let Some(OneOrMany(list)) = raw.to.get() else { return Recipients { to: inherited(), send } };
    if list.len() > MOST_RECIPIENTS {
        problems.error(raw.to.place(), format!("has more than {MOST_RECIPIENTS} addresses; write that of a list"));
    }
    let mut to: Vec<Address> = Vec::new();
    for spot in list {
        match address(&spot.value) {
            Ok(address) if to.contains(&address) => problems.error(&spot.place, "is in the list twice; remove one"),
            Ok(address) => to.push(address),
            Err(message) => problems.error(&spot.place, message),
        }
    }
    Recipients { to, send }
}

fn address(text: &str) -> Parsed<Address> {
    let wrong = || format!("{} is not a mail address; write it as \"ops@example.com\"", quoted(text));
    text.parse().ok().filter(|_| text.is_ascii() && text.len() <= 254).ok_or_else(wrong)
}

fn mailbox(text: &str) -> Parsed<Mailbox> {
    let wrong = || {
        format!(
            "{} is not a sender; write it as \"alerts@example.com\" or \"Gateway <alerts@example.com>\"",
            quoted(text)
        )
    };
    let mailbox: Mailbox = text.parse().map_err(|_| wrong())?;
    let plain = text.len() <= 320 && !text.chars().any(char::is_control) && mailbox.email.to_string().is_ascii();
    if plain { Ok(mailbox) } else { Err(wrong()) }
}

/// Where a mail server is, and how it is spoken to.
struct Named {
    tls: bool,
    user: Option<Box<str>>,
    host: Box<str>,
    port: u16,
}

impl Named {
    fn is_loopback(&self) -> bool {
        &*self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

fn server(raw: &RawAlerts, problems: &mut Problems) -> Option<MailServer> {
    let named = raw.smtp.require(problems, EXAMPLE, |text| named(text));
    let password = secret_or_file(&raw.smtp_password, &raw.smtp_password_file, problems);
    let named = named?;
    let plaintext = raw.smtp_plaintext.get().copied().unwrap_or(false);
    // Who names an authority wants TLS, also from this machine itself.
    let unprotected = !named.tls && (plaintext || (named.is_loopback() && !raw.ca.is_given()));
    if plaintext && named.tls {
        problems.error(raw.smtp_plaintext.place(), "is of no use over `smtps://`, where all is protected; remove it");
    }
    if raw.ca.is_given() && unprotected {
        problems.error(raw.ca.place(), "is of no use without TLS; remove it");
    }
    let credentials = match (&named.user, password) {
        (Some(user), Some(password)) => {
            if unprotected && !named.is_loopback() {
                problems.warn(raw.smtp.place(), "sends the password of its user unprotected (`smtp_plaintext`)");
            }
            Some((user.clone(), password.value))
        }
        (Some(_), None) => {
            if !raw.smtp_password.is_given() && !raw.smtp_password_file.is_given() {
                problems.error(raw.smtp.place(), "names a user without a password; add `smtp_password_file`");
            }
            None
        }
        (None, Some(password)) => {
            problems.error(&password.place, "is nobody's: `smtp` names no user; write \"smtps://user@host\"");
            None
        }
        (None, None) => None,
    };
    let security = if unprotected {
        Security::Plaintext
    } else {
        let trust = trust(raw, problems)?.for_another_protocol();
        if named.tls { Security::Tls(trust) } else { Security::StartTls(trust) }
    };
    Some(MailServer { host: named.host, port: named.port, security, credentials })
}

fn trust(raw: &RawAlerts, problems: &mut Problems) -> Option<Trust> {
    if raw.ca.is_given() {
        return raw.ca.parse(problems, |path| read_authorities(path));
    }
    Trust::of_the_system().map_err(|error| problems.error(raw.smtp.place(), error.to_string())).ok()
}

/// The messages quote nothing: somebody may have written a password.
fn named(text: &str) -> Parsed<Named> {
    const WRONG: &str = "is not a mail server's address; write it as \"smtps://user@mail.example.com:465\", or as \
                         \"smtp://user@mail.example.com:587\" where it asks for TLS by STARTTLS";
    let (tls, rest) = match text.split_once("://") {
        Some(("smtps", rest)) => (true, rest),
        Some(("smtp", rest)) => (false, rest),
        _ => return Err(String::from(WRONG)),
    };
    let (user, authority) = match rest.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, rest),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err(String::from("holds a password; write it into a file, and name that in `smtp_password_file`"));
    }
    let user = match user {
        Some(user) => {
            let user = percent_decode_str(user).decode_utf8().map_err(|_| WRONG)?;
            let plain = !user.is_empty() && user.len() <= 320 && !user.chars().any(char::is_control);
            Some(plain.then(|| Box::from(&*user)).ok_or(WRONG)?)
        }
        None => None,
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = host_and_port(authority, if tls { SMTPS } else { SUBMISSION }).ok_or(WRONG)?;
    Ok(Named { tls, user, host: host.into(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_server_is_named_with_its_user_and_without_its_password() {
        let named = |text: &str| named(text).map(|named| (named.tls, named.user, named.host.to_string(), named.port));
        let user = |name: &str| Some(Box::from(name));
        for (text, expected) in [
            ("smtps://mail.test", (true, None, "mail.test", 465)),
            ("smtps://me@mail.test:2465/", (true, user("me"), "mail.test", 2465)),
            ("smtp://me@example.com@mail.test", (false, user("me@example.com"), "mail.test", 587)),
            ("smtp://a%3Ab@[::1]:25", (false, user("a:b"), "::1", 25)),
        ] {
            let (tls, user, host, port) = expected;
            assert_eq!(named(text), Ok((tls, user, String::from(host), port)), "{text}");
        }
        for text in
            ["", "mail.test", "http://mail.test", "smtps://", "smtps://@mail.test", "smtps://a@b/c", "smtp://a%00@b"]
        {
            assert!(named(text).is_err(), "{text}");
        }
        let message = named("smtps://me:hidden@mail.test").unwrap_err();
        assert!(message.contains("smtp_password_file") && !message.contains("hidden"), "{message}");
    }
}
