//! Which gateways a request has been through, so that one that comes back is recognised when it first does.
//!
//! An upstream whose address leads back to the gateway would have each request go round until something ends. So each
//! gateway adds its mark to a header of its own, and refuses what bears it already. Gateways behind one another have
//! different marks, and are no loop; those that share a store are one gateway, and have one.
//!
//! A client that sends the header gains nothing: what is no mark is dropped, foreign marks mean nothing here and are
//! passed on to be recognised elsewhere, the last few of them, and who guesses this gateway's mark has its own request
//! refused.

use ::http::HeaderValue;
use ::http::header::HeaderName;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::noted::{KnownName, NotedHeaders};

/// The header that bears the marks.
pub const VIA: HeaderName = HeaderName::from_static("x-gateway-via");
static KNOWN_VIA: KnownName = KnownName::new("x-gateway-via");
/// A mark's length: 16 bytes in base64url.
const LENGTH: usize = 22;
/// So many foreign marks are passed on.
const MOST_FOREIGN: usize = 8;

/// A gateway's own mark.
#[derive(Clone, Debug)]
pub struct GatewayMark(HeaderValue);

/// The request has been here before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CameBack;

impl GatewayMark {
    /// A mark of its own, made of random bytes.
    #[must_use]
    pub fn of(bytes: [u8; 16]) -> Self {
        let text = URL_SAFE_NO_PAD.encode(bytes);
        Self(HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("-")))
    }

    /// The mark of all that have these facts in common. What is secret among them cannot be read from it.
    #[must_use]
    pub fn shared_by(facts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new_with_prefix(b"session-gateway mark");
        for fact in facts {
            hash.update((fact.len() as u64).to_be_bytes());
            hash.update(fact);
        }
        let hash = hash.finalize();
        Self::of(hash.first_chunk().copied().unwrap_or_default())
    }

    /// Takes the marks out of a request: those that it is to bear from here on.
    ///
    /// # Errors
    /// When it bears this one.
    pub fn take(&self, headers: &mut NotedHeaders) -> Result<HeaderValue, CameBack> {
        if !headers.has(&KNOWN_VIA) {
            return Ok(self.0.clone());
        }
        let lines = headers.lines(&KNOWN_VIA).flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        let marks: Vec<&[u8]> = lines.map(<[u8]>::trim_ascii).filter(|word| is_mark(word)).collect();
        if marks.contains(&self.0.as_bytes()) {
            return Err(CameBack);
        }
        let foreign = marks.get(marks.len().saturating_sub(MOST_FOREIGN)..).unwrap_or_default();
        let all = [foreign, &[self.0.as_bytes()]].concat().join(&b", "[..]);
        headers.remove(&KNOWN_VIA);
        Ok(HeaderValue::from_bytes(&all).unwrap_or_else(|_| self.0.clone()))
    }
}

fn is_mark(word: &[u8]) -> bool {
    word.len() == LENGTH && word.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use ::http::HeaderMap;
    use proptest::prelude::*;

    use super::*;

    fn bearing(lines: &[&[u8]]) -> NotedHeaders {
        let mut map = HeaderMap::new();
        for line in lines {
            map.append(VIA, HeaderValue::from_bytes(line).expect("a value"));
        }
        NotedHeaders::from(map)
    }

    fn round(gateways: &[&GatewayMark]) -> usize {
        let mut headers = NotedHeaders::default();
        for hop in 0.. {
            match gateways[hop % gateways.len()].take(&mut headers) {
                Ok(value) => headers.insert(VIA, value),
                Err(CameBack) => return hop,
            }
        }
        0
    }

    #[test]
    fn a_request_that_goes_round_is_recognised_at_its_first_return_and_a_chain_of_gateways_is_none() {
        let marks: Vec<GatewayMark> = (0..9).map(|number| GatewayMark::of([number; 16])).collect();
        let marks: Vec<&GatewayMark> = marks.iter().collect();
        for many in 1..=9 {
            assert_eq!(round(&marks[..many]), many);
        }
        let (one, same) = (GatewayMark::shared_by(&[b"redis", b"sg:"]), GatewayMark::shared_by(&[b"redis", b"sg:"]));
        assert_eq!(round(&[&one, &same]), 1, "what shares a store is one");
        assert_eq!(round(&[&one, &GatewayMark::shared_by(&[b"rediss", b"g:"])]), 2);
    }

    #[test]
    fn what_a_client_sends_of_the_kind_refuses_nothing_and_is_bounded() {
        let own = GatewayMark::of([1; 16]);
        let foreign = b"AAAAAAAAAAAAAAAAAAAAAA";
        let many = [&foreign[..]; 100].join(&b","[..]);
        for (lines, expected) in [
            (vec![&b"nonsense"[..], b"", b",,", b"AAAAAAAAAAAAAAAAAAAAA\xff", b"AAAAAAAAAAAAAAAAAAAAAA="], 0),
            (vec![&foreign[..]], 1),
            (vec![&b"x, AAAAAAAAAAAAAAAAAAAAAA"[..], foreign], 2),
            (vec![&many[..], &many[..]], MOST_FOREIGN),
        ] {
            let value = own.take(&mut bearing(&lines)).expect("no loop");
            assert_eq!(value.len(), (expected + 1) * (LENGTH + 2) - 2);
            assert!(value.as_bytes().ends_with(own.0.as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn nothing_but_marks_is_passed_on(line in proptest::collection::vec(0x20_u8..0x7f, 0..200)) {
            let own = GatewayMark::of([1; 16]);
            let mut headers = bearing(&[&line]);
            let value = own.take(&mut headers).expect("nobody guesses it");
            prop_assert!(value.as_bytes().split(|byte| *byte == b',').all(|mark| is_mark(mark.trim_ascii())));
            prop_assert!(!headers.contains_key(VIA));
        }
    }
}
