//! What is wrong with a configuration: every error, each with its file, line and key.
//!
//! Messages say what is wrong and what to do. They never show a secret: what may hold one is not quoted.

use std::fmt;
use std::sync::Arc;

/// One thing that is wrong. Shown as `file:line: key.path: what is wrong, what to do`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: Arc<str>,
    line: Option<usize>,
    key: String,
    message: String,
}

impl ConfigError {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, from 1, where it is about one.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        self.line
    }

    /// The key, as `server.listen`; empty where it is about none.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What is wrong, and what to do.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// An error of the file as a whole.
    pub(super) fn of_file(file: &str, message: String) -> Self {
        Self { file: file.into(), line: None, key: String::new(), message }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(formatter, ": {}", self.key)?;
        }
        write!(formatter, ": {}", self.message)
    }
}

/// Everything that is wrong with a configuration, in the order of the file; one line each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The errors, in the order of the file. Never empty.
    #[must_use]
    pub fn all(&self) -> &[ConfigError] {
        &self.0
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            error.fmt(formatter)?;
        }
        Ok(())
    }
}

/// Where in the file a key or value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// As in `upstreams.api.url` or `routes[0].match`.
    pub(super) key: String,
    /// From 1.
    pub(super) line: usize,
    /// In bytes from the start of the file; the order in which problems are shown.
    pub(super) offset: usize,
}

impl Place {
    /// The place of `name` within the table that stands here.
    pub(super) fn child(&self, name: &str) -> Self {
        let key = if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) };
        Self { key, ..self.clone() }
    }

    /// The place of an element of the list that stands here.
    pub(super) fn element(&self, index: usize) -> Self {
        Self { key: format!("{}[{index}]", self.key), ..self.clone() }
    }
}

/// Errors and warnings as they are found.
#[derive(Debug, Default)]
pub(super) struct Problems {
    errors: Vec<(Place, String)>,
    warnings: Vec<(Place, String)>,
}

impl Problems {
    /// Something that makes the configuration invalid.
    pub(super) fn error(&mut self, place: &Place, message: impl Into<String>) {
        self.errors.push((place.clone(), one_line(message.into())));
    }

    /// Something that is allowed, but that an operator should know.
    pub(super) fn warn(&mut self, place: &Place, message: impl Into<String>) {
        self.warnings.push((place.clone(), one_line(message.into())));
    }

    /// Whether nothing makes the configuration invalid so far.
    pub(super) const fn no_errors(&self) -> bool {
        self.errors.is_empty()
    }

    /// The errors as they are shown.
    pub(super) fn into_errors(self, file: &str) -> ConfigErrors {
        ConfigErrors(located(self.errors, file))
    }

    /// The warnings as they are shown.
    pub(super) fn into_warnings(self, file: &str) -> Vec<String> {
        located(self.warnings, file).iter().map(ToString::to_string).collect()
    }
}

/// A file's text in a message cannot forge a line or move a terminal's cursor.
fn one_line(message: String) -> String {
    if !message.contains(char::is_control) {
        return message;
    }
    message.chars().fold(String::new(), |mut line, c| {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        line
    })
}

fn located(mut found: Vec<(Place, String)>, file: &str) -> Vec<ConfigError> {
    let file: Arc<str> = file.into();
    found.sort_by_key(|(place, _)| place.offset);
    found
        .into_iter()
        .map(|(place, message)| ConfigError { file: file.clone(), line: Some(place.line), key: place.key, message })
        .collect()
}
