//! The chain: each line carries its number and a keyed hash over itself and over the hash of the line before.
//!
//! Pure. A line ends in `,"instance":"…","seq":N,"mac":"…"}`. The first line that a gateway writes to a file also says
//! in `prev` what the hash before it was, so that a file can be checked alone; and in `torn` how many bytes of a line
//! that a crash had cut stand before it.
//!
//! `mac` is HMAC-SHA-256 over the hash of the line before (32 zero bytes for the first of a chain) and the line's own
//! bytes up to `,"mac"`. So a changed byte, a line that was removed, added or moved changes what every later hash had
//! to be, and nobody without the key can make one that fits.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use sha2::{Digest as _, Sha256};

use super::event::AuditEvent;
use crate::json_line::JsonLine;
use crate::secret::Secret;

/// Keeps the key of the chain apart from any other use of the same secret.
const PURPOSE: &[u8] = b"session-gateway audit chain 1\0";
/// HMAC-SHA-256 takes keys of this length as they are.
const BLOCK: usize = 64;
/// Characters of a hash.
const MAC_TEXT: usize = 43;

/// The key of a chain.
#[derive(Clone)]
pub struct ChainKey(Hmac<Sha256>);

impl ChainKey {
    /// The chain's key, derived from a secret that may have other uses.
    #[must_use]
    pub fn derived_from(secret: &Secret) -> Self {
        let mut key = [0; BLOCK];
        let derived = Sha256::new().chain_update(PURPOSE).chain_update(secret.expose_secret()).finalize();
        for (byte, derived) in key.iter_mut().zip(derived) {
            *byte = derived;
        }
        Self(Hmac::new(&key.into()))
    }

