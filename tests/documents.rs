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
