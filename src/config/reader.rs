//! Reads TOML values with their places: wrong types, unknown keys and `${NAME}`, all reported and none fatal.
//!
//! What is read knows whether it was absent, wrong or given. What was wrong has been reported already, so nobody needs
//! to report it again.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Place, Problems};
use super::value::{Parsed, did_you_mean, expand, quoted};
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

    fn wrong_type<T: Read>(&mut self, value: &Spanned<DeValue<'_>>, place: &Place) -> Option<T> {
        let found = value.get_ref().type_str();
        let article = if found.starts_with(['a', 'i']) { "an" } else { "a" };
        self.problems.error(place, format!("is {article} {found}; write {}", T::EXPECTED));
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

    /// Adds the paths of the keys that can stand here to `known`.
    #[cfg(test)]
    fn describe(path: &str, known: &mut Vec<String>) {
        known.push(path.to_owned());
    }
}

impl Read for String {
    const EXPECTED: &'static str = "a string";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        if value.get_ref().is_str() { reader.text(value, place) } else { reader.wrong_type::<Self>(value, place) }
    }
}

impl Read for Secret {
    const EXPECTED: &'static str = "a string";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        String::read(value, place, reader).map(Self::new)
    }
}

impl Read for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
        value.get_ref().as_bool().or_else(|| reader.wrong_type(value, place))
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
}

/// A value with its place.
pub(super) struct Spot<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

impl<T: Read> Read for Vec<Spot<T>> {
    const EXPECTED: &'static str = "a list";

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
    fn describe(path: &str, known: &mut Vec<String>) {
        T::describe(path, known);
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
    fn describe(path: &str, known: &mut Vec<String>) {
        T::describe(&format!("{path}.*"), known);
    }
}

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

/// Reads a setting that the file format knows and this version does not build. Its harmless values (`"off"`, an empty
/// list) are accepted; anything else is refused, because ignoring it would let an operator believe that it holds.
fn read_unbuilt(value: &DeValue<'_>, place: &Place, problems: &mut Problems) {
    let harmless = match value {
        DeValue::String(text) => text == "off",
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
            let hint = did_you_mean(text, T::KEYS.iter().chain(T::UNBUILT).copied());
            let advice = hint.map_or_else(|| String::from("remove it"), |known| format!("did you mean `{known}`?"));
            reader.problems.error(&place, format!("is not a known key; {advice}"));
        }
    }
    let mut fields = Fields { place, values, reader: Some(reader), bad: false };
    T::from_fields(&mut fields)
}

/// A key as it can stand in a key path: quoted when TOML would quote it.
fn printable(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !key.is_empty() && key.len() <= 60 && key.bytes().all(bare) { key.to_owned() } else { quoted(key) }
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
                const EXPECTED: &'static str = "a table";

                fn read(value: &Spanned<DeValue<'_>>, place: &Place, reader: &mut Reader<'_>) -> Option<Self> {
                    reader.table(value, place)
                }

                #[cfg(test)]
                fn describe(path: &str, known: &mut Vec<String>) {
                    $(<$kind as Read>::describe(
                        format!("{path}.{}", key_of!($field $($key)?)).trim_start_matches('.'),
                        known,
                    );)*
                }
            }
        )*
    };
}

pub(super) use {key_of, tables};

impl Reader<'_> {
    /// Reads a value that must be a table with fixed keys.
    pub(super) fn table<T: Table + Read>(&mut self, value: &Spanned<DeValue<'_>>, place: &Place) -> Option<T> {
        match value.get_ref() {
            DeValue::Table(table) => Some(read_table(table, place.clone(), self)),
            _ => self.wrong_type(value, place),
        }
    }
}
