//! The cache before several servers, whose places change hands: with a clock that a test moves, and against a model of them.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::clock::{Clock as _, ManualClock, WallTime};
use crate::session::samples::{self, id};
use crate::session::{EndReason, Ended, IdleLimit, LiveSession, SessionId, SessionRecord, Standing};
use crate::store::STALE_AT_MOST;
use crate::store::cache::{Cache, Reading};

const EPOCH: StoreTime = StoreTime::from_micros(1_700_000_000_000_000);
const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Where sessions are, and where their tenant is.
const HERE: Place = Place(0);
const THERE: Place = Place(1);
const TENANT: Place = Place(2);

fn record() -> Arc<SessionRecord> {
    let record = samples::record(EPOCH, EPOCH.after(8 * HOUR));
    Arc::new(SessionRecord { idle: Some(IdleLimit::new(HOUR / 2)), ..record })
}

fn live() -> Standing {
    Standing::Live(LiveSession { record: record(), touch_deadline: EPOCH.after(HOUR), now: EPOCH })
}

/// Vouches since then.
struct Vouches(Mutex<Option<Monotonic>>);

impl Voucher for Vouches {
    fn since(&self, _now: Monotonic, _within: Duration) -> Option<Monotonic> {
        *self.0.lock()
    }
}

/// A server and its tracker. Its source is its number.
struct Server {
    source: u64,
    term: Term,
    election: u64,
    has: Vec<Place>,
    voucher: Option<Arc<dyn Voucher>>,
}

struct Bench {
    cache: Cache,
    clock: Arc<ManualClock>,
}

impl Bench {
    /// Two servers: one has the places of sessions, the other has their tenant's.
    fn new() -> (Self, Server, Server) {
        let clock = Arc::new(ManualClock::starting_at(WallTime::from_micros(0)));
        let bench = Self { cache: Cache::new(100, 3, clock.clone()), clock };
        let (a, b) = (bench.server(1, &[HERE, THERE]), bench.server(2, &[TENANT]));
        (bench, a, b)
    }

    fn server(&self, source: u64, has: &[Place]) -> Server {
        let server = Server { source, term: self.cache.open(), election: 1, has: has.to_vec(), voucher: None };
        assert!(self.prove(&server));
        server
    }

    fn prove(&self, server: &Server) -> bool {
        let now = self.clock.monotonic();
        let proof = Proof { sent: now, received: now, time: EPOCH.after(now.since(Monotonic::from_micros(0))) };
        let heard = Heard { source: server.source, proof, voucher: server.voucher.clone() };
        let held = Held { places: server.has.iter().copied().collect(), election: server.election };
        self.cache.renew(server.term, heard, &held)
    }

    /// A read that has both answers.
    fn reading(&self, id: SessionId, place: Place, session: &Server, tenant: &Server) -> Reading<'_> {
        let mut reading = self.cache.begin(id, place).expect("changes are heard");
        reading.came_from(&[Origin { place, source: session.source }]);
        reading.depends_on("n:{t}", "u:{t}:7", None, &record());
        reading.came_from(&[Origin { place: TENANT, source: tenant.source }]);
        reading
    }

    fn keep(&self, id: SessionId, place: Place, session: &Server, tenant: &Server) {
        self.reading(id, place, session, tenant).keep(&live());
    }

    fn knows(&self, id: SessionId) -> bool {
        self.cache.known(id, STALE_AT_MOST).is_some()
    }

    /// Which of the sessions 1 (here) and 2 (there) it knows.
    fn known(&self) -> [bool; 2] {
        [1, 2].map(|number| self.knows(id(number)))
    }
}

