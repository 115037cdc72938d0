//! A session record: what was written is read, and nothing else is read as it.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use session_gateway::session::{
    Choices, Choosable, Generation, Generations, IdleLimit, Left, Line, Principal, Role, SessionId, SessionRecord,
    StoreTime, TenantId, UserAgent, UserId,
};
use session_gateway::store::codec::{decode, encode};

pub fn check(data: &[u8]) {
    if let Ok(record) = decode(data) {
        assert_eq!(encode(&record).expect("it was read"), data, "one record has one spelling");
    }
    let Some((record, rest)) = record(data) else { return };
    let bytes = encode(&record).expect("every record can be written");
    assert_eq!(decode(&bytes), Ok(record.clone()));
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "a part is no record");
    }
    assert!(decode(&[&bytes[..], &[0]].concat()).is_err(), "a record ends where it ends");
    // What a store garbles is an error or visibly another record.
    if let [at, by, ..] = rest {
        let mut garbled = bytes.clone();
        let at = usize::from(*at) % garbled.len();
        garbled[at] ^= *by;
        assert_eq!(decode(&garbled) == Ok(record), *by == 0);
    }
}

/// A record made of the bytes, and the bytes that were left.
fn record(data: &[u8]) -> Option<(SessionRecord, &[u8])> {
    let (numbers, rest) = data.split_first_chunk::<64>()?;
    let mut numbers = numbers.chunks_exact(8).map(|chunk| u64::from_be_bytes(chunk.try_into().expect("eight")));
    let mut number = || numbers.next().expect("eight of them");
    let (flags, address) = (number(), number());
    let (words, rest) = rest.split_at(rest.len().min(usize::try_from(flags >> 56).expect("a byte")));
    let mut words = words.split(|byte| *byte == 0).map(|word| std::str::from_utf8(word).unwrap_or_default());
    let mut word = || words.next().unwrap_or_default();
    let principal = Principal {
        tenant: TenantId::parse(word()).ok()?,
        user: UserId::parse(word()).ok()?,
        role: if flags & 1 > 0 { Some(Role::parse(word()).ok()?) } else { None },
    };
    let line = (flags & 32 > 0).then(|| {
        let id = |half: u64| SessionId::from_bytes(&[flags, half].map(u64::to_be_bytes).concat());
        let left =
            Left { tenant: principal.tenant.clone(), user: principal.user.clone(), generation: Generation::NONE };
        let left = (flags & 64 > 0).then_some(left);
        Box::new(Line { first: id(address), before: id(!address), until: StoreTime::from_micros(address), left })
    });
    let choosable = |tenant: &TenantId| {
        let generations =
            Generations { tenant: Generation::from_micros(flags), user: Generation::from_micros(address) };
        Choosable { tenant: tenant.clone(), generations }
    };
    let chosen = if flags & 128 > 0 {
        vec![choosable(&principal.tenant); usize::from(address.to_be_bytes()[7] % 65)]
    } else {
        Vec::new()
    };
    let record = SessionRecord {
        principal: principal.into(),
        created: StoreTime::from_micros(number()),
        deadline: StoreTime::from_micros(number()),
        idle: (flags & 2 > 0).then(|| IdleLimit::new(Duration::from_micros(address))),
        remembered: flags & 4 > 0,
        generations: Generations { tenant: Generation::from_micros(number()), user: Generation::from_micros(number()) },
        address: match flags & 24 {
            8 => Some(IpAddr::from(address.to_be_bytes().first_chunk::<4>().copied()?)),
            16 => Some(Ipv6Addr::from(u128::from(address) << 64 | u128::from(flags)).into()),
            _ => None,
        },
        user_agent: UserAgent { hash: number(), ..UserAgent::of(Some(word().as_bytes())) },
        line,
        choices: Choices::of(chosen),
    };
    Some((record, rest))
}
