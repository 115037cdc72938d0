//! What is remembered of a session that was ended on purpose, while its cookie is refused: whose it was, and from where it
//! was used. Whoever uses it from elsewhere has the cookie of somebody who no longer wants it used.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ranges_of;
use crate::session::{Principal, TenantId, UserId};

/// What is remembered of an ended session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndNote {
    tenant: String,
    user: String,
    /// The networks from which it was used, as far as they are known.
    networks: Vec<String>,
}

impl EndNote {
    /// Of a session of this principal, used from these addresses.
    #[must_use]
    pub fn of(principal: &Principal, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut networks: Vec<String> = Vec::new();
        for network in addresses.into_iter().filter_map(network_of) {
            if !networks.contains(&network) {
                networks.push(network);
            }
        }
        Self { tenant: principal.tenant.kept().to_owned(), user: principal.user.kept().to_owned(), networks }
    }

    /// Whose it was; `None` where that cannot be read.
    #[must_use]
    pub fn principal(&self) -> Option<Arc<Principal>> {
        let (tenant, user) = (TenantId::parse_kept(&self.tenant).ok()?, UserId::parse_kept(&self.user).ok()?);
        Some(Arc::new(Principal { tenant, user, role: None }))
    }

    /// From where it was used, if not from the network of this address; nothing is known where it was used from nowhere.
    #[must_use]
    pub fn elsewhere(&self, address: IpAddr) -> Option<String> {
        let network = network_of(address)?;
        let is_elsewhere = !self.networks.is_empty() && !self.networks.contains(&network);
        is_elsewhere.then(|| self.networks.join(" "))
    }

    /// As it is kept.
    #[must_use]
    pub fn encode(&self) -> String {
        // Texts: it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what was kept.
    #[must_use]
    pub fn decode(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

/// The narrowest network of an address.
#[must_use]
pub fn network_of(address: IpAddr) -> Option<String> {
    ranges_of(address).first().map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_session_was_used_elsewhere_only_where_it_is_known_from_where() {
        let principal = Principal { tenant: TenantId::none(), user: UserId::parse("7").expect("a user"), role: None };
        let note = EndNote::of(&principal, ["2001:db8::1", "192.0.2.1", "2001:db8::2"].map(address));
        assert_eq!(EndNote::decode(note.encode().as_bytes()), Some(note.clone()));
        assert_eq!(note.principal().as_deref(), Some(&principal));
        for (from, is_elsewhere) in
            [("192.0.2.1", false), ("2001:db8::ffff", false), ("192.0.2.2", true), ("2001:db8:1::1", true)]
        {
            assert_eq!(note.elsewhere(address(from)).is_some(), is_elsewhere, "{from}");
        }
        assert_eq!(note.elsewhere(address("192.0.2.2")).as_deref(), Some("2001:db8::/64 192.0.2.1"));
        assert_eq!(EndNote::of(&principal, []).elsewhere(address("192.0.2.2")), None);
        assert_eq!(EndNote::decode(b"{}"), None);
    }
}