#[test]
fn a_yes_needs_the_leases_of_both_its_servers_and_is_as_old_as_the_older() {
    let (bench, a, b) = Bench::new();
    bench.keep(id(1), HERE, &a, &b);
    let first = bench.clock.monotonic();
    bench.clock.advance(500 * MILLISECOND);
    bench.prove(&a);
    assert_eq!(bench.cache.known(id(1), STALE_AT_MOST).expect("known").asked, first);
    let second = bench.clock.monotonic();
    bench.clock.advance(399 * MILLISECOND);
    assert!(bench.knows(id(1)));
    bench.clock.advance(MILLISECOND);
    assert!(!bench.knows(id(1)), "nobody knows of its tenant");
    bench.prove(&b);
    assert_eq!(bench.cache.known(id(1), STALE_AT_MOST).expect("known").asked, second);
}

#[test]
fn without_news_of_one_server_what_is_elsewhere_is_known_all_the_same() {
    let (bench, mut a, b) = Bench::new();
    a.has = vec![HERE];
    bench.prove(&a);
    let c = bench.server(3, &[THERE]);
    bench.keep(id(1), HERE, &a, &b);
    bench.keep(id(2), THERE, &c, &b);
    bench.clock.advance(STALE_AT_MOST);
    bench.prove(&b);
    bench.prove(&c);
    assert_eq!(bench.known(), [false, true]);
    bench.prove(&a);
    assert_eq!(bench.known(), [true, true], "nothing was missed in between");
    bench.cache.close(c.term);
    assert_eq!(bench.known(), [true, false]);
    assert!(bench.cache.begin(id(2), THERE).is_none(), "nothing can be kept there now");
}

#[test]
fn a_server_that_is_heard_anew_costs_what_was_read_there_alone() {
    let (bench, mut a, b) = Bench::new();
    a.has = vec![HERE];
    bench.prove(&a);
    let c = bench.server(3, &[THERE]);
    bench.keep(id(1), HERE, &a, &b);
    bench.keep(id(2), THERE, &c, &b);
    bench.cache.close(c.term);
    // Also if it is reached by the same connections.
    let again = bench.server(3, &[THERE]);
    assert_eq!(bench.known(), [true, false]);
    bench.keep(id(2), THERE, &again, &b);
    assert_eq!(bench.known(), [true, true]);
    assert!(!bench.prove(&c), "its term is over");
}

#[test]
fn a_slot_that_moves_costs_what_is_in_it_alone_and_nothing_comes_back_with_it() {
    let (bench, mut a, mut b) = Bench::new();
    for gone_for_good in [false, true] {
        bench.keep(id(1), HERE, &a, &b);
        bench.keep(id(2), THERE, &a, &b);
        bench.cache.lost([THERE].into_iter());
        assert_eq!(bench.known(), [true, false]);
        (a.has, b.has) = (vec![HERE], vec![TENANT, THERE]);
        assert!(bench.prove(&a) && bench.prove(&b));
        assert_eq!(bench.known(), [true, false]);
        if gone_for_good {
            bench.keep(id(2), THERE, &b, &b);
            assert_eq!(bench.known(), [true, true]);
            return;
        }
        bench.cache.lost([THERE].into_iter());
        (a.has, b.has) = (vec![HERE, THERE], vec![TENANT]);
        assert!(bench.prove(&a) && bench.prove(&b));
        assert_eq!(bench.known(), [true, false], "it may have changed elsewhere");
    }
}

#[test]
fn a_slot_that_its_master_is_giving_away_is_asked_about_although_nobody_else_says_so() {
    let (bench, mut a, b) = Bench::new();
    bench.keep(id(2), THERE, &a, &b);
    a.has = vec![HERE];
    bench.prove(&a);
    assert!(!bench.knows(id(2)) && bench.cache.begin(id(2), THERE).is_none());
    a.has = vec![HERE, THERE];
    bench.prove(&a);
    assert!(!bench.knows(id(2)), "what was written meanwhile was written elsewhere");
    bench.keep(id(2), THERE, &a, &b);
    assert!(bench.knows(id(2)));
}

#[test]
fn what_went_and_came_back_between_two_proofs_is_told_by_the_election_that_brought_it() {
    let (bench, mut a, b) = Bench::new();
    bench.keep(id(1), HERE, &a, &b);
    bench.prove(&a);
    assert!(bench.knows(id(1)));
    a.election += 1;
    bench.prove(&a);
    assert!(!bench.knows(id(1)));
}

