//! What the pure steps of a request take, each by itself.
//!
//!     cargo bench --locked --bench hot_path
//!
//! A browser's request with a session, as `benches/README.md` describes it; and the look-up of what the coherent cache knows.
//! For before and after, not for absolutes: in the pipeline the CPU's caches are colder. `benches/instructions` measures the
//! whole.

#![allow(clippy::expect_used, reason = "a benchmark fails by panicking")]
#![allow(missing_docs, unreachable_pub, reason = "nothing here is seen from outside this binary")]

#[path = "tokens/issuer.rs"]
mod issuer;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use divan::{Bencher, black_box};
use futures_util::FutureExt as _;
use http::header::{CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use http::{Method, Uri};
use issuer::{ALGORITHMS, Issuer};
use session_gateway::bearer::Bearer;
use session_gateway::clock::{Clock, SharedClock, SystemClock, WallTime};
use session_gateway::custody::{Left, TokenRules, Withheld};
use session_gateway::entropy::SystemEntropy;
use session_gateway::http::{
    CookieName, GatewayCookieName, HeadLimits, IdentityHeaders, JsonPointer, NotedHeaders, Presented, ProtectedNames,
    RequestFilter, RequestFraming, Target, request_host, take_gateway_cookie,
};
use session_gateway::jwt::Algorithm;
use session_gateway::login::read_json;
use session_gateway::policy::{
    Auth, Authorization, IdentityMode, MethodSet, NamingPlaces, PathPattern, Permit, Route, RouteTable, SessionFacts,
    TenantClaim, VouchedBy, decide, rewrite,
};
use session_gateway::seal::{Binding, SealedCookies, SealingKeys};
use session_gateway::secret::Secret;
use session_gateway::session::{
    Generations, IdleLimit, LiveSession, Principal, SessionId, SessionRecord, SessionToken, Standing, StoreTime,
    TenantId, UserAgent, UserId,
};
use session_gateway::signed::{
    Proof, RequestSecret, SignedForm, SignedIdentity, Signer, SigningKey, Stated, new_signing_key,
};
use session_gateway::store::STALE_AT_MOST;
use session_gateway::store::cache::{Cache, Heard, Held, Origin, Place, PlaceSet, Proof as Hearing};

const PATH: &str = "/api/orders/4711?page=2";
const TOKEN: &str = "Zm9yIHRoZSBiZW5jaG1hcms_MTIzNDU2Nzg5MDEyMzQ";
const CACHED: usize = 100_000;
const NOW: StoreTime = StoreTime::from_micros(1_700_000_000_000_000);

fn main() {
    divan::main();
}

fn headers() -> NotedHeaders {
    let cookie = format!("theme=dark; session-gateway={TOKEN}; lang=de");
    [
        ("host", "app.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "application/json"),
        ("accept-language", "de,en-US;q=0.7,en;q=0.3"),
        ("accept-encoding", "gzip, deflate, br"),
        ("x-customer-id", "42"),
        ("sec-fetch-site", "same-origin"),
        ("connection", "keep-alive"),
        ("cookie", &cookie),
    ]
    .into_iter()
    .map(|(name, value)| (name.parse::<HeaderName>().expect(name), HeaderValue::from_str(value).expect(value)))
    .collect::<HeaderMap>()
    .into()
}

fn identity_headers() -> IdentityHeaders {
    let name = HeaderName::from_static;
    IdentityHeaders {
        tenant: name("x-customer-id"),
        user: name("x-user-id"),
        role: name("x-user-role"),
        session: name("x-session-id"),
    }
}

fn route() -> Route {
    Route {
        pattern: "/api/*".into(),
        auth: Auth::Required,
        roles: Vec::new(),
        csrf: true,
        lenient: false,
        authorization: Authorization::Pass,
        upstream: "default".into(),
        mode: IdentityMode::Enforce,
        upgrade: Vec::new(),
        naming: NamingPlaces::default(),
    }
}

fn principal() -> Arc<Principal> {
    Arc::new(Principal {
        tenant: TenantId::parse("42").expect("a tenant"),
        user: UserId::parse("7").expect("a user"),
        role: None,
    })
}

fn session() -> SessionId {
    SessionToken::generate(&SystemEntropy).expect("randomness").id()
}

/// A cache that knows these sessions, and may say so for as long as a lease is.
fn cache(ids: &[SessionId]) -> Cache {
    // Its parts do not fill evenly.
    let cache = Cache::new(2 * ids.len(), 1, Arc::new(SystemClock));
    let term = cache.open();
    let prove = || {
        let sent = SystemClock.monotonic();
        let proof = Hearing { sent, received: sent, time: NOW };
        let all = Held { places: PlaceSet::from_iter([Place::ONLY]), election: 0 };
        cache.renew(term, Heard { source: 0, proof, voucher: None }, &all);
    };
    prove();
    for id in ids {
        let record = SessionRecord {
            principal: principal(),
            created: NOW,
            deadline: NOW.after(Duration::from_secs(28_800)),
            idle: Some(IdleLimit::new(Duration::from_secs(1800))),
            remembered: false,
            generations: Generations::default(),
            address: None,
            user_agent: UserAgent::of(None),
            line: None,
            choices: None,
        };
        let touch_deadline = NOW.after(Duration::from_secs(1860));
        let live = LiveSession { record: Arc::new(record), touch_deadline, now: NOW };
        let mut reading = cache.begin(*id, Place::ONLY).expect("it is open");
        reading.came_from(&[Origin { place: Place::ONLY, source: 0 }]);
        reading.depends_on("tenant", "user", None, &live.record);
        reading.keep(&Standing::Live(live));
    }
    prove();
    cache
}

fn permit() -> Permit {
    let principal = principal();
    let live = SessionFacts::Live { by: VouchedBy::Session(session()), principal: &principal };
    decide(&route(), IdentityMode::Enforce, live, TenantClaim::Harmless).expect("a permit")
}

#[divan::bench]
fn framing(bencher: Bencher) {
    let mut head = format!("GET {PATH} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers().iter() {
        head.extend_from_slice(format!("{name}: ").as_bytes());
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    let limits = HeadLimits { bytes: 32 * 1024, count: 100 };
    bencher.with_inputs(|| RequestFraming::new(limits)).bench_refs(|framing| {
        framing.feed(black_box(&head)).len()
            + usize::from(framing.take_verdict().is_some_and(|verdict| verdict.is_ok()))
    });
}

#[divan::bench]
fn normalise(bencher: Bencher) {
    let uri = Uri::from_static(PATH);
    bencher.bench_local(|| Target::of_uri(black_box(&uri)));
}

#[divan::bench]
fn normalise_what_is_escaped(bencher: Bencher) {
    let uri = Uri::from_static("//api/%61ngebote/gr%C3%BC%c3%9fe;v=1?x=%2F");
    bencher.bench_local(|| Target::of_uri(black_box(&uri)));
}

#[divan::bench]
fn host(bencher: Bencher) {
    let (headers, uri) =
        (HeaderMap::from_iter([(HOST, HeaderValue::from_static("app.example.com"))]), Uri::from_static(PATH));
    bencher.bench_local(|| request_host(black_box(&headers), &uri));
}

#[divan::bench]
fn pick_a_route(bencher: Bencher) {
    let mut table = RouteTable::new(route());
    for pattern in ["/api/*", "/api/orders", "/api/orders/{id}", "/api/register", "/static/*", "/admin/*", "/"] {
        let parsed = PathPattern::parse(pattern).expect(pattern);
        table.add(&parsed, MethodSet::ALL, route()).expect("no overlap");
    }
    bencher.bench_local(|| table.pick(&Method::GET, black_box(&["api", "orders", "4711"]), false).auth);
}

#[divan::bench]
fn cookie(bencher: Bencher) {
    let name = GatewayCookieName::parse("session-gateway").expect("a name");
    bencher
        .with_inputs(headers)
        .bench_local_refs(|headers| matches!(take_gateway_cookie(headers, &name), Presented::One(_)));
}

/// A cookie of 200 bytes, as a request brings it.
#[divan::bench]
fn open_a_sealed_cookie(bencher: Bencher) {
    let keys = Arc::new(SealingKeys::new(&Secret::new(TOKEN), &[]));
    let sealed = SealedCookies::new(vec![CookieName::new("sessionid")], keys);
    let binding = Binding::Session(session());
    let line = format!("sessionid={}; Path=/", "x".repeat(200));
    let mut answer = HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_str(&line).expect("a line"))]);
    sealed.seal(&mut answer, binding, &SystemEntropy).expect("seals");
    let pair = answer[SET_COOKIE].to_str().expect("text").split(';').next().expect("a pair").to_owned();
    let request = || {
        let mut headers = headers();
        headers.insert(COOKIE, HeaderValue::from_str(&format!("theme=dark; {pair}; lang=de")).expect("a line"));
        headers
    };
    bencher.with_inputs(request).bench_local_refs(|headers| sealed.open(headers, Some(binding)).refused);
}

