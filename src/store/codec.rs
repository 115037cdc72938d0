//! The bytes of a session record, the same in every store.
//!
//! One version byte, then a MessagePack array. Decoding is total: whatever bytes come back from a store give a record
//! or an error, never a panic and never a half-read record. A version that this build does not know is an error too,
//! which the stores report as unavailable: a newer gateway's sessions are not ours to call absent. Which version is
//! written depends on what there is to write: sessions of one tenant alone are read by gateways from before there were
//! others.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::clock::micros;
use crate::session::{
    Choices, Choosable, Generation, Generations, IdleLimit, Left, Line, MOST_TENANTS, Principal, Role, SessionId,
    SessionRecord, StoreTime, TenantId, UserAgent, UserAgentSummary, UserId,
};

/// The layout of a session of one tenant.
const VERSION: u8 = 3;
/// That of one which may choose from several.
const WITH_CHOICES: u8 = 4;

/// No record of one tenant that was ever written is longer: five texts of 128 characters, one of 48, two ids and ten
/// numbers.
const LONGEST: usize = 1024;
/// Nor any other: each tenant to choose is a text of 128 characters and two numbers.
const LONGEST_WITH_CHOICES: usize = LONGEST + MOST_TENANTS * 160;

/// Most records fit into so many bytes, so that writing one grows no buffer.
const USUAL: usize = 128;

/// Why bytes are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There are none.
    #[error("a session record is empty")]
    Empty,
    /// There are so many.
    #[error("a session record of {0} bytes is longer than any that was written")]
    TooLong(usize),
    /// Another version wrote them.
    #[error("a session record has version {0}, which this version of the gateway does not know")]
    Version(u8),
    /// They are not what was written, and why.
    #[error("a session record is not what was written: {0}")]
    Malformed(String),
}

/// The array, in the order that is stored. Times are microseconds.
#[derive(Serialize, Deserialize)]
struct Stored<'a>(
    &'a str,
    &'a str,
    Option<&'a str>,
    u64,
    u64,
    Option<u64>,
    u64,
    u64,
    Option<Address>,
    u64,
    bool,
    &'a str,
    #[serde(borrow)] Option<StoredLine<'a>>,
);

/// Where a rotated session came from: the first of its line and the one before (as 22 characters), until when that has
/// its moment, and whom the session left.
#[derive(Serialize, Deserialize)]
struct StoredLine<'a>(&'a str, &'a str, u64, #[serde(borrow)] Option<StoredLeft<'a>>);

/// Tenant, user and the user's generation.
#[derive(Serialize, Deserialize)]
struct StoredLeft<'a>(&'a str, &'a str, u64);

/// A record of version 4: as before, and the tenants that may be chosen.
#[derive(Serialize, Deserialize)]
struct StoredWithChoices<'a>(#[serde(borrow)] Stored<'a>, #[serde(borrow)] Vec<StoredChoice<'a>>);

/// A tenant, its generation and the user's there.
#[derive(Serialize, Deserialize)]
struct StoredChoice<'a>(&'a str, u64, u64);

/// The bytes of a record.
///
/// # Errors
/// None that a record can cause; the serialiser's signature has them.
pub fn encode(record: &SessionRecord) -> Result<Vec<u8>, CodecError> {
    let stored = Stored(
        record.principal.tenant.kept(),
        record.principal.user.kept(),
        record.principal.role.as_ref().map(Role::as_str),
        record.created.as_micros(),
        record.deadline.as_micros(),
        record.idle.map(|idle| micros(idle.limit())),
        record.generations.tenant.as_micros(),
        record.generations.user.as_micros(),
        record.address.map(Address),
        record.user_agent.hash,
        record.remembered,
        record.user_agent.summary.as_str(),
        record.line.as_ref().map(|line| {
            let Line { first, before, until, left } = &**line;
            let left = left.as_ref().map(|Left { tenant, user, generation }| {
                StoredLeft(tenant.kept(), user.kept(), generation.as_micros())
            });
            StoredLine(first.as_str(), before.as_str(), until.as_micros(), left)
        }),
    );
    let mut bytes = Vec::with_capacity(USUAL);
    match &record.choices {
        None => {
            bytes.push(VERSION);
            rmp_serde::encode::write(&mut bytes, &stored).map_err(malformed)?;
        }
        Some(choices) => {
            let choices = choices.as_slice().iter().map(|Choosable { tenant, generations }| {
                StoredChoice(tenant.kept(), generations.tenant.as_micros(), generations.user.as_micros())
            });
            let choices = choices.collect();
            bytes.push(WITH_CHOICES);
            rmp_serde::encode::write(&mut bytes, &StoredWithChoices(stored, choices)).map_err(malformed)?;
        }
    }
    Ok(bytes)
}

