//! The names of the keys. Fixed: gateways of several versions share one Redis.
//!
//! The braces are literal. They make one session's keys share a slot of a cluster, and one tenant's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::entry::UserHash;
use super::slot::{SLOTS, Slot};
use crate::monitor::{CountOf, Day};
use crate::session::{SessionId, TenantId, UserId};
use crate::store::cache::Place;

/// A slot as the cache knows it.
pub(super) const fn place_of(slot: Slot) -> Place {
    Place::numbered(slot.number())
}

/// What a changed key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// This session's record changed, it was held or released, or it ended.
    Session(SessionId),
    /// The standing of a user or tenant changed: the one under the key.
    Standing,
    /// A gateway wants the others to look what it told of calls.
    Bell,
}

/// What tells the keys of a cluster's order apart. Their slots (2731, 8192, 13653) are on three masters of an even cluster.
const ORDERS: [&str; 3] = ["ivh", "fjl", "drc"];

/// Names keys under one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: Box<str>,
    of_cluster: bool,
}

impl Keys {
    pub(super) fn under(prefix: &str) -> Self {
        Self { prefix: prefix.into(), of_cluster: false }
    }

    /// The same, spread over a cluster.
    pub(super) fn of_cluster(prefix: &str) -> Self {
        Self { prefix: prefix.into(), of_cluster: true }
    }

    /// In how many places they are, for the cache.
    pub(super) const fn places(&self) -> u16 {
        if self.of_cluster { SLOTS } else { 1 }
    }

    /// Where one of them is.
    pub(super) fn place(&self, key: &str) -> Place {
        if self.of_cluster { place_of(Slot::of(key.as_bytes())) } else { Place::ONLY }
    }

    /// All of them, as an ACL names them.
    pub(super) fn pattern(&self) -> String {
        format!("~{}*", self.prefix)
    }

    /// The session's record.
    pub(super) fn record(&self, id: &SessionId) -> String {
        self.of_session("s", id)
    }

    /// Why the session ended, or its token alone.
    pub(super) fn ended(&self, id: &SessionId) -> String {
        self.of_session("e", id)
    }

    /// The last word about whether the session is held.
    pub(super) fn hold(&self, id: &SessionId) -> String {
        self.of_session("h", id)
    }

    /// What the keys of all ends are like, for `SCAN`. A prefix has no character that means something there.
    pub(super) fn of_ends(&self) -> String {
        format!("{}e:{{*", self.prefix)
    }

    /// The app's token that is kept for the session, sealed.
    pub(super) fn sealed_token(&self, id: &SessionId) -> String {
        self.of_session("k", id)
    }

    /// Whose turn it is to refresh it.
    pub(super) fn turn(&self, id: &SessionId) -> String {
        self.of_session("kt", id)
    }

    /// News that the session's record changed.
    pub(super) fn changed_record(&self, id: &SessionId) -> String {
        self.of_session("c", id)
    }

    /// The tenant's generation and status.
    pub(super) fn tenant(&self, tenant: &TenantId) -> String {
        self.of_tenant("n", tenant)
    }

    /// When and why the tenant's status was last changed.
    pub(super) fn tenant_note(&self, tenant: &TenantId) -> String {
        self.of_tenant("nn", tenant)
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
        format!("{}:{}", self.of_tenant("u", tenant), hash(user.kept()))
    }

    /// What stands for the user in the key of each tenant: the news of a revocation in any of them has it.
    #[expect(clippy::unused_self, reason = "names are made here")]
    pub(super) fn user_anywhere(&self, user: &UserId) -> String {
        hash(user.kept())
    }

