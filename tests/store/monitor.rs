//! The contract of `LoginGuard` and `FindingStore`, sentence by sentence. Each runs on every store (see `main.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use session_gateway::monitor::{
    AccountId, Action, Attempt, Attempted, FailedLogins, FindingNote, FindingRecord, LockBy, MonitorKeys, Named,
    Outcome, Risk, Risks, Rule, Severity, Verdict, ranges_of,
};
use session_gateway::secret::Secret;
use session_gateway::session::SessionId;
use session_gateway::store::alerts::Posting;
use session_gateway::store::monitor::{
    FindingId, FindingStore, Kept, LockCursor, LoginGuard, MOST_ACCOUNTS_OF_A_USER, Reserved, Settlement, ToKeep,
};

use crate::bench::{Bench, HOUR, id};

/// Short enough to wait for, and yet long for a busy machine.
const WINDOW: Duration = Duration::from_secs(3);

fn rules() -> FailedLogins {
    let rule =
        Rule { count: 5, window: Duration::from_secs(900), severity: Severity::High, actions: vec![Action::Lock] };
    FailedLogins {
        rule,
        account_count: 20,
        network_count: 50,
        network_accounts: 20,
        lock: Duration::from_secs(900),
        by: LockBy::AccountAndNetwork,
    }
}

fn account(name: &str) -> AccountId {
    MonitorKeys::new(&Secret::new("of the tests")).account(None, name)
}

fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn attempt_by(rules: &FailedLogins, enforced: bool, name: &str, address: &str) -> Attempt {
    let mut named = Named::default();
    named.accounts.push(account(name));
    let networks = ranges_of(address.parse().unwrap());
    Attempt::of(rules, enforced, Attempted { named: &named, networks: &networks, remembers_accounts: true }, next())
}

/// Makes tries of this account from there, each another one.
pub(crate) fn attempt(name: &str, address: &str) -> impl Fn() -> Attempt + use<> {
    let (name, address) = (name.to_owned(), address.to_owned());
    move || attempt_by(&rules(), true, &name, &address)
}

async fn reserved(guard: &dyn LoginGuard, attempt: &Attempt) -> bool {
    matches!(guard.reserve(attempt).await.unwrap(), Reserved::Yes { .. })
}

/// One that is reserved and fails.
pub(super) async fn fail(guard: &dyn LoginGuard, attempt: &Attempt) -> Settlement {
    assert!(reserved(guard, attempt).await);
    guard.settle(attempt, Outcome::Failed).await.unwrap()
}

async fn succeed(guard: &dyn LoginGuard, attempt: &Attempt) -> Settlement {
    assert!(reserved(guard, attempt).await);
    guard.settle(attempt, Outcome::Succeeded).await.unwrap()
}

