//! `[bearer]`: what is good, and each bad value with the line that an operator reads.

use super::{BASE, Config, environment, errors};
use crate::bearer::KeySource;
use crate::jwt::{Algorithm, Audience};
use crate::policy::Authorization;

const GOOD: &str = "[[bearer.issuers]]\nissuer = \"https://i/\"\naudience = [\"api\"]\nalgorithms = [\"RS256\"]\n\
                    tenant = \"/t\"\njwks = \"http://127.0.0.1:1/k?v=1\"";

#[test]
fn an_issuer_is_who_it_says_and_the_rest_has_defaults() {
    let config = Config::parse("t.toml", &format!("{BASE}{GOOD}\n"), &environment).expect("good");
    let bearer = config.bearer.expect("given");
    assert_eq!(bearer.authorization, Authorization::Pass);
    assert_eq!(bearer.rules.longest().as_secs(), 86_400 + 30 + 5);
    let [issuer] = &bearer.rules.issuers[..] else { panic!("one") };
    assert_eq!((&*issuer.issuer, &issuer.algorithms[..]), ("https://i/", &[Algorithm::Rs256][..]));
    assert_eq!(issuer.expectations.audience, Audience::OneOf(vec!["api".into()]));
    assert_eq!(issuer.expectations.types.iter().map(|typ| &**typ).collect::<Vec<_>>(), ["at+jwt", "jwt"]);
    assert_eq!(issuer.pointers.user[0].as_str(), "/sub");
    let KeySource::Published(jwks) = &issuer.keys else { panic!("published") };
    assert_eq!((jwks.target.as_str(), jwks.host.as_bytes()), ("/k?v=1", &b"127.0.0.1:1"[..]));
}