#[test]
fn what_is_read_while_its_place_changes_hands_or_its_server_is_heard_anew_is_used_once() {
    let (bench, mut a, b) = Bench::new();
    let reading = bench.reading(id(1), HERE, &a, &b);
    bench.cache.lost([HERE].into_iter());
    bench.prove(&a);
    reading.keep(&live());
    assert!(!bench.knows(id(1)), "it went and came back");
    // The tenant's alone.
    let reading = bench.reading(id(1), HERE, &a, &b);
    bench.cache.close(b.term);
    let b = bench.server(2, &[TENANT]);
    reading.keep(&live());
    assert!(!bench.knows(id(1)), "its server may have told of a change that nobody heard");
    let mut reading = bench.cache.begin(id(1), HERE).expect("changes are heard");
    reading.came_from(&[Origin { place: HERE, source: a.source }]);
    a.has = vec![THERE];
    bench.prove(&a);
    reading.depends_on("n:{t}", "u:{t}:7", None, &record());
    reading.came_from(&[Origin { place: TENANT, source: b.source }]);
    a.has = vec![HERE, THERE];
    bench.prove(&a);
    reading.keep(&live());
    assert!(!bench.knows(id(1)));
    bench.keep(id(1), HERE, &a, &b);
    assert!(bench.knows(id(1)), "the next one is kept");
}

#[test]
fn what_was_kept_before_its_place_changed_hands_and_put_in_after_it_is_no_answer() {
    let (bench, a, b) = Bench::new();
    let leases = bench.cache.places.leases();
    let stamp = bench.cache.places.stamp();
    let origin = Origin { place: HERE, source: a.source };
    assert!(leases.vouch_for(origin, stamp));
    bench.cache.lost([HERE].into_iter());
    assert!(!leases.vouch_for(origin, stamp) && bench.cache.places.is_void(HERE, stamp));
    bench.prove(&a);
    bench.prove(&b);
    assert!(bench.cache.places.is_void(HERE, stamp) && !bench.cache.places.is_void(TENANT, stamp));
}

#[test]
fn what_another_server_answered_than_the_one_that_tells_of_changes_is_used_once() {
    let (bench, a, b) = Bench::new();
    let mut reading = bench.reading(id(1), HERE, &a, &b);
    // Of the same session, since its slot is about to move.
    reading.came_from(&[Origin { place: HERE, source: b.source }]);
    reading.keep(&live());
    assert!(!bench.knows(id(1)));
    bench.reading(id(1), HERE, &a, &a).keep(&live());
    assert!(!bench.knows(id(1)));
    let mut reading = bench.cache.begin(id(1), HERE).expect("changes are heard");
    reading.came_from(&[Origin { place: HERE, source: b.source }]);
    reading.keep(&Standing::Absent);
    assert!(!bench.knows(id(1)));
}

#[test]
fn a_refusal_needs_the_leases_of_both_its_servers_and_goes_with_the_place_of_either() {
    let (bench, a, b) = Bench::new();
    let refused = Ended { reason: EndReason::UserRevoked, record: Some(record()), noted: true, next: None };
    bench.reading(id(1), HERE, &a, &b).keep(&Standing::Ended(refused.clone()));
    let known = || bench.cache.known(id(1), STALE_AT_MOST).map(|known| known.standing);
    assert_eq!(known(), Some(Standing::Ended(refused)));
    bench.clock.advance(STALE_AT_MOST / 2);
    bench.prove(&a);
    bench.clock.advance(STALE_AT_MOST / 2);
    assert_eq!(known(), None, "the standing's server is not heard");
    bench.prove(&a);
    bench.prove(&b);
    assert!(known().is_some());
    bench.cache.lost([TENANT].into_iter());
    bench.prove(&b);
    assert_eq!(known(), None);
}