pub(crate) fn record(kind: &str) -> FindingRecord {
    FindingRecord {
        kind: kind.to_owned(),
        severity: "high".to_owned(),
        observed: false,
        tenant: None,
        user: None,
        user_kind: None,
        session_id: None,
        account: None,
        address: Some("192.0.2.1".to_owned()),
        evidence: serde_json::from_str(r#"{"failures":5}"#).unwrap(),
        actions: Vec::new(),
    }
}

pub(crate) async fn no_more_are_let_through_at_once_than_may_fail(bench: &mut impl Bench) {
    let gateways = [bench.monitor(), bench.other_monitor().await, bench.other_monitor().await];
    for round in 0..50 {
        let tries = attempt(&format!("bob{round}"), "192.0.2.1");
        let mut under_way = Vec::new();
        for number in 0..12 {
            let (gateway, attempt) = (Arc::clone(&gateways[number % 3]), tries());
            under_way.push(tokio::spawn(async move { (gateway.reserve(&attempt).await.unwrap(), attempt) }));
        }
        let (mut through, mut waiting) = (Vec::new(), 0);
        for one in under_way {
            match one.await.unwrap() {
                (Reserved::Yes { .. }, attempt) => through.push(attempt),
                (Reserved::Busy, _) => waiting += 1,
                (locked @ Reserved::Locked { .. }, _) => panic!("{locked:?}"),
            }
        }
        assert_eq!((through.len(), waiting), (5, 7), "round {round}");
        for attempt in &through {
            gateways[0].settle(attempt, Outcome::Neither).await.unwrap();
        }
    }
}

pub(crate) async fn a_flood_of_names_that_are_made_up_opens_nothing_that_is_locked(bench: &mut impl Bench) {
    let (guard, other) = (bench.monitor(), bench.other_monitor().await);
    let (bob, eve) = (attempt("bob", "192.0.2.1"), attempt("eve", "192.0.2.1"));
    // As a gateway asks that has heard of too many.
    let flooded = |attempt: Attempt| Attempt { remembers_accounts: false, ..attempt };
    let known = fail(&*guard, &bob()).await;
    assert_eq!(known.new, 0, "it was remembered when it was reserved");
    for failures in 2..=5 {
        let settlement = fail(&*other, &flooded(bob())).await;
        assert_eq!(settlement.full.len(), usize::from(failures == 5), "who is known counts on: {failures}");
    }
    let locked = guard.reserve(&flooded(bob())).await.unwrap();
    assert!(matches!(locked, Reserved::Locked { .. }), "{locked:?}");
    for _ in 0..6 {
        assert_eq!(fail(&*other, &flooded(eve())).await, Settlement::default(), "by the network alone");
    }
    assert!(matches!(guard.reserve(&eve()).await.unwrap(), Reserved::Yes { new: 2 }), "nothing was kept of eve");
}

pub(crate) async fn the_last_failure_locks_until_a_fixed_time_that_nothing_moves(bench: &mut impl Bench) {
    let (guard, other) = (bench.monitor(), bench.other_monitor().await);
    let tries = attempt("bob", "192.0.2.1");
    for _ in 0..4 {
        assert_eq!(fail(&*guard, &tries()).await.full, []);
    }
    let last = fail(&*guard, &tries()).await;
    let [(1, full)] = last.full[..] else { panic!("{last:?}") };
    assert_eq!(full.failures, 5);
    for _ in 0..10 {
        let Reserved::Locked { bucket, until, now } = other.reserve(&tries()).await.unwrap() else { panic!("locked") };
        assert_eq!((bucket, until), (1, full.until));
        assert!(until.since(now) <= Duration::from_secs(900) && until.since(now) > Duration::from_secs(890));
    }
    // One that was let through before the lock says nothing more either.
    assert_eq!(guard.settle(&tries(), Outcome::Failed).await.unwrap().full, []);
    let Reserved::Locked { until, .. } = guard.reserve(&tries()).await.unwrap() else { panic!("locked") };
    assert_eq!(until, full.until);
    assert!(reserved(&*guard, &attempt("bob", "192.0.2.2")()).await, "from elsewhere");
    assert!(reserved(&*guard, &attempt("eve", "192.0.2.1")()).await, "somebody else");
    assert_eq!((guard.count_locks().await.unwrap(), other.locks(None, 10).await.unwrap().len()), (1, 1));
}

pub(crate) async fn a_success_clears_the_pair_of_its_own_account_and_network_alone(bench: &mut impl Bench) {
    let guard = bench.monitor();
    for (name, address) in [("bob", "192.0.2.1"), ("bob", "192.0.2.2"), ("eve", "192.0.2.1")] {
        for _ in 0..4 {
            fail(&*guard, &attempt(name, address)()).await;
        }
    }
    succeed(&*guard, &attempt("bob", "192.0.2.1")()).await;
    for _ in 0..4 {
        assert_eq!(fail(&*guard, &attempt("bob", "192.0.2.1")()).await.full, [], "it begins anew");
    }
    for (name, address) in [("bob", "192.0.2.2"), ("eve", "192.0.2.1")] {
        assert_eq!(fail(&*guard, &attempt(name, address)()).await.full.len(), 1, "{name} {address}");
    }
    // Of the account everywhere nothing was cleared: these are its 13 failures, and 7 more.
    for round in 0..7 {
        let settled = fail(&*guard, &attempt("bob", &format!("192.0.2.{}", 10 + round))()).await;
        assert_eq!(settled.full.len(), usize::from(round == 6), "{round}");
    }
    assert!(matches!(
        guard.reserve(&attempt("bob", "198.51.100.1")()).await.unwrap(),
        Reserved::Locked { bucket: 0, .. }
    ));
}

pub(crate) async fn what_says_nothing_of_who_tried_gives_its_place_back(bench: &mut impl Bench) {
    let guard = bench.monitor();
    let tries = attempt("bob", "192.0.2.1");
    for _ in 0..30 {
        let attempt = tries();
        assert!(reserved(&*guard, &attempt).await);
        assert_eq!(guard.settle(&attempt, Outcome::Neither).await.unwrap(), Settlement::default());
    }
    let held: Vec<Attempt> = (0..5).map(|_| tries()).collect();
    for attempt in &held {
        assert!(reserved(&*guard, attempt).await);
    }
    assert_eq!(guard.reserve(&tries()).await.unwrap(), Reserved::Busy);
    guard.settle(&held[0], Outcome::Neither).await.unwrap();
    assert!(reserved(&*guard, &tries()).await);
    guard.settle(&held[1], Outcome::Succeeded).await.unwrap();
    assert!(reserved(&*guard, &tries()).await, "what is under way stays so when another succeeds");
    assert_eq!(guard.reserve(&tries()).await.unwrap(), Reserved::Busy);
}

pub(crate) async fn failures_that_are_long_ago_count_no_more(bench: &mut impl Bench) {
    let guard = bench.monitor();
    let mut short = rules();
    (short.rule.window, short.lock) = (WINDOW, WINDOW);
    let tries = || attempt_by(&short, true, "bob", "192.0.2.1");
    for _ in 0..4 {
        fail(&*guard, &tries()).await;
    }
    bench.elapse(WINDOW).await;
    for round in 0..5 {
        assert_eq!(fail(&*guard, &tries()).await.full.len(), usize::from(round == 4), "{round}");
    }
    assert!(!reserved(&*guard, &tries()).await);
    bench.elapse(WINDOW).await;
    assert_eq!(fail(&*guard, &tries()).await.full, [], "a lock that is over leaves a new budget");
    assert_eq!(guard.locks(None, 10).await.unwrap(), []);
}

pub(crate) async fn many_accounts_that_fail_fill_a_network(bench: &mut impl Bench) {
    let guard = bench.monitor();
    for number in 0..19 {
        for _ in 0..2 {
            assert_eq!(fail(&*guard, &attempt(&format!("user{number}"), "192.0.2.1")()).await.full, []);
        }
    }
    let settled = fail(&*guard, &attempt("user19", "192.0.2.1")()).await;
    let [(2, full)] = settled.full[..] else { panic!("{settled:?}") };
    assert_eq!((full.failures, full.accounts), (39, 20));
    assert!(matches!(guard.reserve(&attempt("new", "192.0.2.1")()).await.unwrap(), Reserved::Locked { bucket: 2, .. }));
    // However many come at once from another network: no more than 20 accounts are tried.
    let mut through = 0;
    for number in 0..30 {
        through += usize::from(reserved(&*guard, &attempt(&format!("user{number}"), "192.0.2.2")()).await);
    }
    assert_eq!(through, 20);
    assert!(reserved(&*guard, &attempt("user0", "192.0.2.2")()).await, "of one that is under way already");
}

pub(crate) async fn a_wider_network_has_more_room_and_not_without_end(bench: &mut impl Bench) {
    let guard = bench.monitor();
    let mut wide = rules();
    wide.account_count = 1000;
    // Another /64 each time, of one /56: four times as many.
    for host in 0..20 {
        let settled = fail(&*guard, &attempt_by(&wide, true, "bob", &format!("2001:db8:0:{host:x}::1"))).await;
        assert_eq!(settled.full.len(), usize::from(host == 19), "{host}");
    }
    let from = |host: u32| attempt_by(&wide, true, "bob", &format!("2001:db8:0:{host:x}::1"));
    assert!(matches!(guard.reserve(&from(0x77)).await.unwrap(), Reserved::Locked { bucket: 2, .. }));
    assert!(reserved(&*guard, &from(0x177)).await, "another /56 of the /48");
}

pub(crate) async fn a_success_is_told_how_often_its_account_failed_elsewhere(bench: &mut impl Bench) {
    let guard = bench.monitor();
    for _ in 0..3 {
        fail(&*guard, &attempt("bob", "192.0.2.1")()).await;
    }
    for _ in 0..4 {
        fail(&*guard, &attempt("bob", "192.0.2.2")()).await;
    }
    fail(&*guard, &attempt("eve", "192.0.2.3")()).await;
    assert_eq!(succeed(&*guard, &attempt("bob", "192.0.2.1")()).await.elsewhere, 4);
    assert_eq!(succeed(&*guard, &attempt("bob", "192.0.2.9")()).await.elsewhere, 7);
    assert_eq!(succeed(&*guard, &attempt("eve", "192.0.2.3")()).await.elsewhere, 0);
}

pub(crate) async fn what_is_only_observed_holds_nobody_up_and_is_found_once(bench: &mut impl Bench) {
    let guard = bench.monitor();
    let tries = || attempt_by(&rules(), false, "bob", "192.0.2.1");
    let mut found = 0;
    for _ in 0..15 {
        found += guard.settle(&tries(), Outcome::Failed).await.unwrap().full.len();
    }
    assert_eq!(found, 1);
    assert!(reserved(&*guard, &attempt("bob", "192.0.2.1")()).await, "what is enforced from now on begins anew");
    let locks = guard.locks(None, 10).await.unwrap();
    assert!(matches!(&locks[..], [lock] if lock.note.observed), "{locks:?}");
    // Where no lock is meant none is listed.
    let mut recorded = rules();
    recorded.rule.actions = vec![Action::Record];
    for _ in 0..5 {
        guard.settle(&attempt_by(&recorded, false, "eve", "192.0.2.2"), Outcome::Failed).await.unwrap();
    }
    assert_eq!(guard.locks(None, 10).await.unwrap().len(), 1);
}

pub(crate) async fn a_lock_that_an_operator_ends_is_over_with_what_led_to_it(bench: &mut impl Bench) {
    let (guard, other) = (bench.monitor(), bench.other_monitor().await);
    let tries = attempt("bob", "192.0.2.1");
    for _ in 0..5 {
        fail(&*guard, &tries()).await;
    }
    let lock = guard.locks(None, 10).await.unwrap().pop().unwrap();
    assert_eq!(lock.note.account, Some(account("bob").to_string()));
    assert_eq!(lock.note.network.as_deref(), Some("192.0.2.1"));
    assert_eq!(other.unlock(&lock.id()).await.unwrap(), Some(lock.clone()));
    assert_eq!(other.unlock(&lock.id()).await.unwrap(), None, "once");
    for round in 0..5 {
        assert_eq!(fail(&*guard, &tries()).await.full.len(), usize::from(round == 4), "{round}");
    }
}

pub(crate) async fn locks_are_listed_page_by_page_by_their_ends(bench: &mut impl Bench) {
    let guard = bench.monitor();
    for number in 0..7 {
        let mut rules = rules();
        rules.lock = Duration::from_secs(100 + number * 100);
        for _ in 0..5 {
            let attempt = attempt_by(&rules, true, &format!("user{number}"), &format!("192.0.2.{number}"));
            fail(&*guard, &attempt).await;
        }
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = guard.locks(after.as_ref(), 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(LockCursor::of(last));
        seen.extend(page);
    }
    let networks: Vec<String> = seen.iter().filter_map(|lock| lock.note.network.clone()).collect();
    assert_eq!(networks, (0..7).map(|number| format!("192.0.2.{number}")).collect::<Vec<_>>());
    assert!(seen.is_sorted_by_key(LockCursor::of));
}

async fn new(findings: &dyn FindingStore, kind: &str, dedupe: &str) -> FindingId {
    match keep(findings, &record(kind), dedupe, HOUR, &[]).await {
        Kept::New { id, .. } => id,
        again @ Kept::Again(_) => panic!("{again:?}"),
    }
}

/// Keeps a finding that is to be told so.
pub(super) async fn keep(
    findings: &dyn FindingStore,
    record: &FindingRecord,
    dedupe: &str,
    repeat: Duration,
    postings: &[Posting],
) -> Kept {
    findings.keep(ToKeep { record, dedupe, repeat, risk: None, postings, has_failed: false }).await.unwrap()
}

pub(crate) async fn findings_are_listed_from_the_newest_on_and_the_same_counts_on_the_first(bench: &mut impl Bench) {
    let (findings, other) = (bench.monitor(), bench.other_monitor().await);
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(new(&*findings, &format!("KIND_{number}"), &number.to_string()).await);
    }
    for _ in 0..3 {
        assert_eq!(keep(&*other, &record("KIND_1"), "1", HOUR, &[]).await, Kept::Again(ids[1]));
    }
    let (mut seen, mut position) = (Vec::new(), None);
    loop {
        let page = other.findings(position, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        position = Some(last.id);
        seen.extend(page);
    }
    ids.reverse();
    assert_eq!(seen.iter().map(|finding| finding.id).collect::<Vec<_>>(), ids);
    assert_eq!(seen.iter().map(|finding| finding.repeats).collect::<Vec<_>>(), [0, 0, 0, 3, 0]);
    assert_eq!(seen[4].record, Some(record("KIND_0")));
    assert_eq!(other.finding(ids[0]).await.unwrap(), Some(seen[0].clone()));
    assert_eq!(other.finding(FindingId { millis: 1, count: 0 }).await.unwrap(), None);
}

pub(crate) async fn the_last_word_about_a_finding_counts(bench: &mut impl Bench) {
    let findings = bench.monitor();
    let id = new(&*findings, "KIND", "one").await;
    let note = |verdict| FindingNote { verdict, by: "ops".to_owned(), at: 7 };
    assert!(findings.judge(id, &note(Verdict::Malicious)).await.unwrap());
    assert!(findings.judge(id, &note(Verdict::Expected)).await.unwrap());
    assert_eq!(findings.finding(id).await.unwrap().unwrap().note, Some(note(Verdict::Expected)));
    let nothing = FindingId { millis: id.millis, count: id.count + 1 };
    assert!(!findings.judge(nothing, &note(Verdict::Expected)).await.unwrap());
}

/// Keeps a finding that is open in a session.
async fn open(findings: &dyn FindingStore, dedupe: &str, session: SessionId, severity: Severity) -> FindingId {
    let (record, risk) = (record("KIND"), Some(Risk { session, severity }));
    match findings
        .keep(ToKeep { record: &record, dedupe, repeat: HOUR, risk, postings: &[], has_failed: false })
        .await
        .unwrap()
    {
        Kept::New { id, .. } | Kept::Again(id) => id,
    }
}

async fn open_in(findings: &dyn FindingStore, session: SessionId) -> Option<Severity> {
    findings.open_risks().await.unwrap().into_iter().collect::<Risks>().of(session)
}

pub(crate) async fn a_finding_is_open_in_its_sessions_until_it_is_judged(bench: &mut impl Bench) {
    let (findings, other) = (bench.monitor(), bench.other_monitor().await);
    let (one, two) = (id(), id());
    assert_eq!(findings.open_risks().await.unwrap(), []);
    let medium = open(&*findings, "a", one, Severity::Medium).await;
    let high = open(&*other, "b", one, Severity::High).await;
    // The same of the same user in another session.
    assert_eq!(open(&*findings, "b", two, Severity::High).await, high);
    new(&*findings, "KIND", "c").await;
    assert_eq!(other.open_risks().await.unwrap().len(), 3, "one that endangers no session is open in none");
    assert_eq!(
        (open_in(&*other, one).await, open_in(&*other, two).await),
        (Some(Severity::High), Some(Severity::High))
    );
    let note = FindingNote { verdict: Verdict::Expected, by: "ops".to_owned(), at: 7 };
    assert!(findings.judge(high, &note).await.unwrap());
    assert_eq!((open_in(&*other, one).await, open_in(&*other, two).await), (Some(Severity::Medium), None));
    assert!(other.judge(medium, &note).await.unwrap());
    assert_eq!(findings.open_risks().await.unwrap(), []);
}

pub(crate) async fn the_same_as_one_that_was_judged_is_new_and_open_and_told(bench: &mut impl Bench) {
    let (findings, other) = (bench.monitor(), bench.other_monitor().await);
    let (owner, thief) = (id(), id());
    for verdict in Verdict::ALL {
        let first = open(&*findings, "a", owner, Severity::High).await;
        assert_eq!(open(&*other, "a", owner, Severity::High).await, first, "nobody judged it yet");
        let note = FindingNote { verdict, by: "ops".to_owned(), at: 7 };
        assert!(findings.judge(first, &note).await.unwrap());
        let next = open(&*other, "a", thief, Severity::High).await;
        assert_ne!(next, first, "{verdict:?}");
        let open_now = (open_in(&*findings, owner).await, open_in(&*findings, thief).await);
        assert_eq!(open_now, (None, Some(Severity::High)), "{verdict:?}");
        assert_eq!(keep(&*findings, &record("KIND"), "a", HOUR, &[]).await, Kept::Again(next));
        assert_eq!(findings.finding(first).await.unwrap().unwrap().repeats, 1, "of before it was judged");
        assert!(findings.judge(next, &note).await.unwrap());
    }
}

pub(crate) async fn the_accounts_by_which_a_user_logs_in_are_locked_and_nobody_elses(bench: &mut impl Bench) {
    let (guard, other) = (bench.monitor(), bench.other_monitor().await);
    let lasts = Duration::from_secs(600);
    assert_eq!(guard.lock_user("u:7", lasts).await.unwrap(), 0, "nobody saw them log in");
    for name in ["bob", "bob@example.com", "bob"] {
        guard.remember_account("u:7", &account(name)).await.unwrap();
    }
    guard.remember_account("u:8", &account("eve")).await.unwrap();
    assert_eq!(other.lock_user("u:7", lasts).await.unwrap(), 2);
    for name in ["bob", "bob@example.com"] {
        let Reserved::Locked { until, now, .. } = guard.reserve(&attempt(name, "192.0.2.1")()).await.unwrap() else {
            panic!("{name} is locked")
        };
        assert!(until.since(now) <= lasts && until.since(now) > lasts - Duration::from_secs(10), "{name}");
    }
    assert!(reserved(&*guard, &attempt("eve", "192.0.2.1")()).await, "somebody else");
    let locks = other.locks(None, 10).await.unwrap();
    assert_eq!((locks.len(), guard.count_locks().await.unwrap()), (2, 2));
    // A shorter lock moves no end, and an operator's word ends one.
    let ends: Vec<_> = locks.iter().map(|lock| lock.until).collect();
    guard.lock_user("u:7", Duration::from_secs(60)).await.unwrap();
    let again: Vec<_> = other.locks(None, 10).await.unwrap().iter().map(|lock| lock.until).collect();
    assert_eq!(again, ends);
    for lock in locks {
        assert!(guard.unlock(&lock.id()).await.unwrap().is_some());
    }
    assert!(reserved(&*guard, &attempt("bob", "192.0.2.1")()).await);
}

pub(crate) async fn of_the_accounts_of_a_user_the_last_few_are_known(bench: &mut impl Bench) {
    let guard = bench.monitor();
    for number in 0..10 {
        guard.remember_account("u:7", &account(&format!("bob{number}"))).await.unwrap();
        bench.elapse(Duration::from_millis(5)).await;
    }
    assert_eq!(guard.lock_user("u:7", Duration::from_secs(600)).await.unwrap(), MOST_ACCOUNTS_OF_A_USER);
    assert!(matches!(guard.reserve(&attempt("bob9", "192.0.2.1")()).await.unwrap(), Reserved::Locked { .. }));
    assert!(reserved(&*guard, &attempt("bob5", "192.0.2.1")()).await, "it was used longest ago");
}