#[test]
fn each_bad_value_is_refused_with_what_to_do() {
    for (from, to, expected) in [
        ("\"RS256\"]", "\"RS256\", \"HS256\"]", "algorithms: mixes families"),
        ("\"RS256\"]", "\"RS256\", \"PS256\"]", "algorithms: mixes families"),
        ("\"RS256\"", "\"none\"", "algorithms[0]: \"none\" would believe anybody"),
        ("\"RS256\"", "\"ES512\"", "algorithms[0]: \"ES512\" is not known; choose of \"HS256\""),
        ("[\"RS256\"]", "[]", "algorithms: is empty; write by what the issuer signs"),
        ("\"RS256\"", "\"HS256\"", "jwks: is of no use for HS"),
        ("audience = [\"api\"]\n", "", "audience: is missing; add `audience = [\"api\"]`"),
        ("[\"api\"]", "\"api\"", "audience: \"api\" is not a list; write [\"api\"], or \"any\""),
        ("[\"api\"]", "[]", "audience: names nobody"),
        ("issuer = \"https://i/\"\n", "", "issuer: is missing; add `issuer ="),
        ("https://i/", " i", "issuer: \" i\" is not what a token's `iss` says"),
        ("tenant = \"/t\"", "tenant = []", "tenant: is empty"),
        ("tenant = \"/t\"", "tenant = \"t\"", "tenant: \"t\" does not begin with a slash"),
        ("tenant = \"/t\"", "tenant = \"/t\"\ntypes = [\"\"]", "types[0]: \"\" is not a `typ`"),
        ("127.0.0.1:1/k", "keys.test/k", "jwks: is plain http"),
        ("http://127.0.0.1:1/k", "https://u:p@keys.test/k", "jwks: \"https://u:p@keys.test/k?v=1\" is not the address"),
        ("http://127.0.0.1:1/k", "ftp://keys.test/k", "jwks: \"ftp://keys.test/k?v=1\" is not the address"),
        ("jwks = \"http://127.0.0.1:1/k?v=1\"", "", "jwks: has no keys; add `jwks ="),
        ("jwks = \"http", "key_file = \"k\"\njwks = \"http", "jwks: cannot stand beside `key_file`"),
        ("jwks = \"http://127.0.0.1:1/k?v=1\"", "jwks = \"/nowhere\"", "jwks: names a file that"),
        ("jwks = \"http://127.0.0.1:1/k?v=1\"", "key_file = \"/nowhere\"", "key_file: names a file that"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let said = errors(&format!("{BASE}{}\n", GOOD.replacen(from, to, 1)));
        let said = said.join("\n");
        assert!(said.contains(&format!("bearer.issuers[0].{expected}")), "{to}: {said}");
    }
    for (text, expected) in [
        ("[bearer]\n", "bearer.issuers: has no issuer; add `[[bearer.issuers]]`"),
        ("bearer.issuers = []\n", "bearer.issuers: has no issuer"),
        ("bearer.leeway = \"1h\"\n", "bearer.leeway: \"1h\" is out of bounds"),
        ("bearer.max_lifetime = \"1s\"\n", "bearer.max_lifetime: \"1s\" is out of bounds"),
        ("bearer.authorization = \"keep\"\n", "bearer.authorization: \"keep\" is not known"),
    ] {
        let said = errors(&format!("{BASE}{text}")).join("\n");
        assert!(said.contains(expected), "{said}");
    }
    let twice = errors(&format!("{BASE}{GOOD}\n{GOOD}\n")).join("\n");
    assert!(twice.contains("bearer.issuers[1].issuer: is the issuer of another of these tables"), "{twice}");
}

#[test]
fn a_key_in_a_file_is_of_the_kind_that_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
    let jwk = "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE\"}";
    let set = format!("{{\"keys\":[{jwk}]}}");
    for (key, text, algorithm, expected) in [
        ("key_file", pem, "EdDSA", None),
        ("key_file", jwk, "EdDSA", None),
        ("jwks", &set, "EdDSA", None),
        ("key_file", pem, "RS256", Some("names a key of another kind than `algorithms`")),
        ("key_file", jwk, "ES256", Some("names a file that is no key for these `algorithms`")),
        ("key_file", &pem.replace("PUBLIC", "PRIVATE"), "EdDSA", Some("is a private key; write the public one")),
        ("key_file", "hello", "EdDSA", Some("names a file that is no key that can be read")),
        ("jwks", jwk, "EdDSA", Some("names a file that is no JSON Web Key Set")),
        ("jwks", &set, "ES256", Some("has no key for these `algorithms`")),
        ("key_file", "kY3v0bq8Zr5mT1xW7nC4uJ9sL2dG6hPa", "HS256", None),
        ("key_file", pem, "HS256", Some("names a public or private key, not a secret")),
        ("key_file", jwk, "HS256", Some("names a public or private key, not a secret")),
        ("key_file", &set, "HS256", Some("names a public or private key, not a secret")),
        ("key_file", "kY3v0bq8Zr5mT1xW7nC4uJ9sL2dG6hPa", "HS512", Some("is shorter than the 64 bytes that these")),
        (
            "key_file",
            "secret-secret-secret-secret-secret",
            "HS256",
            Some("is a well-known word; make a strong one with"),
        ),
    ] {
        let path = folder.path().join("key");
        std::fs::write(&path, text).expect("written");
        let keys = format!("{key} = \"{}\"", path.display());
        let issuer = GOOD.replace("jwks = \"http://127.0.0.1:1/k?v=1\"", &keys).replace("RS256", algorithm);
        let read = Config::parse("t.toml", &format!("{BASE}{issuer}\n"), &environment);
        match (read, expected) {
            (Ok(config), None) => {
                let issuers = config.bearer.expect("given").rules.issuers;
                assert!(matches!(issuers[0].keys, KeySource::Fixed(_)));
            }
            (Err(errors), Some(expected)) => assert!(errors.to_string().contains(expected), "{errors}"),
            (Ok(_), Some(expected)) => panic!("{expected}: it was taken"),
            (Err(errors), None) => panic!("{errors}"),
        }
    }
}
