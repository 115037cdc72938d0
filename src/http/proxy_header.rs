//! The PROXY protocol's header, versions 1 and 2: what a proxy in front says of the connection that it passes on.
//!
//! Pure: bytes in, meaning out; fed with what has come so far as often as more comes. It never looks past the header's
//! own length, and it repairs nothing: a header that is not exactly what the specification says is no header
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>). Whether a peer may send one at all is not its
//! business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The longest header of version 1, its line end included (section 2.1).
const LONGEST_V1: usize = 107;
/// The longest header of version 2 that is read: addresses take 36 bytes, extensions what the proxy adds (a client
/// certificate's names, a trace id). The format allows 64 KiB.
const LONGEST_V2: usize = 4096;

const V1: &[u8] = b"PROXY ";
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length.
const V2_FIXED: usize = 16;

/// Whose connection the proxy passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxiedFor {
    /// A client's, which has this address at the proxy.
    Client(IpAddr),
    /// The proxy's own (a health check), or one of which it says nothing that can be used: the address is the
    /// connection's.
    Itself,
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The beginning of a header, perhaps: more bytes will tell.
    Incomplete,
    /// Something else.
    Absent,
    /// A header of this many bytes; what follows is the connection's own.
    Present {
        /// What it says.
        proxied_for: ProxiedFor,
        /// Its length in bytes.
        length: usize,
    },
}

/// Bytes that begin like a header and are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the PROXY header is malformed: {0}")]
pub struct MalformedProxyHeader(&'static str);

impl ProxyHeader {
    /// Reads what has come so far.
    ///
    /// Both signatures are unmistakable: no served request and no TLS handshake begins with either.
    ///
    /// # Errors
    /// When it begins like a header and cannot become one.
    pub fn read(bytes: &[u8]) -> Result<Self, MalformedProxyHeader> {
        if let Some(rest) = bytes.strip_prefix(V1) {
            read_v1(bytes, rest)
        } else if bytes.starts_with(V2) {
            read_v2(bytes)
        } else if V1.starts_with(bytes) || V2.starts_with(bytes) {
            Ok(Self::Incomplete)
        } else {
            Ok(Self::Absent)
        }
    }
}

/// `PROXY TCP4 client server client-port server-port`, single spaces, ended by CR LF.
fn read_v1(bytes: &[u8], rest: &[u8]) -> Result<ProxyHeader, MalformedProxyHeader> {
    let Some(end) = memchr::memchr(b'\n', bytes.get(..LONGEST_V1).unwrap_or(bytes)) else {
        if bytes.len() >= LONGEST_V1 {
            return Err(MalformedProxyHeader("the line is too long"));
        }
        return Ok(ProxyHeader::Incomplete);
    };
    let line = rest
        .get(..end.saturating_sub(V1.len()))
        .and_then(|line| line.strip_suffix(b"\r"))
        .and_then(|line| std::str::from_utf8(line).ok())
        .filter(|line| line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()))
        .ok_or(MalformedProxyHeader("the line is not text that ends in CR LF"))?;
    let mut words = line.split(' ');
    let proxied_for = match words.next() {
        // What else stands on the line is to be ignored.
        Some("UNKNOWN") => ProxiedFor::Itself,
        Some("TCP4") => ProxiedFor::Client(v1_client::<Ipv4Addr>(words)?),
        Some("TCP6") => ProxiedFor::Client(v1_client::<Ipv6Addr>(words)?),
        _ => return Err(MalformedProxyHeader("the protocol is not TCP4, TCP6 or UNKNOWN")),
    };
    Ok(ProxyHeader::Present { proxied_for, length: end + 1 })
}

fn v1_client<'a, A>(mut words: impl Iterator<Item = &'a str>) -> Result<IpAddr, MalformedProxyHeader>
where
    A: FromStr + Into<IpAddr>,
{
    let mut address = || words.next().and_then(|word| word.parse::<A>().ok());
    let (Some(client), Some(_)) = (address(), address()) else {
        return Err(MalformedProxyHeader("the addresses are not of the protocol"));
    };
    let mut port = || words.next().filter(|word| is_port(word));
    let (Some(_), Some(_), None) = (port(), port(), words.next()) else {
        return Err(MalformedProxyHeader("there are not two ports at the end"));
    };
    Ok(client.into().to_canonical())
}

fn is_port(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit()) && word.parse::<u16>().is_ok()
}

