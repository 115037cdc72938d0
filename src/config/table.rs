//! Tables with fixed keys: declared once by the `tables!` macro, read field by field, unknown keys reported.
//!
//! A field knows whether it was absent, wrong or given. What was wrong has been reported already, so nobody needs to
//! report it again.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Place, Problems};
use super::reader::{Read, Reader, TableOrList, printable};
use super::value::{Parsed, did_you_mean};

enum Given<T> {
    Absent,
    Bad,
    Value(T),
}

/// Where a key stands, and whether it is in the file or a default.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) place: Place,
    pub(super) given: bool,
}

/// What stands at one key of a table.
pub(super) struct Field<T> {
    place: Place,
    given: Given<T>,
}

impl<T> Field<T> {
    /// Where it stands; where its table stands when it is absent.
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the key is in the file, even with a wrong value.
    pub(super) const fn is_given(&self) -> bool {
        !matches!(self.given, Given::Absent)
    }

    /// Where it stands, and whether it does.
    pub(super) fn setting(&self) -> Setting {
        Setting { place: self.place.clone(), given: self.is_given() }
    }

    /// The value as read.
    pub(super) const fn get(&self) -> Option<&T> {
        match &self.given {
            Given::Value(value) => Some(value),
            Given::Absent | Given::Bad => None,
        }
    }

    /// The same, to be kept.
    pub(super) fn into_value(self) -> Option<T> {
        match self.given {
            Given::Value(value) => Some(value),
            Given::Absent | Given::Bad => None,
        }
    }

    /// What `parse` makes of the value. `None`: absent, or wrong and reported.
    pub(super) fn parse<U>(&self, problems: &mut Problems, parse: impl FnOnce(&T) -> Parsed<U>) -> Option<U> {
        match parse(self.get()?) {
            Ok(parsed) => Some(parsed),
            Err(message) => {
                problems.error(&self.place, message);
                None
            }
        }
    }

    /// What `parse` makes of the value; `default` when it is absent. When it is wrong that is reported, and `default`
    /// stands in for it until all errors are collected.
    pub(super) fn parse_or<U>(&self, default: U, problems: &mut Problems, parse: impl FnOnce(&T) -> Parsed<U>) -> U {
        self.parse(problems, parse).unwrap_or(default)
    }

    /// What `parse` makes of the value, which must be there; `example` is what to add.
    pub(super) fn require<U>(
        &self,
        problems: &mut Problems,
        example: &str,
        parse: impl FnOnce(&T) -> Parsed<U>,
    ) -> Option<U> {
        if !self.is_given() {
            problems.error(&self.place, format!("is missing; add `{example}`"));
        }
        self.parse(problems, parse)
    }
}

impl<T: Table> Field<T> {
    /// The table; one without any key when it is absent.
    pub(super) fn table(self) -> T {
        match self.given {
            Given::Value(table) => table,
            Given::Absent => T::from_fields(&mut Fields::empty(self.place, false)),
            Given::Bad => T::from_fields(&mut Fields::empty(self.place, true)),
        }
    }
}

impl<T: Table> Field<TableOrList<T>> {
    /// The tables; one without any key when there is none.
    pub(super) fn tables(self) -> Vec<T> {
        match self.given {
            Given::Value(TableOrList(list)) if !list.is_empty() => list.into_iter().map(|spot| spot.value).collect(),
            Given::Value(_) | Given::Absent => vec![T::from_fields(&mut Fields::empty(self.place, false))],
            Given::Bad => vec![T::from_fields(&mut Fields::empty(self.place, true))],
        }
    }
}

/// Reads a setting that the file format knows and this version does not build. Its harmless values (`"off"`, an empty
/// list) are accepted; anything else is refused, because ignoring it would let an operator believe that it holds.
fn read_unbuilt(value: &DeValue<'_>, place: &Place, problems: &mut Problems) {
    let harmless = match value {
        DeValue::String(text) => text.is_empty() || text == "off",
        DeValue::Array(list) => list.is_empty(),
        _ => false,
    };
    if !harmless {
        problems.error(place, "is not supported by this version; remove it");
    }
}

/// The keys of one table on their way into a struct.
pub(super) struct Fields<'read, 'toml, 'reader> {
    pub(super) place: Place,
    values: BTreeMap<&'read str, (usize, &'read Spanned<DeValue<'toml>>)>,
    reader: Option<&'read mut Reader<'reader>>,
    bad: bool,
}

