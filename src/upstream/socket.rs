//! A socket to a peer: TCP, TLS over it, or a Unix socket.

use std::io::{self, IoSlice, Read as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Socket {
    /// The other end's address, where it has one.
    pub(super) fn remote(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr().ok(),
            Self::Tls(stream) => stream.get_ref().0.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Reads what the kernel has, bytes of TLS as they are, without waiting and whatever the runtime knows of it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is nothing; the connection's own.
    pub(super) fn read_now(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let socket = match self {
            Self::Tcp(socket) => SockRef::from(socket),
            Self::Tls(stream) => SockRef::from(stream.get_ref().0),
            Self::Unix(socket) => SockRef::from(socket),
        };
        (&*socket).read(bytes)
    }

    /// Whether what was written may wait in a buffer of ours, until it is flushed.
    pub(super) const fn is_buffered(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

/// Runs a method of the socket that is there.
macro_rules! on_socket {
    ($socket:expr, $method:ident $(, $argument:expr)*) => {
        match $socket.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).$method($($argument),*),
            Self::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
            Self::Unix(socket) => Pin::new(socket).$method($($argument),*),
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, poll_read, context, target)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_socket!(self, poll_write, context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_socket!(self, poll_write_vectored, context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Unix(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, poll_flush, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_socket!(self, poll_shutdown, context)
    }
}
