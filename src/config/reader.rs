//! Reads TOML values with their places: wrong types and `${NAME}`, all reported and none fatal.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::DeValue;

use super::error::{Place, Problems};
use super::value::{expand, quoted};
use crate::secret::Secret;

/// No list or table of names in a configuration is longer.
const LONGEST_LIST: usize = 1000;

/// Looks up an environment variable.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What reading needs beside the value: line numbers, the environment, and where to report.
pub(super) struct Reader<'a> {
    line_ends: Vec<usize>,
    variables: Variables<'a>,
    pub(super) problems: Problems,
}

impl<'a> Reader<'a> {
    /// A reader of `text`.
    pub(super) fn new(text: &str, variables: Variables<'a>) -> Self {
        let line_ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        Self { line_ends, variables, problems: Problems::default() }
    }

    /// The place of what starts at `offset`.
    pub(super) fn place(&self, key: String, offset: usize) -> Place {
        Place { key, line: self.line_ends.partition_point(|end| *end < offset) + 1, offset }
    }

    fn moved(&self, place: &Place, value: &Spanned<DeValue<'_>>) -> Place {
        self.place(place.key.clone(), value.span().start)
    }

    pub(super) fn wrong_type<T: Read>(&mut self, value: &Spanned<DeValue<'_>>, place: &Place) -> Option<T> {
        let found = value.get_ref().type_str();
        let article = if found.starts_with(['a', 'i']) { "an" } else { "a" };
        let more = match value.get_ref() {
            DeValue::Integer(_) if T::EXPECTED == String::EXPECTED => {
                ", with its unit where it is a time or a size, as in \"30s\" or \"16MiB\""
            }
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) if T::EXPECTED == OneOrMany::EXPECTED => {
                ", in quotes"
            }
            DeValue::String(_) if T::EXPECTED == A_LIST => ", in `[` and `]`",
            DeValue::String(_) if [bool::EXPECTED, u64::EXPECTED].contains(&T::EXPECTED) => ", without quotes",
            DeValue::Array(_) if T::EXPECTED == A_TABLE => "; its name has single brackets, as in `[server]`",
            DeValue::Table(_) if T::EXPECTED == TABLES => ", each with its name in double brackets, as in `[[routes]]`",
            _ => "",
        };
        self.problems.error(place, format!("is {article} {found}; write {}{more}", T::EXPECTED));
        None
    }

    fn text(&mut self, value: &Spanned<DeValue<'_>>, place: &Place) -> Option<String> {
        let text = value.get_ref().as_str()?;
        match expand(text, self.variables) {
            Ok(expanded) => Some(expanded),
            Err(message) => {
                self.problems.error(place, message);
                None
            }
        }
    }
}

/// What can be read from a TOML value. `None`: it was wrong, and that was reported.
pub(super) trait Read: Sized {
    /// What is expected, as in "write a string".
    const EXPECTED: &'static str;

    /// Reads `value`, which stands at `place`.
    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self>;

    /// Whether it is a table with fixed keys.
    const IS_TABLE: bool = false;

    /// What can stand here, as a JSON Schema.
    #[cfg(test)]
    fn schema() -> serde_json::Value;
}

impl Read for String {
    const EXPECTED: &'static str = "a string";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        if value.get_ref().is_str() { reader.text(value, place) } else { reader.wrong_type::<Self>(value, place) }
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string" })
    }
}

impl Read for Secret {
    const EXPECTED: &'static str = "a string";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        String::read(value, place, reader).map(Self::new)
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        String::schema()
    }
}

impl Read for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        value.get_ref().as_bool().or_else(|| reader.wrong_type(value, place))
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "boolean" })
    }
}

impl Read for u64 {
    const EXPECTED: &'static str = "a whole number";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(integer) = value.get_ref().as_integer() else { return reader.wrong_type(value, place) };
        let parsed = Self::from_str_radix(integer.as_str(), integer.radix()).ok();
        if parsed.is_none() {
            reader.problems.error(place, "is negative or too large; write a whole number");
        }
        parsed
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "integer", "minimum": 0 })
    }
}

/// A date or a time: a string or a TOML date.
pub(super) struct DateText(pub(super) String);

impl Read for DateText {
    const EXPECTED: &'static str = "a date as in \"2027-03-31\"";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Datetime(date) => Some(Self(date.to_string())),
            DeValue::String(_) => reader.text(value, place).map(Self),
            _ => reader.wrong_type(value, place),
        }
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        String::schema()
    }
}

/// An HTTP status, as a string or a number.
pub(super) struct StatusText(pub(super) String);

impl Read for StatusText {
    const EXPECTED: &'static str = "a status as in \"200\"";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Integer(number) => Some(Self(number.to_string())),
            DeValue::String(_) => reader.text(value, place).map(Self),
            _ => reader.wrong_type(value, place),
        }
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": ["string", "integer"] })
    }
}

