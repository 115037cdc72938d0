//! The contract of `MembershipStore`, sentence by sentence. Each runs on every store (see `main.rs`).

use std::time::Duration;

use session_gateway::session::{TenantId, UserId, UserKind};
use session_gateway::store::membership::{Attempts, MembershipStore, Orphan, OrphanNoted, Subject};

use crate::bench::Bench;

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

async fn all(store: &dyn MembershipStore, limit: usize) -> Vec<Orphan> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.orphans(after.as_ref(), limit).await.unwrap();
        assert!(page.items.len() <= limit);
        seen.extend(page.items);
        after = page.next;
        if after.is_none() {
            return seen;
        }
    }
}

fn names(orphans: &[Orphan]) -> Vec<&str> {
    orphans.iter().map(|orphan| orphan.user.as_str()).collect()
}

pub(crate) async fn whoever_is_noted_waits_since_then_and_attempts_add_up(bench: &mut impl Bench) {
    let (store, other) = (bench.monitor(), bench.other_monitor().await);
    let alice = user("auth0|alice");
    let before = bench.store().now().await.unwrap();
    assert_eq!(store.note_orphan(&alice, &Attempts::new(3, None)).await.unwrap(), OrphanNoted::New);
    let [noted] = &all(&*other, 10).await[..] else { panic!("one") };
    assert_eq!((&noted.user, noted.attempts, noted.error.as_deref()), (&alice, 3, None));
    assert_eq!(noted.since, noted.last);
    let after = bench.store().now().await.unwrap();
    // In whole milliseconds.
    assert!(before.as_micros() / 1000 <= noted.since.as_micros() / 1000 && noted.since <= after, "{noted:?}");
    bench.elapse(Duration::from_millis(20)).await;
    // What went wrong stays until something else does.
    assert!(other.note_attempts(&alice, &Attempts::new(2, Some("the backend\nanswered 500"))).await.unwrap());
    assert_eq!(store.note_orphan(&alice, &Attempts::new(1, None)).await.unwrap(), OrphanNoted::Known);
    let [again] = &all(&*store, 10).await[..] else { panic!("one") };
    assert_eq!((again.since, again.attempts), (noted.since, 6));
    assert!(again.last.since(noted.last) >= Duration::from_millis(20), "{again:?}");
    assert_eq!(again.error.as_deref(), Some("the backend answered 500"));
    assert!(store.note_attempts(&alice, &Attempts::new(0, Some("too slow"))).await.unwrap());
    assert_eq!(all(&*store, 10).await[0].error.as_deref(), Some("too slow"));
    assert_eq!(other.count_orphans().await.unwrap(), 1);
}

pub(crate) async fn whoever_is_forgotten_is_new_when_they_are_noted_again(bench: &mut impl Bench) {
    let (store, other) = (bench.monitor(), bench.other_monitor().await);
    let admin = user("7").of_kind(Some(&UserKind::parse("admin").unwrap()));
    for who in [&user("7"), &admin] {
        assert_eq!(store.note_orphan(who, &Attempts::new(1, Some("x"))).await.unwrap(), OrphanNoted::New);
    }
    assert_eq!(store.count_orphans().await.unwrap(), 2, "a kind makes another user");
    assert!(other.forget_orphan(&admin).await.unwrap());
    assert!(!other.forget_orphan(&admin).await.unwrap());
    assert_eq!(names(&all(&*store, 10).await), ["7"]);
    assert_eq!(other.note_orphan(&admin, &Attempts::new(1, None)).await.unwrap(), OrphanNoted::New);
    let again = all(&*store, 10).await;
    let again = again.iter().find(|orphan| orphan.user == admin).unwrap();
    assert_eq!((again.attempts, &again.error), (1, &None));
}

pub(crate) async fn attempts_of_whom_nobody_noted_are_nobodys(bench: &mut impl Bench) {
    let store = bench.monitor();
    assert!(!store.note_attempts(&user("alice"), &Attempts::new(3, Some("x"))).await.unwrap());
    assert_eq!((all(&*store, 10).await, store.count_orphans().await.unwrap()), (Vec::new(), 0));
}

pub(crate) async fn of_many_notes_at_once_one_is_new_and_none_is_lost(bench: &mut impl Bench) {
    let gateways = [bench.monitor(), bench.other_monitor().await];
    let mut under_way = Vec::new();
    for number in 0..20 {
        let gateway = gateways[number % 2].clone();
        under_way.push(tokio::spawn(async move {
            gateway.note_orphan(&user("alice"), &Attempts::new(1, None)).await.unwrap()
        }));
    }
    let mut new = 0;
    for one in under_way {
        new += usize::from(one.await.unwrap() == OrphanNoted::New);
    }
    assert_eq!(new, 1);
    assert_eq!(all(&*gateways[0], 10).await[0].attempts, 20);
}

pub(crate) async fn those_who_wait_are_listed_page_by_page_from_the_longest_on_while_others_come_and_go(
    bench: &mut impl Bench,
) {
    let store = bench.monitor();
    for number in 0..7 {
        // Several of a moment, too.
        if number % 3 == 0 {
            bench.elapse(Duration::from_millis(5)).await;
        }
        store.note_orphan(&user(&format!("user{number}")), &Attempts::new(1, None)).await.unwrap();
    }
    let whole = all(&*store, 100).await;
    assert!(whole.is_sorted_by_key(|orphan| orphan.since) && whole.len() == 7, "{whole:?}");
    assert_eq!(all(&*store, 3).await, whole);
    assert_eq!(all(&*store, 7).await, whole);
    // The last of a page goes before the next is asked for; one of the page before is asked about again, which moves nobody.
    let page = store.orphans(None, 3).await.unwrap();
    store.forget_orphan(&page.items[2].user).await.unwrap();
    store.note_orphan(&page.items[0].user, &Attempts::new(1, None)).await.unwrap();
    bench.elapse(Duration::from_millis(5)).await;
    store.note_orphan(&user("late"), &Attempts::new(1, None)).await.unwrap();
    let rest = store.orphans(page.next.as_ref(), 100).await.unwrap();
    let (mut expected, last) = (names(&whole[3..]), rest.items.last().unwrap());
    expected.push("late");
    assert_eq!((names(&rest.items), rest.next, last.attempts), (expected, None, 1));
}

pub(crate) async fn of_claims_at_once_one_has_it_until_it_is_over(bench: &mut impl Bench) {
    let gateways = [bench.monitor(), bench.other_monitor().await];
    let tenant = |name: &str| TenantId::parse(name).unwrap();
    let subjects = [
        Subject::Tenant(tenant("acme")),
        Subject::User(tenant("acme"), user("7")),
        Subject::User(tenant("umbrella"), user("7")),
    ];
    let lasts = Duration::from_secs(2);
    for subject in &subjects {
        let mut under_way = Vec::new();
        for number in 0..10 {
            let (gateway, subject) = (gateways[number % 2].clone(), subject.clone());
            under_way.push(tokio::spawn(async move { gateway.claim(&subject, lasts).await.unwrap() }));
        }
        let mut has_it = 0;
        for one in under_way {
            has_it += usize::from(one.await.unwrap());
        }
        assert_eq!(has_it, 1, "{subject:?}");
    }
    bench.elapse(lasts).await;
    assert!(gateways[1].claim(&subjects[0], lasts).await.unwrap());
    assert!(!gateways[0].claim(&subjects[0], lasts).await.unwrap());
}
