//! `[store]`: where sessions are kept.

use std::path::PathBuf;

use super::address::file_path;
use super::error::Problems;
use super::files::Files;
use super::raw::RawStore;
use super::reader::{CountOrOff, Spot};
use super::secrets::secret_or_file;
use super::table::Setting;
use super::value::{Parsed, choice, count_within, or_off, quoted};
use crate::secret::Secret;
use crate::settled;
use crate::store::{AddressError, Beside, SentinelLogin, StoreAddress};

/// Where sessions are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Which store.
    pub kind: StoreKind,
    /// What every key of ours starts with.
    pub prefix: String,
    /// Whether sessions of another app may be there: they are valid here, too.
    pub shared_prefix: bool,
}

/// Which store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A Redis or Valkey server.
    Redis {
        /// Where it is, and who logs in to it.
        address: StoreAddress,
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
/// The most bytes of a file of authorities.
const LARGEST_CA: u64 = 4 << 20;
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
        for Setting { place, .. } in of_redis(raw).into_iter().filter(|setting| setting.given) {
            problems.error(&place, "belongs to `store.redis`; remove it");
        }
        if let Some(password) = &password {
            problems.error(&password.place, "belongs to `store.redis`; remove it");
        }
        let path = raw.embedded.parse(problems, |path| file_path(path));
        path.map(|path| StoreKind::Embedded { path })
    } else {
        let address = address(raw, password.as_ref(), problems);
        address.map(|address| StoreKind::Redis { address, journal, cache_entries })
    };
    let shared_prefix = raw.shared_prefix.get().copied().unwrap_or(false);
    Some(StoreConfig { kind: kind?, prefix, shared_prefix })
}

/// The server, with what stands beside its URL.
fn address(raw: &RawStore, password: Option<&Spot<Secret>>, problems: &mut Problems) -> Option<StoreAddress> {
    let example = "redis = \"redis://127.0.0.1:6379/0\"` or `embedded = \"data/sessions.redb\"";
    let url = raw.redis.require(problems, example, |url| Ok(url.clone()))?;
    let authorities = raw.ca.parse(problems, |path| {
        let pem = settled::read(&file_path(path)?, LARGEST_CA);
        pem.map(|pem| pem.bytes).map_err(|error| format!("names a file that {error}"))
    });
    let sentinel = sentinel(raw, problems);
    if (raw.ca.is_given() && authorities.is_none()) || (raw.sentinel.is_given() && sentinel.is_none()) {
        return None;
    }
    let addresses = raw.addresses.get().into_iter().flat_map(|named| &named.0);
    let beside = Beside {
        password: password.map(|password| password.value.clone()),
        authorities,
        sentinel,
        addresses: addresses.map(|(from, to)| (from.clone(), to.value.clone())).collect(),
        strict_failover: raw.strict_failover.get().copied(),
    };
    match StoreAddress::with(&url, beside) {
        Ok(address) => Some(address),
        Err(error) => {
            let place = match (error, password) {
                (AddressError::TwoPasswords, Some(password)) => &password.place,
                (AddressError::Authorities(_), _) => raw.ca.place(),
                (AddressError::Sentinel(_), _) => raw.sentinel.place(),
                (AddressError::Addresses(_), _) => raw.addresses.place(),
                (AddressError::StrictFailover(_), _) => raw.strict_failover.place(),
                _ => raw.redis.place(),
            };
            problems.error(place, error.to_string());
            None
        }
    }
}

/// What an embedded store has no use for.
fn of_redis(raw: &RawStore) -> [Setting; 6] {
    [
        raw.ca.setting(),
        raw.cache_entries.setting(),
        raw.journal.setting(),
        raw.sentinel.setting(),
        raw.addresses.setting(),
        raw.strict_failover.setting(),
    ]
}

/// How Sentinels are spoken to; `None` where nothing is said of it, or what is said is wrong.
fn sentinel(raw: &RawStore, problems: &mut Problems) -> Option<SentinelLogin> {
    let raw = raw.sentinel.get()?;
    let password = secret_or_file(&raw.password, &raw.password_file, problems);
    if password.is_none() && (raw.password.is_given() || raw.password_file.is_given()) {
        return None;
    }
    let user = raw.user.get().cloned().filter(|user| !user.is_empty());
    Some(SentinelLogin { user, password: password.map(|password| password.value), tls: raw.tls.get().copied() })
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
            StoreKind::Redis { address, .. } => address.to_string(),
        }
    }
}
