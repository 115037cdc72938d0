//! Contract §6 against a model: one store, several gateways that crash and flush late, requests near every boundary.
//!
//! The arithmetic and the judgement are the real ones. The clock is a number.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use session_gateway::session::{
    Generations, IdleLimit, Observation, Principal, SessionId, SessionRecord, Standing, StoreTime, TenantId,
    TenantStanding, TouchPlan, UserAgent, UserId, UserStanding, judge,
};

const START: StoreTime = StoreTime::from_micros(1_700_000_000_000_000);
const GATEWAYS: usize = 3;

/// What the store keeps of the one session.
struct Store {
    record: SessionRecord,
    touch_deadline: StoreTime,
    /// Redis keeps deadlines in milliseconds.
    in_millis: bool,
}

impl Store {
    fn new(idle: IdleLimit, absolute: Duration, in_millis: bool) -> Self {
        let record = SessionRecord {
            principal: Arc::new(Principal {
                tenant: TenantId::parse("acme").unwrap(),
                user: UserId::parse("7").unwrap(),
                role: None,
            }),
            created: START,
            deadline: START.after(absolute),
            idle: Some(idle),
            remembered: false,
            generations: Generations::default(),
            address: None,
            user_agent: UserAgent::default(),
            line: None,
            choices: None,
        };
        let mut store = Self { record, touch_deadline: START, in_millis };
        store.touch_deadline = store.kept(idle.deadline_of_use_at(START));
        store
    }

    fn kept(&self, deadline: StoreTime) -> StoreTime {
        if self.in_millis { StoreTime::from_millis(deadline.as_millis_rounded_up()) } else { deadline }
    }

    fn read(&self, now: StoreTime) -> Standing {
        judge(Observation {
            id: SessionId::parse(&[b'A'; 22]).unwrap(),
            record: Some(self.record.clone()),
            touch_deadline: (now < self.touch_deadline).then_some(self.touch_deadline),
            ended: None,
            line_ended: None,
            hold: None,
            tenant: TenantStanding::default(),
            user: UserStanding::default(),
            left: UserStanding::default(),
            elsewhere: Vec::new(),
            now,
        })
    }

    fn touch(&mut self, deadline: StoreTime, now: StoreTime) -> bool {
        let there = now < self.touch_deadline;
        if there {
            self.touch_deadline = self.touch_deadline.max(self.kept(deadline));
        }
        there
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// Time passes, then a gateway gets a request. The two latencies are to the read and on to the touch, in 1/1000
    /// of half of what the arithmetic keeps in hand.
    Request { gateway: usize, after: Gap, latencies: (u32, u32) },
    /// A gateway's queue is written.
    Flush { gateway: usize, after: Gap },
    /// A gateway dies with its queue.
    Crash { gateway: usize },
}

/// A time that matters to the arithmetic, and how far from it.
#[derive(Clone, Copy, Debug)]
struct Gap {
    near: Near,
    off_by: i64,
}

#[derive(Clone, Copy, Debug)]
enum Near {
    Now,
    HalfGranularity,
    GranularityLessMargin,
    Granularity,
    Idle,
    IdleAndGranularity,
    Part(u32),
}

fn granularity(idle: IdleLimit) -> Duration {
    (idle.limit() / 30).min(Duration::from_secs(60))
}

/// What the arithmetic keeps in hand for latency.
fn margin(idle: IdleLimit) -> Duration {
    (granularity(idle) / 4).min(Duration::from_secs(1))
}

impl Gap {
    fn from(self, now: StoreTime, idle: IdleLimit) -> StoreTime {
        let (limit, g) = (idle.limit(), granularity(idle));
        let gap = match self.near {
            Near::Now => Duration::ZERO,
            Near::HalfGranularity => g / 2,
            Near::GranularityLessMargin => g - margin(idle),
            Near::Granularity => g,
            Near::Idle => limit,
            Near::IdleAndGranularity => limit + g,
            Near::Part(thousandths) => limit * thousandths / 1000,
        };
        let off_by = Duration::from_micros(self.off_by.unsigned_abs());
        let gap = if self.off_by < 0 { gap.saturating_sub(off_by) } else { gap + off_by };
        now.after(gap)
    }
}

fn gaps() -> impl Strategy<Value = Gap> {
    let near = prop_oneof![
        4 => Just(Near::Now),
        3 => Just(Near::HalfGranularity),
        3 => Just(Near::GranularityLessMargin),
        2 => Just(Near::Granularity),
        4 => Just(Near::Idle),
        2 => Just(Near::IdleAndGranularity),
        2 => (0_u32..1000).prop_map(Near::Part),
    ];
    let off_by = prop_oneof![Just(0), Just(1), Just(-1), -2000_i64..2000, -500_000_i64..500_000];
    (near, off_by).prop_map(|(near, off_by)| Gap { near, off_by })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let latency = || prop_oneof![Just(0_u32), Just(999), 0_u32..1000];
    let event = prop_oneof![
        6 => (0..GATEWAYS, gaps(), latency(), latency())
            .prop_map(|(gateway, after, read, touch)| Event::Request { gateway, after, latencies: (read, touch) }),
        1 => (0..GATEWAYS, gaps()).prop_map(|(gateway, after)| Event::Flush { gateway, after }),
        1 => (0..GATEWAYS).prop_map(|gateway| Event::Crash { gateway }),
    ];
    proptest::collection::vec(event, 1..60)
}

/// So many cases, or as many as `PROPTEST_CASES` asks for where that is more.
fn at_least(cases: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(cases), ..config }
}

