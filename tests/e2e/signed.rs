//! Signed identities (docs/signed-identity.md): what is signed, for whom, by which key; and real apps that believe nobody else.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use session_gateway::jwt::{Algorithm, Compact, KeySet};

use crate::on_both_stores;
use crate::support::backend::Backend;
use crate::support::echo::Seen;
use crate::support::gateway::{Builder, program};
use crate::support::issuer::{believing, id_of};
use crate::support::logins::identity;
use crate::support::ports::{free_port, local};
use crate::support::process::Process;
use crate::support::python::python;
use crate::support::{
    Browser, Gateway, Issuer, SESSION_COOKIE, Store, Wire, answer, echo, gateway, scratch, wait_until,
};

const KEYS: &str = "/.well-known/session-gateway/jwks.json";
const SECRET: &str = "kY3v0bq8Zr5mT1xW7nC4uJ9sL2dG6hPa";

/// A new key, as `keygen` prints it.
fn new_key() -> String {
    let output = program(&scratch()).args(["keygen", "--signing"]).output().expect("it runs");
    assert!(output.status.success() && output.stderr.is_empty());
    String::from_utf8(output.stdout).expect("text")
}

fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, private).expect("it is ours");
}

/// A gateway that signs in this form, with a key of its own in `signed.key`.
fn signing(store: Store, form: &str) -> Builder {
    let builder = gateway(store).set("identity.signed", form).set("identity.signed_keys", vec!["signed.key"]);
    let key = if form == "jwt" { new_key() } else { SECRET.to_owned() };
    write_private(&builder.directory().join("signed.key"), &key);
    builder
}

fn public_url(builder: &Builder) -> String {
    builder.config()["server"]["public_url"].as_str().expect("a text").to_owned()
}

fn published(gateway: &Gateway) -> KeySet {
    let document = gateway.browser().get(KEYS).expect(200).text();
    KeySet::from_jwks(document.as_bytes(), &[Algorithm::Es256]).expect("a set of keys")
}

/// The claims of a request's assertion, checked with what the gateway publishes and against the headers beside it.
#[track_caller]
fn asserted(gateway: &Gateway, seen: &Seen) -> Value {
    let token = seen.header("x-session-assertion").expect("an assertion");
    let token = Compact::parse(token).expect("a token");
    published(gateway).verify(&token, &[Algorithm::Es256]).expect("it is the gateway's");
    let claims = Value::Object(token.claims().expect("claims"));
    for (header, claim) in
        [("x-customer-id", "tenant"), ("x-user-id", "sub"), ("x-user-role", "role"), ("x-session-id", "sid")]
    {
        assert_eq!(seen.header(header), claims[claim].as_str(), "{header}");
    }
    claims
}

