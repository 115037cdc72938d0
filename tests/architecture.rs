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

/// The code of a source: without comments, without what stands in quotes, and without the items that are built for tests
/// alone. Lines keep their numbers.
fn code(source: &str) -> String {
    let source = without_comments_and_quotes(source);
    let mut kept = String::new();
    let mut rest = source.as_str();
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        let (item, behind) = after.split_at(item_length(after));
        kept.push_str(before);
        kept.extend(item.chars().filter(|character| *character == '\n'));
        rest = behind;
    }
    kept + rest
}

/// How far an item goes, its further attributes included: to its semicolon, or to the brace that closes its block.
fn item_length(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, character) in text.char_indices() {
        match character {
            '{' | '(' | '[' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn without_comments_and_quotes(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let length = token_length(rest);
        let (token, behind) = rest.split_at(length.unwrap_or(next.len_utf8()));
        match length {
            Some(_) => code.extend(token.chars().filter(|character| *character == '\n')),
            None => code.push(next),
        }
        rest = behind;
    }
    code
}

/// The length of the comment, string or character that the text begins with.
fn token_length(text: &str) -> Option<usize> {
    let ends = |from: usize, end: &str| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(ends(2, "*/"));
    }
    if text.starts_with("r\"") || text.starts_with("r#") {
        let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
        // Else it is a name such as r#type.
        return text[1 + hashes..].starts_with('"').then(|| ends(2 + hashes, &format!("\"{}", "#".repeat(hashes))));
    }
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    // A quote that opens nothing is a lifetime's.
    if quote == '\'' && !text[1..].starts_with('\\') && text.chars().nth(2) != Some('\'') {
        return None;
    }
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, character)| {
        let is_end = *character == quote && !escaped;
        escaped = *character == '\\' && !escaped;
        is_end
    });
    Some(end.map_or(text.len(), |(at, _)| at + 1))
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

fn assert_never(folder: &str, forbidden: &[&str]) {
    let mut broken = Vec::new();
    for (path, source) in sources(folder) {
        let is_test = path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
        if is_test || path.ends_with("contract.rs") {
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
    for folder in ["session", "http", "policy", "login"] {
        assert_never(folder, &never);
        assert_never(folder, &ABOVE);
    }
    assert_never("login", &["crate::clock", "crate::entropy"]);
}

#[test]
fn the_session_knows_nobody_above_it() {
    assert_never("session", &["crate::http", "crate::policy", "crate::login"]);
    assert_never("http", &["crate::policy", "crate::login"]);
    assert_never("policy", &["crate::login"]);
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
    for room in ["sessions", "told.rs"] {
        assert_never(room, &ABOVE);
        assert_never(room, &["crate::policy", "crate::config", "crate::login", "crate::upstream"]);
        assert_never(room, &CONCRETE);
    }
    assert_never("told.rs", &["crate::sessions"]);
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
    assert_never("store/cache.rs", &["tokio", "redis", "tracing::", "SystemClock"]);
}

#[test]
fn the_backends_side_knows_no_session_and_no_policy() {
    assert_never("upstream", &["crate::session", "crate::policy", "crate::config", "crate::store", "crate::http::"]);
    assert_never("upstream/http1", &["tokio", "tracing::", "crate::clock"]);
}
