//! What a session is, given everything that the store knows of it: absent, ended (and why), held, or live.

use std::sync::Arc;

use super::{End, EndReason, Hold, SessionId, SessionRecord, StoreTime, TenantStanding, TenantStatus, UserStanding};

/// Everything the store knows of one session id, read at `now`.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The session id.
    pub id: SessionId,
    /// The record, kept until an hour after the touch deadline, or until it is ended.
    pub record: Option<SessionRecord>,
    /// The touch deadline; `None` when it has passed or the session was ended.
    pub touch_deadline: Option<StoreTime>,
    /// The end that was written down under this id.
    pub ended: Option<End>,
    /// The end that was written down under the id of the first of its line, where that is another.
    pub line_ended: Option<End>,
    /// The hold that was written down under the id of the first of its line.
    pub hold: Option<Hold>,
    /// What the store knows of the record's tenant.
    pub tenant: TenantStanding,
    /// What the store knows of the record's user.
    pub user: UserStanding,
    /// What the store knows of the user whom the session left, where it did.
    pub left: UserStanding,
    /// What it knows of the user in each of the tenants that may be chosen, in the record's order.
    pub elsewhere: Vec<UserStanding>,
    /// The store's time of the observation.
    pub now: StoreTime,
}

/// What a session is. An unavailable store is not among these: it is the error beside them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Never made, or forgotten.
    Absent,
    /// Made once, and over.
    Ended(Ended),
    /// Not over, and not to be used before somebody says so.
    Held(HeldSession),
    /// Usable, as far as the store knows.
    Live(LiveSession),
}

impl Standing {
    /// The session, unless it is over or was never made.
    #[must_use]
    pub const fn not_over(&self) -> Option<&LiveSession> {
        match self {
            Self::Live(live) | Self::Held(HeldSession { live, .. }) => Some(live),
            Self::Absent | Self::Ended(_) => None,
        }
    }
}

/// A session that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
    /// Whose it was, where that is still known.
    pub record: Option<Arc<SessionRecord>>,
    /// Whether the end was written down when it happened. One by time is first noticed at the next use, and so is that of
    /// a session whose user was another one when that one was revoked.
    pub noted: bool,
    /// The session with which it went on, if this was the end of a token alone.
    pub next: Option<SessionId>,
}

/// A session that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSession {
    /// The record.
    pub record: Arc<SessionRecord>,
    /// The recorded touch deadline.
    pub touch_deadline: StoreTime,
    /// The store's time when it was read.
    pub now: StoreTime,
}

/// A session that is held. All that holds of a live one holds of it, but that it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSession {
    /// What it is but for the hold.
    pub live: LiveSession,
    /// The hold.
    pub hold: Hold,
}

/// Decides what a session is. Every doubt ends it: a record alone is never enough to be live. Of a token that is about
/// to be replaced this is not all: it is worth no more than the one that replaces it.
#[must_use]
pub fn judge(observation: Observation) -> Standing {
    let Observation { id, record, touch_deadline, ended, line_ended, hold, tenant, user, left, elsewhere, now } =
        observation;
    let next = ended.and_then(|end| end.goes_on).map(|on| on.next);
    let Some(record) = record else {
        let over = |end: End| Standing::Ended(Ended { reason: end.reason, record: None, noted: true, next });
        return ended.map_or(Standing::Absent, over);
    };
    // From its time on, whatever the touch deadline says.
    let over = if let Some(end) = ended.filter(|end| end.has_come(now)) {
        Some((end.reason, true))
    } else if let Some(end) = line_ended.filter(|end| end.is_of_the_line()) {
        Some((end.reason, true))
    } else if record.ends_with_its_tenant()
        && (tenant.status != TenantStatus::Active || record.generations.tenant != tenant.generation)
    {
        Some((EndReason::TenantRevoked, true))
    } else if !user.admits(id, record.generations.user) || is_revoked_elsewhere(id, &record, &elsewhere) {
        Some((EndReason::UserRevoked, true))
    } else if let Some(left) = left_in_time(&record, left) {
        // The next revocation of that user, later than the moment, would say nothing of this one: it has to be written down.
        // No walk finds it, for the session is another user's. What a server with older data says is not for good.
        Some((EndReason::UserRevoked, left == Raised::Undone))
    } else if now >= record.deadline {
        Some((EndReason::Expired, false))
    } else if touch_deadline.is_none_or(|deadline| now >= deadline) {
        Some((EndReason::IdleTimeout, false))
    } else {
        None
    };
    let record = Arc::new(record);
    match (over, touch_deadline) {
        (None, Some(touch_deadline)) => {
            let live = LiveSession { record, touch_deadline, now };
            match hold {
                Some(hold) => Standing::Held(HeldSession { live, hold }),
                None => Standing::Live(live),
            }
        }
        (None, None) => {
            Standing::Ended(Ended { reason: EndReason::IdleTimeout, record: Some(record), noted: false, next })
        }
        (Some((reason, noted)), _) => Standing::Ended(Ended { reason, record: Some(record), noted, next }),
    }
}

