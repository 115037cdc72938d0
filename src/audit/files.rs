//! The audit file and what it was before its rotations: `audit.jsonl`, `audit.jsonl.1`, `audit.jsonl-20261124.gz`.

use std::fs::File;
use std::io::{self, BufRead, Read as _};
use std::path::{Path, PathBuf};

use super::chain::Sealed;

/// How every line of ours begins.
const BEGINNING: &[u8] = b"{\"time\":\"";
/// More files than this are not looked at.
const MOST_FILES: usize = 10_000;
/// A longer line is none of ours: a line of the audit log has less than 16 KiB.
pub(super) const LONGEST_LINE: usize = 64 * 1024;

/// The file itself, where it is there, and the rotated ones beside it, in no order.
/// # Errors
/// When the folder cannot be read.
pub fn with_rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(Vec::new()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let beside = entry.file_name();
        let Some(rest) = beside.to_str().and_then(|beside| beside.strip_prefix(name)) else { continue };
        let ours = rest.is_empty() || (rest.starts_with(['.', '-']) && !rest.ends_with(".key"));
        if ours && std::fs::metadata(entry.path()).is_ok_and(|found| found.is_file()) {
            found.push(entry.path());
        }
        if found.len() > MOST_FILES {
            return Err(io::Error::other(format!("more than {MOST_FILES} files begin with {name}")));
        }
    }
    Ok(found)
}

/// Whether a file is not empty, and no audit log: nothing of ours may be appended to it. One that cannot be read is not
/// said to be.
#[must_use]
pub fn has_something_else(path: &Path) -> bool {
    // What is no file is not opened: a pipe would wait for its writer.
    let is_file = std::fs::metadata(path).is_ok_and(|found| found.is_file());
    is_file && File::open(path).and_then(|file| begins_otherwise(&file)).unwrap_or(false)
}

/// Whether no line of ours is among the first ones of an open file.
pub(super) fn begins_otherwise(file: &File) -> io::Result<bool> {
    let mut start = Vec::new();
    file.take(LONGEST_LINE as u64).read_to_end(&mut start)?;
    // The very first line may have been cut off by a crash, and a crash of the machine may have left zeros.
    let cut = !start.contains(&b'\n') && (start.starts_with(BEGINNING) || BEGINNING.starts_with(&start));
    let blank = start.iter().all(|byte| *byte == 0);
    Ok(!cut && !blank && !start.split(|byte| *byte == b'\n').any(|line| Sealed::read(line).is_some()))
}

/// Whether its name says that it is compressed.
pub(super) fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// What the next line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextLine {
    /// A whole line, without its line feed; so many bytes with it.
    Whole(u64),
    /// What follows has no line feed, so many bytes to the end; only the first of them are given.
    Unended(u64),
    /// A line that is longer than any of ours, so many bytes with its line feed; only the first of them are given.
    TooLong(u64),
    /// There is nothing more.
    End,
}

/// Reads a line into `line`, never more than [`LONGEST_LINE`] of it.
pub(super) fn next_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<NextLine> {
    line.clear();
    let mut length: u64 = 0;
    loop {
        let available = match reader.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if available.is_empty() {
            return Ok(if length == 0 { NextLine::End } else { NextLine::Unended(length) });
        }
        let end = memchr::memchr(b'\n', available);
        let taken = end.map_or(available.len(), |end| end + 1);
        let room = LONGEST_LINE.saturating_sub(line.len());
        line.extend(available.iter().take(end.unwrap_or(taken).min(room)));
        reader.consume(taken);
        length += taken as u64;
        if end.is_some() {
            return Ok(if length > LONGEST_LINE as u64 { NextLine::TooLong(length) } else { NextLine::Whole(length) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn rotated_files_are_found_and_neither_the_key_nor_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        for name in
            ["audit.jsonl", "audit.jsonl.1", "audit.jsonl-20261124.gz", "audit.jsonl.key", "audit.jsonlx", "other"]
        {
            std::fs::write(folder.path().join(name), "").expect("writes");
        }
        std::fs::create_dir(folder.path().join("audit.jsonl.d")).expect("makes");
        let mut found = with_rotated(&path).expect("reads");
        found.sort();
        let names: Vec<&str> =
            found.iter().filter_map(|path| path.file_name().and_then(|name| name.to_str())).collect();
        assert_eq!(names, ["audit.jsonl", "audit.jsonl-20261124.gz", "audit.jsonl.1"]);
    }

    #[test]
    fn a_line_is_whole_unended_or_too_long_and_never_read_without_bound() {
        let text = format!("one\n\n{}\nrest", "x".repeat(LONGEST_LINE + 5));
        let mut reader = BufReader::with_capacity(7, text.as_bytes());
        let mut line = Vec::new();
        assert_eq!(next_line(&mut reader, &mut line).expect("reads"), NextLine::Whole(4));
        assert_eq!(line, b"one");
        assert_eq!(next_line(&mut reader, &mut line).expect("reads"), NextLine::Whole(1));
        assert_eq!(next_line(&mut reader, &mut line).expect("reads"), NextLine::TooLong(LONGEST_LINE as u64 + 6));
        assert_eq!(line.len(), LONGEST_LINE);
        assert_eq!(next_line(&mut reader, &mut line).expect("reads"), NextLine::Unended(4));
        assert_eq!(next_line(&mut reader, &mut line).expect("reads"), NextLine::End);
    }
}
