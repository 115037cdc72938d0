//! The contract of `AlertOutbox`, sentence by sentence. Each runs on every store (see `main.rs`).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use session_gateway::store::alerts::{
    AlertId, Attempts, Fate, LEASE, Limit, MOST_ALERTS, MOST_LISTED, Posting, Taken, Target,
};
use session_gateway::store::monitor::{FindingId, Kept};

use crate::bench::{Bench, HOUR, MonitorStore};
use crate::monitor::{keep, record};

/// Short enough to wait for.
const SHORT: Duration = Duration::from_secs(2);

fn to(queue: &str, address: &str) -> Posting {
    let target = Target { queue: queue.to_owned(), channel: String::from("mail"), to: address.to_owned() };
    Posting { target, gathered: None, limit: None }
}

fn gathered(address: &str, period: Duration) -> Posting {
    Posting { gathered: Some(period), ..to("mail", address) }
}

/// Keeps a finding that was not there, to be told so.
async fn put(store: &Arc<dyn MonitorStore>, dedupe: &str, postings: &[Posting]) -> (FindingId, Vec<Fate>) {
    match keep(&**store, &record("KIND"), dedupe, HOUR, postings).await {
        Kept::New { id, fates } => (id, fates),
        again @ Kept::Again(_) => panic!("{again:?}"),
    }
}

async fn take(store: &Arc<dyn MonitorStore>) -> Option<Taken> {
    store.take("mail").await.unwrap().taken
}

pub(crate) async fn what_is_to_be_told_is_put_in_with_a_finding_that_is_new(bench: &mut impl Bench) {
    let (store, other) = (bench.monitor(), bench.other_monitor().await);
    let postings = [to("mail", "a@example.com"), to("mail", "b@example.com")];
    let (id, fates) = put(&store, "one", &postings).await;
    assert_eq!(fates, [Fate::Put, Fate::Put]);
    assert_eq!(keep(&*other, &record("KIND"), "one", HOUR, &postings).await, Kept::Again(id));
    assert_eq!(store.count_waiting().await.unwrap(), 2, "what is found again is not told again");
    let mut told = HashSet::new();
    while let Some(taken) = take(&other).await {
        assert_eq!((taken.waiting.id.finding(), taken.waiting.attempts.count), (Some(id), 0));
        assert!(told.insert(taken.waiting.target.to.clone()));
        assert!(other.done(&taken).await.unwrap());
    }
    assert_eq!(told, HashSet::from(["a@example.com".to_owned(), "b@example.com".to_owned()]));
    assert_eq!(store.count_waiting().await.unwrap(), 0);
}

pub(crate) async fn of_many_takers_each_alert_has_one(bench: &mut impl Bench) {
    let takers = [bench.monitor(), bench.other_monitor().await, bench.other_monitor().await];
    for number in 0..40 {
        put(&takers[0], &number.to_string(), &[to("mail", "a@example.com")]).await;
    }
    let mut taking = Vec::new();
    for number in 0..6 {
        let store = takers[number % 3].clone();
        taking.push(tokio::spawn(async move {
            let mut ids = Vec::new();
            while let Some(taken) = take(&store).await {
                assert!(store.done(&taken).await.unwrap());
                ids.push(taken.waiting.id);
            }
            ids
        }));
    }
    let mut all: Vec<AlertId> = Vec::new();
    for one in taking {
        all.extend(one.await.unwrap());
    }
    assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (40, 40));
}

pub(crate) async fn what_nobody_said_anything_of_is_taken_again_under_the_same_id(bench: &mut impl Bench) {
    let (store, other) = (bench.monitor(), bench.other_monitor().await);
    put(&store, "one", &[to("mail", "a@example.com")]).await;
    let first = take(&store).await.unwrap();
    assert_eq!(take(&other).await, None);
    bench.elapse(LEASE + Duration::from_millis(50)).await;
    let second = take(&other).await.unwrap();
    assert_eq!(first.waiting.id, second.waiting.id);
    assert!(other.done(&second).await.unwrap());
}

