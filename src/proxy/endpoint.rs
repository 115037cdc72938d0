//! What a path stands for when it is not simply forwarded.

use http::Method;

use crate::config::Config;
use crate::policy::{Aim, PatternTree};

/// One of the gateway's own paths, or one of the backend's that makes or ends sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Login,
    Logout,
    LogoutAll,
    Status,
    Refresh,
}

impl Endpoint {
    /// Whether a request of this method is for the endpoint at all, or goes on to the backend.
    pub(super) fn takes(self, method: &Method) -> bool {
        match self {
            Self::Login | Self::LogoutAll => *method == Method::POST,
            // It asks what may be asked.
            Self::Logout => *method != Method::OPTIONS,
            Self::Status | Self::Refresh => true,
        }
    }

    /// Whether a request of this method, that perhaps only looks `ahead`, is to make and end nothing. The backend must
    /// not hear of it: the app's own handler would act.
    pub(super) fn ignores(self, method: &Method, ahead: bool) -> bool {
        match self {
            Self::Login => ahead,
            Self::Logout => ahead || *method == Method::HEAD,
            Self::LogoutAll | Self::Status | Self::Refresh => false,
        }
    }

    /// The methods that it answers by itself, whatever the backend knows of it, as a preflight is told them.
    pub(super) const fn answered_methods(self) -> Option<&'static str> {
        match self {
            Self::Status => Some("GET, HEAD"),
            Self::Refresh | Self::LogoutAll => Some("POST"),
            // The backend has them, too, and knows who may call it.
            Self::Login | Self::Logout => None,
        }
    }

    /// Whether the exchange goes on when the client hangs up.
    pub(super) const fn runs_to_its_end(self) -> bool {
        matches!(self, Self::Login | Self::Logout | Self::LogoutAll)
    }

    /// What the cross-origin rule takes a call of it for.
    pub(super) const fn aim(self) -> Aim {
        match self {
            Self::Login => Aim::LogIn,
            Self::Logout => Aim::LogOut,
            Self::LogoutAll => Aim::LogOutEverywhere,
            Self::Status | Self::Refresh => Aim::Endpoint,
        }
    }
}

/// Which paths they have.
pub(super) fn endpoints(config: &Config) -> PatternTree<Endpoint> {
    let mut tree = PatternTree::default();
    for pattern in &config.login.paths {
        tree.insert(pattern, Endpoint::Login);
    }
    for pattern in &config.logout.paths {
        tree.insert(pattern, Endpoint::Logout);
    }
    let others = [
        (&config.logout.all_path, Endpoint::LogoutAll),
        (&config.session.status_path, Endpoint::Status),
        (&config.session.refresh_path, Endpoint::Refresh),
    ];
    for (pattern, endpoint) in others {
        if let Some(pattern) = pattern {
            tree.insert(pattern, endpoint);
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_ahead_ends_nothing_and_makes_nothing() {
        for (endpoint, method, ahead, ignored) in [
            (Endpoint::Logout, Method::GET, false, false),
            (Endpoint::Logout, Method::POST, false, false),
            (Endpoint::Logout, Method::HEAD, false, true),
            (Endpoint::Logout, Method::GET, true, true),
            (Endpoint::Login, Method::GET, true, true),
            (Endpoint::Login, Method::POST, false, false),
            (Endpoint::Status, Method::GET, true, false),
        ] {
            assert_eq!(endpoint.ignores(&method, ahead), ignored, "{endpoint:?} {method} {ahead}");
        }
        assert!(!Endpoint::Logout.takes(&Method::OPTIONS));
    }
}
