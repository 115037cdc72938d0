//! What attackers make of access tokens, and faults that others had with them (docs/behaviour.md, "Access tokens").

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::bearer::{call, client, refused, start};
use crate::on_both_stores;
use crate::support::issuer::believing;
use crate::support::{Issuer, Store, answer, echo, gateway};

#[test]
fn every_row_of_the_attackers_table_is_401_and_the_app_was_not_asked() {
    let (backend, issuer, stranger) = (echo(), Issuer::new("k1"), Issuer::new("k1"));
    let gateway = start(Store::Embedded, &backend, &issuer, "[[routes]]\nmatch = \"/open\"\nauth = \"optional\"\n");
    let good = issuer.token(&json!({}));
    let with = |header: Value| issuer.token_with(&header, &json!({}));
    let now = jiff::Timestamp::now().as_second();
    let (input, signature) = good.rsplit_once('.').expect("parts");
    let (header, claims) = input.split_once('.').expect("parts");
    let b64 = |text: &str| URL_SAFE_NO_PAD.encode(text);
    // The published key as the secret of an HMAC, in each form in which somebody may have it.
    let confused = |secret: &[u8]| {
        let input = format!("{}.{claims}", b64(r#"{"alg":"HS256","kid":"k1","typ":"JWT"}"#));
        let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let twice = |name: &str, text: &str| text.replacen('{', &format!("{{\"{name}\":\"7\","), 1);
    let decoded = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("text");
    // The last character has four bits that stand for nothing.
    let tail = signature.chars().last().and_then(|last| char::from_u32(u32::from(last) + 1)).expect("another");
    let flipped = format!("{input}.{}{tail}", &signature[..signature.len() - 1]);
    for (row, token, code) in [
        ("alg none", with(json!({"alg": "none"})), "token_invalid"),
        ("alg none and no signature", format!("{}.{claims}.", b64(r#"{"alg":"none","typ":"JWT"}"#)), "token_invalid"),
        ("alg NoNe", with(json!({"alg": "NoNe"})), "token_invalid"),
        ("no alg", with(json!({"alg": null})), "token_invalid"),
        ("another algorithm", with(json!({"alg": "HS256"})), "token_invalid"),
        ("another algorithm of the family", with(json!({"alg": "ES384"})), "token_invalid"),
        ("the public key as a secret", confused(issuer.jwk().to_string().as_bytes()), "token_invalid"),
        ("its bytes as a secret", confused(&issuer.public_key()), "token_invalid"),
        ("nothing as a secret", confused(b""), "token_invalid"),
        ("no kid that is known", with(json!({"kid": "../../dev/null"})), "token_invalid"),
        ("a kid for a database", with(json!({"kid": "k1' UNION SELECT 'k"})), "token_invalid"),
        ("a kid that is no text", with(json!({"kid": ["k1"]})), "token_invalid"),
        ("a kid of a page", with(json!({"kid": "k".repeat(4000)})), "token_invalid"),
        ("alg twice", issuer.signed(&format!("{}.{claims}", b64(&twice("alg", &decoded(header))))), "token_invalid"),
        ("sub twice", issuer.signed(&format!("{header}.{}", b64(&twice("sub", &decoded(claims))))), "token_invalid"),
        ("another spelling of the tail", flipped, "token_invalid"),
        ("standard base64", good.replace('-', "+").replace('_', "/") + "+", "token_invalid"),
        ("a padded header", format!("{header}=.{claims}.{signature}"), "token_invalid"),
        ("a line break", format!("{header}.{claims}\t.{signature}"), "token_invalid"),
        ("nothing but zeros", format!("{input}.{}", URL_SAFE_NO_PAD.encode([0; 64])), "token_invalid"),
        (
            "a signature in DER",
            format!("{input}.{}", URL_SAFE_NO_PAD.encode([&[0x30, 0x44][..], &[2; 68]].concat())),
            "token_invalid",
        ),
        ("a signature too long", format!("{good}AAAA"), "token_invalid"),
        ("jku", with(json!({"jku": "http://127.0.0.1:1/"})), "token_invalid"),
        ("x5u", with(json!({"x5u": "http://127.0.0.1:1/"})), "token_invalid"),
        ("a key of its own", with(json!({"jwk": stranger.jwk()})), "token_invalid"),
        ("crit", with(json!({"crit": ["exp"]})), "token_invalid"),
        ("an empty crit", with(json!({"crit": []})), "token_invalid"),
        ("b64", with(json!({"b64": false})), "token_invalid"),
        ("zip", with(json!({"zip": "DEF"})), "token_invalid"),
        ("another type", with(json!({"typ": "logout+jwt"})), "token_invalid"),
        ("a stranger's signature", stranger.token(&json!({})), "token_invalid"),
        ("no signature", format!("{input}."), "token_invalid"),
        ("a padded signature", format!("{good}=="), "token_invalid"),
        ("half a signature", format!("{input}.{}", &signature[..42]), "token_invalid"),
        ("a fourth part", format!("{good}.e30"), "token_invalid"),
        ("nothing", String::new(), "token_invalid"),
        ("a word", "token".to_owned(), "token_invalid"),
        ("two parts", input.to_owned(), "token_invalid"),
        ("dots", "..".to_owned(), "token_invalid"),
        ("two in one", format!("{good} {good}"), "token_invalid"),
        ("two with a comma", format!("{good}, Bearer {good}"), "token_invalid"),
        ("claims that are a list", issuer.signed(&format!("{header}.{}", b64("[]"))), "token_invalid"),
        ("longer than any", format!("{good}{}", "A".repeat(20_000)), "token_invalid"),
        ("another issuer", issuer.token(&json!({"iss": "https://issuer.test"})), "token_invalid"),
        ("no issuer", issuer.token(&json!({"iss": null})), "token_invalid"),
        ("another audience", issuer.token(&json!({"aud": "other"})), "token_invalid"),
        ("no audience", issuer.token(&json!({"aud": null})), "token_invalid"),
        ("no exp", issuer.token(&json!({"exp": null})), "token_invalid"),
        ("no iat", issuer.token(&json!({"iat": null})), "token_invalid"),
        ("a text for exp", issuer.token(&json!({"exp": "never"})), "token_invalid"),
        ("a refresh token", issuer.token(&json!({"type": "refresh"})), "token_invalid"),
        ("over", issuer.token(&json!({"iat": now - 700, "exp": now - 100})), "token_expired"),
        ("of tomorrow", issuer.token(&json!({"iat": now + 60, "exp": now + 600})), "token_invalid"),
        ("not yet", issuer.token(&json!({"nbf": now + 60})), "token_invalid"),
        ("of a year", issuer.token(&json!({"exp": now + 31_536_000})), "token_invalid"),
        ("no tenant", issuer.token(&json!({"org_id": null})), "token_invalid"),
        ("a tenant of two", issuer.token(&json!({"org_id": "1,42"})), "token_invalid"),
        ("no user", issuer.token(&json!({"sub": null})), "token_invalid"),
    ] {
        if row == "longer than any" {
            // The head is within its limit, the token is not within its own.
            let answer = call(&gateway, &token).expect_refusal(401, code);
            assert!(!answer.headers.has("set-cookie"), "{row}");
        } else {
            refused(&gateway, &token, code);
        }
        // On an optional route it is nobody's call instead of nobody's.
        client(&gateway, &token).get("/open").expect_refusal(401, code);
        let page = client(&gateway, &token).navigate("/x");
        assert_eq!(page.status, 401, "{row}");
    }
    let line = format!("Authorization: Bearer {good}");
    gateway.get_with_lines("/x", &[&line, &line]).expect_refusal(401, "token_invalid");
    assert!(backend.seen_at("/x").is_empty() && backend.seen_at("/open").is_empty());
    call(&gateway, &good).expect(200);
    let line = gateway.wait_audit("token.rejected", |event| event["reason"] == "signature");
    assert_eq!((&line["session_id"], &line["outcome"]), (&Value::Null, &json!("denied")));
    assert!(!std::fs::read_to_string(gateway.file("audit.jsonl")).expect("there").contains(&signature[..40]));
    assert!(gateway.log().iter().all(|line| !line.contains(signature)), "no token is in the log");
}

#[test]
fn a_bad_bearer_token_is_answered_401_and_never_sent_to_a_login_page() {
    // oauth2-proxy#2918: it was answered 302.
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let routes = "[[routes]]\nmatch = \"/open\"\nauth = \"optional\"\n";
    let gateway = start(Store::Embedded, &backend, &issuer, routes);
    let (good, stranger) = (issuer.token(&json!({})), Issuer::new("k1").token(&json!({})));
    client(&gateway, &good).post("/api/logout").expect(200);
    for (token, code) in [(&stranger, "token_invalid"), (&good, "token_revoked")] {
        for path in ["/x", "/open", "/"] {
            // As a browser navigates, which without a token is led to the login page.
            let page = client(&gateway, token).navigate(path).expect(401);
            assert!(!page.headers.has("location") && !page.headers.has("set-cookie"), "{path}: {page:?}");
            assert_eq!(page.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
            client(&gateway, token).get(path).expect_refusal(401, code);
        }
    }
    gateway.browser().navigate("/x").expect(302);
    assert!(["/x", "/open", "/"].iter().all(|path| backend.seen_at(path).is_empty()));
}

/// What the order of the group of P-256 less `s` is: (r, n - s) verifies as (r, s) does.
fn turned_over(token: &str) -> String {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
        0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (input, signature) = token.rsplit_once('.').expect("parts");
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let mut borrow = 0;
    for (n, s) in N.iter().zip(&mut bytes[32..]).rev() {
        let digit = i16::from(*n) - i16::from(*s) - borrow;
        borrow = i16::from(digit < 0);
        *s = u8::try_from(digit.rem_euclid(256)).expect("a byte");
    }
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(bytes))
}

on_both_stores!(a_revoked_es256_token_stays_revoked_with_its_signature_turned_over, |store| {
    // python-jose#403: a list of revoked tokens by their text does not meet the other signature, which is as good.
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    let gateway = start(store, &backend, &issuer, "");
    let token = issuer.token(&json!({}));
    let other = turned_over(&token);
    assert_ne!(token, other);
    for token in [&token, &other] {
        call(&gateway, token).expect(200);
    }
    client(&gateway, &token).post("/api/logout").expect(200);
    for token in [&token, &other] {
        refused(&gateway, token, "token_revoked");
    }
    // Also one of which the other spelling alone was ever seen.
    let unseen = issuer.token(&json!({"jti": "2"}));
    client(&gateway, &turned_over(&unseen)).post("/api/logout").expect(200);
    refused(&gateway, &unseen, "token_revoked");
});

#[test]
fn keys_that_cannot_be_had_are_503_and_never_401() {
    // envoy#41669 had it the other way round.
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    backend.on("/jwks.json", vec![answer("500 Internal Server Error", &[], "")]);
    let builder = gateway(Store::Embedded).with_backend(&backend).settings(&believing(&backend));
    let gateway = builder.start();
    gateway.wait_log(&["the keys of an issuer of tokens cannot be had"]);
    let answer = call(&gateway, &issuer.token(&json!({}))).expect_refusal(503, "keys_unavailable");
    assert!(answer.headers.has("retry-after"));
    // What is no token of its whatever its keys are is refused as ever, and sessions do not need them.
    refused(&gateway, &issuer.token(&json!({"iss": "https://other/"})), "token_invalid");
    gateway.logged_in("42", "7").get("/x").expect(200);
}
