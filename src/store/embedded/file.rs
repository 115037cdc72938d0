//! The file: opened, recognised, and never overwritten when it is something else.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, ReadableDatabase as _, StorageError, TableHandle as _};

use super::schema::{FORMAT, FORMAT_KEY, META, TIME_KEY};
use super::tables;
use crate::session::StoreTime;

/// redb's own cache beside the kernel's.
const CACHE_BYTES: usize = 16 << 20;

/// Why the embedded store could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{}: {kind}", path.display())]
pub struct OpenError {
    path: PathBuf,
    /// Why.
    #[source]
    pub kind: OpenErrorKind,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum OpenErrorKind {
    /// Another process, or another store in this one, has it open.
    #[error("in use by another process; one gateway at a time, several share a Redis and have a journal each")]
    InUse,
    /// It is not, or no longer, a file that redb wrote.
    #[error("not what a gateway wrote, or damaged: {0}; it was left as it is, move it away to start with an empty one")]
    Corrupt(String),
    /// It belongs to another program.
    #[error("a redb file, but not what belongs here; it was left as it is, choose another path")]
    Foreign,
    /// Another version of the gateway wrote it.
    #[error("written in format {0} by another version of the gateway, which this one cannot read; move it away")]
    Format(u64),
    /// Another app has sessions in it.
    #[error("{0}")]
    OtherApp(String),
    /// The operating system said no.
    #[error(transparent)]
    Io(std::io::Error),
    /// The storage failed.
    #[error("the storage failed: {0}")]
    Storage(String),
    /// The thread that commits could not be started.
    #[error("the thread that writes could not be started: {0}")]
    Thread(std::io::Error),
}

impl OpenErrorKind {
    pub(in crate::store) fn at(self, path: &Path) -> OpenError {
        OpenError { path: path.to_owned(), kind: self }
    }
}

/// Opens or makes the file. Answers the last time that was written down, too.
pub(super) fn open(path: &Path) -> Result<(Database, StoreTime), OpenError> {
    open_as(path, recognise)
}

/// Opens or makes a file of redb's, of which `recognise` says whether it is ours.
pub(in crate::store) fn open_as<T>(
    path: &Path,
    recognise: impl FnOnce(Database) -> Result<T, OpenErrorKind>,
) -> Result<T, OpenError> {
    open_file(path, recognise).map_err(|kind| kind.at(path))
}

fn open_file<T>(path: &Path, recognise: impl FnOnce(Database) -> Result<T, OpenErrorKind>) -> Result<T, OpenErrorKind> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(OpenErrorKind::Io)?;
    }
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = file.map_err(OpenErrorKind::Io)?;
    warn_if_readable_by_others(path, &file);
    let shown = path.to_owned();
    // redb checks what it reads by assertions in places. A damaged file must give an error here, not end the process.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        Builder::new()
            .set_cache_size(CACHE_BYTES)
            .set_repair_callback(move |session| {
                let done = session.progress();
                tracing::info!(file = %shown.display(), done, "a file was not closed: it is being checked");
            })
            .create_file(file)
            .map_err(OpenErrorKind::from)
            .and_then(recognise)
    }));
    opened.unwrap_or_else(|_| Err(OpenErrorKind::Corrupt(String::from("its structure is broken"))))
}

/// Makes the tables of a new file; makes sure that another one is ours, and has those that came since it was made.
pub(super) fn recognise(database: Database) -> Result<(Database, StoreTime), OpenErrorKind> {
    let storage = |error: redb::Error| OpenErrorKind::Storage(error.to_string());
    let names: Vec<String> = database
        .begin_read()
        .map_err(|error| storage(error.into()))?
        .list_tables()
        .map_err(|error| storage(error.into()))?
        .map(|table| table.name().to_owned())
        .collect();
    if names.is_empty() {
        tables::initialise(&database).map_err(storage)?;
    }
    let transaction = database.begin_read().map_err(|error| storage(error.into()))?;
    let meta = transaction.open_table(META).map_err(|_| OpenErrorKind::Foreign)?;
    let value = |key: &str| meta.get(key).map_err(|error| storage(error.into()));
    let format = value(FORMAT_KEY)?.ok_or(OpenErrorKind::Foreign)?.value();
    if format != FORMAT {
        return Err(OpenErrorKind::Format(format));
    }
    let last = StoreTime::from_micros(value(TIME_KEY)?.map_or(0, |time| time.value()));
    drop((meta, transaction));
    if !names.is_empty() {
        tables::initialise(&database).map_err(storage)?;
    }
    Ok((database, last))
}

impl From<DatabaseError> for OpenErrorKind {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            DatabaseError::Storage(StorageError::Io(error)) => match error.kind() {
                std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => Self::Corrupt(error.to_string()),
                _ => Self::Io(error),
            },
            DatabaseError::Storage(StorageError::Corrupted(cause)) => Self::Corrupt(cause),
            other => Self::Corrupt(other.to_string()),
        }
    }
}

fn warn_if_readable_by_others(path: &Path, file: &File) {
    let mode = file.metadata().map_or(0, |metadata| metadata.mode());
    if mode & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "others than its owner may open a file of the session store: chmod 600 it");
    }
}