on_both_stores!(an_assertion_goes_with_every_identity_and_with_nothing_else, |store| {
    let (backend, issuer) = (echo(), Issuer::new("k1"));
    Issuer::publish(&backend, &[&issuer]);
    let headers = [("X-Session-Event", "switch-tenant"), ("X-Session-Tenant", "77")];
    backend.on("/switch", vec![answer("200 OK", &headers, "{}")]);
    let builder = signing(store, "jwt");
    let url = public_url(&builder);
    let gateway = builder
        .with_backend(&backend)
        .settings(&believing(&backend))
        .settings(
            "[[routes]]\nmatch = \"/open\"\nauth = \"optional\"\n\
             [[routes]]\nmatch = \"/other\"\nupstream = \"billing\"\n\
             [[events]]\nmatch = \"POST /switch\"\nheader = [\"switch-tenant\"]\n",
        )
        .settings(&format!("[upstreams.billing]\nurl = \"http://{}\"\n", backend.address()))
        .start();
    gateway.wait_log(&["the keys of an issuer of tokens are others"]);

    let mut browser = gateway.logged_in_as("42", "7", "admin");
    let login = backend.last();
    assert!(login.header("x-session-assertion").is_none(), "nobody was logged in yet");
    browser.get("/x").expect(200);
    let claims = asserted(&gateway, &backend.last());
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(url), &json!("default")));
    assert_eq!((&claims["tenant"], &claims["sub"], &claims["role"]), (&json!("42"), &json!("7"), &json!("admin")));
    assert_eq!(claims["exp"].as_u64().expect("a time") - claims["iat"].as_u64().expect("a time"), 120);
    let first = backend.last().header("x-session-assertion").map(str::to_owned);
    browser.get("/y").expect(200);
    assert_eq!(backend.last().header("x-session-assertion").map(str::to_owned), first, "it is used again");
    browser.get("/other").expect(200);
    assert_eq!(asserted(&gateway, &backend.last())["aud"], json!("billing"));
    browser.get("/open").expect(200);
    assert_eq!(asserted(&gateway, &backend.last())["aud"], json!("default"));

    // The tenant that a session goes on in is what is signed from then on.
    browser.post("/switch").expect(200);
    asserted(&gateway, &backend.seen_at("/switch").pop().expect("it came"));
    browser.get("/x").expect(200);
    assert_eq!(asserted(&gateway, &backend.last())["tenant"], json!("77"));

    // A token is vouched for as a session is.
    let token = issuer.token(&json!({}));
    gateway.browser().with_header("Authorization", &format!("Bearer {token}")).get("/x").expect(200);
    assert_eq!(asserted(&gateway, &backend.last())["sid"], json!(id_of(&token)));

    // Nobody is vouched for where there is nobody; and what a client brings goes under all its names.
    for path in ["/public/x", "/open"] {
        for name in ["X-Session-Assertion", "X_Session_Assertion", "x-session.assertion", "X-Session-Signature"] {
            let proof = first.as_deref().expect("an assertion");
            gateway.browser().with_header(name, proof).get(path).expect(200);
            let raw = String::from_utf8_lossy(&backend.last().raw).to_ascii_lowercase();
            assert!(!raw.contains("assertion") && !raw.contains("signature"), "{name}: {raw}");
        }
    }
    browser.request("GET", "/x").header("X-Session-Assertion", "e30.e30.e30").send().expect(200);
    asserted(&gateway, &backend.last());
    // Nor does a backend tell it to a client.
    backend.on("/told", vec![answer("200 OK", &[("X-Session-Assertion", "a.b.c")], "")]);
    assert!(browser.get("/told").expect(200).header("x-session-assertion").is_none());
});

#[test]
fn what_stands_in_for_a_tenant_is_signed_as_it_is_told() {
    let backend = echo();
    for (anonymous, tenant) in [("omit", Value::Null), ("0", json!("0"))] {
        let gateway = signing(Store::Embedded, "jwt")
            .with_backend(&backend)
            .set("identity.anonymous", anonymous)
            .set("login.without_tenant", "session")
            .start();
        let mut browser = gateway.browser();
        browser.log_in_with(&json!({"success": true, "user": {"user_id": "7"}})).expect(200);
        browser.get("/x").expect(200);
        assert_eq!(asserted(&gateway, &backend.last())["tenant"], tenant);
        gateway.browser().get("/public/x").expect(200);
        assert!(backend.last().header("x-session-assertion").is_none());
    }
}

#[test]
fn a_migration_passes_on_no_proof_of_a_client() {
    let backend = echo();
    let gateway = signing(Store::Embedded, "jwt").with_backend(&backend).set("identity.mode", "observe").start();
    gateway.wait_log(&["identity.signed", "observe"]);
    for name in ["X-Session-Assertion", "X_Session_Signature"] {
        let mut client = gateway.browser().with_header(name, "a.b.c").with_header("X-Customer-ID", "77");
        client.get("/x").expect(200);
        let raw = String::from_utf8_lossy(&backend.last().raw).to_ascii_lowercase();
        assert!(raw.contains("x-customer-id: 77") && !raw.contains("a.b.c"), "{raw}");
    }
}

#[test]
fn keys_are_published_on_both_listeners_where_there_are_any() {
    let backend = echo();
    let gateway = signing(Store::Embedded, "jwt").with_backend(&backend).start();
    let answer = gateway.browser().get(KEYS).expect(200);
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
    let key = &answer.json()["keys"][0];
    assert_eq!(
        (&key["kty"], &key["crv"], &key["use"], &key["alg"]),
        (&json!("EC"), &json!("P-256"), &json!("sig"), &json!("ES256"))
    );
    assert!(key.get("d").is_none());
    assert_eq!(gateway.admin_get(KEYS).expect(200).json(), answer.json());
    // By address too, as backends ask.
    gateway.exchange(format!("GET {KEYS} HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n")).expect(200);
    assert_eq!(gateway.browser().request("HEAD", KEYS).send().expect(200).text(), "");
    gateway.browser().post(KEYS).expect_refusal(405, "method_not_allowed");
    assert!(backend.seen().is_empty());
    for form in ["hmac", "off"] {
        let gateway = signing(Store::Embedded, "hmac").with_backend(&backend).set("identity.signed", form).start();
        gateway.browser().get(KEYS).expect(401);
        gateway.admin_get(KEYS).expect(404);
    }
}

