//! The operator commands: the real binary as client of a real gateway, with a terminal and without.

use std::io::BufRead as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::on_both_stores;
use crate::support::gateway::{Builder, write_certificate};
use crate::support::logins::identity;
use crate::support::python::python;
use crate::support::{Browser, Gateway, RedisServer, Store, echo, gateway, wait_until};

const TOKEN: &str = "d8sLhq3Bz0eWkzv1mYt7XcR2uNfJ5aGoPQiKx9HsVbE";
/// Runs a command on a terminal, answers its question, and ends as it does.
const TERMINAL: &str = r#"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
shown, answered = b"", False
while True:
    try:
        part = os.read(terminal, 4096)
    except OSError:
        break
    if not part:
        break
    shown += part
    if b"[y/N]" in shown and not answered:
        answered = True
        os.write(terminal, sys.argv[1].encode() + b"\n")
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

fn with_operator(store: Store) -> Builder {
    gateway(store).set("admin.token", TOKEN)
}

/// Runs a command with the gateway's own configuration.
fn run(gateway: &Gateway, arguments: &[&str]) -> Output {
    gateway.run(&[arguments, &["--config", "gateway.toml"]].concat())
}

#[track_caller]
fn fine(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = run(gateway, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[track_caller]
fn json_of(gateway: &Gateway, arguments: &[&str]) -> Value {
    serde_json::from_str(&fine(gateway, &[arguments, &["--json"]].concat())).expect("one JSON document")
}

#[track_caller]
fn assert_fails(output: &Output, code: i32, expected: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(expected) && said.trim_end().lines().count() == 1, "{expected:?} in {said}");
    assert!(!said.contains(TOKEN), "{said}");
}

/// Runs a command on a terminal whose user answers; the exit code and what was shown.
fn on_a_terminal(gateway: &Gateway, answer: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let command = gateway.command(arguments);
    let output = Command::new(python("python3"))
        .current_dir(gateway.directory())
        .args(["-c", TERMINAL, answer])
        .arg(command.get_program())
        .args(arguments)
        .args(["--config", "gateway.toml"])
        .stdin(Stdio::null())
        .output()
        .expect("python runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ids(list: &Value) -> Vec<String> {
    let id = |item: &Value| item["id"].as_str().expect("an id").to_owned();
    list["items"].as_array().expect("items").iter().map(id).collect()
}

#[track_caller]
fn assert_ended(browser: &Browser) {
    assert_eq!(browser.clone().get("/x").expect(401).json()["error_code"], "session_revoked");
}

on_both_stores!(an_operator_lists_shows_and_ends_sessions_from_the_command_line, |store| {
    let backend = echo();
    let gateway = with_operator(store).with_backend(&backend).start();
    assert_eq!(fine(&gateway, &["sessions", "list"]), "no live sessions\n");
    let one = gateway.logged_in("42", "1");
    let twos: Vec<_> = (0..3).map(|_| gateway.logged_in("42", "2")).collect();
    let mut other = gateway.logged_in("43", "1");

    let table = fine(&gateway, &["sessions", "list"]);
    assert_eq!(table.lines().count(), 6, "{table}");
    assert!(table.starts_with("ID                      TENANT  USER  ROLE  CREATED"), "{table}");
    let id = ids(&json_of(&gateway, &["sessions", "list", "--tenant", "42", "--user", "1"])).remove(0);
    assert!(fine(&gateway, &["sessions", "show", &id]).contains(&id));
    assert_eq!(json_of(&gateway, &["sessions", "show", &id])["tenant"], "42");
    let cut = run(&gateway, &["sessions", "list", "--limit", "2", "--json"]);
    assert!(String::from_utf8_lossy(&cut.stderr).contains("more than 2"), "{cut:?}");

    assert_eq!(
        fine(&gateway, &["sessions", "revoke", &id, "--reason", "lost laptop"]),
        format!("session {id} ended\n")
    );
    assert_ended(&one);
    assert_fails(&run(&gateway, &["sessions", "revoke", &id]), 1, "not found");
    assert_fails(&run(&gateway, &["sessions", "show", &id]), 1, "not found");
    let event =
        gateway.wait_audit("admin.called", |event| event["reason"] == "lost laptop" && event["outcome"] == "success");
    assert_eq!(event["actor"], "operator:admin");

    let kept = ids(&json_of(&gateway, &["users", "sessions", "42", "2"])).remove(0);
    let command = ["users", "revoke", "42", "2", "--except", &kept];
    assert_fails(&run(&gateway, &command), 2, "--yes");
    let (code, said) = on_a_terminal(&gateway, "n", &command);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("user 2 of tenant 42: 2 live sessions end. Go on? [y/N]") && said.contains("nothing was done")
    );
    assert_eq!(ids(&json_of(&gateway, &["users", "sessions", "42", "2"])).len(), 3);
    let (code, said) = on_a_terminal(&gateway, "y", &command);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("user 2 of tenant 42: 2 sessions ended"), "{said}");
    assert_eq!(ids(&json_of(&gateway, &["users", "sessions", "42", "2"])), [kept]);
    assert_eq!(json_of(&gateway, &["users", "revoke", "42", "2", "--yes"])["invalidated_sessions"], 1);
    twos.iter().for_each(assert_ended);
    other.get("/x").expect(200);
});

