//! One line a request.
//!
//! Written by hand, for it stands on the path of every request. No query is ever in it: queries hold secrets more often
//! than not.

use std::time::Duration;

use crate::clock::WallTime;
use crate::json_line::{JsonLine, Millis, append, quoted};
use crate::session::{SessionId, TenantId, UserId};

/// The `target` of access lines, for filters.
pub const TARGET: &str = "access";

/// The longest path in a line, in bytes.
const LONGEST_PATH: usize = 2048;
/// The longest user agent in a line, in bytes.
const LONGEST_AGENT: usize = 256;

/// What is said of a request when it is over.
#[derive(Clone, Copy, Debug)]
pub struct AccessLine<'a> {
    /// The request's id.
    pub request_id: &'a str,
    /// The method.
    pub method: &'a str,
    /// The route's pattern.
    pub route: &'a str,
    /// The path. A query is left out even when it is still there.
    pub path: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// The verified tenant.
    pub tenant: Option<&'a TenantId>,
    /// The verified user.
    pub user: Option<&'a UserId>,
    /// The session.
    pub session_id: Option<SessionId>,
    /// The client's address.
    pub address: Option<&'a str>,
    /// The host that was asked for, where it is one of ours.
    pub host: Option<&'a str>,
    /// What the client calls itself.
    pub user_agent: Option<&'a str>,
    /// The protocol, as in `HTTP/2`.
    pub protocol: &'a str,
    /// The trace that the request belongs to.
    pub trace_id: Option<&'a str>,
    /// From the request's arrival to the end of its answer.
    pub duration: Duration,
    /// The backend's share of the duration; `None` when it was not asked.
    pub upstream: Option<Duration>,
    /// The gateway's own share of the duration, where it is known.
    pub added: Option<Duration>,
    /// Bytes of the request's body that were taken.
    pub bytes_received: u64,
    /// Bytes of the answer's body.
    pub bytes_sent: u64,
    /// Whether the answer was sent to its end.
    pub complete: bool,
    /// The error code, when the gateway answered by itself with one.
    pub code: Option<&'a str>,
}

impl AccessLine<'_> {
    /// Appends the line as JSON.
    pub(super) fn write_json(&self, now: WallTime, out: &mut Vec<u8>) {
        let mut line = JsonLine::open(out);
        line.text("timestamp", &now.rfc3339());
        line.text("level", "INFO");
        line.text("target", TARGET);
        line.text("request_id", self.request_id);
        line.text("method", self.method);
        line.text("route", self.route);
        line.text("path", self.shown_path());
        line.number("status", self.status.into());
        line.text_or_null("code", self.code);
        line.text_or_null("tenant", self.tenant.and_then(TenantId::name));
        line.text_or_null("user", self.user.map(UserId::as_str));
        if let Some(kind) = self.user.and_then(UserId::kind) {
            line.text("user_kind", kind);
        }
        line.text_or_null("session_id", self.session_id.as_ref().map(SessionId::as_str));
        line.text_or_null("address", self.address);
        line.text_or_null("host", self.host);
        line.text_or_null("user_agent", self.shown_user_agent());
        line.text("protocol", self.protocol);
        line.text_or_null("trace_id", self.trace_id);
        line.millis("duration_ms", self.duration);
        for (key, share) in [("upstream_ms", self.upstream), ("added_ms", self.added)] {
            match share {
                Some(share) => line.millis(key, share),
                None => line.null(key),
            }
        }
        line.number("bytes_received", self.bytes_received);
        line.number("bytes_sent", self.bytes_sent);
        line.flag("complete", self.complete);
        line.close();
    }

    /// Appends the line as text: `key=value`, quoted where a value is not one plain word.
    pub(super) fn write_text(&self, now: WallTime, out: &mut Vec<u8>) {
        append(out, format_args!("{}  INFO {TARGET}:", now.rfc3339()));
        word(out, "request_id", self.request_id);
        word(out, "method", self.method);
        word(out, "route", self.route);
        word(out, "path", self.shown_path());
        append(out, format_args!(" status={}", self.status));
        for (key, value) in [
            ("code", self.code),
            ("tenant", self.tenant.and_then(TenantId::name)),
            ("user", self.user.map(UserId::as_str)),
            ("user_kind", self.user.and_then(UserId::kind)),
            ("session_id", self.session_id.as_ref().map(SessionId::as_str)),
        ] {
            if let Some(value) = value {
                word(out, key, value);
            }
        }
        for (key, value) in [
            ("address", self.address),
            ("host", self.host),
            ("user_agent", self.shown_user_agent()),
            ("protocol", Some(self.protocol)),
            ("trace_id", self.trace_id),
        ] {
            if let Some(value) = value {
                word(out, key, value);
            }
        }
        append(out, format_args!(" duration_ms={}", Millis(self.duration)));
        for (key, share) in [("upstream_ms", self.upstream), ("added_ms", self.added)] {
            if let Some(share) = share {
                append(out, format_args!(" {key}={}", Millis(share)));
            }
        }
        append(out, format_args!(" bytes_received={} bytes_sent={}", self.bytes_received, self.bytes_sent));
        append(out, format_args!(" complete={}\n", self.complete));
    }

    /// The client's name for itself, cut when it is long.
    pub(super) fn shown_user_agent(&self) -> Option<&str> {
        self.user_agent.map(|agent| agent.get(..agent.floor_char_boundary(LONGEST_AGENT)).unwrap_or_default())
    }

    /// The path, without a query, cut when it is long.
    pub(super) fn shown_path(&self) -> &str {
        let path = self.path.split(['?', '#']).next().unwrap_or_default();
        path.get(..path.floor_char_boundary(LONGEST_PATH)).unwrap_or_default()
    }
}

