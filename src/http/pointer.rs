//! JSON pointers (RFC 6901), as the configuration names places in answers and requests.

use std::fmt;

use serde_json::Value;

/// A valid JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPointer(Box<str>);

/// Why a text is no JSON pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonPointerError {
    /// It names the whole document or does not begin with a slash.
    #[error("does not begin with a slash, as in \"/user/id\"")]
    NoSlash,
    /// A `~` that is neither `~0` (a tilde) nor `~1` (a slash).
    #[error("has a ~ that is followed by neither 0 (for a tilde) nor 1 (for a slash)")]
    Tilde,
}

impl JsonPointer {
    /// Reads a pointer. The empty one, which means the whole document, is never what somebody wants here.
    ///
    /// # Errors
    /// When it is not of RFC 6901's form.
    pub fn parse(text: &str) -> Result<Self, JsonPointerError> {
        if !text.starts_with('/') {
            return Err(JsonPointerError::NoSlash);
        }
        if text.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
            return Err(JsonPointerError::Tilde);
        }
        Ok(Self(text.into()))
    }

    /// The pointer to one field of the outermost object, for a key that is configured as a bare field name.
    #[must_use]
    pub fn of_field(name: &str) -> Self {
        Self(format!("/{}", name.replace('~', "~0").replace('/', "~1")).into())
    }

    /// The pointer as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value it points to.
    #[must_use]
    pub fn find_in<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        document.pointer(&self.0)
    }

    /// Its parts, unescaped: names of members and places in lists.
    pub fn parts(&self) -> impl Iterator<Item = String> {
        self.0.split('/').skip(1).map(unescaped)
    }

    /// Its last part, unescaped: the name that a form gives to the same field.
    #[must_use]
    pub fn last_part(&self) -> String {
        unescaped(self.0.rsplit('/').next().unwrap_or_default())
    }
}

/// The most values that are looked for in one place: no user has so many of anything that is listed.
const MOST_VALUES: usize = 1024;

/// A JSON pointer in which `*` stands for every element of a list, and every member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManyPointer(JsonPointer);

/// There is something else where a list should be, or too much in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoList;

impl ManyPointer {
    /// Reads one. A name that is `*` cannot be written.
    ///
    /// # Errors
    /// As [`JsonPointer::parse`].
    pub fn parse(text: &str) -> Result<Self, JsonPointerError> {
        JsonPointer::parse(text).map(Self)
    }

    /// Whether it has a `*`, without which it finds one value at most.
    #[must_use]
    pub fn has_star(&self) -> bool {
        self.0.parts().any(|part| part == "*")
    }

    /// The pointer as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// All values that it points to. What is not there, or is null, holds none.
    ///
    /// # Errors
    /// When the document is of another shape.
    pub fn find_in<'a>(&self, document: &'a Value) -> Result<Vec<&'a Value>, NoList> {
        let mut found = vec![document];
        for part in self.0.parts() {
            let mut below = Vec::new();
            for value in found {
                match (&*part, value) {
                    ("*", Value::Array(list)) => below.extend(list),
                    ("*", Value::Object(members)) => below.extend(members.values()),
                    (_, Value::Null) => {}
                    ("*", _) => return Err(NoList),
                    (name, value) => below.extend(value.pointer(JsonPointer::of_field(name).as_str())),
                }
            }
            if below.len() > MOST_VALUES {
                return Err(NoList);
            }
            found = below;
        }
        Ok(found)
    }
}

fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pointer_finds_what_rfc_6901_says() {
        let document = json!({"a": {"b": [10, 11]}, "c/d": 1, "e~f": 2, "": 3, "~1": 4});
        for (pointer, value, last) in [
            ("/a/b/1", Some(json!(11)), "1"),
            ("/a/b/01", None, "01"),
            ("/a/b/-", None, "-"),
            ("/a/x", None, "x"),
            ("/a/b/c/d", None, "d"),
            ("/c~1d", Some(json!(1)), "c/d"),
            ("/e~0f", Some(json!(2)), "e~f"),
            ("/", Some(json!(3)), ""),
            ("/~01", Some(json!(4)), "~1"),
        ] {
            let parsed = JsonPointer::parse(pointer).expect(pointer);
            assert_eq!((parsed.find_in(&document), &*parsed.last_part()), (value.as_ref(), last), "{pointer}");
        }
        for (text, error) in [
            ("", JsonPointerError::NoSlash),
            ("a", JsonPointerError::NoSlash),
            ("#/a", JsonPointerError::NoSlash),
            ("/a~", JsonPointerError::Tilde),
            ("/a~2", JsonPointerError::Tilde),
            ("/~~0", JsonPointerError::Tilde),
        ] {
            assert_eq!(JsonPointer::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_star_stands_for_every_element_of_a_list_and_every_member_of_an_object() {
        let document = json!({
            "memberships": [{"org_id": 42}, {"org_id": "77"}, {"role": "guest"}, null],
            "orgs": {"42": {"id": 1}, "77": {"id": 2}},
            "teams": [[1, 2], [3]], "none": null, "name": "alice",
        });
        for (pointer, found) in [
            ("/memberships/*/org_id", Ok(json!([42, "77"]))),
            ("/orgs/*/id", Ok(json!([1, 2]))),
            ("/teams/*/*", Ok(json!([1, 2, 3]))),
            ("/memberships/0/org_id", Ok(json!([42]))),
            ("/none/*/id", Ok(json!([]))),
            ("/absent/*/id", Ok(json!([]))),
            ("/name/*", Err(NoList)),
            ("/memberships/*/org_id/*", Err(NoList)),
        ] {
            let values = ManyPointer::parse(pointer).expect(pointer).find_in(&document);
            let values = values.map(|values| Value::Array(values.into_iter().cloned().collect()));
            assert_eq!(values, found, "{pointer}");
        }
        let many = json!({"ids": vec![1; MOST_VALUES + 1]});
        assert_eq!(ManyPointer::parse("/ids/*").expect("a pointer").find_in(&many), Err(NoList));
    }

    #[test]
    fn a_bare_field_name_becomes_a_pointer_to_that_very_field() {
        for name in ["remember", "a/b", "a~b", "~1", ""] {
            let pointer = JsonPointer::of_field(name);
            assert_eq!(JsonPointer::parse(pointer.as_str()), Ok(pointer.clone()));
            assert_eq!(pointer.last_part(), name);
        }
    }
}
