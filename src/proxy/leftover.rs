//! What a client still sends when nobody wants it any more: read and thrown away, for a while.
//!
//! A refusal goes out before the body of its request is in. Were the rest left unread, the close of the connection would
//! have the client's kernel throw away an answer that was not looked at yet (RFC 9112 §9.6); over HTTP/2 a reset would go
//! with the answer, and some clients see nothing else of the two. What is read here has been refused: it must go nowhere.

use std::time::Duration;

use http_body::Body;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::connection::{ConnectionState, Lingering};

/// How long it is read, in all and without a byte of it. Clients that are made for nginx know the same bounds.
const IN_ALL: Duration = Duration::from_secs(30);
const SILENCE: Duration = Duration::from_secs(5);

/// What is read at a time of bytes that belong to no request.
const PIECE: usize = 16 * 1024;

/// What becomes of the rest of a body.
pub(super) struct Leftover {
    connection: ConnectionState,
    /// What it waits for.
    answered: Option<CancellationToken>,
}

impl Leftover {
    /// Of a request on `connection`.
    pub(super) const fn of(connection: ConnectionState) -> Self {
        Self { connection, answered: None }
    }

    /// The same, once the request was answered: a client that waits to be told to go on (`Expect`) must not be told so by
    /// the mere reading.
    pub(super) fn once(self, answered: CancellationToken) -> Self {
        Self { answered: Some(answered), ..self }
    }

    /// Reads the rest and throws it away. The connection is not idle until then, and holds its place.
    pub(super) fn throw_away<B>(self, body: B)
    where
        B: Body + Unpin + Send + 'static,
        B::Data: Send,
        B::Error: Send,
    {
        // Without a runtime there is no connection any more.
        let Ok(runtime) = Handle::try_current() else { return };
        let lingering = self.connection.linger();
        runtime.spawn(read_to_its_end(body, self.answered, lingering));
    }
}

async fn read_to_its_end<B: Body + Unpin>(mut body: B, answered: Option<CancellationToken>, _lingering: Lingering) {
    if let Some(answered) = answered {
        answered.cancelled().await;
    }
    let reading = async { while let Ok(Some(Ok(_))) = timeout(SILENCE, body.frame()).await {} };
    // Whoever takes longer has had its answer for long.
    let _ = timeout(IN_ALL, reading).await;
}

/// Reads what comes on a connection after a request that was refused for its form, and of which nobody can say where it
/// ends. The client was told already that nothing else will be answered.
pub(super) async fn throw_away_bytes(mut stream: impl AsyncRead + Unpin) {
    let mut piece = vec![0; PIECE];
    let reading = async { while let Ok(Ok(1..)) = timeout(SILENCE, stream.read(&mut piece)).await {} };
    let _ = timeout(IN_ALL, reading).await;
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;
    use tokio::time::Instant;

    use super::*;

    /// A client that sends a byte, and the next one after a while.
    struct Drip {
        every: Duration,
        next: Pin<Box<tokio::time::Sleep>>,
    }

    impl Drip {
        fn every(every: Duration) -> Self {
            Self { every, next: Box::pin(tokio::time::sleep(every)) }
        }
    }

    impl AsyncRead for Drip {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<std::io::Result<()>> {
            std::task::ready!(self.next.as_mut().poll(context));
            buffer.put_slice(b"x");
            self.next = Box::pin(tokio::time::sleep(self.every));
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_silent_or_drips_is_read_for_a_while_only() {
        for (every, lasts) in [(1, 30), (4, 30), (6, 5)] {
            let begun = Instant::now();
            throw_away_bytes(Drip::every(Duration::from_secs(every))).await;
            assert_eq!(begun.elapsed().as_secs(), lasts, "a byte every {every} s");
        }
        throw_away_bytes(&b"all there"[..]).await;
    }
}
