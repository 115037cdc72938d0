//! What a store counts for reports, and keeps of tenants, sentence by sentence. Each runs on every store (see `main.rs`).

use session_gateway::clock::WallTime;
use session_gateway::monitor::{CountOf, Counted, Counts, Day, DayCounts, Evidence, FindingRecord, Verdict};
use session_gateway::session::{TenantId, UserId};
use session_gateway::store::activities::{Activity, ActivityStore, MOST_ACTIVITIES};
use session_gateway::store::monitor::{FindingId, FindingStore, FindingsOf, Kept, ToKeep};
use session_gateway::store::reports::{COUNTS_KEPT_DAYS, MOST_USERS_A_DAY, ReportStore};

use crate::bench::{Bench, HOUR};

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn about(user: &str) -> Counted {
    Counted::FindingAbout { tenant: tenant("acme"), user: UserId::parse(user).unwrap() }
}

fn counted(of: &CountOf, day: Day, counts: &[(Counted, u64)]) -> DayCounts {
    DayCounts { of: of.clone(), day, counts: counts.to_vec() }
}

async fn today(bench: &impl Bench) -> Day {
    Day::of(WallTime::from_micros(bench.store().now().await.unwrap().as_micros()))
}

async fn sorted(store: &dyn ReportStore, of: &CountOf, first: Day, last: Day) -> Vec<(Day, Counts)> {
    let mut days = store.counts(of, first, last).await.unwrap();
    days.iter_mut().for_each(|(_, counts)| counts.sort());
    days
}

pub(crate) async fn what_gateways_count_adds_up_by_whom_and_day(bench: &mut impl Bench) {
    let (one, other) = (bench.monitor(), bench.other_monitor().await);
    let (today, acme) = (today(bench).await, CountOf::Tenant(tenant("acme")));
    let found = |observed| Counted::Finding { kind: "KIND".into(), severity: "high".into(), observed };
    let verdict = Counted::Verdict { kind: "KIND".into(), verdict: Verdict::Expected };
    let action = Counted::Action { action: "lock".into(), observed: true };
    one.add_counts(&[]).await.unwrap();
    one.add_counts(&[
        counted(&acme, today, &[(Counted::Login, 2), (found(true), 1), (about("7"), 1)]),
        counted(&CountOf::All, today, &[(Counted::Login, 3), (Counted::FailedLogin, 9), (Counted::Lock, 1)]),
        counted(&acme, today.before(1), &[(verdict.clone(), 1)]),
    ])
    .await
    .unwrap();
    other
        .add_counts(&[
            counted(&acme, today, &[(Counted::Login, 5), (found(false), 1), (about("7"), 2), (action.clone(), 4)]),
            counted(&CountOf::Tenant(tenant("other")), today, &[(Counted::Login, 100)]),
        ])
        .await
        .unwrap();
    let mut of_today = vec![(found(false), 1), (found(true), 1), (action, 4), (Counted::Login, 7), (about("7"), 3)];
    of_today.sort();
    let expected = [(today.before(2), vec![]), (today.before(1), vec![(verdict, 1)]), (today, of_today)];
    assert_eq!(sorted(&*one, &acme, today.before(2), today).await, expected);
    let mut of_all = vec![(Counted::Login, 3), (Counted::FailedLogin, 9), (Counted::Lock, 1)];
    of_all.sort();
    assert_eq!(sorted(&*other, &CountOf::All, today, today).await, [(today, of_all)]);
    assert_eq!(sorted(&*other, &acme, today, today.before(1)).await, []);
}

pub(crate) async fn of_very_many_users_not_all_are_counted_apart_and_nothing_else_is_lost(bench: &mut impl Bench) {
    let (store, today, acme) = (bench.monitor(), today(bench).await, CountOf::Tenant(tenant("acme")));
    store.add_counts(&[counted(&acme, today, &[(about("first"), 1)])]).await.unwrap();
    let users: Vec<_> = (0..MOST_USERS_A_DAY + 100).map(|number| (about(&number.to_string()), 1)).collect();
    store.add_counts(&[counted(&acme, today, &users)]).await.unwrap();
    let more = [(Counted::Login, 2), (about("first"), 1), (about("last"), 1)];
    store.add_counts(&[counted(&acme, today, &more)]).await.unwrap();
    let (_, counts) = store.counts(&acme, today, today).await.unwrap().remove(0);
    let users = counts.iter().filter(|(counted, _)| counted.is_of_a_user()).count();
    assert_eq!(users, MOST_USERS_A_DAY);
    assert!(counts.contains(&(Counted::Login, 2)) && counts.contains(&(about("first"), 2)));
    assert!(!counts.iter().any(|(counted, _)| *counted == about("last")));
}

pub(crate) async fn what_is_too_old_for_any_report_is_not_kept(bench: &mut impl Bench) {
    let (store, today, acme) = (bench.monitor(), today(bench).await, CountOf::Tenant(tenant("acme")));
    let last = today.before(COUNTS_KEPT_DAYS);
    for day in [last.before(1), last] {
        store.add_counts(&[counted(&acme, day, &[(Counted::Login, 1)])]).await.unwrap();
    }
    let kept = store.counts(&acme, last.before(1), last).await.unwrap();
    assert_eq!(kept, [(last.before(1), vec![]), (last, vec![(Counted::Login, 1)])]);
}

