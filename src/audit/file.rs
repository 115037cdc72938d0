//! Where audit lines go: a file that is only appended to and survives its rotation, or standard output.
//!
//! What was handed over stays here until it is written: an error keeps it for the next attempt. A file is looked at by
//! its path at most once a second; when the path names another file or none, it is opened anew, so that no signal is
//! needed after a rotation. The chain goes on across files and across restarts.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chain::{Chain, ChainKey, Head, Sealed};
use super::event::AuditEvent;
use super::files;
use super::resume::{self, End};
use crate::clock::Monotonic;

/// How long a rotation may stay unnoticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Target {
    File { path: PathBuf, file: File, looked: Monotonic },
    Stdout,
}

#[derive(Debug)]
pub(super) struct Output {
    target: Target,
    chain: Chain,
    /// Where the chain stood before `pending`.
    base: Head,
    pending: Vec<u8>,
    /// How much of `pending` is in the file.
    written: usize,
    synced: bool,
}

impl Output {
    /// Opens the file, made where it is missing, its folders too; only its owner may read it. Goes on with its chain,
    /// or begins the one that `fresh` names.
    pub(super) fn to_file(path: PathBuf, key: ChainKey, fresh: Head, now: Monotonic) -> io::Result<Self> {
        let mut file = open(&path)?;
        let (head, torn) = continued(&path, &mut file, &key)?;
        let mut chain = Chain::after(key, head.unwrap_or(fresh));
        chain.open_file(torn);
        let mut output = Self::to(Target::File { path, file, looked: now }, chain);
        output.end_torn_line(torn);
        Ok(output)
    }

    pub(super) const fn to_stdout(key: ChainKey, fresh: Head) -> Self {
        Self::to(Target::Stdout, Chain::after(key, fresh))
    }

    const fn to(target: Target, chain: Chain) -> Self {
        let base = chain.head();
        Self { target, chain, base, pending: Vec::new(), written: 0, synced: true }
    }

    /// Adds an event's line for the next [`write`](Self::write).
    pub(super) fn add(&mut self, event: &AuditEvent) {
        self.chain.append(event, &mut self.pending);
    }

    /// What waits for the next [`write`](Self::write): whole lines, but for the feed that ends a torn one.
    pub(super) fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Where the chain stands with all that was added.
    pub(super) const fn head(&self) -> Head {
        self.chain.head()
    }

    /// Goes on with another chain, whose first line is the next one. Answers whether it did: not while lines wait.
    pub(super) fn begin_chain(&mut self, fresh: Head) -> bool {
        if !self.pending.is_empty() {
            return false;
        }
        self.chain = Chain::after(self.chain.key().clone(), fresh);
        self.base = fresh;
        true
    }

    /// Writes what waits: from then on the end of this process loses none of it, that of the machine may. After an error
    /// the rest waits for the next call.
    pub(super) fn write(&mut self, now: Monotonic) -> io::Result<()> {
        self.follow_rotation(now)?;
        if self.written < self.pending.len() {
            self.synced = false;
            self.write_rest()?;
        }
        Ok(())
    }

    /// Has the disk confirm what was written.
    pub(super) fn confirm(&mut self) -> io::Result<()> {
        if !self.synced {
            self.sync()?;
            self.synced = true;
        }
        Ok(())
    }

    /// Writes what waits and has the disk confirm it.
    #[cfg(test)]
    pub(super) fn flush(&mut self, now: Monotonic) -> io::Result<()> {
        self.write(now)?;
        self.confirm()
    }

    /// Whether nothing waits for the disk.
    pub(super) fn is_confirmed(&self) -> bool {
        self.synced && self.pending.is_empty()
    }

    /// Whether it is time to look for a rotation. What was written should be confirmed before.
    pub(super) fn is_look_due(&self, now: Monotonic) -> bool {
        matches!(&self.target, Target::File { looked, .. } if now.since(*looked) >= LOOK_EVERY)
    }

    /// Forgets what was flushed.
    pub(super) fn forget_flushed(&mut self) {
        self.pending.clear();
        self.pending.shrink_to(64 * 1024);
        self.written = 0;
        self.base = self.chain.head();
    }

    /// How many lines wait.
    pub(super) fn waiting(&self) -> usize {
        let rest = self.pending.get(self.written..).unwrap_or_default();
        memchr::memchr_iter(b'\n', rest).count()
    }

