//! From a presented cookie to a session: absent, ended, held, live, or a store that cannot say.

use std::sync::Arc;
use std::time::Duration;

use super::failure::Failure;
use crate::bearer::VerifiedToken;
use crate::clock::{Clock, Monotonic};
use crate::policy::{BadToken, Denial, SessionFacts, VouchedBy};
use crate::session::{
    Barred, Credential, DeniedUntil, EndReason, Ended, Exemption, HeldSession, InTenant, Keep, Limits, LiveSession,
    Principal, SessionId, SessionRecord, Standing, StoreTime, TokenDenial, TouchPlan,
};
use crate::sessions::Holder;
use crate::store::{Known, STALE_AT_MOST, SessionStore, StoreResult, Touch, Unavailable};

/// How often the store is asked while its answers are too old when they come to be used.
const TRIES: usize = 3;

/// What a look-up found.
#[derive(Debug)]
pub(super) enum Lookup {
    /// No credential at all.
    NoCredential,
    /// A credential that names no session.
    Unknown(Option<SessionId>),
    /// A session that is over.
    Ended(EndedUse),
    /// A session that is held.
    Held(HeldUse),
    /// A session that can be used.
    Live(LiveUse),
    /// A token instead of a session, which is not good.
    BadToken(BadTokenUse),
    /// The store cannot say what this session is.
    Unavailable(SessionId, Unavailable),
}

/// The use of a token that is not good.
#[derive(Clone, Debug)]
pub(super) struct BadTokenUse {
    /// Which it is and whose, where that was verified.
    pub(super) token: Option<(SessionId, Arc<Principal>)>,
    pub(super) bad: BadToken,
    /// Why, for the audit log.
    pub(super) why: &'static str,
    /// Why it is over, if it is one that was good once.
    pub(super) ended: Option<EndReason>,
}

/// The use of a session that is over.
#[derive(Clone, Debug)]
pub(super) struct EndedUse {
    pub(super) id: SessionId,
    pub(super) reason: EndReason,
    pub(super) record: Option<Arc<SessionRecord>>,
    /// Whether the end was written down already.
    pub(super) noted: bool,
    /// The session as which it went on.
    pub(super) next: Option<SessionId>,
}

/// The use of a session that is held.
#[derive(Clone, Debug)]
pub(super) struct HeldUse {
    pub(super) id: SessionId,
    pub(super) record: Arc<SessionRecord>,
}

/// The use of a live session.
#[derive(Clone, Debug)]
pub(super) struct LiveUse {
    pub(super) id: SessionId,
    /// The record, held to the present limits.
    pub(super) record: Arc<SessionRecord>,
    /// The store's time of the look-up.
    pub(super) now: StoreTime,
    /// The recorded touch deadline, in terms of the record's own limits.
    pub(super) touch_deadline: StoreTime,
    /// Whether the record was held to limits lower than its own, which must then be stored.
    pub(super) tightened: bool,
    /// When it was asked for.
    pub(super) asked: Monotonic,
    /// The store's time then, or a little later.
    told: StoreTime,
    /// The issuer's token that it is, where it is none of the gateway's own sessions.
    pub(super) token: Option<VerifiedToken>,
    /// In which of its tenants the request is made, where it has several.
    within: Option<Box<Within>>,
}

/// One of the tenants of a session, for one request.
#[derive(Clone, Debug)]
struct Within {
    /// The user there. The role is the login's own tenant's: what somebody may do in one is nothing in another.
    principal: Arc<Principal>,
    tenant: Arc<InTenant>,
    /// When its standing was asked for.
    asked: Monotonic,
}

impl Lookup {
    /// For a request that needs no look-up.
    pub(super) const fn not_asked(credential: Credential) -> Self {
        match credential {
            // A token that nobody looked at is none.
            Credential::None | Credential::Bearer => Self::NoCredential,
            Credential::Session(_) | Credential::Unusable => Self::Unknown(None),
        }
    }

    /// A denial as a failure, with the cause where the store is at fault.
    pub(super) fn failure(&self, denial: Denial) -> Failure {
        match (denial, self) {
            (Denial::StoreUnavailable, Self::Unavailable(_, cause)) => Failure::Store(cause.clone()),
            _ => Failure::Denied(denial),
        }
    }