on_both_stores!(an_operator_logs_everybody_out_after_a_question, |store| {
    let backend = echo();
    let gateway = with_operator(store).with_backend(&backend).start();
    let mut browsers: Vec<Browser> =
        [("1", "7"), ("1", "8"), ("2", "7")].map(|(tenant, user)| gateway.logged_in(tenant, user)).into();
    let (code, said) = on_a_terminal(&gateway, "n", &["sessions", "revoke-all", "--reason", "incident 5"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("end all sessions of all 2 tenants: 3 live sessions end"), "{said}");
    browsers.iter_mut().for_each(|browser| drop(browser.get("/x").expect(200)));
    assert_fails(&run(&gateway, &["sessions", "revoke-all"]), 2, "say --yes");
    let answer = json_of(&gateway, &["sessions", "revoke-all", "--yes", "--reason", "incident 5"]);
    assert_eq!(answer, json!({ "invalidated_sessions": 3, "pending": false, "tenants": 2 }));
    for browser in &mut browsers {
        browser.get("/x").expect_refusal(401, "session_revoked");
    }
    gateway.logged_in("1", "7").get("/x").expect(200);
    let event = gateway.wait_audit("session.ended", |event| event["tenant"] == "2");
    assert_eq!(event["details"]["words"], "incident 5");
});

#[test]
fn a_reader_that_goes_away_is_no_error_to_speak_of() {
    let backend = echo();
    let gateway = with_operator(Store::Embedded).with_backend(&backend).start();
    (0..200).for_each(|user| drop(gateway.logged_in("1", &user.to_string())));
    let listed = ["sessions list", "sessions list --json", "audit query", "audit export", "audit export --format csv"];
    for command in listed {
        let program = gateway.command(&[]).get_program().to_owned();
        let line = format!("{} {command} --config gateway.toml | head -n 1", program.to_string_lossy());
        let output = Command::new("bash").args(["-c", &line]).current_dir(gateway.directory()).output().expect("bash");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command}");
        assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1, "{command}");
    }
}

