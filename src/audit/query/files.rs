//! Events from the file of one gateway. Reads a bounded amount for each page, forwards or from the end.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::super::chain::Sealed;
use super::super::files::{self, NextLine, next_line};
use super::super::record::AuditRecord;
use super::filter::Matcher;
use super::page::{AuditCursor, AuditPage, FileId, FilePlace, Place};
use crate::clock::rfc3339;

/// Bytes that one page looks at.
const MOST_LOOKED_AT: u64 = 32 << 20;
/// Bytes that are read at once from the end.
const BLOCK: u64 = 1 << 20;

struct LogFile {
    id: FileId,
    path: PathBuf,
}

/// The next events behind a place.
pub(super) fn page(path: &Path, matcher: &Matcher, after: Option<&FilePlace>, limit: usize) -> io::Result<AuditPage> {
    let files = in_order(path)?;
    let mut events = Vec::new();
    let mut budget = MOST_LOOKED_AT;
    let mut position = after.cloned();
    for (at, file) in files.iter().enumerate() {
        let offset = match after {
            Some(place) if file.id < place.file => continue,
            Some(place) if file.id == place.file => place.offset,
            // A file that has gone (or was compressed) is passed over.
            _ => 0,
        };
        let all_earlier = files.get(at + 1).is_some_and(|next| matcher.is_long_before(&next.id.time));
        if all_earlier || matcher.is_long_after(&file.id.time) {
            continue;
        }
        let mut reader = BufReader::with_capacity(256 * 1024, File::open(&file.path)?);
        reader.seek(SeekFrom::Start(offset))?;
        let mut place = FilePlace { file: file.id.clone(), offset };
        let mut line = Vec::new();
        // What has no line feed is perhaps being written.
        while let NextLine::Whole(length) | NextLine::TooLong(length) = next_line(&mut reader, &mut line)? {
            if events.len() == limit || budget == 0 {
                return Ok(AuditPage { events, position: AuditCursor(Place::File(place)), more: true });
            }
            events.extend(matcher.read(&line));
            place.offset += length;
            budget = budget.saturating_sub(length);
        }
        position = Some(place);
    }
    let position = AuditCursor(position.map_or(Place::Start, Place::File));
    Ok(AuditPage { events, position, more: false })
}

/// The newest events.
pub(super) fn tail(path: &Path, matcher: &Matcher, limit: usize) -> io::Result<AuditPage> {
    let files = in_order(path)?;
    let mut events: Vec<AuditRecord> = Vec::new();
    let mut budget = MOST_LOOKED_AT;
    let mut position = None;
    for LogFile { id, path } in files.into_iter().rev() {
        let mut file = File::open(path)?;
        let mut backwards = Backwards::from_the_end_of(&mut file)?;
        position.get_or_insert(FilePlace { file: id, offset: backwards.end });
        while let Some(lines) = backwards.block()? {
            for line in lines.split(|byte| *byte == b'\n').rev() {
                events.extend(matcher.read(line));
                if events.len() == limit {
                    break;
                }
            }
            budget = budget.saturating_sub(BLOCK);
            if events.len() == limit || budget == 0 {
                let more = true;
                events.reverse();
                return Ok(AuditPage {
                    events,
                    position: AuditCursor(position.map_or(Place::Start, Place::File)),
                    more,
                });
            }
        }
    }
    events.reverse();
    let position = AuditCursor(position.map_or(Place::Start, Place::File));
    Ok(AuditPage { events, position, more: false })
}

/// The files that hold lines, oldest first.
fn in_order(path: &Path) -> io::Result<Vec<LogFile>> {
    let found = match files::with_rotated(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files: Vec<LogFile> = Vec::new();
    for path in found.into_iter().filter(|path| !files::is_compressed(path)) {
        files.extend(identify(&path)?.map(|id| LogFile { id, path }));
    }
    files.sort_by(|one, other| one.id.cmp(&other.id));
    // A copy of a file (`copytruncate` makes one) holds nothing new.
    files.dedup_by(|one, other| one.id == other.id);
    Ok(files)
}

/// The first line of ours, near the beginning of a file.
fn identify(path: &Path) -> io::Result<Option<FileId>> {
    let mut start = BufReader::new(File::open(path)?).take(2 * files::LONGEST_LINE as u64);
    let mut line = Vec::new();
    loop {
        match next_line(&mut start, &mut line)? {
            NextLine::Whole(_) => {}
            NextLine::TooLong(_) | NextLine::Unended(_) | NextLine::End => return Ok(None),
        }
        if let (Some(sealed), Some(record)) = (Sealed::read(&line), AuditRecord::read(&line)) {
            let (instance, seq) = (sealed.head.instance, sealed.head.seq);
            return Ok(Some(FileId { time: record.time.into(), instance, seq }));
        }
    }
}

/// A file's whole lines, a block of them at a time, from the end.
struct Backwards<'a> {
    file: &'a mut File,
    /// Behind the last whole line.
    end: u64,
    /// What is before this place was not read yet.
    unread: u64,
    /// The end of a line whose beginning was not read yet.
    cut: Vec<u8>,
    buffer: Vec<u8>,
}

impl<'a> Backwards<'a> {
    fn from_the_end_of(file: &'a mut File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut end = length;
        let mut last = vec![0; usize::try_from(length.min(files::LONGEST_LINE as u64)).unwrap_or_default()];
        file.seek(SeekFrom::Start(length - last.len() as u64))?;
        file.read_exact(&mut last)?;
        // What is behind the last line feed is perhaps being written.
        end -= (last.len() - memchr::memrchr(b'\n', &last).map_or(0, |at| at + 1)) as u64;
        Ok(Self { file, end, unread: end, cut: Vec::new(), buffer: Vec::new() })
    }

    /// The lines before those of the last block.
    fn block(&mut self) -> io::Result<Option<&[u8]>> {
        if self.unread == 0 {
            return Ok(None);
        }
        let size = self.unread.min(BLOCK);
        self.unread -= size;
        self.file.seek(SeekFrom::Start(self.unread))?;
        self.buffer.resize(usize::try_from(size).unwrap_or_default(), 0);
        self.file.read_exact(&mut self.buffer)?;
        self.buffer.append(&mut self.cut);
        if self.unread > 0 {
            let whole = memchr::memchr(b'\n', &self.buffer).map_or(self.buffer.len(), |at| at + 1);
            let rest = self.buffer.split_off(whole);
            self.cut = std::mem::replace(&mut self.buffer, rest);
            // Too long for a line of ours: not kept.
            self.cut.truncate(files::LONGEST_LINE);
        }
        Ok(Some(&self.buffer))
    }
}

/// Lines are written in the order of time, as far as the clock was not set back by more than this.
const CLOCK_SET_BACK: u64 = 86_400_000_000;

impl Matcher {
    /// Whether what comes before a line of this time is too early.
    fn is_long_before(&self, time: &str) -> bool {
        self.since_micros.is_some_and(|since| *time < *rfc3339(since.saturating_sub(CLOCK_SET_BACK)))
    }

    /// Whether what comes after a line of this time is too late.
    fn is_long_after(&self, time: &str) -> bool {
        self.until_micros.is_some_and(|until| *time > *rfc3339(until.saturating_add(CLOCK_SET_BACK)))
    }
}
