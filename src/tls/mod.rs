//! TLS on the listener: certificates with their keys, the choice among them by the name that a client asks for, and
//! their renewal while the gateway runs.
//!
//! It reads the files that it is told to read and owns no socket. It never shows a key, and it never serves a
//! certificate whose key is another's.

mod certificates;
mod reload;
mod resolver;
mod term;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::version::{TLS12, TLS13};

pub use certificates::{CertificateError, CertificateFiles, Certificates};
pub use reload::{CertificateWatch, reload_when_changed};
pub use resolver::CertificateResolver;
pub use term::Term;

/// HTTP/2 in ALPN.
pub const HTTP2: &[u8] = b"h2";
/// HTTP/1.1 in ALPN.
pub const HTTP1: &[u8] = b"http/1.1";

/// The terms on which handshakes are made: TLS 1.2 and 1.3, no early data (it can be replayed), tickets for resumption.
/// `protocols` are what a client may ask for by ALPN, the preferred first; one that asks for none of them is refused in
/// the handshake: it speaks another protocol (RFC 7301; that is what stops cross-protocol attacks).
///
/// # Errors
/// When the operating system has no randomness for the tickets' keys.
pub fn server_config(resolver: Arc<CertificateResolver>, protocols: &[&[u8]]) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.ticketer = Ticketer::new()?;
    Ok(config)
}
