//! Which headers cross the gateway (docs/behaviour.md, "Towards the backend", steps 1, 2 and 5).
//!
//! Backends rename what they get: `_` and `.` become `-` in WSGI's environ, duplicates are joined with commas or the
//! last one wins. So a protected name is removed under every spelling that could become it, and every
//! other odd name with it. What the gateway itself sets is set afterwards, so nothing that a client writes, `Connection`
//! included, can remove it again.

use std::borrow::Cow;

use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::{Note, NotedHeaders, printable};

/// The longest client value that is kept for comparison and audit.
const LONGEST_CLAIM: usize = 128;

/// So many further names that are protected are told of in one request.
const MOST_OTHERS: usize = 8;

/// What `Connection` cannot nominate. RFC 9110 section 7.6.1 forbids senders to nominate what is meant for all
/// recipients; an attacker who does it anyway wants a check or the message's meaning to vanish on the way. The
/// nomination is ignored and the header stays.
const NEVER_NOMINATED: [&str; 19] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "content-disposition",
    "cookie",
    "set-cookie",
    "authorization",
    "origin",
    "referer",
    "user-agent",
    "expect",
    "range",
    "cache-control",
    "location",
    "vary",
    "date",
    "x-requested-with",
];

/// The names under which the backend is told who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// `X-Customer-ID`.
    pub tenant: HeaderName,
    /// `X-User-ID`.
    pub user: HeaderName,
    /// `X-User-Role`.
    pub role: HeaderName,
    /// `X-Session-ID`.
    pub session: HeaderName,
}

/// A protected name.
#[derive(Clone, Debug)]
struct Protected {
    /// In the form that [`aliases`] compares with.
    canonical: Canonical,
    /// As it was configured.
    name: HeaderName,
}

type Canonical = Box<[u8]>;

/// The names that no client and no backend may set: the four identity headers, `identity.strip` and `X-Session-*`.
#[derive(Clone, Debug)]
pub struct ProtectedNames {
    tenant: Protected,
    user: Protected,
    role: Protected,
    session: Protected,
    further: Vec<Canonical>,
    /// The lengths of all these, a bit for each: a name of another length is none of them.
    lengths: u64,
}

/// What a protected name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Tenant,
    User,
    Role,
    Session,
    Other,
}

impl ProtectedNames {
    /// From the configured names.
    #[must_use]
    pub fn new(identity: &IdentityHeaders, strip: &[HeaderName]) -> Self {
        let named = [&identity.tenant, &identity.user, &identity.role, &identity.session];
        Self {
            tenant: Protected::of(&identity.tenant),
            user: Protected::of(&identity.user),
            role: Protected::of(&identity.role),
            session: Protected::of(&identity.session),
            further: strip.iter().map(canonical).collect(),
            lengths: named.into_iter().chain(strip).fold(0, |bits, name| bits | length_bit(name.as_str())),
        }
    }

    /// Whether a backend could read `name` as a protected one: each character other than a letter or digit counts as
    /// `-`.
    #[must_use]
    pub fn is_protected(&self, name: &HeaderName) -> bool {
        self.meaning(name.as_str()).is_some()
    }

    fn meaning(&self, name: &str) -> Option<Meaning> {
        let (lengths, name) = (length_bit(name), name.as_bytes());
        if self.lengths & lengths == 0 {
            return reads_as_session(name).then_some(Meaning::Other);
        }
        if aliases(name, &self.tenant.canonical) {
            Some(Meaning::Tenant)
        } else if aliases(name, &self.user.canonical) {
            Some(Meaning::User)
        } else if aliases(name, &self.role.canonical) {
            Some(Meaning::Role)
        } else if aliases(name, &self.session.canonical) {
            Some(Meaning::Session)
        } else if self.is_further(name) || reads_as_session(name) {
            Some(Meaning::Other)
        } else {
            None
        }
    }

    /// The name that stands for this, as it was configured.
    const fn spelt(&self, meaning: Meaning) -> Option<&HeaderName> {
        match meaning {
            Meaning::Tenant => Some(&self.tenant.name),
            Meaning::User => Some(&self.user.name),
            Meaning::Role => Some(&self.role.name),
            Meaning::Session => Some(&self.session.name),
            Meaning::Other => None,
        }
    }

    fn is_further(&self, name: &[u8]) -> bool {
        self.further.iter().any(|protected| aliases(name, protected))
    }
}

