//! The names of the keys. Fixed: gateways of several versions share one Redis.
//!
//! The braces are literal. They make one session's keys share a slot of a cluster, where one script may then touch
//! them all.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::session::{SessionId, TenantId, UserId};

/// What a changed key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// This session's record or end changed.
    Session(SessionId),
    /// The standing of a user or tenant changed: the one under the key.
    Standing,
}

/// Names keys under one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: Box<str>,
}

impl Keys {
    pub(super) fn under(prefix: &str) -> Self {
        Self { prefix: prefix.into() }
    }

    /// The session's record.
    pub(super) fn record(&self, id: &SessionId) -> String {
        self.of_session("s", id)
    }

    /// The session's touch key, which exists until the touch deadline.
    pub(super) fn touch(&self, id: &SessionId) -> String {
        self.of_session("t", id)
    }

    /// Why the session ended.
    pub(super) fn ended(&self, id: &SessionId) -> String {
        self.of_session("e", id)
    }

    /// The tenant's generation and status.
    pub(super) fn tenant(&self, tenant: &TenantId) -> String {
        self.of_hash("n", &[tenant.as_str()])
    }

    /// When and why the tenant's status was last changed.
    pub(super) fn tenant_note(&self, tenant: &TenantId) -> String {
        self.of_hash("nn", &[tenant.as_str()])
    }

    /// The known tenants, by the latest absolute deadline of their sessions.
    pub(super) fn known_tenants(&self) -> String {
        format!("{}tn:{{tenants}}", self.prefix)
    }

    /// The known tenants, by name.
    pub(super) fn names_of_tenants(&self) -> String {
        format!("{}tl:{{tenants}}", self.prefix)
    }

    /// The user's generation, and which session is exempt from it.
    pub(super) fn user(&self, tenant: &TenantId, user: &UserId) -> String {
        self.of_hash("u", &[tenant.as_str(), user.as_str()])
    }

    /// The sessions of a user, by absolute deadline.
    pub(super) fn user_index(&self, tenant: &TenantId, user: &UserId) -> String {
        self.of_hash("ui", &[tenant.as_str(), user.as_str()])
    }

    /// The sessions of a tenant, by absolute deadline.
    pub(super) fn tenant_index(&self, tenant: &TenantId) -> String {
        self.of_hash("ti", &[tenant.as_str()])
    }

    /// The audit events of all gateways.
    pub(super) fn audit_stream(&self) -> String {
        format!("{}as:{{audit}}", self.prefix)
    }

    /// The last line of each chain that is in the stream.
    pub(super) fn audit_shared(&self) -> String {
        format!("{}al:{{audit}}", self.prefix)
    }

    /// Where each chain stands.
    pub(super) fn audit_anchors(&self) -> String {
        format!("{}aa:{{audit}}", self.prefix)
    }

    /// What this instance's tracker writes. After all that it listens to, in the order of bytes.
    pub(super) fn heartbeat(&self, instance: &str) -> String {
        format!("{}w:{{{instance}}}", self.prefix)
    }

    /// What the keys begin with that a change of a session, a user or a tenant writes. Not the touch keys: what is
    /// touched invalidates nothing.
    pub(super) fn tracked(&self) -> [String; 4] {
        ["s:", "e:", "u:", "n:"].map(|kind| format!("{}{kind}", self.prefix))
    }

    /// What changed when a tracked key did.
    pub(super) fn changed(&self, key: &[u8]) -> Option<Changed> {
        let kind = key.strip_prefix(self.prefix.as_bytes())?;
        match kind {
            [b's' | b'e', b':', b'{', id @ .., b'}'] => SessionId::parse(id).map(Changed::Session),
            [b'u' | b'n', b':', ..] => Some(Changed::Standing),
            _ => None,
        }
    }

    /// What is written to see whether the server takes writes.
    pub(super) fn probe(&self) -> String {
        format!("{}probe", self.prefix)
    }

    /// The last moment in the order of logins and revocations.
    pub(super) fn order(&self) -> String {
        format!("{}order", self.prefix)
    }

    /// When the data that the server holds began: gone where it was emptied.
    pub(super) fn birth(&self) -> String {
        format!("{}birth", self.prefix)
    }

    fn of_session(&self, kind: &str, id: &SessionId) -> String {
        format!("{}{kind}:{{{id}}}", self.prefix)
    }