    /// Why what was begun for the session must not go on. A store that cannot say is no reason.
    pub(super) fn over(&self) -> Option<Barred> {
        match self {
            Self::Ended(ended) => Some(Barred::Ended(ended.reason)),
            Self::Held(_) => Some(Barred::Held),
            // It was there once.
            Self::NoCredential | Self::Unknown(_) => Some(Barred::Ended(EndReason::Revoked)),
            Self::BadToken(token) => token.ended.map(Barred::Ended),
            Self::Live(_) | Self::Unavailable(..) => None,
        }
    }

    /// What the policy needs to know.
    pub(super) fn facts(&self) -> SessionFacts<'_> {
        match self {
            Self::NoCredential => SessionFacts::NoCredential,
            Self::Unknown(_) => SessionFacts::Unknown,
            Self::Ended(ended) => SessionFacts::Ended(ended.reason),
            Self::Held(_) => SessionFacts::Held,
            Self::Live(live) => SessionFacts::Live { by: live.vouched_by(), principal: live.principal() },
            Self::BadToken(token) => SessionFacts::BadToken(token.bad),
            Self::Unavailable(..) => SessionFacts::Unavailable,
        }
    }
}

/// Looks up what was presented.
pub(super) async fn look_up(
    store: &dyn SessionStore,
    clock: &dyn Clock,
    credential: Credential,
    limits: &Limits,
) -> Lookup {
    match credential {
        // A token is looked up by who can verify it.
        Credential::None | Credential::Bearer => Lookup::NoCredential,
        Credential::Unusable => Lookup::Unknown(None),
        Credential::Session(id) => look_at(store, clock, id, limits, STALE_AT_MOST).await,
    }
}

/// Looks a session up by its id: one whose cookie was seen before. What is answered was so no longer than `within` ago.
pub(super) async fn look_at(
    store: &dyn SessionStore,
    clock: &dyn Clock,
    id: SessionId,
    limits: &Limits,
    within: Duration,
) -> Lookup {
    match store.known(id, within) {
        Some(Known { standing: Standing::Live(live), asked, told }) if limits.tighten(&live.record).is_none() => {
            return Lookup::Live(LiveUse::untightened(id, live, asked, told));
        }
        // Limits that are lower than its own are reckoned with the store's exact time, and stored.
        Some(Known { standing: Standing::Live(_), .. }) | None => {}
        Some(Known { standing, asked, .. }) => return found(id, standing, limits, asked),
    }
    match ask(clock, |asked| store.proven(asked), || store.read(id)).await {
        Err(unavailable) => Lookup::Unavailable(id, unavailable),
        Ok((standing, asked)) => found(id, standing, limits, asked),
    }
}

/// What the store answers to a question, and since when that is known to hold: when it was asked, or when its server was
/// last proven to be the one that decides. An answer may have lain there for long: this process may have been stopped, or
/// the machine asleep. Then it is asked again.
pub(super) async fn ask<T, F>(
    clock: &dyn Clock,
    proven: impl Fn(Monotonic) -> StoreResult<Monotonic> + Send,
    question: impl Fn() -> F + Send,
) -> StoreResult<(T, Monotonic)>
where
    F: Future<Output = StoreResult<T>> + Send,
{
    for _ in 0..TRIES {
        let asked = clock.monotonic();
        let answer = question().await?;
        // Another server may decide since then.
        let Ok(asked) = proven(asked) else { continue };
        if clock.monotonic().since(asked) < STALE_AT_MOST {
            return Ok((answer, asked));
        }
    }
    Err(Unavailable::because("its answers are too old when they can be used"))
}

fn found(id: SessionId, standing: Standing, limits: &Limits, asked: Monotonic) -> Lookup {
    match standing {
        Standing::Absent => Lookup::Unknown(Some(id)),
        Standing::Ended(ended) => {
            let Ended { reason, record, noted, next } = ended;
            Lookup::Ended(EndedUse { id, reason, record, noted, next })
        }
        Standing::Held(HeldSession { live, .. }) => {
            let record = Arc::clone(&live.record);
            match hold_to_limits(id, live, limits, asked) {
                // By the limits of today it is over.
                ended @ Lookup::Ended(_) => ended,
                _ => Lookup::Held(HeldUse { id, record }),
            }
        }
        Standing::Live(live) => hold_to_limits(id, live, limits, asked),
    }
}

