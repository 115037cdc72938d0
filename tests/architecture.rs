//! The borders of the house (ARCHITECTURE.md, "Who may know whom"), held by reading the sources.

#![expect(clippy::expect_used, reason = "a source that cannot be read fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

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

/// The code of a source, without comments and without its tests.
fn code(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = source.find("#[cfg(test)]").unwrap_or(source.len());
    source[..end].lines().enumerate().map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default()))
}

fn assert_never(folder: &str, forbidden: &[&str]) {
    let mut broken = Vec::new();
    for (path, source) in sources(folder) {
        let is_test = path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
        if is_test || path.ends_with("contract.rs") {
            continue;
        }
        for (number, line) in code(&source) {
            for name in forbidden {
                if line.contains(name) {
                    broken.push(format!("{}:{number}: {name}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "src/{folder} knows what it must not:\n{}", broken.join("\n"));
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
        "crate::proxy",
        "crate::upstream",
        "crate::telemetry",
        "crate::audit",
        "dyn Clock",
        "SystemClock",
    ];
    for folder in ["session", "http", "policy"] {
        assert_never(folder, &never);
    }
}

#[test]
fn the_session_knows_nobody_above_it() {
    assert_never("session", &["crate::http", "crate::policy"]);
    assert_never("http", &["crate::policy"]);
}

#[test]
fn the_edges_know_no_concrete_store_and_not_each_other() {
    let concrete = ["store::redis", "store::embedded", "RedisStore", "EmbeddedStore"];
    assert_never("proxy", &concrete);
    assert_never("admin", &concrete);
    assert_never("proxy", &["crate::admin"]);
    assert_never("admin", &["crate::proxy"]);
}

#[test]
fn where_sessions_are_made_and_ended_no_edge_no_policy_and_no_configuration_is_known() {
    let above = ["crate::proxy", "crate::admin", "crate::app", "crate::cli", "crate::policy", "crate::config"];
    assert_never("sessions", &above);
    assert_never("told.rs", &above);
    assert_never("told.rs", &["crate::sessions"]);
}

#[test]
fn certificates_know_nobody_but_how_files_of_others_are_read() {
    let modules = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).expect("our sources");
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
    assert_never("store/cache.rs", &["tokio", "redis", "tracing::", "SystemClock"]);
}

#[test]
fn the_backends_side_knows_no_session_and_no_policy() {
    assert_never("upstream", &["crate::session", "crate::policy", "crate::config", "crate::store", "crate::http::"]);
    assert_never("upstream/http1", &["tokio", "tracing::", "crate::clock"]);
}