impl Fields<'_, '_, '_> {
    fn empty(place: Place, bad: bool) -> Self {
        Self { place, values: BTreeMap::new(), reader: None, bad }
    }

    /// The field of that name.
    pub(super) fn take<T: Read>(&mut self, name: &str) -> Field<T> {
        let place = self.place.child(name);
        let (Some((offset, value)), Some(reader)) = (self.values.remove(name), self.reader.as_deref_mut()) else {
            return Field { place, given: if self.bad { Given::Bad } else { Given::Absent } };
        };
        let place = reader.place(place.key, offset);
        let given = T::read(value, &place, reader).map_or(Given::Bad, Given::Value);
        Field { place, given }
    }
}

/// A table with fixed keys; made by the `tables!` macro.
pub(super) trait Table: Sized {
    /// The keys that are read.
    const KEYS: &'static [&'static str];
    /// The keys that the format knows and this version does not build.
    const UNBUILT: &'static [&'static str];

    /// Takes every field.
    fn from_fields(fields: &mut Fields<'_, '_, '_>) -> Self;
}

/// What other programs call a key, and what it is called here; the first that the table has.
const ELSEWHERE: [(&str, &str); 11] = [
    ("address", "listen"),
    ("bind", "listen"),
    ("host", "listen"),
    ("port", "listen"),
    ("path", "match"),
    ("pattern", "match"),
    ("url", "redis"),
    ("url", "login_url"),
    ("ttl", "absolute"),
    ("timeout", "idle"),
    ("timeout", "response_timeout"),
];

fn meant_elsewhere(text: &str, keys: &[&'static str]) -> Option<&'static str> {
    ELSEWHERE
        .iter()
        .filter(|(word, _)| *word == text)
        .find_map(|(_, key)| keys.iter().copied().find(|known| known == key))
}

/// Reads a table with fixed keys, and reports the keys that it does not know.
pub(super) fn read_table<T: Table>(table: &DeTable<'_>, place: Place, reader: &mut Reader<'_>) -> T {
    let mut values = BTreeMap::new();
    for (name, value) in table {
        let text: &str = name.get_ref();
        if T::KEYS.contains(&text) {
            values.insert(text, (name.span().start, value));
        } else if T::UNBUILT.contains(&text) {
            let place = reader.place(place.child(text).key, name.span().start);
            read_unbuilt(value.get_ref(), &place, &mut reader.problems);
        } else {
            let place = reader.place(place.child(&printable(text)).key, name.span().start);
            let hint = did_you_mean(text, T::KEYS.iter().chain(T::UNBUILT).copied())
                .or_else(|| meant_elsewhere(text, T::KEYS));
            let advice = hint.map_or_else(|| String::from("remove it"), |known| format!("did you mean `{known}`?"));
            reader.problems.error(&place, format!("is not a known key; {advice}"));
        }
    }
    let mut fields = Fields { place, values, reader: Some(reader), bad: false };
    T::from_fields(&mut fields)
}

/// The name of a field in the file, where it is not the field's own.
macro_rules! key_of {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// Declares the tables of the file: `struct Name { field: Type, field ("key"): Type, } unbuilt ["key"]`.
macro_rules! tables {
    ($($(#[$doc:meta])* struct $name:ident { $($field:ident $(($key:literal))? : $kind:ty,)* } $(unbuilt [$($unbuilt:literal),*])?)*) => {
        $(
            $(#[$doc])*
            pub(super) struct $name {
                $(pub(super) $field: Field<$kind>,)*
            }

            impl Table for $name {
                const KEYS: &'static [&'static str] = &[$(key_of!($field $($key)?)),*];
                const UNBUILT: &'static [&'static str] = &[$($($unbuilt),*)?];

                fn from_fields(fields: &mut Fields<'_, '_, '_>) -> Self {
                    Self { $($field: fields.take(key_of!($field $($key)?)),)* }
                }
            }

            impl Read for $name {
                const EXPECTED: &'static str = super::reader::A_TABLE;
                const IS_TABLE: bool = true;

                fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
                    reader.table(value, place)
                }

                #[cfg(test)]
                fn schema() -> serde_json::Value {
                    let mut properties = serde_json::Map::new();
                    $(properties.insert(key_of!($field $($key)?).to_owned(), <$kind as Read>::schema());)*
                    serde_json::json!({ "type": "object", "additionalProperties": false, "properties": properties })
                }
            }
        )*
    };
}

impl Reader<'_> {
    /// Reads a value that must be a table with fixed keys.
    pub(super) fn table<T: Table + Read>(&mut self, value: &Spanned<DeValue<'_>>, place: &Place) -> Option<T> {
        match value.get_ref() {
            DeValue::Table(table) => Some(read_table(table, place.clone(), self)),
            _ => self.wrong_type(value, place),
        }
    }
}

pub(super) use {key_of, tables};