async fn found(store: &dyn FindingStore, of: Option<(&str, &str)>, number: usize) -> FindingId {
    let record = FindingRecord {
        kind: format!("KIND_{number}"),
        severity: "high".into(),
        observed: false,
        tenant: of.map(|(tenant, _)| tenant.to_owned()),
        user: of.map(|(_, user)| user.to_owned()),
        user_kind: None,
        session_id: None,
        account: None,
        address: None,
        evidence: Evidence::default(),
        actions: Vec::new(),
    };
    let finding = ToKeep {
        record: &record,
        dedupe: &number.to_string(),
        repeat: HOUR,
        postings: &[],
        risk: None,
        has_failed: false,
    };
    match store.keep(finding).await.unwrap() {
        Kept::New { id, .. } => id,
        Kept::Again(id) => panic!("{id} is the same"),
    }
}

pub(crate) async fn a_tenants_findings_are_listed_from_the_newest_on_and_nobody_elses(bench: &mut impl Bench) {
    let (store, other) = (bench.monitor(), bench.other_monitor().await);
    let everything = FindingsOf { tenant: tenant("acme"), user: None };
    assert_eq!(other.findings_of(&everything, None, 2).await.unwrap().findings, [], "nothing was ever found");
    let (mut of_acme, mut of_user) = (Vec::new(), Vec::new());
    for number in 0..9 {
        let whose = [Some(("acme", "7")), Some(("acme", "8")), Some(("other", "7")), None][number % 4];
        let id = found(&*store, whose, number).await;
        of_acme.extend(whose.filter(|(tenant, _)| *tenant == "acme").map(|_| id));
        of_user.extend(whose.filter(|whose| *whose == ("acme", "7")).map(|_| id));
    }
    of_acme.reverse();
    of_user.reverse();
    for (user, expected) in [(None, of_acme), (Some("7"), of_user), (Some("9"), Vec::new())] {
        let of = FindingsOf { tenant: tenant("acme"), user: user.map(|user| UserId::parse(user).unwrap()) };
        let (mut seen, mut position) = (Vec::new(), None);
        for _ in 0..20 {
            let page = other.findings_of(&of, position, 2).await.unwrap();
            assert!(page.findings.len() <= 2);
            seen.extend(page.findings.iter().map(|finding| finding.id));
            position = page.next;
            if position.is_none() {
                break;
            }
        }
        assert_eq!((seen, position), (expected, None), "{user:?}");
    }
    let first = Some(FindingId { millis: 0, count: 0 });
    let before_all = other.findings_of(&everything, first, 2).await.unwrap();
    assert_eq!((before_all.findings, before_all.next), (Vec::new(), None), "nothing is before the first name");
    assert_eq!(other.findings(first, 2).await.unwrap(), []);
    let nobody = FindingsOf { tenant: tenant("nobody"), user: None };
    assert_eq!(other.findings_of(&nobody, None, 2).await.unwrap().findings, []);
}

pub(crate) fn activity(number: usize) -> Activity {
    Activity {
        session: "AAAAAAAAAAAAAAAAAAAAAA".into(),
        user: "7".into(),
        user_kind: None,
        at: number as u64,
        address: "192.0.2.1".into(),
        agent: "Firefox on Linux".into(),
        action: "PAGE_VISIBILITY".into(),
        details: Some(serde_json::json!({ "number": number })),
    }
}

async fn numbers(store: &dyn ActivityStore, of: &str, limit: usize) -> Vec<u64> {
    let (mut seen, mut position) = (Vec::new(), None);
    loop {
        let page = store.activities(&tenant(of), position, limit).await.unwrap();
        let Some(last) = page.last() else { return seen };
        position = Some(last.id);
        seen.extend(page.into_iter().map(|kept| kept.activity.unwrap().at));
    }
}

pub(crate) async fn what_front_ends_report_is_kept_by_tenant_from_the_newest_on(bench: &mut impl Bench) {
    let (store, other) = (bench.monitor(), bench.other_monitor().await);
    store.keep_activities(&tenant("acme"), &[activity(1), activity(2)]).await.unwrap();
    other.keep_activities(&tenant("other"), &[activity(9)]).await.unwrap();
    other.keep_activities(&tenant("acme"), &[activity(3)]).await.unwrap();
    assert_eq!(numbers(&*store, "acme", 2).await, [3, 2, 1]);
    assert_eq!(numbers(&*store, "other", 2).await, [9]);
    assert_eq!(store.activities(&tenant("acme"), None, 1).await.unwrap()[0].activity, Some(activity(3)));
}

pub(crate) async fn of_what_front_ends_report_the_newest_are_kept(bench: &mut impl Bench) {
    let store = bench.monitor();
    let all: Vec<_> = (0..3 * MOST_ACTIVITIES).map(activity).collect();
    for some in all.chunks(500) {
        store.keep_activities(&tenant("acme"), some).await.unwrap();
    }
    let kept = numbers(&*store, "acme", 500).await;
    let newest = (0..3 * MOST_ACTIVITIES as u64).rev();
    assert!((MOST_ACTIVITIES..MOST_ACTIVITIES + 200).contains(&kept.len()), "{}", kept.len());
    assert!(kept.into_iter().zip(newest).all(|(kept, newest)| kept == newest));
}