/// A table that `"off"` can stand for.
pub(super) enum OffOr<T> {
    Off,
    On(T),
}

impl<T: Read> Read for OffOr<T> {
    const EXPECTED: &'static str = "a table or \"off\"";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => T::read(value, place, reader).map(Self::On),
            DeValue::String(text) if text == "off" => Some(Self::Off),
            _ => reader.wrong_type(value, place),
        }
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [T::schema(), { "const": "off" }] })
    }
}

/// A number, or `off`, which is 0.
pub(super) struct CountOrOff(pub(super) u64);

impl Read for CountOrOff {
    const EXPECTED: &'static str = "a whole number, as in 30, or \"off\"";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Integer(_) => u64::read(value, place, reader).map(Self),
            DeValue::String(text) if text == "off" => Some(Self(0)),
            _ => reader.wrong_type(value, place),
        }
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [u64::schema(), { "const": "off" }] })
    }
}

/// A value with its place.
pub(super) struct Spot<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// What a table is called where one is expected.
pub(super) const A_TABLE: &str = "a table";
const TABLES: &str = "a list of tables";
const A_LIST: &str = "a list";

impl<T: Read> Read for Vec<Spot<T>> {
    const EXPECTED: &'static str = if T::IS_TABLE { TABLES } else { A_LIST };

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(array) = value.get_ref().as_array() else { return reader.wrong_type(value, place) };
        if array.len() > LONGEST_LIST {
            reader.problems.error(place, format!("has more than {LONGEST_LIST} elements; write fewer"));
            return None;
        }
        let mut elements = Self::with_capacity(array.len());
        for (index, element) in array.iter().enumerate() {
            let place = reader.moved(&place.element(index), element);
            if let Some(value) = T::read(element, &place, reader) {
                elements.push(Spot { place, value });
            }
        }
        Some(elements)
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "array", "items": T::schema(), "maxItems": LONGEST_LIST })
    }
}

/// One string, or a list of them.
pub(super) struct OneOrMany(pub(super) Vec<Spot<String>>);

impl Read for OneOrMany {
    const EXPECTED: &'static str = "a string or a list of strings";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => {
                let place = reader.moved(place, value);
                let value = reader.text(value, &place)?;
                Some(Self(vec![Spot { place, value }]))
            }
            DeValue::Array(_) => Vec::read(value, place, reader).map(Self),
            _ => reader.wrong_type(value, place),
        }
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [String::schema(), Vec::<Spot<String>>::schema()] })
    }
}

/// A word that stands for something by itself, or a list of strings.
pub(super) enum WordOrList {
    Word(String),
    List(Vec<Spot<String>>),
}

impl Read for WordOrList {
    const EXPECTED: &'static str = "a list of strings";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => reader.text(value, place).map(Self::Word),
            DeValue::Array(_) => Vec::read(value, place, reader).map(Self::List),
            _ => reader.wrong_type(value, place),
        }
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        OneOrMany::schema()
    }
}

/// One table, or a list of them.
pub(super) struct TableOrList<T>(pub(super) Vec<Spot<T>>);

impl<T: Read> Read for TableOrList<T> {
    const EXPECTED: &'static str = "a table or a list of tables";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => {
                let place = place.clone();
                let value = T::read(value, &place, reader)?;
                Some(Self(vec![Spot { place, value }]))
            }
            DeValue::Array(_) => Vec::read(value, place, reader).map(Self),
            _ => reader.wrong_type(value, place),
        }
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [T::schema(), Vec::<Spot<T>>::schema()] })
    }
}

/// A table whose keys are names that the operator chooses, in alphabetical order.
pub(super) struct Named<T>(pub(super) BTreeMap<String, Spot<T>>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Read> Read for Named<T> {
    const EXPECTED: &'static str = "a table";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else { return reader.wrong_type(value, place) };
        if table.len() > LONGEST_LIST {
            reader.problems.error(place, format!("has more than {LONGEST_LIST} entries; write fewer"));
            return None;
        }
        let mut named = BTreeMap::new();
        for (name, value) in table {
            let place = reader.place(place.child(&printable(name.get_ref())).key, name.span().start);
            if let Some(value) = T::read(value, &place, reader) {
                named.insert(name.get_ref().to_string(), Spot { place, value });
            }
        }
        Some(Self(named))
    }

    #[cfg(test)]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "object", "additionalProperties": T::schema(), "maxProperties": LONGEST_LIST })
    }
}

/// A key as it can stand in a key path: quoted when TOML would quote it.
pub(super) fn printable(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !key.is_empty() && key.len() <= 60 && key.bytes().all(bare) { key.to_owned() } else { quoted(key) }
}
