//! The contract of `SessionStore`, sentence by sentence. Each runs on every store (see `main.rs`).

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session_gateway::session::{
    By, DeniedUntil, EndReason, Ended, Exemption, Generation, IdleLimit, Keep, LimitAction, LiveSession, Principal,
    Scope, SessionId, SessionLimit, SessionRecord, Standing, StoreTime, TenantId, TenantStatus, TokenDenial,
    TokenStanding, UserId, UserKind,
};
use session_gateway::store::{
    Creation, Cursor, NewSession, Page, STALE_AT_MOST, SessionView, SessionsOf, SharedStore, TenantView, Touch,
};

use crate::bench::{
    Bench, HOUR, ask, change_tenant, id, idle, in_millis, live, login, principal, revoke, revoke_user, session,
    session_of, stored,
};

/// The lifetime of a session that must be used before its end: short, and yet long for a busy machine.
const SHORT: Duration = Duration::from_secs(2);

/// Why it is over, and whether that was written down; of what was not it is known whose it was, for whoever does.
fn over(standing: Standing) -> Option<(EndReason, bool)> {
    let Standing::Ended(Ended { reason, record, noted, .. }) = standing else { return None };
    assert!(noted || record.is_some(), "{reason:?}");
    Some((reason, noted))
}

fn is_live(standing: &Standing) -> bool {
    matches!(standing, Standing::Live(_))
}

async fn touch(store: &SharedStore, touch: Touch) -> bool {
    store.touch(&[touch]).await.unwrap()[0]
}

pub(crate) async fn what_was_never_made_is_absent(bench: &mut impl Bench) {
    assert_eq!(ask(&bench.store(), id()).await, Standing::Absent);
}

pub(crate) async fn a_session_is_live_on_every_instance_once_it_was_stored(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    for _ in 0..20 {
        let new = login(&store).await;
        let record = stored(&store, new.clone()).await;
        assert_eq!(*record.principal, new.principal);
        assert_eq!((record.remembered, record.idle), (new.remembered, new.idle));
        assert_eq!((record.address, &record.user_agent), (new.address, &new.user_agent));
        assert_eq!(*live(&other, new.id).await.record, record);
    }
}

pub(crate) async fn a_session_is_made_at_the_stores_time_with_exact_deadlines(bench: &mut impl Bench) {
    let store = bench.store();
    let before = store.now().await.unwrap();
    let (id, record) = session(&store).await;
    let after = store.now().await.unwrap();
    assert!(before <= record.created && record.created <= after, "{before:?} {record:?} {after:?}");
    assert_eq!(record.deadline, record.created.after(8 * HOUR));
    let exact = record.idle.unwrap().deadline_of_use_at(record.created);
    assert_eq!(in_millis(live(&store, id).await.touch_deadline), in_millis(exact));
}

pub(crate) async fn with_idle_off_a_session_lives_to_its_absolute_deadline(bench: &mut impl Bench) {
    let store = bench.store();
    let new = NewSession { idle: None, absolute: SHORT, ..login(&store).await };
    let (id, record) = (new.id, stored(&store, new).await);
    assert_eq!(in_millis(live(&store, id).await.touch_deadline), in_millis(record.deadline));
    bench.elapse_until(record.deadline.after(Duration::from_millis(1))).await;
    assert_eq!(over(ask(&store, id).await), Some((EndReason::Expired, false)));
}

pub(crate) async fn a_touch_moves_the_deadline_forward_and_never_back(bench: &mut impl Bench) {
    let store = bench.store();
    let (id, record) = session(&store).await;
    let later = in_millis(record.created.after(HOUR));
    assert!(touch(&store, Touch { id, deadline: later }).await);
    assert_eq!(live(&store, id).await.touch_deadline, later);
    let earlier = later.before(Duration::from_secs(60));
    assert!(touch(&store, Touch { id, deadline: earlier }).await, "an earlier touch is late, and the session lives");
    assert_eq!(live(&store, id).await.touch_deadline, later);
}

pub(crate) async fn touches_are_answered_in_order(bench: &mut impl Bench) {
    let store = bench.store();
    let (first, record) = session(&store).await;
    let (gone, gone_record) = session(&store).await;
    let (last, _) = session(&store).await;
    store.end(gone, &gone_record, EndReason::Logout, &By::Gateway).await.unwrap();
    let deadline = in_millis(record.created.after(HOUR));
    let mut touches = vec![Touch { id: id(), deadline }; 1200];
    let mut expected = vec![false; 1200];
    for (at, id, answer) in [(0, first, true), (7, gone, false), (700, first, true), (1199, last, true)] {
        touches[at] = Touch { id, deadline };
        expected[at] = answer;
    }
    assert_eq!(store.touch(&touches).await.unwrap(), expected);
    assert_eq!(store.touch(&[]).await.unwrap(), Vec::<bool>::new());
}

pub(crate) async fn a_touch_in_flight_cannot_resurrect_an_ended_session(bench: &mut impl Bench) {
    let store = bench.store();
    for _ in 0..20 {
        let (id, record) = session(&store).await;
        let deadline = record.created.after(HOUR);
        let touches = vec![Touch { id, deadline }; 50];
        let (touching, ending) =
            tokio::join!(store.touch(&touches), store.end(id, &record, EndReason::Logout, &By::Gateway));
        touching.unwrap();
        assert!(ending.unwrap());
        assert!(!touch(&store, Touch { id, deadline: deadline.after(HOUR) }).await);
        assert_eq!(over(ask(&store, id).await), Some((EndReason::Logout, true)));
    }
}

pub(crate) async fn a_touch_cannot_resurrect_a_session_that_timed_out(bench: &mut impl Bench) {
    let store = bench.store();
    let new = NewSession { idle: idle(300), ..login(&store).await };
    let (id, record) = (new.id, stored(&store, new).await);
    bench.elapse(Duration::from_millis(311)).await;
    assert!(!touch(&store, Touch { id, deadline: record.created.after(HOUR) }).await);
    assert_eq!(over(ask(&store, id).await), Some((EndReason::IdleTimeout, false)));
}

pub(crate) async fn a_touch_makes_no_session(bench: &mut impl Bench) {
    let store = bench.store();
    let (id, deadline) = (id(), store.now().await.unwrap().after(HOUR));
    assert!(!touch(&store, Touch { id, deadline }).await);
    assert_eq!(ask(&store, id).await, Standing::Absent);
}

pub(crate) async fn a_session_is_live_before_its_touch_deadline_and_over_from_it_on(bench: &mut impl Bench) {
    let store = bench.store();
    let new = NewSession { idle: Some(IdleLimit::new(SHORT)), ..login(&store).await };
    let id = new.id;
    stored(&store, new).await;
    let deadline = live(&store, id).await.touch_deadline;
    bench.elapse_until(deadline.before(Duration::from_millis(10))).await;
    loop {
        let before = store.now().await.unwrap();
        let standing = ask(&store, id).await;
        let after = store.now().await.unwrap();
        // Between the two times either is right.
        if before >= deadline {
            assert_eq!(over(standing), Some((EndReason::IdleTimeout, false)));
            return;
        }
        if after < deadline {
            assert!(matches!(standing, Standing::Live(_)), "refused {:?} early", deadline.since(after));
        }
        bench.elapse(Duration::from_micros(500)).await;
    }
}

pub(crate) async fn the_absolute_deadline_passes_despite_use(bench: &mut impl Bench) {
    let store = bench.store();
    let new = NewSession { absolute: SHORT, ..login(&store).await };
    let (id, record) = (new.id, stored(&store, new).await);
    assert!(touch(&store, Touch { id, deadline: record.created.after(HOUR) }).await);
    bench.elapse_until(record.deadline.before(Duration::from_millis(10))).await;
    loop {
        let before = store.now().await.unwrap();
        let standing = ask(&store, id).await;
        if before >= record.deadline {
            assert_eq!(over(standing), Some((EndReason::Expired, false)));
            break;
        }
        bench.elapse(Duration::from_millis(5)).await;
    }
    touch(&store, Touch { id, deadline: record.created.after(2 * HOUR) }).await;
    assert_eq!(over(ask(&store, id).await), Some((EndReason::Expired, false)));
}

pub(crate) async fn an_ended_session_is_over_for_every_instance_and_says_why(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    for reason in EndReason::ALL {
        let (id, record) = session(&store).await;
        assert!(store.end(id, &record, reason, &By::Gateway).await.unwrap());
        assert_eq!(over(ask(&other, id).await), Some((reason, true)));
    }
}

pub(crate) async fn only_the_first_end_counts_and_its_reason_stays(bench: &mut impl Bench) {
    let store = bench.store();
    let (id, record) = session(&store).await;
    assert!(store.end(id, &record, EndReason::Replaced, &By::Gateway).await.unwrap());
    assert!(!store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap());
    assert!(!store.note_end(id, &record, EndReason::IdleTimeout).await.unwrap());
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::LogoutAll).await, 0);
    assert_eq!(over(ask(&store, id).await), Some((EndReason::Replaced, true)));
}