impl Protected {
    fn of(name: &HeaderName) -> Self {
        Self { canonical: canonical(name), name: name.clone() }
    }
}

const SESSION_PREFIX: &[u8] = b"x-session-";
/// What proves to a backend who told it (docs/signed-identity.md).
const PROOFS: [&[u8]; 2] = [b"x-session-assertion", b"x-session-signature"];

/// What tells a backend how bad it is what is open of a session (docs/monitoring.md).
pub const SESSION_RISK: HeaderName = HeaderName::from_static("x-session-risk");

fn reads_as_session(name: &[u8]) -> bool {
    name.get(..SESSION_PREFIX.len()).is_some_and(|start| aliases(start, SESSION_PREFIX))
}

/// The bit of a name's length. Longer ones share the last.
fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
}

fn canonical(name: &HeaderName) -> Canonical {
    name.as_str().bytes().map(as_backends_read).collect()
}

/// Whether `name` (in lower case, as `HeaderName` holds it) reads as `canonical`.
fn aliases(name: &[u8], canonical: &[u8]) -> bool {
    // As it was configured, which is how it mostly comes; else under another spelling.
    name == canonical
        || name.len() == canonical.len()
            && name.iter().zip(canonical).all(|(byte, protected)| as_backends_read(*byte) == *protected)
}

const fn as_backends_read(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte } else { b'-' }
}

/// What a client said about itself in one protected header, under whatever spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClaimedValue {
    /// Nothing.
    #[default]
    Absent,
    /// One value of up to 128 visible ASCII characters; it may be empty.
    One(String),
    /// One value that could not be an identity value, made printable.
    Unusable(String),
    /// More than one line, equal or not: backends join them or take either.
    Several,
}

impl ClaimedValue {
    /// Whether the client claimed something, and something other than `value`.
    #[must_use]
    pub fn contradicts(&self, value: Option<&str>) -> bool {
        match self {
            Self::Absent => false,
            Self::One(claimed) => value != Some(claimed),
            Self::Unusable(_) | Self::Several => true,
        }
    }

    /// Whether the client claimed nothing.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// A text for audit lines; `None` when nothing was claimed.
    #[must_use]
    pub fn shown(&self) -> Option<&str> {
        match self {
            Self::Absent => None,
            Self::One(text) | Self::Unusable(text) => Some(text),
            Self::Several => Some("(several)"),
        }
    }

    fn add(&mut self, value: &HeaderValue) {
        *self = match self {
            Self::Absent => {
                let bytes = value.as_bytes();
                match value.to_str() {
                    Ok(text) if bytes.len() <= LONGEST_CLAIM && !bytes.contains(&b'\t') => Self::One(text.to_owned()),
                    _ => Self::Unusable(printable(bytes, LONGEST_CLAIM)),
                }
            }
            _ => Self::Several,
        };
    }
}

/// What a client claimed in protected headers. Never believed; for the audit event `identity.spoofed`, and for
/// `identity.client_value` to be compared or to pick one of the session's tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// In the tenant header.
    pub tenant: ClaimedValue,
    /// Whether any of that was under another spelling of its name.
    pub tenant_by_alias: bool,
    /// In the user header.
    pub user: ClaimedValue,
    /// In the role header.
    pub role: ClaimedValue,
    /// In the session header.
    pub session: ClaimedValue,
    /// Which other protected headers were there, as backends read their names: the first few.
    pub others: Vec<Box<str>>,
}

impl Claims {
    /// Whether the client sent no protected header at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, meaning: Meaning, name: &str, value: &HeaderValue, by_alias: bool) {
        match meaning {
            Meaning::Tenant => {
                self.tenant.add(value);
                self.tenant_by_alias |= by_alias;
            }
            Meaning::User => self.user.add(value),
            Meaning::Role => self.role.add(value),
            Meaning::Session => self.session.add(value),
            Meaning::Other => {
                let name = String::from_utf8(name.bytes().map(as_backends_read).collect()).unwrap_or_default();
                if self.others.len() < MOST_OTHERS && !self.others.iter().any(|other| **other == *name) {
                    self.others.push(name.into());
                }
            }
        }
    }
}

