//! The cache with a clock that a test moves, and against a model of a server whose news come late, or never.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::places::DRIFT;
use super::*;
use crate::clock::{Clock as _, ManualClock, WallTime};
use crate::session::samples::{self, id};
use crate::session::{Generation, HeldSession, Hold, IdleLimit, Line, Words};

const SOURCE: u64 = 7;
/// The store's time when the clock stands at zero.
const EPOCH: StoreTime = StoreTime::from_micros(1_700_000_000_000_000);
const TENANT: &str = "n:{t}";
const USER: &str = "u:{u}";
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn record(idle: Option<Duration>) -> Arc<SessionRecord> {
    let record = samples::record(EPOCH, EPOCH.after(8 * HOUR));
    Arc::new(SessionRecord { idle: idle.map(IdleLimit::new), ..record })
}

fn live(touch_deadline: StoreTime) -> Standing {
    let record = record(Some(HOUR / 2));
    Standing::Live(LiveSession { record, touch_deadline, now: EPOCH })
}

/// Where all answers come from.
const HERE: Origin = Origin { place: Place::ONLY, source: SOURCE };

/// All that the server has.
fn all() -> Held {
    Held { places: PlaceSet::from_iter([Place::ONLY]), election: 0 }
}

/// A cache with its clock, which the store's follows exactly.
struct Bench {
    cache: Cache,
    clock: Arc<ManualClock>,
    term: Term,
}

impl Bench {
    fn new(entries: usize) -> Self {
        let clock = Arc::new(ManualClock::starting_at(WallTime::from_micros(0)));
        let cache = Cache::new(entries, 1, clock.clone());
        let term = cache.open();
        let bench = Self { cache, clock, term };
        bench.prove();
        bench
    }

    fn now(&self) -> Monotonic {
        crate::clock::Clock::monotonic(&*self.clock)
    }

    fn store_time(&self) -> StoreTime {
        EPOCH.after(self.now().since(Monotonic::from_micros(0)))
    }

    fn prove(&self) {
        assert!(self.takes(self.term, self.now()));
    }

    /// Whether a proof is taken that was asked for then.
    fn takes(&self, term: Term, sent: Monotonic) -> bool {
        let proof = Proof { sent, received: self.now(), time: self.store_time() };
        self.cache.renew(term, Heard { source: SOURCE, proof, voucher: None }, &all())
    }

    /// Another hearing than the one before.
    fn opens(&self) -> Term {
        let term = self.cache.open();
        assert!(self.takes(term, self.now()));
        term
    }

    fn keep(&self, id: SessionId, standing: &Standing) {
        self.reading(id).expect("changes are heard").keep(standing);
    }

    fn reading(&self, id: SessionId) -> Option<Reading<'_>> {
        let mut reading = self.cache.begin(id, Place::ONLY)?;
        reading.depends_on(TENANT, USER, None, &record(None));
        reading.came_from(&[HERE]);
        Some(reading)
    }

    fn is_live(&self, id: SessionId) -> bool {
        matches!(self.known(id), Some(Standing::Live(_)))
    }

    fn known(&self, id: SessionId) -> Option<Standing> {
        self.cache.known(id, STALE_AT_MOST).map(|known| known.standing)
    }

    /// Lets time pass, under proofs.
    fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.prove();
    }
}

#[test]
fn what_was_read_is_known_until_it_changes() {
    let bench = Bench::new(100);
    let kept = live(EPOCH.after(HOUR));
    bench.keep(id(1), &kept);
    assert!(bench.is_live(id(1)));
    assert_eq!(bench.cache.known(id(2), STALE_AT_MOST), None);
    bench.cache.forget(id(1));
    assert_eq!(bench.cache.known(id(1), STALE_AT_MOST), None);
}