/// The record of bytes that [`encode`] made.
///
/// # Errors
/// For all other bytes.
pub fn decode(bytes: &[u8]) -> Result<SessionRecord, CodecError> {
    let (version, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    let longest = if *version == WITH_CHOICES { LONGEST_WITH_CHOICES } else { LONGEST };
    if bytes.len() > longest {
        return Err(CodecError::TooLong(bytes.len()));
    }
    let mut reader = rmp_serde::Deserializer::from_read_ref(body);
    let (stored, choices) = match *version {
        VERSION => (Stored::deserialize(&mut reader).map_err(malformed)?, Vec::new()),
        WITH_CHOICES => {
            let StoredWithChoices(stored, choices) = StoredWithChoices::deserialize(&mut reader).map_err(malformed)?;
            (stored, choices)
        }
        version => return Err(CodecError::Version(version)),
    };
    let Stored(tenant, user, role, created, deadline, idle, in_tenant, of_user, address, hash, kept, summary, line) =
        stored;
    let record = SessionRecord {
        principal: Arc::new(Principal {
            tenant: tenant_of(tenant)?,
            user: user_of(user)?,
            role: role.map(Role::parse).transpose().map_err(|error| malformed(format!("the role {error}")))?,
        }),
        created: StoreTime::from_micros(created),
        deadline: StoreTime::from_micros(deadline),
        idle: idle.map(|limit| IdleLimit::new(Duration::from_micros(limit))),
        remembered: kept,
        generations: Generations { tenant: Generation::from_micros(in_tenant), user: Generation::from_micros(of_user) },
        address: address.map(|Address(address)| address),
        user_agent: UserAgent {
            hash,
            summary: UserAgentSummary::parse(summary).ok_or_else(|| malformed("the user agent is no summary"))?,
        },
        line: line.map(line_of).transpose()?,
        choices: Choices::of(choices.into_iter().map(choosable).collect::<Result<_, _>>()?),
    };
    // One record has one spelling. This also refuses bytes after the record, which the reader leaves unread.
    if encode(&record)? != bytes {
        return Err(malformed("it is not in the form that is written"));
    }
    Ok(record)
}

fn line_of(StoredLine(first, before, until, left): StoredLine<'_>) -> Result<Box<Line>, CodecError> {
    let id = |text: &str| SessionId::parse(text.as_bytes()).ok_or_else(|| malformed("an id of its line is none"));
    let left = left.map(|StoredLeft(tenant, user, generation)| {
        let (tenant, user) = (tenant_of(tenant)?, user_of(user)?);
        Ok::<_, CodecError>(Left { tenant, user, generation: Generation::from_micros(generation) })
    });
    let (first, before, until) = (id(first)?, id(before)?, StoreTime::from_micros(until));
    Ok(Box::new(Line { first, before, until, left: left.transpose()? }))
}

fn choosable(StoredChoice(tenant, in_tenant, user): StoredChoice<'_>) -> Result<Choosable, CodecError> {
    let generations = Generations { tenant: Generation::from_micros(in_tenant), user: Generation::from_micros(user) };
    Ok(Choosable { tenant: tenant_of(tenant)?, generations })
}

fn tenant_of(text: &str) -> Result<TenantId, CodecError> {
    TenantId::parse_kept(text).map_err(|error| malformed(format!("the tenant {error}")))
}

fn user_of(text: &str) -> Result<UserId, CodecError> {
    UserId::parse_kept(text).map_err(|error| malformed(format!("the user {error}")))
}

fn malformed(cause: impl fmt::Display) -> CodecError {
    CodecError::Malformed(cause.to_string())
}

/// An address as its 4 or 16 bytes; serde's own form costs twice as much.
struct Address(IpAddr);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            IpAddr::V4(address) => serializer.serialize_bytes(&address.octets()),
            IpAddr::V6(address) => serializer.serialize_bytes(&address.octets()),
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(AddressBytes)
    }
}

