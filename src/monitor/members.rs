//! The members of one value in a JSON text that streams by: what stands at a pointer is found and counted, without keeping
//! anything of it but where one is.
//!
//! It is lenient: what is no JSON is counted somehow, and does no harm.

use memchr::memchr2;

/// Counts the members of what stands at a place.
#[derive(Debug)]
pub struct MemberCounter {
    parts: Vec<Part>,
    /// The containers that lead to the place, the outermost first; at the place itself the last of them is what is counted.
    way: Vec<Container>,
    /// Containers that are open within the last of those, and lead nowhere.
    astray: u64,
    text: Text,
    members: u64,
}

/// A part of the pointer.
#[derive(Debug)]
struct Part {
    name: Box<[u8]>,
    /// Its place in a list, where it can be one.
    index: Option<u64>,
}

/// An object or list on the way.
#[derive(Debug)]
struct Container {
    is_list: bool,
    /// Of a list: which element comes next, or is there.
    index: u64,
    /// Whether a member may begin, and in an object its name.
    is_between: bool,
    /// Whether what comes next is where the way leads.
    leads: bool,
}

/// Where in a string one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    /// In none.
    Outside,
    /// In one; of the name of a member on the way it is known how much of the part it has, or that it is another.
    Inside(Option<usize>),
    /// The same, behind a backslash.
    Escaped(Option<usize>),
    /// The same, with so many digits of an escape to come, and what they were until now.
    Digits(Option<usize>, u8, u32),
}

impl MemberCounter {
    /// Of what stands there: the parts of a pointer, none for the whole.
    #[must_use]
    pub fn at(parts: &[String]) -> Self {
        let part = |name: &String| Part { name: name.as_bytes().into(), index: index_of(name) };
        let parts: Vec<Part> = parts.iter().map(part).collect();
        let way = Vec::with_capacity(parts.len() + 1);
        Self { parts, way, astray: 0, text: Text::Outside, members: 0 }
    }

    /// How many there were until now.
    #[must_use]
    pub const fn members(&self) -> u64 {
        self.members
    }

    /// So much more of the text.
    pub fn take(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while let Some((byte, behind)) = rest.split_first() {
            if self.text == Text::Inside(None) {
                // Nothing in it matters but its end.
                let Some(at) = memchr2(b'"', b'\\', rest) else { return };
                self.text = if rest.get(at) == Some(&b'"') { Text::Outside } else { Text::Escaped(None) };
                rest = rest.get(at + 1..).unwrap_or_default();
                continue;
            }
            match self.text {
                Text::Outside => self.outside(*byte),
                inside => self.text = self.inside(inside, *byte),
            }
            rest = behind;
        }
    }

    /// Whether what is open is what is counted.
    fn is_there(&self) -> bool {
        self.way.len() > self.parts.len()
    }

    fn outside(&mut self, byte: u8) {
        if byte.is_ascii_whitespace() {
            return;
        }
        if self.astray > 0 {
            match byte {
                b'"' => self.text = Text::Inside(None),
                b'{' | b'[' => self.astray += 1,
                b'}' | b']' => self.astray -= 1,
                _ => {}
            }
            return;
        }
        let is_there = self.is_there();
        let part = self.parts.get(self.way.len().wrapping_sub(1));
        let Some(here) = self.way.last_mut() else {
            match byte {
                b'{' | b'[' => self.enter(byte == b'['),
                b'"' => self.text = Text::Inside(None),
                _ => {}
            }
            return;
        };
        match byte {
            b'}' | b']' => {
                self.way.pop();
            }
            b',' => {
                here.index += 1;
                (here.is_between, here.leads) = (true, false);
            }
            b':' => {}
            _ => {
                let begins = std::mem::replace(&mut here.is_between, false);
                self.members += u64::from(is_there && begins);
                if here.is_list && begins {
                    here.leads = part.is_some_and(|part| part.index == Some(here.index));
                }
                let is_name = begins && !here.is_list;
                let leads = here.leads;
                match byte {
                    b'"' if is_name && !is_there => self.text = Text::Inside(Some(0)),
                    b'"' => self.text = Text::Inside(None),
                    b'{' | b'[' if leads && !is_there => self.enter(byte == b'['),
                    b'{' | b'[' => self.astray = 1,
                    _ => {}
                }
            }
        }
    }

    fn enter(&mut self, is_list: bool) {
        self.way.push(Container { is_list, index: 0, is_between: true, leads: false });
    }

    fn inside(&mut self, text: Text, byte: u8) -> Text {
        match (text, byte) {
            (Text::Outside, _) => Text::Outside,
            (Text::Inside(like), b'"') => {
                self.named(like);
                Text::Outside
            }
            (Text::Inside(like), b'\\') => Text::Escaped(like),
            (Text::Inside(like), byte) => Text::Inside(self.goes_on(like, &[byte])),
            (Text::Escaped(like), b'u') => Text::Digits(like, 4, 0),
            (Text::Escaped(like), byte) => {
                let meant = match byte {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    itself => itself,
                };
                Text::Inside(self.goes_on(like, &[meant]))
            }
            (Text::Digits(like, left, code), byte) => {
                let code = code << 4 | char::from(byte).to_digit(16).unwrap_or_default();
                if left > 1 {
                    return Text::Digits(like, left - 1, code);
                }
                // Half of a pair is no character: no name on the way is written with one.
                let meant = char::from_u32(code);
                let mut bytes = [0; 4];
                Text::Inside(meant.and_then(|meant| self.goes_on(like, meant.encode_utf8(&mut bytes).as_bytes())))
            }
        }
    }