#[test]
fn what_is_held_is_known_as_held_and_forgotten_when_something_is_heard_of_it() {
    let bench = Bench::new(100);
    let Standing::Live(live) = live(EPOCH.after(HOUR)) else { panic!("live") };
    let hold = Hold { since: EPOCH, why: Words::parse("IMPOSSIBLE_TRAVEL").expect("one line") };
    let held = Standing::Held(HeldSession { live, hold });
    let is_held = |id| matches!(bench.known(id), Some(Standing::Held(known)) if known.hold.since == EPOCH);
    bench.keep(id(1), &held);
    assert!(is_held(id(1)));
    bench.cache.outdate(USER.as_bytes());
    assert_eq!(bench.known(id(1)), None, "its user may have been revoked");
    bench.keep(id(1), &held);
    assert!(is_held(id(1)));
    // A release that is heard while it is read: what was read is used once.
    let reading = bench.reading(id(2)).expect("changes are heard");
    bench.cache.forget(id(2));
    reading.keep(&held);
    assert_eq!(bench.known(id(2)), None);
    bench.pass(HOUR);
    assert_eq!(bench.known(id(1)), None, "near its end only the store can say");
}

#[test]
fn without_a_proof_that_is_young_enough_nothing_is_known() {
    let bench = Bench::new(100);
    bench.keep(id(1), &live(EPOCH.after(HOUR)));
    bench.clock.advance(400 * MILLISECOND);
    assert!(bench.is_live(id(1)));
    assert_eq!(bench.cache.known(id(1), 400 * MILLISECOND), None, "not as of so short ago");
    bench.clock.advance(STALE_AT_MOST - 400 * MILLISECOND);
    assert!(!bench.is_live(id(1)) && !bench.cache.has_lease());
    assert_eq!(bench.cache.known(id(1), HOUR), None, "whatever the caller would put up with");
    bench.prove();
    assert!(bench.is_live(id(1)), "nothing was missed in between");
}

#[test]
fn a_proof_counts_from_when_it_was_asked_for() {
    let bench = Bench::new(100);
    bench.keep(id(1), &live(EPOCH.after(HOUR)));
    let sent = bench.now();
    bench.clock.advance(40 * MILLISECOND);
    assert!(bench.takes(bench.term, sent));
    bench.clock.advance(STALE_AT_MOST - 41 * MILLISECOND);
    assert!(bench.is_live(id(1)));
    bench.clock.advance(MILLISECOND);
    assert!(!bench.is_live(id(1)));
}

#[test]
fn a_break_in_hearing_ends_everything_that_is_known_or_being_read() {
    let bench = Bench::new(100);
    bench.keep(id(1), &live(EPOCH.after(HOUR)));
    let under_way = bench.reading(id(2)).expect("changes are heard");
    bench.cache.close(bench.term);
    assert!(bench.cache.begin(id(3), Place::ONLY).is_none(), "nothing can be kept now");
    assert!(!bench.takes(bench.term, bench.now()));
    bench.opens();
    under_way.keep(&live(EPOCH.after(HOUR)));
    assert!(!bench.is_live(id(1)) && !bench.is_live(id(2)));
    assert!(bench.cache.is_empty(), "what is no answer any more takes no room");
    // What is late to end the term before ends none.
    bench.cache.close(bench.term);
    assert!(bench.cache.has_lease());
}

#[test]
fn a_read_from_another_server_than_the_one_that_is_heard_is_not_kept() {
    let bench = Bench::new(100);
    for origins in [&[Origin { source: SOURCE + 1, ..HERE }][..], &[HERE, Origin { source: SOURCE + 1, ..HERE }], &[]] {
        for standing in [live(EPOCH.after(HOUR)), Standing::Absent] {
            let mut reading = bench.cache.begin(id(1), Place::ONLY).expect("changes are heard");
            reading.depends_on(TENANT, USER, None, &record(None));
            reading.came_from(origins);
            reading.keep(&standing);
            assert_eq!(bench.known(id(1)), None);
        }
    }
}