#[test]
fn a_session_of_several_tenants_needs_the_lease_of_each_of_their_servers() {
    let (bench, mut a, mut b) = Bench::new();
    (a.has, b.has) = (vec![HERE], vec![TENANT]);
    bench.prove(&a);
    let c = bench.server(3, &[THERE]);
    let mut reading = bench.reading(id(1), HERE, &a, &b);
    reading.came_from(&[Origin { place: THERE, source: c.source }]);
    reading.keep(&live());
    assert!(bench.knows(id(1)));
    bench.clock.advance(STALE_AT_MOST / 2);
    bench.prove(&a);
    bench.prove(&b);
    assert!(bench.knows(id(1)));
    bench.clock.advance(STALE_AT_MOST / 2);
    assert!(!bench.knows(id(1)));
    bench.prove(&c);
    assert!(bench.knows(id(1)));
    bench.cache.lost([THERE].into_iter());
    bench.prove(&c);
    assert!(!bench.knows(id(1)));
}

#[test]
fn a_yes_is_no_younger_than_the_proof_that_its_server_decides() {
    let (bench, mut a, b) = Bench::new();
    let vouches = Arc::new(Vouches(Mutex::new(None)));
    a.voucher = Some(vouches.clone());
    bench.prove(&a);
    bench.keep(id(1), HERE, &a, &b);
    assert!(!bench.knows(id(1)), "nobody vouches for it");
    let proven = bench.clock.monotonic();
    *vouches.0.lock() = Some(proven);
    bench.clock.advance(300 * MILLISECOND);
    bench.prove(&a);
    bench.prove(&b);
    assert_eq!(bench.cache.known(id(1), STALE_AT_MOST).expect("known").asked, proven);
    assert!(bench.cache.known(id(1), 300 * MILLISECOND).is_none(), "not as of so short ago");
    bench.clock.advance(600 * MILLISECOND);
    bench.prove(&a);
    bench.prove(&b);
    assert!(!bench.knows(id(1)));
}

#[test]
fn once_there_are_no_stamps_left_nothing_is_known_any_more() {
    let (bench, a, b) = Bench::new();
    bench.keep(id(1), HERE, &a, &b);
    bench.cache.places.publish(Stamp(u32::MAX));
    bench.cache.lost([THERE].into_iter());
    assert!(!bench.knows(id(1)) && !bench.prove(&a));
    let term = bench.cache.open();
    assert!(!bench.prove(&Server { term, ..a }));
}

/// Servers that share the places of one session and its tenant. What is written is written at who has the place, or, while
/// that gives it away, at who gets it; and told there alone.
struct Model<'a> {
    bench: &'a Bench,
    servers: Vec<Node>,
    /// Who has which place, who gets it, and whom the gateway takes for its owner.
    places: [Owner; 2],
    life: u64,
    /// When it ended, and by what is in which place.
    ended: Option<(Monotonic, usize)>,
    /// Those that are under way, and whether what each place says has ended it.
    reads: Vec<(Reading<'a>, [Option<bool>; 2])>,
}

#[derive(Clone, Copy)]
struct Owner {
    has: usize,
    gets: Option<usize>,
    believed: usize,
}

struct Node {
    source: u64,
    /// `None`: nobody listens.
    term: Option<Term>,
    election: u64,
    news: VecDeque<News>,
    beat: Option<Monotonic>,
    /// Whether nothing is heard of it, though it tells.
    stalled: bool,
}

#[derive(Clone)]
enum News {
    Session(SessionId),
    Standing,
    Beat { sent: Monotonic, held: Held },
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Announce,
    Read {
        which: usize,
        place: usize,
    },
    Keep(usize),
    End(usize),
    Begin,
    Beat(usize),
    Write(usize),
    Hear(usize),
    Break(usize),
    Connect(usize),
    Give {
        place: usize,
        to: usize,
    },
    Settle {
        place: usize,
        gone: bool,
    },
    Learn(usize),
    Pass(u16),
    Use,
    /// A quarter of a second in which each tells, and is heard where nothing stalls.
    Round,
    /// What a request does.
    Request,
    Stall {
        at: usize,
        stalled: bool,
    },
}