    /// How much of the part the name has with these bytes; `None` where it is another.
    fn goes_on(&self, like: Option<usize>, bytes: &[u8]) -> Option<usize> {
        let part = self.parts.get(self.way.len().checked_sub(1)?)?;
        let end = like?.checked_add(bytes.len())?;
        (part.name.get(like?..end)? == bytes).then_some(end)
    }

    /// The name of a member ended.
    fn named(&mut self, like: Option<usize>) {
        let part = self.parts.get(self.way.len().wrapping_sub(1));
        if let (Some(here), Some(part), Some(like)) = (self.way.last_mut(), part, like) {
            here.leads = like == part.name.len();
        }
    }
}

/// A place in a list, as a pointer writes it: without a sign or zeros before it.
fn index_of(name: &str) -> Option<u64> {
    let plain = name == "0" || !name.starts_with(['0', '+']);
    name.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn counted(pointer: &str, text: &str) -> u64 {
        let parts: Vec<String> = pointer.split('/').skip(1).map(str::to_owned).collect();
        let mut counter = MemberCounter::at(&parts);
        counter.take(text.as_bytes());
        // Byte by byte it is the same.
        let mut again = MemberCounter::at(&parts);
        text.as_bytes().chunks(1).for_each(|piece| again.take(piece));
        assert_eq!(again.members(), counter.members(), "{pointer} {text}");
        counter.members()
    }

    #[test]
    fn the_members_of_what_stands_at_the_place_count_and_nothing_else() {
        for (pointer, text, members) in [
            ("/results", r#"{"results":[1,2,3]}"#, 3),
            ("/results", r#"{"results":[]}"#, 0),
            ("/results", r#"{"other":[1,2],"results":[{"a":[1,2]},{"b":{"results":[9]}}],"more":[1]}"#, 2),
            ("/results", r#"{"results":{"a":1,"b":{"c":2}}}"#, 2),
            ("/results", r#"{"results":"none, [1,2]"}"#, 0),
            ("/results", r#"{"x":"results","y":[1],"results":[1]}"#, 1),
            ("/results", r#"{"results2":[1],"result":[1],"":[1]}"#, 0),
            ("/results", r#"[{"results":[1]}]"#, 0),
            ("/results", "\u{feff} {\n \"results\" : [ \"a\\\"]\" , null,{} ,[]]\n}", 4),
            ("/results", r#"{"re\u0073ults":[1,2],"\"":[3]}"#, 2),
            ("/a/b", r#"{"a":{"c":[1],"b":[1,2]},"b":[1,2,3]}"#, 2),
            ("/a/1", r#"{"a":[[1],[1,2,3],[1]]}"#, 3),
            ("/a/1", r#"{"a":{"1":[1,2]}}"#, 2),
            ("", r#"[{"a":[1,2]},2,"x"]"#, 3),
            ("", r#"{"a":1,"b":[1,2,3]}"#, 2),
            ("", "17", 0),
            ("/é", "{\"é\":[1],\"\\u00e9\":[1]}", 2),
            ("/results", "{\"results\":[1]}\n{\"results\":[2,3]}\n", 3),
        ] {
            assert_eq!(counted(pointer, text), members, "{pointer} {text}");
        }
    }

    #[test]
    fn what_is_no_json_is_counted_somehow_and_does_no_harm() {
        for text in ["}}}]]]", "{\"results\":[", "\"\\", "{\"a\\u12", "[[[[[", ",,,,", "{\"results\"[1}]", "\u{0}"] {
            counted("/results", text);
        }
        let mut deep = MemberCounter::at(&[String::from("a")]);
        (0..1_000_000).for_each(|_| deep.take(b"[{\"a\":"));
        assert!(deep.way.len() <= 2, "nothing grows with what comes");
    }

    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[a-c\"\\\\{}\\[\\],:é]{0,4}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 64, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec(("[a-c\"\\\\]{0,2}", inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_counts_what_a_parser_finds(inner in documents(), path in proptest::collection::vec("[a-c]|[0-2]", 0..3)) {
            let document = json!({"a": inner.clone(), "b": [inner.clone(), {"c": inner}]});
            let pointer: String = path.iter().map(|part| format!("/{part}")).collect();
            let found = document.pointer(&pointer);
            let members = match found {
                Some(Value::Array(list)) => list.len(),
                Some(Value::Object(members)) => members.len(),
                _ => 0,
            };
            for text in [document.to_string(), serde_json::to_string_pretty(&document).expect("JSON")] {
                prop_assert_eq!(counted(&pointer, &text), members as u64, "{} {}", pointer, text);
            }
        }
    }
}
