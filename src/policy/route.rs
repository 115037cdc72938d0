//! Routes: which requests need a session, and what else holds for them.

use std::sync::Arc;

use http::Method;

use super::pattern::{PathPattern, PatternTree};
use super::places::NamingPlaces;
use crate::clock::WallTime;
use crate::http::ProtocolName;
use crate::session::Role;

/// The most patterns that a warning names.
const MOST_NAMED: usize = 8;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Only with a valid session.
    Required,
    /// With the session's identity where there is one, anonymously otherwise.
    Optional,
    /// Anyone; no look-up and no identity.
    Public,
    /// No client: the gateway asks the backend there.
    Blocked,
}

impl Auth {
    const fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Blocked, _) | (_, Self::Blocked) => Self::Blocked,
            (Self::Required, _) | (_, Self::Required) => Self::Required,
            (Self::Optional, _) | (_, Self::Optional) => Self::Optional,
            (Self::Public, Self::Public) => Self::Public,
        }
    }
}

/// What happens to the client's own `Authorization` header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// Forwarded.
    Pass,
    /// Removed.
    Drop,
}

/// How far the gateway's identity is enforced (docs/behaviour.md, "Identity modes").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityMode {
    /// Report what would happen; forward what the client sent.
    Observe,
    /// Inject where there is a session; let the client's value through where there is no gateway cookie at all.
    Compat {
        /// When it ends and becomes [`Enforce`](Self::Enforce); `None`: never, which production refuses.
        until: Option<WallTime>,
    },
    /// Inject or refuse.
    Enforce,
}

impl IdentityMode {
    /// The mode at this time: a migration that has reached its date is over.
    #[must_use]
    pub fn at(self, now: impl FnOnce() -> WallTime) -> Self {
        match self {
            Self::Compat { until: Some(until) } if now() >= until => Self::Enforce,
            mode => mode,
        }
    }
}

/// A set of the methods that the gateway forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodSet {
    /// A bit for each of the usual ones.
    usual: u8,
    further: Further,
}

/// Methods that pass because the configuration names them (`server.methods`).
#[derive(Clone, Debug, PartialEq, Eq)]
enum Further {
    All,
    These(Vec<Method>),
}

impl MethodSet {
    /// All forwarded methods.
    pub const ALL: Self = Self { usual: 0b111_1111, further: Further::All };
    /// None.
    pub const NONE: Self = Self { usual: 0, further: Further::These(Vec::new()) };

    const NAMES: [(&'static str, u8); 7] =
        [("GET", 1), ("HEAD", 2), ("POST", 4), ("PUT", 8), ("PATCH", 16), ("DELETE", 32), ("OPTIONS", 64)];

    /// Adds a method by its upper-case name; GET brings HEAD. `None` for a method that is neither usual nor one of the
    /// `further` ones that are forwarded.
    #[must_use]
    pub fn with(mut self, name: &str, further: &[Method]) -> Option<Self> {
        if let Some((_, bit)) = Self::NAMES.into_iter().find(|(known, _)| *known == name) {
            self.usual |= if bit == 1 { 0b11 } else { bit };
            return Some(self);
        }
        let method = further.iter().find(|method| method.as_str() == name)?;
        if let Further::These(these) = &mut self.further {
            these.push(method.clone());
        }
        Some(self)
    }

    /// Whether the method is in the set.
    #[must_use]
    pub fn contains(&self, method: &Method) -> bool {
        let bit = match *method {
            Method::GET => 1,
            Method::HEAD => 2,
            Method::POST => 4,
            Method::PUT => 8,
            Method::PATCH => 16,
            Method::DELETE => 32,
            Method::OPTIONS => 64,
            _ => return self.further.contains(method),
        };
        self.usual & bit != 0
    }

    /// The names of its methods, but for those that it has because it has all.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let further = match &self.further {
            Further::All => &[][..],
            Further::These(these) => these,
        };
        let usual = Self::NAMES.into_iter().filter(|(_, bit)| self.usual & bit != 0).map(|(name, _)| name);
        usual.chain(further.iter().map(Method::as_str))
    }

    /// Whether a method is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.usual & other.usual != 0 || self.further.overlaps(&other.further)
    }
}

impl Further {
    fn contains(&self, method: &Method) -> bool {
        match self {
            // Those that are not named were refused before.
            Self::All => !matches!(*method, Method::TRACE | Method::CONNECT),
            Self::These(these) => these.contains(method),
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, Self::All) => true,
            (Self::These(these), other) | (other, Self::These(these)) => {
                these.iter().any(|method| other.contains(method))
            }
        }
    }
}

