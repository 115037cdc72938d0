//! What a path stands for when it is not simply forwarded.

use http::Method;

use crate::config::{Config, Front, FrontConfig};
use crate::policy::{Aim, MethodSet, PathPattern, PatternTree};

/// One of the gateway's own paths, or one of the backend's that makes or ends sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// Which of the configuration's logins.
    Login(usize),
    Logout,
    LogoutAll,
    Status,
    Refresh,
    /// Where the app refreshes tokens: with a session that has one, the gateway does.
    TokenRefresh,
    /// For the app's own front end.
    Front(Front),
}

impl Endpoint {
    /// Whether a request of this method is for the endpoint at all, or goes on to the backend.
    fn takes(self, method: &Method) -> bool {
        match self {
            Self::LogoutAll | Self::TokenRefresh => *method == Method::POST,
            // It asks what may be asked.
            Self::Logout => *method != Method::OPTIONS,
            Self::Login(_) | Self::Status | Self::Refresh | Self::Front(_) => true,
        }
    }

    /// Whether a request of this method, that perhaps only looks `ahead`, is to make and end nothing. The backend must
    /// not hear of it: the app's own handler would act.
    pub(super) fn ignores(self, method: &Method, ahead: bool) -> bool {
        match self {
            Self::Login(_) | Self::Logout => ahead || *method == Method::HEAD,
            Self::LogoutAll | Self::Status | Self::Refresh | Self::TokenRefresh | Self::Front(_) => false,
        }
    }

    /// The methods that it answers by itself, whatever the backend knows of it.
    const fn answered_methods(self) -> Option<&'static str> {
        match self {
            Self::Status => Some("GET, HEAD"),
            Self::Refresh | Self::LogoutAll => Some("POST"),
            Self::Front(front) => Some(front.methods()),
            // The backend has them, too, and knows who may call it.
            Self::Login(_) | Self::Logout | Self::TokenRefresh => None,
        }
    }

    /// Whether the exchange goes on when the client hangs up.
    pub(super) const fn runs_to_its_end(self) -> bool {
        let is_front = matches!(self, Self::Front(Front::Terminate | Front::Feedback));
        is_front || matches!(self, Self::Login(_) | Self::Logout | Self::LogoutAll)
    }

    /// What the cross-origin rule takes a call of it for.
    pub(super) const fn aim(self) -> Aim {
        match self {
            Self::Login(_) => Aim::LogIn,
            Self::Logout => Aim::LogOut,
            Self::LogoutAll => Aim::LogOutEverywhere,
            Self::Status | Self::Refresh | Self::TokenRefresh | Self::Front(_) => Aim::Endpoint,
        }
    }
}

/// Which paths they have, and by which methods.
pub(super) struct Endpoints(PatternTree<(MethodSet, Endpoint)>);

impl Endpoints {
    /// Those of a configuration.
    pub(super) fn of(config: &Config) -> Self {
        let mut tree = PatternTree::default();
        for (number, login) in config.login.logins.iter().enumerate() {
            for path in &login.paths {
                tree.insert(&path.pattern, (path.methods.clone(), Endpoint::Login(number)));
            }
        }
        for login in &config.login.logins {
            let refresh = login.rules.tokens().and_then(|tokens| tokens.refresh.as_ref());
            if let Some(pattern) = refresh.and_then(|refresh| PathPattern::parse(refresh.target.path()).ok()) {
                tree.insert(&pattern, (MethodSet::ALL, Endpoint::TokenRefresh));
            }
        }
        for pattern in &config.logout.paths {
            tree.insert(pattern, (MethodSet::ALL, Endpoint::Logout));
        }
        let others = [
            (&config.logout.all_path, Endpoint::LogoutAll),
            (&config.session.status_path, Endpoint::Status),
            (&config.session.refresh_path, Endpoint::Refresh),
        ];
        for (pattern, endpoint) in others {
            if let Some(pattern) = pattern {
                tree.insert(pattern, (MethodSet::ALL, endpoint));
            }
        }
        for (front, pattern) in config.front.iter().flat_map(FrontConfig::endpoints) {
            tree.insert(&pattern, (front.taken(), Endpoint::Front(front)));
        }
        Self(tree)
    }

    /// The methods that the gateway answers by itself on a path, as a preflight is told them that asks whether it may use
    /// `method`. `None`: that method's are the app's.
    pub(super) fn answered<S: AsRef<str>>(
        &self,
        method: &Method,
        segments: &[S],
        trailing_slash: bool,
    ) -> Option<&'static str> {
        let mut here = self.0.find(segments, trailing_slash).iter().filter(|(methods, _)| methods.contains(method));
        here.find_map(|(_, endpoint)| endpoint.answered_methods())
    }

    /// Whether there is a path that the gateway answers by itself, by any method.
    pub(super) fn answers_some<S: AsRef<str>>(&self, segments: &[S], trailing_slash: bool) -> bool {
        self.0.find(segments, trailing_slash).iter().any(|(_, endpoint)| endpoint.answered_methods().is_some())
    }

    /// What a request stands for, unless it simply goes to the backend.
    pub(super) fn pick<S: AsRef<str>>(
        &self,
        method: &Method,
        segments: &[S],
        trailing_slash: bool,
    ) -> Option<Endpoint> {
        let here = self.0.find(segments, trailing_slash).iter();
        let mut meant = here.filter(|(methods, endpoint)| methods.contains(method) && endpoint.takes(method));
        meant.next().map(|(_, endpoint)| *endpoint)
    }
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
            (Endpoint::Login(0), Method::GET, true, true),
            (Endpoint::Login(0), Method::GET, false, false),
            (Endpoint::Login(0), Method::HEAD, false, true),
            (Endpoint::Login(0), Method::POST, false, false),
            (Endpoint::Status, Method::GET, true, false),
        ] {
            assert_eq!(endpoint.ignores(&method, ahead), ignored, "{endpoint:?} {method} {ahead}");
        }
        assert!(!Endpoint::Logout.takes(&Method::OPTIONS));
    }

    #[test]
    fn a_login_has_methods_of_its_own_and_one_path_may_be_two() {
        let text = "server.public_url = \"https://a.test\"\nupstream.url = \"http://b\"\nstore.embedded = \"s\"\n\
                    [[login]]\npath = [\"/api/login\", \"GET /magic/{token}\"]\n\
                    [[login]]\nkind = \"admin\"\npath = [\"/admin/login\", \"POST /magic/{token}\"]\n";
        let config = Config::parse("t.toml", text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        let endpoints = Endpoints::of(&config);
        for (method, path, expected) in [
            (Method::POST, &["api", "login"][..], Some(Endpoint::Login(0))),
            (Method::GET, &["api", "login"], None),
            (Method::GET, &["magic", "x"], Some(Endpoint::Login(0))),
            (Method::HEAD, &["magic", "x"], Some(Endpoint::Login(0))),
            (Method::POST, &["magic", "x"], Some(Endpoint::Login(1))),
            (Method::PUT, &["magic", "x"], None),
            (Method::POST, &["admin", "login"], Some(Endpoint::Login(1))),
            (Method::OPTIONS, &["api", "logout"], None),
            (Method::GET, &["api", "logout"], Some(Endpoint::Logout)),
        ] {
            assert_eq!(endpoints.pick(&method, path, false), expected, "{method} {path:?}");
        }
    }
}