#[test]
fn what_is_signed_is_of_the_moment_at_which_the_backend_is_asked_however_long_the_body_takes() {
    let backend = echo();
    let gateway = signing(Store::Embedded, "hmac").with_backend(&backend).start();
    let browser = gateway.logged_in("42", "7");
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let mut upload = gateway.wire();
    let begun = seconds();
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: localhost\r\nCookie: {SESSION_COOKIE}={}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
        browser.token()
    );
    upload.send(head);
    // The signature's times are whole seconds of the real clock.
    wait_until("another second", || (seconds() > begun + 1).then_some(()));
    upload.send("1\r\nb\r\n0\r\n\r\n").receive().expect(200);
    let signature = backend.wait_for("/upload").header("x-session-signature").expect("signed").to_owned();
    let of: u64 =
        signature.strip_prefix("t=").and_then(|rest| rest.split(',').next()).expect("a time").parse().expect("digits");
    assert!(of > begun + 1, "{signature}, begun {begun}");
}

/// A real app, under a real server, that believes the gateway alone.
struct SignedApp {
    address: SocketAddr,
    process: Process,
}

impl Backend for SignedApp {
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The applications of tests/python/signed_apps.py.
const APPS: [&str; 3] = ["flask", "django_wsgi", "django_asgi"];

fn app(name: &str, gateway: &Builder, form: &str) -> SignedApp {
    let address = local(free_port());
    let target = format!("tests.python.signed_apps:{name}");
    let mut command = if name.ends_with("asgi") {
        let mut command = Command::new(python("uvicorn"));
        command.args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--log-level", "warning", &target]);
        command
    } else {
        let mut command = Command::new(python("gunicorn"));
        command.args(["--workers", "2", "--no-control-socket", "--bind", &address.to_string(), &target]);
        command
    };
    let url = public_url(gateway);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("SIGNED", form)
        .env("GATEWAY", &url)
        .env("PYTHONUNBUFFERED", "1");
    command.env("KEYS", format!("{url}{KEYS}")).env("SECRET", gateway.directory().join("signed.key"));
    let mut process = Process::spawn(&mut command);
    process.wait_ready(name, || {
        let request = "GET /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        Wire::try_connect(address)
            .and_then(|mut wire| wire.try_send(request).and_then(|()| wire.try_receive("GET")))
            .is_ok_and(|response| response.status == 200)
    });
    SignedApp { address, process }
}

/// A gateway in front of an app, and a browser that is logged in.
fn in_front_of(name: &str, form: &str) -> (SignedApp, Gateway, Browser) {
    let builder = signing(Store::Embedded, form);
    let app = app(name, &builder, form);
    let gateway = builder.with_backend(&app).start();
    let mut browser = gateway.browser();
    let mut answer = identity("42", "7");
    answer["user"]["role"] = "admin".into();
    browser.log_in_with(&answer).expect(200);
    (app, gateway, browser)
}

/// The header lines that an app was told, to be sent again by somebody else.
fn told(answer: &Value) -> Vec<(String, String)> {
    let told = answer["told"].as_object().expect("an object").iter();
    told.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

fn straight(app: &SignedApp, method: &str, target: &str, headers: &[(String, String)]) -> u16 {
    let mut client = Browser::new(app.address);
    let request =
        headers.iter().fold(client.request(method, target), |request, (name, value)| request.header(name, value));
    request.send().status
}

fn with(headers: &[(String, String)], name: &str, value: &str) -> Vec<(String, String)> {
    let mut headers: Vec<_> = headers.iter().filter(|(other, _)| other != name).cloned().collect();
    if !value.is_empty() {
        headers.push((name.to_owned(), value.to_owned()));
    }
    headers
}

/// What everybody gets, and what nobody gets who goes around the gateway.
#[track_caller]
fn believes_the_gateway_alone(name: &str, form: &str) -> (SignedApp, Gateway, Vec<(String, String)>) {
    let (app, gateway, mut browser) = in_front_of(name, form);
    let target = "/orders/a%20b;c=1?page=2&x=%2C&y=a+b";
    let first = browser.get(target).expect(200).json();
    assert_eq!(
        (&first["checked"]["tenant"], &first["checked"]["role"]),
        (&json!("42"), &json!("admin")),
        "{name} {first}"
    );
    browser.post_json("/orders", &json!({"a": 1})).expect(200);
    browser.get("/orders?x").expect(200);
    // An empty query is sent as it came.
    browser.get("/orders?").expect(200);
    // On a public path nobody is told of anybody.
    let public = browser.get("/public/x").expect(200).json();
    assert_eq!((&public["checked"], told(&public).len()), (&Value::Null, 0), "{name}");

    let good = told(&first);
    let without = |name: &str| with(&good, name, "");
    let proof = if form == "jwt" { "X-Session-Assertion" } else { "X-Session-Signature" };
    for (row, headers) in [
        ("nothing", Vec::new()),
        ("headers without a proof", without(proof)),
        ("a proof without the tenant", without("X-Customer-ID")),
        ("a proof without the session", without("X-Session-ID")),
        ("a proof without the role", without("X-User-Role")),
        ("another tenant", with(&good, "X-Customer-ID", "77")),
        ("another tenant beside it", [good.clone(), vec![("X-Customer-ID".into(), "77".into())]].concat()),
        ("another user", with(&good, "X-User-ID", "8")),
        ("another role", with(&good, "X-User-Role", "owner")),
        ("another session", with(&good, "X-Session-ID", "AAAAAAAAAAAAAAAAAAAAAA")),
        ("an empty proof", with(&good, proof, " ")),
        ("garbage", with(&good, proof, "x.y.z")),
        ("the proof twice", [good.clone(), good.iter().filter(|(name, _)| name == proof).cloned().collect()].concat()),
    ] {
        assert_eq!(straight(&app, "GET", target, &headers), 401, "{name} {form}: {row}");
    }
    // Who goes around the gateway where no proof is asked for is nobody.
    let mut stranger = Browser::new(app.address);
    let seen = stranger.request("GET", "/public/x").header("X-Customer-ID", "77").header("X-User-ID", "1").send();
    assert_eq!(told(&seen.expect(200).json()).len(), 0, "{name}");
    assert!(app.process.lines().iter().any(|line| line.contains("refused: ")), "{name}: {:?}", app.process.lines());
    (app, gateway, good)
}

#[test]
fn real_apps_believe_an_assertion_of_the_gateway_and_no_other() {
    for name in APPS {
        let (app, gateway, good) = believes_the_gateway_alone(name, "jwt");
        let pem = std::fs::read_to_string(gateway.file("signed.key")).expect("its key");
        let der =
            STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).expect("base64");
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random).expect("a key");
        let (_, token) = good.iter().find(|(name, _)| name == "X-Session-Assertion").expect("one");
        let parts: Vec<&str> = token.split('.').collect();
        let part = |text: &str| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON")
        };
        let (head, claims) = (part(parts[0]), part(parts[1]));
        let b64 = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let changed = |of: &Value, name: &str, to: Value| {
            let mut of = of.clone();
            of[name] = to;
            of
        };
        let made = |head: &Value, claims: &Value| {
            let input = format!("{}.{}", b64(head), b64(claims));
            let signature = key.sign(&random, input.as_bytes()).expect("a signature");
            format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
        };
        let now = jiff::Timestamp::now().as_second();
        let claim = |name: &str, to: Value| made(&head, &changed(&claims, name, to));
        let shared = |secret: &[u8]| {
            let input = format!("{}.{}", b64(&changed(&head, "alg", json!("HS256"))), b64(&claims));
            let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), input.as_bytes());
            format!("{input}.{}", URL_SAFE_NO_PAD.encode(tag))
        };
        let jwks = gateway.browser().get(KEYS).expect(200).text();
        for (row, token, status) in [
            ("the very same, while it counts", made(&head, &claims), 200),
            ("over", made(&head, &changed(&changed(&claims, "iat", json!(now - 200)), "exp", json!(now - 60))), 401),
            ("of tomorrow", claim("iat", json!(now + 600)), 401),
            ("for another app", claim("aud", json!("billing")), 401),
            ("of another gateway", claim("iss", json!("https://elsewhere.test")), 401),
            ("without an end", claim("exp", Value::Null), 401),
            ("of a list of tenants", claim("tenant", json!(["42"])), 401),
            ("without a session", claim("sid", Value::Null), 401),
            ("alg none", format!("{}.{}.", b64(&changed(&head, "alg", json!("none"))), parts[1]), 401),
            ("the public key as a secret", shared(jwks.as_bytes()), 401),
            ("a key that nobody published", made(&changed(&head, "kid", json!("other")), &claims), 401),
            ("no key's name", made(&changed(&head, "kid", Value::Null), &claims), 401),
            (
                "the signature of other claims",
                format!("{}.{}.{}", parts[0], b64(&changed(&claims, "tenant", json!("77"))), parts[2]),
                401,
            ),
            ("no signature", format!("{}.{}.", parts[0], parts[1]), 401),
        ] {
            let headers = with(&good, "X-Session-Assertion", &token);
            assert_eq!(straight(&app, "GET", "/orders", &headers), status, "{name}: {row}");
        }
    }
}