/// One route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The pattern, as the name of the route in logs and metrics.
    pub pattern: Arc<str>,
    /// Who may call it.
    pub auth: Auth,
    /// The roles that may call it; empty: any, also none.
    pub roles: Vec<Role>,
    /// Whether the cross-origin rule holds.
    pub csrf: bool,
    /// Whether its paths reach the backend as they came where servers read them in different ways.
    pub lenient: bool,
    /// The client's own `Authorization` header.
    pub authorization: Authorization,
    /// The name of the upstream it goes to.
    pub upstream: Arc<str>,
    /// How far identity is enforced.
    pub mode: IdentityMode,
    /// The protocols beside WebSocket that its requests may switch to.
    pub upgrade: Vec<ProtocolName>,
    /// Where its requests name a tenant or a user, who must be the session's.
    pub naming: NamingPlaces,
}

impl Route {
    /// The route of a request that takes this one or `other`, whichever way its path is read: the stricter of the two in
    /// everything. `None`: what one of them allows cannot be held to the other.
    #[must_use]
    pub fn stricter(&self, other: &Self) -> Option<Self> {
        let roles = match (self.roles.as_slice(), other.roles.as_slice()) {
            (roles, []) | ([], roles) => roles.to_vec(),
            (roles, others) if roles == others => roles.to_vec(),
            // No set of roles says "one of these and one of those".
            _ => return None,
        };
        let mode = if self.mode == other.mode { self.mode } else { IdentityMode::Enforce };
        let auth = self.auth.stricter(other.auth);
        if self.upstream != other.upstream || self.naming != other.naming {
            return None;
        }
        let drops = [self, other].iter().any(|route| route.authorization == Authorization::Drop);
        Some(Self {
            pattern: if auth == self.auth { &self.pattern } else { &other.pattern }.clone(),
            auth,
            roles,
            csrf: self.csrf || other.csrf,
            lenient: self.lenient && other.lenient,
            authorization: if drops { Authorization::Drop } else { Authorization::Pass },
            upstream: self.upstream.clone(),
            mode,
            upgrade: self.upgrade.iter().filter(|protocol| other.upgrade.contains(protocol)).cloned().collect(),
            naming: self.naming.clone(),
        })
    }
}

#[derive(Clone, Debug)]
struct Entry {
    methods: MethodSet,
    route: Arc<Route>,
    implicit: bool,
    refusal: Arc<Route>,
}

/// A route that stands beside another of an equal pattern and an overlapping method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("overlaps with `{other}`: equal patterns need different methods")]
pub struct Overlap {
    /// The pattern that was there first.
    pub other: Arc<str>,
}

/// All routes. Every path has one: what no pattern matches falls to the default.
#[derive(Clone, Debug)]
pub struct RouteTable {
    tree: PatternTree<Entry>,
    default: Arc<Route>,
    explicit: usize,
    has_lenient: bool,
}

impl RouteTable {
    /// A table in which every path takes `default`.
    #[must_use]
    pub fn new(default: Route) -> Self {
        Self { tree: PatternTree::default(), default: Arc::new(default), explicit: 0, has_lenient: false }
    }

    /// Adds a route of the configuration. It replaces implicit ones of an equal pattern.
    ///
    /// # Errors
    /// When an equal pattern already has one of these methods.
    pub fn add(&mut self, pattern: &PathPattern, methods: MethodSet, route: Route) -> Result<(), Overlap> {
        let entries = self.tree.entry(pattern);
        entries.retain(|entry| !entry.implicit);
        if let Some(entry) = entries.iter().find(|entry| entry.methods.overlaps(&methods)) {
            return Err(Overlap { other: entry.route.pattern.clone() });
        }
        self.has_lenient |= route.lenient;
        entries.push(Entry::new(methods, route, false));
        self.explicit += 1;
        Ok(())
    }

    /// Whether any route takes paths as they came.
    #[must_use]
    pub const fn has_lenient(&self) -> bool {
        self.has_lenient
    }

    /// How many patterns the configuration itself has routes for, a pattern once for each set of methods.
    #[must_use]
    pub const fn explicit_count(&self) -> usize {
        self.explicit
    }

    /// Adds a route that follows from another setting, unless the configuration has one of an equal pattern.
    pub fn add_implicit(&mut self, pattern: &PathPattern, route: Route) {
        let entries = self.tree.entry(pattern);
        if entries.is_empty() {
            entries.push(Entry::new(MethodSet::ALL, route, true));
        }
    }