    /// The hash of a line whose bytes up to `,"mac"` are `body`.
    fn mac(&self, previous: &Mac, body: &[u8]) -> Mac {
        Mac(self.0.clone().chain_update(previous.0).chain_update(body).finalize().into_bytes().into())
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

/// A line's hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mac([u8; 32]);

impl Mac {
    /// What the first line of a chain is hashed with.
    const NONE: Self = Self([0; 32]);

    /// Reads its text. Exactly one text is read as one hash.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let bytes = (text.len() == MAC_TEXT).then(|| URL_SAFE_NO_PAD.decode(text).ok())??;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The name of a chain: 12 characters of base64url, made by chance once and kept for as long as the chain goes on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId([u8; Self::LENGTH]);

impl InstanceId {
    const LENGTH: usize = 12;

    /// The name made of 9 random bytes.
    #[must_use]
    pub fn of_random(random: [u8; 9]) -> Self {
        let mut text = [b'A'; Self::LENGTH];
        // Nine bytes are twelve characters, always.
        let _ = URL_SAFE_NO_PAD.encode_slice(random, &mut text);
        Self(text)
    }

    /// Reads its text.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let plain = text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        text.try_into().ok().filter(|_| plain).map(Self)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Where a chain stands: its last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which chain.
    pub instance: InstanceId,
    /// The last line's number; 0 before the first.
    pub seq: u64,
    /// The last line's hash.
    pub mac: Mac,
}

impl Head {
    /// A chain without lines.
    #[must_use]
    pub const fn start_of(instance: InstanceId) -> Self {
        Self { instance, seq: 0, mac: Mac::NONE }
    }
}

/// A chain that is being written.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    key: ChainKey,
    head: Head,
    /// Whether the next line is the first that this gateway writes to the file.
    opens_file: bool,
    /// Bytes of a cut line before the next one.
    torn: u64,
}

impl Chain {
    pub(super) const fn after(key: ChainKey, head: Head) -> Self {
        Self { key, head, opens_file: true, torn: 0 }
    }

    pub(super) const fn head(&self) -> Head {
        self.head
    }

    pub(super) const fn key(&self) -> &ChainKey {
        &self.key
    }

    /// The next line is the first in a file, behind `torn` bytes of a line that was cut.
    pub(super) const fn open_file(&mut self, torn: u64) {
        self.opens_file = true;
        self.torn = torn;
    }

    /// The next line follows this one.
    pub(super) const fn rewind(&mut self, head: Head) {
        self.head = head;
    }

    /// Appends the event's line.
    pub(super) fn append(&mut self, event: &AuditEvent, out: &mut Vec<u8>) {
        let start = out.len();
        let mut line = JsonLine::open(out);
        event.write_fields(&mut line);
        self.seal(line, start);
    }

    /// Appends again a line that did not get into the file, as the next one.
    pub(super) fn append_again(&mut self, line: &Sealed<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(line.event);
        self.seal(JsonLine::resume(out), start);
    }

    fn seal(&mut self, mut line: JsonLine<'_>, start: usize) {
        if self.torn > 0 {
            line.number("torn", self.torn);
        }
        if self.opens_file && self.head.seq > 0 {
            line.text("prev", &self.head.mac.to_string());
        }
        let seq = self.head.seq + 1;
        line.text("instance", self.head.instance.as_str());
        line.number("seq", seq);
        let mac = self.key.mac(&self.head.mac, line.written_since(start));
        line.text("mac", &mac.to_string());
        line.close();
        self.head = Head { seq, mac, ..self.head };
        self.opens_file = false;
        self.torn = 0;
    }
}

/// A line as it stands in a file: what it says of itself. Nothing of it is true until it was checked with the key.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    /// What the hash covers.
    body: &'a [u8],
    /// The fields of the event, from the opening brace on.
    event: &'a [u8],
    /// Bytes of a cut line before this one.
    pub torn: u64,
    /// The hash before it, where it says that.
    pub previous: Option<Mac>,
    /// Its chain, number and hash.
    pub head: Head,
}

impl<'a> Sealed<'a> {
    /// Reads the end of a line, given without its line feed. `None`: it is no line of an audit log.
    #[must_use]
    pub fn read(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_suffix(b"\"}")?;
        let (rest, mac) = rest.split_at_checked(rest.len().checked_sub(MAC_TEXT)?)?;
        let body = rest.strip_suffix(b",\"mac\":\"")?;
        let (rest, seq) = number_at_end(body)?;
        let rest = rest.strip_suffix(b"\",\"seq\":")?;
        let (rest, instance) = rest.split_at_checked(rest.len().checked_sub(InstanceId::LENGTH)?)?;
        let rest = rest.strip_suffix(b",\"instance\":\"")?;
        let (rest, previous) = match previous_at_end(rest) {
            Some((rest, previous)) => (rest, Some(previous)),
            None => (rest, None),
        };
        let torn = number_at_end(rest).and_then(|(rest, torn)| Some((rest.strip_suffix(b",\"torn\":")?, torn)));
        let (event, torn) = torn.unwrap_or((rest, 0));
        let head = Head { instance: InstanceId::parse(instance)?, seq, mac: Mac::parse(mac)? };
        (event.first() == Some(&b'{')).then_some(Self { body, event, torn, previous, head })
    }

    /// Whether its hash is the right one behind a line of this hash.
    #[must_use]
    pub fn follows(&self, previous: &Mac, key: &ChainKey) -> bool {
        key.mac(previous, self.body) == self.head.mac
    }

