//! What reports count, of whom, and how often: by day, in memory until a store has it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{Day, Verdict};
use crate::session::{TenantId, UserId};

/// Of whom something is counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CountOf {
    /// Everybody, also who is of no tenant.
    All,
    /// A tenant.
    Tenant(TenantId),
}

/// What is counted. What another version may have named is a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counted {
    /// A finding of this type and severity; whether it was only observed.
    Finding {
        /// Its type.
        kind: Box<str>,
        /// How bad it is.
        severity: Box<str>,
        /// Whether nothing was done.
        observed: bool,
    },
    /// Something that was done about a finding, or would have been.
    Action {
        /// Its word.
        action: Box<str>,
        /// Whether it was not done.
        observed: bool,
    },
    /// What was said of a finding of this type.
    Verdict {
        /// The finding's type.
        kind: Box<str>,
        /// What was said.
        verdict: Verdict,
    },
    /// A login that made a session.
    Login,
    /// One that failed.
    FailedLogin,
    /// A lock on logins.
    Lock,
    /// A finding about this user.
    FindingAbout {
        /// The user's tenant.
        tenant: TenantId,
        /// The user.
        user: UserId,
    },
}

impl Counted {
    /// The text that stands for it in a store. Those of users begin with `u `.
    #[must_use]
    pub fn encode(&self) -> String {
        let how = |observed: &bool| if *observed { "o" } else { "d" };
        match self {
            Self::Finding { kind, severity, observed } => format!("f {kind} {severity} {}", how(observed)),
            Self::Action { action, observed } => format!("a {action} {}", how(observed)),
            Self::Verdict { kind, verdict } => format!("v {kind} {}", verdict.as_str()),
            Self::Login => String::from("login"),
            Self::FailedLogin => String::from("failure"),
            Self::Lock => String::from("lock"),
            Self::FindingAbout { tenant, user } => format!("u {} {}", tenant.shown(), user.kept()),
        }
    }

    /// Reads what [`encode`](Self::encode) wrote. `None`: another version's, perhaps.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let observed = |how| match how {
            "o" => Some(true),
            "d" => Some(false),
            _ => None,
        };
        // No part has a blank in it.
        let parts: Vec<&str> = text.split(' ').collect();
        Some(match parts[..] {
            ["f", kind, severity, how] => {
                Self::Finding { kind: kind.into(), severity: severity.into(), observed: observed(how)? }
            }
            ["a", action, how] => Self::Action { action: action.into(), observed: observed(how)? },
            ["v", kind, said] => {
                let verdict = Verdict::ALL.into_iter().find(|verdict| verdict.as_str() == said)?;
                Self::Verdict { kind: kind.into(), verdict }
            }
            ["login"] => Self::Login,
            ["failure"] => Self::FailedLogin,
            ["lock"] => Self::Lock,
            ["u", tenant, user] => {
                Self::FindingAbout { tenant: TenantId::parse_shown(tenant).ok()?, user: UserId::parse_kept(user).ok()? }
            }
            _ => return None,
        })
    }

    /// Whether there may be very many of them.
    #[must_use]
    pub const fn is_of_a_user(&self) -> bool {
        matches!(self, Self::FindingAbout { .. })
    }
}

/// How often something came on a day.
pub type Counts = Vec<(Counted, u64)>;

/// What is counted of somebody on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayCounts {
    /// Of whom.
    pub of: CountOf,
    /// When.
    pub day: Day,
    /// What, and how often.
    pub counts: Counts,
}

/// What was counted and no store has yet. Bounded: what finds no room is dropped.
#[derive(Debug, Default)]
pub struct CountBook(HashMap<(CountOf, Day, Counted), u64>);

impl CountBook {
    /// How many different things it holds.
    pub const MOST: usize = 20_000;

    /// Counts something so often more. `false`: there is no room.
    #[must_use]
    pub fn add(&mut self, of: CountOf, day: Day, counted: Counted, times: u64) -> bool {
        let is_full = self.0.len() >= Self::MOST;
        match self.0.entry((of, day, counted)) {
            Entry::Occupied(mut count) => {
                *count.get_mut() = count.get().saturating_add(times);
                true
            }
            Entry::Vacant(_) if is_full => false,
            Entry::Vacant(count) => {
                count.insert(times);
                true
            }
        }
    }

    /// Takes all of it, by whom and when.
    #[must_use]
    pub fn take(&mut self) -> Vec<DayCounts> {
        let mut of_all: HashMap<(CountOf, Day), Counts> = HashMap::new();
        for ((of, day, counted), times) in std::mem::take(&mut self.0) {
            of_all.entry((of, day)).or_default().push((counted, times));
        }
        of_all.into_iter().map(|((of, day), counts)| DayCounts { of, day, counts }).collect()
    }

    /// Takes back what no store took. Answers how much of it found no room.
    pub fn give_back(&mut self, of: DayCounts) -> u64 {
        let DayCounts { of, day, counts } = of;
        let mut lost = 0;
        for (counted, times) in counts {
            lost += u64::from(!self.add(of.clone(), day, counted, times));
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(tenant: &str, user: &str) -> Counted {
        let tenant = TenantId::parse_shown(tenant).expect("a tenant");
        Counted::FindingAbout { tenant, user: UserId::parse_kept(user).expect("a user") }
    }

    #[test]
    fn what_is_counted_survives_the_store_and_garbage_is_none() {
        let kind: Box<str> = "IMPOSSIBLE_TRAVEL".into();
        for counted in [
            Counted::Finding { kind: kind.clone(), severity: "high".into(), observed: true },
            Counted::Action { action: "reauth".into(), observed: false },
            Counted::Verdict { kind, verdict: Verdict::Malicious },
            Counted::Login,
            Counted::FailedLogin,
            Counted::Lock,
            about("acme", "admin,7"),
            about(",", "=1+1"),
        ] {
            assert_eq!(Counted::decode(&counted.encode()), Some(counted));
        }
        for garbage in ["", "x", "f", "f a b", "f a b x", "v a maybe", "u  7", "u a ", "u a b c", "login "] {
            assert_eq!(Counted::decode(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn counts_add_up_until_they_are_taken_and_what_finds_no_room_is_dropped() {
        let (day, mut book) = (Day::from_number(20_000), CountBook::default());
        let acme = CountOf::Tenant(TenantId::parse("acme").expect("a tenant"));
        for _ in 0..3 {
            assert!(book.add(acme.clone(), day, Counted::Login, 1));
        }
        assert!(book.add(CountOf::All, day, Counted::Login, 5));
        let mut taken = book.take();
        taken.sort_by_key(|counts| counts.of.clone());
        assert_eq!(taken[0], DayCounts { of: CountOf::All, day, counts: vec![(Counted::Login, 5)] });
        assert_eq!(taken[1], DayCounts { of: acme, day, counts: vec![(Counted::Login, 3)] });
        assert!(book.take().is_empty());
        let back = taken.remove(1);
        assert_eq!(book.give_back(back.clone()), 0);
        for number in 1..CountBook::MOST {
            assert!(book.add(CountOf::All, day, about("acme", &number.to_string()), 1));
        }
        assert!(!book.add(CountOf::All, day, about("acme", "one-more"), 1));
        assert!(book.add(back.of, day, Counted::Login, 1), "what is there already counts on");
    }
}