const PLACES: [Place; 2] = [Place(0), Place(2)];
const SERVERS: usize = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let server = || 0..SERVERS;
    let place = || 0..PLACES.len();
    let step = prop_oneof![
        2 => Just(Step::Announce),
        3 => (0..3_usize, place()).prop_map(|(which, place)| Step::Read { which, place }),
        2 => (0..3_usize).prop_map(Step::Keep),
        2 => place().prop_map(Step::End),
        1 => Just(Step::Begin),
        2 => server().prop_map(Step::Beat),
        2 => server().prop_map(Step::Write),
        4 => server().prop_map(Step::Hear),
        1 => server().prop_map(Step::Break),
        3 => server().prop_map(Step::Connect),
        3 => (place(), server()).prop_map(|(place, to)| Step::Give { place, to }),
        3 => (place(), any::<bool>()).prop_map(|(place, gone)| Step::Settle { place, gone }),
        3 => place().prop_map(Step::Learn),
        1 => (1..400_u16).prop_map(Step::Pass),
        3 => Just(Step::Use),
        12 => Just(Step::Round),
        8 => Just(Step::Request),
        2 => (server(), any::<bool>()).prop_map(|(at, stalled)| Step::Stall { at, stalled }),
    ];
    proptest::collection::vec(step, 1..100)
}

