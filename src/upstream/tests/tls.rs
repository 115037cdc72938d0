//! TLS to a peer, against a real TLS server.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn trust(&self) -> Trust {
        Trust::in_pem(self.0.pem().as_bytes()).unwrap()
    }

    /// A server that proves to be `name`.
    pub(super) fn server(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &*self.0).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

/// An upstream at `https://localhost` that believes `trust`, and the backend behind it.
async fn https(trust: Trust, keepalive: Option<Keepalive>) -> (Upstream, Backend) {
    let backend = Backend::start().await;
    let port = backend.0.local_addr().unwrap().port();
    let peers = vec![PeerAddress::Tls { host: String::from("localhost"), port }];
    let settings = UpstreamSettings { trust: Some(trust), keepalive, ..settings(peers) };
    (upstream_of(settings, &clock().1), backend)
}

async fn accept(backend: &Backend, server: &TlsAcceptor) -> std::io::Result<TlsStream<TcpStream>> {
    server.accept(backend.accept().await.0).await
}

async fn answer(stream: &mut TlsStream<TcpStream>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(OK.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_peer_that_proves_its_name_gets_the_request_over_http_1_1() {
    let authority = Authority::new();
    let (upstream, backend) = https(authority.trust(), kept(10 * SECOND)).await;
    let server = authority.server("localhost");
    let serve = async {
        let mut stream = accept(&backend, &server).await.unwrap();
        let (_, connection) = stream.get_ref();
        assert_eq!(connection.server_name(), Some("localhost"));
        assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
        (answer(&mut stream).await, answer(&mut stream).await)
    };
    let ask = async {
        for path in ["/one", "/two"] {
            assert_eq!(text(upstream.send(get(path)).await.unwrap()).await, "ok");
        }
    };
    let ((one, two), ()) = tokio::join!(serve, ask);
    assert!(one.starts_with("GET /one HTTP/1.1\r\n") && two.starts_with("GET /two HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_peer_of_another_name_or_authority_is_sent_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for server in [authority.server("elsewhere"), stranger.server("localhost")] {
        let (upstream, backend) = https(authority.trust(), None).await;
        let (answer, accepted) = tokio::join!(upstream.send(get("/secret")), accept(&backend, &server));
        assert_eq!(answer.unwrap_err().kind(), "unreachable");
        assert!(accepted.is_err());
    }
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_or_nothing_is_unreachable_in_time() {
    let (upstream, backend) = https(Authority::new().trust(), None).await;
    let plain = async { backend.accept().await.say("HTTP/1.1 200 OK\r\n\r\n").await };
    let (answer, ()) = tokio::join!(upstream.send(get("/")), plain);
    assert_eq!(answer.unwrap_err().kind(), "unreachable");
    tokio::time::pause();
    let (answer, _silent) = tokio::join!(upstream.send(get("/")), backend.accept());
    assert_eq!(answer.unwrap_err().kind(), "unreachable");
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_not_whole() {
    let authority = Authority::new();
    let (upstream, backend) = https(authority.trust(), None).await;
    let server = authority.server("localhost");
    let serve = async {
        let mut stream = accept(&backend, &server).await.unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
        stream.flush().await.unwrap();
        // The socket ends without the end of TLS: anyone on the way could have done that.
        drop(stream.into_inner());
    };
    let ask = async { upstream.send(get("/")).await.unwrap().into_body().collect().await };
    let (body, ()) = tokio::join!(ask, serve);
    assert!(body.is_err());
}

#[tokio::test]
async fn an_upload_whose_answer_has_begun_goes_on_to_its_end() {
    let authority = Authority::new();
    let server = authority.server("localhost");
    for length in (0..100).map(|step| 64 * 1024 + step * 48 * 1024) {
        let (upstream, backend) = https(authority.trust(), kept(10 * SECOND)).await;
        let serve = async {
            let mut stream = accept(&backend, &server).await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            // Until the upload stalls.
            tokio::time::sleep(Duration::from_millis(60)).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab").await.unwrap();
            stream.flush().await.unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            stream.write_all(b"cd").await.unwrap();
            stream.flush().await.unwrap();
            stream
        };
        let ask = async {
            let body = RequestBody::Full(Bytes::from(vec![b'x'; length]));
            text(upstream.send(request(Method::POST, "/", body)).await.unwrap()).await
        };
        let both = timeout(5 * SECOND, async { tokio::join!(ask, serve) }).await;
        assert_eq!(both.unwrap_or_else(|_| panic!("{length} bytes: it hangs")).0, "abcd");
    }
}