    fn write_rest(&mut self) -> io::Result<()> {
        while let Some(rest) = self.pending.get(self.written..).filter(|rest| !rest.is_empty()) {
            let outcome = match &mut self.target {
                Target::File { file, .. } => file.write(rest),
                // Not through the locked, line-buffered handle's buffer: what it holds is lost to the count.
                Target::Stdout => rustix::io::write(io::stdout(), rest).map_err(io::Error::from),
            };
            match outcome {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        match &self.target {
            // A pipe or device under the configured path has nothing to confirm.
            Target::File { file, .. } if file.metadata()?.is_file() => file.sync_data(),
            Target::File { .. } | Target::Stdout => Ok(()),
        }
    }

    /// Opens the file anew when its path names another one. Called by each write, and before lines are added, so that
    /// the first in a new file is made as such.
    pub(super) fn follow_rotation(&mut self, now: Monotonic) -> io::Result<()> {
        let Target::File { path, file, looked } = &mut self.target else { return Ok(()) };
        if now.since(*looked) < LOOK_EVERY {
            return Ok(());
        }
        if names(path, file)? {
            *looked = now;
            return Ok(());
        }
        let mut found = open(path)?;
        resume::share_lock(&found);
        let torn = torn_at_the_end(&mut found, self.chain.key())?;
        *file = found;
        *looked = now;
        tracing::info!(path = %path.display(), "the audit file was rotated and opened anew");
        self.write_again(torn);
        Ok(())
    }

    /// Makes the lines that did not get into the old file anew, as the first ones of the new file. A line that was cut
    /// in the old one is written whole.
    fn write_again(&mut self, torn: u64) {
        let lines = std::mem::take(&mut self.pending);
        self.chain.rewind(self.base);
        self.chain.open_file(torn);
        self.end_torn_line(torn);
        let mut end = 0;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            end += line.len();
            let Some(sealed) = line.strip_suffix(b"\n").and_then(Sealed::read) else { continue };
            if end <= self.written {
                self.chain.rewind(sealed.head);
                self.base = sealed.head;
            } else {
                self.chain.append_again(&sealed, &mut self.pending);
            }
        }
        self.written = 0;
    }

    /// The next line must not be taken for the rest of a torn one.
    fn end_torn_line(&mut self, torn: u64) {
        if torn > 0 {
            self.pending.push(b'\n');
        }
    }
}

/// Whether `path` still names the open `file`.
fn names(path: &Path, file: &File) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(found) => {
            let open = file.metadata()?;
            Ok((found.dev(), found.ino()) == (open.dev(), open.ino()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    // A new file's name must outlive a crash as its lines do. Some file systems have no way to ask for that.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(file)
}

/// The chain that goes on in a file that was just opened, and the bytes behind its last line. `None`: a new one begins.
fn continued(path: &Path, file: &mut File, key: &ChainKey) -> io::Result<(Option<Head>, u64)> {
    if !file.metadata()?.is_file() {
        return Ok((None, 0));
    }
    file.rewind()?;
    if files::begins_otherwise(file)? {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it has something else in it than audit lines"));
    }
    let alone = resume::lock_exclusively(file);
    let shown = path.display();
    let found = match resume::end_of(file, key)? {
        _ if !alone => {
            tracing::info!(file = %shown, "another gateway writes to the audit file: this one begins a chain of its own");
            (None, 0)
        }
        End::Line { head, torn } => (Some(head), torn),
        End::Empty => (resume::end_of_rotated(path, key)?, 0),
        End::Garbage(bytes) => (resume::end_of_rotated(path, key)?, bytes),
        End::Foreign => {
            tracing::error!(
                file = %shown,
                "the last audit line was changed, or the key is not the one it was written with: a new chain begins; \
                 run `session-gateway audit verify`"
            );
            (None, 0)
        }
    };
    if found.1 > 0 {
        tracing::warn!(file = %shown, bytes = found.1, "the audit file ended in a cut line, from a crash or a full disk; the next line starts anew");
    }
    let undisturbed = resume::share_lock(file);
    Ok(if alone && !undisturbed { (None, 0) } else { found })
}

/// Bytes behind the last line of a file that took another's place.
fn torn_at_the_end(file: &mut File, key: &ChainKey) -> io::Result<u64> {
    if !file.metadata()?.is_file() {
        return Ok(0);
    }
    Ok(match resume::end_of(file, key)? {
        End::Line { torn, .. } | End::Garbage(torn) => torn,
        End::Empty | End::Foreign => 0,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::super::chain::InstanceId;
    use super::super::event::{Actor, AuditType, Details, Outcome};
    use super::*;
    use crate::clock::WallTime;
    use crate::secret::Secret;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_micros(seconds * 1_000_000)
    }

    fn key() -> ChainKey {
        ChainKey::derived_from(&Secret::new("k"))
    }

    fn fresh(name: u8) -> Head {
        Head::start_of(InstanceId::of_random([name; 9]))
    }

    fn opened(path: &Path) -> Output {
        Output::to_file(path.to_owned(), key(), fresh(1), at(0)).expect("opens")
    }

    fn add(output: &mut Output, text: &str) {
        let event = AuditEvent::new(WallTime::from_micros(0), AuditType::SessionCreated, Outcome::Success, Actor::User);
        output.add(&event.with_details(Details::none().text("text", text)));
    }

    fn write(output: &mut Output, text: &str, now: Monotonic) -> io::Result<()> {
        output.follow_rotation(now)?;
        add(output, text);
        output.flush(now)?;
        output.forget_flushed();
        Ok(())
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).expect("the file is there")
    }

    /// Text, chain, number, and what else it says of its place, of each line; checked with the key, each after the one
    /// before it in these files.
    fn lines(paths: &[&Path]) -> Vec<(String, String, u64)> {
        let mut found = Vec::new();
        let mut last: std::collections::HashMap<InstanceId, Head> = std::collections::HashMap::new();
        for text in paths.iter().map(|path| read(path)) {
            for line in text.lines() {
                let Some(sealed) = Sealed::read(line.as_bytes()) else { continue };
                let before = last.insert(sealed.head.instance, sealed.head);
                let previous = before.map(|before| before.mac).or(sealed.known_previous()).expect("known");
                assert!(sealed.follows(&previous, &key()), "{line}");
                let read: serde_json::Value = serde_json::from_str(line).expect("JSON");
                let text = read["details"]["text"].as_str().expect("a text").to_owned();
                found.push((text, sealed.head.instance.to_string(), sealed.head.seq));
            }
        }
        found
    }

    fn texts(paths: &[&Path]) -> Vec<(String, u64)> {
        lines(paths).into_iter().map(|(text, _, seq)| (text, seq)).collect()
    }

    fn expected(texts: &[(&str, u64)]) -> Vec<(String, u64)> {
        texts.iter().map(|(text, seq)| ((*text).to_owned(), *seq)).collect()
    }

    #[test]
    fn the_file_and_its_folders_are_made_for_the_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b/audit.jsonl");
        write(&mut opened(&path), "one", at(0)).expect("writes");
        assert_eq!(texts(&[&path]), expected(&[("one", 1)]));
        let mode = |path: &Path| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("a folder")), 0o700);
    }

