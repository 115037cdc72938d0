//! What was found is told by mail: at once or together, once whatever happens, and never at a request's cost
//! (docs/monitoring.md, "Alerts").

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::login_guard::{TOKEN, backend, from, guarded, guess, log_in};
use crate::on_both_stores;
use crate::support::mail::{Mail, MailServer, PASSWORD, Spoken, refusing};
use crate::support::{Gateway, Store, let_pass, poll, wait_until};

const OWNER: &str = "192.0.2.1";
const STRANGER: &str = "198.51.100.1";

/// Waits for what is tried again after a pause.
fn wait_long<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    poll(Duration::from_secs(60), ask).unwrap_or_else(|| panic!("waited in vain for {what}"))
}

/// Has something be found of this account: five guesses from one place.
fn guess_five_times(gateway: &Gateway, name: &str, address: &str) {
    for _ in 0..5 {
        guess(gateway, address, name).expect(401);
    }
}

on_both_stores!(a_finding_is_mailed_at_once_with_all_that_is_known_of_it, |store| {
    let (backend, server) = (backend(), MailServer::start(Spoken::Tls));
    let gateway = guarded(store, "enforce").with_backend(&backend).settings(&server.alerts()).start();
    guess_five_times(&gateway, "bob", STRANGER);
    let mails = server.wait_for(1);
    let mail = &mails[0];
    assert_eq!(
        (mail.subject().as_str(), mail.to()),
        ("HIGH SECURITY ALERT: SUSPICIOUS_FAILED_AUTH_ATTEMPTS", "ops@example.com")
    );
    assert_eq!((mail.at("tls"), mail.at("user")), (&json!(true), &json!("alerts")));
    assert_eq!(mail.at("from"), "gateway@example.com");
    assert_eq!(mail.header("Auto-Submitted").as_deref(), Some("auto-generated"));
    let found = gateway.operator(TOKEN).get("/v1/anomalies").expect(200).json();
    let id = found["items"][0]["id"].as_str().expect("an id").to_owned();
    let (text, html) = mail.parts();
    for part in [STRANGER, "failures", "lock", "alert", &format!("session-gateway anomalies show {id}")] {
        assert!(text.contains(part) && html.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("bob") && !text.contains("Only observed"), "{text}");
    assert_eq!(found["items"][0]["actions"][1], json!({"action": "alert", "done": true}));
    assert_eq!(gateway.metric("alerts_total", r#"{channel="mail",outcome="sent"}"#), 1.0);
    assert_eq!(gateway.metric("alert_delay_seconds_count", ""), 1.0);
    assert!(!gateway.log().iter().any(|line| line.contains(PASSWORD) || line.contains("ops@example.com")));
    log_in(&mut from(&gateway, OWNER), "bob", "demo").expect(200);
});

on_both_stores!(what_was_only_observed_is_mailed_to_operators_and_says_so_first, |store| {
    let (backend, server) = (backend(), MailServer::start(Spoken::StartTls));
    let gateway = guarded(store, "observe").with_backend(&backend).settings(&server.alerts()).start();
    guess_five_times(&gateway, "bob", STRANGER);
    let mails = server.wait_for(1);
    let (text, html) = mails[0].parts();
    assert!(text.contains("Only observed") && html.contains("Only observed"), "{text}");
    assert!(text.contains("Would have been done: lock"), "{text}");
    assert_eq!(mails[0].at("tls"), &json!(true));
});

on_both_stores!(a_mail_server_that_was_away_gets_what_waited_once_and_logins_never_noticed, |store| {
    // vaultwarden#706: a dead mail server hung logins.
    let (backend, mut server) = (backend(), MailServer::start(Spoken::Plain));
    let gateway = guarded(store, "enforce").with_backend(&backend).settings(&server.alerts()).start();
    server.down();
    for (number, name) in ["bob", "eve", "mia"].iter().enumerate() {
        let begin = Instant::now();
        guess_five_times(&gateway, name, &format!("203.0.113.{number}"));
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    }
    let ready = wait_until("a warning", || {
        let ready = gateway.admin_get("/readyz").text();
        ready.contains("alerts cannot be sent, and wait: mail:").then_some(ready)
    });
    assert_eq!(gateway.admin_get("/readyz").status, 200, "{ready}");
    wait_until("it was tried", || (gateway.metric("alerts_total", r#"outcome="retried""#) >= 1.0).then_some(()));
    server.up();
    let mails = wait_long("3 mails", || Some(server.mails()).filter(|mails| mails.len() >= 3));
    let_pass(Duration::from_millis(500));
    assert_eq!((mails.len(), server.mails().len()), (3, 3));
    let ids: HashSet<String> = mails.iter().map(Mail::id).collect();
    assert_eq!(ids.len(), 3);
    wait_until("no warning", || (!gateway.admin_get("/readyz").text().contains("alerts cannot")).then_some(()));
});

on_both_stores!(a_slow_mail_server_holds_up_no_login_and_no_other_request, |store| {
    let (backend, server) = (backend(), MailServer::start(Spoken::Plain));
    server.order(&json!({"pause": 3}));
    let gateway = guarded(store, "enforce").with_backend(&backend).settings(&server.alerts()).start();
    guess_five_times(&gateway, "bob", STRANGER);
    let begin = Instant::now();
    for number in 0..20 {
        log_in(&mut from(&gateway, OWNER), &format!("user{number}"), "demo").expect(200);
    }
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert_eq!(server.wait_for(1).len(), 1);
});

on_both_stores!(a_recipient_that_is_refused_is_not_tried_again_and_holds_no_other_up, |store| {
    let (backend, server) = (backend(), MailServer::start(Spoken::Plain));
    server.order(&refusing(&["gone@example.com"], &["later@example.com"]));
    let gateway = guarded(store, "enforce")
        .with_backend(&backend)
        .settings(&server.alerts())
        .settings(r#"alerts.high.to = ["gone@example.com", "later@example.com", "ops@example.com"]"#)
        .start();
    guess_five_times(&gateway, "bob", STRANGER);
    assert_eq!(server.wait_for(1)[0].to(), "ops@example.com");
    wait_until("both outcomes", || {
        let count = |outcome: &str| gateway.metric("alerts_total", &format!("outcome=\"{outcome}\""));
        (count("refused") == 1.0 && count("retried") == 1.0).then_some(())
    });
    wait_until("a line with the server's words", || {
        let is_told = |line: &String| line.contains("an alert is refused, and not tried again") && line.contains("550");
        gateway.log().iter().any(is_told).then_some(())
    });
    let_pass(Duration::from_secs(1));
    assert_eq!((server.mails().len(), gateway.metric("alerts_total", r#"outcome="retried""#)), (1, 1.0));
    // What was put off comes when the server takes it.
    server.order(&refusing(&["gone@example.com"], &[]));
    let mails = wait_long("what was put off", || Some(server.mails()).filter(|mails| mails.len() >= 2));
    assert_eq!(mails[1].to(), "later@example.com");
});

#[test]
fn a_server_that_offers_no_tls_or_another_certificate_is_told_nothing() {
    let (backend, plain, tls) = (backend(), MailServer::start(Spoken::Plain), MailServer::start(Spoken::Tls));
    let other = MailServer::start(Spoken::Tls);
    for (settings, why) in [
        (format!("{}ca = \"{}\"\n", plain.alerts(), tls.certificate()), "STARTTLS"),
        (tls.alerts().replace(&tls.certificate(), &other.certificate()), "certificate"),
        (tls.alerts().replace(PASSWORD, "another"), "does not let alerts in"),
    ] {
        let gateway = guarded(Store::Embedded, "enforce").with_backend(&backend).settings(&settings).start();
        guess_five_times(&gateway, "bob", STRANGER);
        wait_until(why, || gateway.admin_get("/readyz").text().contains(why).then_some(()));
        wait_until("a line", || {
            gateway.log().iter().any(|line| line.contains("alerts cannot be sent; they wait")).then_some(())
        });
    }
    assert_eq!((plain.mails().len(), tls.mails().len()), (0, 0));
}

#[test]
fn of_two_gateways_on_one_store_one_sends_each_alert() {
    let (backend, server, store) = (backend(), MailServer::start(Spoken::Plain), Store::redis());
    let start = || guarded(store.clone(), "enforce").with_backend(&backend).settings(&server.alerts()).start();
    let gateways = [start(), start()];
    for number in 0..20 {
        guess_five_times(&gateways[number % 2], &format!("user{number}"), &format!("203.0.113.{number}"));
    }
    server.wait_for(20);
    let_pass(Duration::from_secs(1));
    let ids: Vec<String> = server.mails().iter().map(Mail::id).collect();
    assert_eq!((ids.len(), ids.iter().collect::<HashSet<_>>().len()), (20, 20));
}

on_both_stores!(thousands_of_findings_are_twenty_mails_and_the_rest_waits_for_one, |store| {
    // suspicious_login#867: thousands of mails.
    let (backend, server) = (backend(), MailServer::start(Spoken::Plain));
    let gateway =
        guarded(store, "enforce").with_backend(&backend).settings(&server.alerts()).set("admin.token", TOKEN).start();
    for number in 0..60 {
        guess_five_times(&gateway, &format!("user{number}"), &format!("203.0.113.{number}"));
    }
    server.wait_for(20);
    let_pass(Duration::from_millis(500));
    assert_eq!(server.mails().len(), 20);
});