#[test]
fn real_apps_believe_a_signature_of_this_very_request_alone() {
    let sign = |time: i64, method: &str, target: &str, good: &[(String, String)], secret: &str| {
        let said = |name: &str| good.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value);
        let names = ["X-Customer-ID", "X-User-ID", "X-User-Role", "X-Session-ID"].map(said);
        let time = time.to_string();
        let lines = ["v1", &time, method, target].into_iter().chain(names);
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes()), text.as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("t={time},v1={hex}")
    };
    for name in APPS {
        let (app, _gateway, good) = believes_the_gateway_alone(name, "hmac");
        let now = jiff::Timestamp::now().as_second();
        // What was sent once is good for that request alone.
        assert_eq!(straight(&app, "GET", "/orders/a%20b;c=1?page=2&x=%2C&y=a+b", &good), 200, "{name}");
        for (row, method, target) in [
            ("another path", "GET", "/orders/4711?page=2&x=%2C&y=a+b"),
            ("another spelling of it", "GET", "/orders/a%20b%3Bc=1?page=2&x=%2C&y=a+b"),
            ("another query", "GET", "/orders/a%20b;c=1?page=3&x=%2C&y=a+b"),
            ("another spelling of that", "GET", "/orders/a%20b;c=1?page=2&x=,&y=a+b"),
            ("another method", "POST", "/orders/a%20b;c=1?page=2&x=%2C&y=a+b"),
        ] {
            assert_eq!(straight(&app, method, target, &good), 401, "{name}: {row}");
        }
        let hex = sign(now, "GET", "/x", &good, SECRET).split_once(",v1=").expect("two parts").1.to_owned();
        for (row, signature, status) in [
            ("now", sign(now, "GET", "/x", &good, SECRET), 200),
            ("a moment ago", sign(now - 20, "GET", "/x", &good, SECRET), 200),
            ("too long ago", sign(now - 40, "GET", "/x", &good, SECRET), 401),
            ("ahead", sign(now + 60, "GET", "/x", &good, SECRET), 401),
            ("another secret", sign(now, "GET", "/x", &good, "another secret of thirty-two bytes"), 401),
            ("another time than was signed", format!("t={},v1={hex}", now - 1), 401),
            ("capitals", format!("t={now},v1={}", hex.to_ascii_uppercase()), 401),
            ("half of it", format!("t={now},v1={}", &hex[..32]), 401),
            ("another version", format!("t={now},v2={hex}"), 401),
            ("more behind it", format!("t={now},v1={hex},v1={hex}"), 401),
            ("no time", format!("t=,v1={hex}"), 401),
        ] {
            let headers = with(&good, "X-Session-Signature", &signature);
            assert_eq!(straight(&app, "GET", "/x", &headers), status, "{name}: {row}");
        }
    }
}

