//! Path patterns: literal segments, `{name}` for one segment, a last `*` for the rest.
//!
//! Matched on fully decoded segments, with or without one trailing slash; the most specific pattern wins, literal
//! before `{name}` before `*`, compared from the left.

use std::collections::BTreeMap;
use std::fmt;

/// The name of a segment that stands for any.
pub const ANY: &str = "_";
/// A pattern longer than this is refused: it could never match a path within the header limits anyway.
const MOST_SEGMENTS: usize = 64;

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Patterns are paths.
    #[error("does not start with `/`")]
    NoSlash,
    /// `*` stands for the rest, so nothing can follow it, and it is a segment of its own.
    #[error("has a `*` that is not the whole last segment")]
    Star,
    /// A segment with a brace is a capture as a whole.
    #[error("has `{{` or `}}` that does not enclose a whole segment's name (letters, digits, `_`)")]
    Brace,
    /// The same name twice.
    #[error("names `{{{0}}}` twice")]
    Twice(String),
    /// Normalised paths have no empty or dot segments, so it would never match.
    #[error("has an empty or a dot segment, which no normalised path has")]
    Segment,
    /// A query, fragment, escape, white space or control character.
    #[error("has `{0}`; write the path decoded and without query")]
    Character(char),
    /// More than 64 segments.
    #[error("has more than {MOST_SEGMENTS} segments")]
    TooLong,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    Capture(Box<str>),
    Rest,
}

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    segments: Vec<Segment>,
    text: Box<str>,
}

impl PathPattern {
    /// Parses a pattern as written in the configuration.
    ///
    /// # Errors
    /// When it is not a pattern, or could never match.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or(PatternError::NoSlash)?;
        if let Some(bad) =
            text.chars().find(|c| matches!(c, '?' | '#' | '%' | '\\') || c.is_whitespace() || c.is_control())
        {
            return Err(PatternError::Character(bad));
        }
        if text.contains("//") {
            return Err(PatternError::Segment);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut segments = Vec::new();
        if !rest.is_empty() {
            for part in rest.split('/') {
                if segments.last() == Some(&Segment::Rest) {
                    return Err(PatternError::Star);
                }
                segments.push(parse_segment(part, &segments)?);
            }
        }
        if segments.last() == Some(&Segment::Rest) && text.ends_with('/') {
            return Err(PatternError::Star);
        }
        if segments.len() > MOST_SEGMENTS {
            return Err(PatternError::TooLong);
        }
        Ok(Self { segments, text: text.into() })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of its segments.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Capture(name) => Some(&**name),
            Segment::Literal(_) | Segment::Rest => None,
        })
    }

    /// Which of a matching path's segments `{name}` stands for.
    #[must_use]
    pub fn position_of(&self, name: &str) -> Option<usize> {
        self.segments.iter().position(|segment| matches!(segment, Segment::Capture(captured) if **captured == *name))
    }
}

fn parse_segment(part: &str, before: &[Segment]) -> Result<Segment, PatternError> {
    if part == "*" {
        return Ok(Segment::Rest);
    }
    if part.contains('*') {
        return Err(PatternError::Star);
    }
    if part.is_empty() || part == "." || part == ".." {
        return Err(PatternError::Segment);
    }
    let named = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    match named {
        Some(name) if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
            // `{_}` is any, as often as one likes.
            let twice = name != ANY
                && before.iter().any(|segment| matches!(segment, Segment::Capture(other) if **other == *name));
            if twice { Err(PatternError::Twice(name.to_owned())) } else { Ok(Segment::Capture(name.into())) }
        }
        None if !part.contains(['{', '}']) => Ok(Segment::Literal(part.into())),
        _ => Err(PatternError::Brace),
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Patterns with what each stands for, looked up by path: the most specific pattern's values.
#[derive(Clone, Debug)]
pub struct PatternTree<T> {
    root: Node<T>,
}

#[derive(Clone, Debug)]
struct Node<T> {
    literals: BTreeMap<Box<str>, Node<T>>,
    /// The lengths of the literals, a bit for each: a segment of another length is none of them.
    lengths: u64,
    capture: Option<Box<Node<T>>>,
    exact: Vec<T>,
    rest: Vec<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: BTreeMap::new(), lengths: 0, capture: None, exact: Vec::new(), rest: Vec::new() }
    }
}

impl<T> Default for PatternTree<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> PatternTree<T> {
    /// Adds a value under a pattern. Several values may stand under equal patterns (`/a/{x}` and `/a/{y}` are equal).
    pub fn insert(&mut self, pattern: &PathPattern, value: T) {
        self.entry(pattern).push(value);
    }

    /// The values that stand under patterns equal to this one, to be read or changed.
    pub fn entry(&mut self, pattern: &PathPattern) -> &mut Vec<T> {
        let mut node = &mut self.root;
        for segment in &pattern.segments {
            match segment {
                Segment::Literal(text) => {
                    node.lengths |= length_bit(text);
                    node = node.literals.entry(text.clone()).or_default();
                }
                Segment::Capture(_) => node = node.capture.get_or_insert_default(),
                Segment::Rest => return &mut node.rest,
            }
        }
        &mut node.exact
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        let mut found = Vec::new();
        let mut waiting = vec![&self.root];
        while let Some(node) = waiting.pop() {
            found.extend(node.exact.iter().chain(&node.rest));
            waiting.extend(node.literals.values().chain(node.capture.as_deref()));
        }
        found.into_iter()
    }

