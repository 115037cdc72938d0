//! What is true of a configuration at a moment: certificates and migrations have dates, and the file does not change
//! when they pass.

use super::{Config, TlsConfig};
use crate::clock::WallTime;

impl Config {
    /// What an operator should know at this moment, beside [`warnings`](Self::warnings).
    #[must_use]
    pub fn warnings_at(&self, now: WallTime) -> Vec<String> {
        let seconds = now.as_micros() / 1_000_000;
        let of = |tls: &TlsConfig, key: &str| -> Vec<String> {
            let terms = tls.certificates.terms().iter();
            terms.filter_map(|term| term.warning_at(seconds)).map(|warning| format!("{key}: {warning}")).collect()
        };
        let server = self.server.tls.iter().flat_map(|tls| of(tls, "server.tls"));
        let admin = self.admin.tls.iter().flat_map(|tls| of(tls, "admin.tls"));
        let misnamed = self.uncertified_host().map(|host| {
            format!("server.tls: no certificate is for {host}, which server.public_url names; browsers will refuse it")
        });
        server.chain(admin).chain(misnamed).chain(self.routes.ended_migrations(now)).collect()
    }

    /// The host of `server.public_url`, where the gateway itself speaks TLS and has no certificate for it.
    fn uncertified_host(&self) -> Option<&str> {
        let host = self.server.public_url.host();
        // An address is a name of another kind in a certificate; and who uses one knows.
        let is_name = host.parse::<std::net::IpAddr>().is_err() && !host.starts_with('[');
        let certificates = &self.server.tls.as_ref()?.certificates;
        (is_name && !certificates.is_for(host)).then_some(host)
    }
}