on_both_stores!(an_operator_shuts_a_tenant_out_and_lets_it_in_from_the_command_line, |store| {
    let backend = echo();
    let gateway = with_operator(store).with_backend(&backend).start();
    let before = [gateway.logged_in("42", "1"), gateway.logged_in("42", "2")];
    let (code, said) = on_a_terminal(&gateway, "", &["tenants", "suspend", "42"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("suspend tenant 42: 2 live sessions end. Go on?"), "{said}");
    before[0].clone().get("/x").expect(200);
    let (code, said) = on_a_terminal(&gateway, "yes", &["tenants", "suspend", "42", "--reason", "unpaid"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("tenant 42 is suspended: 2 sessions ended"), "{said}");
    before.iter().for_each(assert_ended);
    assert_eq!(
        gateway.browser().log_in_with(&identity("42", "1")).expect(403).json()["error_code"],
        "tenant_suspended"
    );
    let shown = json_of(&gateway, &["tenants", "show", "42"]);
    assert_eq!((&shown["status"], &shown["reason"]), (&json!("suspended"), &json!("unpaid")));
    assert!(fine(&gateway, &["tenants", "list"]).contains("42      suspended  0         "));
    // It ends nothing, so nobody is asked.
    assert_eq!(fine(&gateway, &["tenants", "restore", "42"]), "tenant 42 is active: 0 sessions ended\n");
    let back = gateway.logged_in("42", "1");
    assert_eq!(json_of(&gateway, &["tenants", "revoke", "42", "--yes"])["invalidated_sessions"], 1);
    assert_ended(&back);
    assert_fails(&run(&gateway, &["tenants", "delete", "42"]), 2, "--yes");
    assert_eq!(json_of(&gateway, &["tenants", "delete", "42", "--yes"])["status"], "deleted");
    assert_eq!(json_of(&gateway, &["tenants", "list"])["items"][0]["status"], "deleted");
});

on_both_stores!(an_operator_queries_exports_and_follows_the_audit_log, |store| {
    let backend = echo();
    let gateway = with_operator(store).with_backend(&backend).start();
    gateway.logged_in("42", "1");
    gateway.logged_in("43", "1");
    gateway.wait_audit("session.created", |event| event["tenant"] == "43");
    let created = ["audit", "query", "--type", "session.created", "--since", "15m"];
    wait_until("both events", || {
        (json_of(&gateway, &created)["items"].as_array().map(Vec::len) == Some(2)).then_some(())
    });
    let one = json_of(&gateway, &["audit", "query", "--tenant", "42", "--user", "1", "--type", "session.created"]);
    assert_eq!(one["items"].as_array().map(Vec::len), Some(1));
    assert!(fine(&gateway, &created).lines().next().expect("a heading").starts_with("TIME                  TYPE"));
    assert_eq!(fine(&gateway, &["audit", "query", "--until", "1h"]), "no such events\n");
    let nonsense = run(&gateway, &["audit", "query", "--type", "nonsense"]);
    assert_eq!(nonsense.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nonsense.stderr).contains("session.ended"), "the known types are named");
    assert_eq!(run(&gateway, &["audit", "query", "--since", "yesterday"]).status.code(), Some(2));

    let lines = fine(&gateway, &["audit", "export", "--type", "session.created"]);
    assert!(lines.lines().count() == 2 && lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    let table = fine(&gateway, &["audit", "export", "--type", "session.created", "--format", "csv"]);
    assert!(table.starts_with("time,type,outcome,tenant,user,session_id,") && table.lines().count() == 3, "{table}");

    let follow = ["audit", "tail", "-f", "--json", "--limit", "1", "--type", "session.created"];
    let mut tail =
        gateway.command(&follow).args(["--config", "gateway.toml"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut lines = std::io::BufReader::new(tail.stdout.take().expect("piped")).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().expect("a line").expect("text")).expect("JSON");
    assert_eq!(next()["tenant"], "43");
    for tenant in ["44", "45"] {
        gateway.logged_in(tenant, "1");
        assert_eq!(next()["tenant"], tenant);
    }
    tail.kill().expect("it still runs");
    tail.wait().expect("it ends");
});

#[test]
fn each_failure_is_one_line_and_its_exit_code() {
    let (mut server, backend) = (RedisServer::start(), echo());
    let mut gateway = gateway(Store::on(&server))
        .settings(&format!(
            "[[admin.tokens]]\nname = \"looks\"\ntoken = \"{TOKEN}\"\nroles = [\"read\"]\n\
             [[admin.tokens]]\nname = \"acts\"\ntoken = \"{TOKEN}-2\"\nroles = [\"operate\"]\n"
        ))
        .with_backend(&backend)
        .start();
    gateway.logged_in("42", "1");
    let with_token = |token: &str, arguments: &[&str]| {
        let mut command = gateway.command(arguments);
        command.args(["--config", "gateway.toml"]).env("SESSION_GATEWAY_ADMIN_TOKEN", token);
        command.stdin(Stdio::null()).output().expect("it runs")
    };
    // Each command finds the token that may.
    fine(&gateway, &["sessions", "list"]);
    fine(&gateway, &["tenants", "restore", "43"]);
    let (code, said) = on_a_terminal(&gateway, "n", &["tenants", "revoke", "42"]);
    assert!(code == Some(1) && said.contains("an unknown number of sessions ends"), "{said}");
    assert_fails(&with_token("wrong", &["sessions", "list"]), 1, "does not know the token (401)");
    assert_fails(&with_token(&format!("{TOKEN}-2"), &["sessions", "list"]), 1, "refused (403)");
    assert_fails(&with_token(TOKEN, &["tenants", "revoke", "42", "--yes"]), 1, "refused (403)");
    assert_fails(
        &run(&gateway, &["sessions", "list", "--token-file", "/nowhere/t"]),
        2,
        "--token-file names a file that cannot be used: No such file",
    );
    assert_fails(&run(&gateway, &["sessions", "list", "--url", "http://192.0.2.1:1"]), 2, "in the clear");
    assert_fails(&run(&gateway, &["sessions", "list", "--url", "http://127.0.0.1:1"]), 1, "cannot be reached");
    server.kill();
    gateway.wait_unready();
    assert_fails(&run(&gateway, &["sessions", "list"]), 1, "failed (503)");
    gateway.process().stop();
    assert_fails(&run(&gateway, &["sessions", "list"]), 1, "is the gateway running");

    let (mut command, _scratch) = crate::support::gateway(Store::Embedded).with_backend(&backend).command();
    let output = command.args(["sessions", "list", "--config", "gateway.toml"]).output().expect("it runs");
    assert_fails(&output, 2, "there is no token for the admin API");
}

#[test]
fn operators_call_over_https_and_only_whom_they_trust() {
    let backend = echo();
    let builder = with_operator(Store::Embedded).with_backend(&backend);
    write_certificate(builder.directory(), "admin", &["localhost"]);
    let gateway = builder.settings("admin.tls = { cert = \"admin.crt\", key = \"admin.key\" }").start_without_waiting();
    let url = format!("https://localhost:{}", gateway.admin_address().port());
    let list = ["sessions", "list", "--url", &url, "--ca", "admin.crt"];
    wait_until("an answer over https", || run(&gateway, &list).status.success().then_some(()));
    fine(&gateway, &list);
    // The configuration has an address, which is not what the certificate is for.
    assert_fails(&run(&gateway, &["sessions", "list", "--ca", "admin.crt"]), 1, "--url names another");
    write_certificate(gateway.directory(), "other", &["localhost"]);
    assert_fails(&run(&gateway, &["sessions", "list", "--url", &url, "--ca", "other.crt"]), 1, "--ca");
}