    /// The values of the most specific pattern that matches; empty when none does.
    ///
    /// `segments` are the path's, decoded and without empty ones; `trailing_slash` says whether the path ends in one,
    /// which matters for a rest alone: `/static/*` matches `/static/` and not `/static`.
    pub fn find<S: AsRef<str>>(&self, segments: &[S], trailing_slash: bool) -> &[T] {
        find(&self.root, segments, trailing_slash).unwrap_or_default()
    }
}

fn find<'tree, T, S: AsRef<str>>(node: &'tree Node<T>, segments: &[S], trailing_slash: bool) -> Option<&'tree [T]> {
    let here = |values: &'tree Vec<T>| (!values.is_empty()).then_some(values.as_slice());
    let Some((first, others)) = segments.split_first() else {
        return here(&node.exact).or_else(|| if trailing_slash { here(&node.rest) } else { None });
    };
    let first = first.as_ref();
    let literal = if node.lengths & length_bit(first) == 0 { None } else { node.literals.get(first) };
    literal
        .and_then(|next| find(next, others, trailing_slash))
        .or_else(|| node.capture.as_deref().and_then(|next| find(next, others, trailing_slash)))
        .or_else(|| here(&node.rest))
}

/// The bit of a segment's length. Longer ones share the last.
fn length_bit(segment: &str) -> u64 {
    1 << segment.len().min(63)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(patterns: &[&'static str]) -> PatternTree<&'static str> {
        let mut tree = PatternTree::default();
        for pattern in patterns {
            tree.insert(&PathPattern::parse(pattern).expect("a pattern"), *pattern);
        }
        tree
    }

    fn found(tree: &PatternTree<&'static str>, path: &str) -> Option<&'static str> {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        tree.find(&segments, path.ends_with('/')).first().copied()
    }

    #[test]
    fn the_most_specific_pattern_wins_from_the_left() {
        let tree = tree(&["/", "/*", "/a/*", "/a/{x}", "/a/b", "/{x}/b/c", "/a/{x}/d", "/static/*"]);
        for (path, pattern) in [
            ("/", Some("/")),
            ("/a/b", Some("/a/b")),
            ("/a/b/", Some("/a/b")),
            ("/a/z", Some("/a/{x}")),
            ("/a/b/c", Some("/a/*")),
            ("/a/b/d", Some("/a/{x}/d")),
            ("/z/b/c", Some("/{x}/b/c")),
            ("/z/b", Some("/*")),
            ("/a", Some("/*")),
            ("/a/", Some("/a/*")),
            ("/static", Some("/*")),
            ("/static/", Some("/static/*")),
            ("/static/css/x.css", Some("/static/*")),
            ("/Static/x", Some("/*")),
        ] {
            assert_eq!(found(&tree, path), pattern, "{path}");
        }
    }

    #[test]
    fn a_literal_of_any_length_is_found_and_only_it() {
        for length in 1..200 {
            let pattern = PathPattern::parse(&format!("/{}", "a".repeat(length))).expect("a pattern");
            let mut tree = PatternTree::default();
            tree.insert(&pattern, ());
            assert_eq!(tree.find(&["a".repeat(length)], false), [()], "{length}");
            assert!(tree.find(&["b".repeat(length)], false).is_empty(), "{length}");
            assert!(tree.find(&["a".repeat(length + 1)], false).is_empty(), "{length}");
        }
    }

    #[test]
    fn a_rest_matches_below_its_folder_and_not_the_folder_itself() {
        let tree = tree(&["/static/*"]);
        assert_eq!(found(&tree, "/static"), None);
        assert_eq!(found(&tree, "/static/"), Some("/static/*"));
        assert_eq!(found(&tree, "/"), None);
    }

    #[test]
    fn the_root_rest_matches_everything() {
        let tree = tree(&["/*"]);
        for path in ["/", "/a", "/a/b/"] {
            assert_eq!(found(&tree, path), Some("/*"), "{path}");
        }
    }

    #[test]
    fn what_could_never_match_is_refused() {
        for (text, error) in [
            ("api", PatternError::NoSlash),
            ("", PatternError::NoSlash),
            ("/a/*/b", PatternError::Star),
            ("/a/*/", PatternError::Star),
            ("/a*", PatternError::Star),
            ("/a//b", PatternError::Segment),
            ("//", PatternError::Segment),
            ("/a/../b", PatternError::Segment),
            ("/a/{x", PatternError::Brace),
            ("/a/x{y}", PatternError::Brace),
            ("/a/{}", PatternError::Brace),
            ("/{x}/{x}", PatternError::Twice("x".into())),
            ("/a?b", PatternError::Character('?')),
            ("/a%20b", PatternError::Character('%')),
            ("/a b", PatternError::Character(' ')),
        ] {
            assert_eq!(PathPattern::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn names_of_captures_do_not_make_patterns_differ() {
        let mut tree = tree(&["/a/{x}"]);
        assert_eq!(tree.entry(&PathPattern::parse("/a/{other}").expect("a pattern")), &["/a/{x}"]);
    }
}
