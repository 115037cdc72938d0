//! A client of HTTP/2 in which a test decides about each stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Error, SendStream};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::gateway::Gateway;

/// One connection.
pub struct Client {
    requests: SendRequest<Bytes>,
    authority: String,
}

impl Client {
    /// A `GET` of this path, to be changed and sent.
    pub fn request(&self, path: &str) -> http::request::Builder {
        http::Request::builder().uri(format!("https://{}{path}", self.authority))
    }

    /// Sends a head: the answer to come, and where the body goes unless the head was `all`.
    pub fn send(&mut self, request: http::request::Builder, all: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let request = request.body(()).expect("a request");
        self.requests.send_request(request, all).expect("the connection is open")
    }
}

/// Opens a connection, on which `work` may send; its second argument is how the connection ends.
pub fn talk<T>(gateway: &Gateway, work: impl AsyncFnOnce(Client, JoinHandle<Result<(), Error>>) -> T) -> T {
    talk_as(gateway, &h2::client::Builder::new(), work)
}

/// The same for a client that says other things of itself.
pub fn talk_as<T>(
    gateway: &Gateway,
    client: &h2::client::Builder,
    work: impl AsyncFnOnce(Client, JoinHandle<Result<(), Error>>) -> T,
) -> T {
    let authority = format!("localhost:{}", gateway.address().port());
    shake_hands(gateway, async |stream| {
        let (requests, connection) = client.handshake(stream).await.expect("HTTP/2");
        let end = tokio::spawn(connection);
        let requests = requests.ready().await.expect("an open connection");
        work(Client { requests, authority }, end).await
    })
}

/// Opens a TLS connection for HTTP/2 on which nothing has been said.
pub fn shake_hands<T>(gateway: &Gateway, work: impl AsyncFnOnce(TlsStream<TcpStream>) -> T) -> T {
    shake_hands_for("h2", gateway, work)
}

/// The same for another protocol.
pub fn shake_hands_for<T>(protocol: &str, gateway: &Gateway, work: impl AsyncFnOnce(TlsStream<TcpStream>) -> T) -> T {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(gateway.file("tls.crt")).expect("its certificate");
    roots.add(certificate).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stream = TcpStream::connect(gateway.address()).await.expect("an open door");
        let name = "localhost".try_into().expect("a name");
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
        work(stream).await
    })
}

/// The bytes of one frame.
pub fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Fields as HPACK's literals, which can say what no library would: any bytes, in any order, as often as wanted.
pub fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // Latin-1, as over HTTP/1.1.
            let text: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect();
            let mut rest = text.len();
            if rest < 127 {
                block.push(u8::try_from(rest).expect("small"));
            } else {
                block.push(127);
                rest -= 127;
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128).expect("small") | 128);
                    rest /= 128;
                }
                block.push(u8::try_from(rest).expect("small"));
            }
            block.extend(text);
        }
    }
    block
}

/// Sends these frames after an orderly beginning, and waits until stream 1, or the connection, has ended.
pub fn send_frames(gateway: &Gateway, frames: &[u8]) {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    const END_STREAM: u8 = 1;
    shake_hands(gateway, async |mut stream| {
        let begin = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
        stream.write_all(&[&begin, frames].concat()).await.expect("it takes the bytes");
        let mut bytes = Vec::new();
        let ended = async {
            while stream.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
                let mut rest = &bytes[..];
                while let Some(([a, b, c, kind, flags, .., on], after)) = rest.split_first_chunk::<9>() {
                    let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                    let Some(next) = after.get(length..) else { break };
                    let last = matches!(*kind, DATA | HEADERS) && flags & END_STREAM != 0 || *kind == RST_STREAM;
                    if *kind == GOAWAY || *on == 1 && last {
                        return;
                    }
                    rest = next;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("the stream ends");
    });
}