    /// The patterns of the routes that do not enforce identities at that time; some more than once.
    fn unenforced(&self, now: WallTime) -> impl Iterator<Item = &Arc<str>> {
        let routes = self.tree.values().map(|entry| &*entry.route).chain([&*self.default]);
        routes.filter(move |route| route.mode.at(|| now) != IdentityMode::Enforce).map(|route| &route.pattern)
    }

    /// What an operator must know for as long as clients' own claims reach a backend; `None` once nothing is left of it.
    #[must_use]
    pub fn migration_warning(&self, now: WallTime) -> Option<String> {
        let mut patterns: Vec<&str> = self.unenforced(now).map(|pattern| &**pattern).collect();
        patterns.sort_unstable();
        patterns.dedup();
        let count = patterns.len();
        patterns.truncate(MOST_NAMED);
        let named = patterns.join(", ");
        let more = if count > MOST_NAMED { ", …" } else { "" };
        (count > 0).then(|| format!("clients' own identity headers reach the backend on {count} routes: {named}{more}"))
    }

    /// What is left in the configuration of migrations that are over; `None` when nothing is.
    #[must_use]
    pub fn ended_migrations(&self, now: WallTime) -> Option<String> {
        let routes = self.tree.values().map(|entry| &*entry.route).chain([&*self.default]);
        let over = |route: &&Route| matches!(route.mode, IdentityMode::Compat { until: Some(until) } if now >= until);
        let pattern = routes.filter(over).map(|route| &*route.pattern).min()?;
        Some(format!(
            "compat_until has passed (route {pattern}, say): its mode is \"enforce\" by now, and a request \
             without a session gets 401 there; take mode and date out, or set a later date"
        ))
    }

    /// The name of every route, as in logs and metrics; some more than once.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.tree.values().map(|entry| &entry.route.pattern).chain([&self.default.pattern])
    }

    /// The route of a request. A path whose best pattern lists other methods is `required` with all of that pattern's
    /// roles, never the next pattern's route.
    pub fn pick<S: AsRef<str>>(&self, method: &Method, segments: &[S], trailing_slash: bool) -> &Arc<Route> {
        let entries = self.tree.find(segments, trailing_slash);
        let Some(first) = entries.first() else { return &self.default };
        entries.iter().find(|entry| entry.methods.contains(method)).map_or(&first.refusal, |entry| &entry.route)
    }
}

