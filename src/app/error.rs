//! Why the gateway could not start, and what to do about it.

use std::io;
use std::net::SocketAddr;

use crate::audit::AuditOpenError;
use crate::descriptors::TooFew;
use crate::entropy::EntropyError;
use crate::store::Unavailable;
use crate::store::embedded::OpenError;
use crate::store::redis::Unfit;
use crate::telemetry::log::LogError;

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listening socket.
    #[error("cannot listen on {address}: {source}{}", bind_advice(*address, source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A supervisor passed on what cannot be used.
    #[error("the sockets that were passed on (LISTEN_FDS) cannot be used: {0}")]
    Inherited(io::Error),
    /// A supervisor passed on a socket that the configuration does not name.
    #[error(
        "a socket was passed on for {0}, which none of server.listen, server.redirect_http and admin.listen names; name it or \
         take it out"
    )]
    Unclaimed(SocketAddr),
    /// The embedded store.
    #[error(transparent)]
    Embedded(#[from] OpenError),
    /// The Redis server.
    #[error("the Redis server cannot be used: {0}")]
    Redis(#[from] Unfit),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] Unavailable),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditOpenError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// TLS on the listener.
    #[error("server.tls: {0}")]
    Tls(rustls::Error),
    /// TLS on the operators' listener.
    #[error("admin.tls: {0}")]
    AdminTls(rustls::Error),
    /// Traces.
    #[error("telemetry.traces: {0}")]
    Traces(String),
    /// File descriptors.
    #[error(transparent)]
    TooFewDescriptors(#[from] TooFew),
    /// Threads or signals.
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
}

/// What to do about an address that cannot be bound.
pub(crate) fn bind_advice(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::PermissionDenied if port < 1024 => format!(
            "; ports below 1024 are kept for root: let systemd hold the socket \
             (deploy/systemd/session-gateway.socket, ListenStream={port}), or give the binary the capability: \
             setcap cap_net_bind_service=+ep"
        ),
        io::ErrorKind::AddrInUse => {
            format!("; another program has it, and `ss -ltnp 'sport = :{port}'` names it")
        }
        io::ErrorKind::AddrNotAvailable => {
            String::from("; no interface of this machine has this address, and `ip address` lists those that are there")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_about_an_address_that_cannot_be_bound_is_said() {
        let advice = |port, kind: io::ErrorKind| bind_advice(SocketAddr::from(([127, 0, 0, 1], port)), &kind.into());
        for (port, kind, words) in [
            (443, io::ErrorKind::PermissionDenied, &["session-gateway.socket", "ListenStream=443", "cap_net_bind"][..]),
            (8080, io::ErrorKind::AddrInUse, &["another program", "sport = :8080"]),
            (8080, io::ErrorKind::AddrNotAvailable, &["no interface of this machine"]),
        ] {
            let said = advice(port, kind);
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
        assert_eq!(advice(8080, io::ErrorKind::PermissionDenied), "");
    }
}
