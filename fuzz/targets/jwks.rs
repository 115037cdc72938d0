//! A set of keys, as somebody else publishes it: what is read of it can check signatures of one family, and no secret
//! stands beside a public key.

use serde_json::Value;
use session_gateway::jwt::{Algorithm, Compact, Family, Key, KeySet, KeySetFault, TokenFault};

const FAMILIES: [Family; 5] = [Family::Hs, Family::Rs, Family::Ps, Family::Es, Family::EdDsa];

/// A token of each algorithm, signed by nobody.
fn unsigned(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Hs256 => "eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
        Algorithm::Rs256 => "eyJhbGciOiJSUzI1NiJ9.e30.AAAA",
        Algorithm::Ps256 => "eyJhbGciOiJQUzI1NiJ9.e30.AAAA",
        Algorithm::Es256 => "eyJhbGciOiJFUzI1NiJ9.e30.AAAA",
        _ => "eyJhbGciOiJFZERTQSJ9.e30.AAAA",
    }
}

pub fn check(data: &[u8]) {
    let _ = Key::from_pem(data);
    let mut read = Vec::new();
    for family in FAMILIES {
        let algorithms: Vec<Algorithm> =
            Algorithm::ALL.into_iter().filter(|algorithm| algorithm.family() == family).collect();
        match KeySet::from_jwks(data, &algorithms) {
            Ok(keys) => {
                read.push(family);
                for algorithm in Algorithm::ALL {
                    let token = Compact::parse(unsigned(algorithm)).expect("a token");
                    let verdict = keys.verify(&token, &algorithms);
                    let expected =
                        [TokenFault::Algorithm, TokenFault::Signature, TokenFault::UnknownKey, TokenFault::TooManyKeys];
                    assert!(verdict.is_err_and(|fault| expected.contains(&fault)), "{family:?} {algorithm}");
                }
            }
            Err(KeySetFault::TooLarge) => assert!(data.len() > 65_536),
            Err(_) => {}
        }
    }
    if read.is_empty() {
        return;
    }
    let set: Value = serde_json::from_slice(data).expect("a set is JSON");
    let keys = set["keys"].as_array().expect("a list");
    assert!(keys.len() <= 32);
    let usable = |key: &&Value| key["use"].as_str().is_none_or(|purpose| purpose == "sig");
    let kinds: Vec<&str> = keys.iter().filter(usable).filter_map(|key| key["kty"].as_str()).collect();
    if read.contains(&Family::Hs) {
        assert_eq!(read, [Family::Hs], "a secret beside public keys");
    }
    for (family, kind) in [(Family::Hs, "oct"), (Family::Rs, "RSA"), (Family::Es, "EC"), (Family::EdDsa, "OKP")] {
        assert!(!read.contains(&family) || kinds.contains(&kind), "{family:?}");
    }
    // RSA keys are for both, unless they say for which.
    if !keys.iter().any(|key| key.get("alg").is_some()) {
        assert_eq!(read.contains(&Family::Rs), read.contains(&Family::Ps));
    }
}