/// Holds a live session to the configured limits where they are lower than its own.
fn hold_to_limits(id: SessionId, live: LiveSession, limits: &Limits, asked: Monotonic) -> Lookup {
    let Some(lower) = limits.tighten(&live.record) else {
        let told = live.now;
        return Lookup::Live(LiveUse::untightened(id, live, asked, told));
    };
    let LiveSession { record, touch_deadline, now } = live;
    let tightened = |record, touch_deadline| {
        let told = now;
        Lookup::Live(LiveUse {
            id,
            record,
            now,
            touch_deadline,
            tightened: true,
            asked,
            told,
            token: None,
            within: None,
        })
    };
    let ended = |reason, record| Lookup::Ended(EndedUse { id, reason, record: Some(record), noted: false, next: None });
    if now >= lower.deadline {
        return ended(EndReason::Expired, record);
    }
    let Some(idle) = lower.idle else {
        let touch_deadline = lower.deadline;
        return tightened(Arc::new(lower), touch_deadline);
    };
    // A session without an idle time-out recorded no uses: this one is its first.
    let used = record.idle.map_or(now, |own| own.use_recorded_by(touch_deadline));
    let touch_deadline = idle.deadline_of_use_at(used);
    if now >= touch_deadline {
        return ended(EndReason::IdleTimeout, record);
    }
    tightened(Arc::new(lower), touch_deadline)
}

/// What recording a use came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// It is recorded, or recent enough, or will be in a moment.
    Yes,
    /// The session ended between the look-up and now.
    SessionGone,
}

impl LiveUse {
    /// Of a session whose own limits are no higher than the present ones.
    fn untightened(id: SessionId, live: LiveSession, asked: Monotonic, told: StoreTime) -> Self {
        let LiveSession { record, touch_deadline, now } = live;
        Self { id, record, now, touch_deadline, tightened: false, asked, told, token: None, within: None }
    }

    /// Of a token. Nothing of its use is recorded, and its end is known by itself.
    pub(super) fn by_token(token: VerifiedToken, live: LiveSession, asked: Monotonic) -> Self {
        let told = live.now;
        let mut of_token = Self::untightened(token.id, live, asked, told);
        of_token.token = Some(token);
        of_token
    }

    /// For whom something is open by it. Of a token what it says of itself, which is verified anew.
    pub(super) fn holder(&self) -> Holder {
        let record = self.token.as_ref().map_or(&self.record, |token| &token.record).clone();
        Holder { id: self.id, record, is_token: self.token.is_some(), tenant: self.in_tenant().cloned() }
    }

    /// Whose it is: the login's own, or the same user in the tenant that was chosen.
    pub(super) fn principal(&self) -> &Arc<Principal> {
        self.within.as_ref().map_or(&self.record.principal, |within| &within.principal)
    }

    /// In which of its tenants the request is made, where it has several.
    pub(super) fn in_tenant(&self) -> Option<&Arc<InTenant>> {
        self.within.as_ref().map(|within| &within.tenant)
    }

    /// Has the request be made in the tenant of this name, if it is one of the session's; else in the login's own.
    pub(super) fn choose(&mut self, named: Option<&str>) {
        let own = &self.record.principal;
        let chosen = named.and_then(|name| self.record.tenants().find(|(tenant, _)| tenant.name() == Some(name)));
        let (tenant, generations) = chosen.unwrap_or((&own.tenant, self.record.generations));
        let principal = if *tenant == own.tenant {
            Arc::clone(own)
        } else {
            Arc::new(Principal { tenant: tenant.clone(), user: own.user.clone(), role: None })
        };
        let tenant = Arc::new(InTenant { tenant: tenant.clone(), generation: generations.tenant });
        self.within = Some(Box::new(Within { principal, tenant, asked: self.asked }));
    }

    /// When the standing of its tenant was asked for.
    pub(super) fn tenant_asked(&mut self, asked: Monotonic) {
        if let Some(within) = &mut self.within {
            within.asked = asked;
        }
    }

    /// When the oldest of all that it was accepted by was asked for.
    pub(super) fn accepted_as_of(&self) -> Monotonic {
        self.within.as_ref().map_or(self.asked, |within| within.asked.min(self.asked))
    }

    /// What was presented for it.
    pub(super) const fn credential(&self) -> Credential {
        if self.token.is_some() { Credential::Bearer } else { Credential::Session(self.id) }
    }

    /// What says whose it is.
    pub(super) const fn vouched_by(&self) -> VouchedBy {
        if self.token.is_some() { VouchedBy::Token(self.id) } else { VouchedBy::Session(self.id) }
    }

    /// What stays where all others end.
    pub(super) fn keep(&self) -> Keep {
        match &self.token {
            None => Keep::Session(self.id),
            Some(_) => Keep::Token(Exemption { session: self.id, generation: self.record.generations.user }),
        }
    }

