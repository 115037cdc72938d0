//! Takes in a whole request body before a backend is asked, for two reasons. Many backends read none of a body without a
//! length (Django under gunicorn, Flask under uWSGI: zero bytes, silently). And a synchronous worker reads a body as
//! slowly as its client sends it: a handful of slow uploads would hold them all.
//!
//! Small ones stay in memory; larger ones, and all while the memory for them is taken, go to a file that has no name, so
//! that a crash leaves nothing behind. File work never runs on the async threads.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::body::{BodyLimits, ClientBody, PIECE, RequestBody, SpooledBody};
use super::error::{BodyError, BodyFault};

/// The memory that bodies take at most.
const MEMORY: usize = 64 << 20;
/// What any body may take of it although it is taken: slow ones must not keep others from logging in.
const SMALL: usize = 16 << 10;
/// In which amounts memory and files are set aside.
const UNIT: usize = 4 * 1024;
/// How long a body may take however little of it comes, and the bytes a second that it needs beyond that.
const UNHURRIED: Duration = Duration::from_secs(60);
const LEAST_RATE: u64 = 256;

/// Where bodies wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The folder of the files; it must exist.
    pub dir: PathBuf,
    /// The most bytes of one body that are kept in memory.
    pub above: usize,
    /// The most bytes that all files take.
    pub total: u64,
}

/// Memory for bodies that come slowly or in pieces: so much in all, whoever sends them.
#[derive(Debug)]
pub struct BodyMemory(Arc<Semaphore>);

impl Default for BodyMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MEMORY / UNIT)))
    }
}

impl BodyMemory {
    /// Takes in `body` to its end, none of which may meet the disk.
    ///
    /// # Errors
    /// [`BodyError::Client`] when the body is too large, stalls, crawls or breaks off; [`BodyError::NoRoom`] when it is
    /// not small and the memory is taken.
    pub async fn take<B>(&self, body: B, limits: BodyLimits) -> Result<Bytes, BodyError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut body = Arriving::new(body, limits)?;
        match self.fill(&mut body, SMALL, usize::MAX).await? {
            Taken::Whole(bytes) => Ok(bytes),
            Taken::Beginning(_) => Err(BodyError::NoRoom),
        }
    }

    /// Takes in at most `above` bytes, the first `free` of them whether there is room or not.
    async fn fill(&self, body: &mut Arriving, free: usize, above: usize) -> Result<Taken, BodyError> {
        let Some(first) = body.next().await? else { return Ok(Taken::Whole(Bytes::new())) };
        if body.is_over() && first.len() <= above {
            // It came with its head, and is in the connection's own memory.
            return Ok(Taken::Whole(first));
        }
        let mut memory = InMemory { bytes: BytesMut::new(), room: None };
        let mut piece = first;
        loop {
            let length = memory.bytes.len() + piece.len();
            if length > above || (length > free && !memory.grow(piece.len(), &self.0)) {
                return Ok(Taken::Beginning([memory.bytes.freeze(), piece]));
            }
            memory.bytes.extend_from_slice(&piece);
            match body.next().await? {
                Some(next) => piece = next,
                None => return Ok(Taken::Whole(Bytes::from_owner(memory))),
            }
        }
    }
}

/// Where the bodies of one upstream wait. What waits in memory and in files at once is bounded.
#[derive(Debug)]
pub struct Spool {
    settings: SpoolSettings,
    memory: BodyMemory,
    files: Arc<Semaphore>,
}

impl Spool {
    /// A spool with nothing in it.
    #[must_use]
    pub fn new(settings: SpoolSettings) -> Self {
        let files = usize::try_from(settings.total).unwrap_or(usize::MAX) / UNIT;
        let files = Arc::new(Semaphore::new(files.min(Semaphore::MAX_PERMITS)));
        Self { settings, memory: BodyMemory::default(), files }
    }

    /// Where it waits.
    #[must_use]
    pub const fn settings(&self) -> &SpoolSettings {
        &self.settings
    }

    /// Takes in `body` to its end. What comes back has an exact length.
    ///
    /// # Errors
    /// [`BodyError::Client`] when the body is too large, stalls, crawls or breaks off; [`BodyError::NoRoom`] when all
    /// files are taken; [`BodyError::Spool`] when the file cannot be made or written.
    pub async fn take<B>(&self, body: B, limits: BodyLimits) -> Result<RequestBody, BodyError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut body = Arriving::new(body, limits)?;
        match self.memory.fill(&mut body, 0, self.settings.above).await? {
            Taken::Whole(bytes) => Ok(RequestBody::Full(bytes)),
            Taken::Beginning(beginning) => self.take_to_file(body, beginning).await,
        }
    }

    async fn take_to_file(&self, mut body: Arriving, beginning: [Bytes; 2]) -> Result<RequestBody, BodyError> {
        let dir = self.settings.dir.clone();
        let file = spawn_blocking(move || tempfile::tempfile_in(dir)).await.map_err(io::Error::other)??;
        let mut file = File::from_std(file);
        file.set_max_buf_size(PIECE);
        let mut room = None;
        let mut length = 0;
        for piece in &beginning {
            set_aside(&self.files, &mut room, length, piece.len()).ok_or(BodyError::NoRoom)?;
            file.write_all(piece).await?;
            length += piece.len();
        }
        drop(beginning);
        while let Some(piece) = body.next().await? {
            set_aside(&self.files, &mut room, length, piece.len()).ok_or(BodyError::NoRoom)?;
            file.write_all(&piece).await?;
            length += piece.len();
        }
        file.flush().await?;
        file.rewind().await?;
        Ok(RequestBody::Spooled(Box::new(SpooledBody::new(file, length as u64, room))))
    }
}

/// What was taken into memory.
enum Taken {
    Whole(Bytes),
    /// There is more to come than memory may hold.
    Beginning([Bytes; 2]),
}

/// Sets room aside for `more` bytes after `length` others; `None` when there is not as much.
fn set_aside(all: &Arc<Semaphore>, room: &mut Option<OwnedSemaphorePermit>, length: usize, more: usize) -> Option<()> {
    let units = (length + more).div_ceil(UNIT) - length.div_ceil(UNIT);
    if units == 0 {
        return Some(());
    }
    let further = Arc::clone(all).try_acquire_many_owned(u32::try_from(units).ok()?).ok()?;
    match room {
        Some(room) => room.merge(further),
        None => *room = Some(further),
    }
    Some(())
}

/// A body in memory, and the room that it takes there until nobody needs it any more.
struct InMemory {
    bytes: BytesMut,
    room: Option<OwnedSemaphorePermit>,
}

impl InMemory {
    fn grow(&mut self, more: usize, all: &Arc<Semaphore>) -> bool {
        set_aside(all, &mut self.room, self.bytes.len(), more).is_some()
    }
}

impl AsRef<[u8]> for InMemory {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body that is on its way, and must not crawl.
struct Arriving {
    body: ClientBody,
    began: Instant,
    seen: u64,
}

impl Arriving {
    fn new<B>(body: B, limits: BodyLimits) -> Result<Self, BodyFault>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        Ok(Self { body: ClientBody::new(body, limits)?, began: Instant::now(), seen: 0 })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyFault> {
        let Some(piece) = poll_fn(|context| self.body.poll_piece(context)).await.transpose()? else { return Ok(None) };
        self.seen += piece.len() as u64;
        if self.began.elapsed() > UNHURRIED + Duration::from_secs(self.seen / LEAST_RATE) {
            return Err(BodyFault::Stalled);
        }
        Ok(Some(piece))
    }

    fn is_over(&self) -> bool {
        self.body.is_over()
    }
}