#[test]
fn what_was_read_stays_where_the_same_server_is_reached_by_other_connections() {
    let bench = Bench::new(100);
    bench.keep(id(1), &live(EPOCH.after(HOUR)));
    let proof = Proof { sent: bench.now(), received: bench.now(), time: bench.store_time() };
    assert!(bench.cache.renew(bench.term, Heard { source: SOURCE + 1, proof, voucher: None }, &all()));
    assert!(bench.is_live(id(1)));
    bench.keep(id(2), &live(EPOCH.after(HOUR)));
    assert!(!bench.is_live(id(2)), "the connections of before may lead elsewhere by now");
}

#[test]
fn what_changes_while_it_is_read_is_used_once_and_not_kept() {
    let bench = Bench::new(100);
    let changes: [fn(&Cache); 3] =
        [|cache| cache.forget(id(1)), |cache| cache.outdate(TENANT.as_bytes()), |cache| cache.outdate(USER.as_bytes())];
    for change in changes {
        let reading = bench.reading(id(1)).expect("changes are heard");
        change(&bench.cache);
        reading.keep(&live(EPOCH.after(HOUR)));
        assert!(!bench.is_live(id(1)));
        // The next one is.
        bench.keep(id(1), &live(EPOCH.after(HOUR)));
        assert!(bench.is_live(id(1)));
        bench.cache.forget(id(1));
    }
}

#[test]
fn a_change_of_a_user_or_tenant_ends_what_is_known_of_their_sessions_alone() {
    let bench = Bench::new(100);
    for n in 0..50 {
        let mut reading = bench.cache.begin(id(n), Place::ONLY).expect("changes are heard");
        reading.came_from(&[HERE]);
        reading.depends_on(if n < 25 { TENANT } else { "n:{other}" }, &format!("u:{{{n}}}"), None, &record(None));
        reading.keep(&live(EPOCH.after(HOUR)));
    }
    bench.cache.outdate(b"u:{3}");
    assert!(!bench.is_live(id(3)) && bench.is_live(id(4)));
    bench.cache.outdate(TENANT.as_bytes());
    assert!((0..50).all(|n| bench.is_live(id(n)) == (n >= 25)));
}

#[test]
fn a_deadline_that_may_have_passed_is_asked_about_and_a_touch_moves_it() {
    let bench = Bench::new(100);
    bench.keep(id(1), &live(EPOCH.after(SECOND)));
    bench.pass(SECOND - 2 * MILLISECOND);
    assert!(bench.is_live(id(1)));
    let touching = bench.cache.touching(id(1));
    bench.pass(MILLISECOND);
    // By what may be the store's time already. Not a refusal: another gateway may have touched it.
    assert_eq!(bench.cache.known(id(1), STALE_AT_MOST), None);
    touching.moved_to(EPOCH.after(HOUR));
    assert!(bench.is_live(id(1)));
    touching.moved_to(EPOCH.after(SECOND));
    bench.pass(SECOND);
    assert!(bench.is_live(id(1)), "an earlier one changes nothing");
}

#[test]
fn a_touch_that_was_answered_late_says_nothing_of_what_was_read_since() {
    let bench = Bench::new(100);
    bench.keep(id(1), &live(EPOCH.after(HOUR)));
    let touching = bench.cache.touching(id(1));
    // Held to lower limits meanwhile.
    bench.cache.forget(id(1));
    bench.keep(id(1), &live(EPOCH.after(SECOND)));
    touching.moved_to(EPOCH.after(2 * HOUR));
    bench.pass(2 * SECOND);
    assert!(!bench.is_live(id(1)));
}

/// A session that goes on from the first of its line, which had its moment until then.
fn gone_on(first: SessionId, until: StoreTime, now: StoreTime) -> Standing {
    let line = Line { first, before: first, until, left: None };
    let record = SessionRecord { line: Some(Box::new(line)), ..(*record(None)).clone() };
    Standing::Live(LiveSession { record: Arc::new(record), touch_deadline: EPOCH.after(HOUR), now })
}

