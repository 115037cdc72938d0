//! The borders of the house (ARCHITECTURE.md, "Who may know whom"), held by reading the sources.

#![expect(clippy::expect_used, reason = "a source that cannot be read fails the test")]

mod code;
mod rings;

use std::fs;
use std::path::{Path, PathBuf};

use code::code;

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder)];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting
                .extend(fs::read_dir(&path).expect("a readable folder").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.clone(), fs::read_to_string(&path).expect("readable source")));
        }
    }
    assert!(!found.is_empty(), "src/{folder} has sources");
    found
}

/// Where the code of a source names one of these.
fn named(source: &str, forbidden: &[&str]) -> Vec<String> {
    let code = code(source);
    let lines = code.lines().enumerate();
    lines
        .flat_map(|(number, line)| {
            forbidden.iter().filter(|name| line.contains(*name)).map(move |name| format!("{}: {name}", number + 1))
        })
        .collect()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

fn assert_never(folder: &str, forbidden: &[&str]) {
    let mut broken = Vec::new();
    for (path, source) in sources(folder) {
        if is_test(&path) {
            continue;
        }
        broken.extend(named(&source, forbidden).iter().map(|place| format!("{}:{place}", path.display())));
    }
    assert!(broken.is_empty(), "src/{folder} knows what it must not:\n{}", broken.join("\n"));
}

const CONCRETE: [&str; 4] = ["store::redis", "store::embedded", "RedisStore", "EmbeddedStore"];

/// Rooms that only the edges and the assembly know.
const ABOVE: [&str; 4] = ["crate::proxy", "crate::admin", "crate::cli", "crate::app"];

#[test]
fn a_violation_behind_a_test_module_is_found() {
    let source = r##"
use crate::session::Role;
#[cfg(test)]
mod tests;
use crate::store::SharedStore; // crate::comment
/* crate::comment */
#[cfg(test)]
#[expect(clippy::panic, reason = "a crate::quote")]
mod more {
    use crate::audit::AuditLog;
    const BRACES: [&str; 3] = ["}", r#"}"}"#, "\"}"];
    fn brace<'a>(_: &'a str) -> char { '}' }
}
const TOLD: &str = "crate::quote // is no crate::comment";
#[cfg(test)]
use crate::clock::{ManualClock, Clock};
fn after() { crate::config::load() }
"##;
    let forbidden = ["crate::store", "crate::audit", "crate::clock", "crate::config", "comment", "quote"];
    assert_eq!(named(source, &forbidden), ["5: crate::store", "17: crate::config"]);
}

#[test]
fn every_room_is_named_where_it_is_used() {
    // Otherwise the other rules would not see it.
    assert_never("", &["crate::{", "crate::*"]);
}

#[test]
fn the_pure_modules_know_no_runtime_no_store_no_clock_and_no_configuration() {
    let never = [
        "tokio",
        "hyper::",
        "redis::",
        "redb::",
        "tracing::",
        "crate::config",
        "crate::store",
        "crate::sessions",
        "crate::told",
        "crate::upstream",
        "crate::telemetry",
        "crate::audit",
        "crate::health",
        "dyn Clock",
        "SystemClock",
    ];
    for folder in ["session", "http", "jwt", "policy", "login", "seal", "custody", "monitor"] {
        assert_never(folder, &never);
        assert_never(folder, &ABOVE);
    }
    assert_never("login", &["crate::clock", "crate::entropy"]);
}

#[test]
fn the_session_knows_nobody_above_it() {
    assert_never("session", &["crate::http", "crate::policy", "crate::login", "crate::seal"]);
    assert_never("http", &["crate::policy", "crate::login", "crate::seal"]);
    assert_never("jwt", &["crate::http", "crate::policy", "crate::login", "crate::entropy"]);
    assert_never("policy", &["crate::login", "crate::seal"]);
    assert_never("seal", &["crate::policy", "crate::login", "crate::jwt"]);
    assert_never("custody", &["crate::policy", "crate::login", "crate::seal"]);
    assert_never("monitor", &["crate::http", "crate::policy", "crate::login", "crate::seal", "crate::watch"]);
}

#[test]
fn what_is_told_knows_nobody_who_tells_it() {
    let never = [
        "crate::http",
        "crate::policy",
        "crate::login",
        "crate::config",
        "crate::upstream",
        "crate::sessions",
        "crate::told",
    ];
    for folder in ["audit", "telemetry", "health.rs"] {
        assert_never(folder, &never);
        assert_never(folder, &ABOVE);
    }
    assert_never("telemetry", &["crate::audit"]);
    assert_never("health.rs", &["crate::audit", "crate::telemetry"]);
}

#[test]
fn what_signs_identities_knows_nobody_who_decides_about_them() {
    let never = ["crate::policy", "crate::http", "crate::store", "crate::config", "crate::sessions", "tokio"];
    assert_never("signed", &never);
    assert_never("signed", &ABOVE);
}

#[test]
fn a_configuration_opens_nothing() {
    assert_never(
        "config",
        &["tokio", "SharedStore", "SessionStore", "crate::sessions", "crate::told", "crate::health"],
    );
    assert_never("config", &ABOVE);
}

#[test]
fn the_edges_know_no_concrete_store_and_not_each_other() {
    assert_never("proxy", &CONCRETE);
    assert_never("admin", &CONCRETE);
    assert_never("proxy", &["crate::admin"]);
    assert_never("admin", &["crate::proxy"]);
}

#[test]
fn where_sessions_are_made_and_ended_no_edge_no_policy_and_no_configuration_is_known() {
    for room in ["sessions", "told"] {
        assert_never(room, &ABOVE);
        assert_never(room, &["crate::policy", "crate::config", "crate::login", "crate::upstream"]);
        assert_never(room, &CONCRETE);
    }
    assert_never("told", &["crate::sessions"]);
    assert_never("maintenance.rs", &ABOVE);
    assert_never("maintenance.rs", &CONCRETE);
    assert_never("maintenance.rs", &["crate::http", "crate::policy", "crate::config", "crate::sessions"]);
}

#[test]
fn who_notices_knows_no_edge_no_request_and_no_configuration() {
    assert_never("watch", &ABOVE);
    assert_never("watch", &CONCRETE);
    assert_never("watch", &["crate::http", "crate::policy", "crate::config", "crate::login"]);
    assert_never("sessions", &["crate::watch"]);
    assert_never("store", &["crate::watch"]);
    assert_never("told", &["crate::watch"]);
}

#[test]
fn who_knows_places_knows_nobody_who_asks() {
    assert_never("geo", &ABOVE);
    assert_never("geo", &["crate::store", "crate::session", "crate::told", "crate::telemetry", "crate::health"]);
    assert_never("geo", &["crate::http", "crate::policy", "crate::config", "crate::watch", "crate::clock"]);
}

#[test]
fn who_tells_operators_knows_no_request_and_not_who_noticed() {
    assert_never("alerts", &ABOVE);
    assert_never("alerts", &CONCRETE);
    let never = [
        "crate::http",
        "crate::policy",
        "crate::config",
        "crate::login",
        "crate::sessions",
        "crate::told",
        "crate::watch",
    ];
    assert_never("alerts", &never);
    assert_never("store", &["crate::alerts"]);
}

#[test]
fn certificates_know_nobody_but_how_files_of_others_are_read() {
    let modules = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).expect("our sources");
    let names = modules.map(|entry| entry.expect("an entry").path().with_extension(""));
    let names: Vec<String> = names.filter_map(|path| Some(format!("crate::{}", path.file_name()?.to_str()?))).collect();
    let others: Vec<&str> = names.iter().map(String::as_str).filter(|name| *name != "crate::settled").collect();
    assert!(others.contains(&"crate::config"), "{others:?}");
    assert_never("tls", &others);
}