    /// What denies it, where it is a token.
    pub(super) fn denial(&self, reason: EndReason) -> Option<TokenDenial> {
        let until = DeniedUntil::At(self.record.deadline);
        let owner = Some(Arc::clone(&self.record.principal));
        self.token.as_ref().map(|token| TokenDenial { id: token.id, owner, until, reason })
    }

    /// When it is over, whatever is touched: by the clock of this machine, as reckoned from when the store was asked. Never
    /// later than by the store's clock, and earlier by no more than its answer took.
    pub(super) fn over_at(&self) -> Monotonic {
        match &self.token {
            Some(token) => token.over_at,
            None => self.asked.after(self.record.deadline.since(self.told)),
        }
    }

    /// What has to be done about this use.
    fn plan(&self) -> TouchPlan {
        self.record.idle.map_or(TouchPlan::Nothing, |idle| idle.plan(self.touch_deadline, self.now))
    }

    /// Whether the session was used so recently that this use says nothing new.
    pub(super) fn is_recorded(&self) -> bool {
        !self.tightened && matches!(self.plan(), TouchPlan::Nothing)
    }

    /// When the session times out, counted from the recorded use; `None` when it never does.
    pub(super) fn idle_expiry(&self) -> Option<StoreTime> {
        self.record.idle_expiry(self.touch_deadline, self.now)
    }

