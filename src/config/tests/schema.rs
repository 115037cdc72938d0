//! `config/gateway.schema.json`, for editors: made from what the parser reads, what it refuses, and the documented file.
//!
//! Which keys there are and of which type comes from the tables that the parser is made of; which words and units a
//! text may have, from what it says of a wrong one; descriptions and defaults from `config/gateway.toml`. So a key that
//! changes changes the schema, and until the file is made anew the test fails:
//!
//! ```sh
//! WRITE_SCHEMA=1 cargo test --lib schema
//! ```

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::parse;
use crate::config::raw::RawConfig;
use crate::config::reader::Read as _;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gateway.schema.json");
const COMPLETE: &str = include_str!("../../../config/gateway.toml");
/// What no setting can be.
const IMPOSSIBLE: &str = "\u{7f}impossible";
const DURATION: &str = "([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?";
const SIZE: &str = "[0-9]+(B|KiB|MiB|GiB|TiB|kB|KB|MB|GB)";
const VARIABLE: &str = r".*\$\{.*";

/// A way into the document: names of tables, and `0` for the one element of a list.
type Way = Vec<String>;

/// A valid configuration in which `value` stands at `way`, whatever else is there missing.
fn with(way: &[String], value: &str) -> String {
    let mut document: toml::Table =
        toml::from_str("server.public_url = \"https://a.test\"\nupstream.url = \"http://b\"\nstore.embedded = \"s\"")
            .expect("TOML");
    let mut nested = toml::Value::String(value.to_owned());
    for (depth, step) in way.iter().enumerate().rev() {
        if depth == 0 {
            break;
        }
        nested = match step.as_str() {
            "0" => toml::Value::Array(vec![nested]),
            name => toml::Value::Table([(name.to_owned(), nested)].into_iter().collect()),
        };
    }
    match (document.get_mut(&way[0]), nested) {
        (Some(toml::Value::Table(table)), toml::Value::Table(more)) => table.extend(more),
        (_, nested) => _ = document.insert(way[0].clone(), nested),
    }
    toml::to_string(&document).expect("TOML")
}

/// What the parser says of `value` at `way`.
fn said(way: &[String], value: &str) -> Option<String> {
    let key = way.iter().fold(String::new(), |key, step| match step.as_str() {
        "0" => format!("{key}[0]"),
        name if key.is_empty() => name.to_owned(),
        name => format!("{key}.{name}"),
    });
    let errors = parse(&with(way, value)).err().unwrap_or_default();
    errors.into_iter().find_map(|error| error.split_once(&format!(": {key}: ")).map(|(_, message)| message.to_owned()))
}

/// The words that a message offers.
fn offered(message: &str) -> Option<Vec<String>> {
    let (_, words) = message.split_once("choose one of ")?;
    let words: Vec<String> =
        words.split(", ").map(|word| word.trim_matches('"').to_owned()).filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then_some(words)
}

/// Adds what a text may say.
fn narrow(schema: &mut Value, way: &[String]) {
    let Some(message) = said(way, IMPOSSIBLE) else { return };
    let units = [("is not a duration", DURATION), ("is not a size", SIZE)];
    let pattern = units.iter().find(|(what, _)| message.contains(what)).map(|(_, pattern)| *pattern);
    let off = said(way, "off").is_none_or(|message| !message.contains("\"off\""));
    if let Some(words) = offered(&message) {
        schema["enum"] = json!(words);
    } else if let Some(pattern) = pattern {
        let or_off = if off { "|off" } else { "" };
        schema["pattern"] = json!(format!("^({pattern}{or_off}|{VARIABLE})$"));
    }
}

