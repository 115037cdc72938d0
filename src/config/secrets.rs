//! Secrets: given in place or in a file of their own, and strong enough for production.
//!
//! No message of this file shows a secret, nor the name of its file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::{Place, Problems};
use super::mode::Mode;
use super::raw::RawSecrets;
use super::reader::Spot;
use super::table::Field;
use super::value::Parsed;
use crate::secret::Secret;
use crate::settled::{self, Settled};

/// Secrets that are used by what signs or encrypts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretsConfig {
    /// The key; the audit log's is derived from it.
    pub key: Option<Secret>,
    /// Keys from before, which open what was sealed with them and seal nothing.
    pub previous: Vec<Secret>,
}

/// The fewest bytes of a strong secret.
const STRONG: usize = 32;
/// The most bytes of a secret file.
const LONGEST_FILE: u64 = 64 * 1024;
/// Anyone may read it.
const WORLD_READABLE: u32 = 0o004;

const WELL_KNOWN: [&str; 16] = [
    "admin",
    "changeit",
    "changeme",
    "default",
    "dev",
    "development",
    "example",
    "insecure",
    "key",
    "letmein",
    "password",
    "replaceme",
    "secret",
    "secretkey",
    "test",
    "token",
];

pub(super) fn secrets(raw: &RawSecrets, mode: Mode, problems: &mut Problems) -> SecretsConfig {
    let key = secret_or_file(&raw.key, &raw.key_file, problems);
    if let Some(key) = &key {
        demand_strength(key, mode, problems);
    }
    let previous: Vec<Secret> =
        raw.previous_files.get().into_iter().flatten().filter_map(|file| previous(file, mode, problems)).collect();
    if key.is_none() && !previous.is_empty() {
        problems.error(
            raw.previous_files.place(),
            "stands without `secrets.key` or `secrets.key_file`; add the present key",
        );
    }
    SecretsConfig { key: key.map(|key| key.value), previous }
}

fn previous(file: &Spot<String>, mode: Mode, problems: &mut Problems) -> Option<Secret> {
    match read_secret(Path::new(&file.value)) {
        Ok((secret, permissions)) => {
            warn_of_permissions(permissions, &file.place, problems);
            let spot = Spot { place: file.place.clone(), value: secret };
            demand_strength(&spot, mode, problems);
            Some(spot.value)
        }
        Err(message) => {
            problems.error(&file.place, message);
            None
        }
    }
}

/// The secret of `field`, or of the file that its twin names.
pub(super) fn secret_or_file(
    field: &Field<Secret>,
    file: &Field<String>,
    problems: &mut Problems,
) -> Option<Spot<Secret>> {
    if field.is_given() && file.is_given() {
        problems.error(file.place(), format!("stands beside `{}`; keep one of the two", field.place().key));
        return None;
    }
    let from_file = file.parse(problems, |path| read_secret(Path::new(path)));
    if let Some((secret, permissions)) = from_file {
        warn_of_permissions(permissions, file.place(), problems);
        return Some(Spot { place: file.place().clone(), value: secret });
    }
    let value = field.parse(problems, |secret| {
        if secret.expose_secret().is_empty() { Err(String::from("is empty")) } else { Ok(secret.clone()) }
    })?;
    Some(Spot { place: field.place().clone(), value })
}

fn warn_of_permissions(permissions: u32, place: &Place, problems: &mut Problems) {
    if permissions & WORLD_READABLE != 0 {
        problems.warn(place, "is readable by everyone on this machine; run `chmod o-r` on it");
    }
}

/// Warns of a private file that others can read. That it cannot be looked at is for its reader to tell.
pub(super) fn warn_of_readers(path: &Path, place: &Place, problems: &mut Problems) {
    if let Ok(found) = std::fs::metadata(path) {
        warn_of_permissions(found.permissions().mode(), place, problems);
    }
}

/// The path is not shown: it may be the secret itself, put where a file's name belongs.
pub(super) fn read_secret(path: &Path) -> Parsed<(Secret, u32)> {
    let wrong = |why: &dyn std::fmt::Display| format!("names a file that {why}");
    let Settled { bytes, permissions } = settled::read(path, LONGEST_FILE).map_err(|error| wrong(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong(&"is not text; write the secret as text"))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() { Err(wrong(&"is empty")) } else { Ok((Secret::new(secret), permissions)) }
}

/// Refuses a weak secret in production, and warns of one in development.
pub(super) fn demand_strength(secret: &Spot<Secret>, mode: Mode, problems: &mut Problems) {
    let Some(weakness) = weakness(secret.value.expose_secret()) else { return };
    let message = format!("{weakness}; make a strong one with `session-gateway keygen`");
    match mode {
        Mode::Production => problems.error(&secret.place, message),
        Mode::Development => problems.warn(&secret.place, format!("{message} before production")),
    }
}

fn weakness(secret: &str) -> Option<&'static str> {
    let plain: String = secret.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let mut characters = secret.chars();
    if characters.next().is_some_and(|first| characters.all(|c| c == first)) {
        Some("is one repeated character")
    } else if WELL_KNOWN.iter().any(|word| plain.replace(word, "").is_empty()) {
        Some("is a well-known word")
    } else if secret.len() < STRONG {
        Some("is shorter than 32 bytes")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_well_known_or_monotonous_secret_is_weak() {
        for (secret, expected) in [
            ("a", Some("is one repeated character")),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Some("is one repeated character")),
            ("Change-Me", Some("is a well-known word")),
            ("changeme-changeme-changeme-changeme-changeme", Some("is a well-known word")),
            ("3q2+7wABCDEFGHIJKLMNOPQRSTUVWXY", Some("is shorter than 32 bytes")),
            ("3q2+7wABCDEFGHIJKLMNOPQRSTUVWXYZ", None),
            ("my-password-is-secret-and-long-enough-1", None),
        ] {
            assert_eq!(weakness(secret), expected, "{secret}");
        }
    }
}
