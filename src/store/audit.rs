//! What a store does for the audit logs of the gateways that use it: it keeps where their chains stand, out of reach of
//! who changes a file; and, when several gateways share it, it brings their events together.
//!
//! Neither decides anything about sessions. Lines and hashes are text here: what they mean is the audit log's matter.

use async_trait::async_trait;

use super::StoreResult;

/// Where a chain stood at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Which chain: letters, digits, `-`, `_`.
    pub instance: String,
    /// The number of its last line.
    pub seq: u64,
    /// That line's hash.
    pub mac: String,
    /// When, in microseconds since the Unix epoch.
    pub time: u64,
    /// The host and the file, for people.
    pub place: String,
}

impl Anchor {
    /// All but the chain's name, as it is stored.
    pub(super) fn encode(&self) -> String {
        format!("{} {} {} {}", self.seq, self.mac, self.time, self.place)
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(instance: &str, text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ' ');
        let seq = parts.next()?.parse().ok()?;
        let mac = parts.next()?.to_owned();
        let time = parts.next()?.parse().ok()?;
        Some(Self { instance: instance.to_owned(), seq, mac, time, place: parts.next()?.to_owned() })
    }
}

/// What became of an anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anchored {
    /// It is kept.
    Kept,
    /// The store knows a later line of this chain, or another one of this number: it keeps that. Somebody put an older
    /// file in place of the chain's own.
    Contradicted(Anchor),
}

/// Keeps where the chains stand.
#[async_trait]
pub trait AuditAnchors: Send + Sync + 'static {
    /// Keeps where a chain stands, in place of what was kept of it before.
    async fn anchor(&self, anchor: &Anchor) -> StoreResult<Anchored>;

    /// All that is kept; what is oldest is dropped when there are more than a thousand.
    async fn anchors(&self) -> StoreResult<Vec<Anchor>>;
}

/// A line on its way to the other gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLine {
    /// Its chain.
    pub instance: String,
    /// Its number.
    pub seq: u64,
    /// The line, without its line feed.
    pub line: Box<[u8]>,
}

/// A place in the stream of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamPosition {
    /// The store's time, in milliseconds since the Unix epoch.
    pub millis: u64,
    /// Which of that millisecond.
    pub count: u64,
}

/// One event of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEntry {
    /// Its place.
    pub position: StreamPosition,
    /// The line.
    pub line: Vec<u8>,
}

/// Brings the events of all gateways together, in the order in which they came. What is oldest is dropped when there is
/// more than the stream may hold.
#[async_trait]
pub trait AuditStream: Send + Sync + 'static {
    /// Adds lines, which follow each other in their chains. One that is there already is not added again.
    async fn append(&self, lines: &[SharedLine]) -> StoreResult<()>;

    /// The first `count` events behind a place, oldest first.
    async fn after(&self, position: StreamPosition, count: usize) -> StoreResult<Vec<StreamEntry>>;

    /// The last `count` events before a place (`None`: of all), newest first.
    async fn before(&self, position: Option<StreamPosition>, count: usize) -> StoreResult<Vec<StreamEntry>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_reads_back_whatever_its_place_is_called() {
        let anchor = Anchor {
            instance: "AQEB".into(),
            seq: 7,
            mac: "x".into(),
            time: 9,
            place: "a host:/with a space/audit.jsonl".into(),
        };
        assert_eq!(Anchor::decode("AQEB", &anchor.encode()), Some(anchor));
        for wrong in ["", "1", "1 x", "1 x 2", "x x 2 y", "1 x y z"] {
            assert_eq!(Anchor::decode("AQEB", wrong), None, "{wrong}");
        }
    }
}
