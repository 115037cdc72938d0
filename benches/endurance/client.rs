//! Clients: over plain TCP, TLS, and behind a proxy that says whom it speaks for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long a client waits before it calls a request failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a client reaches the gateway.
#[derive(Clone)]
pub enum Transport {
    Plain,
    Tls(Arc<rustls::ClientConfig>),
    Proxy,
}

impl Transport {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls(_) => "TLS",
            Self::Proxy => "PROXY protocol",
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One connection.
pub struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    /// Whether an answer came on it.
    used: bool,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub cookie: Option<String>,
    pub body: Vec<u8>,
    /// Whether the gateway will close the connection.
    pub closes: bool,
}

/// Why no answer came.
#[derive(Debug)]
pub enum Failed {
    /// A connection that had carried an answer was closed before a byte of this one came: the race of keep-alive, in
    /// which any client sends again (RFC 9112, section 9.3.1).
    ClosedWhileIdle,
    Other(String),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// Opens a plain TCP connection from an address of this machine.
pub async fn connect_from(source: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source, 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Connection {
    pub async fn open(to: SocketAddr, transport: &Transport) -> Result<Self, Failed> {
        let mut stream = connect_from(IpAddr::V4(Ipv4Addr::LOCALHOST), to).await?;
        let stream: Box<dyn Stream> = match transport {
            Transport::Plain => Box::new(stream),
            Transport::Proxy => {
                stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 5555 443\r\n").await?;
                Box::new(stream)
            }
            Transport::Tls(config) => {
                let name = ServerName::try_from("localhost").expect("a name");
                let tls = TlsConnector::from(config.clone()).connect(name, stream);
                let tls = timeout(PATIENCE, tls).await.map_err(|_| Failed::Other("no handshake in time".into()))??;
                Box::new(tls)
            }
        };
        Ok(Self { stream: BufReader::new(stream), used: false })
    }

    pub async fn get(&mut self, path: &str, cookie: Option<&str>) -> Result<Answer, Failed> {
        let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Customer-ID: evil\r\n{cookie}\r\n")).await
    }

    pub async fn log_in(&mut self, user: usize) -> Result<String, Failed> {
        let request = format!("POST /api/login?{user} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        let answer = self.send(&request).await?;
        answer.cookie.ok_or_else(|| Failed::Other(format!("a login was answered {} without a cookie", answer.status)))
    }

    /// Sends a whole request.
    pub async fn send(&mut self, request: &str) -> Result<Answer, Failed> {
        match timeout(PATIENCE, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failed::Other("no answer in time".into())),
        }
    }

    async fn exchange(&mut self, request: &str) -> Result<Answer, Failed> {
        let mut line = String::new();
        let sent = self.stream.get_mut().write_all(request.as_bytes()).await;
        let first = match sent {
            Ok(()) => {
                let flushed = self.stream.get_mut().flush().await;
                match flushed {
                    Ok(()) => self.stream.read_line(&mut line).await,
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        match first {
            Ok(length) if length > 0 => {}
            _ if self.used => return Err(Failed::ClosedWhileIdle),
            Ok(_) => return Err(Failed::Other("closed before the first answer".into())),
            Err(error) => return Err(error.into()),
        }
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| Failed::Other(format!("a strange status line: {line:?}")))?;
        let (mut length, mut cookie, mut closes) = (0, None, false);
        loop {
            line.clear();
            self.stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap_or(0),
                "set-cookie" => cookie = value.split(';').next().map(str::to_owned),
                "connection" => closes = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        self.used = true;
        Ok(Answer { status, cookie, body, closes })
    }
}