impl Entry {
    fn new(methods: MethodSet, route: Route, implicit: bool) -> Self {
        let refusal = Route { auth: Auth::Required, csrf: true, mode: IdentityMode::Enforce, ..route.clone() };
        Self { methods, route: Arc::new(route), implicit, refusal: Arc::new(refusal) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_the_methods_that_it_was_made_with_and_no_others() {
        let further = ["PROPFIND", "MKCOL"].map(|name| Method::from_bytes(name.as_bytes()).expect("a method"));
        let names = || MethodSet::NAMES.into_iter().map(|(name, _)| name).chain(["PROPFIND", "MKCOL"]);
        for name in names() {
            let set = MethodSet::NONE.with(name, &further).expect("a forwarded method");
            for other in names() {
                let method = Method::from_bytes(other.as_bytes()).expect("a method");
                let is_in = name == other || (name, other) == ("GET", "HEAD");
                assert_eq!(set.contains(&method), is_in, "{name} {other}");
                let one = MethodSet::NONE.with(other, &further).expect("a forwarded method");
                assert_eq!(set.overlaps(&one), is_in || (other, name) == ("GET", "HEAD"), "{name} {other}");
                assert!(one.overlaps(&MethodSet::ALL) && MethodSet::ALL.overlaps(&one));
                assert!(MethodSet::ALL.contains(&method) && !MethodSet::NONE.contains(&method), "{other}");
            }
        }
        assert!(!MethodSet::ALL.contains(&Method::TRACE));
        assert_eq!(MethodSet::NONE.with("LOCK", &further), None);
    }

    fn route(pattern: &str, auth: Auth) -> Route {
        Route {
            pattern: pattern.into(),
            auth,
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

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text).expect("a pattern")
    }

    fn methods(names: &[&str]) -> MethodSet {
        names.iter().fold(MethodSet::NONE, |set, name| set.with(name, &[]).expect("a known method"))
    }

    #[test]
    fn what_no_pattern_matches_is_required() {
        let table = RouteTable::new(route("default", Auth::Required));
        assert_eq!(table.pick(&Method::GET, &["x"], false).auth, Auth::Required);
    }

    #[test]
    fn a_route_in_compat_enforces_from_its_end_on() {
        let mut table = RouteTable::new(route("default", Auth::Required));
        let until = Some(WallTime::from_micros(1000));
        let compat = Route { mode: IdentityMode::Compat { until }, ..route("/c", Auth::Required) };
        let observe = Route { mode: IdentityMode::Observe, ..route("/o", Auth::Required) };
        table.add(&pattern("/c"), MethodSet::ALL, compat).expect("no overlap");
        table.add(&pattern("/o"), MethodSet::ALL, observe).expect("no overlap");
        for (now, count) in [(999, 2), (1000, 1)] {
            let unenforced: Vec<_> = table.unenforced(WallTime::from_micros(now)).collect();
            assert_eq!(unenforced.len(), count, "{unenforced:?}");
            assert!(unenforced.iter().any(|pattern| &***pattern == "/o"));
        }
        let warning = table.migration_warning(WallTime::from_micros(1000)).expect("a warning");
        assert!(warning.ends_with("on 1 routes: /o"), "{warning}");
        assert_eq!(RouteTable::new(route("default", Auth::Required)).migration_warning(WallTime::from_micros(0)), None);
    }

    #[test]
    fn of_two_routes_the_stricter_is_held_to_in_everything() {
        let staff = vec![Role::parse("staff").expect("a role")];
        let open = Route { lenient: true, csrf: false, ..route("/open/*", Auth::Public) };
        let shut = Route {
            lenient: true,
            roles: staff.clone(),
            authorization: Authorization::Drop,
            mode: IdentityMode::Observe,
            ..route("/shut/*", Auth::Required)
        };
        let expected = Route { mode: IdentityMode::Enforce, ..shut.clone() };
        assert_eq!(open.stricter(&shut), Some(expected.clone()));
        assert_eq!(shut.stricter(&open), Some(expected));
        assert_eq!(open.stricter(&open), Some(open.clone()));
        let strict = Route { lenient: false, ..open.clone() };
        assert!(!open.stricter(&strict).expect("a route").lenient);
        let optional = Route { auth: Auth::Optional, ..open.clone() };
        assert_eq!(open.stricter(&optional).expect("a route").auth, Auth::Optional);
        let others = Route { roles: vec![Role::parse("boss").expect("a role")], ..shut.clone() };
        assert_eq!(shut.stricter(&others), None, "nobody's set of roles says both");
        assert_eq!(open.stricter(&Route { upstream: "other".into(), ..open.clone() }), None);
    }

    #[test]
    fn get_includes_head() {
        assert!(methods(&["GET"]).contains(&Method::HEAD));
        assert!(!methods(&["HEAD"]).contains(&Method::GET));
    }

    #[test]
    fn a_path_whose_best_pattern_lists_other_methods_is_required_and_not_the_next_patterns() {
        let mut table = RouteTable::new(route("default", Auth::Required));
        table.add(&pattern("/*"), MethodSet::ALL, route("/*", Auth::Public)).expect("no overlap");
        table.add(&pattern("/a"), methods(&["GET"]), route("/a", Auth::Public)).expect("no overlap");
        assert_eq!(table.pick(&Method::GET, &["a"], false).auth, Auth::Public);
        assert_eq!(table.pick(&Method::POST, &["a"], false).auth, Auth::Required);
        assert_eq!(table.pick(&Method::POST, &["b"], false).auth, Auth::Public);
    }

    #[test]
    fn equal_patterns_need_different_methods() {
        let mut table = RouteTable::new(route("default", Auth::Required));
        table.add(&pattern("/a/{x}"), methods(&["GET"]), route("/a/{x}", Auth::Public)).expect("no overlap");
        table.add(&pattern("/a/{y}"), methods(&["POST"]), route("/a/{y}", Auth::Required)).expect("no overlap");
        let overlap = table.add(&pattern("/a/{z}"), methods(&["HEAD"]), route("/a/{z}", Auth::Public));
        assert_eq!(overlap, Err(Overlap { other: "/a/{x}".into() }));
    }

    #[test]
    fn an_explicit_route_replaces_an_implicit_one_whichever_comes_first() {
        for explicit_first in [true, false] {
            let mut table = RouteTable::new(route("default", Auth::Required));
            if explicit_first {
                table.add(&pattern("/login"), methods(&["GET"]), route("mine", Auth::Optional)).expect("no overlap");
            }
            table.add_implicit(&pattern("/login"), route("implicit", Auth::Public));
            if !explicit_first {
                table.add(&pattern("/login"), methods(&["GET"]), route("mine", Auth::Optional)).expect("no overlap");
            }
            assert_eq!(table.pick(&Method::GET, &["login"], false).auth, Auth::Optional);
            assert_eq!(table.pick(&Method::POST, &["login"], false).auth, Auth::Required);
        }
    }
}
