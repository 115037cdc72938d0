//! The documents say what is so: their configuration is the shipped one, every key and metric is in them, and no link
//! among them is dead.

#![expect(clippy::expect_used, reason = "a document that cannot be read fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use session_gateway::telemetry::Metrics;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).expect(path)
}

fn documents() -> Vec<PathBuf> {
    ["", "docs", "docs/adr"]
        .iter()
        .flat_map(|folder| fs::read_dir(Path::new(ROOT).join(folder)).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

#[test]
fn the_readme_shows_the_eleven_lines_of_the_minimal_configuration() {
    let minimal = read("config/minimal.toml");
    // Its first line is for editors.
    let lines: Vec<&str> = minimal.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), 11);
    let shown = format!("```toml\n{}\n```", lines.join("\n"));
    assert!(read("README.md").contains(&shown), "README.md does not show config/minimal.toml as it is");
}

/// Every key that `config/gateway.toml` sets, also in its examples.
fn keys() -> BTreeSet<String> {
    read("config/gateway.toml")
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, _)| key.to_owned())
        .filter(|key| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        .collect()
}

#[test]
fn every_key_has_its_place_in_the_reference() {
    let reference = read("docs/configuration.md");
    let missing: Vec<String> = keys()
        .into_iter()
        .filter(|key| !reference.contains(&format!("`{key}`")) && !reference.contains(&format!(".{key}`")))
        .collect();
    assert_eq!(missing, Vec::<String>::new(), "not in docs/configuration.md");
}

#[test]
fn every_metric_has_its_place_in_the_operators_guide() {
    let guide = read("docs/operations.md");
    let text = Metrics::new().encode();
    let metrics = text.lines().filter_map(|line| {
        let (name, kind) = line.strip_prefix("# TYPE session_gateway_")?.split_once(' ')?;
        Some(if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
    });
    let missing: Vec<String> = metrics.filter(|name| !guide.contains(&format!("`{name}"))).collect();
    assert_eq!(missing, Vec::<String>::new(), "not in docs/operations.md");
}

#[test]
fn every_metric_of_the_alerts_and_the_dashboard_is_one() {
    // Which has each of them, by a test above; of those that have no value yet the metrics themselves say nothing.
    let guide = read("docs/operations.md");
    let mut unknown = BTreeSet::new();
    for file in ["deploy/prometheus/session-gateway.rules.yaml", "deploy/grafana/session-gateway.json"] {
        let text = read(file);
        let names = text.split("session_gateway_").skip(1);
        let names =
            names.map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap_or_default());
        for name in names {
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            if !guide.contains(&format!("`{name}")) {
                unknown.insert(format!("{file}: {name}"));
            }
        }
    }
    assert_eq!(unknown, BTreeSet::new());
}

/// A heading's anchor, as forges make it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>().replace(' ', "-")
}

