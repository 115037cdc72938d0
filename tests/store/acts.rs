//! What gateways tell each other by the store of what is done with sessions, sentence by sentence. Each runs on every store
//! (see `main.rs`).

use std::time::Duration;

use session_gateway::monitor::{CallCount, Minute};
use session_gateway::store::acts::{CallExchange, TOLD_FOR};
use tokio::time::timeout;

use crate::bench::Bench;

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