pub(crate) async fn of_many_ends_at_once_exactly_one_counts(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    for _ in 0..10 {
        let (id, record) = session(&store).await;
        let ends = (0..16).map(|n| {
            let (store, record) = (if n % 2 == 0 { &store } else { &other }.clone(), record.clone());
            tokio::spawn(async move { store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap() })
        });
        let mut counted = 0;
        for end in ends.collect::<Vec<_>>() {
            counted += u64::from(end.await.unwrap());
        }
        assert_eq!(counted, 1);
    }
}

pub(crate) async fn ending_what_was_never_made_ends_nothing(bench: &mut impl Bench) {
    let store = bench.store();
    let (_, record) = session(&store).await;
    let unknown = id();
    assert!(!store.end(unknown, &record, EndReason::Logout, &By::Gateway).await.unwrap());
    assert!(!store.note_end(unknown, &record, EndReason::IdleTimeout).await.unwrap());
    assert_eq!(ask(&store, unknown).await, Standing::Absent);
}

pub(crate) async fn an_end_by_time_is_noted_by_the_first_alone(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let new = NewSession { idle: idle(100), ..login(&store).await };
    let (id, record) = (new.id, stored(&store, new).await);
    bench.elapse(Duration::from_millis(105)).await;
    assert_eq!(over(ask(&store, id).await), Some((EndReason::IdleTimeout, false)));
    let notes = tokio::join!(
        store.note_end(id, &record, EndReason::IdleTimeout),
        other.note_end(id, &record, EndReason::IdleTimeout),
        store.note_end(id, &record, EndReason::IdleTimeout),
    );
    let first = [notes.0, notes.1, notes.2].into_iter().filter(|note| *note.as_ref().unwrap()).count();
    assert_eq!(first, 1);
    assert_eq!(over(ask(&other, id).await), Some((EndReason::IdleTimeout, true)));
}

pub(crate) async fn what_time_has_ended_nobody_ends_again(bench: &mut impl Bench) {
    let store = bench.store();
    for (absolute, limit, reason) in [
        (Duration::from_millis(200), idle(1_800_000), EndReason::Expired),
        (8 * HOUR, idle(200), EndReason::IdleTimeout),
    ] {
        let new = NewSession { absolute, idle: limit, ..login(&store).await };
        let (id, record) = (new.id, stored(&store, new).await);
        bench.elapse(Duration::from_millis(210)).await;
        assert!(!store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap(), "{reason:?}");
        assert_eq!(revoke_user(&store, "acme", "7", EndReason::LogoutAll).await, 0, "{reason:?}");
        assert!(store.note_end(id, &record, reason).await.unwrap(), "{reason:?}");
        assert_eq!(over(ask(&store, id).await), Some((reason, true)));
    }
}

pub(crate) async fn of_what_time_has_ended_it_is_known_who_would_have_ended_it_on_purpose(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let mut over = Vec::new();
    for (user, noted) in [("7", false), ("7", true), ("8", true)] {
        let new = NewSession { idle: idle(100), principal: principal("acme", user), ..login(&store).await };
        let (id, record) = (new.id, Arc::new(stored(&store, new).await));
        over.push((id, record, noted));
    }
    bench.elapse(Duration::from_millis(105)).await;
    for (id, record, noted) in &over {
        if *noted {
            assert!(store.note_end(*id, record, EndReason::IdleTimeout).await.unwrap());
        }
        assert_eq!(other.read_outlived(*id, record).await.unwrap(), EndReason::IdleTimeout);
    }
    revoke_user(&store, "acme", "7", EndReason::LogoutAll).await;
    for ((id, record, _), reason) in
        over.iter().zip([EndReason::UserRevoked, EndReason::UserRevoked, EndReason::IdleTimeout])
    {
        assert_eq!(other.read_outlived(*id, record).await.unwrap(), reason);
    }
    change_tenant(&store, "acme", TenantStatus::Suspended).await;
    for (id, record, _) in &over {
        assert_eq!(other.read_outlived(*id, record).await.unwrap(), EndReason::TenantRevoked);
    }
}

pub(crate) async fn ending_a_user_ends_all_and_only_their_sessions(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let mut theirs = Vec::new();
    for _ in 0..3 {
        theirs.push(session(&store).await);
    }
    let neighbour = session_of(&store, "acme", "8").await;
    let namesake = session_of(&store, "other", "7").await;
    assert_eq!(revoke_user(&other, "acme", "7", EndReason::LogoutAll).await, 3);
    for (id, _) in &theirs {
        assert_eq!(over(ask(&store, *id).await), Some((EndReason::LogoutAll, true)));
    }
    live(&store, neighbour.0).await;
    live(&store, namesake.0).await;
    bench.elapse(Duration::from_millis(1)).await;
    let (new, record) = session(&store).await;
    assert_ne!(record.generations.user, Generation::NONE);
    live(&other, new).await;
}

pub(crate) async fn ending_a_user_counts_what_was_live_however_many(bench: &mut impl Bench) {
    let store = bench.store();
    let mut ids = HashSet::new();
    for n in 0..450 {
        let (id, record) = session(&store).await;
        ids.insert(id);
        if n % 10 == 0 {
            assert!(store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap());
        }
    }
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::UserRevoked).await, 405);
    for id in ids {
        assert!(matches!(ask(&store, id).await, Standing::Ended(_)));
    }
}

pub(crate) async fn ending_a_user_again_counts_nothing(bench: &mut impl Bench) {
    let store = bench.store();
    assert_eq!(revoke_user(&store, "acme", "nobody", EndReason::LogoutAll).await, 0);
    let (id, _) = session(&store).await;
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::LogoutAll).await, 1);
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::UserRevoked).await, 0);
    assert_eq!(over(ask(&store, id).await), Some((EndReason::LogoutAll, true)));
}

pub(crate) async fn each_session_is_counted_once_while_sessions_come_and_go(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut logins = Vec::new();
    for n in 0..4 {
        let (store, stop) = (if n % 2 == 0 { &store } else { &other }.clone(), Arc::clone(&stop));
        logins.push(tokio::spawn(async move {
            let mut made: Vec<SessionId> = Vec::new();
            let mut ended_here = 0;
            while !stop.load(Ordering::SeqCst) {
                let new = login(&store).await;
                let id = new.id;
                if let Creation::Stored { record, .. } = store.create(new).await.unwrap() {
                    made.push(id);
                    if made.len().is_multiple_of(3) {
                        ended_here += u64::from(store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap());
                    }
                } else {
                    assert!(!matches!(ask(&store, id).await, Standing::Live(_)));
                }
            }
            (made, ended_here)
        }));
    }
    let mut counted = 0;
    for n in 0..200 {
        bench.elapse(Duration::from_millis(1)).await;
        let (store, other) = (store.clone(), other.clone());
        let (one, two) = tokio::join!(revoke_user(&store, "acme", "7", EndReason::LogoutAll), async {
            if n % 3 == 0 { revoke_user(&other, "acme", "7", EndReason::UserRevoked).await } else { 0 }
        },);
        counted += one + two;
    }
    stop.store(true, Ordering::SeqCst);
    let mut made = Vec::new();
    for login in logins {
        let (theirs, ended_here) = login.await.unwrap();
        made.extend(theirs);
        counted += ended_here;
    }
    let mut still_live = 0;
    for id in &made {
        still_live += u64::from(matches!(ask(&store, *id).await, Standing::Live(_)));
    }
    assert!(made.len() > 100, "only {} sessions were made", made.len());
    assert_eq!(counted + still_live, u64::try_from(made.len()).unwrap());
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::LogoutAll).await, still_live);
}

pub(crate) async fn a_login_that_began_before_a_revocation_makes_no_session(bench: &mut impl Bench) {
    let store = bench.store();
    let new = login(&store).await;
    bench.elapse(Duration::from_millis(2)).await;
    revoke_user(&store, "acme", "7", EndReason::UserRevoked).await;
    let id = new.id;
    assert_eq!(store.create(new).await.unwrap(), Creation::Superseded);
    assert_eq!(ask(&store, id).await, Standing::Absent);
    bench.elapse(Duration::from_millis(2)).await;
    let (id, _) = session(&store).await;
    live(&store, id).await;
}

pub(crate) async fn a_login_and_a_revocation_are_never_at_once(bench: &mut impl Bench) {
    let store = bench.store();
    let acme = Scope::Tenant { tenant: TenantId::parse("acme").unwrap() };
    for round in 0..50 {
        // No time need pass between them.
        let before = login(&store).await;
        if round % 2 == 0 {
            revoke_user(&store, "acme", "7", EndReason::UserRevoked).await;
        } else {
            revoke(&store, acme.clone(), EndReason::TenantRevoked).await;
        }
        let (id, after) = (before.id, login(&store).await);
        assert_eq!(store.create(before).await.unwrap(), Creation::Superseded);
        assert_eq!(ask(&store, id).await, Standing::Absent);
        let id = after.id;
        stored(&store, after).await;
        live(&store, id).await;
    }
}