impl Model<'_> {
    /// Who says what there is in a place: a part of it, while it moves, is at who gets it.
    fn answering(&self, place: usize) -> Vec<Origin> {
        let Owner { has, gets, .. } = self.places[place];
        let answers = |server: usize| Origin { place: PLACES[place], source: self.servers[server].source };
        std::iter::once(has).chain(gets).map(answers).collect()
    }

    fn held(&self, server: usize) -> Held {
        let has =
            |(_, owner): &(&Place, &Owner)| owner.has == server && owner.gets.is_none() && owner.believed == server;
        let its = PLACES.iter().zip(&self.places).filter(has);
        Held { places: its.map(|(place, _)| *place).collect(), election: self.servers[server].election }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let (cache, now, session) = (&self.bench.cache, self.bench.clock.monotonic(), id(self.life));
        match step {
            Step::Announce if self.reads.len() < 3 => {
                if let Some(reading) = cache.begin(session, PLACES[0]) {
                    self.reads.push((reading, [None, None]));
                }
            }
            Step::Read { which, place } => {
                let origins = self.answering(place);
                let ended = self.ended.is_some_and(|(_, by)| by == place);
                let Some((reading, answers)) = self.reads.get_mut(which) else { return Ok(()) };
                // The tenant's is asked for once it is known whose session it is.
                if answers[place].is_none() && (place == 0 || answers[0].is_some()) {
                    if place == 1 {
                        reading.depends_on("n:{t}", "u:{t}:7", None, &record());
                    }
                    reading.came_from(&origins);
                    answers[place] = Some(ended);
                }
            }
            Step::Keep(which) if self.reads.get(which).is_some_and(|(_, answers)| answers[1].is_some()) => {
                let (reading, answers) = self.reads.remove(which);
                let ended = Ended { reason: EndReason::Logout, record: None, noted: true, next: None };
                let is_over = answers.contains(&Some(true));
                reading.keep(&if is_over { Standing::Ended(ended) } else { live() });
            }
            Step::End(place) if self.ended.is_none() => {
                self.ended = Some((now, place));
                let Owner { has, gets, .. } = self.places[place];
                self.tell(gets.unwrap_or(has), place);
            }
            Step::Begin if self.ended.is_some() && self.reads.is_empty() => {
                self.life += 1;
                self.ended = None;
            }
            Step::Beat(at) if self.servers[at].term.is_some() && self.servers[at].beat.is_none() => {
                self.servers[at].beat = Some(now);
            }
            Step::Write(at) => {
                if let Some(sent) = self.servers[at].beat.take() {
                    let held = self.held(at);
                    self.servers[at].news.push_back(News::Beat { sent, held });
                }
            }
            Step::Hear(at) if !self.servers[at].stalled => {
                let Node { source, term: Some(term), .. } = self.servers[at] else { return Ok(()) };
                match self.servers[at].news.pop_front() {
                    Some(News::Session(id)) => cache.forget(id),
                    Some(News::Standing) => cache.outdate(b"u:{t}:7"),
                    Some(News::Beat { sent, held }) => {
                        let proof = Proof { sent, received: now, time: EPOCH };
                        cache.renew(term, Heard { source, proof, voucher: None }, &held);
                    }
                    None => {}
                }
            }
            Step::Break(at) => {
                if let Some(term) = self.servers[at].term.take() {
                    self.servers[at].news.clear();
                    self.servers[at].beat = None;
                    cache.close(term);
                }
            }
            Step::Connect(at) if self.servers[at].term.is_none() => self.servers[at].term = Some(cache.open()),
            Step::Give { place, to } if self.places[place].gets.is_none() && self.places[place].has != to => {
                self.places[place].gets = Some(to);
            }
            Step::Settle { place, gone: true } => {
                if let Some(to) = self.places[place].gets.take() {
                    self.places[place].has = to;
                    let last = self.servers.iter().map(|server| server.election).max().unwrap_or_default();
                    self.servers[to].election = last + 1;
                }
            }
            // It stays after all, with what was written elsewhere, of which the owner then tells.
            Step::Settle { place, gone: false } => {
                let was_open = self.places[place].gets.take().is_some();
                if was_open {
                    self.tell(self.places[place].has, place);
                }
            }
            Step::Learn(place) => {
                let owner = &mut self.places[place];
                if owner.believed != owner.has {
                    owner.believed = owner.has;
                    cache.lost([PLACES[place]].into_iter());
                }
            }
            Step::Round => {
                for at in 0..SERVERS {
                    for step in [Step::Connect(at), Step::Beat(at), Step::Write(at)] {
                        self.step(step)?;
                    }
                    for _ in 0..self.servers[at].news.len() {
                        self.step(Step::Hear(at))?;
                    }
                }
                self.step(Step::Pass(250))?;
            }
            Step::Request => {
                self.step(Step::Use)?;
                if cache.known(session, STALE_AT_MOST).is_none() && self.reads.is_empty() {
                    for step in [Step::Announce, Step::Read { which: 0, place: 0 }] {
                        self.step(step)?;
                    }
                    self.step(Step::Read { which: 0, place: 1 })?;
                    self.step(Step::Keep(0))?;
                }
            }
            Step::Stall { at, stalled } => self.servers[at].stalled = stalled,
            Step::Pass(millis) => self.bench.clock.advance(Duration::from_millis(millis.into())),
            Step::Use => {
                let known = cache.known(session, STALE_AT_MOST);
                if let (Some((ended, _)), Some(known)) = (self.ended, known)
                    && matches!(known.standing, Standing::Live(_))
                {
                    prop_assert!(now.since(ended) < STALE_AT_MOST, "{:?} after its end", now.since(ended));
                    prop_assert!(known.asked <= ended, "dated to after its end");
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A server tells who listens that something was written there.
    fn tell(&mut self, server: usize, place: usize) {
        let session = id(self.life);
        let at = &mut self.servers[server];
        if at.term.is_some() {
            at.news.push_back(if place == 1 { News::Standing } else { News::Session(session) });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn whatever_moves_and_whoever_is_heard_late_no_end_is_overlooked_for_longer_than_a_lease(steps in steps()) {
        let clock = Arc::new(ManualClock::starting_at(WallTime::from_micros(0)));
        let bench = Bench { cache: Cache::new(100, 3, clock.clone()), clock };
        let node = |source| Node { source, term: None, election: source, news: VecDeque::new(), beat: None, stalled: false };
        let owner = |has| Owner { has, gets: None, believed: has };
        let mut model = Model {
            bench: &bench,
            servers: (1..).take(SERVERS).map(node).collect(),
            places: [owner(0), owner(1)],
            life: 1,
            ended: None,
            reads: Vec::new(),
        };
        for step in steps {
            model.step(step)?;
        }
    }
}
