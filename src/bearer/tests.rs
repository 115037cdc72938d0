//! Tokens that were seen: what is remembered of them, and what is not believed of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::http::JsonPointer;
use crate::jwt::{Algorithm, Audience, Expectations, Key};
use crate::login::IdentityPointers;

const NOW: u64 = 1_700_000_000;
const SECRET: [u8; 32] = [7; 32];

fn token(iat: u64) -> String {
    token_of("7", iat)
}

fn token_of(user: &str, iat: u64) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256"}).to_string());
    let claims = json!({"iss": "a", "t": "42", "sub": user, "iat": iat, "exp": iat + 600}).to_string();
    let input = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn bearer() -> (Arc<Bearer>, Arc<ManualClock>) {
    let pointers = |text: &str| vec![JsonPointer::parse(text).expect("a pointer")];
    let leeway = Duration::from_secs(30);
    let issuer = IssuerRules {
        issuer: "a".into(),
        algorithms: vec![Algorithm::Hs256],
        expectations: Expectations {
            audience: Audience::Any,
            types: vec!["jwt".into()],
            leeway,
            max_lifetime: Duration::from_secs(3600),
        },
        keys: KeySource::Fixed(KeySet::of_one(Key::secret(&SECRET, &[Algorithm::Hs256]).expect("a key"))),
        pointers: IdentityPointers {
            tenant: pointers("/t"),
            user: pointers("/sub"),
            role: Vec::new(),
            tenants: Vec::new(),
        },
    };
    let rules = BearerRules { issuers: vec![issuer], leeway, max_lifetime: Duration::from_secs(3600) };
    let clock = Arc::new(ManualClock::starting_at(WallTime::from_micros(NOW * 1_000_000)));
    let shared: SharedClock = clock.clone();
    (Bearer::new(rules, IdentityRules::default(), &shared, &Metrics::new()), clock)
}

#[tokio::test]
async fn the_time_is_looked_at_whenever_a_token_is_also_one_that_was_seen() {
    let (bearer, clock) = bearer();
    let token = token(NOW);
    let first = bearer.verify(token.as_bytes()).await.expect("good");
    assert_eq!(bearer.seen.len(), 1);
    let mut before = first.over_at;
    for (seconds, good) in [(599, true), (30, true), (1, false)] {
        clock.advance(Duration::from_secs(seconds));
        let seen = bearer.verify(token.as_bytes()).await;
        assert_eq!(seen.is_ok(), good, "{seconds}");
        if let Ok(seen) = seen {
            assert_eq!((seen.id, seen.record.created), (first.id, first.record.created));
            assert!(seen.over_at >= before, "what is open for it ends at its end, or at that of its leeway");
            before = seen.over_at;
        }
    }
    assert!(matches!(bearer.verify(token.as_bytes()).await, Err(BadBearer::Token(TokenFault::Expired))));
}

#[tokio::test]
async fn another_signature_is_not_the_one_that_was_seen() {
    let (bearer, _) = bearer();
    let token = token(NOW);
    bearer.verify(token.as_bytes()).await.expect("good");
    let (input, _) = token.rsplit_once('.').expect("parts");
    for signature in ["AAAA", &"A".repeat(43), ""] {
        let forged = bearer.verify(format!("{input}.{signature}").as_bytes()).await;
        assert!(matches!(forged, Err(BadBearer::Token(TokenFault::Signature | TokenFault::Shape))), "{signature}");
    }
    assert_eq!(bearer.seen.len(), 1, "what is refused takes no place");
}

#[tokio::test]
async fn no_text_that_differs_from_a_token_anywhere_is_answered_as_that() {
    let (bearer, _) = bearer();
    let token = token(NOW);
    bearer.verify(token.as_bytes()).await.expect("good");
    let mut others = vec![format!("{token}A"), format!("A{token}"), format!("{token}="), format!("{token} ")];
    others.extend((0..token.len()).map(|length| token[..length].to_owned()));
    for at in 0..token.len() {
        for by in ["A", "B", ".", "\u{1}"] {
            let mut other = token.clone();
            other.replace_range(at..=at, by);
            others.push(other);
        }
    }
    for other in others.iter().filter(|other| **other != token) {
        bearer.verify(other.as_bytes()).await.expect_err(other);
    }
    assert_eq!(bearer.seen.len(), 1);
}

#[tokio::test]
async fn of_many_tokens_that_were_seen_each_is_its_own_users() {
    let (bearer, _) = bearer();
    let tokens: Vec<_> = (0..500).map(|user| (user.to_string(), token_of(&user.to_string(), NOW))).collect();
    let mut ids = std::collections::HashSet::new();
    for turn in 0..2 {
        for (user, token) in tokens.iter().chain(tokens.iter().rev()) {
            let verified = bearer.verify(token.as_bytes()).await.expect("good");
            assert_eq!(verified.record.principal.user.as_str(), user, "{turn}");
            ids.insert(verified.id);
        }
    }
    assert_eq!((ids.len(), bearer.seen.len()), (500, 500));
}

#[tokio::test]
async fn no_more_are_remembered_than_there_is_room_for() {
    let (bearer, _) = bearer();
    let token = token(NOW);
    bearer.verify(token.as_bytes()).await.expect("good");
    let seen = bearer.seen.get::<[u8; 32]>(&Sha256::digest(&token).into()).expect("it was seen");
    for number in 0..2 * MOST_SEEN {
        bearer.seen.insert(Sha256::digest(number.to_string()).into(), seen.clone());
    }
    assert!(bearer.seen.len() <= MOST_SEEN, "{}", bearer.seen.len());
    bearer.verify(token.as_bytes()).await.expect("good, whether it is remembered or not");
}

#[tokio::test]
async fn a_token_that_is_over_or_of_nobody_takes_no_place() {
    let (bearer, _) = bearer();
    for iat in [NOW - 700, NOW + 60] {
        bearer.verify(token(iat).as_bytes()).await.expect_err("not now");
    }
    bearer.verify(b"\xff").await.expect_err("no text");
    bearer.verify("a".repeat(20_000).as_bytes()).await.expect_err("too long");
    assert_eq!(bearer.seen.len(), 0);
}
