//! Where the console's pages are, and what its cookies are called.

/// The first page, and what all others are below.
pub(super) const HOME: &str = "/console";
/// Where operators sign in.
pub(super) const SIGN_IN: &str = "/console/sign-in";
/// Where they sign out.
pub(super) const SIGN_OUT: &str = "/console/sign-out";
/// What was found.
pub(super) const FINDINGS: &str = "/console/findings";
/// What would have been done.
pub(super) const OBSERVED: &str = "/console/observed";
/// Live sessions.
pub(super) const SESSIONS: &str = "/console/sessions";
/// Logins that are refused.
pub(super) const LOCKS: &str = "/console/locks";
/// All tenants.
pub(super) const TENANTS: &str = "/console/tenants";
/// Who paid and has none.
pub(super) const ORPHANS: &str = "/console/tenants/orphans";
/// A tenant, by its id in the query: an id of dots alone would lead elsewhere from a path.
pub(super) const TENANT: &str = "/console/tenant";
/// What happened.
pub(super) const AUDIT: &str = "/console/audit";
/// How it looks.
pub(super) const STYLE: &str = "/console/style.css";
/// How it stays up to date.
pub(super) const SCRIPT: &str = "/console/live.js";
/// Its sign in a browser's tab.
pub(super) const ICON: &str = "/console/icon.svg";

/// The cookie of who is signed in.
pub(super) const SESSION: &str = "console";
/// The cookie of who is about to sign in.
pub(super) const VISITOR: &str = "console-visitor";

/// Whether a path is the console's.
pub(in crate::admin) fn is_for(path: &str) -> bool {
    path.strip_prefix(HOME).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A page of the console that a form names, to go back to; else that one.
pub(super) fn back(named: Option<&str>, otherwise: &str) -> String {
    let safe = named.and_then(crate::http::safe_next).filter(|page| is_for(page.split('?').next().unwrap_or_default()));
    safe.unwrap_or_else(|| otherwise.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_back_to_a_page_of_the_console_and_nowhere_else() {
        for (named, expected) in [
            ("/console", "/console"),
            ("/console/findings?severity=high&cursor=1-0", "/console/findings?severity=high&cursor=1-0"),
            ("/metrics", HOME),
            ("/consoles", HOME),
            ("//evil.test/console", HOME),
            ("https://evil.test/console", HOME),
            ("/console/../metrics", HOME),
            ("/console\\evil", HOME),
            ("", HOME),
        ] {
            assert_eq!(back(Some(named), HOME), expected, "{named}");
        }
        assert_eq!(back(None, LOCKS), LOCKS);
    }
}