    /// The same of the key of a user's standing, if it is one.
    pub(super) fn user_of<'a>(&self, key: &'a [u8]) -> Option<&'a [u8]> {
        let named = key.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"u:{")?;
        let end = named.iter().position(|byte| *byte == b'}')?;
        named.get(end..)?.strip_prefix(b"}:")
    }

    /// The tenant's index; below it, its parts.
    pub(super) fn index(&self, tenant: &TenantId) -> String {
        format!("{}:", self.of_tenant("b", tenant))
    }

    /// What stands for a user in the index.
    #[expect(clippy::unused_self, reason = "names are made here")]
    pub(super) fn user_hash(&self, user: &UserId) -> UserHash {
        digest(user.kept()).first_chunk().copied().unwrap_or_default()
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

    /// The same of one master of a cluster, by a tag of a slot that it has.
    pub(super) fn heartbeat_in(&self, instance: &str, tag: &str) -> String {
        format!("{}{{{tag}}}", self.heartbeats(instance))
    }

    /// What all of those begin with.
    pub(super) fn heartbeats(&self, instance: &str) -> String {
        format!("{}w:{instance}:", self.prefix)
    }

    /// What the keys begin with that a change of a session, a user or a tenant writes, and the bell. Not the records: what is made, or
    /// touched, or goes by time invalidates nothing.
    pub(super) fn tracked(&self) -> [String; 6] {
        ["c:", "e:", "h:", "mb:", "n:", "u:"].map(|kind| format!("{}{kind}", self.prefix))
    }

    /// What changed when a tracked key did.
    pub(super) fn changed(&self, key: &[u8]) -> Option<Changed> {
        let kind = key.strip_prefix(self.prefix.as_bytes())?;
        match kind {
            [b'c' | b'e' | b'h', b':', b'{', id @ .., b'}'] => SessionId::parse(id).map(Changed::Session),
            [b'u' | b'n', b':', ..] => Some(Changed::Standing),
            b"mb:{calls}" => Some(Changed::Bell),
            _ => None,
        }
    }

    /// What is written to see whether the server takes writes.
    pub(super) fn probe(&self) -> String {
        format!("{}probe", self.prefix)
    }

    /// The last moment in the order of logins and revocations: each of these keys has one.
    pub(super) fn orders(&self) -> Vec<String> {
        if self.of_cluster {
            ORDERS.iter().map(|tag| format!("{}order:{{{tag}}}", self.prefix)).collect()
        } else {
            vec![format!("{}order", self.prefix)]
        }
    }

    /// The maintenance mode of all gateways; there while it holds.
    pub(super) fn maintenance(&self) -> String {
        format!("{}maintenance", self.prefix)
    }

    /// What logins are counted by, by a bucket's key. All in one slot: they decide together.
    pub(super) fn login_bucket(&self, bucket: &str) -> String {
        format!("{}m:{{login}}:{bucket}", self.prefix)
    }

    /// The locks in force, by their ends. No bucket's key is so short.
    pub(super) fn login_locks(&self) -> String {
        self.login_bucket("l")
    }

    /// What was found.
    pub(super) fn findings(&self) -> String {
        format!("{}m:f:{{findings}}", self.prefix)
    }

    /// That the same was found a while ago.
    pub(super) fn same_finding(&self, dedupe: &str) -> String {
        format!("{}m:o:{{findings}}:{}", self.prefix, hash(dedupe))
    }

    /// How often each was found again.
    pub(super) fn findings_again(&self) -> String {
        format!("{}m:fa:{{findings}}", self.prefix)
    }

    /// What was said of them.
    pub(super) fn finding_notes(&self) -> String {
        format!("{}m:fn:{{findings}}", self.prefix)
    }

    /// Who paid and has no tenant yet; their order of waiting, and that of asking.
    pub(super) fn orphans(&self) -> [String; 3] {
        ["o", "ow", "oa"].map(|kind| format!("{}{kind}:{{orphans}}", self.prefix))
    }

    /// That somebody asks the backend about this user or tenant.
    pub(super) fn recheck(&self, subject: &str) -> String {
        format!("{}r:{{{}}}", self.prefix, hash(subject))
    }

    /// What is open of sessions.
    pub(super) fn open_risks(&self) -> String {
        format!("{}m:k:{{findings}}", self.prefix)
    }

    /// Where a user was.
    pub(super) fn footprint(&self, user: u64) -> String {
        format!("{}m:g:{{{user:016x}}}", self.prefix)
    }

    /// Who of a tenant uses a place.
    pub(super) fn users_of_cell(&self, cell: u64) -> String {
        format!("{}m:p:{{{cell:016x}}}", self.prefix)
    }

    /// What each gateway counted of calls.
    pub(super) fn calls(&self) -> String {
        format!("{}m:q:{{calls}}", self.prefix)
    }

    /// What a gateway writes for the others to look there.
    pub(super) fn call_bell(&self) -> String {
        format!("{}mb:{{calls}}", self.prefix)
    }

    /// The alerts that wait: where each goes.
    pub(super) fn alerts(&self) -> String {
        format!("{}m:x:{{findings}}", self.prefix)
    }

    /// What was tried so far of each.
    pub(super) fn alert_attempts(&self) -> String {
        format!("{}m:xa:{{findings}}", self.prefix)
    }

    /// What was gathered for those that tell of many findings.
    pub(super) fn alerts_gathered(&self) -> String {
        format!("{}m:xg:{{findings}}", self.prefix)
    }

    /// Those of a queue, by when each is due.
    pub(super) fn alert_queue(&self, queue: &str) -> String {
        format!("{}m:xq:{{findings}}:{}", self.prefix, hash(queue))
    }

    /// How somebody is written to.
    pub(super) fn contact(&self, id: &str) -> String {
        format!("{}m:e:{{{id}}}", self.prefix)
    }

    /// How many went to a target within a while.
    pub(super) fn alert_count(&self, limit: &str) -> String {
        format!("{}m:xc:{{findings}}:{}", self.prefix, hash(limit))
    }

    /// What acts count with, by its own key: a user's, say.
    pub(super) fn act(&self, key: &str) -> String {
        format!("{}m:c:{{{key}}}", self.prefix)
    }

    /// From where an ended session was used.
    pub(super) fn end_note(&self, id: &SessionId) -> String {
        self.of_session("m:v", id)
    }

    /// Which findings are a tenant's.
    pub(super) fn findings_of(&self, tenant: &TenantId) -> String {
        self.of_tenant("m:ft", tenant)
    }

    /// What is counted of a day, for reports.
    pub(super) fn report(&self, of: &CountOf, day: Day) -> String {
        let of = match of {
            CountOf::All => format!("{}m:r:{{all}}", self.prefix),
            CountOf::Tenant(tenant) => self.of_tenant("m:r", tenant),
        };
        format!("{of}:{day}")
    }

    /// What front ends of a tenant report.
    pub(super) fn activities(&self, tenant: &TenantId) -> String {
        self.of_tenant("m:fe", tenant)
    }

    /// When the data that the server holds began: gone where it was emptied.
    pub(super) fn birth(&self) -> String {
        format!("{}birth", self.prefix)
    }

    /// The same of one master of a cluster, by a tag of a slot that it has.
    pub(super) fn birth_in(&self, tag: &str) -> String {
        format!("{}birth:{{{tag}}}", self.prefix)
    }

    /// What is written to one master of a cluster to see whether it takes writes, by a tag of a slot that it has.
    pub(super) fn probe_in(&self, tag: &str) -> String {
        format!("{}probe:{{{tag}}}", self.prefix)
    }

    /// That there were sessions which may choose from several tenants.
    pub(super) fn choosers(&self) -> String {
        format!("{}choosers", self.prefix)
    }

    /// The apps that have sessions here, by when the last of them is over.
    pub(super) fn apps(&self) -> String {
        format!("{}apps", self.prefix)
    }

    fn of_session(&self, kind: &str, id: &SessionId) -> String {
        format!("{}{kind}:{{{id}}}", self.prefix)
    }

    fn of_tenant(&self, kind: &str, tenant: &TenantId) -> String {
        format!("{}{kind}:{{{}}}", self.prefix, hash(tenant.kept()))
    }
}

