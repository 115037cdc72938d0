//! A connection that has left HTTP at a client's wish.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::UpstreamBody;
use super::peer::Load;
use super::socket::Socket;

/// The answer to a request for another protocol.
#[derive(Debug)]
pub enum Switched {
    /// A 101: HTTP has ended on its connection. Whether the head says what it should is for the caller to judge.
    Yes(Response<()>, UpstreamTunnel),
    /// Any other: an ordinary answer.
    No(Response<UpstreamBody>),
}

/// A peer's end of a tunnel. Dropping it closes the connection.
#[derive(Debug)]
pub struct UpstreamTunnel {
    /// The bytes, from the first after the 101.
    pub io: TunnelIo,
    /// A tunnel is in use for as long as it is there.
    pub(super) _load: Load,
}

/// The bytes of a connection that has left HTTP.
#[derive(Debug)]
pub struct TunnelIo {
    pub(super) socket: Socket,
    /// What was read together with the answer's head.
    pub(super) early: Bytes,
}

impl AsyncRead for TunnelIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.socket).poll_read(context, target);
        }
        let fits = self.early.len().min(target.remaining());
        target.put_slice(&self.early.split_to(fits));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelIo {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
