//! Takes in a whole chunked body before it is sent on, because many backends read none of a body without a length
//! (Django under gunicorn, Flask under uWSGI: zero bytes, silently).
//!
//! Small ones stay in memory; larger ones go to a file that has no name, so that a crash leaves nothing behind.
//! File work never runs on the async threads.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio::task::spawn_blocking;

use super::body::{BodyLimits, ClientBody, PIECE, RequestBody, SpooledBody};
use super::error::BodyError;

/// Where a body without a length waits.
#[derive(Clone, Debug)]
pub struct SpoolSettings {
    /// The folder of the files; it must exist.
    pub dir: PathBuf,
    /// The most bytes that are kept in memory.
    pub above: usize,
}

/// Takes in `body` to its end. What comes back has an exact length.
///
/// # Errors
/// [`BodyError::Client`] when the body is too large, stalls or breaks off; [`BodyError::Spool`] when the file cannot
/// be made or written.
pub async fn spool<B>(body: B, settings: &SpoolSettings, limits: BodyLimits) -> Result<RequestBody, BodyError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut body = ClientBody::new(body, limits)?;
    let mut memory = BytesMut::new();
    while let Some(piece) = poll_fn(|context| body.poll_piece(context)).await {
        let piece = piece?;
        if memory.len() + piece.len() > settings.above {
            return spool_to_file(body, [memory.freeze(), piece], settings.dir.clone()).await;
        }
        memory.extend_from_slice(&piece);
    }
    Ok(RequestBody::Full(memory.freeze()))
}

async fn spool_to_file(mut body: ClientBody, taken: [Bytes; 2], dir: PathBuf) -> Result<RequestBody, BodyError> {
    let file = spawn_blocking(move || tempfile::tempfile_in(dir)).await.map_err(io::Error::other)??;
    let mut file = File::from_std(file);
    file.set_max_buf_size(PIECE);
    let mut length = 0;
    for piece in &taken {
        file.write_all(piece).await?;
        length += piece.len() as u64;
    }
    while let Some(piece) = poll_fn(|context| body.poll_piece(context)).await {
        let piece = piece?;
        file.write_all(&piece).await?;
        length += piece.len() as u64;
    }
    file.flush().await?;
    file.rewind().await?;
    Ok(RequestBody::Spooled(SpooledBody::new(file, length)))
}