#[test]
fn what_goes_on_from_another_is_kept_once_that_has_had_its_moment_and_ends_with_the_first_of_its_line() {
    let bench = Bench::new(100);
    let read = |standing: &Standing| {
        let Standing::Live(live) = standing else { panic!("live") };
        let mut reading = bench.cache.begin(id(1), Place::ONLY).expect("changes are heard");
        reading.came_from(&[HERE]);
        reading.depends_on(TENANT, USER, None, &live.record);
        reading.keep(standing);
    };
    let until = EPOCH.after(SECOND);
    read(&gone_on(id(9), until, EPOCH));
    assert!(!bench.is_live(id(1)), "what ends the one before in its moment is not heard of");
    bench.pass(2 * SECOND);
    read(&gone_on(id(9), until, bench.store_time()));
    assert!(bench.is_live(id(1)));
    bench.cache.forget(id(8));
    assert!(bench.is_live(id(1)));
    bench.cache.forget(id(9));
    assert!(!bench.is_live(id(1)));
    // Also if that was heard while it was read.
    let standing = gone_on(id(9), until, bench.store_time());
    let Standing::Live(live) = &standing else { panic!("live") };
    let mut reading = bench.cache.begin(id(1), Place::ONLY).expect("changes are heard");
    reading.came_from(&[HERE]);
    reading.depends_on(TENANT, USER, None, &live.record);
    bench.cache.forget(id(9));
    reading.keep(&standing);
    assert!(!bench.is_live(id(1)));
}

#[test]
fn what_is_raised_late_of_the_user_whom_a_session_left_ends_what_is_known_of_it() {
    const LEFT: &str = "u:{other}:7";
    let bench = Bench::new(100);
    bench.pass(2 * SECOND);
    let read = |during: &dyn Fn()| {
        let standing = gone_on(id(9), EPOCH.after(SECOND), bench.store_time());
        let Standing::Live(live) = &standing else { panic!("live") };
        let mut reading = bench.cache.begin(id(1), Place::ONLY).expect("changes are heard");
        reading.came_from(&[HERE]);
        reading.depends_on(TENANT, USER, Some(LEFT), &live.record);
        during();
        reading.keep(&standing);
    };
    read(&|| {});
    assert!(bench.is_live(id(1)));
    bench.cache.outdate(LEFT.as_bytes());
    assert!(!bench.is_live(id(1)), "it may have been raised as of a moment in time");
    read(&|| bench.cache.outdate(LEFT.as_bytes()));
    assert!(!bench.is_live(id(1)));
}

#[test]
fn a_refusal_that_a_standing_may_have_decided_is_known_until_that_changes() {
    let bench = Bench::new(100);
    let refused =
        Standing::Ended(Ended { reason: EndReason::UserRevoked, record: Some(record(None)), noted: true, next: None });
    bench.keep(id(1), &refused);
    assert_eq!(bench.known(id(1)), Some(refused.clone()));
    // A journal raises again what a failover had lost, and the session is good once more.
    bench.cache.outdate(USER.as_bytes());
    assert_eq!(bench.known(id(1)), None);
    let reading = bench.reading(id(1)).expect("changes are heard");
    bench.cache.outdate(TENANT.as_bytes());
    reading.keep(&refused);
    assert_eq!(bench.known(id(1)), None);
}

#[test]
fn what_is_too_uncertain_for_an_idle_limit_is_read() {
    let bench = Bench::new(100);
    // A granularity of a thirtieth, of which a quarter is kept in hand: 8.3 ms.
    let standing =
        |idle| Standing::Live(LiveSession { record: record(idle), touch_deadline: EPOCH.after(HOUR), now: EPOCH });
    bench.keep(id(1), &standing(Some(SECOND)));
    bench.keep(id(2), &standing(None));
    let sent = bench.now();
    bench.clock.advance(7 * MILLISECOND);
    assert!(bench.takes(bench.term, sent));
    assert!(!bench.is_live(id(1)) && bench.is_live(id(2)));
    bench.prove();
    assert!(bench.is_live(id(1)));
}

