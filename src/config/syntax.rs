//! What is wrong with a file that is no TOML, in words that say what to write instead.
//!
//! The parser says what it expected of its grammar; who wrote `listen = 127.0.0.1:8080` wants to hear of quotes. Pure:
//! text and faults in, messages out. A value is shown only where no key could make it a secret.

use std::ops::Range;

use toml::de::Error;

use super::value::quoted;

/// Keys whose value is, or may hold, a secret.
const SECRET_KEYS: [&str; 4] = ["password", "token", "key", "redis"];

/// Where each fault is, in bytes, and what is wrong there: one a line, and none that only follows from another.
pub(super) fn faults(text: &str, faults: &[Error]) -> Vec<(usize, String)> {
    let mut told: Vec<(usize, String)> = Vec::new();
    let mut lines: Vec<usize> = Vec::new();
    for fault in faults {
        let span = fault.span().unwrap_or_default();
        let line = line_at(text, span.start);
        if lines.contains(&line.start) {
            continue;
        }
        lines.push(line.start);
        told.push((span.start, format!("is not TOML: {}", explain(text, &line, &span, fault.message()))));
        // What comes after an end that is missing is read as a part of what has no end.
        if ["missing comma", "unclosed", "invalid multi-line"].iter().any(|begin| fault.message().starts_with(begin)) {
            break;
        }
    }
    told
}

fn line_at(text: &str, offset: usize) -> Range<usize> {
    let (before, after) = text.split_at_checked(offset).unwrap_or((text, ""));
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    start..before.len() + after.find('\n').unwrap_or(after.len())
}

fn explain(text: &str, line: &Range<usize>, span: &Range<usize>, message: &str) -> String {
    let line = text.get(line.clone()).unwrap_or_default().trim_matches([' ', '\t', '\r', '\u{feff}']);
    if message == "duplicate key" {
        let key = text.get(span.clone()).unwrap_or_default();
        return format!("{} is in the file twice; keep one", quoted(key));
    }
    if message.starts_with("carriage return") {
        return String::from("a line ends with a carriage return alone; save the file with the line ends of Unix");
    }
    if message.starts_with("missing comma") {
        return String::from("a `,` is missing before this, or the `]` of the list that it follows");
    }
    if message.starts_with("unclosed table") {
        return String::from("a table's name has no `]` after it");
    }
    if message.starts_with("unclosed array table") {
        return String::from("a table's name has no `]]` after it");
    }
    if message.starts_with("invalid basic string") || message.starts_with("invalid literal string") {
        return String::from("a string has no quote at its end, or a control character in it");
    }
    if message.starts_with("invalid multi-line") {
        return String::from("a string that begins with three quotes has no three at its end");
    }
    if message.contains("escape") || message.contains("unicode") {
        return String::from(
            "a `\\` in double quotes begins an escape; write it twice, or put the text in single quotes",
        );
    }
    not_a_setting(line).or_else(|| wrong_value(line)).unwrap_or_else(|| message.to_owned())
}

/// What a line is that cannot be `key = value`.
fn not_a_setting(line: &str) -> Option<String> {
    let odd_space = line.chars().find(|c| c.is_whitespace() && !c.is_ascii());
    if let Some(space) = odd_space.filter(|_| !line.contains(['"', '\''])) {
        return Some(format!("there is a space that is no plain one (U+{:04X}); write a plain one", u32::from(space)));
    }
    if line.ends_with(']') && !line.contains(['[', '=']) {
        return Some(String::from("a table's name has no `[` before it"));
    }
    if line.starts_with(';') || line.starts_with("//") {
        return Some(String::from("a comment begins with `#`"));
    }
    if line.starts_with('{') {
        return Some(String::from("this is JSON; write a table as `[server]` and a setting as `listen = \"…\"`"));
    }
    let (key, _) = line.split_once('=').unwrap_or((line, ""));
    let key = key.trim_end();
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if let Some((name, _)) = line.split_once(':')
        && word(name.trim_end())
        && !name.contains('=')
    {
        return Some(String::from(
            "a `:` stands between key and value, as in YAML; write `=`, and a table as `[server]`",
        ));
    }
    if key.is_empty() {
        return Some(String::from("a value has no key before its `=`"));
    }
    if !line.contains('=') {
        return word(key).then(|| format!("`{key}` has no value; write `{key} = …`"));
    }
    if key.split_whitespace().nth(1).is_some() && key.split_whitespace().all(word) {
        return Some(format!("{} has a space in it, and a key has none", quoted(key)));
    }
    None
}

/// What is wrong with the value of `key = value`.
fn wrong_value(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim_end(), value.trim_start());
    let value = value.split(" #").next().unwrap_or_default().trim_end();
    if value.is_empty() {
        return Some(format!("`{key}` has no value; write one after the `=`"));
    }
    if value.starts_with(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{ab}']) {
        return Some(String::from("a value has typographic quotes; write it in `\"`"));
    }
    if value.starts_with(['"', '\'']) {
        return Some(String::from("something follows a value on its line; write one `key = value` a line"));
    }
    if value.starts_with(['[', '{']) {
        return None;
    }
    if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
        return Some(format!("write `{key} = {}`, in small letters", value.to_ascii_lowercase()));
    }
    if value.bytes().all(|byte| byte.is_ascii_digit() || b",_".contains(&byte)) {
        return Some(String::from("a number has no zeros at its beginning and no commas; write it as 1000 or 1_000"));
    }
    let last = key.rsplit('.').next().unwrap_or_default();
    let shown = if SECRET_KEYS.contains(&last) { String::from("\"…\"") } else { quoted(value) };
    Some(format!("a text wants quotes; write `{key} = {shown}`"))
}
