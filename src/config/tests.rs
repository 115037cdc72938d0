//! The configuration as operators meet it: files in, values or error lines out.

mod accepted;
mod alerts;
mod bearer;
mod chosen;
mod documented;
mod hostile;
mod mistakes;
mod monitor;
mod refused;
mod schema;

use std::time::Duration;

use http::Method;

use super::{Config, StoreKind};
use crate::http::{JsonPointer, SameSite};
use crate::login::Capture;
use crate::policy::{Auth, IdentityMode, PathPattern};
use crate::upstream::PeerAddress;

const MINIMAL: &str = include_str!("../../config/minimal.toml");

/// A production configuration in three lines, to which a test adds what it is about.
const BASE: &str = "server.public_url = \"https://a.test\"\nupstream.url = \"http://b\"\nstore.embedded = \"s\"\n";
/// The same in development.
const LOCAL: &str = "server = { public_url = \"http://localhost:8080\", mode = \"development\" }\n\
                     upstream.url = \"http://b\"\nstore.embedded = \"s\"\n";

fn environment(name: &str) -> Option<String> {
    match name {
        "HOST" => Some(String::from("env.test")),
        "TOKEN" => Some(String::from("from-the-environment-and-long-enough")),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, Vec<String>> {
    Config::parse("t.toml", text, &environment).map_err(|errors| errors.all().iter().map(ToString::to_string).collect())
}

fn valid(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{text}\n{}", errors.join("\n")))
}

fn errors(text: &str) -> Vec<String> {
    parse(text).err().unwrap_or_default()
}

fn auth(config: &Config, method: &Method, path: &str) -> Auth {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    config.routes.pick(method, &segments, path.ends_with('/')).auth
}

#[test]
fn the_eleven_lines_are_enough() {
    assert_eq!(MINIMAL.lines().filter(|line| !line.starts_with('#')).count(), 11);
    let config = valid(MINIMAL);
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.server.listen, ["0.0.0.0:8080".parse().expect("an address")]);
    assert_eq!(config.server.public_url.to_string(), "https://app.example.com");
    assert_eq!(
        config.upstreams.get("default").expect("an upstream").peers,
        [PeerAddress::Tcp { host: String::from("127.0.0.1"), port: 5059 }]
    );
    let StoreKind::Redis { address, .. } = &config.store.kind else { panic!("{:?}", config.store) };
    assert_eq!(address.to_string(), "redis://127.0.0.1:6379/0");
    let capture = &config.login.logins[0].rules.capture;
    let Capture::Json(pointers) = capture else { panic!("{capture:?}") };
    assert_eq!(
        pointers.tenant.iter().map(JsonPointer::as_str).collect::<Vec<_>>(),
        ["/user/customer_id", "/customer_id"]
    );
    assert_eq!(config.cookie.name.as_str(), "__Host-session");
    assert!(config.cookie.secure && config.cookie.same_site == SameSite::Lax);
    assert_eq!(config.identity.mode, IdentityMode::Enforce);
    assert_eq!(config.session.limits.absolute, Duration::from_secs(8 * 3600));
    assert_eq!(config.session.status_path.as_ref().map(PathPattern::as_str), Some("/api/session/status"));
    assert!(config.tenants.is_none() && config.admin.tokens.is_empty() && config.secrets.key.is_none());
    for (path, expected) in [
        ("/api/login", Auth::Public),
        ("/api/login/", Auth::Public),
        ("/login", Auth::Public),
        ("/api/logout", Auth::Public),
        // By POST it is the gateway's own; by any other method it is the app's, like all that is not named.
        ("/api/auth/revoke-all-tokens", Auth::Required),
        ("/api/orders", Auth::Required),
        ("/", Auth::Required),
    ] {
        assert_eq!(auth(&config, &Method::POST, path), expected, "{path}");
    }
}

#[test]
fn an_empty_file_names_all_that_is_missing() {
    assert_eq!(
        errors(""),
        [
            "t.toml:1: server.public_url: is missing; add `public_url = \"https://app.example.com\"`",
            "t.toml:1: upstream: is missing; add `[upstream]` with `url = \"http://127.0.0.1:5000\"`",
            "t.toml:1: store.redis: is missing; add `redis = \"redis://127.0.0.1:6379/0\"` or \
             `embedded = \"data/sessions.redb\"`",
        ]
    );
}

#[test]
fn all_errors_are_told_together_in_the_order_of_the_file() {
    let text = "[session]\nidel = \"5m\"\nabsolute = 8\n[server]\nmode = \"prod\"\npublic_url = \"https://a.test/app\"\n\
                [nonsense]\nx = 1\n[upstream]\nurl = \"ftp://b\"\n[store]\nembedded = \"s\"\n";
    assert_eq!(
        errors(text),
        [
            "t.toml:2: session.idel: is not a known key; did you mean `idle`?",
            "t.toml:3: session.absolute: is an integer; write a string, with its unit where it is a time or a size, as in \"30s\" or \"16MiB\"",
            "t.toml:5: server.mode: \"prod\" is not known; choose one of \"production\", \"development\"",
            "t.toml:6: server.public_url: \"https://a.test/app\" is not an origin; write scheme, host and port alone, as \
             in \"https://app.example.com\"",
            "t.toml:7: nonsense: is not a known key; remove it",
            "t.toml:10: upstream.url: is not a backend's address; write it as \"http://127.0.0.1:5000\", \"https://app.internal\" or \
             \"unix:/run/app.sock\"",
        ]
    );
}

#[test]
fn everything_that_is_wrong_with_an_event_is_said_at_once() {
    let event = "[[events]]\nmatch = \"DELETE /a\"\nroles = [\"\"]\nheader = [\"x\"]\nreason = \"x\"\nwhen = \"/n\"\nany_tenant = 1\n\
                 action = \"revoke-tenant\"";
    let lines: Vec<String> = errors(&format!("{BASE}{event}\n"));
    let keys: Vec<&str> = lines.iter().filter_map(|line| line.split(": ").nth(1)).collect();
    let expected = ["match", "roles[0]", "header[0]", "reason", "when", "any_tenant"];
    assert_eq!(keys, expected.map(|key| format!("events[0].{key}")), "{lines:#?}");
}