#[test]
fn the_time_of_a_known_session_is_never_later_than_the_stores() {
    let bench = Bench::new(100);
    bench.keep(id(1), &live(EPOCH.after(HOUR)));
    for _ in 0..3 {
        bench.clock.advance(200 * MILLISECOND);
        let Some(Standing::Live(known)) = bench.known(id(1)) else { panic!("live") };
        assert!(known.now <= bench.store_time() && bench.store_time().since(known.now) <= 2 * DRIFT);
    }
}

#[test]
fn what_is_known_says_when_its_proof_was_asked_for_and_the_stores_time_then() {
    let bench = Bench::new(100);
    bench.keep(id(1), &live(EPOCH.after(HOUR)));
    let (proven, told) = (bench.clock.monotonic(), bench.store_time());
    bench.clock.advance(300 * MILLISECOND);
    let known = bench.cache.known(id(1), STALE_AT_MOST).expect("known");
    assert_eq!(known.asked, proven);
    assert!(known.told >= told && known.told.since(told) <= DRIFT, "{known:?}");
}

#[test]
fn nothing_is_believed_for_longer_than_five_minutes() {
    let bench = Bench::new(100);
    bench.keep(id(1), &live(EPOCH.after(HOUR)));
    bench.keep(id(2), &Standing::Absent);
    bench.pass(OLDEST - MILLISECOND);
    assert!(bench.is_live(id(1)) && bench.cache.known(id(2), STALE_AT_MOST).is_some());
    bench.pass(MILLISECOND);
    assert!(!bench.is_live(id(1)) && bench.cache.known(id(2), STALE_AT_MOST).is_none());
    // And then read anew.
    bench.keep(id(1), &live(EPOCH.after(HOUR)));
    assert!(bench.is_live(id(1)));
}

#[test]
fn an_end_by_time_is_not_kept_before_it_is_written_down() {
    let bench = Bench::new(100);
    let ended = |noted| Standing::Ended(Ended { reason: EndReason::IdleTimeout, record: None, noted, next: None });
    bench.keep(id(1), &ended(false));
    assert_eq!(bench.cache.known(id(1), STALE_AT_MOST), None);
    bench.keep(id(1), &ended(true));
    assert_eq!(bench.known(id(1)), Some(ended(true)));
}

#[test]
fn made_up_tokens_displace_no_session() {
    let bench = Bench::new(800);
    for n in 0..400 {
        bench.keep(id(n), &live(EPOCH.after(HOUR)));
    }
    for n in 1000..100_000 {
        bench.keep(id(n), &Standing::Absent);
    }
    let kept = (0..400).filter(|n| bench.is_live(id(*n))).count();
    assert_eq!(kept, 400);
    assert!(bench.cache.len() <= 500, "{}", bench.cache.len());
}

#[test]
fn the_cache_is_bounded() {
    let bench = Bench::new(1000);
    for n in 0..20_000 {
        bench.keep(id(n), &live(EPOCH.after(HOUR)));
    }
    assert!(bench.cache.len() <= 1000, "{}", bench.cache.len());
}

/// A server with one session, whose changes go out as news in order, on a connection that may break.
struct Model<'a> {
    bench: &'a Bench,
    term: Term,
    /// Each life of the session has an id of its own; every other one goes on from another token, whose end is its own.
    life: u64,
    /// When the session ended.
    ended: Option<Monotonic>,
    /// How often its record was changed, and when last. The record says so itself.
    changes: (u32, Monotonic),
    /// What was sent and not heard yet.
    news: VecDeque<News>,
    connected: bool,
    /// Reads under way: what they will keep once they are answered.
    reads: Vec<(Reading<'a>, Option<Standing>)>,
    /// A beat under way.
    beat: Option<Monotonic>,
}