/// What a request without such a cookie takes more than before.
#[divan::bench]
fn look_for_a_sealed_cookie(bencher: Bencher) {
    let keys = Arc::new(SealingKeys::new(&Secret::new(TOKEN), &[]));
    let sealed = SealedCookies::new(vec![CookieName::new("sessionid"), CookieName::new("remember_token")], keys);
    bencher.with_inputs(headers).bench_local_refs(|headers| sealed.are_in_request(headers));
}

#[divan::bench]
fn hash_the_token(bencher: Bencher) {
    let token = SessionToken::parse(TOKEN.as_bytes()).expect("a token");
    bencher.bench_local(|| black_box(&token).id());
}

/// Each session once, in an order that is not the memory's.
#[divan::bench(sample_count = 100, sample_size = 1000)]
fn look_up_what_is_cached(bencher: Bencher) {
    let mut ids: Vec<_> = (0..CACHED).map(|_| session()).collect();
    let cache = cache(&ids);
    ids.sort_unstable();
    let mut next = ids.iter().cycle();
    let mut missed = 0_usize;
    bencher.bench_local(|| {
        let known = next.next().is_some_and(|id| cache.known(*black_box(id), STALE_AT_MOST).is_some());
        missed += usize::from(!known);
    });
    assert_eq!(missed, 0, "the lease was over, or a session was not kept");
}

