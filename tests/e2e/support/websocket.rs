//! A WebSocket by hand: every byte of handshake and frames is the test's own.

use super::browser::{Browser, SESSION_COOKIE};
use super::gateway::Gateway;
use super::http::{Response, Wire};

/// The key of RFC 6455, section 1.3, so that the answer to it is known.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a backend says to it.
pub const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A client's text frame.
pub fn frame(text: &str) -> Vec<u8> {
    masked(0x81, text.as_bytes())
}

/// A client's frame with this first byte.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).expect("a short payload"), 1, 2, 3, 4];
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A server's text frame.
pub fn server_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, u8::try_from(text.len()).expect("a short text")];
    frame.extend(text.as_bytes());
    frame
}

/// A browser's tab with a WebSocket.
pub struct Tab(pub Wire);

impl Gateway {
    /// The bytes of a handshake, from the page's own origin unless `lines` name another.
    pub fn handshake(&self, browser: &Browser, path: &str, lines: &[&str]) -> String {
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n", self.address());
        if let Some(token) = browser.cookie(SESSION_COOKIE) {
            head.push_str(&format!("Cookie: {SESSION_COOKIE}={token}\r\n"));
        }
        let own = format!("Origin: http://{}", self.address());
        let key = format!("Sec-WebSocket-Key: {KEY}");
        let usual = [own.as_str(), "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", &key];
        let name = |line: &str| line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let replaced = |line: &str| lines.iter().any(|other| name(other) == name(line));
        for line in usual.into_iter().filter(|line| !replaced(line)).chain(lines.iter().copied()) {
            // A name alone takes the usual line out.
            if line.contains(": ") {
                head.push_str(&format!("{line}\r\n"));
            }
        }
        head.push_str("\r\n");
        head
    }

    /// Asks for a WebSocket and returns the head of the answer.
    pub fn ask(&self, browser: &Browser, path: &str, lines: &[&str]) -> (Response, Tab) {
        let mut wire = self.wire();
        wire.send(self.handshake(browser, path, lines));
        let head = wire.try_receive_head().expect("a head");
        (head, Tab(wire))
    }

    /// Opens a WebSocket.
    #[track_caller]
    pub fn open(&self, browser: &Browser, path: &str) -> Tab {
        let (head, tab) = self.ask(browser, path, &[]);
        head.expect(101);
        tab
    }
}

impl Tab {
    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.send(bytes);
        self
    }

    /// Fails unless exactly these bytes come next.
    #[track_caller]
    pub fn expect(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        let got = self.0.exactly(bytes.len()).expect("that many bytes");
        assert_eq!(got, bytes);
        self
    }

    /// Fails unless the rest of the connection is one close frame of this code, whose reason is returned.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        let rest = self.0.rest();
        let (head, reason) = rest.split_at(4.min(rest.len()));
        let length = u8::try_from(reason.len() + 2).expect("a short frame");
        let [high, low] = code.to_be_bytes();
        assert_eq!(head, [0x88, length, high, low], "no close frame {code}: {rest:?}");
        String::from_utf8_lossy(reason).into_owned()
    }
}