    #[test]
    fn a_chain_goes_on_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        for text in ["one", "two", "three"] {
            write(&mut opened(&path), text, at(0)).expect("writes");
        }
        assert_eq!(texts(&[&path]), expected(&[("one", 1), ("two", 2), ("three", 3)]));
    }

    #[test]
    fn a_line_torn_by_a_crash_is_ended_and_the_next_one_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        write(&mut opened(&path), "one", at(0)).expect("writes");
        let whole = read(&path);
        std::fs::write(&path, format!("{whole}{{\"time\":\"20")).expect("writes");
        write(&mut opened(&path), "two", at(0)).expect("writes");
        assert!(read(&path).starts_with(&format!("{whole}{{\"time\":\"20\n{{")));
        assert!(read(&path).contains("\"torn\":11,"));
        assert_eq!(texts(&[&path]), expected(&[("one", 1), ("two", 2)]));
    }

    #[test]
    fn a_chain_does_not_go_on_behind_a_line_of_another_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        write(&mut opened(&path), "one", at(0)).expect("writes");
        let other = ChainKey::derived_from(&Secret::new("other"));
        let output = Output::to_file(path, other, fresh(2), at(0)).expect("opens");
        assert_eq!(output.head(), fresh(2));
    }

    #[test]
    fn two_gateways_on_one_file_have_a_chain_each() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let mut old = opened(&path);
        write(&mut old, "one", at(0)).expect("writes");
        let mut new = Output::to_file(path.clone(), key(), fresh(2), at(0)).expect("opens");
        write(&mut new, "two", at(0)).expect("writes");
        write(&mut old, "three", at(0)).expect("writes");
        drop(old);
        // The next one is alone with the newer of the two chains; that of the old gateway has the last line.
        write(&mut new, "four", at(0)).expect("writes");
        drop(new);
        write(&mut Output::to_file(path.clone(), key(), fresh(3), at(0)).expect("opens"), "five", at(0))
            .expect("writes");
        let (old, new) = (fresh(1).instance.to_string(), fresh(2).instance.to_string());
        let line = |text: &str, chain: &String, seq| (text.to_owned(), chain.clone(), seq);
        let all = [
            line("one", &old, 1),
            line("two", &new, 1),
            line("three", &old, 2),
            line("four", &new, 2),
            line("five", &new, 3),
        ];
        assert_eq!(lines(&[&path]), all);
    }

    #[test]
    fn a_rotated_file_is_followed_within_a_second_and_the_new_one_can_be_checked_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let old = folder.path().join("audit.jsonl.1");
        let mut output = opened(&path);
        write(&mut output, "one", at(0)).expect("writes");
        std::fs::rename(&path, &old).expect("renames");
        write(&mut output, "two", at(0)).expect("writes");
        write(&mut output, "three", at(1)).expect("writes");
        assert_eq!(texts(&[&old]), expected(&[("one", 1), ("two", 2)]), "not looked at again within the second");
        assert_eq!(texts(&[&path]), expected(&[("three", 3)]));
        assert_eq!(texts(&[&old, &path]).len(), 3);
    }

    #[test]
    fn a_restart_after_a_rotation_goes_on_with_the_chain_of_the_rotated_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let old = folder.path().join("audit.jsonl.1");
        write(&mut opened(&path), "one", at(0)).expect("writes");
        std::fs::rename(&path, &old).expect("renames");
        std::fs::write(&path, "").expect("makes an empty one");
        write(&mut Output::to_file(path.clone(), key(), fresh(2), at(0)).expect("opens"), "two", at(0))
            .expect("writes");
        assert_eq!(texts(&[&old, &path]), expected(&[("one", 1), ("two", 2)]));
    }

    #[test]
    fn a_file_that_was_removed_or_replaced_is_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let mut output = opened(&path);
        std::fs::remove_file(&path).expect("removes");
        output.flush(at(1)).expect("opens anew with nothing to write");
        assert_eq!(read(&path), "");
        std::fs::remove_file(&path).expect("removes");
        std::fs::write(&path, "").expect("as logrotate makes one");
        write(&mut output, "one", at(2)).expect("writes");
        assert_eq!(texts(&[&path]), expected(&[("one", 1)]));
    }

    #[test]
    fn what_a_full_disk_refused_is_kept_and_written_later() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        symlink("/dev/full", &path).expect("links");
        let mut output = opened(&path);
        let error = write(&mut output, "one", at(0)).expect_err("full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(write(&mut output, "two", at(0)).is_err());
        assert_eq!(output.waiting(), 2);
        std::fs::remove_file(&path).expect("removes");
        output.flush(at(1)).expect("there is room now");
        assert_eq!(texts(&[&path]), expected(&[("one", 1), ("two", 2)]));
        assert_eq!(output.waiting(), 0);
    }

    #[test]
    fn a_line_half_written_before_a_rotation_is_whole_in_the_new_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let mut output = opened(&path);
        write(&mut output, "zero", at(0)).expect("writes");
        add(&mut output, "first");
        let first = output.pending().len();
        add(&mut output, "second");
        add(&mut output, "third");
        output.written = first + 10;
        std::fs::remove_file(&path).expect("removes");
        output.flush(at(1)).expect("writes");
        // Its first line says what was before it, so the file can be checked alone.
        assert_eq!(texts(&[&path]), expected(&[("second", 3), ("third", 4)]));
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_an_error_at_start() {
        for path in
            [PathBuf::from("/proc/no/such/audit.jsonl"), tempfile::tempdir().expect("a folder").path().to_path_buf()]
        {
            std::fs::create_dir_all(&path).ok();
            assert!(Output::to_file(path, key(), fresh(1), at(0)).is_err());
        }
    }
}