fn word(out: &mut Vec<u8>, key: &str, value: &str) {
    append(out, format_args!(" {key}="));
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    if !value.is_empty() && value.bytes().all(plain) {
        out.extend_from_slice(value.as_bytes());
    } else {
        quoted(out, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: WallTime = WallTime::from_micros(1_700_000_000_000_000);

    fn line<'a>() -> AccessLine<'a> {
        AccessLine {
            request_id: "r-1",
            method: "GET",
            route: "/api/*",
            path: "/api/orders",
            status: 200,
            tenant: None,
            user: None,
            session_id: None,
            address: Some("192.0.2.1"),
            host: Some("app.example.com"),
            user_agent: Some("curl/7.88"),
            protocol: "HTTP/2",
            trace_id: None,
            duration: Duration::from_micros(12_345),
            upstream: Some(Duration::from_millis(12)),
            added: Some(Duration::from_micros(345)),
            bytes_received: 3,
            bytes_sent: 17,
            complete: true,
            code: None,
        }
    }

    fn json(line: &AccessLine<'_>) -> String {
        let mut out = Vec::new();
        line.write_json(NOON, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    fn text(line: &AccessLine<'_>) -> String {
        let mut out = Vec::new();
        line.write_text(NOON, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn a_request_is_one_line_in_either_format() {
        let tenant = TenantId::parse("acme").expect("a tenant");
        let user = UserId::parse("7").expect("a user");
        let session_id = SessionId::parse(&[b'a'; 22]);
        let line = AccessLine { tenant: Some(&tenant), user: Some(&user), session_id, ..line() };
        assert_eq!(
            json(&line),
            "{\"timestamp\":\"2023-11-14T22:13:20.000Z\",\"level\":\"INFO\",\"target\":\"access\",\
             \"request_id\":\"r-1\",\"method\":\"GET\",\"route\":\"/api/*\",\"path\":\"/api/orders\",\"status\":200,\
             \"code\":null,\"tenant\":\"acme\",\"user\":\"7\",\"session_id\":\"aaaaaaaaaaaaaaaaaaaaaa\",\
             \"address\":\"192.0.2.1\",\"host\":\"app.example.com\",\"user_agent\":\"curl/7.88\",\"protocol\":\"HTTP/2\",\
             \"trace_id\":null,\"duration_ms\":12.345,\"upstream_ms\":12.000,\"added_ms\":0.345,\
             \"bytes_received\":3,\"bytes_sent\":17,\"complete\":true}\n"
        );
        assert_eq!(
            text(&line),
            "2023-11-14T22:13:20.000Z  INFO access: request_id=r-1 method=GET route=/api/* path=/api/orders \
             status=200 tenant=acme user=7 session_id=aaaaaaaaaaaaaaaaaaaaaa address=192.0.2.1 host=app.example.com \
             user_agent=curl/7.88 protocol=HTTP/2 duration_ms=12.345 upstream_ms=12.000 added_ms=0.345 bytes_received=3 \
             bytes_sent=17 complete=true\n"
        );
    }

    #[test]
    fn a_query_is_never_shown() {
        for path in ["/a?token=secret", "/a#secret", "/a?x#secret"] {
            let line = AccessLine { path, ..line() };
            for shown in [json(&line), text(&line)] {
                assert!(shown.contains("/a") && !shown.contains("secret"), "{shown}");
            }
        }
    }

    #[test]
    fn a_hostile_value_stays_one_bounded_ascii_line() {
        let long = "/ä".repeat(100_000);
        for path in ["/a\r\nforged", "/\u{1b}[2J", "/\u{2028}", "/a b=\"c\"", "/\\", &long] {
            let line = AccessLine { path, method: path, user_agent: Some(path), ..line() };
            let bounded = AccessLine { method: "GET", ..line };
            for shown in [json(&line), text(&line)] {
                assert_eq!(shown.matches('\n').count(), 1, "{path:?}");
                assert!(shown.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{path:?}");
            }
            assert!(json(&bounded).len() < 16 * 1024);
            let read: serde_json::Value = serde_json::from_str(&json(&bounded)).expect("JSON");
            assert!(path.starts_with(read["path"].as_str().expect("a path")));
        }
    }
}