fn read_v2(bytes: &[u8]) -> Result<ProxyHeader, MalformedProxyHeader> {
    let Some(&[version_command, family_transport, high, low]) = bytes.get(V2.len()..V2_FIXED) else {
        return Ok(ProxyHeader::Incomplete);
    };
    let is_local = match version_command {
        0x20 => true,
        0x21 => false,
        _ => return Err(MalformedProxyHeader("the version or command is unknown")),
    };
    if family_transport >> 4 > 3 || family_transport & 0xf > 2 {
        return Err(MalformedProxyHeader("the family or transport is unknown"));
    }
    let length = V2_FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_V2 {
        return Err(MalformedProxyHeader("it is longer than 4096 bytes"));
    }
    let Some(addresses) = bytes.get(V2_FIXED..length) else { return Ok(ProxyHeader::Incomplete) };
    let too_short = MalformedProxyHeader("the addresses are cut off");
    let proxied_for = match family_transport {
        _ if is_local => ProxiedFor::Itself,
        // Source, destination and two ports.
        0x11 if addresses.len() < 12 => return Err(too_short),
        0x21 if addresses.len() < 36 => return Err(too_short),
        0x11 => ProxiedFor::Client(Ipv4Addr::from(*addresses.first_chunk::<4>().ok_or(too_short)?).into()),
        0x21 => ProxiedFor::Client(
            IpAddr::from(Ipv6Addr::from(*addresses.first_chunk::<16>().ok_or(too_short)?)).to_canonical(),
        ),
        // Unspecified, unix sockets, datagrams: of none of these is there an address to use.
        _ => ProxiedFor::Itself,
    };
    Ok(ProxyHeader::Present { proxied_for, length })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(version_command: u8, family_transport: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).expect("a short payload").to_be_bytes();
        [&V2[..], &[version_command, family_transport], &length, payload].concat()
    }

    fn client(address: &str) -> ProxiedFor {
        ProxiedFor::Client(address.parse().expect(address))
    }

    const FOUR: [u8; 12] = [203, 0, 113, 9, 10, 0, 0, 1, 0xd4, 0x31, 1, 0xbb];

    fn six(first: [u8; 16]) -> Vec<u8> {
        [&first[..], &[0; 20]].concat()
    }

    #[test]
    fn a_header_is_read_to_its_end_and_no_further() {
        let documentation = Ipv6Addr::from_str("2001:db8::9").expect("an address").octets();
        let mapped = Ipv6Addr::from_str("::ffff:203.0.113.9").expect("an address").octets();
        let extended = [&FOUR[..], &[0x03, 0, 4, 1, 2, 3, 4], &[0xee; 200]].concat();
        for (row, header, expected) in [
            ("TCP4", b"PROXY TCP4 203.0.113.9 10.0.0.1 54321 443\r\n".to_vec(), client("203.0.113.9")),
            ("TCP6", b"PROXY TCP6 2001:db8::9 ::1 1 65535\r\n".to_vec(), client("2001:db8::9")),
            ("a mapped address", b"PROXY TCP6 ::ffff:203.0.113.9 ::1 1 2\r\n".to_vec(), client("203.0.113.9")),
            ("UNKNOWN", b"PROXY UNKNOWN\r\n".to_vec(), ProxiedFor::Itself),
            ("UNKNOWN with more", b"PROXY UNKNOWN ffff:f...f:ffff x 65535 0\r\n".to_vec(), ProxiedFor::Itself),
            ("v2 TCP over IPv4", v2(0x21, 0x11, &FOUR), client("203.0.113.9")),
            ("v2 with extensions", v2(0x21, 0x11, &extended), client("203.0.113.9")),
            ("v2 TCP over IPv6", v2(0x21, 0x21, &six(documentation)), client("2001:db8::9")),
            ("v2 mapped", v2(0x21, 0x21, &six(mapped)), client("203.0.113.9")),
            ("v2 LOCAL", v2(0x20, 0x00, &[]), ProxiedFor::Itself),
            ("v2 LOCAL with addresses, to be ignored", v2(0x20, 0x11, &FOUR), ProxiedFor::Itself),
            ("v2 unspecified", v2(0x21, 0x00, &[]), ProxiedFor::Itself),
            ("v2 unix", v2(0x21, 0x31, &[0; 216]), ProxiedFor::Itself),
            ("v2 datagrams", v2(0x21, 0x12, &FOUR), ProxiedFor::Itself),
        ] {
            let length = header.len();
            let expected = Ok(ProxyHeader::Present { proxied_for: expected, length });
            let followed = [&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(ProxyHeader::read(&header), expected, "{row}");
            assert_eq!(ProxyHeader::read(&followed), expected, "{row}, followed by a request");
            for cut in 0..length {
                assert_eq!(ProxyHeader::read(&header[..cut]), Ok(ProxyHeader::Incomplete), "{row}, cut at {cut}");
            }
        }
    }

    #[test]
    fn what_begins_otherwise_is_no_header() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"POST / HTTP/1.1\r\n",
            b"PROXYX",
            b"proxy TCP4",
            b"\r\nGET / HTTP/1.1\r\n",
            b"\r\n\r\n\0\r\nQUIT ",
            b"\x16\x03\x01\x02\x00",
            b"\0",
        ] {
            assert_eq!(ProxyHeader::read(bytes), Ok(ProxyHeader::Absent), "{bytes:?}");
        }
    }

    #[test]
    fn what_begins_like_a_header_and_is_none_is_refused() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP5 203.0.113.9 10.0.0.1 1 2\r\n",
            "PROXY tcp4 203.0.113.9 10.0.0.1 1 2\r\n",
            "PROXY TCP4 2001:db8::9 ::1 1 2\r\n",
            "PROXY TCP6 203.0.113.9 10.0.0.1 1 2\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 1\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 1 65536\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 1 -2\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 1 +2\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 1 \r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 1 2 3\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 1 2 \r\n",
            "PROXY TCP4  203.0.113.9 10.0.0.1 1 2\r\n",
            "PROXY TCP4 203.0.113.9\t10.0.0.1 1 2\r\n",
            "PROXY TCP4 203.0.113.256 10.0.0.1 1 2\r\n",
            "PROXY TCP4 203.0.113.9 10.0.0.1 1 2\n",
            "PROXY UNKNOWN\0\r\n",
            "PROXY UNKNOWN\r\r\n",
        ] {
            assert!(ProxyHeader::read(line.as_bytes()).is_err(), "{line:?}");
        }
        let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
        assert!(ProxyHeader::read(&endless).is_err(), "a line without end");
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 92], b"\r\n"].concat();
        assert!(ProxyHeader::read(&long).is_err(), "a line of 108 bytes");
        for (row, header) in [
            ("version 1", v2(0x11, 0x11, &FOUR)),
            ("an unknown command", v2(0x22, 0x11, &FOUR)),
            ("an unknown family", v2(0x21, 0x41, &FOUR)),
            ("an unknown transport", v2(0x21, 0x13, &FOUR)),
            ("IPv4 cut off", v2(0x21, 0x11, &FOUR[..11])),
            ("IPv6 cut off", v2(0x21, 0x21, &[0; 35])),
            ("too long", v2(0x21, 0x11, &[0; 4081])),
        ] {
            assert!(ProxyHeader::read(&header).is_err(), "{row}");
        }
    }

    /// Bytes that are nearly a header: a true one with a few of its bytes changed, cut anywhere.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let whole = prop_oneof![
            Just(b"PROXY TCP4 203.0.113.9 10.0.0.1 54321 443\r\n".to_vec()),
            Just(v2(0x21, 0x11, &FOUR)),
            Just(v2(0x21, 0x21, &[7; 60])),
            prop::collection::vec(any::<u8>(), 0..300),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|rest| [V1, &rest].concat()),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|rest| [&V2[..], &rest].concat()),
        ];
        (whole, prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3), any::<prop::sample::Index>())
            .prop_map(|(mut bytes, changes, cut)| {
                for (at, byte) in changes {
                    if !bytes.is_empty() {
                        let at = at.index(bytes.len());
                        bytes[at] = byte;
                    }
                }
                bytes.truncate(cut.index(bytes.len() + 1).max(bytes.len() / 2));
                bytes
            })
    }

    proptest! {
        #[test]
        fn whatever_comes_the_answer_is_bounded_and_more_bytes_never_change_it(bytes in nearly()) {
            let answer = ProxyHeader::read(&bytes);
            let followed = [&bytes[..], b" 1.2.3.4\r\n"].concat();
            match answer {
                Ok(ProxyHeader::Incomplete) => prop_assert!(bytes.len() < LONGEST_V2),
                Ok(ProxyHeader::Present { length, .. }) => {
                    prop_assert!(length <= bytes.len() && length <= LONGEST_V2);
                    prop_assert_eq!(ProxyHeader::read(&bytes[..length]), answer);
                    prop_assert_eq!(ProxyHeader::read(&bytes[..length - 1]), Ok(ProxyHeader::Incomplete));
                    prop_assert_eq!(ProxyHeader::read(&followed), answer);
                }
                Ok(ProxyHeader::Absent) | Err(_) => prop_assert_eq!(ProxyHeader::read(&followed), answer),
            }
        }
    }
}