/// What the gateway does at each request of a client with an access token.
#[divan::bench]
fn verify_a_token_that_was_seen(bencher: Bencher) {
    let issuer = Issuer::new(Algorithm::Es256);
    let (bearer, token) = (issuer.bearer(), issuer.token(0));
    verify(&bearer, &token);
    bencher.bench_local(|| verify(black_box(&bearer), black_box(&token)));
}

/// The same at its first sight, beside [`what_the_library_takes`].
#[divan::bench(args = ALGORITHMS, sample_count = 40, sample_size = 50)]
fn verify_a_token_at_first_sight(bencher: Bencher, algorithm: Algorithm) {
    let issuer = Issuer::new(algorithm);
    let (bearer, mut next) = (issuer.bearer(), 0);
    let token = || {
        next += 1;
        issuer.token(next)
    };
    bencher.with_inputs(token).bench_local_values(|token| verify(&bearer, &token));
}

/// To check the signature alone.
#[divan::bench(args = ALGORITHMS, sample_count = 40, sample_size = 50)]
fn what_the_library_takes(bencher: Bencher, algorithm: Algorithm) {
    let issuer = Issuer::new(algorithm);
    let (library, mut next) = (issuer.library(), 0);
    let parts = || {
        next += 1;
        issuer.parts(next)
    };
    bencher.with_inputs(parts).bench_local_refs(|parts| library(parts));
}

/// Of a session whose assertion is young.
#[divan::bench]
fn assert_an_identity_once_more(bencher: Bencher) {
    let (signer, session) = (signer(), session());
    sign(&signer, session);
    bencher.bench_local(|| sign(black_box(&signer), session));
}

