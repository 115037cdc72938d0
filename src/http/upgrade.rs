//! Requests that want to leave HTTP (RFC 9110 section 7.8), WebSocket's above all (RFC 6455 section 4).
//!
//! What a client asks for is taken out of its headers, judged, and written anew for the backend; a backend's 101 is
//! held to what was asked. Never passed on: a switch to another version of HTTP or to TLS, after which requests would
//! reach the backend that the gateway never saw.

use ::http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    TRANSFER_ENCODING, UPGRADE,
};
use ::http::{Method, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Refusal;

/// What RFC 6455 section 1.3 appends to the key.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The longest name of a protocol.
const LONGEST_PROTOCOL: usize = 64;

/// A protocol beside WebSocket that a route lets requests switch to (`routes.upgrade`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolName(Box<str>);

impl ProtocolName {
    /// Reads a name, with or without a version: `"name"` stands for `name/1` as well.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if is_websocket(text.as_bytes()) {
            return Err("always passes; leave it out");
        }
        let fine = is_protocol(text.as_bytes());
        fine.then(|| Self(text.into()))
            .ok_or("is not the name of a protocol, or is one of HTTP's own, which never pass")
    }

    fn is(&self, offered: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let (name, rest) = offered.split_at_checked(own.len()).unwrap_or((offered, &[]));
        name.eq_ignore_ascii_case(own) && matches!(rest.first(), None | Some(b'/'))
    }
}

/// A protocol that a request asks to switch to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    protocol: HeaderValue,
    /// What `Sec-WebSocket-Accept` must say; `None` for another protocol than WebSocket.
    accept: Option<String>,
}

impl Upgrade {
    /// What the request asks for, if it is a switch that may be passed on: to WebSocket, or to one of `others`. `None`: it
    /// is an ordinary request, and its `Upgrade` is ignored, as any server may.
    ///
    /// # Errors
    /// When it asks for a WebSocket with a key that is none.
    pub fn asked_for(
        method: &Method,
        version: Version,
        headers: &HeaderMap,
        others: &[ProtocolName],
    ) -> Result<Option<Self>, Refusal> {
        // A body would have to be sent before the switch, and no protocol in use has one.
        let has_body = headers.contains_key(TRANSFER_ENCODING)
            || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
        if *method != Method::GET || version != Version::HTTP_11 || has_body || !names(headers, &CONNECTION, b"upgrade")
        {
            return Ok(None);
        }
        let may_pass = |offer: &&[u8]| is_websocket(offer) || others.iter().any(|other| other.is(offer));
        let offers = || tokens(headers, &UPGRADE).filter(|offer| is_protocol(offer)).filter(may_pass);
        let chosen = offers().find(|protocol| is_websocket(protocol)).or_else(|| offers().next());
        let Some(chosen) = chosen else { return Ok(None) };
        if !is_websocket(chosen) {
            return Ok(HeaderValue::from_bytes(chosen).ok().map(|protocol| Self { protocol, accept: None }));
        }
        let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
        let (Some(key), None) = (keys.next(), keys.next()) else {
            return Err(Refusal::BadRequest("A WebSocket request needs one Sec-WebSocket-Key."));
        };
        if STANDARD.decode(key.as_bytes()).map_or(0, |nonce| nonce.len()) != 16 {
            return Err(Refusal::BadRequest("The Sec-WebSocket-Key is not 16 bytes in base64."));
        }
        let accept = Some(accept_value(key.as_bytes()));
        Ok(Some(Self { protocol: HeaderValue::from_static("websocket"), accept }))
    }

    /// Whether it is a WebSocket.
    #[must_use]
    pub const fn is_websocket(&self) -> bool {
        self.accept.is_some()
    }

    /// Writes the switch into a request's or answer's headers, from which hop-by-hop headers were removed.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocol.clone());
    }

    /// Holds the headers of a 101 to what was asked for.
    ///
    /// # Errors
    /// What is wrong, for the log.
    pub fn check_answer(&self, headers: &HeaderMap) -> Result<(), &'static str> {
        let mut protocols = tokens(headers, &UPGRADE);
        let (Some(protocol), None) = (protocols.next(), protocols.next()) else {
            return Err("its 101 does not name one protocol");
        };
        if !protocol.eq_ignore_ascii_case(self.protocol.as_bytes()) {
            return Err("its 101 names another protocol than was asked for");
        }
        if !names(headers, &CONNECTION, b"upgrade") {
            return Err("its 101 has no `Connection: upgrade`");
        }
        let Some(expected) = &self.accept else { return Ok(()) };
        let mut accepts = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
        match (accepts.next(), accepts.next()) {
            (Some(accept), None) if accept.as_bytes() == expected.as_bytes() => Ok(()),
            _ => Err("the Sec-WebSocket-Accept of its 101 does not belong to the key"),
        }
    }
}

/// `base64(SHA-1(key + suffix))`. SHA-1 is what the RFC says; it proves that the backend speaks WebSocket, no more.
fn accept_value(key: &[u8]) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(KEY_SUFFIX);
    STANDARD.encode(hash.digest().bytes())
}

/// The elements of a list header, over all its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).filter(|t| !t.is_empty())
}

fn names(headers: &HeaderMap, name: &HeaderName, wanted: &[u8]) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