/// Why a session is over that time has ended and of which the store may have forgotten all but that: whoever still has its
/// record learns what has ended it on purpose, before or since. The observation's record is that one.
#[must_use]
pub fn judge_outlived(observation: Observation) -> EndReason {
    let on_purpose = |end: &End| !end.reason.is_by_time();
    let Observation { ended, line_ended, .. } = observation;
    let (ended, line_ended) = (ended.filter(on_purpose), line_ended.filter(on_purpose));
    match judge(Observation { touch_deadline: None, ended, line_ended, ..observation }) {
        Standing::Ended(ended) => ended.reason,
        Standing::Absent | Standing::Held(_) | Standing::Live(_) => EndReason::IdleTimeout,
    }
}

/// How a generation differs from one that it had.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Raised {
    Since,
    /// The server has older data.
    Undone,
}

/// Whether the user whom a session left was revoked while its old token still had its moment there. What is raised later
/// is nothing to it any more.
fn left_in_time(record: &SessionRecord, user: UserStanding) -> Option<Raised> {
    let line = record.line.as_deref()?;
    let left = line.left.as_ref()?;
    let is_revoked =
        !user.admits(line.before, left.generation) && user.generation.as_micros() <= line.until.as_micros();
    is_revoked.then_some(if user.generation > left.generation { Raised::Since } else { Raised::Undone })
}