/// Of one that has none, or an old one.
#[divan::bench(sample_count = 20, sample_size = 50)]
fn assert_an_identity(bencher: Bencher) {
    let signer = signer();
    bencher.with_inputs(session).bench_local_values(|session| sign(&signer, session));
}

/// With a secret that is shared, for each request.
#[divan::bench]
fn sign_a_request(bencher: Bencher) {
    let form = SignedForm::Hmac(RequestSecret::new(Secret::new(TOKEN)));
    let (signer, session) = (signer_of(form), session());
    bencher.bench_local(|| sign(black_box(&signer), session));
}

fn signer() -> Signer {
    let key = SigningKey::from_pem(new_signing_key().expect("randomness").as_bytes()).expect("a key");
    signer_of(SignedForm::Jwt(vec![Arc::new(key)]))
}

fn signer_of(form: SignedForm) -> Signer {
    let clock: SharedClock = Arc::new(SystemClock);
    let rules = SignedIdentity { form, lifetime: Duration::from_secs(120) };
    Signer::new(&rules, "https://app.example.com", &clock, None)
}

fn sign(signer: &Signer, session: SessionId) -> Proof {
    let stated = Stated { tenant: Some("42"), user: "7", role: Some("admin"), session };
    let (target, upstream) = (Uri::from_static(PATH), Arc::from("default"));
    signer.sign(&stated, &Method::GET, &target, &upstream).expect("signed").1
}

fn verify(bearer: &Bearer, token: &str) -> SessionId {
    let verified = bearer.verify(token.as_bytes()).now_or_never().expect("it waits for nobody");
    verified.expect("good").id
}

#[divan::bench]
fn strip(bencher: Bencher) {
    let filter = RequestFilter::new(ProtectedNames::new(&identity_headers(), &[]), Vec::new());
    bencher.with_inputs(headers).bench_local_refs(|headers| filter.strip_request(headers).names);
}

#[divan::bench]
fn decide_for_a_session(bencher: Bencher) {
    let (route, principal, id) = (route(), principal(), session());
    bencher.bench_local(|| {
        let live = SessionFacts::Live { by: VouchedBy::Session(id), principal: black_box(&principal) };
        decide(&route, IdentityMode::Enforce, live, TenantClaim::Harmless)
    });
}

#[divan::bench]
fn inject(bencher: Bencher) {
    let (permit, names) = (permit(), identity_headers());
    let cleared = || {
        let mut headers = headers().into_map();
        headers.remove(COOKIE);
        headers.remove(&names.tenant);
        headers
    };
    bencher.with_inputs(cleared).bench_local_refs(|headers| rewrite(headers, &permit, &names, None));
}

/// The head and the body of a call's answer, of about a kilobyte, that shows none of its session's token.
#[divan::bench]
fn search_an_answer_for_a_token(bencher: Bencher) {
    let pointer = |text: &str| vec![JsonPointer::parse(text).expect("a pointer")];
    let (token, refresh_token) = (pointer("/access"), pointer("/refresh"));
    let rules = TokenRules { token, refresh_token, left: Left::Placeholder, max_token: 7 << 10, refresh: None };
    let token = |claims: &str| format!("eyJhbGciOiJIUzI1NiJ9.{}.{TOKEN}", URL_SAFE_NO_PAD.encode(claims));
    let answer = serde_json::json!({"access": token("{\"sub\":\"7\"}"), "refresh": token("{\"type\":\"refresh\"}")});
    let token = rules.take(&answer, WallTime::from_micros(0)).expect("good").expect("a token");
    let withheld = Arc::new(Withheld::of(&token, &rules).expect("something is kept back"));
    let mut headers = headers().into_map();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = bytes::Bytes::from("{\"id\":4711,\"name\":\"Wile E. Coyote\",\"amount\":\"1234.50\"}".repeat(16));
    bencher.bench_local(|| {
        withheld.clean_headers(black_box(&mut headers));
        let mut search = withheld.search(&headers, Some(body.len() as u64), read_json).expect("it is text");
        search.pass(body.clone(), true).expect("it goes out")
    });
}
