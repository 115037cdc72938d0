//! Takes in a whole request body before a backend is asked, for two reasons. Many backends read none of a body without a
//! length (Django under gunicorn, Flask under uWSGI: zero bytes, silently). And a synchronous worker reads a body as
//! slowly as its client sends it: a handful of slow uploads would hold them all.
//!
//! Small ones stay in memory; larger ones, and all while the memory for them is taken, go to a file that has no name, so
//! that a crash leaves nothing behind. File work never runs on the async threads.

use std::error::Error;
use std::future::poll_fn;
use std::io::{self, Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use rustix::fs::statfs;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::body::{BodyLimits, LimitedBody, PIECE, RequestBody, SpooledBody};
use super::error::{BodyError, BodyFault};
use super::room::{Place, Room};
use crate::network::Network;

/// The memory that bodies take at most.
const MEMORY: usize = 64 << 20;
/// What any body may take of it although it is taken: slow ones must not keep others from logging in.
const SMALL: usize = 16 << 10;
/// In which amounts memory is set aside, and what of a body is gathered for its file when there is none left.
const UNIT: usize = 4 * 1024;
/// How long a body may take however little of it comes.
const UNHURRIED: Duration = Duration::from_secs(60);
/// Bytes that buy a second more: of what waits in memory, and of what waits in files, which takes more from others.
const LEAST_RATE: u64 = 256;
const LEAST_RATE_IN_FILES: u64 = 1024;
/// What `statfs` calls a file system whose files are memory (linux/magic.h): tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

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

impl SpoolSettings {
    /// What an operator must know of the folder as it is now; `None` when bodies can wait there.
    #[must_use]
    pub fn misgiving(&self) -> Option<String> {
        if let Err(error) = tempfile::tempfile_in(&self.dir) {
            return Some(format!("takes no file, so that larger uploads are answered 503: {error}"));
        }
        let kind = statfs(&self.dir).ok().and_then(|found| u64::try_from(found.f_type).ok());
        let in_memory = kind.is_some_and(|kind| IN_MEMORY.contains(&kind));
        in_memory.then(|| String::from("is in memory (tmpfs), which uploads then fill; name a folder on a disk"))
    }
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
            Taken::Beginning(..) => Err(BodyError::NoRoom),
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
                return Ok(Taken::Beginning(memory, piece));
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
    room: Arc<Room>,
}

impl Spool {
    /// A spool with nothing in it.
    #[must_use]
    pub fn new(settings: SpoolSettings) -> Self {
        let room = Arc::new(Room::new(settings.total));
        Self { settings, memory: BodyMemory::default(), room }
    }

    /// Where it waits.
    #[must_use]
    pub const fn settings(&self) -> &SpoolSettings {
        &self.settings
    }

    /// Takes in `body`, which `client` sends, to its end. What comes back has an exact length.
    ///
    /// # Errors
    /// [`BodyError::Client`] when the body is too large, stalls, crawls or breaks off; [`BodyError::NoRoom`] when all
    /// files are taken, or the client's share of them, or when this body has to make room for a quicker one;
    /// [`BodyError::Spool`] when the file cannot be made or written.
    pub async fn take<B>(&self, body: B, limits: BodyLimits, client: Network) -> Result<RequestBody, BodyError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut body = Arriving::new(body, limits)?;
        match self.memory.fill(&mut body, 0, self.settings.above).await? {
            Taken::Whole(bytes) => Ok(RequestBody::Full(bytes)),
            Taken::Beginning(memory, piece) => {
                let place = self.room.begin(client, limits.max_body);
                self.take_to_file(body, place, memory, piece).await
            }
        }
    }

    async fn take_to_file(
        &self,
        mut body: Arriving,
        mut place: Place,
        memory: InMemory,
        piece: Bytes,
    ) -> Result<RequestBody, BodyError> {
        body.hurry();
        place.grow(memory.bytes.len() + piece.len())?;
        let dir = self.settings.dir.clone();
        let mut file = blocking(move || {
            let mut file = tempfile::tempfile_in(dir)?;
            file.write_all(&memory.bytes)?;
            file.write_all(&piece)?;
            Ok(file)
        })
        .await?;
        // Each write waits for a thread of its own, so what comes in small pieces is gathered.
        let mut room_to_gather = None;
        let most = if set_aside(&self.memory.0, &mut room_to_gather, 0, PIECE).is_some() { PIECE } else { UNIT };
        let mut gathered = Vec::new();
        loop {
            let piece = poll_fn(|context| match body.poll_next(context) {
                Poll::Ready(piece) => Poll::Ready(piece.map_err(BodyError::Client)),
                Poll::Pending => place.poll_notice(context).map(|()| Err(BodyError::NoRoom)),
            });
            let Some(piece) = piece.await? else { break };
            place.grow(piece.len())?;
            if gathered.len() + piece.len() <= most {
                gathered.extend_from_slice(&piece);
                continue;
            }
            (file, gathered) = blocking(move || {
                file.write_all(&gathered)?;
                file.write_all(&piece)?;
                gathered.clear();
                Ok((file, gathered))
            })
            .await?;
        }
        let file = blocking(move || {
            file.write_all(&gathered)?;
            file.rewind()?;
            Ok(file)
        });
        let file = tokio::fs::File::from_std(file.await?);
        place.settle()?;
        Ok(RequestBody::Spooled(Box::new(SpooledBody::new(file, place))))
    }
}

/// Work on a file, never on the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, BodyError> {
    Ok(spawn_blocking(work).await.map_err(io::Error::other)??)
}

/// What was taken into memory.
enum Taken {
    Whole(Bytes),
    /// There is more to come than memory may hold.
    Beginning(InMemory, Bytes),
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

/// A body that is on its way, and must not crawl: it has so long, and what comes of it buys more time, but never much
/// more. So one that came fast cannot live on that for hours.
struct Arriving {
    body: LimitedBody,
    until: Instant,
    /// The most time that it can have ahead: longer than any gap that it may leave.
    ahead: Duration,
    least_rate: u64,
}

impl Arriving {
    fn new<B>(body: B, limits: BodyLimits) -> Result<Self, BodyFault>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        Ok(Self {
            body: LimitedBody::new(body, limits)?,
            until: Instant::now() + UNHURRIED,
            ahead: UNHURRIED + limits.body_timeout,
            least_rate: LEAST_RATE,
        })
    }

    /// From now on it waits in a file.
    const fn hurry(&mut self) {
        self.least_rate = LEAST_RATE_IN_FILES;
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyFault> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyFault>> {
        let piece = ready!(self.body.poll_piece(context));
        let Some(piece) = piece.transpose()? else { return Poll::Ready(Ok(None)) };
        let now = Instant::now();
        if now > self.until {
            return Poll::Ready(Err(BodyFault::Stalled));
        }
        let bought = Duration::from_micros((piece.len() as u64).saturating_mul(1_000_000) / self.least_rate);
        self.until = (self.until + bought).min(now + self.ahead);
        Poll::Ready(Ok(Some(piece)))
    }

    fn is_over(&self) -> bool {
        self.body.is_over()
    }
}