pub(crate) async fn ending_the_other_sessions_leaves_one_that_is_at_no_moment_refused(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let mut theirs = Vec::new();
    for _ in 0..20 {
        theirs.push(session(&store).await);
    }
    let neighbour = session_of(&store, "acme", "8").await.0;
    let (kept, _) = theirs.pop().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (watching, watched) = (Arc::clone(&stop), other.clone());
    let watch = tokio::spawn(async move {
        let mut reads = 0;
        while !watching.load(Ordering::SeqCst) {
            live(&watched, kept).await;
            reads += 1;
            tokio::task::yield_now().await;
        }
        reads
    });
    for n in 0..20 {
        bench.elapse(Duration::from_millis(1)).await;
        let count = revoke(&store, others(kept), EndReason::UserOthersRevoked).await;
        assert_eq!(count, if n == 0 { 19 } else { 1 });
        bench.elapse(Duration::from_millis(1)).await;
        theirs.push(session(&store).await);
    }
    stop.store(true, Ordering::SeqCst);
    assert!(watch.await.unwrap() > 0);
    live(&store, neighbour).await;
    let (last, _) = theirs.pop().unwrap();
    live(&store, last).await;
    for (id, _) in &theirs {
        assert_eq!(over(ask(&store, *id).await), Some((EndReason::UserOthersRevoked, true)));
    }
    // Now it is one of the others.
    assert_eq!(revoke(&store, others(last), EndReason::UserOthersRevoked).await, 1);
    assert_eq!(over(ask(&store, kept).await), Some((EndReason::UserOthersRevoked, true)));
    live(&store, last).await;
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::UserRevoked).await, 1);
    assert!(!matches!(ask(&store, last).await, Standing::Live(_)));
}

pub(crate) async fn what_is_over_or_anothers_is_not_kept_by_ending_the_others(bench: &mut impl Bench) {
    let store = bench.store();
    let (dead, _) = session(&store).await;
    revoke_user(&store, "acme", "7", EndReason::UserRevoked).await;
    bench.elapse(Duration::from_millis(1)).await;
    let foreign = session_of(&store, "other", "7").await.0;
    for keep in [dead, foreign, id()] {
        let (theirs, _) = session(&store).await;
        assert_eq!(revoke(&store, others(keep), EndReason::UserOthersRevoked).await, 1);
        assert!(!matches!(ask(&store, theirs).await, Standing::Live(_)));
        bench.elapse(Duration::from_millis(1)).await;
    }
    assert_eq!(over(ask(&store, dead).await), Some((EndReason::UserRevoked, true)));
    live(&store, foreign).await;
}

fn others(keep: SessionId) -> Scope {
    Scope::OtherSessions {
        tenant: TenantId::parse("acme").unwrap(),
        user: UserId::parse("7").unwrap(),
        keep: Keep::Session(keep),
    }
}

pub(crate) async fn ending_a_tenant_ends_all_and_only_its_sessions_however_many(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let mut theirs = Vec::new();
    for n in 0..450 {
        theirs.push(session_of(&store, "acme", &(n % 7).to_string()).await);
    }
    let neighbour = session_of(&store, "acme2", "1").await.0;
    for (id, record) in &theirs[..50] {
        assert!(store.end(*id, record, EndReason::Logout, &By::Gateway).await.unwrap());
    }
    assert_eq!(revoke(&other, acme(), EndReason::TenantRevoked).await, 400);
    for (id, _) in &theirs[50..] {
        assert_eq!(over(ask(&store, *id).await), Some((EndReason::TenantRevoked, true)));
    }
    live(&store, neighbour).await;
    assert_eq!(revoke(&store, acme(), EndReason::TenantRevoked).await, 0);
    bench.elapse(Duration::from_millis(1)).await;
    let (new, _) = session(&store).await;
    live(&other, new).await;
}

fn acme() -> Scope {
    Scope::Tenant { tenant: TenantId::parse("acme").unwrap() }
}

pub(crate) async fn each_session_of_a_tenant_is_counted_once_by_whatever_ends_it(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    for _ in 0..5 {
        for n in 0..60 {
            session_of(&store, "acme", &(n % 3).to_string()).await;
        }
        bench.elapse(Duration::from_millis(1)).await;
        let (one, two, three) = tokio::join!(
            revoke(&store, acme(), EndReason::TenantRevoked),
            revoke_user(&other, "acme", "1", EndReason::UserRevoked),
            revoke(&other, acme(), EndReason::OrgDeleted),
        );
        assert_eq!(one + two + three, 60, "{one} {two} {three}");
        bench.elapse(Duration::from_millis(1)).await;
    }
}

pub(crate) async fn a_suspended_or_deleted_tenant_gets_no_session_and_loses_the_old_ones(bench: &mut impl Bench) {
    let store = bench.store();
    for status in [TenantStatus::Suspended, TenantStatus::Deleted] {
        let (old, record) = session(&store).await;
        assert_eq!(change_tenant(&store, "acme", status).await, 1);
        assert_eq!(store.tenant_standing(&record.principal.tenant).await.unwrap().status, status);
        let new = login(&store).await;
        let id = new.id;
        assert_eq!(store.create(new).await.unwrap(), Creation::TenantRefused(status));
        assert_eq!(ask(&store, id).await, Standing::Absent);
        session_of(&store, "other", "7").await;
        assert_eq!(change_tenant(&store, "acme", TenantStatus::Active).await, 0);
        assert_eq!(over(ask(&store, old).await), Some((EndReason::OrgDeleted, true)), "restoring revives none");
        bench.elapse(Duration::from_millis(1)).await;
    }
}

pub(crate) async fn a_login_that_began_before_a_tenant_was_shut_out_makes_no_session(bench: &mut impl Bench) {
    let store = bench.store();
    let new = login(&store).await;
    bench.elapse(Duration::from_millis(2)).await;
    change_tenant(&store, "acme", TenantStatus::Suspended).await;
    change_tenant(&store, "acme", TenantStatus::Active).await;
    assert_eq!(store.create(new).await.unwrap(), Creation::Superseded);
    bench.elapse(Duration::from_millis(2)).await;
    let new = login(&store).await;
    bench.elapse(Duration::from_millis(2)).await;
    revoke(&store, acme(), EndReason::TenantRevoked).await;
    assert_eq!(store.create(new).await.unwrap(), Creation::Superseded);
}

pub(crate) async fn what_stays_active_keeps_its_sessions_and_what_is_revoked_its_status(bench: &mut impl Bench) {
    let store = bench.store();
    let (id, _) = session(&store).await;
    assert_eq!(change_tenant(&store, "acme", TenantStatus::Active).await, 0);
    live(&store, id).await;
    change_tenant(&store, "acme", TenantStatus::Suspended).await;
    revoke(&store, acme(), EndReason::TenantRevoked).await;
    let refused = store.create(login(&store).await).await.unwrap();
    assert_eq!(refused, Creation::TenantRefused(TenantStatus::Suspended));
}

pub(crate) async fn a_rotated_session_has_a_moment_and_its_successor_the_old_deadline(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let (old, old_record) = session(&store).await;
    bench.elapse(Duration::from_millis(50)).await;
    let new = NewSession { principal: principal("other", "7"), ..login(&store).await };
    let id = new.id;
    let creation = store.rotate(old, &old_record, new.clone(), SHORT).await.unwrap();
    let Creation::Stored { record, displaced } = creation else { panic!("{creation:?}") };
    assert_eq!((record.deadline, displaced), (old_record.deadline, vec![]));
    assert_eq!(*live(&other, id).await.record, record);
    live(&other, old).await;
    let again = NewSession { id: self::id(), ..new };
    assert_eq!(store.rotate(old, &old_record, again, SHORT).await.unwrap(), Creation::Superseded, "only once");
    // Whatever is used meanwhile: its end has a time.
    assert!(touch(&store, Touch { id: old, deadline: old_record.created.after(2 * HOUR) }).await);
    bench.elapse_until(record.created.after(SHORT + Duration::from_millis(20))).await;
    assert_eq!(over(ask(&other, old).await), Some((EndReason::Replaced, true)));
    live(&other, id).await;
    let ended = store.end(old, &old_record, EndReason::Logout, &By::Gateway).await.unwrap();
    assert!(ended && !is_live(&ask(&other, id).await), "they are one session, which was not over");
}

