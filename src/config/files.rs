//! The files that a configuration names: what the gateway writes is nothing else that it reads or writes.
//!
//! Two names of one file are one file: by another path, a symbolic link or a hard link. It looks at files and never
//! opens one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use super::error::{Place, Problems};
use super::raw::{RawAdmin, RawCertificate, RawSecrets, RawServer, RawStore, RawTelemetry, RawUpstream};
use super::reader::{OffOr, TableOrList};
use super::table::{Field, Setting};

/// More links than this lead nowhere.
const MOST_LINKS: u32 = 16;

/// All that is named so far.
#[derive(Default)]
pub(super) struct Files(Vec<Used>);

struct Used {
    setting: Setting,
    file: Identity,
    written: bool,
}

/// What makes two paths one file.
#[derive(PartialEq, Eq)]
enum Identity {
    /// Its device and inode.
    Found(u64, u64),
    /// Where it would be made.
    Missing(PathBuf),
}

impl Files {
    /// The configuration itself, which stands at `place`.
    pub(super) fn configuration(&mut self, place: &Place, path: &Path) {
        self.add(Setting { place: place.clone(), given: false }, path, false);
    }

    /// A file that is written.
    pub(super) fn written(&mut self, setting: Setting, path: &Path) {
        self.add(setting, path, true);
    }

    /// A file that is read.
    pub(super) fn read_at(&mut self, setting: Setting, path: &Path) {
        self.add(setting, path, false);
    }

    /// The same, of a field that holds its path.
    pub(super) fn read(&mut self, field: &Field<String>) {
        if let Some(path) = field.get() {
            self.add(field.setting(), Path::new(path), false);
        }
    }

    fn add(&mut self, setting: Setting, path: &Path, written: bool) {
        self.0.push(Used { setting, file: Identity::of(path, MOST_LINKS), written });
    }

    pub(super) fn of_server(&mut self, raw: &RawServer) {
        self.certificates(&raw.tls);
    }

    pub(super) fn of_upstream(&mut self, raw: &RawUpstream) {
        self.read(&raw.ca);
        for url in raw.url.get().into_iter().chain(raw.urls.get().into_iter().flatten().map(|spot| &spot.value)) {
            if let Some(path) = url.strip_prefix("unix:") {
                let setting = if raw.url.is_given() { raw.url.setting() } else { raw.urls.setting() };
                self.add(setting, Path::new(path), false);
            }
        }
    }

    pub(super) fn of_store(&mut self, raw: &RawStore) {
        self.read(&raw.password_file);
        self.read(&raw.ca);
        if let Some(sentinel) = raw.sentinel.get() {
            self.read(&sentinel.password_file);
        }
        let socket = raw.redis.get().and_then(|url| url.expose_secret().strip_prefix("redis+unix:"));
        if let Some(path) = socket.and_then(|path| path.split('?').next()) {
            self.add(raw.redis.setting(), Path::new(path), false);
        }
    }

    pub(super) fn of_admin(&mut self, raw: &RawAdmin) {
        self.certificates(&raw.tls);
        self.read(&raw.token_file);
        for token in raw.tokens.get().into_iter().flatten() {
            self.read(&token.value.token_file);
        }
    }

    pub(super) fn of_telemetry(&mut self, raw: &RawTelemetry) {
        if let Some(OffOr::On(traces)) = raw.traces.get() {
            self.read(&traces.ca);
        }
    }

    pub(super) fn of_secrets(&mut self, raw: &RawSecrets) {
        self.read(&raw.key_file);
        for file in raw.previous_files.get().into_iter().flatten() {
            let setting = Setting { place: file.place.clone(), given: true };
            self.add(setting, Path::new(&file.value), false);
        }
    }

    fn certificates(&mut self, field: &Field<TableOrList<RawCertificate>>) {
        for table in field.get().into_iter().flat_map(|TableOrList(tables)| tables) {
            self.read(&table.value.cert);
            self.read(&table.value.key);
        }
    }

    /// Reports each file that is written and used for something else as well.
    pub(super) fn report_shared(&self, problems: &mut Problems) {
        for (index, used) in self.0.iter().enumerate() {
            let shared =
                self.0.iter().take(index).find(|other| (used.written || other.written) && used.file == other.file);
            if let Some(other) = shared {
                report(used, other, problems);
            }
        }
    }
}

/// At the setting that is in the file; at what is written when both are.
fn report(one: &Used, other: &Used, problems: &mut Problems) {
    let rank = |used: &Used| (used.setting.given, used.written, used.setting.place.offset);
    let (at, other) = if rank(one) > rank(other) { (one, other) } else { (other, one) };
    let (key, line) = (&other.setting.place.key, other.setting.place.line);
    let message = match (key.as_str(), other.setting.given) {
        ("", _) => String::from("is the configuration itself; name another file"),
        (key, true) => format!("is the same file as `{key}` in line {line}; give each its own"),
        (key, false) => format!("is the same file as `{key}` by default; give each its own"),
    };
    problems.error(&at.setting.place, message);
}