#[test]
fn a_websocket_of_an_asgi_app_is_opened_for_whom_the_gateway_vouches_for_alone() {
    for form in ["jwt", "hmac"] {
        let (app, gateway, browser) = in_front_of("plain_asgi", form);
        let (answer, mut tab) = gateway.ask(&browser, "/socket?x=1", &[]);
        answer.expect(101);
        let told = String::from_utf8_lossy(&tab.0.rest()).into_owned();
        assert!(told.contains("\"tenant\": \"42\"") && told.contains("\"role\": \"admin\""), "{form}: {told}");
        // Around it nobody gets in.
        let handshake = gateway.handshake(&browser, "/socket?x=1", &["X-Customer-ID: 42", "X-User-ID: 7"]);
        assert_eq!(Wire::connect(app.address).send(handshake).receive().status, 403, "{form}");
    }
}

#[test]
fn a_key_is_changed_under_load_and_no_stale_assertion_goes_out() {
    // oathkeeper#763: what was signed before went on to be handed out, and backends refused it.
    let builder = signing(Store::Embedded, "jwt").set("identity.signed_lifetime", "10s");
    let app = app("flask", &builder, "jwt");
    let gateway = builder.with_backend(&app).start();
    let mut browser = gateway.browser();
    browser.log_in_with(&identity("42", "7")).expect(200);
    let kid = |browser: &mut Browser| {
        let token =
            browser.get("/x").expect(200).json()["told"]["X-Session-Assertion"].as_str().expect("one").to_owned();
        Compact::parse(&token).expect("a token").header().kid.as_deref().expect("a name").to_owned()
    };
    let old = kid(&mut browser);
    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..3)
        .map(|number| {
            let (over, asked, mut browser) = (over.clone(), asked.clone(), gateway.browser());
            browser.log_in_with(&identity("42", number.to_string())).expect(200);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    browser.get("/x").expect(200);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    write_private(&gateway.file("signed.key"), &new_key());
    gateway.reload();
    assert_eq!(kid(&mut browser), old, "what nobody has seen yet signs nothing");
    assert_eq!(gateway.browser().get(KEYS).expect(200).json()["keys"].as_array().expect("a list").len(), 2);
    wait_until("the new key", || (kid(&mut browser) != old).then_some(()));
    // What the old one signed is believed on.
    let before = asked.load(Ordering::Relaxed);
    wait_until("some more requests", || (asked.load(Ordering::Relaxed) > before + 200).then_some(()));
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("every request was answered with 200");
    }
    assert_eq!(gateway.browser().get(KEYS).expect(200).json()["keys"].as_array().expect("a list").len(), 2);
}

