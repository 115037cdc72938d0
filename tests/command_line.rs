//! The command line as an operator meets it: the real binary, its exit codes, and what it writes where.

#![expect(clippy::expect_used, reason = "a test fails by panicking, also in its helpers")]

use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str], variables: &[(&str, &Path)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_session-gateway"))
        .args(arguments)
        .env_remove("SESSION_GATEWAY_CONFIG")
        .envs(variables.iter().copied())
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), content).expect("written");
    file
}

#[test]
fn keygen_prints_a_key_and_nothing_else() {
    let output = run(&["keygen"], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout).trim_end_matches('\n').len(), 43);
    assert_eq!(text(&output.stdout).lines().count(), 1);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn keygen_prints_a_key_that_signs_and_nothing_else() {
    let output = run(&["keygen", "--signing"], &[]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let key = session_gateway::signed::SigningKey::from_pem(&output.stdout).expect("a key");
    assert_eq!(key.kid().len(), 43);
    assert_ne!(output.stdout, run(&["keygen", "--signing"], &[]).stdout);
}

#[test]
fn check_reads_the_file_that_the_flag_names_else_the_environment_else_the_documented_one() {
    let minimal = Path::new("config/minimal.toml");
    for (arguments, variables, first) in [
        (&["check", "--config", "config/minimal.toml"][..], &[][..], "config/minimal.toml: ok"),
        (&["check"], &[("SESSION_GATEWAY_CONFIG", minimal)], "config/minimal.toml: ok"),
        (
            &["check", "--config", "config/gateway.toml"],
            &[("SESSION_GATEWAY_CONFIG", minimal)],
            "config/gateway.toml: ok",
        ),
        (&["check"], &[], "config/gateway.toml: ok"),
    ] {
        let output = run(arguments, variables);
        assert_eq!(text(&output.stdout).lines().next(), Some(first), "{}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn a_bad_configuration_is_2_with_every_error_on_standard_error() {
    let bad = file(
        "[server]\npublic_url = \"http://a.test\"\nlisten = 1\n[upstream]\nurl = \"http://b\"\n[store]\nembeded = \"s\"\n",
    );
    let name = bad.path().display().to_string();
    let output = run(&["check", "--config", &name], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "");
    let told = text(&output.stderr);
    let lines: Vec<&str> = told.lines().map(|line| line.strip_prefix(&name).unwrap_or(line)).collect();
    assert!(
        matches!(lines.as_slice(), [one, two, three, four]
            if one.starts_with(":2: server.public_url: is not https")
                && two.starts_with(":3: server.listen: is an integer")
                && three.starts_with(":6: store.redis: is missing")
                && four.starts_with(":7: store.embeded: is not a known key; did you mean `embedded`?")),
        "{told}"
    );
    assert_eq!(run(&["check", "--config", "/nowhere/x.toml"], &[]).status.code(), Some(2));
}

#[test]
fn bad_usage_is_2_and_help_is_0() {
    for (arguments, code) in [
        (&["serv"][..], 2),
        (&["check", "--conect"], 2),
        (&["keygen", "--config", "x"], 2),
        (&["--help"], 0),
        (&["--version"], 0),
    ] {
        assert_eq!(run(arguments, &[]).status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn a_peer_that_does_not_answer_fails_the_check_with_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let unreachable = file(&format!(
        "[server]\npublic_url = \"https://a.test\"\n[upstream]\nurl = \"unix:/nowhere/app.sock\"\n\
         [store]\nembedded = \"{}\"\n",
        folder.path().join("s").display()
    ));
    let output = run(&["check", "--connect", "--config", &unreachable.path().display().to_string()], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("upstream default at unix:/nowhere/app.sock: No such file"));
}

#[test]
fn a_check_says_what_it_found_to_programs_and_strictly_fails_on_warnings() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let text_of = |more: &str| {
        format!(
            "[server]\npublic_url = \"https://a.test\"\nlisten = \"127.0.0.1:0\"\n\
             max_connections = 100\n{more}[upstream]\nurl = \"unix:/nowhere/app.sock\"\n\
             [store]\nembedded = \"{}\"\n[audit]\nfile = \"{}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n",
            at("sessions.redb"),
            at("audit.jsonl"),
        )
    };
    let (good, warned) = (file(&text_of("")), file(&text_of("hosts = [\"*\"]\n")));
    let check = |file: &tempfile::NamedTempFile, more: &[&str]| {
        let path = file.path().display().to_string();
        run(&[&["check", "--config", &path], more].concat(), &[])
    };
    let json = |output: &Output| -> serde_json::Value {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    assert_eq!(check(&good, &["--strict"]).status.code(), Some(0));
    assert_eq!(check(&warned, &[]).status.code(), Some(0));
    assert_eq!(check(&warned, &["--strict"]).status.code(), Some(2));
    let said = check(&warned, &["--json", "--connect"]);
    assert_eq!((said.status.code(), text(&said.stderr)), (Some(1), String::new()), "the app is not there");
    let found = json(&said);
    assert!(found["warnings"][0].as_str().is_some_and(|warning| warning.contains("answers for every host")), "{found}");
    let trials = found["trials"].as_array().expect("a list");
    let of = |what: &str| {
        let trial = trials.iter().find(|trial| trial["what"].as_str().is_some_and(|found| found.starts_with(what)));
        trial.map_or_else(|| panic!("{what} in {found}"), |trial| trial["outcome"].clone())
    };
    for what in ["port 127.0.0.1:0", "audit.file", "store.embedded", "spool of upstream default", "store embedded"] {
        assert_eq!(of(what), "fine", "{what}");
    }
    assert_eq!(of("upstream default at unix:"), "failed");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "a check makes nothing");
    let bad = file("[server]\nlisten = 1\n");
    let said = check(&bad, &["--json"]);
    assert_eq!(said.status.code(), Some(2));
    let found = json(&said);
    let errors = found["errors"].as_array().expect("a list");
    assert!(errors.iter().any(|error| error["key"] == "server.listen" && error["line"] == 2), "{found}");
}

/// Presses Ctrl-C at the question for a password, and says whether the terminal shows what is typed after that.
const INTERRUPTED: &str = r#"
import os, pty, signal, sys, termios, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown = b""
while b"Password" not in shown:
    shown += os.read(terminal, 4096)
hidden = not termios.tcgetattr(terminal)[3] & termios.ECHO
os.write(terminal, b"\x03")
os.waitpid(pid, 0)
print("hidden" if hidden else "shown", "restored" if termios.tcgetattr(terminal)[3] & termios.ECHO else "left so")
"#;

#[test]
fn ctrl_c_at_a_password_leaves_the_terminal_as_it_was() {
    let output = Command::new("timeout")
        .args(["20", "python3", "-c", INTERRUPTED, env!("CARGO_BIN_EXE_session-gateway")])
        .args(["probe-login", "--config", "config/minimal.toml"])
        .output()
        .expect("python runs");
    assert_eq!(text(&output.stdout).trim_end(), "hidden restored", "{}", text(&output.stderr));
}

#[test]
fn a_shell_completes_commands_with_the_script_that_is_printed_for_it() {
    let output = run(&["completions", "bash"], &[]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let script = file(&text(&output.stdout));
    let completes = |words: &str, expected: &str| {
        let ask = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             $(complete -p session-gateway | grep -o '_session[^ ]*') session-gateway \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[*]}}\"",
            script.path().display()
        );
        let asked = Command::new("bash").args(["--norc", "-c", &ask]).output().expect("bash runs");
        assert_eq!(text(&asked.stdout).trim_end(), expected, "{words}: {}", text(&asked.stderr));
    };
    completes("session-gateway prob", "probe-login");
    completes("session-gateway check --conn", "--connect");
    completes("session-gateway users rev", "revoke");
    completes("session-gateway tenants susp", "suspend");
    completes("session-gateway alerts te", "test");
    completes("session-gateway repo", "report");
    completes("session-gateway report --since 7d --format ht", "html");
    completes("session-gateway audit export --for", "--format");
    completes(
        "session-gateway audit query --type session.",
        "session.created session.ended session.held session.released session.rejected",
    );
    for (shell, first) in [("zsh", "#compdef session-gateway"), ("fish", "#"), ("elvish", "\n"), ("powershell", "\n")] {
        let output = run(&["completions", shell], &[]);
        let script = text(&output.stdout);
        assert!(output.status.success() && script.starts_with(first) && script.contains("probe-login"), "{shell}");
    }
    assert_eq!(run(&["completions", "cmd"], &[]).status.code(), Some(2));
}

#[test]
fn the_manual_has_a_page_for_the_program_and_one_for_each_command() {
    let output = run(&["manual"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let page = text(&output.stdout);
    for part in [".TH session-gateway 1", ".SH \"EXIT STATUS\"", "SIGHUP", "session\\-gateway\\-check(1)"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path().display().to_string();
    assert_eq!(run(&["manual", "--directory", &here], &[]).status.code(), Some(0));
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
    assert_eq!(read("session-gateway.1"), page);
    assert!(read("session-gateway-check.1").contains("\\-\\-connect"));
    for (command, part) in [
        ("sessions-list", "\\-\\-tenant"),
        ("sessions-show", "\\-\\-json"),
        ("sessions-revoke", "\\-\\-reason"),
        ("users-sessions", "\\-\\-limit"),
        ("users-revoke", "\\-\\-except"),
        ("tenants-list", "\\-\\-limit"),
        ("report", "\\-\\-until"),
        ("tenants-show", "\\-\\-json"),
        ("tenants-suspend", "\\-\\-yes"),
        ("tenants-delete", "\\-\\-yes"),
        ("tenants-restore", "\\-\\-reason"),
        ("tenants-revoke", "\\-\\-yes"),
        ("audit-query", "\\-\\-since"),
        ("audit-tail", "\\-\\-follow"),
        ("audit-export", "\\-\\-format"),
    ] {
        assert!(read(&format!("session-gateway-{command}.1")).contains(part), "{part} of {command}");
    }
    assert!(page.contains("SESSION_GATEWAY_ADMIN_TOKEN"));
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let page = std::fs::read_to_string(entry.expect("an entry").path()).expect("a page");
        for named in page.split("(1)").filter_map(|before| before.rsplit_once("session\\-gateway\\-")) {
            let name = format!("session-gateway-{}.1", named.1.replace('\\', ""));
            if name.contains(char::is_whitespace) {
                continue;
            }
            assert!(folder.path().join(&name).exists(), "{name} is named and not there");
        }
    }
    let failed = run(&["manual", "--directory", "/nowhere"], &[]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("/nowhere: No such file"), "{}", text(&failed.stderr));
}