    /// The hash before it as far as the line itself tells: by its own word, or because it is the first.
    #[must_use]
    pub fn known_previous(&self) -> Option<Mac> {
        if self.head.seq == 1 { Some(Mac::NONE) } else { self.previous }
    }
}

fn previous_at_end(rest: &[u8]) -> Option<(&[u8], Mac)> {
    let rest = rest.strip_suffix(b"\"")?;
    let (rest, mac) = rest.split_at_checked(rest.len().checked_sub(MAC_TEXT)?)?;
    Some((rest.strip_suffix(b",\"prev\":\"")?, Mac::parse(mac)?))
}

/// A whole number without leading zeros at the end.
fn number_at_end(text: &[u8]) -> Option<(&[u8], u64)> {
    let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (rest, digits) = text.split_at_checked(text.len().checked_sub(digits)?)?;
    if digits.first().is_none_or(|first| *first == b'0') {
        return None;
    }
    Some((rest, std::str::from_utf8(digits).ok()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::event::{Actor, AuditType, Details, Outcome};
    use crate::clock::WallTime;

    fn key(secret: &str) -> ChainKey {
        ChainKey::derived_from(&Secret::new(secret))
    }

    fn chain() -> Chain {
        Chain::after(key("k"), Head::start_of(InstanceId::of_random([1; 9])))
    }

    fn event(text: &str) -> AuditEvent {
        AuditEvent::new(WallTime::from_micros(0), AuditType::SessionCreated, Outcome::Success, Actor::User)
            .with_details(Details::none().text("text", text))
    }

    fn line_of(chain: &mut Chain, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        chain.append(&event(text), &mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        out
    }

    #[test]
    fn a_line_reads_back_and_fits_only_its_place_and_its_key() {
        let mut chain = chain();
        let (first, second) = (line_of(&mut chain, "a"), line_of(&mut chain, "b"));
        let (first, second) = (Sealed::read(&first).expect("a line"), Sealed::read(&second).expect("a line"));
        assert_eq!((first.head.seq, second.head.seq), (1, 2));
        assert_eq!(second.head, chain.head());
        assert!(first.follows(&first.known_previous().expect("the first"), &key("k")));
        assert!(second.follows(&first.head.mac, &key("k")));
        assert!(!second.follows(&Mac::NONE, &key("k")));
        assert!(!second.follows(&first.head.mac, &key("other")));
        assert_eq!(second.known_previous(), None);
    }

    #[test]
    fn a_line_is_json_and_ends_in_its_place_in_the_chain() {
        let mut chain = chain();
        line_of(&mut chain, "a");
        chain.open_file(17);
        let before = chain.head().mac.to_string();
        let line = line_of(&mut chain, "b");
        let read: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(read["type"], "session.created");
        assert_eq!(read["torn"], 17);
        assert_eq!(read["prev"], before);
        assert_eq!(read["instance"], "AQEBAQEBAQEB");
        assert_eq!(read["seq"], 2);
        assert_eq!(read["mac"], chain.head().mac.to_string());
        let sealed = Sealed::read(&line).expect("a line");
        assert_eq!((sealed.torn, sealed.previous.map(|mac| mac.to_string())), (17, Some(before)));
        assert!(sealed.follows(&sealed.known_previous().expect("it says so"), &key("k")));
    }

    #[test]
    fn a_line_that_is_written_again_keeps_its_event_and_takes_its_new_place() {
        let mut chain = chain();
        let start = chain.head();
        let first = line_of(&mut chain, "a");
        chain.rewind(start);
        chain.open_file(3);
        let mut again = Vec::new();
        chain.append_again(&Sealed::read(&first).expect("a line"), &mut again);
        again.pop();
        let again = Sealed::read(&again).expect("a line");
        assert_eq!((again.head.seq, again.torn), (1, 3));
        assert!(again.event.starts_with(b"{\"time\"") && again.event.ends_with(b"\"details\":{\"text\":\"a\"}"));
    }

    #[test]
    fn any_changed_byte_is_noticed_or_makes_it_no_line() {
        let mut chain = chain();
        let line = line_of(&mut chain, "a,\"seq\":9,\"mac\":\"x\"}");
        for at in 0..line.len() {
            for flip in [1, 2, 4, 8, 16, 32, 64, 128] {
                let mut changed = line.clone();
                changed[at] ^= flip;
                let noticed = Sealed::read(&changed).is_none_or(|line| !line.follows(&Mac::NONE, &key("k")));
                assert!(noticed, "byte {at} of {}", String::from_utf8_lossy(&line));
            }
        }
    }

    #[test]
    fn what_is_no_line_is_not_read_as_one() {
        let mut chain = chain();
        let line = line_of(&mut chain, "a");
        for length in 0..line.len() {
            assert!(Sealed::read(&line[..length]).is_none());
        }
        assert!(Sealed::read(b"").is_none());
        assert!(Sealed::read(&[&line[..], b"\r"].concat()).is_none());
    }
}