pub(crate) async fn who_lost_an_alert_neither_ends_nor_puts_it_off(bench: &mut impl Bench) {
    let (store, other) = (bench.monitor(), bench.other_monitor().await);
    put(&store, "one", &[to("mail", "a@example.com")]).await;
    let lost = take(&store).await.unwrap();
    bench.elapse(LEASE + Duration::from_millis(50)).await;
    let held = take(&other).await.unwrap();
    assert!(!store.done(&lost).await.unwrap());
    assert!(!store.postpone(&lost, Duration::ZERO, &Attempts::default()).await.unwrap());
    assert_eq!(take(&store).await, None, "it is the other's");
    assert!(other.done(&held).await.unwrap());
    assert!(!other.done(&held).await.unwrap(), "once");
}

pub(crate) async fn what_is_put_off_is_due_again_after_its_pause_and_says_what_was_tried(bench: &mut impl Bench) {
    let (store, other) = (bench.monitor(), bench.other_monitor().await);
    put(&store, "one", &[to("mail", "a@example.com")]).await;
    put(&store, "two", &[to("mail", "a@example.com")]).await;
    let taken = take(&store).await.unwrap();
    let attempts = Attempts { count: 1, error: String::from("451 later") };
    assert!(store.postpone(&taken, SHORT, &attempts).await.unwrap());
    let second = take(&other).await.unwrap();
    assert_ne!(second.waiting.id, taken.waiting.id, "it holds no other up");
    assert!(other.done(&second).await.unwrap());
    let next = other.take("mail").await.unwrap();
    assert_eq!(next.taken, None);
    let due = next.due.unwrap().since(next.now);
    assert!(due <= SHORT && due > Duration::ZERO, "{due:?}");
    bench.elapse(due + Duration::from_millis(5)).await;
    let again = take(&other).await.unwrap();
    assert_eq!((&again.waiting.id, &again.waiting.attempts), (&taken.waiting.id, &attempts));
}

pub(crate) async fn what_is_gathered_is_one_alert_at_the_end_of_its_period(bench: &mut impl Bench) {
    let (store, other) = (bench.monitor(), bench.other_monitor().await);
    // So that all of it falls into one period.
    let now = store.take("mail").await.unwrap().now.as_micros();
    bench.elapse(Duration::from_micros(2_000_000 - now % 2_000_000)).await;
    let postings = [gathered("a@example.com", SHORT), gathered("b@example.com", SHORT)];
    let mut ids = Vec::new();
    for number in 0..3 {
        let (id, fates) = put(if number == 1 { &other } else { &store }, &number.to_string(), &postings).await;
        assert_eq!(fates, [Fate::Gathered, Fate::Gathered]);
        ids.push(id.to_string());
    }
    let next = store.take("mail").await.unwrap();
    assert_eq!(next.taken, None, "its period is not over");
    bench.elapse(next.due.unwrap().since(next.now) + Duration::from_millis(5)).await;
    for _ in 0..2 {
        let taken = take(&other).await.unwrap();
        let all = taken.waiting.gathered.clone().unwrap();
        assert_eq!((all.count, &all.ids), (3, &ids));
        assert_eq!(all.kinds.into_iter().collect::<Vec<_>>(), [(String::from("high KIND"), 3)]);
        assert_eq!(taken.waiting.id.finding(), None);
        // What comes from now on is another one's.
        put(&store, &format!("late {}", taken.waiting.target.to), &postings).await;
        assert!(other.done(&taken).await.unwrap());
    }
    assert_eq!(store.count_waiting().await.unwrap(), 2);
}