pub(crate) async fn a_session_that_is_over_is_not_rotated(bench: &mut impl Bench) {
    let store = bench.store();
    let unknown = id();
    let (logged_out, record) = session(&store).await;
    store.end(logged_out, &record, EndReason::Logout, &By::Gateway).await.unwrap();
    let (revoked, _) = session(&store).await;
    change_tenant(&store, "acme", TenantStatus::Suspended).await;
    for old in [unknown, logged_out, revoked] {
        let new = NewSession { principal: principal("other", "7"), ..login(&store).await };
        let id = new.id;
        assert_eq!(store.rotate(old, &record, new, HOUR).await.unwrap(), Creation::Superseded);
        assert!(!matches!(ask(&store, id).await, Standing::Live(_)));
    }
}

/// A session of acme's user 7, and how it goes on as that tenant's.
async fn rotated(store: &SharedStore, tenant: &str) -> [(SessionId, SessionRecord); 2] {
    let (old, old_record) = session(store).await;
    let new = NewSession { principal: principal(tenant, "7"), ..login(store).await };
    let id = new.id;
    let creation = store.rotate(old, &old_record, new, HOUR).await.unwrap();
    let Creation::Stored { record, .. } = creation else { panic!("{creation:?}") };
    [(old, old_record), (id, record)]
}

pub(crate) async fn whatever_ends_a_rotated_session_by_one_of_its_tokens_ends_it_by_all(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    for tenant in ["acme", "other"] {
        for at in [0, 1] {
            let tokens = rotated(&store, tenant).await;
            for (id, _) in &tokens {
                live(&other, *id).await;
            }
            let (id, record) = &tokens[at];
            assert!(store.end(*id, record, EndReason::Logout, &By::Gateway).await.unwrap());
            for (id, record) in &tokens {
                assert!(!is_live(&ask(&other, *id).await), "{tenant} {at}");
                let again = store.end(*id, record, EndReason::Revoked, &By::Gateway).await.unwrap();
                assert!(!again, "it is one session, and counted once");
            }
        }
        for ended in [("acme", "user"), (tenant, "user"), ("acme", "tenant"), (tenant, "tenant"), (tenant, "status")] {
            let tokens = rotated(&store, tenant).await;
            bench.elapse(Duration::from_millis(2)).await;
            match ended {
                (tenant, "user") => drop(revoke_user(&store, tenant, "7", EndReason::LogoutAll).await),
                (tenant, "tenant") => {
                    let tenant = TenantId::parse(tenant).unwrap();
                    revoke(&store, Scope::Tenant { tenant }, EndReason::TenantRevoked).await;
                }
                (tenant, _) => {
                    change_tenant(&store, tenant, TenantStatus::Suspended).await;
                    change_tenant(&store, tenant, TenantStatus::Active).await;
                }
            }
            // A tenant's end is nothing to a session that has left it.
            let has_left = ended.0 != tenant && ended.1 != "user";
            let live = [is_live(&ask(&other, tokens[0].0).await), is_live(&ask(&other, tokens[1].0).await)];
            assert_eq!(live, [false, has_left], "{tenant} {ended:?}");
            bench.elapse(Duration::from_millis(2)).await;
        }
    }
}

pub(crate) async fn no_later_revocation_undoes_one_that_came_in_the_moment_of_the_token_before(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    loop {
        let (id, record, until) = left_acme(&store).await;
        bench.elapse(Duration::from_millis(2)).await;
        revoke_user(&store, "acme", "7", EndReason::LogoutAll).await;
        if store.now().await.unwrap() >= until {
            // Too slow: it came later.
            continue;
        }
        let Standing::Ended(ended) = ask(&other, id).await else { panic!("the old token was good") };
        assert_eq!((ended.reason, ended.noted), (EndReason::UserRevoked, false));
        assert!(other.note_end(id, &record, ended.reason).await.unwrap());
        // What comes later ends nobody who had left.
        let (had_left, _, until) = left_acme(&store).await;
        bench.elapse_until(until.after(Duration::from_millis(2))).await;
        revoke_user(&store, "acme", "7", EndReason::LogoutAll).await;
        for gateway in [&store, &other] {
            assert!(!is_live(&ask(gateway, id).await));
            live(gateway, had_left).await;
        }
        return;
    }
}

/// A session that has left acme's user 7 for another tenant, and until when its old token is good.
async fn left_acme(store: &SharedStore) -> (SessionId, SessionRecord, StoreTime) {
    let (old, old_record) = session(store).await;
    let new = NewSession { principal: principal("other", "7"), ..login(store).await };
    let id = new.id;
    let creation = store.rotate(old, &old_record, new, Duration::from_secs(1)).await.unwrap();
    let Creation::Stored { record, .. } = creation else { panic!("{creation:?}") };
    let until = record.line.as_ref().unwrap().until;
    (id, record, until)
}

pub(crate) async fn a_session_that_is_rotated_again_has_two_good_tokens_and_one_end(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    for at in [0, 1, 2] {
        let [first, second] = rotated(&store, "other").await;
        let new = login(&store).await;
        let third = new.id;
        let creation = store.rotate(second.0, &second.1, new, HOUR).await.unwrap();
        let Creation::Stored { record, .. } = creation else { panic!("{creation:?}") };
        assert!(!is_live(&ask(&other, first.0).await), "its moment is over");
        live(&other, second.0).await;
        live(&other, third).await;
        let tokens = [first, second, (third, record)];
        let (id, record) = &tokens[at];
        assert!(store.end(*id, record, EndReason::Logout, &By::Gateway).await.unwrap(), "{at}");
        for (id, _) in &tokens {
            assert!(!is_live(&ask(&other, *id).await), "{at}");
        }
    }
}

pub(crate) async fn an_end_that_races_a_rotation_leaves_no_token_that_is_good(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let mut rotations = 0;
    for round in 0..50_u64 {
        let (old, record) = session(&store).await;
        let new = NewSession {
            principal: principal(if round % 6 < 4 && round % 3 < 2 { "other" } else { "acme" }, "7"),
            ..login(&store).await
        };
        let id = new.id;
        let rotating = async { store.rotate(old, &record, new, HOUR).await.unwrap() };
        let ending = async {
            tokio::time::sleep(Duration::from_micros(200 * (round % 25))).await;
            match round % 3 {
                0 => u64::from(other.end(old, &record, EndReason::Logout, &By::User).await.unwrap()),
                1 => revoke_user(&other, "acme", "7", EndReason::LogoutAll).await,
                _ => revoke(&other, acme(), EndReason::TenantRevoked).await,
            }
        };
        let (creation, ended) = tokio::join!(rotating, ending);
        rotations += u64::from(matches!(creation, Creation::Stored { .. }));
        assert!(ended <= 1, "it is one session");
        for token in [old, id] {
            assert!(!is_live(&ask(&store, token).await), "{round}: {creation:?}");
            assert!(!is_live(&ask(&other, token).await), "{round}: {creation:?}");
        }
        assert_eq!(all_sessions(&store, &SessionsOf::All, 50).await, [], "{round}");
        bench.elapse(Duration::from_millis(1)).await;
    }
    assert!(rotations > 0, "else nothing raced");
}

pub(crate) async fn a_rotated_session_takes_one_place_is_listed_once_and_counted_once(bench: &mut impl Bench) {
    let store = bench.store();
    let new = |new| limited(new, 2, LimitAction::Deny);
    let [(old, _), (id, _)] = rotated(&store, "acme").await;
    let listed = all_sessions(&store, &SessionsOf::All, 50).await;
    assert_eq!(listed.iter().map(|view| view.id).collect::<Vec<_>>(), [id]);
    live(&store, old).await;
    stored(&store, new(login(&store).await)).await;
    assert_eq!(store.create(new(login(&store).await)).await.unwrap(), Creation::LimitReached);
    // Nor does a session that is being rotated count for its own successor.
    let (full, record) = session_of(&store, "acme", "8").await;
    let next = NewSession { principal: principal("acme", "8"), replaces: Some(full), ..login(&store).await };
    let next = limited(next, 1, LimitAction::Deny);
    assert!(matches!(store.rotate(full, &record, next, HOUR).await.unwrap(), Creation::Stored { .. }));
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::LogoutAll).await, 2);
    // One that has to go goes with all its tokens.
    bench.elapse(Duration::from_millis(1)).await;
    let tokens = rotated(&store, "acme").await;
    bench.elapse(Duration::from_millis(1)).await;
    let last = limited(login(&store).await, 1, LimitAction::RevokeOldest);
    let Creation::Stored { displaced, .. } = store.create(last).await.unwrap() else { panic!("not stored") };
    assert_eq!(displaced.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [tokens[1].0]);
    for (id, _) in tokens {
        assert!(!is_live(&ask(&store, id).await));
    }
}

fn limited(new: NewSession, count: u16, action: LimitAction) -> NewSession {
    NewSession { limit: Some(SessionLimit { count: NonZeroU16::new(count).unwrap(), action }), ..new }
}

