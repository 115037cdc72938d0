//! A token: it has one spelling, its name is that of what is signed, and nothing but its key's signature makes it good.

use hmac::{Hmac, Mac as _};
use serde_json::Value;
use session_gateway::jwt::{Algorithm, Compact, Key, KeySet};
use sha2::{Digest as _, Sha256};

const MARK: &[u8] = b"$serde_json::private::";
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The bytes of base64url, whatever bits are left over.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bits = String::new();
    for character in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == character)?;
        bits.push_str(&format!("{value:06b}"));
    }
    let bytes = bits.as_bytes().chunks_exact(8);
    Some(bytes.map(|byte| byte.iter().fold(0, |number, bit| number * 2 + (bit - b'0'))).collect())
}

fn encoded(bytes: &[u8]) -> String {
    let mut bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    while !bits.len().is_multiple_of(6) {
        bits.push('0');
    }
    let characters = bits.as_bytes().chunks(6);
    characters
        .map(|six| char::from(ALPHABET[six.iter().fold(0, |number, bit| number * 2 + usize::from(bit - b'0'))]))
        .collect()
}

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(token) = Compact::parse(text) else { return };
    let parts: Vec<&str> = text.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("{} parts", parts.len()) };
    for part in [header, payload, signature] {
        let bytes = decoded(part).expect("base64url");
        assert_eq!(encoded(&bytes), part, "there is another spelling of the same bytes");
    }
    let signed = format!("{header}.{payload}");
    assert_eq!(token.signing_input(), signed.as_bytes());
    assert_eq!(token.id().as_str(), &encoded(&Sha256::digest(&signed)[..16]));

    let said: Value = serde_json::from_slice(&decoded(header).expect("base64url")).expect("a header is JSON");
    assert_eq!(said["alg"], token.header().algorithm.as_str());
    for refused in ["crit", "b64", "zip", "jku", "x5u", "jwk"] {
        assert!(said.get(refused).is_none(), "{refused}");
    }
    let payload_bytes = decoded(payload).expect("base64url");
    // Names by which serde_json marks what it passes on to itself: it reads an object with one of them as something else.
    let is_marked = payload_bytes.windows(MARK.len()).any(|window| window == MARK);
    if let (Ok(claims), false) = (token.claims(), is_marked) {
        let read: Value = serde_json::from_slice(&payload_bytes).expect("claims are JSON");
        assert_eq!(Value::Object(claims), read);
    }
    let keys = KeySet::of_one(Key::secret(SECRET, &[Algorithm::Hs256]).expect("a key"));
    let good = keys.verify(&token, &Algorithm::ALL).is_ok();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("a key of any length");
    mac.update(signed.as_bytes());
    let is_its = mac.finalize().into_bytes().as_slice() == decoded(signature).expect("base64url");
    assert_eq!(good, is_its && said["alg"] == "HS256");
}