fn enrich(schema: &mut Value, way: &Way) {
    let below = |step: &str| way.iter().cloned().chain([step.to_owned()]).collect::<Way>();
    if schema["type"] == "string" {
        narrow(schema, way);
    }
    for alternative in schema.get_mut("anyOf").and_then(Value::as_array_mut).into_iter().flatten() {
        enrich(alternative, way);
    }
    if let Some(items) = schema.get_mut("items") {
        enrich(items, &below("0"));
    }
    if let Some(named) = schema.get_mut("additionalProperties").filter(|named| named.is_object()) {
        enrich(named, &below("x"));
    }
    for (name, property) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        enrich(property, &below(name));
    }
}

/// What the documented file says of each key: its comment, and its default where it has one.
fn documented() -> BTreeMap<String, (String, Option<Value>)> {
    let mut found = BTreeMap::new();
    let (mut table, mut comment, mut ended) = (String::new(), Vec::new(), false);
    for line in COMPLETE.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            if ended {
                comment.clear();
            }
            ended = false;
            comment.push(text);
            continue;
        }
        let example = line.starts_with('#');
        let setting = line.trim_start_matches('#');
        if setting.starts_with('[') {
            table = setting.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, value)) = setting.split_once(" = ") {
            let value = toml::from_str::<Value>(&format!("value = {value}")).ok();
            let default = value.filter(|_| !example).map(|value| value["value"].clone());
            found.insert(format!("{table}.{key}"), (comment.join(" "), default));
        }
        ended = true;
    }
    found
}

/// The whole schema.
fn made() -> Value {
    let mut schema = RawConfig::schema();
    enrich(&mut schema, &Way::new());
    let documented = documented();
    for (table, inner) in schema["properties"].as_object_mut().into_iter().flatten() {
        let target = match table.as_str() {
            "upstreams" => &mut inner["additionalProperties"],
            "routes" | "events" => &mut inner["items"],
            _ => inner,
        };
        let table = if table == "upstreams" { "upstream" } else { table };
        for (key, property) in target["properties"].as_object_mut().into_iter().flatten() {
            let Some((description, default)) = documented.get(&format!("{table}.{key}")) else { continue };
            property["description"] = json!(description);
            if let Some(default) = default {
                property["default"] = default.clone();
            }
        }
    }
    let mut top = Map::new();
    top.insert(String::from("$schema"), json!("http://json-schema.org/draft-07/schema#"));
    top.insert(String::from("title"), json!("session-gateway"));
    top.insert(
        String::from("description"),
        json!("The configuration of session-gateway. Made by a test; do not edit."),
    );
    top.extend(schema.as_object().cloned().unwrap_or_default());
    Value::Object(top)
}

#[test]
fn the_schema_for_editors_is_what_the_parser_reads() {
    let made = format!("{:#}\n", made());
    if std::env::var_os("WRITE_SCHEMA").is_some() {
        std::fs::write(FILE, &made).expect("a writable file");
    }
    let there = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        there == made,
        "config/gateway.schema.json is not what it would be; WRITE_SCHEMA=1 cargo test --lib schema"
    );
}

#[test]
fn the_schema_knows_words_units_and_defaults() {
    let schema = made();
    let server = &schema["properties"]["server"]["properties"];
    assert_eq!(server["mode"]["enum"], json!(["production", "development"]));
    assert_eq!(server["listen"]["default"], json!("127.0.0.1:8080"));
    assert!(server["header_timeout"]["pattern"].as_str().is_some_and(|pattern| pattern.contains("ms")));
    assert!(server["max_body"]["pattern"].as_str().is_some_and(|pattern| pattern.contains("MiB")));
    assert!(server["hosts"]["description"].as_str().is_some_and(|text| text.contains("421")));
    let route = &schema["properties"]["routes"]["items"];
    assert_eq!(route["properties"]["auth"]["enum"], json!(["required", "optional", "public"]));
    assert_eq!(route["additionalProperties"], json!(false));
    let session = &schema["properties"]["session"]["properties"];
    assert!(session["idle"]["pattern"].as_str().is_some_and(|pattern| pattern.contains("off")));
    assert!(session["absolute"]["pattern"].as_str().is_some_and(|pattern| !pattern.contains("off")));
}