pub(crate) async fn a_login_beyond_the_limit_ends_the_oldest(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let mut made = Vec::new();
    for n in 0..6 {
        // The first has the longest lifetime: age decides, not the deadline.
        let absolute = if n == 0 { 24 * HOUR } else { 8 * HOUR };
        let new = NewSession { absolute, ..login(&store).await };
        let new = limited(new, 3, LimitAction::RevokeOldest);
        let id = new.id;
        let creation = if n % 2 == 0 { &store } else { &other }.create(new).await.unwrap();
        let Creation::Stored { record, displaced } = creation else { panic!("{creation:?}") };
        made.push((id, Arc::new(record)));
        let gone: Vec<_> = if n >= 3 { vec![made[n - 3].clone()] } else { vec![] };
        assert_eq!(displaced, gone);
        for (id, _) in gone {
            assert_eq!(over(ask(&store, id).await), Some((EndReason::Limit, true)));
        }
        bench.elapse(Duration::from_millis(1)).await;
    }
    let neighbour =
        limited(NewSession { principal: principal("acme", "8"), ..login(&store).await }, 1, LimitAction::Deny);
    stored(&store, neighbour).await;
    // A lower limit applies with the next login.
    let new = limited(login(&store).await, 1, LimitAction::RevokeOldest);
    let Creation::Stored { displaced, .. } = store.create(new).await.unwrap() else { panic!("not stored") };
    assert_eq!(displaced, made[3..]);
    assert_eq!(revoke_user(&store, "acme", "7", EndReason::UserRevoked).await, 1);
}

pub(crate) async fn a_login_beyond_the_limit_is_refused_until_there_is_room(bench: &mut impl Bench) {
    let store = bench.store();
    let new = |new| limited(new, 2, LimitAction::Deny);
    let (first, record) = session(&store).await;
    // Long enough for what follows on a busy machine.
    let second = new(NewSession { idle: idle(1_500), ..login(&store).await });
    stored(&store, second).await;
    let refused = new(login(&store).await);
    let id = refused.id;
    assert_eq!(store.create(refused).await.unwrap(), Creation::LimitReached);
    assert_eq!(ask(&store, id).await, Standing::Absent);
    live(&store, first).await;
    // Of what is about to be replaced none is counted.
    let instead = NewSession { replaces: Some(first), ..new(login(&store).await) };
    let instead = (instead.id, stored(&store, instead).await);
    assert!(store.end(first, &record, EndReason::Replaced, &By::Gateway).await.unwrap());
    assert_eq!(store.create(new(login(&store).await)).await.unwrap(), Creation::LimitReached);
    // A logout, a time-out and a revocation each make room.
    assert!(store.end(instead.0, &instead.1, EndReason::Logout, &By::Gateway).await.unwrap());
    stored(&store, new(login(&store).await)).await;
    bench.elapse(Duration::from_millis(1_600)).await;
    stored(&store, new(login(&store).await)).await;
    assert_eq!(store.create(new(login(&store).await)).await.unwrap(), Creation::LimitReached);
    revoke_user(&store, "acme", "7", EndReason::UserRevoked).await;
    bench.elapse(Duration::from_millis(1)).await;
    stored(&store, new(login(&store).await)).await;
}

pub(crate) async fn racing_logins_never_exceed_the_limit_and_each_end_is_told_once(bench: &mut impl Bench) {
    let stores = [bench.store(), bench.other_instance().await, bench.other_instance().await];
    for action in [LimitAction::Deny, LimitAction::RevokeOldest] {
        for round in 0..15 {
            let user = format!("{action:?}{round}");
            let logins = (0..12).map(|n| {
                let (store, user) = (stores[n % 3].clone(), user.clone());
                tokio::spawn(async move {
                    let new = NewSession { principal: principal("acme", &user), ..login(&store).await };
                    store.create(limited(new, 3, action)).await.unwrap()
                })
            });
            let (mut made, mut displaced) = (0, HashSet::new());
            for login in logins.collect::<Vec<_>>() {
                match login.await.unwrap() {
                    Creation::Stored { displaced: gone, .. } => {
                        made += 1;
                        for (id, _) in gone {
                            assert!(displaced.insert(id), "told of twice");
                        }
                    }
                    Creation::LimitReached => {}
                    other => panic!("{other:?}"),
                }
            }
            let of = SessionsOf::User { tenant: TenantId::parse("acme").unwrap(), user: UserId::parse(&user).unwrap() };
            let still_live = all_sessions(&stores[0], &of, 50).await.len();
            assert_eq!(still_live + displaced.len(), made, "{action:?}");
            assert!((1..=3).contains(&still_live), "{still_live} {action:?}");
            if action == LimitAction::Deny {
                assert_eq!(made, 3);
            }
        }
    }
}

pub(crate) async fn of_sixteen_logins_at_once_none_is_refused_and_the_last_three_live(bench: &mut impl Bench) {
    let stores = [bench.store(), bench.other_instance().await];
    for action in [LimitAction::RevokeOldest, LimitAction::Deny] {
        for round in 0..50 {
            let user = format!("{action:?}{round}");
            let logins = (0..16).map(|n| {
                let (store, user) = (stores[n % 2].clone(), user.clone());
                tokio::spawn(async move {
                    let new = NewSession { principal: principal("acme", &user), ..login(&store).await };
                    store.create(limited(new, 3, action)).await.unwrap()
                })
            });
            let mut refused = 0;
            for login in logins.collect::<Vec<_>>() {
                match login.await.unwrap() {
                    Creation::Stored { .. } => {}
                    Creation::LimitReached => refused += 1,
                    other => panic!("{other:?}"),
                }
            }
            let of = SessionsOf::User { tenant: TenantId::parse("acme").unwrap(), user: UserId::parse(&user).unwrap() };
            let still_live = all_sessions(&stores[0], &of, 50).await.len();
            let expected = if action == LimitAction::Deny { 13 } else { 0 };
            assert_eq!((still_live, refused), (3, expected), "{action:?} {round}");
        }
    }
}

pub(crate) async fn a_tenant_shows_its_status_why_and_its_live_sessions(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let acme = TenantId::parse("acme").unwrap();
    let nobody = store.tenant(&acme).await.unwrap();
    assert_eq!((nobody.status, nobody.changed, nobody.sessions), (TenantStatus::Active, None, 0));
    for n in 0..250 {
        let (id, record) = session_of(&store, "acme", &(n % 5).to_string()).await;
        if n % 10 == 0 {
            store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap();
        }
    }
    let unused = NewSession { idle: idle(50), ..login(&store).await };
    stored(&store, unused).await;
    bench.elapse(Duration::from_millis(60)).await;
    assert_eq!(other.tenant(&acme).await.unwrap().sessions, 225);
    let before = store.now().await.unwrap();
    change_tenant(&store, "acme", TenantStatus::Deleted).await;
    let after = store.now().await.unwrap();
    let view = other.tenant(&acme).await.unwrap();
    assert_eq!((view.tenant, view.status, view.sessions), (acme.clone(), TenantStatus::Deleted, 0));
    let note = view.changed.unwrap();
    assert_eq!((note.reason, note.words.as_str()), (EndReason::OrgDeleted, "for a test"));
    assert!(before <= note.since && note.since <= after.after(Duration::from_millis(1)));
}

pub(crate) async fn known_tenants_are_listed_in_order_and_page_by_page(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    assert_eq!(store.tenants(None, 10).await.unwrap(), Page { items: vec![], next: None });
    for name in ["b", "a:1", "(c", "[d", "~"] {
        session_of(&store, name, "7").await;
        session_of(&other, name, "8").await;
    }
    change_tenant(&store, "a", TenantStatus::Suspended).await;
    let brief = NewSession { principal: principal("brief", "1"), absolute: SHORT, ..login(&store).await };
    let over = stored(&store, brief).await.deadline;
    let all = ["(c", "[d", "a", "a:1", "b", "brief", "~"];
    for limit in [1, 2, 3, 10] {
        let views = all_tenants(&other, limit).await;
        assert_eq!(views.iter().map(|view| view.tenant.kept()).collect::<Vec<_>>(), all, "{limit} a page");
        assert_eq!(views.iter().map(|view| view.sessions).collect::<Vec<_>>(), [2, 2, 0, 2, 2, 1, 2]);
    }
    assert_eq!(all_tenants(&store, 10).await[2].status, TenantStatus::Suspended);
    change_tenant(&store, "a", TenantStatus::Active).await;
    bench.elapse_until(over.after(Duration::from_millis(2))).await;
    let views = all_tenants(&other, 2).await;
    let names: Vec<_> = views.iter().map(|view| view.tenant.kept()).collect();
    assert_eq!(names, ["(c", "[d", "a", "a:1", "b", "~"], "one that was changed stays known");
}