impl Identity {
    fn of(path: &Path, links: u32) -> Self {
        if let Ok(found) = fs::metadata(path) {
            return Self::Found(found.dev(), found.ino());
        }
        // A link to what is not there yet: it would be made there.
        if let (Ok(target), Some(links)) = (fs::read_link(path), links.checked_sub(1)) {
            return Self::of(&path.parent().unwrap_or(Path::new("")).join(target), links);
        }
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let known = path.ancestors().find_map(|folder| Some((folder, fs::canonicalize(folder).ok()?)));
        let Some((folder, real)) = known else { return Self::Missing(path) };
        let rest = path.strip_prefix(folder).unwrap_or(Path::new(""));
        Self::Missing(rest.components().fold(real, |mut place, part| {
            match part {
                Component::ParentDir => {
                    place.pop();
                }
                Component::Normal(name) => place.push(name),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
            place
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::config::Config;

    const KEY: &str = "3q2-7wABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    /// A folder with a configuration, a secret and a place for each file that is written.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().expect("a folder"));
            fs::write(folder.path("secret"), KEY).expect("writes");
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// What is wrong where `@` stands for the folder.
        fn errors(&self, settings: &str) -> String {
            let file = self.path("gateway.toml");
            let text =
                format!("server.public_url = \"https://a.test\"\nupstream.url = \"http://127.0.0.1:1\"\n{settings}\n");
            fs::write(&file, text.replace('@', &self.0.path().to_string_lossy())).expect("writes");
            Config::load(&file, &|_| None).map_or_else(|errors| errors.to_string(), |_| String::new())
        }
    }

    #[test]
    fn what_is_written_is_no_file_that_is_read_or_written_for_something_else() {
        let folder = Folder::new();
        symlink(folder.path("secret"), folder.path("link-to-secret")).expect("links");
        fs::hard_link(folder.path("secret"), folder.path("twin-of-secret")).expect("links");
        symlink(folder.path("j.redb"), folder.path("link-to-journal")).expect("links");
        symlink(folder.0.path(), folder.path("folder")).expect("links");
        let redis = "store.redis = \"redis://127.0.0.1/0\"\nstore.journal = \"@/j.redb\"";
        for (settings, expected) in [
            (format!("{redis}\naudit.file = \"@/audit.jsonl\""), ""),
            (format!("{redis}\naudit.file = \"@/gateway.toml\""), "audit.file: is the configuration itself"),
            (format!("{redis}\naudit.file = \"@/folder/gateway.toml\""), "audit.file: is the configuration itself"),
            (
                format!("{redis}\naudit.file = \"@/j.redb\""),
                "audit.file: is the same file as `store.journal` in line 4",
            ),
            (format!("{redis}\naudit.file = \"@/link-to-journal\""), "is the same file as `store.journal`"),
            (format!("{redis}\naudit.file = \"@/x/../j.redb\""), "is the same file as `store.journal`"),
            (format!("{redis}\naudit.file = \"@/folder/./j.redb\""), "is the same file as `store.journal`"),
            (
                format!("{redis}\naudit.file = \"@/a\"\nsecrets.key_file = \"@/a\""),
                "is the same file as `secrets.key_file`",
            ),
            (
                format!("{redis}\naudit.file = \"@/secret\"\nsecrets.key_file = \"@/secret\""),
                "same file as `secrets.key_file`",
            ),
            (format!("{redis}\naudit.file = \"@/link-to-secret\"\nsecrets.key_file = \"@/secret\""), "same file as"),
            (
                format!("{redis}\naudit.file = \"@/secret\"\nadmin.token_file = \"@/twin-of-secret\""),
                "`admin.token_file`",
            ),
            (
                format!(
                    "{redis}\naudit.file = \"@/secret\"\nadmin.tokens = [{{ name = \"a\", roles = [\"read\"], \
                     token_file = \"@/secret\" }}]"
                ),
                "`admin.tokens[0].token_file`",
            ),
            (
                format!("{redis}\naudit.file = \"@/secret\"\nstore.password_file = \"@/secret\""),
                "`store.password_file`",
            ),
            (
                format!("{redis}\naudit.file = \"@/c\"\nserver.tls = {{ cert = \"@/c\", key = \"@/k\" }}"),
                "`server.tls.cert`",
            ),
            (
                format!("{redis}\naudit.file = \"@/k\"\nadmin.tls = {{ cert = \"@/c\", key = \"@/k\" }}"),
                "`admin.tls.key`",
            ),
            (
                format!("{redis}\naudit.file = \"@/c\"\nupstreams.x = {{ url = \"https://b\", ca = \"@/c\" }}"),
                "`upstreams.x.ca`",
            ),
            (format!("{redis}\naudit.file = \"@/s\"\nupstreams.x.url = \"unix:@/s\""), "`upstreams.x.url`"),
            (
                "store.redis = \"redis://127.0.0.1/0\"\nstore.journal = \"@/gateway.toml\"".into(),
                "store.journal: is the configuration itself",
            ),
            (
                "store.redis = \"redis+unix:@/s\"\nstore.journal = \"@/s\"".into(),
                "store.journal: is the same file as `store.redis`",
            ),
            ("store.embedded = \"@/gateway.toml\"".into(), "store.embedded: is the configuration itself"),
            (
                "store.embedded = \"@/a\"\naudit.file = \"@/a\"".into(),
                "audit.file: is the same file as `store.embedded`",
            ),
            (
                "store.embedded = \"@/a.key\"\naudit.file = \"@/a\"".into(),
                "audit.file (with `.key` behind it): is the same file as `store.embedded`",
            ),
            (
                "store.embedded = \"data/audit.jsonl\"".into(),
                "store.embedded: is the same file as `audit.file` by default",
            ),
            ("store.embedded = \"@/a.key\"\naudit.file = \"@/a\"\nsecrets.key_file = \"@/secret\"".into(), ""),
        ] {
            let errors = folder.errors(&settings);
            assert!(errors.contains(expected) && errors.is_empty() == expected.is_empty(), "{settings}: {errors}");
        }
    }
}
