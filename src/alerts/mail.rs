//! An alert as a mail.

use std::time::{Duration, SystemTime};

use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart};

use super::content::Content;
use crate::session::StoreTime;
use crate::store::alerts::AlertId;

/// A mail as it is handed over.
#[derive(Debug)]
pub(super) struct Mail {
    /// From whom and to whom.
    pub(super) envelope: Envelope,
    /// Head and body.
    pub(super) bytes: Vec<u8>,
}

/// What a mail says, to whom and from whom.
#[derive(Debug)]
pub(super) struct Writing<'a> {
    /// The alert, by which a receiver knows a mail that comes twice.
    pub(super) id: &'a AlertId,
    /// What the site is called.
    pub(super) site: &'a str,
    /// Whom it is from.
    pub(super) from: &'a Mailbox,
    /// Whom it is to.
    pub(super) to: &'a Address,
    /// Its date.
    pub(super) at: StoreTime,
    /// What it says.
    pub(super) content: &'a Content,
}

/// Writes a mail. `None` for what no mail can say, which no alert does.
pub(super) fn write(writing: &Writing<'_>) -> Option<Mail> {
    let Writing { id, site, from, to, at, content } = *writing;
    let date = SystemTime::UNIX_EPOCH + Duration::from_micros(at.as_micros());
    let raw =
        |name: &'static str, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
    let message = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to.clone()))
        .subject(content.title.clone())
        .date(date)
        .message_id(Some(format!("<{id}@{site}>")))
        // Nobody's holiday answers it (RFC 3834).
        .raw_header(raw("Auto-Submitted", "auto-generated"))
        .raw_header(raw("X-Auto-Response-Suppress", "All"))
        .multipart(MultiPart::alternative_plain_html(content.text(), content.html()))
        .ok()?;
    let envelope = Envelope::new(Some(from.email.clone()), vec![to.clone()]).ok()?;
    Some(Mail { envelope, bytes: message.formatted() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_has_one_recipient_a_name_of_its_own_and_no_header_from_outside() {
        let id = AlertId::parse("1700000000000-0_0").expect("an id");
        let from: Mailbox = "Gateway <gateway@example.com>".parse().expect("a mailbox");
        let to: Address = "ops@example.com".parse().expect("an address");
        let content = Content {
            title: "HIGH SECURITY ALERT: X\r\nBcc: eve@example.com".into(),
            lead: "Line\r\n.\r\nRCPT TO:<eve@example.com>".into(),
            ..Content::default()
        };
        let at = StoreTime::from_millis(1_700_000_000_000);
        let writing = Writing { id: &id, site: "app.test", from: &from, to: &to, at, content: &content };
        let mail = write(&writing).expect("a mail");
        let text = String::from_utf8(mail.bytes).expect("ASCII");
        let head = text.split("\r\n\r\n").next().expect("a head");
        assert!(head.contains("Message-ID: <1700000000000-0_0@app.test>"), "{head}");
        assert!(head.contains("Auto-Submitted: auto-generated") && head.contains("Date: Tue, 14 Nov 2023"), "{head}");
        assert!(!head.to_ascii_lowercase().contains("\nbcc"), "{head}");
        assert_eq!(mail.envelope.to(), [to]);
    }
}
