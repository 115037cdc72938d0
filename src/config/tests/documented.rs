//! `config/gateway.toml` documents every key, with its true default, and no mutation of it makes the parser panic.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;
use toml::de::{DeTable, DeValue};

use super::{environment, valid};
use crate::config::Config;
use crate::config::raw::RawConfig;
use crate::config::reader::{Read as _, Reader};
use crate::config::table::read_table;

const COMPLETE: &str = include_str!("../../../config/gateway.toml");

/// `Debug` shows every value, so equal texts are equal configurations.
fn shown(config: &Config) -> String {
    format!("{config:#?}")
}

#[test]
fn the_documented_file_is_valid_and_shows_the_true_defaults() {
    let complete = valid(COMPLETE);
    assert_eq!(complete.warnings, Vec::<String>::new());
    let sparse = valid(
        "server.public_url = \"https://app.example.com\"\nupstream.url = \"http://127.0.0.1:5059\"\n\
         store.redis = \"redis://127.0.0.1:6379/0\"",
    );
    // Its route table differs in nothing but the order in which hash maps are shown.
    assert_eq!(
        shown(&Config {
            routes: sparse.routes.clone(),
            session: sparse.session.clone(),
            digest: sparse.digest,
            ..complete.clone()
        }),
        shown(&sparse)
    );
    assert_eq!(complete.session.limits, sparse.session.limits);
}

/// The documented file with its examples turned on.
fn uncommented() -> String {
    COMPLETE
        .lines()
        .map(|line| {
            let setting = |rest: &&str| rest.starts_with(|c: char| !c.is_whitespace() && c != ':');
            line.strip_prefix('#').filter(setting).unwrap_or(line)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn keys(table: &DeTable<'_>, path: &str, named: &[&str], found: &mut BTreeSet<String>) {
    for (key, value) in table {
        let key = if named.contains(&path) { "*" } else { key.get_ref() };
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value.get_ref() {
            DeValue::Table(table) => keys(table, &path, named, found),
            DeValue::Array(list) if list.iter().any(|element| element.get_ref().is_table()) => {
                for table in list.iter().filter_map(|element| element.get_ref().as_table()) {
                    keys(table, &path, named, found);
                }
            }
            _ => {
                found.insert(path.replace("upstreams.*.", "upstream."));
            }
        }
    }
}

/// The paths of the keys that a schema knows.
fn known_keys(schema: &Value, path: &str, known: &mut BTreeSet<String>) {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let properties = schema["properties"].as_object();
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    let inner: Vec<&Value> = alternatives.chain(schema.get("items")).filter(|inner| holds_keys(inner)).collect();
    if let Some(named) = schema.get("additionalProperties").filter(|named| named.is_object()) {
        known_keys(named, &join("*"), known);
    } else if let Some(properties) = properties {
        properties.iter().for_each(|(name, schema)| known_keys(schema, &join(name), known));
    } else if inner.is_empty() {
        known.insert(path.to_owned());
    } else {
        inner.into_iter().for_each(|inner| known_keys(inner, path, known));
    }
}

fn holds_keys(schema: &Value) -> bool {
    schema["type"] == "object"
        || schema["anyOf"].as_array().into_iter().flatten().chain(schema.get("items")).any(holds_keys)
}

#[test]
fn every_known_key_is_documented_and_every_documented_key_is_known() {
    let text = uncommented();
    let document = DeTable::parse(&text).expect("the examples are TOML");
    let mut documented = BTreeSet::new();
    keys(
        document.get_ref(),
        "",
        &["upstreams", "identity.query", "store.addresses", "telemetry.traces.headers"],
        &mut documented,
    );
    let mut known = BTreeSet::new();
    known_keys(&RawConfig::schema(), "", &mut known);
    let known: BTreeSet<String> = known.iter().map(|path| path.replace("upstreams.*.", "upstream.")).collect();
    assert_eq!(documented.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "documented, but not known");
    assert_eq!(known.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "known, but not documented");
}

#[test]
fn every_example_of_the_documented_file_is_of_the_right_type() {
    let text = uncommented();
    let document = DeTable::parse(&text).expect("the examples are TOML");
    let mut reader = Reader::new(&text, &|_| Some(String::from("x")));
    let file = reader.place(String::new(), 0);
    let _: RawConfig = read_table(document.get_ref(), file, &mut reader);
    assert!(reader.problems.no_errors(), "{}", reader.problems.into_errors("config/gateway.toml"));
}

/// A line of the file taken out, doubled, cut, or with a few bytes changed.
fn mutated() -> impl Strategy<Value = String> {
    let text = uncommented();
    let length = text.len();
    prop::collection::vec((0..length, 0..5_u8, "[ -~\\n\\x00é…]{0,3}"), 1..6).prop_map(move |changes| {
        let mut bytes: Vec<char> = uncommented().chars().collect();
        for (at, kind, insert) in changes {
            let at = at.min(bytes.len().saturating_sub(1));
            let end = (at + usize::from(kind) * 3).min(bytes.len());
            bytes.splice(at..end, insert.chars());
        }
        bytes.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutation_of_the_documented_file_makes_the_parser_panic(text in mutated()) {
        match Config::parse("t.toml", &text, &environment) {
            Ok(_) => {}
            Err(errors) => {
                prop_assert!(!errors.all().is_empty());
                for error in errors.all() {
                    let line = error.to_string();
                    prop_assert!(line.starts_with("t.toml:"), "{line}");
                    prop_assert!(!line.contains(char::is_control), "{line:?}");
                }
            }
        }
    }
}
