//! What the gateway's own cookie was called before a reload changed `cookie.name`.
//!
//! A browser sends the old cookie for as long as it has it, and its token is that of a live session: no backend may read
//! it. So the old names are taken out until the last session that can have one is over. They are known to this process
//! alone: after a restart nobody remembers them.

use std::sync::Arc;

use crate::clock::Monotonic;
use crate::config::Config;
use crate::http::GatewayCookieName;

/// More names than this are not kept; the oldest go.
const MOST: usize = 64;

/// The names, each with the time until which sessions may have it.
#[derive(Clone, Debug, Default)]
pub(super) struct FormerCookies(Arc<[(GatewayCookieName, Monotonic)]>);

impl FormerCookies {
    /// The names that are left to take out. Those of sessions that are over go with the next reload.
    pub(super) fn names(&self) -> impl Iterator<Item = &GatewayCookieName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The former names once `new` takes the place of `old`.
    #[must_use]
    pub(super) fn followed_by(&self, old: &Config, new: &Config, now: Monotonic) -> Self {
        let (old_name, new_name) = (&old.cookie.name, &new.cookie.name);
        let lives = old.session.limits.absolute.max(old.session.limits.remember);
        let mut kept: Vec<_> =
            self.0.iter().filter(|(name, until)| *until > now && name != old_name).cloned().collect();
        kept.push((old_name.clone(), now.after(lives)));
        kept.retain(|(name, _)| name != new_name);
        let surplus = kept.len().saturating_sub(MOST);
        Self(kept.split_off(surplus).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Config {
        let text = format!(
            "server.public_url = \"https://a.test\"\nupstream.url = \"http://b\"\nstore.embedded = \"s\"\n\
             cookie.name = \"{name}\"\nsession.absolute = \"1h\"\nsession.remember = \"2h\"\n"
        );
        Config::parse("t.toml", &text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn an_old_name_is_kept_for_as_long_as_a_session_of_it_lives_and_the_present_one_is_none_of_them() {
        let at = |minutes: u64| Monotonic::from_micros(minutes * 60_000_000);
        let names = |former: &FormerCookies| former.names().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
        let none = FormerCookies::default();
        let one = none.followed_by(&named("__Host-a"), &named("__Host-b"), at(0));
        assert_eq!(names(&one), ["__Host-a"]);
        let two = one.followed_by(&named("__Host-b"), &named("__Host-c"), at(60));
        assert_eq!(names(&two), ["__Host-a", "__Host-b"]);
        assert_eq!(names(&two.followed_by(&named("__Host-c"), &named("__Host-a"), at(61))), ["__Host-b", "__Host-c"]);
        let same = two.followed_by(&named("__Host-c"), &named("__Host-c"), at(121));
        assert_eq!(names(&same), ["__Host-b"], "the first one's sessions are over");
        let mut many = none;
        for number in 0..200 {
            many = many.followed_by(&named(&format!("__Host-{number}")), &named("__Host-x"), at(0));
        }
        assert_eq!(names(&many).len(), MOST);
        assert_eq!(names(&many).last().map(String::as_str), Some("__Host-199"));
    }
}