/// Where a request names a tenant, in a header that is left in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantHeader {
    /// In the tenant header, under whatever spelling: its value is a tenant or nothing.
    Tenant,
    /// In one of `identity.strip`: its value may be a tenant, or something else.
    Further,
    /// In another of `X-Session-*`, which few apps read a tenant from.
    Unlikely,
}

/// What [`RequestFilter::strip_request`] took out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stripped {
    /// What protected headers said.
    pub claims: Claims,
    /// How many distinct names were removed.
    pub names: usize,
}

/// What happens to protected headers of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectedHeaders {
    /// They are removed: `identity.mode = "enforce"`.
    Remove,
    /// The client's own reach the backend: `observe`, and `compat` where it has to. Every tenant's data is then open
    /// to whoever asks for it, as before the gateway came.
    LetClientsChooseTheirTenant,
}

/// Removes from messages what must not cross the gateway.
#[derive(Clone, Debug)]
pub struct RequestFilter {
    protected: ProtectedNames,
    allow: Vec<HeaderName>,
}

impl RequestFilter {
    /// `allow` is `server.allow_headers`: names that pass although they would always be removed. A protected name never
    /// passes.
    #[must_use]
    pub const fn new(protected: ProtectedNames, allow: Vec<HeaderName>) -> Self {
        Self { protected, allow }
    }

    /// The names that are protected.
    #[must_use]
    pub const fn protected(&self) -> &ProtectedNames {
        &self.protected
    }

    /// Removes what no client may tell a backend: hop-by-hop headers and those that `Connection` names, overrides,
    /// protected names with all their aliases, odd names, and every word about forwarding.
    ///
    /// To be called after the client's address was read from `X-Forwarded-For`, and before anything is injected.
    pub fn strip_request(&self, headers: &mut NotedHeaders) -> Stripped {
        self.strip_request_but(headers, ProtectedHeaders::Remove)
    }

    /// [`strip_request`](Self::strip_request) with a choice about protected headers. The claims are told either way.
    pub fn strip_request_but(&self, headers: &mut NotedHeaders, protected: ProtectedHeaders) -> Stripped {
        let mut claims = Claims::default();
        let mut doomed = Doomed::nominated_in(headers);
        for (name, value) in headers.iter() {
            let text = name.as_str();
            if let Some(meaning) = self.protected.meaning(text) {
                claims.add(meaning, text, value, text.as_bytes() != &*self.protected.tenant.canonical);
                match protected {
                    ProtectedHeaders::Remove => doomed.add_spelt(name, self.protected.spelt(meaning)),
                    ProtectedHeaders::LetClientsChooseTheirTenant => doomed.spare(name),
                }
            } else if is_hop_by_hop(text) || is_about_forwarding(text) || self.is_unwanted(name) {
                doomed.add(name);
            }
        }
        Stripped { claims, names: doomed.0.iter().filter(|name| headers.remove_named(name)).count() }
    }

    /// Removes what claims to prove to the backend that it was told something by the gateway, under all its aliases, where
    /// protected headers are left in a request.
    pub fn strip_proofs(&self, headers: &mut NotedHeaders) {
        remove_all(headers, |name| PROOFS.iter().any(|proof| aliases(name, proof)));
    }

    /// The same of what claims to say how bad it is what is open of a session.
    pub fn strip_risk(&self, headers: &mut NotedHeaders) {
        remove_all(headers, |name| aliases(name, SESSION_RISK.as_str().as_bytes()));
    }

    /// Every value by which a request may name its tenant to a backend, where protected headers are left in it: those of
    /// the tenant header under all its aliases and of the further names that are stripped, each taken apart at commas,
    /// because backends join lines.
    pub fn claimed_tenants<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = (TenantHeader, &'a [u8])> {
        let named = headers.iter().filter_map(|(name, value)| {
            let header = match self.protected.meaning(name.as_str())? {
                Meaning::Tenant => TenantHeader::Tenant,
                Meaning::Other if self.protected.is_further(name.as_str().as_bytes()) => TenantHeader::Further,
                Meaning::Other => TenantHeader::Unlikely,
                Meaning::User | Meaning::Role | Meaning::Session => return None,
            };
            Some((header, value.as_bytes()))
        });
        named.flat_map(|(header, value)| {
            value.split(|byte| *byte == b',').map(move |value| (header, value.trim_ascii()))
        })
    }

