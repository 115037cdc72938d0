//! The PROXY header: the same verdict however its bytes are split, and never a byte more than the header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use session_gateway::http::{ProxiedFor, ProxyHeader};

pub fn check(data: &[u8]) {
    verdict_is_reached_once(data);
    if let Some((addresses, rest)) = data.split_first_chunk::<16>() {
        what_is_written_is_read(*addresses, rest);
    }
}

/// More bytes make a verdict of "more will tell", and change no verdict.
fn verdict_is_reached_once(data: &[u8]) {
    let whole = ProxyHeader::read(data);
    if let Ok(ProxyHeader::Present { length, .. }) = whole {
        assert!(length <= data.len() && length <= 4096);
        assert_eq!(ProxyHeader::read(&data[..length]), whole, "what follows is none of its business");
        assert_eq!(ProxyHeader::read(&data[..length - 1]), Ok(ProxyHeader::Incomplete));
    }
    let mut verdict = None;
    for end in 0..=data.len().min(600) {
        let now = ProxyHeader::read(&data[..end]);
        if let Some(before) = &verdict {
            assert_eq!(&now, before, "after {end} bytes");
        } else if now != Ok(ProxyHeader::Incomplete) {
            verdict = Some(now);
        }
    }
    if let Some(verdict) = verdict {
        assert_eq!(verdict, whole);
    }
}

fn what_is_written_is_read(addresses: [u8; 16], rest: &[u8]) {
    let v6 = Ipv6Addr::from(addresses);
    let v4 = Ipv4Addr::new(addresses[0], addresses[1], addresses[2], addresses[3]);
    let port = u16::from_be_bytes([addresses[4], addresses[5]]);
    let headers: [(Vec<u8>, IpAddr); 4] = [
        (format!("PROXY TCP4 {v4} 192.0.2.1 {port} 443\r\n").into_bytes(), v4.into()),
        (format!("PROXY TCP6 {v6} 2001:db8::1 {port} 443\r\n").into_bytes(), v6.to_canonical()),
        (v2(0x11, &[&v4.octets()[..], &[192, 0, 2, 1], &port.to_be_bytes(), &[1, 187]].concat()), v4.into()),
        (v2(0x21, &[&addresses[..], &addresses, &port.to_be_bytes(), &[1, 187]].concat()), v6.to_canonical()),
    ];
    for (header, address) in headers {
        let expected = Ok(ProxyHeader::Present { proxied_for: ProxiedFor::Client(address), length: header.len() });
        assert_eq!(ProxyHeader::read(&[&header, rest].concat()), expected);
    }
}

fn v2(family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).expect("short");
    [&b"\r\n\r\n\0\r\nQUIT\n\x21"[..], &[family], &length.to_be_bytes(), addresses].concat()
}