/// 22 characters for any text: ids may hold `:` and `}`, which a key could not.
fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&digest(text)[..16])
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
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
        assert_eq!(keys.ended(&id), "sg:e:{AAAAAAAAAAAAAAAAAAAAAA}");
        assert_eq!(keys.changed_record(&id), "sg:c:{AAAAAAAAAAAAAAAAAAAAAA}");
        assert_eq!(keys.hold(&id), "sg:h:{AAAAAAAAAAAAAAAAAAAAAA}");
        assert_eq!(keys.sealed_token(&id), "sg:k:{AAAAAAAAAAAAAAAAAAAAAA}");
        assert_eq!(keys.turn(&id), "sg:kt:{AAAAAAAAAAAAAAAAAAAAAA}");
        assert_eq!(keys.audit_stream(), "sg:as:{audit}");
        assert_eq!(keys.audit_shared(), "sg:al:{audit}");
        assert_eq!(keys.audit_anchors(), "sg:aa:{audit}");
        assert_eq!(keys.birth(), "sg:birth");
        assert_eq!(keys.orders(), ["sg:order"]);
        let orders = Keys::of_cluster("sg:").orders();
        assert_eq!(orders, ["sg:order:{ivh}", "sg:order:{fjl}", "sg:order:{drc}"]);
        assert_eq!(keys.maintenance(), "sg:maintenance");
        assert_eq!(keys.choosers(), "sg:choosers");
        assert_eq!(keys.login_bucket("n:192.0.2.1"), "sg:m:{login}:n:192.0.2.1");
        assert_eq!(keys.login_locks(), "sg:m:{login}:l");
        assert_eq!(keys.findings(), "sg:m:f:{findings}");
        assert_eq!(keys.findings_again(), "sg:m:fa:{findings}");
        assert_eq!(keys.finding_notes(), "sg:m:fn:{findings}");
        assert_eq!(keys.open_risks(), "sg:m:k:{findings}");
        assert_eq!(keys.orphans(), ["sg:o:{orphans}", "sg:ow:{orphans}", "sg:oa:{orphans}"]);
        assert_eq!(keys.recheck("acme 7"), "sg:r:{E3v8BmI7ecmcOOUY7vreYw}");
        assert_eq!(keys.footprint(10), "sg:m:g:{000000000000000a}");
        assert_eq!(keys.users_of_cell(10), "sg:m:p:{000000000000000a}");
        assert_eq!(keys.calls(), "sg:m:q:{calls}");
        assert_eq!(keys.call_bell(), "sg:mb:{calls}");
        assert_eq!(keys.contact("acme"), "sg:m:e:{acme}");
        assert_eq!(keys.alerts(), "sg:m:x:{findings}");
        assert_eq!(keys.alert_attempts(), "sg:m:xa:{findings}");
        assert_eq!(keys.alerts_gathered(), "sg:m:xg:{findings}");
        assert_eq!(keys.alert_queue("acme"), "sg:m:xq:{findings}:giszrYfBSKCiClunzV68qg");
        assert_eq!(keys.alert_count("acme"), "sg:m:xc:{findings}:giszrYfBSKCiClunzV68qg");
        assert_eq!(keys.act("p:x"), "sg:m:c:{p:x}");
        assert_eq!(keys.end_note(&id), "sg:m:v:{AAAAAAAAAAAAAAAAAAAAAA}");
        assert_eq!(keys.findings_of(&tenant), "sg:m:ft:{giszrYfBSKCiClunzV68qg}");
        assert_eq!(keys.activities(&tenant), "sg:m:fe:{giszrYfBSKCiClunzV68qg}");
        let day = Day::from_number(20_000);
        assert_eq!(keys.report(&CountOf::All, day), "sg:m:r:{all}:2024-10-04");
        let of_tenant = CountOf::Tenant(tenant.clone());
        assert_eq!(keys.report(&of_tenant, day), "sg:m:r:{giszrYfBSKCiClunzV68qg}:2024-10-04");
        assert_eq!(keys.same_finding("acme"), "sg:m:o:{findings}:giszrYfBSKCiClunzV68qg");
        // printf acme | sha256sum, first 16 bytes, base64url
        assert_eq!(keys.tenant(&tenant), "sg:n:{giszrYfBSKCiClunzV68qg}");
        assert_eq!(keys.tenant_note(&tenant), "sg:nn:{giszrYfBSKCiClunzV68qg}");
        assert_eq!(keys.known_tenants(), "sg:tn:{tenants}");
        assert_eq!(keys.names_of_tenants(), "sg:tl:{tenants}");
        assert_eq!(keys.index(&tenant), "sg:b:{giszrYfBSKCiClunzV68qg}:");
        // printf 7 | sha256sum, first 16 bytes, base64url; the first 8 of them
        assert_eq!(keys.user(&tenant, &user), "sg:u:{giszrYfBSKCiClunzV68qg}:eQJpm-Qsio5G-7tFAXJlFw");
        assert_eq!(keys.user_hash(&user), [121, 2, 105, 155, 228, 44, 138, 142]);
    }

    #[test]
    fn what_is_written_about_a_session_is_tracked_and_says_what_changed() {
        let keys = Keys::under("sg:");
        let id = SessionId::parse(b"AAAAAAAAAAAAAAAAAAAAAA").expect("22 characters of base64url");
        let tenant = TenantId::parse("acme").expect("visible ASCII");
        let user = UserId::parse("7").expect("visible ASCII");
        for (key, changed) in [
            (keys.changed_record(&id), Some(Changed::Session(id))),
            (keys.ended(&id), Some(Changed::Session(id))),
            (keys.hold(&id), Some(Changed::Session(id))),
            (keys.user(&tenant, &user), Some(Changed::Standing)),
            (keys.tenant(&tenant), Some(Changed::Standing)),
            (keys.call_bell(), Some(Changed::Bell)),
            (keys.calls(), None),
            (keys.findings(), None),
            (keys.record(&id), None),
            (keys.index(&tenant), None),
            (keys.sealed_token(&id), None),
            (keys.turn(&id), None),
            (keys.tenant_note(&tenant), None),
            (keys.heartbeat("x"), None),
            (String::from("e:{AAAAAAAAAAAAAAAAAAAAAA}"), None),
            (String::from("sg:e:{short}"), None),
        ] {
            assert_eq!(keys.changed(key.as_bytes()), changed, "{key}");
            let tracked = keys.tracked().iter().any(|prefix| key.starts_with(prefix));
            assert_eq!(changed.is_some(), tracked && !key.contains("short"), "{key}");
        }
        // Its push comes after those of the same moment: the server sends them in this order.
        assert!(keys.tracked().iter().all(|prefix| **prefix < *keys.heartbeat("x")));
    }

    #[test]
    fn a_user_is_the_same_in_the_key_of_each_tenant() {
        let keys = Keys::under("sg:");
        let tenant = |text: &str| TenantId::parse(text).expect("visible ASCII");
        let user = UserId::parse("7").expect("visible ASCII");
        for name in ["acme", "a:{b}"] {
            let key = keys.user(&tenant(name), &user);
            assert_eq!(keys.user_of(key.as_bytes()), Some(keys.user_anywhere(&user).as_bytes()), "{name}");
        }
        for key in [keys.tenant(&tenant("acme")), String::from("u:{a}:b"), String::from("sg:u:{a")] {
            assert_eq!(keys.user_of(key.as_bytes()), None, "{key}");
        }
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
