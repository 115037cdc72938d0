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
