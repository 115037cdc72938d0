//! A document taken apart: each value with its place. Pure.

use serde_json::Value;

/// The most values that are told of one answer, and how deep they are looked for.
pub(super) const MOST_VALUES: usize = 100;
const DEEPEST: usize = 8;

/// One value of a document.
pub(super) struct Leaf<'a> {
    pub(super) pointer: String,
    pub(super) value: &'a Value,
}

/// Every value of a document that is no object; of a list its length, and its first element's values.
pub(super) fn leaves(document: &Value) -> Vec<Leaf<'_>> {
    let mut found = Vec::new();
    collect(document, String::new(), 0, &mut found);
    found
}

fn collect<'a>(value: &'a Value, pointer: String, depth: usize, found: &mut Vec<Leaf<'a>>) {
    // Counted on, so that the report can say how many there are, but not without end.
    if found.len() > 10 * MOST_VALUES {
        return;
    }
    match value {
        Value::Object(members) if depth < DEEPEST && !members.is_empty() => {
            for (name, value) in members {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                collect(value, format!("{pointer}/{escaped}"), depth + 1, found);
            }
        }
        Value::Array(elements) => {
            found.push(Leaf { pointer: pointer.clone(), value });
            if let (Some(first), true) = (elements.first(), depth < DEEPEST) {
                collect(first, format!("{pointer}/0"), depth + 1, found);
            }
        }
        _ => found.push(Leaf { pointer, value }),
    }
}
