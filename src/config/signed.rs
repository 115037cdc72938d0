//! `identity.signed`: how a backend can check who told it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::error::Problems;
use super::files::Files;
use super::mode::Mode;
use super::raw::RawIdentity;
use super::reader::Spot;
use super::secrets::{demand_strength, read_secret, warn_of_readers};
use super::table::Setting;
use super::value::{Parsed, choice, duration_within};
use crate::policy::IdentityMode;
use crate::settled;
use crate::signed::{RequestSecret, SignedForm, SignedIdentity, SigningKey};

const SECOND: Duration = Duration::from_secs(1);
/// The largest file with a key.
const LARGEST_KEY: u64 = 64 << 10;
/// More keys than this no rotation needs.
const MOST_KEYS: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Off,
    Jwt,
    Hmac,
}

/// `None` where nothing is signed.
pub(super) fn signed(raw: &RawIdentity, mode: Mode, problems: &mut Problems) -> Option<SignedIdentity> {
    let words = &[("off", Form::Off), ("jwt", Form::Jwt), ("hmac", Form::Hmac)];
    let form = raw.signed.parse_or(Form::Off, problems, choice(words));
    let lifetime = raw.signed_lifetime.parse_or(SECOND * 120, problems, duration_within(SECOND * 10..=SECOND * 3600));
    let listed = raw.signed_keys.get().map_or(&[][..], Vec::as_slice);
    match form {
        Form::Off => {
            if !listed.is_empty() {
                problems.warn(
                    raw.signed_keys.place(),
                    "stands without `signed`, so that nothing is signed; add `signed = \"jwt\"` or `\"hmac\"`",
                );
            }
            return None;
        }
        Form::Jwt | Form::Hmac if listed.is_empty() => {
            let (keygen, example) = match form {
                Form::Hmac => ("session-gateway keygen", "signed.secret"),
                _ => ("session-gateway keygen --signing", "signed.pem"),
            };
            // A wrong list has been reported.
            if raw.signed_keys.get().is_some() || !raw.signed_keys.is_given() {
                problems.error(
                    raw.signed.place(),
                    format!("has no key; make one with `{keygen} > {example}` and add `signed_keys = [\"{example}\"]`"),
                );
            }
            return None;
        }
        Form::Jwt | Form::Hmac => {}
    }
    let form = match form {
        Form::Hmac => secret(raw, listed, mode, problems).map(SignedForm::Hmac),
        _ => keys(raw, listed, problems).map(SignedForm::Jwt),
    };
    Some(SignedIdentity { form: form?, lifetime })
}

/// Warns where nothing is vouched for that could be signed.
pub(super) fn report_unsigned(raw: &RawIdentity, identity: IdentityMode, problems: &mut Problems) {
    let mode = match identity {
        IdentityMode::Enforce => return,
        IdentityMode::Observe => "observe",
        IdentityMode::Compat { .. } => "compat",
    };
    problems.warn(
        raw.signed.place(),
        format!(
            "signs nothing that a client claims, which `mode = \"{mode}\"` passes on: an app that checks refuses it; \
             have it check once the mode is \"enforce\""
        ),
    );
}

/// The files that are named.
pub(super) fn files(raw: &RawIdentity, files: &mut Files) {
    for spot in raw.signed_keys.get().into_iter().flatten() {
        files.read_at(Setting { place: spot.place.clone(), given: true }, Path::new(&spot.value));
    }
}

fn keys(raw: &RawIdentity, listed: &[Spot<String>], problems: &mut Problems) -> Option<Vec<Arc<SigningKey>>> {
    if listed.len() > MOST_KEYS {
        problems.error(raw.signed_keys.place(), format!("has more than {MOST_KEYS} keys; remove those that are over"));
        return None;
    }
    let mut keys: Vec<Arc<SigningKey>> = Vec::with_capacity(listed.len());
    for Spot { place, value: path } in listed {
        match key(path) {
            Ok(key) if keys.iter().any(|other| **other == key) => {
                problems.error(place, "names a key that stands there already; name each once");
            }
            Ok(key) => keys.push(Arc::new(key)),
            Err(message) => problems.error(place, message),
        }
        warn_of_readers(Path::new(path), place, problems);
    }
    (keys.len() == listed.len()).then_some(keys)
}

fn key(path: &str) -> Parsed<SigningKey> {
    let read = settled::read(Path::new(path), LARGEST_KEY).map_err(|error| format!("names a file that {error}"))?;
    SigningKey::from_pem(&read.bytes)
        .map_err(|fault| format!("names a file that {fault}; make one with `session-gateway keygen --signing`"))
}

/// One alone: whoever checks can take two while it is changed, and the gateway signs with one.
fn secret(raw: &RawIdentity, listed: &[Spot<String>], mode: Mode, problems: &mut Problems) -> Option<RequestSecret> {
    let [Spot { place, value: path }] = listed else {
        problems.error(
            raw.signed_keys.place(),
            "names several secrets, of which one alone can sign; keep one, and have the app take two while it is changed",
        );
        return None;
    };
    match read_secret(Path::new(path)) {
        Ok((secret, _)) => {
            warn_of_readers(Path::new(path), place, problems);
            if secret.expose_secret().starts_with("-----BEGIN") {
                problems
                    .error(place, "names a key for `signed = \"jwt\"`; make a secret with `session-gateway keygen`");
                return None;
            }
            demand_strength(&Spot { place: place.clone(), value: secret.clone() }, mode, problems);
            Some(RequestSecret::new(secret))
        }
        Err(message) => {
            problems.error(place, message);
            None
        }
    }
}