struct AddressBytes;

impl de::Visitor<'_> for AddressBytes {
    type Value = Address;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an address of 4 or 16 bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Address, E> {
        if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
            return Ok(Address(Ipv4Addr::from(octets).into()));
        }
        let octets = <[u8; 16]>::try_from(bytes).map_err(|_| E::invalid_length(bytes.len(), &self))?;
        Ok(Address(Ipv6Addr::from(octets).into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn records() -> impl Strategy<Value = SessionRecord> {
        let text = "[!-+\\--~]{1,128}";
        (
            (text, text, proptest::option::of(text)),
            (any::<u64>(), any::<u64>(), proptest::option::of(any::<u64>())),
            (any::<u64>(), any::<u64>(), proptest::option::of(any::<IpAddr>()), any::<u64>(), any::<bool>()),
            ("[ -~]{0,48}", lines(), choices()),
        )
            .prop_map(
                |(
                    (tenant, user, role),
                    (created, deadline, idle),
                    (tenants, users, address, hash, kept),
                    (summary, line, choices),
                )| {
                    SessionRecord {
                        principal: Arc::new(Principal {
                            tenant: TenantId::parse(&tenant).expect("made of visible ASCII"),
                            user: UserId::parse(&user).expect("made of visible ASCII"),
                            role: role.map(|role| Role::parse(&role).expect("made of visible ASCII")),
                        }),
                        created: StoreTime::from_micros(created),
                        deadline: StoreTime::from_micros(deadline),
                        idle: idle.map(|limit| IdleLimit::new(Duration::from_micros(limit))),
                        remembered: kept,
                        generations: Generations {
                            tenant: Generation::from_micros(tenants),
                            user: Generation::from_micros(users),
                        },
                        address,
                        user_agent: UserAgent { hash, summary: UserAgentSummary::parse(&summary).expect("printable") },
                        line,
                        choices,
                    }
                },
            )
    }

    fn choices() -> impl Strategy<Value = Option<Box<Choices>>> {
        let choosable =
            ("[!-+\\--~]{1,128}", any::<u64>(), any::<u64>()).prop_map(|(tenant, in_tenant, user)| Choosable {
                tenant: TenantId::parse(&tenant).expect("made of visible ASCII"),
                generations: Generations {
                    tenant: Generation::from_micros(in_tenant),
                    user: Generation::from_micros(user),
                },
            });
        proptest::collection::vec(choosable, 0..=MOST_TENANTS).prop_map(Choices::of)
    }

    fn lines() -> impl Strategy<Value = Option<Box<Line>>> {
        let (id, text) = ("[A-Za-z0-9_-]{22}", "[!-+\\--~]{1,128}");
        let left = proptest::option::of((text, text, any::<u64>()));
        let line = (id, id, any::<u64>(), left).prop_map(|(first, before, until, left)| {
            let id = |text: String| SessionId::parse(text.as_bytes()).expect("22 characters of base64url");
            let left = left.map(|(tenant, user, generation)| Left {
                tenant: TenantId::parse(&tenant).expect("made of visible ASCII"),
                user: UserId::parse(&user).expect("made of visible ASCII"),
                generation: Generation::from_micros(generation),
            });
            Box::new(Line { first: id(first), before: id(before), until: StoreTime::from_micros(until), left })
        });
        proptest::option::of(line)
    }

    proptest! {
        #[test]
        fn a_record_survives_the_store(record in records()) {
            let bytes = encode(&record).expect("every record can be written");
            let longest = if record.choices.is_some() { LONGEST_WITH_CHOICES } else { LONGEST };
            prop_assert!(bytes.len() <= longest);
            prop_assert_eq!(decode(&bytes), Ok(record));
        }

        #[test]
        fn whatever_comes_back_from_a_store_is_a_record_or_an_error(
            version in prop_oneof![Just(VERSION), Just(WITH_CHOICES), any::<u8>()],
            body in proptest::collection::vec(any::<u8>(), 0..1200),
        ) {
            let mut bytes = vec![version];
            bytes.extend(body);
            let _ = decode(&bytes);
        }

        #[test]
        fn a_record_with_one_byte_changed_is_an_error_or_another_record(
            record in records(), at in any::<prop::sample::Index>(), by in 1..=255_u8,
        ) {
            let mut bytes = encode(&record).expect("every record can be written");
            let at = at.index(bytes.len());
            bytes[at] = bytes[at].wrapping_add(by);
            prop_assert_ne!(decode(&bytes), Ok(record));
        }
    }

    fn sample() -> SessionRecord {
        SessionRecord {
            principal: Arc::new(Principal {
                tenant: TenantId::parse("acme").expect("visible ASCII"),
                user: UserId::parse("7").expect("visible ASCII"),
                role: None,
            }),
            created: StoreTime::from_micros(1),
            deadline: StoreTime::from_micros(2),
            idle: None,
            remembered: false,
            generations: Generations::default(),
            address: Some(IpAddr::from([192, 0, 2, 1])),
            user_agent: UserAgent { hash: 3, summary: UserAgentSummary::parse("curl/8").expect("printable") },
            line: None,
            choices: None,
        }
    }

    #[test]
    fn the_layout_of_version_3_never_changes() {
        let bytes = encode(&sample()).expect("every record can be written");
        assert_eq!(
            bytes,
            [
                3, 0x9d, // version 3, an array of 13
                0xa4, b'a', b'c', b'm', b'e', 0xa1, b'7', 0xc0, // tenant, user, no role
                1, 2, 0xc0, // created, absolute deadline, no idle limit
                0, 0, // generations of tenant and user
                0xc4, 4, 192, 0, 2, 1, // address
                3, 0xc2, // hash of the user agent, not remembered
                0xa6, b'c', b'u', b'r', b'l', b'/', b'8', // the user agent for people
                0xc0, // no line
            ]
        );
    }

    #[test]
    fn the_layout_of_version_4_never_changes() {
        let tenant = TenantId::parse("bolt").expect("visible ASCII");
        let generations = Generations { tenant: Generation::from_micros(5), user: Generation::from_micros(6) };
        let choices = Choices::of(vec![Choosable { tenant, generations }]);
        let bytes = encode(&SessionRecord { choices, ..sample() }).expect("every record can be written");
        let of_one_tenant = encode(&sample()).expect("every record can be written");
        // Version 4, an array of two: what version 3 has, and a list of one.
        let expected =
            [&[4, 0x92][..], &of_one_tenant[1..], &[0x91, 0x93, 0xa4, b'b', b'o', b'l', b't', 5, 6]].concat();
        assert_eq!(bytes, expected);
        let of_none = [&[4, 0x92][..], &of_one_tenant[1..], &[0x90]].concat();
        assert!(matches!(decode(&of_none), Err(CodecError::Malformed(_))), "a choice of nothing was never written");
    }

    #[test]
    fn what_was_never_written_says_what_it_is() {
        let good = encode(&sample()).expect("every record can be written");
        let mut newer = good.clone();
        newer[0] = 5;
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(decode(&[]), Err(CodecError::Empty));
        assert_eq!(decode(&newer), Err(CodecError::Version(5)));
        assert_eq!(decode(&[VERSION; 2000]), Err(CodecError::TooLong(2000)));
        for broken in [&good[..good.len() - 1], &longer, b"\x03", b"\x03\xc0", b"\x03\xdd\xff\xff\xff\xff"] {
            assert!(matches!(decode(broken), Err(CodecError::Malformed(_))), "{broken:?}");
        }
    }

    #[test]
    fn an_identity_value_that_would_split_a_header_is_not_read_back() {
        let mut bytes = encode(&sample()).expect("every record can be written");
        let at = bytes.iter().position(|byte| *byte == b'c').expect("the tenant is acme");
        bytes[at] = b',';
        assert!(matches!(decode(&bytes), Err(CodecError::Malformed(_))));
    }
}
