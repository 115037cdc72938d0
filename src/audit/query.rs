//! What happened: audit events by time, tenant, user and type, a page at a time.
//!
//! With a shared store every instance answers with the events of all, from the stream. Else the files of this gateway
//! are read, the rotated ones too unless they are compressed. A page looks at a bounded amount: it may hold fewer
//! events than asked for, even none, and still say that there are more.
//!
//! A query shows what is written. Whether it was changed is for [`super::verify`] to say.

mod files;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use memchr::memmem;

use super::chain::InstanceId;
use super::event::AuditType;
use super::record::AuditRecord;
use super::writer::AuditTarget;
use crate::clock::{WallTime, rfc3339};
use crate::json_line::quoted;
use crate::session::{TenantId, UserId};
use crate::store::Unavailable;
use crate::store::audit::{AuditStream, StreamPosition};

/// The most events of a page.
pub const LARGEST_PAGE: usize = 1000;
/// Events of the stream that one page looks at.
const MOST_LOOKED_AT: usize = 10_000;
/// Events of the stream that are asked for at once.
const STEP: usize = 200;
/// How much earlier than its own time an event may stand in the stream: the clocks of gateways and store differ.
const CLOCKS_DIFFER_MS: u64 = 60_000;

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// At this time or later.
    pub since: Option<WallTime>,
    /// Before this time.
    pub until: Option<WallTime>,
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Of this user.
    pub user: Option<UserId>,
    /// Of this type.
    pub kind: Option<AuditType>,
}

/// A place among the events, for the next page. Its text is for this gateway alone to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditCursor(Place);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    Stream(StreamPosition),
    File(files::FilePlace),
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Start => formatter.write_str("0"),
            Place::Stream(StreamPosition { millis, count }) => write!(formatter, "s.{millis}.{count}"),
            Place::File(files::FilePlace { file, offset }) => {
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
                Place::File(files::FilePlace { file: files::FileId { time: time.into(), instance, seq }, offset })
            }
            _ => return Err(BadCursor),
        };
        let cursor = Self(place);
        if cursor.to_string() == text { Ok(cursor) } else { Err(BadCursor) }
    }
}

/// Some events.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditPage {
    /// Oldest first.
    pub events: Vec<AuditRecord>,
    /// Behind the last event that was looked at: where the next page begins, also the page of what has not happened
    /// yet.
    pub position: AuditCursor,
    /// Whether there may be more now.
    pub more: bool,
}

/// Why there is no page.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// The store or the disk does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The cursor is of another audit log.
    #[error(transparent)]
    Cursor(#[from] BadCursor),
    /// The events went to standard output and are nowhere else.
    #[error("the audit log is standard output, and there is no shared store: events are not kept here")]
    NotKept,
}

/// Answers queries.
#[derive(Clone)]
pub struct AuditQuery(Source);

#[derive(Clone)]
enum Source {
    Stream(Arc<dyn AuditStream>),
    Files(PathBuf),
    Nowhere,
}

impl fmt::Debug for AuditQuery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Source::Stream(_) => "AuditQuery(stream)",
            Source::Files(_) => "AuditQuery(files)",
            Source::Nowhere => "AuditQuery(nowhere)",
        })
    }
}

impl AuditQuery {
    /// Over the events of all gateways when they share a store; else over this one's file, if there is one.
    #[must_use]
    pub fn over(target: &AuditTarget, stream: Option<Arc<dyn AuditStream>>) -> Self {
        Self(match (stream, target) {
            (Some(stream), _) => Source::Stream(stream),
            (None, AuditTarget::File(path)) => Source::Files(path.clone()),
            (None, AuditTarget::Stdout) => Source::Nowhere,
        })
    }

    /// The next events behind a place (`None`: from the start), oldest first; at most `limit`, and at most
    /// [`LARGEST_PAGE`].
    ///
    /// # Errors
    /// When they cannot be read, or the cursor is of another audit log.
    pub async fn page(
        &self,
        filter: &AuditFilter,
        after: Option<&AuditCursor>,
        limit: usize,
    ) -> Result<AuditPage, QueryError> {
        let limit = limit.clamp(1, LARGEST_PAGE);
        let matcher = Matcher::new(filter);
        let place = after.map(|cursor| cursor.0.clone()).unwrap_or_default();
        match (&self.0, place) {
            (Source::Nowhere, _) => Err(QueryError::NotKept),
            (Source::Stream(_), Place::File(_)) | (Source::Files(_), Place::Stream(_)) => Err(BadCursor.into()),
            (Source::Stream(stream), Place::Stream(position)) => {
                stream_page(&**stream, &matcher, position, limit).await
            }
            (Source::Stream(stream), Place::Start) => {
                let since = filter.since.map_or(0, |since| since.as_micros() / 1000);
                let position = StreamPosition { millis: since.saturating_sub(CLOCKS_DIFFER_MS), count: 0 };
                stream_page(&**stream, &matcher, position, limit).await
            }
            (Source::Files(path), Place::Start) => {
                read_files(path, move |path| files::page(path, &matcher, None, limit)).await
            }
            (Source::Files(path), Place::File(place)) => {
                read_files(path, move |path| files::page(path, &matcher, Some(&place), limit)).await
            }
        }
    }

