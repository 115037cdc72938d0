//! Where a chain goes on: the last line of the file, or of the file that it was before a rotation.
//!
//! A chain is continued by one gateway alone. Whoever writes to a file holds a shared lock on it; only who gets the
//! exclusive one for a moment may take its chain over. So a gateway that is started before the old one has ended, on
//! the same file, begins a chain of its own between the other's lines.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::chain::{ChainKey, Head, Sealed};
use super::files;

/// How much of the end of a file is looked at.
const WINDOW: u64 = 2 * files::LONGEST_LINE as u64;
/// Rotated files that are looked at, from the newest.
const MOST_ROTATED: usize = 8;

/// What the end of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing was written to it.
    Empty,
    /// Its last line, and how many bytes behind it are none.
    Line {
        /// The last line.
        head: Head,
        /// Bytes behind it.
        torn: u64,
    },
    /// Its last line was not written with this key, or was changed.
    Foreign,
    /// No line of ours; so many bytes.
    Garbage(u64),
}

/// Looks at the end of a file.
pub(super) fn end_of(file: &mut File, key: &ChainKey) -> io::Result<End> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(End::Empty);
    }
    let start = length.saturating_sub(WINDOW);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(WINDOW).read_to_end(&mut bytes)?;
    let mut torn = 0;
    let mut last: Option<Sealed<'_>> = None;
    // From the end: lines that are none, then the last of ours, then the one of its chain before it.
    for (at, line) in bytes.split(|byte| *byte == b'\n').rev().enumerate() {
        match (Sealed::read(line), last) {
            // What has no line feed is not whole, even when only that is missing.
            (Some(sealed), None) if at > 0 => last = Some(sealed),
            (Some(before), Some(last)) if before.head.instance == last.head.instance => {
                return Ok(judge(&last, before.head.mac, key, torn));
            }
            (_, None) => torn += line.len() as u64 + u64::from(at > 0),
            (_, Some(_)) => {}
        }
        if let Some(last) = &last
            && let Some(previous) = last.known_previous()
        {
            return Ok(judge(last, previous, key, torn));
        }
    }
    Ok(if last.is_some() { End::Foreign } else { End::Garbage(length) })
}

fn judge(last: &Sealed<'_>, previous: super::chain::Mac, key: &ChainKey, torn: u64) -> End {
    if last.follows(&previous, key) { End::Line { head: last.head, torn } } else { End::Foreign }
}

/// The last line of the newest rotated file, where the chain of a new, empty file goes on.
pub(super) fn end_of_rotated(path: &Path, key: &ChainKey) -> io::Result<Option<Head>> {
    let mut rotated = Vec::new();
    for found in files::with_rotated(path)? {
        if found != path && found.file_name() != path.file_name() && !files::is_compressed(&found) {
            let changed = std::fs::metadata(&found)?.modified()?;
            rotated.push((changed, found));
        }
    }
    rotated.sort();
    for (_, found) in rotated.into_iter().rev().take(MOST_ROTATED) {
        let mut file = File::open(found)?;
        match end_of(&mut file, key)? {
            End::Line { head, .. } => {
                // A gateway that did not notice the rotation yet still writes there.
                return Ok(lock_exclusively(&file).then_some(head));
            }
            End::Foreign => return Ok(None),
            End::Empty | End::Garbage(_) => {}
        }
    }
    Ok(None)
}

/// Whether nobody else writes to the file. The lock is to be turned into a shared one by [`share_lock`].
pub(super) fn lock_exclusively(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Says that this gateway writes to the file. Answers whether that was possible at once, so that nobody can have come
/// in between.
pub(super) fn share_lock(file: &File) -> bool {
    if flock(file, FlockOperation::NonBlockingLockShared).is_ok() {
        return true;
    }
    // Another gateway looks at it, which takes milliseconds. Who locks it for good has nothing to gain by it: the
    // lines are written all the same.
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(10));
        if flock(file, FlockOperation::NonBlockingLockShared).is_ok() {
            break;
        }
    }
    false
}
