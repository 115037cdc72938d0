//! `[store]`: where sessions are kept.

use std::path::PathBuf;

use super::address::{file_path, host_and_port};
use super::error::Problems;
use super::files::Files;
use super::raw::RawStore;
use super::reader::CountOrOff;
use super::secrets::secret_or_file;
use super::value::{Parsed, choice, count_within, or_off, quoted};
use crate::secret::Secret;

/// Where sessions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Which store.
    pub kind: StoreKind,
    /// What every key of ours starts with.
    pub prefix: String,
}

/// Which store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A Redis or Valkey server.
    Redis {
        /// `redis://`, `rediss://` or `redis+unix:`; may hold a password.
        url: Secret,
        /// The password, when it is not in the URL.
        password: Option<Secret>,
        /// Where this gateway keeps what it ended; `None`: nowhere.
        journal: Option<PathBuf>,
        /// How many sessions this gateway keeps in memory; `None`: none.
        cache_entries: Option<usize>,
    },
    /// A file, for one machine.
    Embedded {
        /// The file; its folder is made.
        path: PathBuf,
    },
}

/// Sessions in memory: some 40 MB of them.
const DEFAULT_CACHE_ENTRIES: usize = 100_000;
/// The longest prefix, in bytes.
const LONGEST_PREFIX: usize = 64;

pub(super) fn store(raw: &RawStore, problems: &mut Problems) -> Option<StoreConfig> {
    let password = secret_or_file(&raw.password, &raw.password_file, problems);
    raw.on_error.parse(problems, choice(&[("deny", ())]));
    let prefix = raw.prefix.parse_or(String::from("sg:"), problems, |text| prefix(text));
    if raw.embedded.is_given() && raw.redis.is_given() {
        problems.error(raw.embedded.place(), "stands beside `store.redis`; keep one of the two");
    }
    let journal =
        raw.journal.parse_or(Some(PathBuf::from("data/journal.redb")), problems, or_off(|path| file_path(path)));
    let cache_entries =
        raw.cache_entries.parse_or(Some(DEFAULT_CACHE_ENTRIES), problems, |CountOrOff(count)| match count {
            0 => Ok(None),
            count => count_within(1_000..=10_000_000)(count).map(Some).map_err(|wrong| format!("{wrong}, or \"off\"")),
        });
    let kind = if raw.embedded.is_given() {
        if raw.cache_entries.is_given() {
            problems.error(raw.cache_entries.place(), "belongs to `store.redis`; remove it");
        }
        if raw.journal.is_given() {
            problems.error(raw.journal.place(), "belongs to `store.redis`; remove it");
        }
        if let Some(password) = &password {
            problems.error(&password.place, "belongs to `store.redis`; remove it");
        }
        let path = raw.embedded.parse(problems, |path| file_path(path));
        path.map(|path| StoreKind::Embedded { path })
    } else {
        let url = raw.redis.require(
            problems,
            "redis = \"redis://127.0.0.1:6379/0\"` or `embedded = \"data/sessions.redb\"",
            redis_url,
        );
        if let (Some(url), Some(password)) = (&url, &password)
            && has_password(url)
        {
            problems.error(&password.place, "stands beside a password in `store.redis`; keep one of the two");
        }
        url.map(|url| StoreKind::Redis {
            url,
            password: password.map(|password| password.value),
            journal,
            cache_entries,
        })
    };
    Some(StoreConfig { kind: kind?, prefix })
}

/// Braces would move keys of one session to different cluster slots, and glob characters would widen a Redis user's
/// key patterns.
fn prefix(text: &str) -> Parsed<String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}*?[]\\^".contains(&byte));
    if plain && text.len() <= LONGEST_PREFIX {
        Ok(text.to_owned())
    } else {
        Err(format!("{} cannot be a prefix; use up to 64 letters, digits, `:`, `-`, `_` or `.`", quoted(text)))
    }
}

fn has_password(url: &Secret) -> bool {
    let rest = url.expose_secret().split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or("");
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// Checks a URL's shape. Messages never quote it: it may hold a password.
fn redis_url(url: &Secret) -> Parsed<Secret> {
    let text = url.expose_secret();
    if text.starts_with("sentinel:") || text.starts_with("cluster:") {
        return Err(String::from(
            "a `sentinel:` or `cluster:` store is not supported by this version; name one server",
        ));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(String::from("has a space or a character outside ASCII; write it percent-encoded"));
    }
    if text.contains('#') {
        return Err(String::from("has a `#`; write it as `%23` in a password, else remove it"));
    }
    if let Some(path) = text.strip_prefix("redis+unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        let absolute = path.starts_with('/') && path.split('?').next().is_some_and(|file| file.len() > 1);
        return if absolute {
            Ok(url.clone())
        } else {
            Err(String::from("names no socket; write it as \"redis+unix:///run/redis.sock\""))
        };
    }
    let Some(rest) = text.strip_prefix("redis://").or_else(|| text.strip_prefix("rediss://")) else {
        return Err(String::from("is not a store's address; start it with `redis://`, `rediss://` or `redis+unix:`"));
    };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host_and_port(host, 6379).is_none() {
        return Err(String::from("has no valid host and port; write it as \"redis://127.0.0.1:6379/0\""));
    }
    let database = path.split('?').next().unwrap_or("").trim_start_matches('/');
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return Err(String::from("has a path that is not a database's number; end it with `/0`"));
    }
    Ok(url.clone())
}

impl StoreConfig {
    /// Tells which files it writes.
    pub(super) fn report_written(&self, raw: &RawStore, files: &mut Files) {
        match &self.kind {
            StoreKind::Embedded { path } => files.written(raw.embedded.setting(), path),
            StoreKind::Redis { journal: Some(path), .. } => files.written(raw.journal.setting(), path),
            StoreKind::Redis { journal: None, .. } => {}
        }
    }

    /// What the store is, without any secret, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.kind {
            StoreKind::Embedded { path } => format!("embedded in {}", path.display()),
            StoreKind::Redis { url, .. } => {
                let text = url.expose_secret();
                let (scheme, rest) = text.split_once(':').unwrap_or(("redis", ""));
                let rest = rest.trim_start_matches("//");
                let rest = rest.split('?').next().unwrap_or("");
                let end = if scheme == "redis+unix" { 0 } else { rest.find('/').unwrap_or(rest.len()) };
                let start = rest.get(..end).and_then(|authority| authority.rfind('@')).map_or(0, |at| at + 1);
                format!("{scheme} at {}", rest.get(start..).unwrap_or(""))
            }
        }
    }
}