    /// Records this use, as urgently as its age demands. `queue` takes a touch that may wait and says whether it did.
    pub(super) async fn record_use(
        &mut self,
        store: &dyn SessionStore,
        queue: &(dyn Fn(Touch) -> bool + Sync),
    ) -> Result<Recorded, Unavailable> {
        let used_now = self.record.idle.map_or(self.record.deadline, |idle| idle.deadline_of_use_at(self.now));
        let moved = if self.tightened {
            store.tighten(self.id, &self.record, used_now).await?
        } else {
            match self.plan() {
                TouchPlan::Nothing => return Ok(Recorded::Yes),
                TouchPlan::Queue(deadline) if queue(Touch { id: self.id, deadline }) => true,
                TouchPlan::Queue(deadline) | TouchPlan::Now(deadline) => {
                    let answers = store.touch(&[Touch { id: self.id, deadline }]).await?;
                    answers.first().copied().unwrap_or(false)
                }
            }
        };
        if !moved {
            return Ok(Recorded::SessionGone);
        }
        self.touch_deadline = used_now;
        self.tightened = false;
        Ok(Recorded::Yes)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::clock::{ManualClock, WallTime};
    use crate::entropy::SystemEntropy;
    use crate::session::{IdleLimit, Principal, SessionToken, samples};

    const LOGIN: StoreTime = StoreTime::from_micros(1_700_000_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn limits(idle: Option<u32>, absolute: u32) -> Limits {
        let idle = idle.map(|minutes| IdleLimit::new(MINUTE * minutes));
        Limits { idle, absolute: MINUTE * absolute, remember_idle: None, remember: MINUTE * 10_000 }
    }

    /// A session made under `own`, last used after `used` minutes, looked at after `now` minutes.
    fn session(own: &Limits, used: u32, now: u32) -> LiveSession {
        let record = SessionRecord { idle: own.idle, ..samples::record(LOGIN, LOGIN.after(own.absolute)) };
        let used = LOGIN.after(MINUTE * used);
        let touch_deadline = own.idle.map_or(record.deadline, |idle| idle.deadline_of_use_at(used));
        LiveSession { record: Arc::new(record), touch_deadline, now: LOGIN.after(MINUTE * now) }
    }

    /// The use of a session of somebody, for other tests.
    pub(in crate::proxy) fn live_use(id: SessionId, principal: Principal) -> LiveUse {
        let mut live = session(&limits(None, 480), 0, 1);
        live.record = Arc::new(SessionRecord { principal: Arc::new(principal), ..SessionRecord::clone(&live.record) });
        let told = live.now;
        LiveUse::untightened(id, live, Monotonic::from_micros(5), told)
    }

    fn looked_up(session: LiveSession, present: &Limits) -> Result<LiveUse, EndReason> {
        let id = SessionToken::generate(&SystemEntropy).expect("entropy").id();
        match hold_to_limits(id, session, present, Monotonic::from_micros(5)) {
            Lookup::Live(live) => Ok(live),
            Lookup::Ended(ended) => Err(ended.reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_lower_limit_holds_live_sessions_at_their_next_use() {
        let own = limits(Some(30), 480);
        for (used, now, present, expected) in [
            (0, 10, limits(Some(30), 480), Ok(false)),
            (0, 10, limits(Some(60), 900), Ok(false)),
            (0, 10, limits(None, 480), Ok(false)),
            (0, 10, limits(Some(15), 480), Ok(true)),
            (0, 16, limits(Some(15), 480), Err(EndReason::IdleTimeout)),
            (50, 59, limits(Some(15), 480), Ok(true)),
            (50, 59, limits(Some(30), 60), Ok(true)),
            (50, 60, limits(Some(30), 60), Err(EndReason::Expired)),
        ] {
            let found = looked_up(session(&own, used, now), &present).map(|live| live.tightened);
            assert_eq!(found, expected, "used {used}, now {now}, {present:?}");
        }
    }

    #[test]
    fn the_absolute_limit_comes_by_this_machines_clock_whatever_the_stores_shows() {
        let own = limits(Some(30), 480);
        let at = |live: &LiveUse| live.over_at().since(Monotonic::from_micros(5));
        let live = looked_up(session(&own, 0, 10), &own).expect("live");
        assert_eq!(at(&live), MINUTE * 470);
        let lower = looked_up(session(&own, 0, 10), &limits(Some(30), 60)).expect("live");
        assert_eq!(at(&lower), MINUTE * 50, "held to what is configured");
    }

    #[tokio::test]
    async fn an_answer_that_is_too_old_when_it_can_be_used_is_asked_for_again() {
        let clock = ManualClock::starting_at(WallTime::from_micros(0));
        let asked = AtomicU32::new(0);
        // The process is stopped during the first two answers.
        let question = |stops| {
            let (clock, asked) = (&clock, &asked);
            async move {
                let times = asked.fetch_add(1, Ordering::Relaxed);
                clock.advance(if times < stops { STALE_AT_MOST } else { STALE_AT_MOST - Duration::from_millis(1) });
                Ok(times)
            }
        };
        let (answer, when) = ask(&clock, Ok, || question(2)).await.expect("an answer");
        assert_eq!((answer, when), (2, Monotonic::from_micros(1_800_000)));
        asked.store(0, Ordering::Relaxed);
        ask(&clock, Ok, || question(u32::MAX)).await.expect_err("none is young enough");
        assert_eq!(asked.load(Ordering::Relaxed), 3, "and it is not asked for ever");
    }

    #[tokio::test]
    async fn an_answer_holds_since_its_server_was_proven_to_decide_and_is_asked_for_again_where_that_is_unknown() {
        let clock = ManualClock::starting_at(WallTime::from_micros(0));
        clock.advance(STALE_AT_MOST);
        let times = AtomicU32::new(0);
        let answer = || async { Ok(times.fetch_add(1, Ordering::Relaxed)) };
        let a_moment_before = |asked: Monotonic| Ok(asked.before(Duration::from_millis(100)));
        let (_, when) = ask(&clock, a_moment_before, answer).await.expect("an answer");
        assert_eq!(when, Monotonic::from_micros(800_000));
        ask(&clock, |asked: Monotonic| Ok(asked.before(STALE_AT_MOST)), answer).await.expect_err("too long ago");
        let unknown = |_| Err(Unavailable::because("another server was asked"));
        times.store(0, Ordering::Relaxed);
        ask(&clock, unknown, answer).await.expect_err("nobody vouches for it");
        assert_eq!(times.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_session_without_idle_limit_starts_its_first_one_now() {
        let live = looked_up(session(&limits(None, 480), 0, 300), &limits(Some(15), 480)).expect("live");
        assert!(live.tightened);
        assert_eq!(live.idle_expiry(), Some(LOGIN.after(MINUTE * 315)));
    }

    #[test]
    fn the_idle_expiry_counts_from_the_recorded_use_and_never_passes_the_deadline() {
        let own = limits(Some(30), 480);
        let live = looked_up(session(&own, 10, 12), &own).expect("live");
        assert_eq!(live.idle_expiry(), Some(LOGIN.after(MINUTE * 40)));
        let live = looked_up(session(&own, 470, 475), &own).expect("live");
        assert_eq!(live.idle_expiry(), Some(LOGIN.after(MINUTE * 480)));
        let never = limits(None, 480);
        assert_eq!(looked_up(session(&never, 0, 1), &never).expect("live").idle_expiry(), None);
    }
}
