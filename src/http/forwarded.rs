//! Who is at the other end, where proxies of our own stand in between.
//!
//! `X-Forwarded-For` is a list that anyone can begin and each proxy appends to. It is read from the right, and only as
//! far as each address on the way is a proxy that the operator named; the first other one is the client. What stands
//! left of it was written by the client and is never looked at.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ::http::header::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::Scheme;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// No chain of real proxies is longer.
const MOST_HOPS: usize = 32;

/// The client's address: the peer's, or what trusted proxies say about it. An entry that is no address ends the walk at
/// the last address that was vouched for. IPv4 addresses inside IPv6 ones come out as IPv4.
#[must_use]
pub fn client_address(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> IpAddr {
    let mut verified = peer.to_canonical();
    if !is_trusted(verified, trusted) {
        return verified;
    }
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries.take(MOST_HOPS) {
        let entry = entry.trim_ascii();
        if entry.is_empty() {
            continue;
        }
        let Some(address) = parse_address(entry) else { break };
        verified = address;
        if !is_trusted(verified, trusted) {
            break;
        }
    }
    verified
}

/// The scheme that the client used, as the nearest proxy says it. `None` when the peer is not trusted or says nothing
/// that can be understood.
#[must_use]
pub fn forwarded_proto(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap) -> Option<Scheme> {
    if !is_trusted(peer.to_canonical(), trusted) {
        return None;
    }
    let line = headers.get_all(X_FORWARDED_PROTO).iter().next_back()?;
    let nearest = line.as_bytes().rsplit(|byte| *byte == b',').next()?.trim_ascii();
    if nearest.eq_ignore_ascii_case(b"https") {
        Some(Scheme::Https)
    } else if nearest.eq_ignore_ascii_case(b"http") {
        Some(Scheme::Http)
    } else {
        None
    }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// `ip`, `ip:port`, `[v6]` or `[v6]:port`.
fn parse_address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "fd00::/8", "127.0.0.1/32"].iter().map(|net| net.parse().expect("a network")).collect()
    }

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_str(line).expect(line))).collect()
    }

    #[test]
    fn the_list_is_walked_from_the_right_past_trusted_proxies_only() {
        let many = vec!["10.0.0.9"; 100].join(",");
        for (row, peer, lines, expected) in [
            ("direct", "203.0.113.9", &[][..], "203.0.113.9"),
            ("direct, forged header", "203.0.113.9", &["1.1.1.1"], "203.0.113.9"),
            ("one proxy", "10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("one proxy, forged beginning", "10.0.0.1", &["127.0.0.1, 10.0.0.5, 203.0.113.9"], "203.0.113.9"),
            ("two proxies", "10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            ("two lines are one list", "10.0.0.1", &["1.1.1.1, 203.0.113.9", "10.0.0.2"], "203.0.113.9"),
            ("proxies only", "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("no header", "10.0.0.1", &[], "10.0.0.1"),
            ("an empty header", "10.0.0.1", &[""], "10.0.0.1"),
            ("empty entries", "10.0.0.1", &["203.0.113.9, ,"], "203.0.113.9"),
            ("with a port", "10.0.0.1", &["203.0.113.9:1234"], "203.0.113.9"),
            ("IPv6", "fd00::1", &["2001:db8::1"], "2001:db8::1"),
            ("IPv6 in brackets", "10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("IPv6 with a port", "10.0.0.1", &["[2001:db8::1]:443"], "2001:db8::1"),
            ("a mapped peer", "::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("a mapped entry", "10.0.0.1", &["203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9"),
            ("a mapped client", "10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("garbage", "10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            ("garbage further left", "10.0.0.1", &["203.0.113.9, _x, 10.0.0.2"], "10.0.0.2"),
            ("garbage left of the client", "10.0.0.1", &["garbage, 203.0.113.9"], "203.0.113.9"),
            ("not quite an address", "10.0.0.1", &["203.0.113.9.1"], "10.0.0.1"),
            ("a zone", "10.0.0.1", &["fe80::1%eth0"], "10.0.0.1"),
            ("an endless list", "10.0.0.1", &["203.0.113.9", &many], "10.0.0.9"),
        ] {
            let headers = headers(&X_FORWARDED_FOR, lines);
            let address = client_address(peer.parse().expect(peer), &trusted(), &headers);
            assert_eq!(address.to_string(), expected, "{row}");
        }
    }

    #[test]
    fn the_scheme_is_believed_from_the_nearest_trusted_proxy_only() {
        for (peer, lines, expected) in [
            ("10.0.0.1", &["https"][..], Some(Scheme::Https)),
            ("10.0.0.1", &["HTTP"], Some(Scheme::Http)),
            ("10.0.0.1", &["https, http"], Some(Scheme::Http)),
            ("10.0.0.1", &["http", "https"], Some(Scheme::Https)),
            ("10.0.0.1", &["wss"], None),
            ("10.0.0.1", &[], None),
            ("203.0.113.9", &["https"], None),
        ] {
            let headers = headers(&X_FORWARDED_PROTO, lines);
            assert_eq!(forwarded_proto(peer.parse().expect(peer), &trusted(), &headers), expected, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_an_untrusted_client_writes_changes_its_address(text in "[ -~]{0,60}") {
            let peer: IpAddr = "203.0.113.9".parse().expect("an address");
            prop_assert_eq!(client_address(peer, &trusted(), &headers(&X_FORWARDED_FOR, &[&text])), peer);
            // Behind a proxy that appends the peer's address, neither.
            let appended = format!("{text}, 203.0.113.9");
            let proxy = "10.0.0.1".parse().expect("an address");
            prop_assert_eq!(client_address(proxy, &trusted(), &headers(&X_FORWARDED_FOR, &[&appended])), peer);
        }
    }
}
