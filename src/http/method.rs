//! Which methods pass, and which of them cannot change anything.

use ::http::Method;

use super::Refusal;

/// The methods that always pass: those that legacy apps use.
pub const USUAL_METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The longest name of a method.
const LONGEST_METHOD: usize = 32;

/// Reads the name of a further method to let through (`server.methods`): WebDAV's, QUERY, PURGE.
///
/// # Errors
/// What is wrong with it. TRACE echoes cookies, and CONNECT would make a tunnel.
pub fn further_method(name: &str) -> Result<Method, &'static str> {
    if matches!(name, "TRACE" | "CONNECT") {
        return Err("is never forwarded");
    }
    if USUAL_METHODS.contains(&name) {
        return Err("is always forwarded; leave it out");
    }
    let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = name.starts_with(|c: char| c.is_ascii_uppercase()) && name.len() <= LONGEST_METHOD;
    let method = if is_name && name.bytes().all(is_plain) { Method::from_bytes(name.as_bytes()).ok() } else { None };
    method.ok_or("is not a method; write its name in capitals, as in \"PROPFIND\"")
}

/// Lets the usual methods pass and those that are `further` named. All else is refused: a method in lower case or of an
/// unknown name is read as GET by some servers and as itself by others.
///
/// # Errors
/// [`Refusal::MethodNotAllowed`].
pub fn check_method(method: &Method, further: &[Method]) -> Result<(), Refusal> {
    match method.as_str() {
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => Ok(()),
        _ if further.contains(method) => Ok(()),
        _ => Err(Refusal::MethodNotAllowed),
    }
}

/// Whether a method cannot change anything by its definition, so that another site may cause it. Of a further one nobody
/// here knows what an app makes of it.
#[must_use]
pub fn is_safe(method: &Method) -> bool {
    matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_connect_unknown_and_lower_case_methods_are_refused() {
        for (method, passes, safe) in [
            ("GET", true, true),
            ("HEAD", true, true),
            ("OPTIONS", true, true),
            ("POST", true, false),
            ("PUT", true, false),
            ("PATCH", true, false),
            ("DELETE", true, false),
            ("TRACE", false, false),
            ("CONNECT", false, false),
            ("get", false, false),
            ("Post", false, false),
            ("PROPFIND", false, false),
            ("QUERY", false, false),
        ] {
            let parsed = Method::from_bytes(method.as_bytes()).expect("a token");
            assert_eq!(check_method(&parsed, &[]).is_ok(), passes, "{method}");
            assert_eq!(is_safe(&parsed), safe, "{method}");
        }
    }

    #[test]
    fn a_further_method_passes_by_its_exact_name_and_is_not_safe() {
        let further = [further_method("PROPFIND").expect("a method"), further_method("M-SEARCH").expect("a method")];
        for (name, passes) in [("PROPFIND", true), ("M-SEARCH", true), ("propfind", false), ("MKCOL", false)] {
            let method = Method::from_bytes(name.as_bytes()).expect("a token");
            assert_eq!(check_method(&method, &further).is_ok(), passes, "{name}");
            assert!(!is_safe(&method));
        }
        for name in ["TRACE", "CONNECT", "GET", "propfind", "", "A B", "A_B", "-A", "Ä", &"A".repeat(33)] {
            assert!(further_method(name).is_err(), "{name}");
        }
    }
}
