//! A connection to the mail server: protected, logged in, and used for one mail after the other.
//!
//! How TLS is spoken and whom it believes is the gateway's own (`upstream::Trust`); SMTP itself is lettre's. What a server
//! says is bounded, and so is the time for all of it, by whoever asks.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, ReadBuf,
};
use tokio::net::TcpStream;

use super::rules::{MailServer, Security};
use crate::prefixed::Prefixed;

/// The most bytes that a server says on one connection.
const MOST_SAID: usize = 256 << 10;
/// The most that it says before TLS.
const MOST_BEFORE_TLS: u64 = 16 << 10;

/// Why a mail was not handed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum MailError {
    /// The server cannot be used: no mail gets through.
    #[error("{0}")]
    Server(String),
    /// It does not take this mail now.
    #[error("{0}")]
    NotNow(String),
    /// It will never take this mail.
    #[error("{0}")]
    Never(String),
}

/// A connection that takes mail.
pub(super) struct Connection(AsyncSmtpConnection);

impl Connection {
    /// Connects, protects the connection as asked, and logs in.
    pub(super) async fn open(server: &MailServer, own_name: &str) -> Result<Self, MailError> {
        let unusable = |error: &dyn fmt::Display| MailError::Server(error.to_string());
        let hello = ClientId::Domain(own_name.to_owned());
        let stream = connect(server, own_name).await.map_err(|error| unusable(&error))?;
        let opened = AsyncSmtpConnection::connect_with_transport(stream, &hello).await;
        let mut connection = Self(opened.map_err(|error| unusable(&said(&error)))?);
        if let Some((user, password)) = &server.credentials {
            let credentials = Credentials::new(user.to_string(), password.expose_secret().to_owned());
            let logged_in = connection.0.auth(DEFAULT_MECHANISMS, &credentials).await;
            logged_in.map_err(|error| unusable(&format_args!("it does not let {user} in: {}", said(&error))))?;
        }
        Ok(connection)
    }

    /// Hands a mail over. Answers what the server says.
    pub(super) async fn send(&mut self, envelope: &Envelope, mail: &[u8]) -> Result<String, MailError> {
        let taken = self.0.send(envelope, mail).await.map_err(|error| verdict(&error))?;
        Ok(super::content::shown(&format!("{} {}", taken.code(), taken.first_line().unwrap_or_default())))
    }

    /// Whether it can be used again.
    pub(super) fn is_usable(&self) -> bool {
        !self.0.has_broken()
    }

    /// Says that nothing more comes.
    pub(super) async fn close(mut self) {
        self.0.abort().await;
    }
}

/// What a refusal means. What asks for something of us before any mail (530, 534, 535, 538) is about the server.
fn verdict(error: &Error) -> MailError {
    let text = said(error);
    match error.status().map(u16::from) {
        Some(530 | 534 | 535 | 538 | 421) => MailError::Server(text),
        Some(_) if error.is_permanent() => MailError::Never(text),
        Some(_) => MailError::NotNow(text),
        None => MailError::Server(text),
    }
}

/// What went wrong, in one line.
fn said(error: &Error) -> String {
    super::content::shown(&error.to_string())
}

async fn connect(server: &MailServer, own_name: &str) -> io::Result<Box<dyn AsyncTokioStream>> {
    let socket = TcpStream::connect((&*server.host, server.port)).await?;
    socket.set_nodelay(true)?;
    let address = socket.peer_addr()?;
    Ok(match &server.security {
        Security::Plaintext => Box::new(Bounded::new(socket, address)),
        Security::Tls(trust) => Box::new(Bounded::new(trust.connect(&server.host, socket).await?, address)),
        Security::StartTls(trust) => {
            let socket = ask_for_tls(socket, own_name).await?;
            let stream = trust.connect(&server.host, socket).await?;
            // The library waits for a greeting, which a server gives once.
            Box::new(Bounded::new(Prefixed::new(Bytes::from_static(b"220 secured\r\n"), stream), address))
        }
    })
}

/// Asks a server for TLS (RFC 3207). What it said before is forgotten, and what it says behind its answer would be somebody
/// else's words: then there is no connection.
async fn ask_for_tls(socket: TcpStream, own_name: &str) -> io::Result<TcpStream> {
    let mut stream = BufReader::new(socket);
    reply(&mut stream, "220").await?;
    stream.write_all(format!("EHLO {own_name}\r\n").as_bytes()).await?;
    let offers = reply(&mut stream, "250").await?;
    let offered =
        offers.iter().any(|line| line.get(4..).is_some_and(|word| word.trim().eq_ignore_ascii_case("starttls")));
    if !offered {
        return Err(io::Error::other("it does not offer STARTTLS, and nothing is told it without"));
    }
    stream.write_all(b"STARTTLS\r\n").await?;
    reply(&mut stream, "220").await?;
    if !stream.buffer().is_empty() {
        return Err(io::Error::other("it says something between STARTTLS and TLS"));
    }
    Ok(stream.into_inner())
}

/// The lines of a reply of this code.
async fn reply(stream: &mut BufReader<TcpStream>, code: &str) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut left = stream.take(MOST_BEFORE_TLS);
    loop {
        let mut line = String::new();
        left.read_line(&mut line).await?;
        if !line.ends_with('\n') {
            return Err(io::Error::other("it says nothing more, or too much"));
        }
        if !line.starts_with(code) {
            return Err(io::Error::other(format!("it says {}", super::content::shown(line.trim_end()))));
        }
        let goes_on = line.as_bytes().get(3) == Some(&b'-');
        lines.push(line);
        if !goes_on {
            return Ok(lines);
        }
    }
}

/// A stream of which no more than so much is read.
#[derive(Debug)]
struct Bounded<S> {
    stream: S,
    address: SocketAddr,
    left: usize,
}

impl<S> Bounded<S> {
    const fn new(stream: S, address: SocketAddr) -> Self {
        Self { stream, address, left: MOST_SAID }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len().saturating_sub(before);
        match self.left.checked_sub(read) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other("it says too much"))),
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S> AsyncTokioStream for Bounded<S>
where
    S: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug,
{
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