proptest! {
    #![proptest_config(at_least(4000))]

    #[test]
    fn no_request_is_refused_early_or_accepted_late_whatever_crashes_or_flushes_late(
        idle in prop_oneof![Just(1_u64), Just(30), Just(900), Just(1800), Just(86_400)],
        absolute in prop_oneof![Just(3_u32), Just(20), Just(1000)],
        in_millis in any::<bool>(),
        events in events(),
    ) {
        let idle = IdleLimit::new(Duration::from_secs(idle));
        let mut store = Store::new(idle, idle.limit() * absolute / 2, in_millis);
        let mut queues: [Option<StoreTime>; GATEWAYS] = [None; GATEWAYS];
        let (mut now, mut last_use) = (START, START);
        // The last use plus I + g is kept in milliseconds, rounded up.
        let latest = idle.limit() + granularity(idle) + Duration::from_millis(u64::from(in_millis));
        for event in events {
            match event {
                Event::Crash { gateway } => queues[gateway] = None,
                Event::Flush { gateway, after } => {
                    now = after.from(now, idle);
                    if let Some(deadline) = queues[gateway].take() {
                        store.touch(deadline, now);
                    }
                }
                Event::Request { gateway, after, latencies: (to_read, to_touch) } => {
                    let came = after.from(now, idle);
                    now = came.after(margin(idle) / 2 * to_read / 1000);
                    let used = now;
                    let accepted = match store.read(now) {
                        Standing::Live(live) => match idle.plan(live.touch_deadline, live.now) {
                            TouchPlan::Nothing => true,
                            TouchPlan::Queue(deadline) => {
                                queues[gateway] = queues[gateway].max(Some(deadline));
                                true
                            }
                            TouchPlan::Now(deadline) => {
                                now = now.after(margin(idle) / 2 * to_touch / 1000);
                                store.touch(deadline, now)
                            }
                        },
                        _ => false,
                    };
                    if accepted {
                        prop_assert!(used < store.record.deadline, "accepted after the absolute deadline");
                        prop_assert!(used.since(last_use) <= latest, "accepted {:?} after the last", used.since(last_use));
                        last_use = used;
                    } else {
                        let early = came.since(last_use) <= idle.limit() && now < store.record.deadline;
                        prop_assert!(!early, "refused {:?} after the last", came.since(last_use));
                        return Ok(());
                    }
                }
            }
        }
    }
}
