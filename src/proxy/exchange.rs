//! The facts of one exchange: gathered on the way through the pipeline, told to the log at its end.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::HeaderValue;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Version};

use crate::audit::ClientText;
use crate::bearer::VerifiedToken;
use crate::clock::Monotonic;
use crate::custody::Withheld;
use crate::entropy::{Entropy, EntropyError};
use crate::http::{RequestHost, Scheme, TraceParent, printable};
use crate::seal::{Binding, Opened};
use crate::session::{By, Credential, InTenant, Principal, SessionId};
use crate::sessions::Cuts;
use crate::store::STALE_AT_MOST;
use crate::telemetry::Place;
use crate::told::Origin;

/// How the bytes of a connection travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// As they are.
    Plain,
    /// In TLS that ends here.
    Tls,
    /// As they are, where nothing is served and clients are sent to https.
    ToBeRedirected,
    /// As they are, where TLS is spoken and clients are told so.
    PlainOnTls,
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Downstream {
    /// Its address, or the one that a trusted proxy names by the PROXY protocol.
    pub(super) peer: ClientAddress,
    pub(super) transport: Transport,
}

/// An address with its text, which every request of a connection needs again.
#[derive(Clone, Debug)]
pub(super) struct ClientAddress {
    address: IpAddr,
    text: HeaderValue,
}

impl ClientAddress {
    pub(super) const fn get(&self) -> IpAddr {
        self.address
    }

    pub(super) const fn header_value(&self) -> &HeaderValue {
        &self.text
    }

    /// This, if it is `address`, else a new one.
    pub(super) fn or(&self, address: IpAddr) -> Self {
        if self.address == address { self.clone() } else { Self::from(address) }
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        // An address is visible ASCII, so there is no other case; it would name nobody.
        let text = HeaderValue::from_str(&address.to_string()).unwrap_or(HeaderValue::from_static("unknown"));
        Self { address, text }
    }
}

/// The longest path in a log line, in characters.
const LONGEST_LOGGED_PATH: usize = 1024;
/// The longest request id that is taken over from a trusted proxy.
const LONGEST_REQUEST_ID: usize = 64;

/// The name of an exchange in logs, in audit lines, in the answer and at the backend.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    pub(super) const fn header_value(&self) -> &HeaderValue {
        &self.0
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.0.as_bytes()).unwrap_or_default()
    }

    /// A trusted proxy's own name for the exchange, where it is a plain word.
    pub(super) fn from_proxy(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all("x-request-id").iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'=' | b'/');
        let bytes = value.as_bytes();
        (!bytes.is_empty() && bytes.len() <= LONGEST_REQUEST_ID && bytes.iter().all(plain)).then(|| Self(value.clone()))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Makes request ids: unique among instances and restarts by a random start, in order within a process.
pub(super) struct RequestIds {
    /// In hexadecimal.
    process: [u8; 16],
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = [0_u8; 8];
        entropy.fill(&mut bytes)?;
        let mut process = [0; 16];
        write_hex(&bytes, &mut process);
        Ok(Self { process, next: AtomicU64::new(0) })
    }

    pub(super) fn next(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        // By hand: each request has one. A process that has made 2^32 goes on with longer ones.
        let number = number.to_be_bytes();
        let number = number.strip_prefix(&[0; 4]).unwrap_or(&number);
        let mut text = [0; 32];
        let (process, rest) = text.split_at_mut(self.process.len());
        process.copy_from_slice(&self.process);
        write_hex(number, rest);
        let length = self.process.len() + 2 * number.len();
        RequestId(HeaderValue::from_bytes(&text[..length]).unwrap_or(HeaderValue::from_static("-")))
    }
}

fn write_hex(bytes: &[u8], text: &mut [u8]) {
    for (byte, to) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        to.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
    }
}

/// A session that a request was accepted for.
#[derive(Clone, Debug)]
pub(super) struct Decided {
    pub(super) id: SessionId,
    /// When the store was asked about it.
    pub(super) asked: Monotonic,
    /// Which of its ends refuse the request.
    pub(super) cuts: Cuts,
    /// The token that it is instead.
    pub(super) token: Option<VerifiedToken>,
    /// In which of the session's tenants it was accepted, where there are several.
    pub(super) tenant: Option<Arc<InTenant>>,
}

