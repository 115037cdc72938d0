//! What gateways tell each other by the store of what is done with sessions, sentence by sentence. Each runs on every store
//! (see `main.rs`).

use std::time::Duration;

use session_gateway::monitor::{Act, CallCount, Counting, EndNote, Minute};
use session_gateway::session::EndReason;
use session_gateway::store::acts::{CallExchange, TOLD_FOR};
use tokio::time::timeout;

use crate::bench::{Bench, HOUR, id, principal, revoke_user, session_of};

fn count(user: u64, calls: u32) -> CallCount {
    CallCount { user, minute: Minute::default(), calls, before: 0 }
}

async fn told(exchange: &dyn CallExchange, gateway: &str, counts: &[CallCount]) -> (u32, Vec<CallCount>) {
    let mut told = exchange.exchange_calls(gateway, counts, false).await.unwrap();
    told.counts.sort_unstable_by_key(|count| (count.user, count.calls));
    (told.others, told.counts)
}

pub(crate) async fn what_a_gateway_tells_of_calls_the_others_hear_and_not_it_itself(bench: &mut impl Bench) {
    let (one, other) = (bench.monitor(), bench.other_monitor().await);
    let now = one.exchange_calls("one", &[count(1, 10), count(2, 20)], false).await.unwrap().now;
    let by_store = bench.store().now().await.unwrap();
    assert!(by_store.since(now) < Duration::from_secs(5) && now <= by_store, "{now:?} {by_store:?}");
    assert_eq!(told(&*other, "other", &[count(1, 1)]).await, (1, vec![count(1, 10), count(2, 20)]));
    assert_eq!(told(&*one, "one", &[count(2, 21)]).await, (1, vec![count(1, 1)]));
    assert_eq!(
        told(&*one, "third", &[]).await,
        (2, vec![count(1, 1), count(2, 21)]),
        "in place of what it told before"
    );
    assert_eq!(told(&*other, "other", &[]).await, (2, vec![count(2, 21)]));
}

pub(crate) async fn a_gateway_that_tells_nothing_more_of_calls_is_none_in_time(bench: &mut impl Bench) {
    let exchange = bench.monitor();
    assert_eq!(told(&*exchange, "one", &[count(1, 10)]).await, (0, Vec::new()));
    let began = exchange.exchange_calls("one", &[count(1, 10)], false).await.unwrap().now;
    bench.elapse_until(began.after(TOLD_FOR / 2)).await;
    assert_eq!(told(&*exchange, "other", &[]).await.0, 1);
    bench.elapse_until(began.after(TOLD_FOR + Duration::from_millis(1))).await;
    assert_eq!(told(&*exchange, "other", &[]).await, (0, Vec::new()));
}

pub(crate) async fn a_gateway_that_rings_is_heard_and_so_is_a_new_one(bench: &mut impl Bench) {
    let (one, other) = (bench.monitor(), bench.other_monitor().await);
    let long = Duration::from_secs(5);
    told(&*one, "one", &[]).await;
    for ring in [false, true] {
        let waiting = one.clone();
        let news = tokio::spawn(async move { timeout(long, waiting.call_news()).await.is_ok() });
        tokio::time::sleep(Duration::from_millis(100)).await;
        other.exchange_calls("other", &[count(1, 10)], ring).await.unwrap();
        assert!(news.await.unwrap(), "rang: {ring}");
    }
}

fn different(key: &str, what: u64, window: Duration) -> Act {
    Act { key: key.to_owned(), counting: Counting::Different(what), count: 3, window }
}

fn amount(key: &str, amount: u64, window: Duration) -> Act {
    Act { key: key.to_owned(), counting: Counting::Amount(amount), count: 1000, window }
}

pub(crate) async fn the_third_of_different_acts_fires_at_one_gateway_and_begins_anew(bench: &mut impl Bench) {
    let (one, other) = (bench.monitor(), bench.other_monitor().await);
    let act = |what| different("p:alice", what, HOUR);
    assert_eq!(one.count_acts(&[act(1), act(1), act(2), act(2)]).await.unwrap(), [None; 4]);
    assert_eq!(other.count_acts(&[different("p:eve", 3, HOUR)]).await.unwrap(), [None], "somebody else's");
    assert_eq!(other.count_acts(&[act(2), act(3), act(3)]).await.unwrap(), [None, Some(3), None]);
    assert_eq!(one.count_acts(&[act(1), act(2)]).await.unwrap(), [None, Some(3)]);
    assert_eq!(one.count_acts(&[]).await.unwrap(), []);
}