async fn all_tenants(store: &SharedStore, limit: usize) -> Vec<TenantView> {
    let mut tenants = Vec::new();
    let mut after = None;
    loop {
        let page = store.tenants(after.as_ref(), limit).await.unwrap();
        assert!(page.items.len() <= limit);
        tenants.extend(page.items);
        after = page.next;
        if after.is_none() {
            return tenants;
        }
    }
}

async fn all_sessions(store: &SharedStore, of: &SessionsOf, limit: usize) -> Vec<SessionView> {
    let mut sessions = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = store.sessions(of, after.as_ref(), limit).await.unwrap();
        assert!(page.items.len() <= limit);
        sessions.extend(page.items);
        after = page.next.map(|next| Cursor::parse(&next.to_string()).unwrap());
        if after.is_none() {
            return sessions;
        }
    }
}

pub(crate) async fn a_listing_shows_the_live_sessions_of_a_user_a_tenant_or_all(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let mut expected: [HashSet<SessionId>; 3] = Default::default();
    for (tenant, user) in [("acme", "7"), ("acme", "7"), ("acme", "8"), ("other", "7"), ("acme", "7")] {
        let (id, _) = session_of(&store, tenant, user).await;
        expected[0].insert(id);
        if tenant == "acme" {
            expected[1].insert(id);
        }
        if (tenant, user) == ("acme", "7") {
            expected[2].insert(id);
        }
    }
    let (gone, record) = session(&store).await;
    store.end(gone, &record, EndReason::Logout, &By::Gateway).await.unwrap();
    session_of(&store, "gone", "7").await;
    revoke(&store, Scope::Tenant { tenant: TenantId::parse("gone").unwrap() }, EndReason::TenantRevoked).await;
    let (tenant, user) = (TenantId::parse("acme").unwrap(), UserId::parse("7").unwrap());
    for (of, expected) in [SessionsOf::All, SessionsOf::Tenant(tenant.clone()), SessionsOf::User { tenant, user }]
        .into_iter()
        .zip(expected)
    {
        for limit in [1, 2, 100] {
            let listed = all_sessions(&other, &of, limit).await;
            assert_eq!(listed.len(), expected.len(), "{of:?}");
            assert_eq!(listed.iter().map(|view| view.id).collect::<HashSet<_>>(), expected, "{of:?}");
        }
    }
}

pub(crate) async fn a_user_of_a_kind_is_another_user_than_the_one_with_the_same_id(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let acme = TenantId::parse("acme").unwrap();
    let admin = UserId::parse("1").unwrap().of_kind(Some(&UserKind::parse("admin").unwrap()));
    let user = UserId::parse("1").unwrap();
    let made = async |user: &UserId| {
        let of = Principal { user: user.clone(), ..principal("acme", "1") };
        let limit = SessionLimit { count: NonZeroU16::new(2).unwrap(), action: LimitAction::Deny };
        let new = NewSession { principal: of, limit: Some(limit), ..login(&store).await };
        (new.id, store.create(new).await.unwrap())
    };
    let mut ids = Vec::new();
    for of in [&admin, &admin, &user, &user] {
        let (id, creation) = made(of).await;
        assert!(matches!(creation, Creation::Stored { .. }), "{of:?}: each has a limit of their own");
        assert_eq!(live(&other, id).await.record.principal.user, *of);
        ids.push(id);
    }
    assert_eq!(made(&admin).await.1, Creation::LimitReached);
    for (of, theirs) in [(&admin, &ids[..2]), (&user, &ids[2..])] {
        let of = SessionsOf::User { tenant: acme.clone(), user: of.clone() };
        let listed: HashSet<SessionId> = all_sessions(&other, &of, 10).await.iter().map(|view| view.id).collect();
        assert_eq!(listed, theirs.iter().copied().collect());
    }
    let scope = Scope::OtherSessions { tenant: acme.clone(), user: admin.clone(), keep: Keep::Session(ids[0]) };
    assert_eq!(revoke(&store, scope, EndReason::UserOthersRevoked).await, 1);
    assert!(is_live(&ask(&other, ids[0]).await) && !is_live(&ask(&other, ids[1]).await));
    let scope = Scope::User { tenant: acme.clone(), user: admin };
    assert_eq!(revoke(&store, scope, EndReason::UserRevoked).await, 1);
    assert!(is_live(&ask(&other, ids[2]).await) && is_live(&ask(&other, ids[3]).await), "user 1 is not admin 1");
    assert_eq!(revoke(&store, Scope::User { tenant: acme, user }, EndReason::UserRevoked).await, 2);
}

pub(crate) async fn users_without_a_tenant_are_kept_apart_from_those_of_every_tenant(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let none = TenantId::none();
    let made = async |user: &str| {
        let of = Principal { tenant: TenantId::none(), ..principal("acme", user) };
        let new = NewSession { principal: of, ..login(&store).await };
        (new.id, stored(&store, new).await)
    };
    let ((first, record), (second, _)) = (made("7").await, made("8").await);
    let (of_acme, _) = session_of(&store, "acme", "7").await;
    assert_eq!(*live(&other, first).await.record, record);
    let views = all_tenants(&other, 1).await;
    let counts: Vec<_> = views.iter().map(|view| (view.tenant.shown(), view.sessions)).collect();
    assert_eq!(counts, [(",", 2), ("acme", 1)]);
    assert_eq!(all_sessions(&other, &SessionsOf::All, 1).await.len(), 3);
    assert_eq!(all_sessions(&other, &SessionsOf::Tenant(none.clone()), 10).await.len(), 2);
    let scope = Scope::User { tenant: none.clone(), user: UserId::parse("7").unwrap() };
    assert_eq!(revoke(&store, scope, EndReason::UserRevoked).await, 1);
    assert!(!is_live(&ask(&other, first).await));
    assert!(is_live(&ask(&other, second).await) && is_live(&ask(&other, of_acme).await));
    assert_eq!(revoke(&store, Scope::Tenant { tenant: none }, EndReason::TenantRevoked).await, 1);
    assert!(!is_live(&ask(&other, second).await) && is_live(&ask(&other, of_acme).await));
}

pub(crate) async fn a_listed_session_says_when_it_was_seen_and_when_it_ends(bench: &mut impl Bench) {
    let store = bench.store();
    let (id, record) = session(&store).await;
    let used = record.created.after(Duration::from_secs(600));
    assert!(touch(&store, Touch { id, deadline: record.idle.unwrap().deadline_of_use_at(used) }).await);
    let never = NewSession { idle: None, principal: principal("acme", "8"), ..login(&store).await };
    stored(&store, never).await;
    let listed = all_sessions(&store, &SessionsOf::All, 10).await;
    let view = listed.iter().find(|view| view.id == id).unwrap();
    assert_eq!(*view.record, record);
    assert_eq!(view.record.user_agent.summary.as_str(), "curl");
    assert_eq!(view.last_seen.map(in_millis), Some(in_millis(used)));
    assert_eq!(view.idle_expiry.map(in_millis), Some(in_millis(used.after(Duration::from_secs(1800)))));
    let never = listed.iter().find(|view| view.id != id).unwrap();
    assert_eq!((never.last_seen, never.idle_expiry), (None, None));
}

pub(crate) async fn what_lives_through_a_listing_is_listed_once_while_sessions_come_and_go(bench: &mut impl Bench) {
    let store = bench.store();
    let mut lasting = HashSet::new();
    let mut passing = Vec::new();
    for n in 0..120 {
        let tenant = ["acme", "bolt", "core"][n % 3];
        let (id, record) = session_of(&store, tenant, &(n % 4).to_string()).await;
        if n % 2 == 0 {
            lasting.insert(id);
        } else {
            passing.push((id, record));
        }
    }
    let mut listed = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = store.sessions(&SessionsOf::All, after.as_ref(), 7).await.unwrap();
        listed.extend(page.items.into_iter().map(|view| view.id));
        let Some(next) = page.next else { break };
        after = Some(next);
        // The one that the next page begins after may go, some become shorter, and others come.
        for _ in 0..3 {
            let Some((id, record)) = passing.pop() else { continue };
            store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap();
        }
        if let Some((id, record)) = passing.last() {
            let lower = SessionRecord { deadline: record.deadline.before(HOUR), ..record.clone() };
            store.tighten(*id, &lower, record.created.after(HOUR)).await.unwrap();
        }
        session_of(&store, ["acme", "bolt", "core"][listed.len() % 3], "9").await;
    }
    let once: HashSet<SessionId> = listed.iter().copied().collect();
    assert_eq!(once.len(), listed.len(), "none is listed twice");
    assert!(lasting.is_subset(&once));
}

pub(crate) async fn tightening_sets_lower_limits_exactly(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let (id, record) = session(&store).await;
    let lower = SessionRecord { deadline: record.created.after(2 * HOUR), idle: idle(60_000), ..record.clone() };
    let deadline = in_millis(record.created.after(Duration::from_secs(62)));
    assert!(store.tighten(id, &lower, deadline).await.unwrap());
    let now = live(&other, id).await;
    assert_eq!((now.record, now.touch_deadline), (Arc::new(lower.clone()), deadline));
    assert!(store.end(id, &lower, EndReason::Logout, &By::Gateway).await.unwrap());
}