/// To which session the app's own cookies of an exchange are bound, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bound {
    /// To this.
    To(Binding),
    /// To this session if it is live, which nobody has asked yet.
    Presented(SessionId),
    /// The exchange ended the session that they were bound to: what the app still sets is that session's, and is of no use to
    /// anyone.
    Over,
    /// The store cannot say: such cookies go neither in nor out, so that nothing opens that should not, and nothing is
    /// overwritten that is still good.
    Unknown,
}

impl Bound {
    /// Before a look-up.
    pub(super) const fn presented(credential: Credential) -> Self {
        match credential {
            Credential::Session(id) => Self::Presented(id),
            Credential::None | Credential::Unusable | Credential::Bearer => Self::To(Binding::NoSession),
        }
    }
}

/// One exchange.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) id: RequestId,
    /// The client's verified address.
    pub(super) client: ClientAddress,
    /// How the client reached the first of the proxies, or the gateway.
    pub(super) scheme: Scheme,
    pub(super) method: Method,
    pub(super) version: Version,
    /// The target, normalised unless it was refused; `None` when nothing of it can be believed.
    pub(super) target: Option<PathAndQuery>,
    /// Whom it asks for, once that was found to be one of ours.
    pub(super) host: Option<RequestHost>,
    /// The origin of the page that asks, where it may read the answer.
    pub(super) reader: Option<HeaderValue>,
    pub(super) user_agent: Option<HeaderValue>,
    /// The trace that it says it belongs to.
    pub(super) trace: Option<TraceParent>,
    /// Its own place in a trace, where traces are made.
    pub(super) place: Option<Box<Place>>,
    /// Bytes of its body that were taken; `None`: it has none.
    pub(super) received: Option<Arc<AtomicU64>>,
    pub(super) started: Monotonic,
    /// Whether a person's browser asks for a page: one who has to log in first is sent to the login page, and a failure is
    /// shown as a page.
    pub(super) asks_for_page: bool,
    /// The languages that such a person reads.
    pub(super) languages: Option<HeaderValue>,
    /// Whether it is to log somebody in.
    pub(super) is_login: bool,
    /// Whether the request had a gateway cookie, whatever that was worth.
    pub(super) had_cookie: bool,
    /// Whether the browser may have kept its cookie back, as a link from elsewhere led here, and would send it if it was
    /// asked from here.
    pub(super) may_have_cookie: bool,
    /// The pattern of the route; `None` where the request was refused before that was known.
    pub(super) route: Option<Arc<str>>,
    pub(super) session: Option<SessionId>,
    /// What was decided on, where that was a live session.
    pub(super) decided: Option<Decided>,
    pub(super) principal: Option<Arc<Principal>>,
    /// To which session the app's own cookies are bound, where they are sealed.
    pub(super) bound: Bound,
    /// Those that came with the request.
    pub(super) opened: Option<Box<Opened>>,
    /// Whose session they were sealed for, where it was one.
    pub(super) opened_for: Option<Arc<Principal>>,
    /// What its answer is not to show of the token that its session has.
    pub(super) withheld: Option<Arc<Withheld>>,
    /// The error code that the client was given.
    pub(super) code: Option<&'static str>,
    /// How long the backend took from the first byte sent to the answer's head; `None` when it was not asked.
    pub(super) upstream: Option<Duration>,
    /// The gateway's own share of the time to the answer's head.
    pub(super) added: Option<Duration>,
}

impl Exchange {
    /// The path for logs and audit lines, made printable; never the query.
    pub(super) fn path(&self) -> Cow<'_, str> {
        match &self.target {
            None => Cow::Borrowed("-"),
            Some(target) => Cow::Owned(printable(target.path().as_bytes(), LONGEST_LOGGED_PATH)),
        }
    }

    /// That something goes back to this request, as the act of `by`.
    pub(super) fn origin(&self, by: By) -> Origin {
        let user_agent = self.user_agent.as_ref().map(|value| ClientText::of(value.as_bytes()));
        Origin::of(by).by_request(self.client.get(), user_agent, self.id.as_str(), self.principal.clone())
    }

    /// What was decided on, to be asked about once more if that was longer ago than an answer of the store may be
    /// believed: this process may have been stopped, the machine asleep, or the body long in coming.
    pub(super) fn take_outdated(&mut self, now: Monotonic) -> Option<Decided> {
        self.decided.take().filter(|decided| now.since(decided.asked) >= STALE_AT_MOST)
    }

    /// The backend took so long for an answer's head.
    pub(super) fn upstream_took(&mut self, took: Duration) {
        self.upstream = Some(self.upstream.unwrap_or_default() + took);
    }
}