#[test]
fn a_store_knows_no_header_and_no_policy() {
    assert_never("store", &["crate::http", "crate::policy", "crate::proxy", "crate::config"]);
}

#[test]
fn the_cache_knows_no_server_and_no_runtime() {
    for room in ["store/cache.rs", "store/cache"] {
        assert_never(room, &["tokio", "redis", "tracing::", "SystemClock"]);
    }
}

#[test]
fn who_verifies_tokens_knows_no_request_no_store_and_no_configuration() {
    assert_never("bearer", &ABOVE);
    assert_never("bearer", &["crate::policy", "crate::config", "crate::store", "crate::sessions", "crate::told"]);
}

#[test]
fn the_backends_side_knows_no_session_and_no_policy() {
    assert_never("upstream", &["crate::session", "crate::policy", "crate::config", "crate::store", "crate::http::"]);
    assert_never("upstream/http1", &["tokio", "tracing::", "crate::clock"]);
}

#[test]
fn what_both_sides_work_with_knows_neither() {
    assert_never("commons.rs", &ABOVE);
    assert_never("commons.rs", &["crate::config", "crate::policy", "crate::login"]);
}

#[test]
fn no_files_know_each_other_in_a_ring() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for (path, source) in sources("") {
        if !is_test(&path) {
            let name = path.strip_prefix(&root).expect("a source of ours").to_str().expect("a name in UTF-8");
            files.push((name.to_owned(), code(&source)));
        }
    }
    let rings = rings::among(&files);
    assert!(
        rings.is_empty(),
        "these files know each other; move what they share into one that knows none:\n{}",
        rings.join("\n")
    );
}
