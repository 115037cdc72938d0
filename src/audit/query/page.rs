//! A page of events, and the place where the next one begins.

use std::fmt;
use std::str::FromStr;

use super::super::chain::InstanceId;
use super::super::record::AuditRecord;
use crate::store::audit::StreamPosition;

/// A place among the events, for the next page. Its text is for this gateway alone to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditCursor(pub(super) Place);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    #[default]
    Start,
    Stream(StreamPosition),
    File(FilePlace),
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Start => formatter.write_str("0"),
            Place::Stream(StreamPosition { millis, count }) => write!(formatter, "s.{millis}.{count}"),
            Place::File(FilePlace { file, offset }) => {
                write!(formatter, "f.{offset}.{}.{}.{}", file.seq, file.instance, file.time)
            }
        }
    }
}

/// A text that is no cursor of this gateway's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor of this audit log")]
pub struct BadCursor;

impl FromStr for AuditCursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let mut parts = text.splitn(5, '.');
        let mut next = || parts.next().ok_or(BadCursor);
        let number = |part: &str| part.parse::<u64>().map_err(|_| BadCursor);
        let place = match next()? {
            "0" => Place::Start,
            "s" => Place::Stream(StreamPosition { millis: number(next()?)?, count: number(next()?)? }),
            "f" => {
                let (offset, seq) = (number(next()?)?, number(next()?)?);
                let instance = InstanceId::parse(next()?.as_bytes()).ok_or(BadCursor)?;
                let time = next()?;
                if time.len() > 32 || !time.is_ascii() {
                    return Err(BadCursor);
                }
                Place::File(FilePlace { file: FileId { time: time.into(), instance, seq }, offset })
            }
            _ => return Err(BadCursor),
        };
        let cursor = Self(place);
        if cursor.to_string() == text { Ok(cursor) } else { Err(BadCursor) }
    }
}

/// What tells a file from others, whatever it is called after its next rotation: its first line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId {
    pub(super) time: Box<str>,
    pub(super) instance: InstanceId,
    pub(super) seq: u64,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FilePlace {
    pub(super) file: FileId,
    pub(super) offset: u64,
}

/// Some events.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditPage {
    /// Oldest first, or newest first on the way back.
    pub events: Vec<AuditRecord>,
    /// Behind the last event that was looked at: where the next page begins, also the page of what has not happened
    /// yet. On the way back: before it.
    pub position: AuditCursor,
    /// Whether there may be more now.
    pub more: bool,
}
