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

/// The events before a place (`None`: the newest of all), newest first.
pub(super) fn back(path: &Path, matcher: &Matcher, before: Option<&FilePlace>, limit: usize) -> io::Result<AuditPage> {
    let files = in_order(path)?;
    let mut events = Vec::new();
    let mut budget = MOST_LOOKED_AT;
    let mut position = before.cloned();
    for LogFile { id, path } in files.into_iter().rev() {
        let end = match before {
            Some(place) if id > place.file => continue,
            Some(place) if id == place.file => place.offset,
            // A file that has gone (or was compressed) is passed over.
            _ => u64::MAX,
        };
        if matcher.is_long_after(&id.time) {
            continue;
        }
        let all_earlier = matcher.is_long_before(&id.time);
        let mut file = File::open(path)?;
        let mut backwards = Backwards::from(&mut file, end)?;
        while let Some((start, lines)) = backwards.block()? {
            let mut end = start + lines.len() as u64;
            for line in lines.split(|byte| *byte == b'\n').rev() {
                if events.len() == limit {
                    return Ok(AuditPage {
                        events,
                        position: AuditCursor(position.map_or(Place::Start, Place::File)),
                        more: true,
                    });
                }
                let begin = end - line.len() as u64;
                events.extend(matcher.read(line));
                position = Some(FilePlace { file: id.clone(), offset: begin });
                end = begin.saturating_sub(1);
            }
            budget = budget.saturating_sub(BLOCK);
            if budget == 0 {
                return Ok(AuditPage {
                    events,
                    position: AuditCursor(position.map_or(Place::Start, Place::File)),
                    more: true,
                });
            }
        }
        if all_earlier {
            break;
        }
    }
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
    /// What is before this place was not read yet.
    unread: u64,
    /// The end of a line whose beginning was not read yet.
    cut: Vec<u8>,
    buffer: Vec<u8>,
}

impl<'a> Backwards<'a> {
    /// From a place in it, or its end where that comes first.
    fn from(file: &'a mut File, place: u64) -> io::Result<Self> {
        let place = place.min(file.metadata()?.len());
        let mut last = vec![0; usize::try_from(place.min(files::LONGEST_LINE as u64)).unwrap_or_default()];
        file.seek(SeekFrom::Start(place - last.len() as u64))?;
        file.read_exact(&mut last)?;
        // What is behind the last line feed is perhaps being written.
        let unended = last.len() - memchr::memrchr(b'\n', &last).map_or(0, |at| at + 1);
        Ok(Self { file, unread: place - unended as u64, cut: Vec::new(), buffer: Vec::new() })
    }

    /// The lines before those of the last block, and where they begin.
    fn block(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        if self.unread == 0 {
            return Ok(None);
        }
        let size = self.unread.min(BLOCK);
        self.unread -= size;
        self.file.seek(SeekFrom::Start(self.unread))?;
        self.buffer.resize(usize::try_from(size).unwrap_or_default(), 0);
        self.file.read_exact(&mut self.buffer)?;
        self.buffer.append(&mut self.cut);
        let mut start = self.unread;
        if self.unread > 0 {
            let whole = memchr::memchr(b'\n', &self.buffer).map_or(self.buffer.len(), |at| at + 1);
            start += whole as u64;
            let rest = self.buffer.split_off(whole);
            self.cut = std::mem::replace(&mut self.buffer, rest);
            // Too long for a line of ours: not kept.
            self.cut.truncate(files::LONGEST_LINE);
        }
        Ok(Some((start, &self.buffer)))
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
