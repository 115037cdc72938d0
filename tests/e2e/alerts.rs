//! What was found is told by mail: at once or together, once whatever happens, and never at a request's cost
//! (docs/monitoring.md, "Alerts").

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::login_guard::{TOKEN, backend, from, guarded, guess, log_in};
use crate::on_both_stores;
use crate::support::backend::JSON_LOGIN;
use crate::support::chromium::Chromium;
use crate::support::echo::Echo;
use crate::support::logins::identity;
use crate::support::mail::{Mail, MailServer, PASSWORD, Spoken, refusing};
use crate::support::webhook::{Receiver, SECRET};
use crate::support::{
    Gateway, RedisServer, Store, answer, answer_json, echo, gateway, let_pass, poll, scratch, wait_until,
};

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
    assert_eq!(found["items"][0]["actions"][2], json!({"action": "alert", "done": true}));
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
    assert!(text.contains("Would have been done: lock, notify"), "{text}");
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

#[test]
fn over_tls_too_a_mail_server_that_was_away_gets_what_waited() {
    for spoken in [Spoken::Tls, Spoken::StartTls] {
        let (backend, mut server) = (backend(), MailServer::start(spoken));
        let gateway = guarded(Store::Embedded, "enforce").with_backend(&backend).settings(&server.alerts()).start();
        guess_five_times(&gateway, "bob", STRANGER);
        server.wait_for(1);
        server.down();
        guess_five_times(&gateway, "eve", OWNER);
        wait_until("it was tried", || (gateway.metric("alerts_total", r#"outcome="retried""#) >= 1.0).then_some(()));
        server.up();
        let mails = wait_long("2 mails", || Some(server.mails()).filter(|mails| mails.len() >= 2));
        assert!(mails.iter().all(|mail| mail.at("tls") == &json!(true)));
        assert_ne!(mails[0].id(), mails[1].id());
    }
}

/// The mail as docs/monitoring.md shows it. `WRITE_PICTURES=1` writes it anew.
#[test]
fn a_mail_is_readable_without_anything_from_elsewhere_and_is_what_the_documents_show() {
    let Some(browser) = Chromium::start() else { return };
    let (backend, server, folder) = (backend(), MailServer::start(Spoken::Plain), scratch());
    let gateway = guarded(Store::Embedded, "enforce").with_backend(&backend).settings(&server.alerts()).start();
    guess_five_times(&gateway, "bob", STRANGER);
    let page = folder.path().join("mail.html");
    std::fs::write(&page, server.wait_for(1)[0].parts().1).expect("a page");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/alert-mail.png");
    for (width, height) in [(320, 640), (640, 680)] {
        browser.show_at(width, height, false);
        browser.open(&format!("file://{}", page.display()));
        let fits = "return document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(browser.run(fits), json!(true), "{width}");
        let asked =
            "return performance.getEntriesByType('resource').length + document.images.length + document.links.length";
        assert_eq!(browser.run(asked), json!(0));
    }
    let picture = browser.picture();
    if std::env::var_os("WRITE_PICTURES").is_some() {
        std::fs::write(&file, picture).expect("a picture is written");
    }
    let kept = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert_eq!(kept.get(16..24), Some(&*[u32::to_be_bytes(640), u32::to_be_bytes(680)].concat()));
    assert!(kept.len() < 80 << 10, "{} bytes", kept.len());
}

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

/// Makes findings for which an operator is mailed, and sees that all but twenty wait for one mail.
fn flooded(store: Store, count: usize) {
    let (backend, server) = (backend(), MailServer::start(Spoken::Plain));
    let gateway =
        guarded(store, "enforce").with_backend(&backend).settings(&server.alerts()).set("admin.token", TOKEN).start();
    thread::scope(|scope| {
        for first in 0..8 {
            let gateway = &gateway;
            scope.spawn(move || {
                for number in (first..count).step_by(8) {
                    let address = format!("203.0.{}.{}", number / 250, number % 250);
                    guess_five_times(gateway, &format!("user{number}"), &address);
                }
            });
        }
    });
    server.wait_for(20);
    let waiting = wait_until("all others wait for one", || {
        let waiting = gateway.operator(TOKEN).get("/v1/alerts").expect(200).json();
        (waiting["items"][0]["findings"] == json!(count - 20)).then_some(waiting)
    });
    assert_eq!(waiting["items"].as_array().map(Vec::len), Some(1), "{waiting}");
    assert_eq!(server.mails().len(), 20);
}

on_both_stores!(a_flood_of_findings_is_twenty_mails_and_one_of_the_rest, |store| { flooded(store, 60) });

#[test]
#[ignore = "a minute: suspicious_login#867, where there were thousands of mails"]
fn thousands_of_findings_are_twenty_mails_and_one_of_the_rest() {
    flooded(Store::redis(), 2000);
    flooded(Store::Embedded, 2000);
}

on_both_stores!(a_webhook_is_signed_as_the_reference_library_of_the_specification_verifies, |store| {
    let (backend, receiver) = (backend(), Receiver::start(true));
    let secret = format!("secret = \"{SECRET}\"");
    let gateway =
        guarded(store, "enforce").with_backend(&backend).settings(&receiver.table("standard", &secret)).start();
    guess_five_times(&gateway, "bob", STRANGER);
    let hook = &receiver.wait_for(1)[0];
    assert_eq!((&hook["verified"], &hook["path"]), (&json!(true), &json!("/hooks/standard?key=hidden")));
    assert_eq!(
        (&hook["body"]["type"], &hook["headers"]["content-type"]),
        (&json!("finding.created"), &json!("application/json"))
    );
    let finding = &hook["body"]["data"]["finding"];
    assert_eq!((&finding["type"], &finding["address"]), (&json!("SUSPICIOUS_FAILED_AUTH_ATTEMPTS"), &json!(STRANGER)));
    let kept = gateway.operator(TOKEN).get("/v1/anomalies").expect(200).json();
    assert_eq!((&kept["items"][0]["id"], &kept["items"][0]["evidence"]), (&finding["id"], &finding["evidence"]));
    wait_until("it is counted", || {
        (gateway.metric("alerts_total", r#"{channel="standard",outcome="sent"}"#) == 1.0).then_some(())
    });
    let log = gateway.log().join("\n");
    assert!(!log.contains("hidden") && !log.contains(SECRET), "{log}");
});

#[test]
fn each_format_is_told_and_each_only_of_what_it_asked_for() {
    let (backend, receiver) = (backend(), Receiver::credulous());
    let secret = format!("secret = \"{SECRET}\"");
    let gateway = guarded(Store::Embedded, "observe")
        .with_backend(&backend)
        .settings(&receiver.table("standard", &secret))
        .settings(&receiver.table("slack", ""))
        .settings(&receiver.table("pagerduty", "secret = \"R0UT1NG\"\nseverity = [\"high\"]"))
        .settings(&receiver.table("ocsf", "severity = [\"low\", \"medium\"]"))
        .start();
    guess_five_times(&gateway, "bob", STRANGER);
    let hooks = receiver.wait_for(3);
    let_pass(Duration::from_millis(300));
    assert_eq!(receiver.hooks().len(), 3, "what is high is not told to ocsf");
    let of =
        |format: &str| hooks.iter().find(|hook| hook["path"] == format!("/hooks/{format}?key=hidden")).expect(format);
    assert!(of("slack")["body"]["blocks"].to_string().contains("Only observed"));
    let event = &of("pagerduty")["body"];
    assert_eq!((&event["routing_key"], &event["payload"]["severity"]), (&json!("R0UT1NG"), &json!("critical")));
    assert_eq!(event["dedup_key"], of("pagerduty")["headers"]["webhook-id"]);
    assert_eq!(of("standard")["body"]["data"]["finding"]["observed"], json!(true));
    assert!(
        of("standard")["headers"]["webhook-signature"].is_string()
            && of("slack")["headers"]["webhook-signature"].is_null()
    );
}

on_both_stores!(a_webhook_that_fails_is_told_again_under_the_same_id_and_no_redirect_is_followed, |store| {
    let (backend, receiver, other) = (backend(), Receiver::start(false), Receiver::credulous());
    let secret = format!("secret = \"{SECRET}\"");
    let elsewhere = other.table("x", "").lines().nth(1).expect("a url").replace("url = ", "").replace('"', "");
    receiver.order(&json!({"status": 307, "location": elsewhere}));
    let gateway = guarded(store, "enforce")
        .with_backend(&backend)
        .settings(&receiver.table("standard", &secret))
        .settings("[alerts]\nmax_per_hour = 20")
        .start();
    guess_five_times(&gateway, "bob", STRANGER);
    receiver.wait_for(1);
    wait_until("a warning", || gateway.admin_get("/readyz").text().contains("it answered 307").then_some(()));
    let waiting = wait_until("it is said why", || {
        let waiting = gateway.operator(TOKEN).get("/v1/alerts").expect(200).json();
        (waiting["items"][0]["last_error"] == "it answered 307 Temporary Redirect").then_some(waiting)
    });
    let item = &waiting["items"][0];
    assert_eq!((&item["channel"], &item["findings"]), (&json!("standard"), &json!(1)));
    assert!(!waiting.to_string().contains("hidden"), "{waiting}");
    receiver.order(&json!({}));
    let hooks = wait_long("it is told again", || {
        Some(receiver.hooks()).filter(|hooks| hooks.last().is_some_and(|hook| hook["status"] == 204))
    });
    let ids: HashSet<String> = hooks.iter().map(|hook| hook["headers"]["webhook-id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    assert!(hooks.iter().all(|hook| hook["verified"] == json!(true)) && other.hooks().is_empty());
    wait_until("nothing waits", || {
        (gateway.operator(TOKEN).get("/v1/alerts").expect(200).json()["items"] == json!([])).then_some(())
    });
    // What it will never take is not tried again.
    receiver.order(&json!({"status": 410}));
    guess_five_times(&gateway, "eve", OWNER);
    wait_until("it is refused", || (gateway.metric("alerts_total", r#"outcome="refused""#) == 1.0).then_some(()));
});

#[test]
fn a_detection_finding_is_valid_by_the_published_schema_of_its_class() {
    let (backend, receiver) = (backend(), Receiver::start(false));
    let secret = format!("secret = \"{SECRET}\"");
    let gateway = guarded(Store::Embedded, "enforce")
        .with_backend(&backend)
        .settings(&receiver.table("ocsf", &secret))
        .settings("[monitor.calls]\ncount = 3\naction = [\"throttle\", \"alert\"]")
        .start();
    // One that knows no user, and one that knows a session.
    guess_five_times(&gateway, "bob", STRANGER);
    let mut owner = from(&gateway, OWNER);
    log_in(&mut owner, "mia", "demo").expect(200);
    for _ in 0..4 {
        owner.get("/api/x");
    }
    let hooks = receiver.wait_for(2);
    for hook in &hooks {
        assert_eq!(hook["wrong"], json!(["detection_finding", []]), "{}", hook["body"]);
        assert_eq!(hook["verified"], json!(true));
    }
    let of = |kind: &str| hooks.iter().find(|hook| hook["body"]["finding_info"]["title"] == kind).expect(kind);
    let evidence = &of("SUSPICIOUS_RAPID_API_CALLS")["body"]["evidences"][0];
    assert_eq!((&evidence["actor"]["user"]["uid"], &evidence["src_endpoint"]["ip"]), (&json!("7"), &json!(OWNER)));
    assert_eq!(of("SUSPICIOUS_FAILED_AUTH_ATTEMPTS")["body"]["severity"], "High");
}

#[test]
fn what_a_receiver_says_of_the_path_that_it_was_asked_for_is_shown_to_nobody() {
    let (backend, receiver) = (backend(), Receiver::start(false));
    let secret = format!("secret = \"{SECRET}\"");
    receiver.order(&json!({"hostile": "echo_missing"}));
    let gateway = guarded(Store::Embedded, "enforce")
        .with_backend(&backend)
        .settings(&receiver.table("standard", &secret))
        .start();
    guess_five_times(&gateway, "bob", STRANGER);
    wait_until("a warning", || gateway.admin_get("/readyz").text().contains("it answered 404").then_some(()));
    let waiting = wait_until("it is said why", || {
        let waiting = gateway.operator(TOKEN).get("/v1/alerts").expect(200).json();
        (waiting["items"][0]["last_error"] == "it answered 404 Not Found").then_some(waiting)
    });
    receiver.order(&json!({"hostile": "echo_invalid"}));
    gateway.wait_log(&["an alert is refused", "it answered 422 Unprocessable Entity"]);
    for shown in [waiting.to_string(), gateway.admin_get("/readyz").text(), gateway.log().join("\n")] {
        assert!(!shown.contains("hidden") && !shown.contains("/hooks/"), "{shown}");
    }
}

#[test]
fn hostile_receivers_hold_up_no_login_no_other_receiver_and_lose_nothing() {
    const KINDS: [(&str, &str); 4] = [
        ("endless_head", "cannot be understood"),
        ("drip", "no answer within 8s"),
        ("nothing", "no answer within 8s"),
        ("endless_failure", "it answered 500"),
    ];
    let (backend, good) = (backend(), Receiver::start(true));
    let secret = format!("secret = \"{SECRET}\"");
    let hostile = KINDS.map(|(kind, why)| {
        let receiver = Receiver::start(false);
        receiver.order(&json!({"hostile": kind}));
        (receiver, why)
    });
    let mut builder = guarded(Store::Embedded, "enforce").with_backend(&backend);
    for receiver in hostile.iter().map(|(receiver, _)| receiver).chain([&good]) {
        builder = builder.settings(&receiver.table("standard", &secret));
    }
    let gateway = builder.start();
    let begin = Instant::now();
    guess_five_times(&gateway, "bob", STRANGER);
    good.wait_for(1);
    for number in 0..10 {
        log_in(&mut from(&gateway, OWNER), &format!("user{number}"), "demo").expect(200);
    }
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    for (_, why) in &hostile {
        wait_long(why, || gateway.admin_get("/readyz").text().contains(why).then_some(()));
    }
    // What one says without end is success, if its first words are.
    let (patient, _) = &hostile[0];
    patient.order(&json!({"hostile": "endless_body"}));
    for (receiver, _) in &hostile[1..] {
        receiver.order(&json!({}));
    }
    wait_long("all are told", || {
        let sent = gateway.metric("alerts_total", r#"{channel="standard",outcome="sent"}"#);
        (sent == 5.0).then_some(())
    });
    for (receiver, _) in &hostile {
        let hooks = receiver.hooks();
        let ids: HashSet<String> = hooks.iter().map(|hook| hook["headers"]["webhook-id"].to_string()).collect();
        assert_eq!(ids.len(), 1, "it is told again under the same id");
        assert!(hooks.len() >= 2);
    }
}

on_both_stores!(a_receiver_that_has_enough_is_left_alone_for_as_long_as_it_says, |store| {
    let (backend, receiver) = (backend(), Receiver::start(false));
    let secret = format!("secret = \"{SECRET}\"");
    receiver.order(&json!({"status": 429, "retry_after": 6}));
    let gateway =
        guarded(store, "enforce").with_backend(&backend).settings(&receiver.table("standard", &secret)).start();
    guess_five_times(&gateway, "bob", STRANGER);
    receiver.wait_for(1);
    receiver.order(&json!({}));
    // Nor is it told anything else meanwhile.
    guess_five_times(&gateway, "eve", OWNER);
    let hooks = wait_long("both", || {
        let told = |hooks: &Vec<Value>| hooks.iter().filter(|hook| hook["status"] == 204).count() == 2;
        Some(receiver.hooks()).filter(told)
    });
    assert_eq!(hooks.len(), 3);
    let at = |number: usize| hooks[number]["at"].as_f64().expect("a time");
    assert!((5.9..20.0).contains(&(at(1) - at(0))), "{}", at(1) - at(0));
});

#[test]
fn a_receiver_under_another_name_than_its_certificates_is_told_nothing() {
    let (backend, receiver) = (backend(), Receiver::start(true));
    let table = receiver.table("standard", &format!("secret = \"{SECRET}\""));
    let trusted = format!("ca = \"{}\"\n", receiver.certificate());
    for table in [table.replace("https://localhost", "https://127.0.0.1"), table.replace(&trusted, "")] {
        let gateway = guarded(Store::Embedded, "enforce").with_backend(&backend).settings(&table).start();
        guess_five_times(&gateway, "bob", STRANGER);
        wait_until("a warning", || {
            let ready = gateway.admin_get("/readyz").text();
            (ready.contains("alerts cannot be sent") && ready.contains("certificate")).then_some(())
        });
    }
    assert_eq!(receiver.hooks().len(), 0);
}

on_both_stores!(a_secret_that_is_replaced_signs_from_the_next_reload_on_what_waits_too, |store| {
    const NEXT: &str = "whsec_bmV4dG5leHRuZXh0bmV4dG5leHRuZXh0";
    let (backend, receiver) = (backend(), Receiver::start(false));
    let folder = scratch();
    let file = folder.path().join("secret");
    std::fs::write(&file, NEXT).expect("a file");
    let gateway = guarded(store, "enforce")
        .with_backend(&backend)
        .settings(&receiver.table("standard", &format!("secret_file = \"{}\"", file.display())))
        .start();
    guess_five_times(&gateway, "bob", STRANGER);
    assert_eq!(receiver.wait_for(1)[0]["status"], json!(401), "it knows another secret");
    std::fs::write(&file, SECRET).expect("a file");
    gateway.reload();
    let hooks = wait_long("it is believed", || {
        Some(receiver.hooks()).filter(|hooks| hooks.last().is_some_and(|hook| hook["verified"] == json!(true)))
    });
    let ids: HashSet<String> = hooks.iter().map(|hook| hook["headers"]["webhook-id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    guess_five_times(&gateway, "eve", OWNER);
    wait_until("the next one", || {
        let hooks = receiver.hooks();
        let others = hooks.iter().filter(|hook| !ids.contains(&hook["headers"]["webhook-id"].to_string()));
        (others.map(|hook| &hook["verified"]).collect::<Vec<_>>() == [&json!(true)]).then_some(())
    });
});

/// A backend whose answer to a login has the user's address.
fn backend_with_addresses() -> Echo {
    let backend = echo();
    backend.on_call("/api/login", |seen| {
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        let name = body["username"].as_str().unwrap_or_default();
        match body["password"].as_str() {
            Some("demo") => {
                let mut answer = identity(42, 7);
                answer["user"]["email"] = json!(format!("{name}@users.example"));
                vec![answer_json(&answer)]
            }
            _ => vec![answer("401 Unauthorized", &[], "{}")],
        }
    });
    backend
}

on_both_stores!(a_user_is_told_that_somebody_tried_and_nobody_learns_who_has_an_account, |store| {
    let (backend, server) = (backend_with_addresses(), MailServer::start(Spoken::Plain));
    let gateway = guarded(store, "enforce")
        .with_backend(&backend)
        .settings(&server.alerts())
        .settings("alerts.user_email = \"/user/email\"")
        .start();
    log_in(&mut from(&gateway, OWNER), "bob", "demo").expect(200);
    guess_five_times(&gateway, "Bob", STRANGER);
    guess_five_times(&gateway, "nobody", "203.0.113.1");
    let mails = server.wait_for(3);
    let_pass(Duration::from_millis(500));
    let (users, operators): (Vec<Mail>, Vec<Mail>) =
        server.mails().into_iter().partition(|mail| mail.to() != "ops@example.com");
    assert_eq!((users.len(), operators.len(), mails.len()), (1, 2, 3));
    assert_eq!(users[0].to(), "bob@users.example");
    assert_eq!(users[0].subject(), "Your account at 127.0.0.1: somebody tried to sign in");
    let (text, html) = users[0].parts();
    for part in ["127.0.0.1", STRANGER, "did not get in", "has no link on purpose"] {
        assert!(text.contains(part) && html.contains(part), "{part} in {text}");
    }
    assert!(!html.contains("href") && !text.contains("session-gateway anomalies"), "{html}");
    let kept = gateway.operator(TOKEN).get("/v1/anomalies").expect(200).json();
    let notified: Vec<&Value> =
        kept["items"].as_array().expect("items").iter().map(|item| &item["actions"][1]).collect();
    assert_eq!(notified, [&json!({"action": "notify", "done": false}), &json!({"action": "notify", "done": true})]);
    let everything = [gateway.log(), gateway.audit().iter().map(Value::to_string).collect()].concat().join("\n");
    assert!(!everything.contains("users.example") && !kept.to_string().contains("users.example"));
    assert_eq!(gateway.metric("alerts_total", r#"{channel="user",outcome="sent"}"#), 1.0);
    // An attacker from many places does not bury them in mail. (The twentieth failure locks the account for all but them.)
    for number in 10..13 {
        guess_five_times(&gateway, "bob", &format!("203.0.113.{number}"));
    }
    wait_until("the limit", || {
        (gateway.metric("alerts_total", r#"{channel="user",outcome="limited"}"#) >= 1.0).then_some(())
    });
    let to_bob = || server.mails().iter().filter(|mail| mail.to() == "bob@users.example").count();
    wait_until("three mails", || (to_bob() == 3).then_some(()));
});

on_both_stores!(a_user_is_told_that_somebody_signed_in_after_guesses_at_the_address_of_the_login_alone, |store| {
    let (backend, server) = (backend_with_addresses(), MailServer::start(Spoken::Plain));
    let gateway = guarded(store, "enforce")
        .with_backend(&backend)
        .settings(&server.alerts())
        .settings("alerts.user_email = \"/user/email\"\nmonitor.failed_logins.action = \"record\"")
        .settings("[monitor.guessed_login]\naction = [\"notify\"]")
        .start();
    log_in(&mut from(&gateway, OWNER), "bob", "demo").expect(200);
    guess_five_times(&gateway, "bob", STRANGER);
    // Who comes in names another address, and the backend's answer has the user's.
    let login = json!({"username": "bob", "password": "demo", "contact": "eve@elsewhere.example"});
    from(&gateway, "203.0.113.9").post_json("/api/login", &login).expect(200);
    let mails = server.wait_for(1);
    assert_eq!((mails.len(), mails[0].to()), (1, "bob@users.example"));
    assert_eq!(mails[0].subject(), "Your account at 127.0.0.1: somebody signed in");
    let (text, html) = mails[0].parts();
    for part in ["signed in", "203.0.113.9", "127.0.0.1"] {
        assert!(text.contains(part) && html.contains(part), "{part} in {text}");
    }
    assert!(!html.contains("http") && !text.contains("http") && !html.contains("elsewhere.example"), "{html}");
});

#[test]
fn in_mode_observe_no_user_is_told_anything() {
    let (backend, server) = (backend_with_addresses(), MailServer::start(Spoken::Plain));
    let gateway = guarded(Store::Embedded, "observe")
        .with_backend(&backend)
        .settings(&server.alerts())
        .settings("alerts.user_email = \"/user/email\"")
        .start();
    log_in(&mut from(&gateway, OWNER), "bob", "demo").expect(200);
    guess_five_times(&gateway, "bob", STRANGER);
    assert_eq!(server.wait_for(1)[0].to(), "ops@example.com");
    let_pass(Duration::from_millis(500));
    assert_eq!(server.mails().len(), 1);
}

#[test]
fn no_address_of_a_user_stands_readable_in_the_store() {
    let (backend, mut server, mut redis) =
        (backend_with_addresses(), MailServer::start(Spoken::Plain), RedisServer::start());
    let gateway = guarded(Store::on(&redis), "enforce")
        .with_backend(&backend)
        .settings(&server.alerts())
        .settings("alerts.user_email = \"/user/email\"")
        .start();
    log_in(&mut from(&gateway, OWNER), "bob", "demo").expect(200);
    server.down();
    guess_five_times(&gateway, "bob", STRANGER);
    wait_until("both wait", || {
        let waiting = gateway.operator(TOKEN).get("/v1/alerts").expect(200).json();
        let items = waiting["items"].as_array().expect("items").clone();
        let of_user = items.iter().find(|item| item["channel"] == "user")?;
        assert_eq!(of_user["to"], Value::Null);
        (items.len() == 2).then_some(())
    });
    redis.kill();
    let data = redis.remember();
    let files = walk(data.path());
    assert!(files.iter().any(|bytes| contains(bytes, b"m:e:{")), "contacts are there");
    assert!(!files.iter().any(|bytes| contains(bytes, b"users.example")));
}

fn walk(folder: &Path) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let read = |path: PathBuf| if path.is_dir() { walk(&path) } else { vec![std::fs::read(path).expect("a file")] };
    entries.flat_map(read).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Kills a gateway at some moment of each round, and sees that each finding that was kept is told, and that what came twice
/// has one id. Answers how many findings there were, and how many mails came again.
fn killed(store: &Store, rounds: usize) -> (usize, usize) {
    let (backend, server) = (backend(), MailServer::start(Spoken::Plain));
    let start = || {
        guarded(store.clone(), "enforce")
            .with_backend(&backend)
            .settings(&server.alerts())
            .settings("alerts.max_per_hour = 1000")
    };
    // Between having a mail and saying so there is time to die.
    server.order(&json!({"hesitate": 0.08}));
    let mut gateway = start().start();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for round in 0..rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (address, name) = (format!("203.0.{}.{}", round / 250, round % 250), format!("user{round}"));
        for _ in 0..4 {
            guess(&gateway, &address, &name).expect(401);
        }
        let mut browser = from(&gateway, &address);
        let last = thread::spawn(move || {
            let guess = json!({"username": name, "password": "wrong"});
            // It is cut off.
            let _ = browser.request("POST", "/api/login").json(&guess).try_send();
        });
        thread::sleep(Duration::from_micros(random % 300_000));
        gateway.crash_and_restart();
        last.join().expect("it ends");
    }
    let kept = || {
        let page = gateway.operator(TOKEN).get("/v1/anomalies?limit=1000").expect(200).json();
        let items = page["items"].as_array().expect("items").clone();
        items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect::<HashSet<String>>()
    };
    let told = || server.mails().iter().map(Mail::id).collect::<Vec<String>>();
    let finding = |id: &String| id.trim_start_matches('<').split('_').next().expect("a finding").to_owned();
    let (kept, told) = poll(Duration::from_secs(90), || {
        let (kept, told) = (kept(), told());
        let findings: HashSet<String> = told.iter().map(finding).collect();
        let waiting = gateway.operator(TOKEN).get("/v1/alerts").expect(200).json();
        (kept == findings && waiting["items"] == json!([])).then_some((kept, told))
    })
    .unwrap_or_else(|| panic!("{} of {:?} are told", told().len(), kept()));
    let different: HashSet<&String> = told.iter().collect();
    assert_eq!(different.len(), kept.len(), "what came twice has one id");
    (kept.len(), told.len() - different.len())
}

on_both_stores!(a_gateway_that_is_killed_again_and_again_loses_no_alert, |store| {
    let (findings, again) = killed(&store, 6);
    assert!(again <= findings, "{again} of {findings}");
});

#[test]
#[ignore = "some minutes: prints what came of a hundred kills"]
fn a_hundred_kills_lose_no_alert() {
    for (name, store) in [("redis", Store::redis()), ("embedded", Store::Embedded)] {
        let (findings, again) = killed(&store, 100);
        assert!(findings >= 20, "{findings}");
        println!("{name}: 100 kills, {findings} findings kept, all told; {again} mails came again under the same id");
    }
}

/// From the act to the mail handed over, sorted (s). Each with an account and a network of its own.
fn delays(store: Store, count: usize) -> Vec<f64> {
    let (backend, server) = (backend(), MailServer::start(Spoken::Tls));
    let gateway = guarded(store, "enforce")
        .with_backend(&backend)
        .settings(&server.alerts())
        .settings("alerts.max_per_hour = 1000")
        .start();
    let mut acts = Vec::new();
    for number in 0..count {
        let (name, address) = (format!("user{number}"), format!("203.0.{}.{}", number / 250, number % 250));
        for _ in 0..4 {
            guess(&gateway, &address, &name).expect(401);
        }
        acts.push((address.clone(), unix_seconds()));
        guess(&gateway, &address, &name).expect(401);
    }
    let mails = wait_long("all mails", || Some(server.mails()).filter(|mails| mails.len() >= count));
    let mut delays: Vec<f64> = mails
        .iter()
        .map(|mail| {
            let (text, _) = mail.parts();
            let (_, act) =
                acts.iter().find(|(address, _)| text.split_whitespace().any(|word| word == address)).expect("its act");
            mail.at("at").as_f64().expect("a time") - act
        })
        .collect();
    delays.sort_by(f64::total_cmp);
    delays
}

fn unix_seconds() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

on_both_stores!(from_the_act_to_the_mail_handed_over_it_takes_less_than_two_seconds, |store| {
    let delays = delays(store, 10);
    assert!(delays.iter().all(|delay| *delay < 2.0), "{delays:?}");
});

#[test]
#[ignore = "a minute: prints how long alerts take"]
fn how_long_alerts_take_from_the_act_to_the_mail() {
    for (name, store) in [("redis", Store::redis()), ("embedded", Store::Embedded)] {
        let delays = delays(store, 300);
        // The nearest rank.
        let at = |percent: usize| delays[(delays.len() * percent).div_ceil(100).clamp(1, delays.len()) - 1] * 1000.0;
        println!("{name}: {} alerts, p50 {:.0} ms, p99 {:.0} ms, most {:.0} ms", delays.len(), at(50), at(99), at(100));
        assert!(at(99) <= 2000.0);
    }
}

#[test]
fn whoever_sets_alerts_up_can_try_them_before_they_are_needed() {
    let (mut server, receiver) = (MailServer::start(Spoken::Tls), Receiver::start(true));
    let secret = format!("secret = \"{SECRET}\"");
    let configured = || {
        gateway(Store::Embedded)
            .set("upstream.url", "http://127.0.0.1:9")
            .settings(JSON_LOGIN)
            .settings(&server.alerts())
            .settings("alerts.low.to = [\"night@example.com\"]")
            .settings(&receiver.table("standard", &secret))
    };
    let run = |arguments: &[&str], settings: &str| {
        let (mut command, folder) = configured().settings(settings).command();
        let output = command.args(arguments).args(["--config", "gateway.toml"]).output().expect("it runs");
        drop(folder);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, _) = run(&["alerts", "test"], "");
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.contains("ops@example.com: sent (250 OK)") && out.contains("night@example.com: sent (250 OK)"),
        "{out}"
    );
    let of_webhook = out.lines().find(|line| line.starts_with("standard at https://localhost"));
    assert!(of_webhook.is_some_and(|line| line.ends_with("sent (204 No Content)")), "{out}");
    assert!(!out.contains("hidden"), "{out}");
    let mails = server.mails();
    assert_eq!((mails.len(), mails[0].subject()), (2, String::from("Security Notice: TEST_ALERT")));
    assert!(mails[0].parts().0.contains("Nothing was found"));
    assert_eq!(receiver.hooks()[0]["verified"], json!(true));
    let (_, out, _) = run(&["check", "--connect"], "");
    assert!(
        out.contains("connected, it lets its user in") && out.contains("webhook standard at https://localhost"),
        "{out}"
    );
    let (_, _, err) = run(&["check", "--connect"], "alerts.smtp_password = \"wrong\"");
    assert!(err.contains("does not let alerts in"), "{err}");
    // Of several one that fails is enough, and the others are told all the same.
    receiver.order(&json!({"status": 503}));
    let (code, out, err) = run(&["alerts", "test"], "");
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("ops@example.com: sent") && err.contains("it answered 503 Service Unavailable"), "{out}{err}");
    let settings = server.alerts();
    server.down();
    let (mut command, _folder) = gateway(Store::Embedded)
        .set("upstream.url", "http://127.0.0.1:9")
        .settings(JSON_LOGIN)
        .settings(&settings)
        .command();
    let output = command.args(["alerts", "test", "--config", "gateway.toml"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let (mut command, _folder) =
        gateway(Store::Embedded).set("upstream.url", "http://127.0.0.1:9").settings(JSON_LOGIN).command();
    let output = command.args(["alerts", "test", "--config", "gateway.toml"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "nobody is named: {output:?}");
}