    fn of_hash(&self, kind: &str, parts: &[&str]) -> String {
        format!("{}{kind}:{{{}}}", self.prefix, hash(parts))
    }
}

/// 22 characters for any texts. Each part is preceded by its length, so that `("a", "bc")` is not `("ab", "c")`; ids
/// may hold `:` and `}`, which a key could not.
fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        hasher.update(length.to_be_bytes());
        hasher.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(&hasher.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_keys_never_change() {
        let keys = Keys::under("sg:");
        let id = SessionId::parse(b"AAAAAAAAAAAAAAAAAAAAAA").expect("22 characters of base64url");
        let tenant = TenantId::parse("acme").expect("visible ASCII");
        let user = UserId::parse("7").expect("visible ASCII");
        assert_eq!(keys.record(&id), "sg:s:{AAAAAAAAAAAAAAAAAAAAAA}");
        assert_eq!(keys.touch(&id), "sg:t:{AAAAAAAAAAAAAAAAAAAAAA}");
        assert_eq!(keys.ended(&id), "sg:e:{AAAAAAAAAAAAAAAAAAAAAA}");
        assert_eq!(keys.audit_stream(), "sg:as:{audit}");
        assert_eq!(keys.audit_shared(), "sg:al:{audit}");
        assert_eq!(keys.audit_anchors(), "sg:aa:{audit}");
        assert_eq!(keys.birth(), "sg:birth");
        assert_eq!(keys.order(), "sg:order");
        // printf '\0\0\0\0\0\0\0\4acme' | sha256sum, first 16 bytes, base64url
        assert_eq!(keys.tenant(&tenant), "sg:n:{YRmD80QgI901qV1yr4V8DA}");
        assert_eq!(keys.tenant_note(&tenant), "sg:nn:{YRmD80QgI901qV1yr4V8DA}");
        assert_eq!(keys.known_tenants(), "sg:tn:{tenants}");
        assert_eq!(keys.names_of_tenants(), "sg:tl:{tenants}");
        assert_eq!(keys.tenant_index(&tenant), "sg:ti:{YRmD80QgI901qV1yr4V8DA}");
        // printf '\0\0\0\0\0\0\0\4acme\0\0\0\0\0\0\0\0017' | sha256sum, first 16 bytes, base64url
        assert_eq!(keys.user(&tenant, &user), "sg:u:{lH-Rxdonbulduzhyp_Q9AQ}");
        assert_eq!(keys.user_index(&tenant, &user), "sg:ui:{lH-Rxdonbulduzhyp_Q9AQ}");
    }

    #[test]
    fn what_is_written_about_a_session_is_tracked_and_says_what_changed() {
        let keys = Keys::under("sg:");
        let id = SessionId::parse(b"AAAAAAAAAAAAAAAAAAAAAA").expect("22 characters of base64url");
        let tenant = TenantId::parse("acme").expect("visible ASCII");
        let user = UserId::parse("7").expect("visible ASCII");
        for (key, changed) in [
            (keys.record(&id), Some(Changed::Session(id))),
            (keys.ended(&id), Some(Changed::Session(id))),
            (keys.user(&tenant, &user), Some(Changed::Standing)),
            (keys.tenant(&tenant), Some(Changed::Standing)),
            (keys.touch(&id), None),
            (keys.user_index(&tenant, &user), None),
            (keys.tenant_note(&tenant), None),
            (keys.heartbeat("x"), None),
            (String::from("s:{AAAAAAAAAAAAAAAAAAAAAA}"), None),
            (String::from("sg:s:{short}"), None),
        ] {
            assert_eq!(keys.changed(key.as_bytes()), changed, "{key}");
            let tracked = keys.tracked().iter().any(|prefix| key.starts_with(prefix));
            assert!(changed.is_none() || tracked, "{key}");
        }
        // Its push comes after those of the same moment: the server sends them in this order.
        assert!(keys.tracked().iter().all(|prefix| **prefix < *keys.heartbeat("x")));
    }

    #[test]
    fn no_two_users_share_a_key() {
        let keys = Keys::under("");
        let name = |tenant: &str, user: &str| {
            keys.user(&TenantId::parse(tenant).expect("visible ASCII"), &UserId::parse(user).expect("visible ASCII"))
        };
        assert_ne!(name("a", "bc"), name("ab", "c"));
        assert_ne!(name("a:b", "c"), name("a", "b:c"));
        assert_ne!(name("a}", "c"), name("a", "}c"));
    }
}