pub(crate) async fn tightening_neither_revives_nor_makes_a_session(bench: &mut impl Bench) {
    let store = bench.store();
    let (id_of_ended, record) = session(&store).await;
    let deadline = record.created.after(HOUR);
    store.end(id_of_ended, &record, EndReason::Logout, &By::Gateway).await.unwrap();
    assert!(!store.tighten(id_of_ended, &record, deadline).await.unwrap());
    assert_eq!(over(ask(&store, id_of_ended).await), Some((EndReason::Logout, true)));
    let unknown = id();
    assert!(!store.tighten(unknown, &record, deadline).await.unwrap());
    assert_eq!(ask(&store, unknown).await, Standing::Absent);
    let new = NewSession { idle: idle(100), principal: principal("acme", "9"), ..login(&store).await };
    let (unused, record) = (new.id, stored(&store, new).await);
    bench.elapse(Duration::from_millis(105)).await;
    assert!(!store.tighten(unused, &record, deadline).await.unwrap());
    assert_eq!(over(ask(&store, unused).await), Some((EndReason::IdleTimeout, false)));
}

pub(crate) async fn the_stores_time_never_steps_back(bench: &mut impl Bench) {
    let store = bench.store();
    let (id, record) = session(&store).await;
    let margin = record.idle.unwrap().margin();
    let mut last = store.now().await.unwrap();
    for _ in 0..50 {
        let Standing::Live(read) = store.read(id).await.unwrap() else { panic!("not live") };
        // What is known without asking is of that time or a little earlier, as much as the idle limit keeps in hand.
        let known = store.known(id, STALE_AT_MOST).map(|known| known.standing);
        let now = store.now().await.unwrap();
        assert!(last <= read.now && read.now <= now);
        if let Some(Standing::Live(known)) = known {
            assert!(read.now <= known.now.after(margin) && known.now <= now);
        }
        last = now;
        bench.elapse(Duration::from_micros(100)).await;
    }
}