pub(crate) async fn beyond_a_limit_the_rest_is_gathered_or_not_told(bench: &mut impl Bench) {
    let store = bench.monitor();
    let limited = |name: &str, beyond| {
        let limit = Limit { name: name.to_owned(), most: 3, within: SHORT, beyond };
        Posting { limit: Some(limit), ..to("mail", name) }
    };
    let postings = [limited("a@example.com", Some(HOUR)), limited("b@example.com", None)];
    for number in 0..MOST_LISTED + 13 {
        let (_, fates) = put(&store, &number.to_string(), &postings).await;
        let expected = if number < 3 { [Fate::Put, Fate::Put] } else { [Fate::Gathered, Fate::Limited] };
        assert_eq!(fates, expected, "{number}");
    }
    let waiting = store.waiting(None, 100).await.unwrap();
    let gathered: Vec<_> = waiting.iter().filter_map(|one| one.gathered.as_ref()).collect();
    let [gathered] = gathered[..] else { panic!("{waiting:?}") };
    assert_eq!((gathered.count, gathered.ids.len(), waiting.len()), (MOST_LISTED as u64 + 10, MOST_LISTED, 7));
    bench.elapse(SHORT + Duration::from_millis(5)).await;
    assert_eq!(put(&store, "later", &postings).await.1, [Fate::Put, Fate::Put]);
}

pub(crate) async fn queues_do_not_hold_each_other_up(bench: &mut impl Bench) {
    let store = bench.monitor();
    put(&store, "one", &[to("mail", "a@example.com"), to("hook", "x")]).await;
    assert!(take(&store).await.is_some());
    assert_eq!(take(&store).await, None);
    let taken = store.take("hook").await.unwrap().taken.unwrap();
    assert_eq!(taken.waiting.target.queue, "hook");
    assert_eq!(store.take("other").await.unwrap().taken, None);
}

pub(crate) async fn what_waits_is_listed_page_by_page(bench: &mut impl Bench) {
    let store = bench.monitor();
    for number in 0..7 {
        put(&store, &number.to_string(), &[to("mail", "a@example.com")]).await;
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.waiting(after.as_ref(), 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        seen.extend(page);
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.is_sorted_by(|one, other| one.id < other.id));
    assert!(seen.iter().all(|one| one.target.to == "a@example.com"));
    // It is due when its script began, and called by when it was written.
    let early = seen.iter().find(|one| one.due.after(Duration::from_millis(100)) < one.id.since());
    assert_eq!(early, None);
}

pub(crate) async fn no_more_wait_than_there_is_room_for(bench: &mut impl Bench) {
    let store = bench.monitor();
    let many: Vec<Posting> = (0..200).map(|number| to("mail", &number.to_string())).collect();
    let mut fates = Vec::new();
    for number in 0..MOST_ALERTS / 200 {
        fates.extend(put(&store, &number.to_string(), &many).await.1);
    }
    fates.extend(put(&store, "beyond", &many[..3]).await.1);
    let dropped = fates.iter().filter(|fate| **fate == Fate::Dropped).count();
    assert_eq!((fates.len() - dropped, dropped), (MOST_ALERTS, 3));
    assert_eq!(store.count_waiting().await.unwrap(), MOST_ALERTS as u64);
    assert_eq!(store.forget_old().await.unwrap(), 0);
    // A queue that is full leaves the others their room, for one by one and for what is gathered.
    let others = [to("mail", "a"), to("hook", "x"), Posting { gathered: Some(HOUR), ..to("users", "b") }];
    assert_eq!(put(&store, "of others", &others).await.1, [Fate::Dropped, Fate::Put, Fate::Gathered]);
    let taken = take(&store).await.unwrap();
    store.done(&taken).await.unwrap();
    assert_eq!(put(&store, "one more", &[to("mail", "a")]).await.1, [Fate::Put]);
}

pub(crate) async fn the_same_is_told_again_after_a_while(bench: &mut impl Bench) {
    let store = bench.monitor();
    let postings = [to("mail", "a@example.com")];
    let mut told = Vec::new();
    for wait in [Duration::ZERO, Duration::ZERO, SHORT + Duration::from_millis(5)] {
        bench.elapse(wait).await;
        told.push(matches!(keep(&*store, &record("KIND"), "one", SHORT, &postings).await, Kept::New { .. }));
    }
    assert_eq!((told, store.count_waiting().await.unwrap()), (vec![true, false, true], 2));
}
