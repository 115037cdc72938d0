//! `[alerts]`: who is told, and how.

use std::sync::Arc;

use super::{BASE, errors, valid};
use crate::alerts::{AlertRules, WebhookFormat};
use crate::monitor::Severity;
use crate::upstream::PeerAddress;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const MAIL: &str = "[alerts]\nsmtp = \"smtp://127.0.0.1\"\nfrom = \"a@b.example\"\nhigh.to = [\"o@b.example\"]\n";

fn rules(added: &str) -> Arc<AlertRules> {
    valid(&format!("{BASE}{added}\n")).alerts.expect("alerts")
}

fn hook(more: &str) -> String {
    format!("[[alerts.webhooks]]\nurl = \"https://hooks.example.com/T0/B0?key=hidden\"\n{more}")
}

#[test]
fn a_webhook_is_told_of_everything_in_the_standard_form_and_needs_no_mail() {
    let rules = rules(&hook(&format!("secret = \"{SECRET}\"")));
    assert_eq!((&rules.mail, rules.webhooks.len()), (&None, 1));
    let webhook = &rules.webhooks[0];
    assert!(matches!(webhook.format, WebhookFormat::Standard(_)));
    assert_eq!(webhook.severities, Severity::ALL);
    assert_eq!(webhook.peer, PeerAddress::Tls { host: "hooks.example.com".into(), port: 443 });
    assert_eq!(
        (webhook.host.as_bytes(), webhook.target.expose_secret()),
        (&b"hooks.example.com"[..], "/T0/B0?key=hidden")
    );
    assert!(webhook.trust.is_some());
    let shown = format!("{webhook:?}");
    assert!(!shown.contains("hidden") && !shown.contains("T0") && !shown.contains("MfKQ"), "{shown}");
}

#[test]
fn each_form_has_the_secret_that_it_needs() {
    for (more, word, signs) in [
        (format!("format = \"standard\"\nsecret = \"{SECRET}\""), "standard", true),
        (String::from("format = \"slack\""), "slack", false),
        (String::from("format = \"pagerduty\"\nsecret = \"R0UT1NG\""), "pagerduty", false),
        (String::from("format = \"ocsf\""), "ocsf", false),
        (format!("format = \"ocsf\"\nsecret = \"{SECRET}\"\nseverity = \"high\""), "ocsf", true),
    ] {
        let rules = rules(&hook(&more));
        let format = &rules.webhooks[0].format;
        assert_eq!((format.as_str(), format.signing_key().is_some()), (word, signs), "{more}");
    }
}

#[test]
fn two_webhooks_on_one_host_have_a_queue_each_that_stays_the_same() {
    let two = "[[alerts.webhooks]]\nformat = \"slack\"\nurl = \"https://hooks.example.com/a\"\n\
               [[alerts.webhooks]]\nformat = \"slack\"\nurl = \"https://hooks.example.com/b\"";
    let queues = |text: &str| rules(text).webhooks.iter().map(|webhook| webhook.queue.clone()).collect::<Vec<_>>();
    let [a, b] = &queues(two)[..] else { panic!("two") };
    assert_ne!(a, b);
    assert!(a.starts_with("slack at https://hooks.example.com:443"), "{a}");
    assert_eq!(queues(two), [a.clone(), b.clone()]);
}

#[test]
fn users_are_told_only_where_a_login_answers_with_their_address() {
    let key = "secrets.key = \"kLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbEd8s\"\n";
    assert!(!rules(MAIL).tells_users);
    assert!(!rules(&format!("{MAIL}user_email = \"off\"")).tells_users);
    assert!(rules(&format!("{key}{MAIL}user_email = \"/user/email\"")).tells_users);
}

#[test]
fn each_bad_webhook_is_refused_with_what_to_do_and_no_url_is_quoted() {
    let at = "t.toml:5: alerts.webhooks[0]";
    let wrong = "is not a webhook's address; write it as \"https://hooks.example.com/alerts\"";
    let url = |url: &str| format!("[[alerts.webhooks]]\nurl = \"{url}\"\nformat = \"slack\"");
    let make = "make one with `echo whsec_$(openssl rand -base64 32)`, and give it to the receiver, too";
    for (added, expected) in [
        (url("hooks.example.com"), format!("{at}.url: {wrong}")),
        (url("ftp://hooks.example.com"), format!("{at}.url: {wrong}")),
        (url("https://me:hidden@hooks.example.com"), format!("{at}.url: {wrong}")),
        (url("https://hooks.example.com/#hidden"), format!("{at}.url: {wrong}")),
        (url("unix:/run/hidden"), format!("{at}.url: {wrong}")),
        (
            url("http://hooks.example.com/hidden"),
            format!(
                "{at}.url: is plain http, in which anybody on the way reads what is told; write https, or \
                 `plaintext = true` beside it"
            ),
        ),
        (hook(""), format!("t.toml:4: alerts.webhooks[0].secret_file: is missing; {make}")),
        (
            hook("secret = \"hidden\""),
            format!("t.toml:6: alerts.webhooks[0].secret: is no secret of Standard Webhooks; {make}"),
        ),
        (
            hook("format = \"slack\"\nsecret = \"hidden\""),
            String::from("t.toml:7: alerts.webhooks[0].secret: is of no use: Slack's secret is the url; remove it"),
        ),
        (
            hook("format = \"slack\"\nseverity = []"),
            String::from(
                "t.toml:7: alerts.webhooks[0].severity: is empty; write of what it is told, as in [\"high\", \"medium\"]",
            ),
        ),
        (
            hook("format = \"slack\"\nplaintext = true"),
            String::from("t.toml:7: alerts.webhooks[0].plaintext: is of no use beside an https:// address; remove it"),
        ),
        (
            format!("{0}\n{0}", hook("format = \"slack\"")),
            String::from(
                "t.toml:8: alerts.webhooks[1].url: is that of another of these tables, in the same format; remove one",
            ),
        ),
    ] {
        let told = errors(&format!("{BASE}{added}\n"));
        assert_eq!(told, [expected], "{added}");
        assert!(!told[0].contains("hidden"));
    }
    let many = hook("format = \"slack\"\n").repeat(17);
    assert!(errors(&format!("{BASE}{many}"))[0].contains("has more than 16 webhooks"));
}

#[test]
fn where_users_have_no_mail_server_or_address_nobody_can_write_to_them() {
    let hooks = hook("format = \"slack\"");
    assert_eq!(
        errors(&format!("{BASE}alerts.user_email = \"/user/email\"\n{hooks}\n")),
        ["t.toml:4: alerts.user_email: needs a mail server; add `smtp` and `from`"]
    );
    let told = errors(&format!("{BASE}{MAIL}user_email = \"user.email\"\n"));
    assert!(told[0].contains("alerts.user_email: \"user.email\" is no JSON pointer"), "{told:?}");
}