    /// The newest events, oldest of them first; at most `limit`, and at most [`LARGEST_PAGE`]. The page's position is
    /// behind the newest of all: a later [`page`](Self::page) from there has what happened since.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn tail(&self, filter: &AuditFilter, limit: usize) -> Result<AuditPage, QueryError> {
        let limit = limit.clamp(1, LARGEST_PAGE);
        let matcher = Matcher::new(filter);
        match &self.0 {
            Source::Nowhere => Err(QueryError::NotKept),
            Source::Stream(stream) => stream_tail(&**stream, &matcher, limit).await,
            Source::Files(path) => read_files(path, move |path| files::tail(path, &matcher, limit)).await,
        }
    }
}

async fn read_files(
    path: &std::path::Path,
    read: impl FnOnce(&std::path::Path) -> std::io::Result<AuditPage> + Send + 'static,
) -> Result<AuditPage, QueryError> {
    let path = path.to_owned();
    match tokio::task::spawn_blocking(move || read(&path)).await {
        Ok(Ok(page)) => Ok(page),
        Ok(Err(error)) => Err(Unavailable::because(error).into()),
        Err(error) => Err(Unavailable::because(error).into()),
    }
}

async fn stream_page(
    stream: &dyn AuditStream,
    matcher: &Matcher,
    mut position: StreamPosition,
    limit: usize,
) -> Result<AuditPage, QueryError> {
    let mut events = Vec::new();
    let mut looked_at = 0;
    let more = 'looking: loop {
        let entries = stream.after(position, STEP).await?;
        let last = entries.len() < STEP;
        for entry in entries {
            if events.len() == limit {
                break 'looking true;
            }
            position = entry.position;
            looked_at += 1;
            events.extend(matcher.read(&entry.line));
        }
        if last || looked_at >= MOST_LOOKED_AT {
            break !last;
        }
    };
    Ok(AuditPage { events, position: AuditCursor(Place::Stream(position)), more })
}

async fn stream_tail(stream: &dyn AuditStream, matcher: &Matcher, limit: usize) -> Result<AuditPage, QueryError> {
    let mut events = Vec::new();
    let (mut newest, mut oldest) = (None, None);
    let mut looked_at = 0;
    let more = 'looking: loop {
        let entries = stream.before(oldest, STEP).await?;
        let last = entries.len() < STEP;
        for entry in entries {
            if events.len() == limit {
                break 'looking true;
            }
            newest.get_or_insert(entry.position);
            oldest = Some(entry.position);
            looked_at += 1;
            events.extend(matcher.read(&entry.line));
        }
        if last || looked_at >= MOST_LOOKED_AT {
            break !last;
        }
    };
    events.reverse();
    Ok(AuditPage { events, position: AuditCursor(Place::Stream(newest.unwrap_or_default())), more })
}

/// A filter made ready: most lines are turned down without being parsed.
struct Matcher {
    since: Option<String>,
    until: Option<String>,
    /// The two before, for whole files.
    since_micros: Option<u64>,
    until_micros: Option<u64>,
    /// Field, value, and both as they stand in a line.
    fields: Vec<(Field, String, memmem::Finder<'static>)>,
}

#[derive(Clone, Copy)]
enum Field {
    Tenant,
    User,
    Kind,
}

impl Matcher {
    fn new(filter: &AuditFilter) -> Self {
        let field = |field: Field, name: &str, value: &str| {
            let mut text = format!("\"{name}\":").into_bytes();
            quoted(&mut text, value);
            (field, value.to_owned(), memmem::Finder::new(&text).into_owned())
        };
        let mut fields = Vec::new();
        fields.extend(filter.tenant.as_ref().map(|tenant| field(Field::Tenant, "tenant", tenant.as_str())));
        fields.extend(filter.user.as_ref().map(|user| field(Field::User, "user", user.as_str())));
        fields.extend(filter.kind.map(|kind| field(Field::Kind, "type", kind.as_str())));
        let text = |time: Option<WallTime>| time.map(|time| rfc3339(time.as_micros()));
        let micros = |time: Option<WallTime>| time.map(WallTime::as_micros);
        Self {
            since: text(filter.since),
            until: text(filter.until),
            since_micros: micros(filter.since),
            until_micros: micros(filter.until),
            fields,
        }
    }

    /// The event of a line, if it is one of those that are looked for.
    fn read(&self, line: &[u8]) -> Option<AuditRecord> {
        if self.fields.iter().any(|(_, _, finder)| finder.find(line).is_none()) {
            return None;
        }
        let record = AuditRecord::read(line)?;
        // All times are written alike: their order is that of their texts.
        let in_time = self.since.as_ref().is_none_or(|since| *since <= record.time)
            && self.until.as_ref().is_none_or(|until| record.time < *until);
        let matches = self.fields.iter().all(|(field, value, _)| match field {
            Field::Tenant => record.tenant.as_ref() == Some(value),
            Field::User => record.user.as_ref() == Some(value),
            Field::Kind => record.kind == *value,
        });
        (in_time && matches).then_some(record)
    }
}

#[cfg(test)]
mod tests;
