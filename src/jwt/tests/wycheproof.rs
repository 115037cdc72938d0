//! Project Wycheproof's vectors (tests/vectors/wycheproof): every invalid one is refused, every valid one accepted, but for
//! those that are named here with the reason. The examples of RFC 7520 are among them.

use serde_json::{Value, json};

use super::super::*;

const FILES: [(&str, &str, usize); 3] = [
    ("signature", include_str!("../../../tests/vectors/wycheproof/json_web_signature_test.json"), 401),
    ("key", include_str!("../../../tests/vectors/wycheproof/json_web_key_test.json"), 26),
    ("crypto", include_str!("../../../tests/vectors/wycheproof/json_web_crypto_test.json"), 83),
];

const OTHER_ALG: &str = "the key says that it is for another algorithm than the token's";
const P521: &str = "the library has no P-521";
const ENCRYPTED: &str = "encrypted tokens are not read at all";

const OTHER_ALPHABET: &str = "it has a character that base64url does not have, which some decoders pass over";
/// Valid, and refused all the same.
const REFUSED: [(&str, u64, &str); 8] = [
    ("signature", 372, OTHER_ALPHABET),
    ("signature", 373, OTHER_ALPHABET),
    ("signature", 346, OTHER_ALG),
    ("signature", 350, OTHER_ALG),
    ("signature", 347, P521),
    ("signature", 351, P521),
    ("crypto", 50, ENCRYPTED),
    ("crypto", 67, ENCRYPTED),
];

const SAME: &str = "it is byte for byte the valid 357: the padding that it is named after was lost";

/// Invalid, and accepted all the same.
const ACCEPTED: [(&str, u64, &str); 2] = [("signature", 367, SAME), ("signature", 370, SAME)];

/// Whether any choice of a family by an operator would have this key accept this token.
fn is_accepted(key: &Value, token: &str) -> bool {
    let set = if key.get("keys").is_some() { key.clone() } else { json!({"keys": [key]}) };
    let families = [Family::Hs, Family::Rs, Family::Ps, Family::Es, Family::EdDsa];
    families.into_iter().any(|family| {
        let of_family = |algorithm: &Algorithm| algorithm.family() == family;
        let algorithms: Vec<Algorithm> = Algorithm::ALL.into_iter().filter(of_family).collect();
        let keys = KeySet::from_jwks(set.to_string().as_bytes(), &algorithms);
        keys.is_ok_and(|keys| Compact::parse(token).is_ok_and(|token| keys.verify(&token, &algorithms).is_ok()))
    })
}

#[test]
fn every_vector_is_judged_as_its_authors_do() {
    let mut wrong = Vec::new();
    for (file, text, count) in FILES {
        let vectors: Value = serde_json::from_str(text).expect("JSON");
        let mut seen = 0;
        for group in vectors["testGroups"].as_array().expect("groups") {
            let key = group.get("public").unwrap_or(&group["private"]);
            for test in group["tests"].as_array().expect("tests") {
                seen += 1;
                let id = test["tcId"].as_u64().expect("a number");
                let token = test.get("jws").or(test.get("jwe")).expect("a token");
                // One in the JSON serialisation is an object.
                let token = token.as_str().map_or_else(|| token.to_string(), str::to_owned);
                let is_among = |list: &[(&str, u64, &str)]| list.iter().any(|(of, it, _)| (*of, *it) == (file, id));
                let expected = (test["result"] == "valid" && !is_among(&REFUSED)) || is_among(&ACCEPTED);
                if is_accepted(key, &token) != expected {
                    wrong.push(format!("{file} {id} {} {}: {}", group["comment"], test["comment"], test["result"]));
                }
            }
        }
        assert_eq!(seen, count, "{file}");
    }
    assert!(wrong.is_empty(), "{} are judged otherwise:\n{}", wrong.len(), wrong.join("\n"));
}
