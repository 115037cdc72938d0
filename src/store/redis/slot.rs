//! Which slot of a cluster a key is in: the CRC16 of the key, or of its tag, modulo the number of slots.
//!
//! Pure. As the Cluster specification says it, with the CRC16 of its appendix A (XMODEM: polynomial 0x1021, nothing
//! reflected, 0 at the beginning and at the end).

use std::sync::LazyLock;

/// How many there are.
pub(super) const SLOTS: u16 = 16_384;

const POLYNOMIAL: u16 = 0x1021;

/// The last number that is tried as a tag.
const LAST_TAG: u32 = 110_000;

/// A slot of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot(u16);

impl Slot {
    /// Where this key is.
    pub(super) fn of(key: &[u8]) -> Self {
        Self(crc16(tag(key)) % SLOTS)
    }

    /// The one of this number, if there is one.
    pub(super) fn numbered(number: u16) -> Option<Self> {
        (number < SLOTS).then_some(Self(number))
    }

    /// As servers write it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        Self::numbered(digits.then(|| text.parse().ok())??)
    }

    pub(super) const fn number(self) -> u16 {
        self.0
    }
}

/// The first number of each slot that is a tag of keys in it.
static TAGS: LazyLock<Box<[u32]>> = LazyLock::new(|| {
    // Of so many one is there for each slot: a test holds that.
    let mut tags = vec![0; usize::from(SLOTS)];
    for number in (0..=LAST_TAG).rev() {
        if let Some(first) = tags.get_mut(usize::from(Slot::of(number.to_string().as_bytes()).0)) {
            *first = number;
        }
    }
    tags.into_boxed_slice()
});

/// A tag of keys that are in this slot.
pub(super) fn tag_in(slot: Slot) -> String {
    TAGS.get(usize::from(slot.0)).map(u32::to_string).unwrap_or_default()
}

/// What decides: what is between the first `{` and the first `}` after it, unless that is nothing.
fn tag(key: &[u8]) -> &[u8] {
    let between = || {
        let rest = key.get(key.iter().position(|byte| *byte == b'{')? + 1..)?;
        rest.get(..rest.iter().position(|byte| *byte == b'}')?)
    };
    between().filter(|tag| !tag.is_empty()).unwrap_or(key)
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        let with = sum ^ (u16::from(*byte) << 8);
        (0..8).fold(with, |sum, _| if sum & 0x8000 == 0 { sum << 1 } else { (sum << 1) ^ POLYNOMIAL })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }

    #[test]
    fn a_key_is_where_a_server_says_that_it_is() {
        // By `CLUSTER KEYSLOT` of Redis 7.0.15.
        for (key, slot) in [
            (&b""[..], 0),
            (b"123456789", 12739),
            (b"foo", 12182),
            (b"{user1000}.following", 3443),
            (b"{user1000}.followers", 3443),
            (b"foo{}{bar}", 8363),
            (b"foo{{bar}}zap", 4015),
            (b"foo{bar}{zap}", 5061),
            (b"bar", 5061),
            (b"{}", 15257),
            (b"{", 4092),
            (b"}", 12090),
            (b"a{b", 13340),
            (b"a}b{c}", 7365),
            (b"{a}{b}", 15495),
            (b"\x01\xff{\x80}", 4488),
            (b"\xff\xfe", 3374),
            (b"{\xff}", 7920),
            (b"sg:s:{AAAAAAAAAAAAAAAAAAAAAA}", 4813),
            (b"sg:order", 1328),
            (b"sg:birth", 4872),
            (b"sg:tn:{tenants}", 10927),
            (b"sg:b:{giszrYfBSKCiClunzV68qg}:12", 8183),
            (b"sg:u:{giszrYfBSKCiClunzV68qg}:eQJpm-Qsio5G-7tFAXJlFw", 8183),
        ] {
            assert_eq!(Slot::of(key).number(), slot, "{:?}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn there_is_a_tag_for_each_slot() {
        let mut found = vec![false; usize::from(SLOTS)];
        for number in 0..=LAST_TAG {
            found[usize::from(Slot::of(number.to_string().as_bytes()).number())] = true;
        }
        assert!(found.iter().all(|found| *found));
        for slot in [0, 1, 9999, SLOTS - 1].map(|number| Slot::numbered(number).expect("a slot")) {
            assert_eq!(Slot::of(format!("sg:w:{{{}}}", tag_in(slot)).as_bytes()), slot);
        }
    }

    #[test]
    fn there_is_no_slot_beyond_the_last() {
        assert_eq!(Slot::numbered(SLOTS - 1).map(Slot::number), Some(16_383));
        assert_eq!(Slot::numbered(SLOTS), None);
        assert_eq!(Slot::parse("16383"), Slot::numbered(SLOTS - 1));
        for text in ["", "-1", "+1", "16384", "65536", "1 ", "x", "[1->-aa]"] {
            assert_eq!(Slot::parse(text), None, "{text}");
        }
    }
}