#[test]
fn no_link_in_a_document_is_dead() {
    let mut dead = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("readable");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        for link in links.filter(|link| !link.contains("://")) {
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { document.clone() } else { document.with_file_name(file) };
            let alive = target.exists()
                && (fragment.is_empty()
                    || fs::read_to_string(&target)
                        .expect("readable")
                        .lines()
                        .any(|line| line.starts_with('#') && anchor(line) == fragment));
            if !alive {
                dead.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert_eq!(dead, Vec::<String>::new());
}

/// The sources of the gateway and of what tries it.
fn code(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            code(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The headings of the page of behaviour that a comment names: `(docs/behaviour.md, "Store", "Errors")`.
fn named_rules(source: &str) -> Vec<String> {
    let text: Vec<&str> = source.lines().map(|line| line.trim_start().trim_start_matches(['/', '!'])).collect();
    let text = text.join(" ");
    let mut named = Vec::new();
    for mut rest in text.split("docs/behaviour.md,").skip(1) {
        while let Some((name, after)) = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            named.push(name.split_whitespace().collect::<Vec<_>>().join(" "));
            rest = after.trim_start_matches(',');
        }
    }
    named
}

#[test]
fn every_rule_that_the_code_names_is_a_heading_of_the_page_of_behaviour() {
    let page = read("docs/behaviour.md");
    let headings: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut sources = Vec::new();
    for folder in ["src", "tests", "benches"] {
        code(&Path::new(ROOT).join(folder), &mut sources);
    }
    let mut named = 0;
    let mut unknown = Vec::new();
    for path in sources.iter().filter(|path| !path.ends_with("tests/documents.rs")) {
        for name in named_rules(&fs::read_to_string(path).expect("readable")) {
            named += 1;
            if !headings.contains(name.as_str()) {
                unknown.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert_eq!(unknown, Vec::<String>::new());
    assert!(named > 30, "only {named} rules are named");
}

/// The string literals of a source within `from`'s first parentheses, as they are shown: line continuations joined.
fn literals(from: &str) -> Vec<String> {
    let (mut found, mut depth, mut text, mut rest) = (Vec::new(), 0, None::<String>, from.chars().peekable());
    while let Some(c) = rest.next() {
        match (&mut text, c) {
            (Some(_), '"') => found.extend(text.take()),
            (Some(text), '\\') => match rest.next() {
                Some('\n') => while rest.next_if(|c| c.is_whitespace()).is_some() {},
                Some(c) => text.push(c),
                None => {}
            },
            (Some(text), c) => text.push(c),
            (None, '"') => text = Some(String::new()),
            (None, '(') => depth += 1,
            (None, ')') if depth <= 1 => break,
            (None, ')') => depth -= 1,
            (None, _) => {}
        }
    }
    found
}

/// The gateway's own code, without its tests.
fn shipped() -> Vec<(PathBuf, String)> {
    let mut sources = Vec::new();
    code(&Path::new(ROOT).join("src"), &mut sources);
    let is_test =
        |path: &PathBuf| path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("readable");
        let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
        (path, text[..end].to_owned())
    };
    sources.into_iter().filter(|path| !is_test(path)).map(read).collect()
}

#[test]
fn every_error_code_has_its_row_among_the_troubles() {
    let page = read("docs/troubleshooting.md");
    let mut missing = BTreeSet::new();
    let mut found = 0;
    for (path, text) in shipped()
        .iter()
        .filter(|(path, _)| path.components().any(|part| part.as_os_str() == "proxy" || part.as_os_str() == "admin"))
    {
        for after in text.split("StatusCode::").skip(1) {
            let after = after.trim_start_matches(|c: char| c.is_ascii_uppercase() || c == '_');
            let Some(code) = after.strip_prefix(',').map(str::trim_start).and_then(|rest| rest.strip_prefix('"'))
            else {
                continue;
            };
            let code = code.split('"').next().unwrap_or_default();
            if code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                found += 1;
                if !page.contains(&format!("`{code}`")) {
                    missing.insert(format!("{}: {code}", path.display()));
                }
            }
        }
    }
    assert!(found > 30, "only {found} codes were found");
    assert_eq!(missing, BTreeSet::new(), "not in docs/troubleshooting.md");
}

#[test]
fn every_warning_has_its_row_among_the_troubles() {
    let page = read("docs/troubleshooting.md").replace(['`', '"'], "");
    let mut missing = BTreeSet::new();
    let mut found = 0;
    for (path, text) in shipped() {
        let in_config = path.components().any(|part| part.as_os_str() == "config");
        let calls: &[&str] = if in_config { &[".warn("] } else { &["tracing::warn!(", "tracing::error!("] };
        // A test's own reader of the log speaks like the log.
        for after in calls.iter().flat_map(|call| text.split(call).skip(1)) {
            let literals = literals(&format!("({after}"));
            let Some(message) = literals.iter().rev().find(|literal| literal.contains(' ')) else { continue };
            // What is said is known by its longest part without a value; what to do about it is in the row.
            let constant = message.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
            let parts = constant.flat_map(|part| part.split(';')).map(|part| part.replace(['`', '"'], ""));
            // Some say nothing of their own.
            let Some(part) = parts.max_by_key(String::len).filter(|part| part.contains(' ')) else { continue };
            found += 1;
            let part = part.trim().trim_end_matches(':').trim();
            if !page.contains(part) {
                missing.insert(format!("{}: {part}", path.strip_prefix(ROOT).unwrap_or(&path).display()));
            }
        }
    }
    assert!(found > 60, "only {found} warnings were found");
    assert_eq!(missing, BTreeSet::new(), "not in docs/troubleshooting.md");
}