pub(crate) async fn more_than_so_much_fires_at_one_gateway_and_begins_anew(bench: &mut impl Bench) {
    let (one, other) = (bench.monitor(), bench.other_monitor().await);
    let act = |much| amount("e:alice", much, HOUR);
    assert_eq!(one.count_acts(&[act(400), act(600)]).await.unwrap(), [None, None], "as much as there may be");
    assert_eq!(other.count_acts(&[act(1), act(1000), act(1)]).await.unwrap(), [Some(1001), None, Some(1001)]);
    assert_eq!(one.count_acts(&[act(1 << 40)]).await.unwrap(), [Some(1 << 40)], "whatever a backend says");
}

pub(crate) async fn of_acts_at_many_gateways_at_once_none_is_lost_and_each_third_fires(bench: &mut impl Bench) {
    let gateways = [bench.monitor(), bench.other_monitor().await, bench.other_monitor().await];
    let mut under_way = Vec::new();
    for number in 0..30_u64 {
        let gateway = gateways[usize::try_from(number % 3).unwrap()].clone();
        under_way.push(tokio::spawn(async move {
            let acts = [different("p:alice", number, HOUR), amount("e:alice", 101, HOUR)];
            gateway.count_acts(&acts).await.unwrap()
        }));
    }
    let (mut different, mut amounts) = (0, 0);
    for one in under_way {
        let fired = one.await.unwrap();
        different += u32::from(fired[0] == Some(3));
        amounts += u32::from(fired[1] == Some(1010));
    }
    assert_eq!((different, amounts), (10, 3));
}

pub(crate) async fn what_counted_longer_ago_than_its_window_counts_no_more(bench: &mut impl Bench) {
    let (acts, window) = (bench.monitor(), Duration::from_secs(3));
    let began = bench.store().now().await.unwrap();
    let fired = acts.count_acts(&[different("p:alice", 1, window), amount("e:alice", 900, window)]).await.unwrap();
    assert_eq!(fired, [None, None]);
    let counted = bench.store().now().await.unwrap();
    assert!(counted.since(began) < window / 2, "the machine is too slow for this test");
    bench.elapse_until(counted.after(window)).await;
    let later = [different("p:alice", 2, window), different("p:alice", 3, window), amount("e:alice", 900, window)];
    assert_eq!(acts.count_acts(&later).await.unwrap(), [None, None, None]);
    assert_eq!(acts.count_acts(&[different("p:alice", 4, window)]).await.unwrap(), [Some(3)]);
}

pub(crate) async fn what_is_remembered_of_ended_sessions_every_gateway_knows_until_its_time(bench: &mut impl Bench) {
    let (one, other) = (bench.monitor(), bench.other_monitor().await);
    let (first, second, unknown) = (id(), id(), id());
    let note = |user| EndNote::of(&principal("acme", user), ["192.0.2.1".parse().unwrap()]);
    let now = bench.store().now().await.unwrap();
    let until = now.after(Duration::from_secs(2));
    one.keep_end_notes(&[(first, note("7"), until), (second, note("8"), now.after(HOUR))]).await.unwrap();
    let known = other.end_notes(&[second, unknown, first]).await.unwrap();
    assert_eq!(known, [Some(note("8")), None, Some(note("7"))]);
    bench.elapse_until(until.after(Duration::from_millis(5))).await;
    assert_eq!(other.end_notes(&[second, first]).await.unwrap(), [Some(note("8")), None]);
    assert_eq!(other.end_notes(&[]).await.unwrap(), []);
}

pub(crate) async fn of_sessions_that_are_ended_many_at_once_something_is_remembered_where_that_is_wanted(
    bench: &mut impl Bench,
) {
    let (store, acts) = (bench.store(), bench.monitor());
    for remembers in [false, true] {
        acts.remember_ends(remembers);
        let (one, record) = session_of(&store, "acme", "7").await;
        let (other, _) = session_of(&store, "acme", "8").await;
        assert_eq!(revoke_user(&store, "acme", "7", EndReason::UserRevoked).await, 1);
        let note = remembers.then(|| EndNote::of(&record.principal, record.address));
        assert_eq!(acts.end_notes(&[one, other]).await.unwrap(), [note, None]);
    }
}
