//! Files that somebody else writes, read whole or not at all.
//!
//! A file is taken once it was quiet for a moment, and when neither it nor its name changed while it was read: half of a
//! configuration may be a valid one, and half of a key none. Whoever renames a finished file into place is never asked
//! to wait for long.
//!
//! It blocks: `check` and the start have nothing else to do, and who reloads (the configuration at SIGHUP, certificates that
//! changed) calls it on a thread for that (`spawn_blocking`). So it must never be called where requests are answered.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};

/// How long a file must not have changed.
pub(crate) const QUIET: Duration = Duration::from_millis(250);
/// How often one that changes is looked at again.
const ATTEMPTS: u32 = 12;

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The operating system's word.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not there, and where it was looked for depends on where the program was started.
    #[error("cannot be read: {0}; relative paths begin at the working directory, {1}")]
    Missing(io::Error, String),
    /// There is more in it than there can be.
    #[error("is larger than {} KiB; is it the right file?", .0 / 1024)]
    TooLong(u64),
    /// Somebody is writing it.
    #[error("is being written; write another file and rename it into place when it is whole")]
    Changing,
}

/// A file as it was for a moment.
pub(crate) struct Settled {
    /// All of it.
    pub(crate) bytes: Vec<u8>,
    /// Who may do what with it.
    pub(crate) permissions: u32,
}

/// What changes when a file does: its device and inode, length, and times of change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Look {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Look {
    fn at(found: &Metadata) -> Self {
        Self {
            file: (found.dev(), found.ino()),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Whether it was written so lately that its writer may not be done. A time that is yet to come says nothing.
    fn is_young(&self, clock: &dyn Clock) -> bool {
        let (seconds, nanos) = self.modified;
        let modified = i128::from(seconds) * 1_000_000 + i128::from(nanos / 1000);
        i128::from(clock.wall().as_micros()) - modified < i128::try_from(QUIET.as_micros()).unwrap_or(i128::MAX)
    }
}

/// Reads up to `most` bytes. What is no file (a pipe, say) is read as it comes.
pub(crate) fn read(path: &Path, most: u64) -> Result<Settled, ReadError> {
    let mut seen = None;
    for _ in 0..ATTEMPTS {
        let file = File::open(path).map_err(|error| missing(error, path))?;
        let found = file.metadata()?;
        let before = Look::at(&found);
        if found.is_file() && seen != Some(before) && before.is_young(&SystemClock) {
            seen = Some(before);
            std::thread::sleep(QUIET);
            continue;
        }
        let bytes = read_at_most(&file, most)?;
        let whole =
            before.length == bytes.len() as u64 && Look::at(&file.metadata()?) == before && names(path, &before);
        if whole || !found.is_file() {
            return Ok(Settled { bytes, permissions: found.mode() });
        }
        std::thread::sleep(QUIET);
    }
    Err(ReadError::Changing)
}

fn missing(error: io::Error, path: &Path) -> ReadError {
    match std::env::current_dir() {
        Ok(folder) if path.is_relative() && error.kind() == io::ErrorKind::NotFound => {
            ReadError::Missing(error, folder.display().to_string())
        }
        _ => ReadError::Io(error),
    }
}

fn read_at_most(file: &File, most: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(ReadError::TooLong(most)) } else { Ok(bytes) }
}

/// Whether the path still leads to that file. One that is just being replaced leads nowhere for a moment.
fn names(path: &Path, before: &Look) -> bool {
    std::fs::metadata(path).is_ok_and(|found| Look::at(&found) == *before)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_that_is_written_in_pieces_is_read_whole_and_one_that_is_renamed_into_place_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        let pieces = 6_usize;
        std::thread::scope(|scope| {
            let (begun, begin) = std::sync::mpsc::channel();
            scope.spawn({
                let path = &path;
                move || {
                    let mut file = File::create(path).expect("a file");
                    for piece in 0..pieces {
                        file.write_all(b"piece\n").expect("writes");
                        if piece == 0 {
                            begun.send(()).expect("waits");
                        }
                        std::thread::sleep(QUIET / 3);
                    }
                }
            });
            begin.recv().expect("begun");
            let read = read(&path, 1 << 20).expect("in the end");
            assert_eq!(read.bytes.len(), pieces * b"piece\n".len());
        });
        let other = folder.path().join("g");
        std::fs::write(&other, "other\n").expect("writes");
        std::fs::rename(&other, &path).expect("renames");
        assert_eq!(read(&path, 1 << 20).expect("whole").bytes, b"other\n");
    }

    #[test]
    fn a_file_that_is_written_without_end_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        std::fs::write(&path, "x").expect("writes");
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut file = File::options().append(true).open(&path).expect("opens");
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    file.write_all(b"x").expect("writes");
                    std::thread::sleep(QUIET / 5);
                }
            });
            assert!(matches!(read(&path, 1 << 20), Err(ReadError::Changing)));
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn a_file_from_the_future_is_read_and_a_huge_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        std::fs::write(&path, "12345").expect("writes");
        let later = std::time::UNIX_EPOCH + Duration::from_secs(1 << 33);
        File::options().append(true).open(&path).expect("opens").set_modified(later).expect("sets");
        assert_eq!(read(&path, 5).expect("reads").bytes, b"12345");
        assert!(matches!(read(&path, 4), Err(ReadError::TooLong(4))));
    }
}