pub(crate) async fn a_store_that_works_says_so(bench: &mut impl Bench) {
    bench.store().check().await.unwrap();
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// What must be so, reckoned apart from any store.
#[derive(Default)]
struct Oracle {
    /// Sessions that live, and whose they are.
    live: HashMap<SessionId, (&'static str, &'static str, SessionRecord)>,
    dead: Vec<(SessionId, SessionRecord)>,
    /// Logins under way, and whether something that was acknowledged since overtook them.
    begun: Vec<(NewSession, &'static str, &'static str, bool)>,
    shut_out: HashSet<&'static str>,
}

impl Oracle {
    /// Ends what fits; answers how many.
    fn end(&mut self, fits: impl Fn(&SessionId, &str, &str) -> bool) -> u64 {
        let ended: Vec<SessionId> =
            self.live.iter().filter(|(id, of)| fits(id, of.0, of.1)).map(|(id, _)| *id).collect();
        for id in &ended {
            let (_, _, record) = self.live.remove(id).unwrap();
            self.dead.push((*id, record));
        }
        u64::try_from(ended.len()).unwrap()
    }

    fn overtake(&mut self, fits: impl Fn(&str, &str) -> bool) {
        for (_, tenant, user, overtaken) in &mut self.begun {
            *overtaken |= fits(tenant, user);
        }
    }
}

pub(crate) async fn whatever_the_order_nothing_that_began_before_a_revocation_lives_after_it(bench: &mut impl Bench) {
    const TENANTS: [&str; 2] = ["acme", "bolt"];
    const USERS: [&str; 3] = ["1", "2", "3"];
    for seed in 1..=6_u64 {
        let stores = [bench.store(), bench.other_instance().await];
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut oracle = Oracle::default();
        for _ in 0..300 {
            let (tenant, user, store) = (TENANTS[dice.throw(2)], USERS[dice.throw(3)], &stores[dice.throw(2)]);
            let named = TenantId::parse(tenant).unwrap();
            match dice.throw(20) {
                0..=5 => {
                    let new = NewSession { principal: principal(tenant, user), ..login(store).await };
                    oracle.begun.push((new, tenant, user, false));
                }
                6..=11 if !oracle.begun.is_empty() => {
                    let at = dice.throw(oracle.begun.len());
                    let (new, tenant, user, overtaken) = oracle.begun.swap_remove(at);
                    let id = new.id;
                    match store.create(new).await.unwrap() {
                        Creation::Stored { record, .. } => {
                            assert!(!overtaken && !oracle.shut_out.contains(tenant), "seed {seed}");
                            oracle.live.insert(id, (tenant, user, record));
                        }
                        Creation::Superseded => assert!(overtaken, "seed {seed}"),
                        Creation::TenantRefused(_) => assert!(oracle.shut_out.contains(tenant), "seed {seed}"),
                        Creation::LimitReached => panic!("there is no limit"),
                    }
                }
                12 | 13 => {
                    if let Some((id, record)) = oracle.dead.last() {
                        let deadline = record.created.after(2 * HOUR);
                        assert!(!touch(store, Touch { id: *id, deadline }).await, "seed {seed}");
                    }
                }
                14 => {
                    if let Some((id, record)) = oracle.live.iter().next().map(|(id, of)| (*id, of.2.clone())) {
                        assert!(store.end(id, &record, EndReason::Logout, &By::Gateway).await.unwrap());
                        oracle.end(|other, _, _| *other == id);
                    }
                }
                15 => {
                    let count = revoke_user(store, tenant, user, EndReason::UserRevoked).await;
                    assert_eq!(count, oracle.end(|_, t, u| (t, u) == (tenant, user)), "seed {seed}");
                    oracle.overtake(|t, u| (t, u) == (tenant, user));
                }
                16 => {
                    let keep = oracle.live.iter().find(|(_, of)| (of.0, of.1) == (tenant, user)).map(|(id, _)| *id);
                    let Some(keep) = keep else { continue };
                    let scope = Scope::OtherSessions {
                        tenant: named,
                        user: UserId::parse(user).unwrap(),
                        keep: Keep::Session(keep),
                    };
                    let count = revoke(store, scope, EndReason::UserOthersRevoked).await;
                    assert_eq!(count, oracle.end(|id, t, u| (t, u) == (tenant, user) && *id != keep), "seed {seed}");
                    oracle.overtake(|t, u| (t, u) == (tenant, user));
                }
                17 => {
                    let count = revoke(store, Scope::Tenant { tenant: named }, EndReason::TenantRevoked).await;
                    assert_eq!(count, oracle.end(|_, t, _| t == tenant), "seed {seed}");
                    oracle.overtake(|t, _| t == tenant);
                }
                18 => {
                    let count = change_tenant(store, tenant, TenantStatus::Suspended).await;
                    assert_eq!(count, oracle.end(|_, t, _| t == tenant), "seed {seed}");
                    oracle.overtake(|t, _| t == tenant);
                    oracle.shut_out.insert(tenant);
                }
                _ => {
                    assert_eq!(change_tenant(store, tenant, TenantStatus::Active).await, 0);
                    if oracle.shut_out.remove(tenant) {
                        oracle.overtake(|t, _| t == tenant);
                    }
                }
            }
            bench.elapse(Duration::from_micros(200)).await;
        }
        for id in oracle.live.keys() {
            live(&stores[0], *id).await;
        }
        for (id, _) in &oracle.dead {
            assert!(!matches!(ask(&stores[1], *id).await, Standing::Live(_)), "seed {seed}");
        }
        let listed: HashSet<SessionId> =
            all_sessions(&stores[1], &SessionsOf::All, 7).await.into_iter().map(|view| view.id).collect();
        assert_eq!(listed, oracle.live.keys().copied().collect(), "seed {seed}");
        for tenant in TENANTS {
            change_tenant(&stores[0], tenant, TenantStatus::Deleted).await;
            change_tenant(&stores[0], tenant, TenantStatus::Active).await;
        }
        bench.elapse(Duration::from_millis(1)).await;
    }
}

/// A token of `acme`'s user that was issued so long before the store's time, and lives an hour.
async fn token(store: &SharedStore, user: &str, age: Duration) -> (SessionId, Arc<SessionRecord>) {
    let issued = store.now().await.unwrap().before(age);
    let record = SessionRecord::of_token(Arc::new(principal("acme", user)), issued, issued.after(HOUR));
    (id(), Arc::new(record))
}

async fn worth(store: &SharedStore, (id, record): &(SessionId, Arc<SessionRecord>)) -> TokenStanding {
    let asked = store.read_token(*id, record).await.unwrap();
    // What is known without asking is no better than that.
    if let Some(known) = store.known_token(*id, record, STALE_AT_MOST) {
        assert!(!matches!(known.standing, TokenStanding::Live(_)) || matches!(asked, TokenStanding::Live(_)));
    }
    asked
}

async fn token_is_live(store: &SharedStore, token: &(SessionId, Arc<SessionRecord>)) -> bool {
    matches!(worth(store, token).await, TokenStanding::Live(_))
}

pub(crate) async fn a_token_is_good_until_it_is_denied_by_one_call_and_then_nowhere(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    for until in [DeniedUntil::At(store.now().await.unwrap().after(HOUR)), DeniedUntil::For(HOUR)] {
        let token = token(&store, "7", Duration::from_secs(60)).await;
        assert!(token_is_live(&store, &token).await && token_is_live(&other, &token).await);
        let owner = Some(token.1.principal.clone());
        let denial = TokenDenial { id: token.0, owner, until, reason: EndReason::Logout };
        assert!(store.deny(&denial, &By::User).await.unwrap());
        let again = TokenDenial { reason: EndReason::Revoked, ..denial };
        assert!(!other.deny(&again, &By::User).await.unwrap(), "one call alone denied it");
        for store in [&store, &other] {
            assert_eq!(worth(store, &token).await, TokenStanding::Revoked(EndReason::Logout));
        }
    }
}

pub(crate) async fn what_has_ended_or_was_denied_is_counted(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    assert_eq!(store.count_ended().await.unwrap(), Some(0));
    let (id, record) = session_of(&store, "acme", "7").await;
    let _lives = session_of(&store, "acme", "8").await;
    assert!(store.end(id, &record, EndReason::Logout, &By::User).await.unwrap());
    assert_eq!(store.count_ended().await.unwrap(), Some(1));
    // More than are gone over at once.
    let denials: Vec<TokenDenial> = (0..600)
        .map(|_| TokenDenial { id: self::id(), owner: None, until: DeniedUntil::For(HOUR), reason: EndReason::Revoked })
        .collect();
    for some in denials.chunks(100) {
        futures_util::future::join_all(some.iter().map(|denial| store.deny(denial, &By::Gateway))).await;
    }
    assert!(!other.deny(&denials[0], &By::Gateway).await.unwrap(), "it is denied already, and counts once");
    for store in [&store, &other] {
        assert_eq!(store.count_ended().await.unwrap(), Some(601));
    }
}

pub(crate) async fn a_denial_holds_until_the_token_is_over_and_is_forgotten_in_time(bench: &mut impl Bench) {
    let store = bench.store();
    let token = token(&store, "7", Duration::from_secs(60)).await;
    let soon = store.now().await.unwrap().after(Duration::from_millis(300));
    let denial = TokenDenial { id: token.0, owner: None, until: DeniedUntil::At(soon), reason: EndReason::Revoked };
    assert!(store.deny(&denial, &By::Gateway).await.unwrap());
    bench.elapse_until(soon.after(Duration::from_millis(200))).await;
    // And an hour more, so that no clock that is behind revives it.
    assert_eq!(worth(&store, &token).await, TokenStanding::Revoked(EndReason::Revoked));
}

pub(crate) async fn a_token_is_refused_that_is_not_younger_than_a_revocation_by_some_seconds(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let (mine, theirs) = (token(&store, "7", Duration::ZERO).await, token(&store, "8", Duration::ZERO).await);
    assert!(token_is_live(&other, &mine).await && token_is_live(&other, &theirs).await);
    revoke_user(&store, "acme", "7", EndReason::UserRevoked).await;
    for store in [&store, &other] {
        assert_eq!(worth(store, &mine).await, TokenStanding::Revoked(EndReason::UserRevoked));
        assert!(token_is_live(store, &theirs).await);
    }
    let now = store.now().await.unwrap();
    let later = now.after(Duration::from_secs(6));
    let record = SessionRecord::of_token(Arc::new(principal("acme", "7")), later, later.after(HOUR));
    assert!(token_is_live(&store, &(id(), Arc::new(record))).await);
    change_tenant(&store, "acme", TenantStatus::Suspended).await;
    for store in [&store, &other] {
        assert_eq!(worth(store, &theirs).await, TokenStanding::TenantRefused(TenantStatus::Suspended));
    }
    change_tenant(&store, "acme", TenantStatus::Active).await;
    assert_eq!(worth(&other, &theirs).await, TokenStanding::Revoked(EndReason::TenantRevoked));
}

pub(crate) async fn a_token_that_ends_all_others_stays_unless_it_was_over(bench: &mut impl Bench) {
    let store = bench.store();
    let (kept, other) = (token(&store, "7", Duration::ZERO).await, token(&store, "7", Duration::ZERO).await);
    let (session, _) = session_of(&store, "acme", "7").await;
    let keep =
        |live: &LiveSession| Keep::Token(Exemption { session: kept.0, generation: live.record.generations.user });
    for _ in 0..2 {
        let TokenStanding::Live(live) = worth(&store, &kept).await else { panic!("it is kept") };
        revoke(&store, others_of_seven(keep(&live)), EndReason::UserOthersRevoked).await;
    }
    assert!(token_is_live(&store, &kept).await && !token_is_live(&store, &other).await);
    assert!(!matches!(ask(&store, session).await, Standing::Live(_)));
    // Somebody ended all in between: what it was seen to be is past.
    let TokenStanding::Live(live) = worth(&store, &kept).await else { panic!("it is kept") };
    revoke_user(&store, "acme", "7", EndReason::UserRevoked).await;
    revoke(&store, others_of_seven(keep(&live)), EndReason::UserOthersRevoked).await;
    assert_eq!(worth(&store, &kept).await, TokenStanding::Revoked(EndReason::UserRevoked));
}

fn others_of_seven(keep: Keep) -> Scope {
    Scope::OtherSessions { tenant: TenantId::parse("acme").unwrap(), user: UserId::parse("7").unwrap(), keep }
}

/// A session with something sealed.
async fn with_sealed(store: &SharedStore, user: &str) -> (SessionId, SessionRecord) {
    let sealed_token = Some(vec![0, 255, 13, 10]);
    let new = NewSession { principal: principal("acme", user), sealed_token, ..login(store).await };
    (new.id, stored(store, new).await)
}

pub(crate) async fn what_is_sealed_for_a_session_is_there_with_it_and_goes_with_it(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let (plain, _) = session(&store).await;
    assert_eq!(store.sealed_token(plain).await.unwrap(), None);
    assert_eq!(store.sealed_token(id()).await.unwrap(), None);
    let (ended, record) = with_sealed(&store, "1").await;
    assert_eq!(other.sealed_token(ended).await.unwrap(), Some(vec![0, 255, 13, 10]));
    assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    assert_eq!(other.sealed_token(ended).await.unwrap(), None);
    let (revoked, _) = with_sealed(&store, "2").await;
    revoke_user(&store, "acme", "2", EndReason::UserRevoked).await;
    assert_eq!(other.sealed_token(revoked).await.unwrap(), None);
    // One that has to go for another.
    let limit = Some(SessionLimit { count: NonZeroU16::MIN, action: LimitAction::RevokeOldest });
    let (displaced, _) = with_sealed(&store, "3").await;
    let new = NewSession { principal: principal("acme", "3"), limit, ..login(&store).await };
    stored(&store, new).await;
    assert_eq!(other.sealed_token(displaced).await.unwrap(), None);
}

pub(crate) async fn what_is_sealed_is_replaced_only_while_it_is_there(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let (id, record) = with_sealed(&store, "1").await;
    assert!(other.replace_sealed_token(id, b"another").await.unwrap());
    assert_eq!(store.sealed_token(id).await.unwrap(), Some(b"another".to_vec()));
    assert!(store.end(id, &record, EndReason::Logout, &By::User).await.unwrap());
    assert!(!other.replace_sealed_token(id, b"a late one").await.unwrap());
    assert_eq!(store.sealed_token(id).await.unwrap(), None);
    let (plain, _) = session(&store).await;
    assert!(!store.replace_sealed_token(plain, b"one that was never there").await.unwrap());
}

pub(crate) async fn a_turn_is_one_holders_until_it_ends_or_is_over(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let (id, _) = session(&store).await;
    let long = Duration::from_secs(60);
    assert!(store.take_turn(id, "one", long).await.unwrap());
    assert!(store.take_turn(id, "one", long).await.unwrap(), "it goes on");
    assert!(!other.take_turn(id, "two", long).await.unwrap());
    other.end_turn(id, "two").await.unwrap();
    assert!(!other.take_turn(id, "two", long).await.unwrap(), "nobody ends another's");
    store.end_turn(id, "one").await.unwrap();
    assert!(other.take_turn(id, "two", Duration::from_millis(50)).await.unwrap());
    bench.elapse(Duration::from_millis(80)).await;
    assert!(store.take_turn(id, "three", long).await.unwrap(), "it is over by itself");
}
