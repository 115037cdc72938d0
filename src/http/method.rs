//! Which methods pass, and which of them cannot change anything.

use ::http::Method;

use super::Refusal;

/// Lets the methods pass that legacy apps use. All else is refused: TRACE echoes cookies, CONNECT would make a tunnel,
/// and a method in lower case or of an unknown name is read as GET by some servers and as itself by others.
///
/// # Errors
/// [`Refusal::MethodNotAllowed`].
pub fn check_method(method: &Method) -> Result<(), Refusal> {
    match method.as_str() {
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" => Ok(()),
        _ => Err(Refusal::MethodNotAllowed),
    }
}

/// Whether a method cannot change anything by its definition, so that another site may cause it.
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
            assert_eq!(check_method(&parsed).is_ok(), passes, "{method}");
            assert_eq!(is_safe(&parsed), safe, "{method}");
        }
    }
}
