//! Header names: after stripping, none can be read as a protected one, and nothing was invented.

use http::{HeaderMap, HeaderName, HeaderValue};
use session_gateway::http::{IdentityHeaders, NotedHeaders, ProtectedHeaders, ProtectedNames, RequestFilter};

/// What an old server's environment makes of a name.
fn as_read(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

fn is_protected(name: &str) -> bool {
    let read = as_read(name);
    read.starts_with("x-session-") || ["x-customer-id", "x-user-id", "x-user-role", "x-tenant-id"].contains(&&*read)
}

fn filter() -> RequestFilter {
    let name = HeaderName::from_static;
    let identity = IdentityHeaders {
        tenant: name("x-customer-id"),
        user: name("x-user-id"),
        role: name("x-user-role"),
        session: name("x-session-id"),
    };
    RequestFilter::new(ProtectedNames::new(&identity, &[name("x-tenant-id")]), vec![name("x-scheme")])
}

/// `name: value` lines.
fn parse(data: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(1000) {
        let (name, value) = line.split_at(line.iter().position(|byte| *byte == b':').unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

fn lines(headers: &HeaderMap, name: &HeaderName) -> Vec<HeaderValue> {
    headers.get_all(name).iter().cloned().collect()
}

pub fn check(data: &[u8]) {
    let (filter, sent) = (filter(), parse(data));

    let mut request = NotedHeaders::from(sent.clone());
    let stripped = filter.strip_request(&mut request);
    let claimed = sent.keys().any(|name| is_protected(name.as_str()));
    assert_eq!(!stripped.claims.is_empty(), claimed, "a claim is told, and nothing else is one: {sent:?}");
    for name in request.keys() {
        let text = name.as_str();
        assert!(!is_protected(text), "{text} reads as a protected name");
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{text} is odd");
        assert!(
            !text.starts_with("x-forwarded-") && text != "x-forwarded" && text != "forwarded" && text != "x-real-ip",
            "{text}"
        );
        for gone in ["connection", "te", "transfer-encoding", "upgrade", "remote-user", "proxy", "x-original-url"] {
            assert_ne!(text, gone);
        }
        assert_eq!(lines(&request, name), lines(&sent, name), "what stays is as it was");
    }
    for kept in ["host", "cookie", "authorization", "content-type", "origin", "x-scheme"] {
        // Even when `Connection` names it; but for what the operator allows, which it may.
        if kept != "x-scheme" {
            let kept = HeaderName::from_static(kept);
            assert_eq!(lines(&request, &kept), lines(&sent, &kept), "{kept} cannot be nominated away");
        }
    }
    let once = request.clone().into_map();
    assert!(filter.strip_request(&mut request).claims.is_empty());
    assert_eq!(*request, once, "stripping twice changes nothing");

    let mut observed = NotedHeaders::from(sent.clone());
    let told = filter.strip_request_but(&mut observed, ProtectedHeaders::LetClientsChooseTheirTenant);
    assert_eq!(told.claims, stripped.claims);
    filter.strip_request(&mut observed);
    assert_eq!(*observed, once, "a migration's way ends where the strict one does");

    let mut answer = sent.clone();
    filter.strip_response(&mut answer);
    assert!(answer.keys().all(|name| !is_protected(name.as_str()) && name != "connection"));
}
