//! How servers are spoken to whose places are told by others: who logs in, with TLS or without, whose certificates are
//! believed.

use redis::{ConnectionAddr, ConnectionInfo, TlsCertificates};

use super::form::{AddressError, NO_AUTHORITIES, reason};
use super::node::Node;

/// How one kind of servers is spoken to.
#[derive(Clone)]
pub(super) struct Manner {
    pub(super) info: ConnectionInfo,
    pub(super) tls: bool,
    pub(super) authorities: Option<Box<[u8]>>,
}

impl Manner {
    /// A client of the server there.
    pub(super) fn client_at(&self, node: &Node) -> Result<redis::Client, AddressError> {
        let (host, port) = (node.host().to_owned(), node.port());
        let addr = if self.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let info = self.info.clone().set_addr(addr);
        match &self.authorities {
            Some(authorities) if self.tls => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(authorities.to_vec()) };
                redis::Client::build_with_tls(info, certificates).map_err(|_| NO_AUTHORITIES)
            }
            _ => redis::Client::open(info).map_err(|error| reason(&error)),
        }
    }
}

/// User and password with the `@`, and what follows them.
pub(super) fn login_of(rest: &str) -> (&str, &str) {
    rest.rfind('@').map_or(("", rest), |at| rest.split_at(at + 1))
}
