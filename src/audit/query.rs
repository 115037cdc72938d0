//! What happened: audit events by time, tenant, user and type, a page at a time.
//!
//! With a shared store every instance answers with the events of all, from the stream. Else the files of this gateway
//! are read, the rotated ones too unless they are compressed. A page looks at a bounded amount: it may hold fewer
//! events than asked for, even none, and still say that there are more.
//!
//! A query shows what is written. Whether it was changed is for [`super::verify`] to say.

mod files;
mod filter;
mod page;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use filter::AuditFilter;
pub use page::{AuditCursor, AuditPage, BadCursor};

use super::log::AuditTarget;
use crate::store::Unavailable;
use crate::store::audit::{AuditStream, StreamPosition};
use filter::Matcher;
use page::Place;

/// The most events of a page.
pub const LARGEST_PAGE: usize = 1000;
/// Events of the stream that one page looks at.
const MOST_LOOKED_AT: usize = 10_000;
/// Events of the stream that are asked for at once.
const STEP: usize = 200;
/// How much earlier than its own time an event may stand in the stream: the clocks of gateways and store differ.
const CLOCKS_DIFFER_MS: u64 = 60_000;

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

    /// The events before a place (`None`: the newest of all), newest first; at most `limit`, and at most [`LARGEST_PAGE`].
    ///
    /// # Errors
    /// When they cannot be read, or the cursor is of another audit log.
    pub async fn back(
        &self,
        filter: &AuditFilter,
        before: Option<&AuditCursor>,
        limit: usize,
    ) -> Result<AuditPage, QueryError> {
        let limit = limit.clamp(1, LARGEST_PAGE);
        let matcher = Matcher::new(filter);
        let place = before.map(|cursor| cursor.0.clone()).unwrap_or_default();
        match (&self.0, place) {
            (Source::Nowhere, _) => Err(QueryError::NotKept),
            (Source::Stream(_), Place::File(_)) | (Source::Files(_), Place::Stream(_)) => Err(BadCursor.into()),
            (Source::Stream(stream), Place::Stream(position)) => {
                stream_back(&**stream, &matcher, Some(position), limit).await
            }
            (Source::Stream(stream), Place::Start) => {
                let until = filter.until.map(|until| StreamPosition {
                    millis: (until.as_micros() / 1000).saturating_add(CLOCKS_DIFFER_MS),
                    count: 0,
                });
                stream_back(&**stream, &matcher, until, limit).await
            }
            (Source::Files(path), Place::Start) => {
                read_files(path, move |path| files::back(path, &matcher, None, limit)).await
            }
            (Source::Files(path), Place::File(place)) => {
                read_files(path, move |path| files::back(path, &matcher, Some(&place), limit)).await
            }
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

async fn stream_back(
    stream: &dyn AuditStream,
    matcher: &Matcher,
    mut position: Option<StreamPosition>,
    limit: usize,
) -> Result<AuditPage, QueryError> {
    let mut events = Vec::new();
    let mut looked_at = 0;
    let more = 'looking: loop {
        let entries = stream.before(position, STEP).await?;
        let last = entries.len() < STEP;
        for entry in entries {
            if events.len() == limit {
                break 'looking true;
            }
            position = Some(entry.position);
            looked_at += 1;
            events.extend(matcher.read(&entry.line));
        }
        if last || looked_at >= MOST_LOOKED_AT {
            break !last;
        }
    };
    Ok(AuditPage { events, position: AuditCursor(position.map_or(Place::Start, Place::Stream)), more })
}

#[cfg(test)]
mod tests;