    /// Removes what no backend may tell a client: hop-by-hop headers and those that `Connection` names, and protected
    /// names. Works for final and for 1xx answers. Answers which names may be left.
    pub fn strip_response(&self, headers: &mut HeaderMap) -> Note {
        let mut doomed = Doomed::nominated_in(headers);
        let mut names = Note::default();
        for name in headers.keys() {
            names.add(name);
            if is_hop_by_hop(name.as_str()) || self.protected.is_protected(name) {
                doomed.add(name);
            }
        }
        for name in &doomed.0 {
            headers.remove(&**name);
        }
        names
    }

    fn is_unwanted(&self, name: &HeaderName) -> bool {
        (is_odd(name.as_str()) || is_overriding(name.as_str())) && !self.allow.contains(name)
    }
}

fn remove_all(headers: &mut NotedHeaders, is_doomed: impl Fn(&[u8]) -> bool) {
    let doomed = headers.keys().filter(|name| is_doomed(name.as_str().as_bytes()));
    let doomed: SmallVec<[HeaderName; 2]> = doomed.cloned().collect();
    for name in doomed {
        headers.remove_named(&name);
    }
}

/// Connection-specific fields (RFC 9110 section 7.6.1), and what only the next hop may hear.
fn is_hop_by_hop(name: &str) -> bool {
    // A match, here and below: the length of a name decides most of it.
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "x-gateway-via"
    )
}

/// What some framework or server believes about method, path, mount point, user or address. `server.allow_headers` can
/// let one through.
fn is_overriding(name: &str) -> bool {
    matches!(
        name,
        "x-http-method-override"
            | "x-http-method"
            | "x-method-override"
            | "x-original-url"
            | "x-rewrite-url"
            | "x-script-name"
            | "daphne-root-path"
            | "x-scheme"
            | "remote-user"
            | "x-remote-user"
            | "x-client-ip"
            | "true-client-ip"
            | "cf-connecting-ip"
            | "proxy"
    )
}

/// The gateway says by itself who asked, how and for which host.
fn is_about_forwarding(name: &str) -> bool {
    name.starts_with("x-forwarded-") || matches!(name, "x-forwarded" | "forwarded" | "x-real-ip")
}

/// A character that some server reads as `-`, or as the end of the name.
fn is_odd(name: &str) -> bool {
    // All of them looked at: many at once are quicker than one after the other.
    !name.bytes().fold(true, |plain, byte| plain & (byte.is_ascii_alphanumeric() | (byte == b'-')))
}

/// Names to be removed. Empty, and not allocated, for a message that needs nothing removed.
#[derive(Default)]
struct Doomed<'a>(SmallVec<[Cow<'a, HeaderName>; 4]>);

impl<'a> Doomed<'a> {
    /// What `Connection` names, without what it cannot name.
    fn nominated_in(headers: &HeaderMap) -> Self {
        let mut doomed = Self::default();
        // Few names are looked through sooner than a hash is made.
        if !headers.keys().any(|name| *name == header::CONNECTION) {
            return doomed;
        }
        for line in headers.get_all(header::CONNECTION) {
            for option in line.as_bytes().split(|byte| *byte == b',') {
                let option = option.trim_ascii();
                let is_usual = [&b""[..], b"close", b"keep-alive", b"upgrade"]
                    .iter()
                    .any(|usual| option.eq_ignore_ascii_case(usual));
                if is_usual {
                    continue;
                }
                // What is no name nominates nothing.
                if let Ok(name) = HeaderName::from_bytes(option)
                    && headers.contains_key(&name)
                    && !NEVER_NOMINATED.contains(&name.as_str())
                    && !name.as_str().starts_with("sec-")
                {
                    doomed.add(&name);
                }
            }
        }
        doomed
    }

    fn add(&mut self, name: &HeaderName) {
        // The lines of one name come one after the other.
        if self.0.last().map(|last| &**last) != Some(name) {
            self.0.push(Cow::Owned(name.clone()));
        }
    }

    /// The same. As it was `configured` it mostly comes, and is not copied then.
    fn add_spelt(&mut self, name: &HeaderName, configured: Option<&'a HeaderName>) {
        match configured.filter(|configured| *configured == name) {
            Some(configured) => self.0.push(Cow::Borrowed(configured)),
            None => self.add(name),
        }
    }

    fn spare(&mut self, name: &HeaderName) {
        self.0.retain(|doomed| **doomed != *name);
    }
}

#[cfg(test)]
mod tests;