#[derive(Clone, Copy, Debug)]
enum News {
    Session(SessionId),
    Standing,
    Beat { sent: Monotonic, time: StoreTime },
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Announce,
    Read(usize),
    Keep(usize),
    End { by_standing: bool },
    Change,
    Begin,
    Beat,
    Write,
    Hear,
    Break,
    Connect,
    Pass(u16),
    Use,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Announce),
        4 => (0..4_usize).prop_map(Step::Read),
        4 => (0..4_usize).prop_map(Step::Keep),
        1 => any::<bool>().prop_map(|by_standing| Step::End { by_standing }),
        1 => Just(Step::Change),
        1 => Just(Step::Begin),
        4 => Just(Step::Beat),
        4 => Just(Step::Write),
        8 => Just(Step::Hear),
        1 => Just(Step::Break),
        2 => Just(Step::Connect),
        3 => (1..500_u16).prop_map(Step::Pass),
        8 => Just(Step::Use),
    ];
    proptest::collection::vec(step, 1..120)
}

impl Model<'_> {
    /// The one under whose id its end is written down.
    fn first(&self) -> SessionId {
        id(if self.life.is_multiple_of(2) { 1_000_000 + self.life } else { self.life })
    }

    fn record(&self) -> Arc<SessionRecord> {
        let mut record = (*record(Some(HOUR / 2))).clone();
        record.deadline = record.deadline.before(SECOND * self.changes.0);
        let first = self.first();
        record.line = (first != id(self.life))
            .then(|| Box::new(Line { first, before: first, until: EPOCH.before(SECOND), left: None }));
        Arc::new(record)
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let (cache, now, session) = (&self.bench.cache, self.bench.now(), id(self.life));
        match step {
            Step::Announce if self.reads.len() < 4 => {
                if let Some(mut reading) = cache.begin(session, Place::ONLY) {
                    reading.came_from(&[HERE]);
                    reading.depends_on(TENANT, USER, None, &self.record());
                    self.reads.push((reading, None));
                }
            }
            Step::Read(which) => {
                let (record, touch_deadline) = (self.record(), EPOCH.after(10 * HOUR));
                let live = Standing::Live(LiveSession { record, touch_deadline, now: EPOCH });
                let ended = Standing::Ended(Ended { reason: EndReason::Logout, record: None, noted: true, next: None });
                if let Some((_, answer)) = self.reads.get_mut(which)
                    && answer.is_none()
                {
                    *answer = Some(if self.ended.is_some() { ended } else { live });
                }
            }
            Step::Keep(which) if self.reads.get(which).is_some_and(|(_, answer)| answer.is_some()) => {
                let (reading, answer) = self.reads.remove(which);
                reading.keep(&answer.expect("answered"));
            }
            Step::End { by_standing } if self.ended.is_none() => {
                self.ended = Some(now);
                self.tell(if by_standing { News::Standing } else { News::Session(self.first()) });
            }
            Step::Change if self.ended.is_none() => {
                self.changes = (self.changes.0 + 1, now);
                self.tell(News::Session(session));
            }
            // Another life, under another id.
            Step::Begin if self.ended.is_some() && self.reads.is_empty() && self.news.is_empty() => {
                self.life += 1;
                self.ended = None;
                self.changes.0 = 0;
            }
            Step::Beat if self.connected && self.beat.is_none() => self.beat = Some(now),
            Step::Write => {
                if let Some(sent) = self.beat.take() {
                    let time = self.bench.store_time();
                    self.tell(News::Beat { sent, time });
                }
            }
            Step::Hear => match self.news.pop_front() {
                Some(News::Session(id)) => cache.forget(id),
                Some(News::Standing) => cache.outdate(USER.as_bytes()),
                Some(News::Beat { sent, time }) => {
                    let proof = Proof { sent, received: now, time };
                    cache.renew(self.term, Heard { source: SOURCE, proof, voucher: None }, &all());
                }
                None => {}
            },
            Step::Break if self.connected => {
                self.connected = false;
                self.news.clear();
                self.beat = None;
                cache.close(self.term);
            }
            Step::Connect if !self.connected => {
                self.connected = true;
                self.term = cache.open();
            }
            Step::Pass(millis) => self.bench.clock.advance(Duration::from_millis(millis.into())),
            Step::Use => {
                let known = cache.known(session, STALE_AT_MOST).map(|known| known.standing);
                if let (Some(ended), Some(Standing::Live(_))) = (self.ended, &known) {
                    prop_assert!(now.since(ended) < STALE_AT_MOST, "{:?} after its end", now.since(ended));
                    prop_assert!(!self.news.is_empty(), "its end was heard");
                }
                if let Some(Standing::Live(live)) = &known
                    && live.record.deadline != self.record().deadline
                {
                    let changed = self.changes.1;
                    prop_assert!(now.since(changed) < STALE_AT_MOST, "{:?} after its change", now.since(changed));
                    prop_assert!(!self.news.is_empty(), "its change was heard");
                }
                if self.ended.is_none() {
                    prop_assert!(!matches!(known, Some(Standing::Ended(_) | Standing::Absent)), "it never ended");
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn tell(&mut self, news: News) {
        if self.connected {
            self.news.push_back(news);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Reads that are slow, news that are late, beats, breaks and returns, in any order.
    #[test]
    fn whatever_the_order_no_end_or_change_is_overlooked_for_longer_than_a_lease_nor_once_it_was_heard(
        steps in steps(),
    ) {
        let bench = Bench::new(100);
        let mut model = Model {
            bench: &bench,
            term: bench.term,
            life: 1,
            ended: None,
            changes: (0, bench.now()),
            news: VecDeque::new(),
            connected: true,
            reads: Vec::new(),
            beat: None,
        };
        for step in steps {
            model.step(step)?;
        }
    }
}

/// A read of acme's standing, which answers that it is of this generation.
fn read_tenant(bench: &Bench, during: impl FnOnce(&Bench), generation: u64) {
    let tenant = TenantId::parse("acme").expect("visible ASCII");
    let reading = bench.cache.begin_tenant(TENANT, Place::ONLY).expect("changes are heard");
    during(bench);
    let generation = Generation::from_micros(generation);
    bench.cache.keep_tenant(&tenant, reading, TenantStanding { generation, ..TenantStanding::default() }, &[HERE]);
}

fn known_tenant(bench: &Bench) -> Option<u64> {
    let tenant = TenantId::parse("acme").expect("visible ASCII");
    Some(bench.cache.known_tenant(&tenant, SECOND)?.standing.generation.as_micros())
}

#[test]
fn a_tenants_standing_is_known_under_a_lease_until_it_changes_or_changes_go_unheard() {
    let bench = Bench::new(100);
    assert_eq!(known_tenant(&bench), None);
    read_tenant(&bench, |_| {}, 3);
    assert_eq!(known_tenant(&bench), Some(3));
    bench.cache.outdate(USER.as_bytes());
    assert_eq!(known_tenant(&bench), Some(3), "a user's change is nothing to it");
    bench.cache.outdate(TENANT.as_bytes());
    assert_eq!(known_tenant(&bench), None);
    read_tenant(&bench, |bench| bench.cache.outdate(TENANT.as_bytes()), 3);
    assert_eq!(known_tenant(&bench), None, "it changed while it was read");
    read_tenant(&bench, |_| {}, 4);
    bench.clock.advance(STALE_AT_MOST);
    assert_eq!(known_tenant(&bench), None, "without a proof nobody knows");
    bench.prove();
    assert_eq!(known_tenant(&bench), Some(4));
    bench.cache.close(bench.term);
    assert_eq!(known_tenant(&bench), None);
    assert!(bench.cache.begin_tenant(TENANT, Place::ONLY).is_none(), "nothing is heard");
    bench.opens();
    assert_eq!(known_tenant(&bench), None);
    let reading = bench.cache.begin_tenant(TENANT, Place::ONLY).expect("changes are heard");
    let tenant = TenantId::parse("acme").expect("visible ASCII");
    bench.cache.keep_tenant(&tenant, reading, TenantStanding::default(), &[Origin { source: SOURCE + 1, ..HERE }]);
    assert_eq!(known_tenant(&bench), None, "another server's changes are heard");
}