fn is_websocket(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"websocket")
}

/// Whether it is a name, and one that may be passed on: not HTTP/2 in plain text, no other HTTP, no TLS.
fn is_protocol(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
    let is_plain =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'!' | b'~' | b'/');
    let another_http = [&b"h2c"[..], b"h2", b"h3", b"http", b"tls"].iter().any(|http| name.eq_ignore_ascii_case(http));
    !name.is_empty() && protocol.len() <= LONGEST_PROTOCOL && protocol.iter().all(is_plain) && !another_http
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    const ACCEPT: (&str, &str) = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn asked(lines: &[(&'static str, &'static str)]) -> Result<Option<Upgrade>, Refusal> {
        let others = ["SPDY/3.1", "my-own"].map(|name| ProtocolName::parse(name).expect("a name"));
        Upgrade::asked_for(&Method::GET, Version::HTTP_11, &headers(lines), &others)
    }

    #[test]
    fn what_may_be_passed_on_is_chosen_and_another_http_never_is() {
        for (connection, upgrade, expected) in [
            ("upgrade", "websocket", Some("websocket")),
            ("keep-alive, Upgrade", "WebSocket", Some("websocket")),
            ("upgrade", "h2c, websocket", Some("websocket")),
            ("upgrade", "tcp, websocket", Some("websocket")),
            ("upgrade", "h2c, SPDY/3.1", Some("SPDY/3.1")),
            ("upgrade", "my-own", Some("my-own")),
            ("upgrade", "My-Own/2", Some("My-Own/2")),
            ("upgrade", "my-own2", None),
            ("upgrade", "foo", None),
            ("upgrade", "SPDY/3", None),
            ("upgrade", "foo, my-own", Some("my-own")),
            ("upgrade, HTTP2-Settings", "h2c", None),
            ("upgrade", "H2C", None),
            ("upgrade", "HTTP/2.0", None),
            ("upgrade", "TLS/1.0", None),
            ("upgrade", "my own", None),
            ("upgrade", "", None),
            ("keep-alive", "websocket", None),
            ("", "websocket", None),
        ] {
            let found = asked(&[("connection", connection), ("upgrade", upgrade), KEY]).expect("a fine key");
            let found = found.map(|upgrade| upgrade.protocol);
            assert_eq!(found.as_ref().map(|value| value.to_str().expect("text")), expected, "{connection} {upgrade}");
        }
    }

    #[test]
    fn only_a_get_of_http_1_1_without_a_body_switches() {
        let lines = headers(&[("connection", "upgrade"), ("upgrade", "websocket"), KEY]);
        assert_eq!(Upgrade::asked_for(&Method::POST, Version::HTTP_11, &lines, &[]), Ok(None));
        assert_eq!(Upgrade::asked_for(&Method::GET, Version::HTTP_10, &lines, &[]), Ok(None));
        assert_eq!(Upgrade::asked_for(&Method::GET, Version::HTTP_2, &lines, &[]), Ok(None));
        for body in [("content-length", "5"), ("transfer-encoding", "chunked")] {
            assert_eq!(asked(&[("connection", "upgrade"), ("upgrade", "websocket"), KEY, body]), Ok(None), "{body:?}");
        }
        let empty = ("content-length", "0");
        assert!(asked(&[("connection", "upgrade"), ("upgrade", "websocket"), KEY, empty]).is_ok_and(|up| up.is_some()));
    }

    #[test]
    fn a_route_lets_no_http_through_by_name() {
        for name in ["h2c", "HTTP/2.0", "TLS/1.0", "websocket", "WebSocket", "", "my own", "a,b"] {
            assert!(ProtocolName::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_websocket_without_one_good_key_is_refused() {
        let handshake = [("connection", "upgrade"), ("upgrade", "websocket")];
        for keys in [
            &[][..],
            &[KEY, KEY],
            &[("sec-websocket-key", "")],
            &[("sec-websocket-key", "c2hvcnQ=")],
            &[("sec-websocket-key", "not base64, not base64!!")],
        ] {
            assert!(asked(&[&handshake, keys].concat()).is_err(), "{keys:?}");
        }
    }

    #[test]
    fn a_101_is_held_to_what_was_asked() {
        let asked = asked(&[("connection", "upgrade"), ("upgrade", "websocket"), KEY]);
        let websocket = asked.expect("a fine key").expect("an upgrade");
        let (connection, upgrade) = (("connection", "Upgrade"), ("upgrade", "WebSocket"));
        for (row, lines, fine) in [
            ("the RFC's own example", &[connection, upgrade, ACCEPT][..], true),
            ("no accept", &[connection, upgrade], false),
            ("two accepts", &[connection, upgrade, ACCEPT, ACCEPT], false),
            ("another accept", &[connection, upgrade, ("sec-websocket-accept", "x")], false),
            ("no protocol", &[connection, ACCEPT], false),
            ("another protocol", &[connection, ("upgrade", "h2c"), ACCEPT], false),
            ("two protocols", &[connection, ("upgrade", "websocket, h2c"), ACCEPT], false),
            ("no connection", &[upgrade, ACCEPT], false),
        ] {
            assert_eq!(websocket.check_answer(&headers(lines)).is_ok(), fine, "{row}");
        }
    }
}