/// Whether the user was revoked in one of the tenants that the session may choose: whoever must not be there any more
/// could choose it.
fn is_revoked_elsewhere(id: SessionId, record: &SessionRecord, elsewhere: &[UserStanding]) -> bool {
    let chosen = record.choices.as_ref().map_or(&[][..], |choices| choices.as_slice());
    // Whatever was not asked is not known to be good.
    chosen.len() != elsewhere.len()
        || chosen.iter().zip(elsewhere).any(|(chosen, user)| !user.admits(id, chosen.generations.user))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{
        Choices, Choosable, Exemption, Generation, Generations, Left, Line, TenantId, UserId, Words, samples,
    };
    use super::*;

    const NOW: StoreTime = StoreTime::from_micros(1_700_000_000_000_000);

    fn live() -> Observation {
        let record = SessionRecord {
            generations: Generations { tenant: Generation::from_micros(3), user: Generation::from_micros(5) },
            ..samples::record(NOW.before(Duration::from_secs(60)), NOW.after(Duration::from_secs(3600)))
        };
        Observation {
            id: SessionId::parse(&[b'A'; 22]).expect("22 characters of base64url"),
            touch_deadline: Some(record.deadline),
            tenant: TenantStanding { generation: record.generations.tenant, status: TenantStatus::Active },
            user: UserStanding { generation: record.generations.user, exempt: None },
            record: Some(record),
            ended: None,
            line_ended: None,
            hold: None,
            left: UserStanding::default(),
            elsewhere: Vec::new(),
            now: NOW,
        }
    }

    fn reason(observation: Observation) -> Option<EndReason> {
        match judge(observation) {
            Standing::Live(_) => None,
            Standing::Ended(ended) => Some(ended.reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_generation_that_differs_in_either_direction_ends_a_session() {
        assert_eq!(reason(live()), None);
        for generation in [Generation::NONE, Generation::from_micros(2), Generation::from_micros(9)] {
            let tenant = TenantStanding { generation, status: TenantStatus::Active };
            assert_eq!(reason(Observation { tenant, ..live() }), Some(EndReason::TenantRevoked));
            let user = UserStanding { generation, exempt: None };
            assert_eq!(reason(Observation { user, ..live() }), Some(EndReason::UserRevoked));
        }
    }

    #[test]
    fn the_exempt_session_lives_on_under_its_own_generation_alone() {
        let session = live().id;
        let generation = Generation::from_micros(9);
        let with = |session, own| {
            let exempt = Some(Exemption { session, generation: Generation::from_micros(own) });
            reason(Observation { user: UserStanding { generation, exempt }, ..live() })
        };
        assert_eq!(with(session, 5), None);
        assert_eq!(with(session, 4), Some(EndReason::UserRevoked));
        let other = SessionId::parse(&[b'B'; 22]).expect("22 characters of base64url");
        assert_eq!(with(other, 5), Some(EndReason::UserRevoked));
        // The tenant's revocation knows no exemption.
        let exempt = Some(Exemption { session, generation: Generation::from_micros(5) });
        let tenant = TenantStanding { generation, status: TenantStatus::Active };
        let both = Observation { user: UserStanding { generation, exempt }, tenant, ..live() };
        assert_eq!(reason(both), Some(EndReason::TenantRevoked));
    }

    #[test]
    fn a_tenant_that_is_not_active_has_no_live_session() {
        for status in [TenantStatus::Suspended, TenantStatus::Deleted] {
            let tenant = TenantStanding { status, ..live().tenant };
            assert_eq!(reason(Observation { tenant, ..live() }), Some(EndReason::TenantRevoked));
        }
    }

    #[test]
    fn an_end_at_a_time_ends_a_token_from_then_on_whatever_was_touched() {
        let next = SessionId::parse(&[b'B'; 22]).expect("22 characters of base64url");
        let at = |end| reason(Observation { ended: Some(end), ..live() });
        assert_eq!(at(End::now(EndReason::Replaced)), Some(EndReason::Replaced));
        assert_eq!(at(End::replaced(next, NOW)), Some(EndReason::Replaced));
        assert_eq!(at(End::replaced(next, NOW.after(Duration::from_micros(1)))), None);
    }

    #[test]
    fn a_hold_keeps_a_live_session_from_being_used_and_an_ended_one_is_over_all_the_same() {
        let hold = Hold { since: NOW, why: Words::parse("IMPOSSIBLE_TRAVEL").expect("one line") };
        let held = || Observation { hold: Some(hold.clone()), ..live() };
        let Standing::Held(found) = judge(held()) else { panic!("it is held") };
        assert_eq!((found.hold, Some(&*found.live.record)), (hold.clone(), live().record.as_ref()));
        let revoked = UserStanding { generation: Generation::from_micros(9), exempt: None };
        for (row, observation, expected) in [
            ("logged out", Observation { ended: Some(End::now(EndReason::Logout)), ..held() }, EndReason::Logout),
            ("revoked", Observation { user: revoked, ..held() }, EndReason::UserRevoked),
            ("not used", Observation { touch_deadline: Some(NOW), ..held() }, EndReason::IdleTimeout),
            ("over", Observation { now: NOW.after(Duration::from_secs(3600)), ..held() }, EndReason::Expired),
        ] {
            assert_eq!(reason(observation), Some(expected), "{row}");
        }
    }

    #[test]
    fn what_ends_a_session_on_purpose_is_known_also_after_time_ended_it() {
        let noted = |reason| Observation { touch_deadline: None, ended: Some(End::now(reason)), ..live() };
        for by_time in [EndReason::IdleTimeout, EndReason::Expired] {
            assert_eq!(judge_outlived(noted(by_time)), EndReason::IdleTimeout);
            let raised = UserStanding { generation: Generation::from_micros(9), exempt: None };
            assert_eq!(judge_outlived(Observation { user: raised, ..noted(by_time) }), EndReason::UserRevoked);
            let tenant = TenantStanding { status: TenantStatus::Suspended, ..live().tenant };
            assert_eq!(judge_outlived(Observation { tenant, ..noted(by_time) }), EndReason::TenantRevoked);
            let line_ended = Some(End::now(by_time));
            assert_eq!(judge_outlived(Observation { line_ended, ..noted(by_time) }), EndReason::IdleTimeout);
        }
        assert_eq!(judge_outlived(noted(EndReason::Logout)), EndReason::Logout);
        let late = Observation { now: NOW.after(Duration::from_secs(3600)), ..noted(EndReason::IdleTimeout) };
        assert_eq!(judge_outlived(late), EndReason::Expired);
    }

    /// A session that left bolt's user 7, of the generation 13, a moment ago.
    fn gone_on() -> Observation {
        let mut observation = live();
        let left = Left {
            tenant: TenantId::parse("bolt").expect("visible ASCII"),
            user: UserId::parse("7").expect("visible ASCII"),
            generation: Generation::from_micros(13),
        };
        let first = SessionId::parse(&[b'F'; 22]).expect("22 characters of base64url");
        let line = Line { first, before: first, until: NOW.after(Duration::from_secs(5)), left: Some(left) };
        let record = observation.record.as_mut().expect("a record");
        record.line = Some(Box::new(line));
        observation.left = UserStanding { generation: Generation::from_micros(13), exempt: None };
        observation
    }

    #[test]
    fn the_end_of_a_line_ends_all_its_tokens_and_that_of_a_token_none_of_the_others() {
        let next = SessionId::parse(&[b'B'; 22]).expect("22 characters of base64url");
        let with = |line_ended| reason(Observation { line_ended, ..gone_on() });
        assert_eq!(with(None), None);
        assert_eq!(with(Some(End::replaced(next, NOW))), None);
        assert_eq!(with(Some(End::now(EndReason::Revoked))), Some(EndReason::Revoked));
    }

    #[test]
    fn what_ended_the_user_whom_it_left_ends_a_session_if_it_came_in_the_moment_of_the_old_token() {
        let raised = |user: u64| {
            let left = UserStanding { generation: Generation::from_micros(user), exempt: None };
            reason(Observation { left, ..gone_on() })
        };
        let (within, later) = (NOW.as_micros(), NOW.after(Duration::from_secs(6)).as_micros());
        for (user, expected) in [(13, None), (within, Some(EndReason::UserRevoked)), (later, None)] {
            assert_eq!(raised(user), expected, "{user}");
        }
        assert_eq!(raised(0), Some(EndReason::UserRevoked), "a server with older data");
        // Whoever reads it writes that down, or the next revocation of that user would undo it.
        for (user, noted) in [(within, false), (0, true)] {
            let left = UserStanding { generation: Generation::from_micros(user), exempt: None };
            let Standing::Ended(ended) = judge(Observation { left, ..gone_on() }) else { panic!("it is over") };
            assert_eq!(ended.noted, noted, "{user}");
        }
    }

    /// A session that may choose bolt beside acme, where its user is of the generation 13 and it is under the tenant's 11.
    fn choosing() -> Observation {
        let mut observation = live();
        let bolt = Choosable {
            tenant: TenantId::parse("bolt").expect("visible ASCII"),
            generations: Generations { tenant: Generation::from_micros(11), user: Generation::from_micros(13) },
        };
        observation.record.as_mut().expect("a record").choices = Choices::of(vec![bolt]);
        observation.elsewhere = vec![UserStanding { generation: Generation::from_micros(13), exempt: None }];
        observation
    }

    #[test]
    fn no_tenant_ends_a_session_that_has_another() {
        assert_eq!(reason(choosing()), None);
        for tenant in [
            TenantStanding { status: TenantStatus::Suspended, ..live().tenant },
            TenantStanding { status: TenantStatus::Deleted, ..live().tenant },
            TenantStanding { generation: Generation::from_micros(9), status: TenantStatus::Active },
        ] {
            assert_eq!(reason(Observation { tenant, ..choosing() }), None);
        }
    }

    #[test]
    fn a_user_who_is_revoked_in_any_of_the_tenants_has_no_session_that_may_choose_it() {
        let revoked = UserStanding { generation: Generation::from_micros(14), exempt: None };
        let over = Some(EndReason::UserRevoked);
        assert_eq!(reason(Observation { user: revoked, ..choosing() }), over);
        assert_eq!(reason(Observation { elsewhere: vec![revoked], ..choosing() }), over);
        assert_eq!(reason(Observation { elsewhere: Vec::new(), ..choosing() }), over, "nobody asked");
        let exempt = Some(Exemption { session: live().id, generation: Generation::from_micros(13) });
        let but_this = UserStanding { exempt, ..revoked };
        assert_eq!(reason(Observation { elsewhere: vec![but_this], ..choosing() }), None);
    }
}
