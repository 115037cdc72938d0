//! Where audit lines go: a file that is only appended to and survives its rotation, or standard output.
//!
//! What was handed over stays here until it is written: an error keeps it for the next attempt. A file is looked at by
//! its path at most once a second; when the path names another file or none, it is opened anew, so that no signal is
//! needed after a rotation.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    pending: Vec<u8>,
    /// How much of `pending` is in the file.
    written: usize,
    synced: bool,
}

impl Output {
    /// Opens the file, made where it is missing, its folders too; only its owner may read it.
    pub(super) fn to_file(path: PathBuf, now: Monotonic) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self::to(Target::File { path, file, looked: now }))
    }

    pub(super) const fn to_stdout() -> Self {
        Self::to(Target::Stdout)
    }

    const fn to(target: Target) -> Self {
        Self { target, pending: Vec::new(), written: 0, synced: true }
    }

    /// Where whole lines are added for the next [`flush`](Self::flush).
    pub(super) const fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Writes what waits and has the disk confirm it. After an error the rest waits for the next call.
    pub(super) fn flush(&mut self, now: Monotonic) -> io::Result<()> {
        self.follow_rotation(now)?;
        if self.written < self.pending.len() {
            self.synced = false;
            self.write_rest()?;
        }
        self.pending.clear();
        self.pending.shrink_to(64 * 1024);
        self.written = 0;
        if !self.synced {
            self.sync()?;
            self.synced = true;
        }
        Ok(())
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

    fn follow_rotation(&mut self, now: Monotonic) -> io::Result<()> {
        let Target::File { path, file, looked } = &mut self.target else { return Ok(()) };
        if now.since(*looked) < LOOK_EVERY {
            return Ok(());
        }
        if !names(path, file)? {
            *file = open(path)?;
            // A line that was cut in the old file is written whole in the new one.
            let done = self.pending.get(..self.written).unwrap_or_default();
            self.written = memchr::memrchr(b'\n', done).map_or(0, |end| end + 1);
            tracing::info!(path = %path.display(), "the audit file was rotated and opened anew");
        }
        *looked = now;
        Ok(())
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
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    if is_torn(&mut file)? {
        file.write_all(b"\n")?;
        tracing::warn!(path = %path.display(), "the audit file ended in a cut line, from a crash or a full disk; the next line starts anew");
    }
    // A new file's name must outlive a crash as its lines do. Some file systems have no way to ask for that.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(file)
}

/// Whether the file ends within a line.
fn is_torn(file: &mut File) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let mut last = [0_u8];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_micros(seconds * 1_000_000)
    }

    fn write(output: &mut Output, line: &str, now: Monotonic) -> io::Result<()> {
        output.lines().extend_from_slice(line.as_bytes());
        output.flush(now)
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).expect("the file is there")
    }

    #[test]
    fn the_file_and_its_folders_are_made_for_the_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b/audit.jsonl");
        let mut output = Output::to_file(path.clone(), at(0)).expect("opens");
        write(&mut output, "one\n", at(0)).expect("writes");
        assert_eq!(read(&path), "one\n");
        let mode = |path: &Path| std::fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("a folder")), 0o700);
    }

    #[test]
    fn lines_of_an_earlier_run_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        std::fs::write(&path, "old\n").expect("writes");
        let mut output = Output::to_file(path.clone(), at(0)).expect("opens");
        write(&mut output, "new\n", at(0)).expect("writes");
        assert_eq!(read(&path), "old\nnew\n");
    }

    #[test]
    fn a_line_torn_by_a_crash_does_not_swallow_the_next_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        std::fs::write(&path, "whole\n{\"time\":\"20").expect("writes");
        let mut output = Output::to_file(path.clone(), at(0)).expect("opens");
        write(&mut output, "next\n", at(0)).expect("writes");
        assert_eq!(read(&path), "whole\n{\"time\":\"20\nnext\n");
    }

    #[test]
    fn a_rotated_file_is_followed_within_a_second() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let old = folder.path().join("audit.jsonl.1");
        let mut output = Output::to_file(path.clone(), at(0)).expect("opens");
        write(&mut output, "one\n", at(0)).expect("writes");
        std::fs::rename(&path, &old).expect("renames");
        write(&mut output, "two\n", at(0)).expect("writes");
        write(&mut output, "three\n", at(1)).expect("writes");
        assert_eq!(read(&old), "one\ntwo\n", "not looked at again within the second");
        assert_eq!(read(&path), "three\n");
    }

    #[test]
    fn a_file_that_was_removed_or_replaced_is_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let mut output = Output::to_file(path.clone(), at(0)).expect("opens");
        std::fs::remove_file(&path).expect("removes");
        output.flush(at(1)).expect("opens anew with nothing to write");
        assert_eq!(read(&path), "");
        std::fs::remove_file(&path).expect("removes");
        std::fs::write(&path, "made by logrotate\n").expect("writes");
        write(&mut output, "one\n", at(2)).expect("writes");
        assert_eq!(read(&path), "made by logrotate\none\n");
    }

    #[test]
    fn what_a_full_disk_refused_is_kept_and_written_later() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        symlink("/dev/full", &path).expect("links");
        let mut output = Output::to_file(path.clone(), at(0)).expect("opens");
        let error = write(&mut output, "one\n", at(0)).expect_err("full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(write(&mut output, "two\n", at(0)).is_err());
        assert_eq!(output.waiting(), 2);
        std::fs::remove_file(&path).expect("removes");
        output.flush(at(1)).expect("there is room now");
        assert_eq!(read(&path), "one\ntwo\n");
        assert_eq!(output.waiting(), 0);
    }

    #[test]
    fn a_line_half_written_before_a_rotation_is_whole_in_the_new_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let mut output = Output::to_file(path.clone(), at(0)).expect("opens");
        output.lines().extend_from_slice(b"first\nsecond\n");
        output.written = "first\nsec".len();
        std::fs::remove_file(&path).expect("removes");
        output.flush(at(1)).expect("writes");
        assert_eq!(read(&path), "second\n");
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_an_error_at_start() {
        assert!(Output::to_file(PathBuf::from("/proc/no/such/audit.jsonl"), at(0)).is_err());
        let folder = tempfile::tempdir().expect("a folder");
        assert!(Output::to_file(folder.path().to_path_buf(), at(0)).is_err());
    }
}
