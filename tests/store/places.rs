//! Where users were, sentence by sentence. Each runs on every store (see `main.rs`).

use std::collections::BTreeSet;
use std::time::Duration;

use session_gateway::store::places::{CellUse, FootprintChange, MOST_USERS};

use crate::bench::Bench;

fn change(user: u64, before: Option<&[u8]>, after: &[u8]) -> FootprintChange {
    FootprintChange { user, before: before.map(<[u8]>::to_vec), after: after.to_vec() }
}

pub(crate) async fn what_is_kept_of_users_every_gateway_knows(bench: &mut impl Bench) {
    let (one, other) = (bench.monitor(), bench.other_monitor().await);
    assert_eq!(one.footprints(&[1, 2]).await.unwrap(), [None, None]);
    let all = [0, 255, 10, 13];
    let kept = one.keep_footprints(vec![change(1, None, b"one"), change(u64::MAX, None, &all)]).await.unwrap();
    assert_eq!(kept, [true, true]);
    let known = other.footprints(&[u64::MAX, 2, 1]).await.unwrap();
    assert_eq!(known, [Some(all.to_vec()), None, Some(b"one".to_vec())], "in their order");
    assert_eq!(other.footprints(&[]).await.unwrap(), Vec::<Option<Vec<u8>>>::new());
    assert_eq!(other.keep_footprints(Vec::new()).await.unwrap(), Vec::<bool>::new());
}

pub(crate) async fn what_goes_by_what_is_there_no_more_is_not_kept(bench: &mut impl Bench) {
    let (one, other) = (bench.monitor(), bench.other_monitor().await);
    assert_eq!(one.keep_footprints(vec![change(1, Some(b"x"), b"y")]).await.unwrap(), [false], "there is nothing");
    assert_eq!(one.keep_footprints(vec![change(1, None, b"one")]).await.unwrap(), [true]);
    let late = vec![change(1, None, b"two"), change(1, Some(b"on"), b"two"), change(2, None, b"of another")];
    assert_eq!(other.keep_footprints(late).await.unwrap(), [false, false, true]);
    let chain = vec![change(1, Some(b"one"), b"two"), change(1, Some(b"one"), b"three")];
    assert_eq!(other.keep_footprints(chain).await.unwrap(), [true, false]);
    assert_eq!(one.footprints(&[1]).await.unwrap(), [Some(b"two".to_vec())]);
}

pub(crate) async fn of_many_gateways_that_go_by_the_same_one_keeps_what_it_knows(bench: &mut impl Bench) {
    let gateways = [bench.monitor(), bench.other_monitor().await];
    for round in 0..10 {
        let mut under_way = Vec::new();
        for number in 0..8_u8 {
            let gateway = gateways[usize::from(number) % 2].clone();
            let attempt = vec![change(round, None, &[number])];
            under_way.push(tokio::spawn(async move { gateway.keep_footprints(attempt).await.unwrap()[0] }));
        }
        let mut kept = Vec::new();
        for (number, one) in (0..8_u8).zip(under_way) {
            kept.extend(one.await.unwrap().then_some(number));
        }
        assert_eq!(kept.len(), 1, "{kept:?}");
        assert_eq!(gateways[0].footprints(&[round]).await.unwrap(), [Some(kept)]);
    }
}

pub(crate) async fn the_last_users_of_a_place_are_known_and_since_when(bench: &mut impl Bench) {
    let (one, other) = (bench.monitor(), bench.other_monitor().await);
    let now = bench.store().now().await.unwrap();
    let earlier = |hours: u64| now.before(Duration::from_secs(hours * 3600));
    let uses = [(7, 1, 2), (7, 2, 3), (8, 2, 1), (8, u64::MAX, 5), (9, 3, 1)];
    let uses = uses.map(|(cell, user, hours)| CellUse { cell, user, at: earlier(hours) });
    one.note_uses(uses.to_vec()).await.unwrap();
    // What was noted later counts, in whichever order it comes.
    let again = [(7, 1, 4), (7, 2, 0)].map(|(cell, user, hours)| CellUse { cell, user, at: earlier(hours) });
    one.note_uses(again.to_vec()).await.unwrap();
    let users = async |cells: &[u64], hours| {
        let mut users = other.users_of(cells, earlier(hours)).await.unwrap();
        users.sort_unstable();
        users
    };
    assert_eq!(users(&[7, 8, 10], 24).await, [1, 2, 2, u64::MAX]);
    assert_eq!(users(&[7, 8], 2).await, [1, 2, 2]);
    assert_eq!(users(&[7, 8], 1).await, [2, 2]);
    assert_eq!(users(&[], 24).await, Vec::<u64>::new());
    one.note_uses(Vec::new()).await.unwrap();
    // Of many the last ones are known.
    for user in 0..40 {
        one.note_uses(vec![CellUse { cell: 11, user, at: earlier(100 - user) }]).await.unwrap();
    }
    let last: BTreeSet<u64> = users(&[11], 200).await.into_iter().collect();
    assert_eq!(last, (40 - MOST_USERS as u64..40).collect());
}