#[test]
fn a_key_that_cannot_sign_is_refused_at_start_and_by_check_with_what_mends_it() {
    let public = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8xOUetsCa8EfOlDEBAfREhJqspDoyEh6Szz2in47Tv5n52m9dLYyPCbqZkOB5nTSqtscpkQD/HpykCggvx09iQ==\n-----END PUBLIC KEY-----\n";
    for (form, key, says) in [
        ("jwt", "", "session-gateway keygen --signing"),
        ("jwt", SECRET, "session-gateway keygen --signing"),
        ("jwt", public, "is a public key"),
        ("hmac", "t1ny", "session-gateway keygen"),
        ("hmac", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "session-gateway keygen"),
        ("hmac", "changeme-changeme-changeme-changeme", "session-gateway keygen"),
        (
            "hmac",
            "-----BEGIN PRIVATE KEY-----\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n",
            "for `signed = \"jwt\"`",
        ),
    ] {
        let builder = || {
            let builder = signing(Store::Embedded, form).set("upstream.url", "http://127.0.0.1:1");
            write_private(&builder.directory().join("signed.key"), key);
            builder.set("server.mode", "production").set("server.public_url", "https://a.test")
        };
        let (status, said) = builder().refused();
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(said.contains("identity.signed_keys[0]") && said.contains(says), "{said}");
        let checked = builder().check(&[]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.code() == Some(2) && said.contains(says), "{said}");
        assert!(key.is_empty() || key.starts_with('-') || !said.contains(key), "{said}");
    }
}

on_both_stores!(what_is_signed_is_the_tenant_that_was_chosen_however_requests_alternate, |store| {
    let backend = echo();
    let gateway = signing(store, "jwt")
        .with_backend(&backend)
        .set("identity.client_value", "choose")
        .set("login.tenants", vec!["/memberships/*"])
        .start();
    let mut browser = gateway.browser();
    browser.log_in_with(&json!({"customer_id": 42, "user_id": 7, "memberships": [77, 99]})).expect(200);
    for tenant in ["42", "77", "42", "99", "77", "77"] {
        browser.request("GET", "/x").header("X-Customer-ID", tenant).send().expect(200);
        assert_eq!(asserted(&gateway, &backend.last())["tenant"], tenant);
    }
});
