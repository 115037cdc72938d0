//! Holds, sentence by sentence. Each runs on every store (see `main.rs`).

use std::num::NonZeroU16;
use std::time::Duration;

use session_gateway::session::{
    By, EndReason, Ended, HoldWord, LimitAction, SessionId, SessionLimit, SessionRecord, Standing, TenantId,
    TenantStatus, UserId, Words,
};
use session_gateway::store::{Creation, NewSession, Said, SessionsOf, SharedStore, Touch};

use crate::bench::{
    Bench, HOUR, ask, change_tenant, id, idle, in_millis, live, login, revoke_user, session, session_of, stored,
};

/// How often what may go either way is tried.
const TRIES: usize = 50;

fn hold_for(why: &str) -> HoldWord {
    HoldWord::Hold(Words::parse(why).unwrap())
}

async fn say(store: &SharedStore, of: &(SessionId, SessionRecord), word: &HoldWord) -> Said {
    store.hold(of.0, &of.1, word, &By::Gateway).await.unwrap()
}

/// Why a session is held, if it is.
async fn held_for(store: &SharedStore, id: SessionId) -> Option<String> {
    match ask(store, id).await {
        Standing::Held(held) => Some(held.hold.why.as_str().to_owned()),
        Standing::Live(_) => None,
        over => panic!("{over:?}"),
    }
}

async fn reason(store: &SharedStore, id: SessionId) -> EndReason {
    match ask(store, id).await {
        Standing::Ended(Ended { reason, .. }) => reason,
        other => panic!("not over: {other:?}"),
    }
}

pub(crate) async fn a_held_session_is_live_for_no_instance_and_goes_on_where_it_was(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let of = session(&store).await;
    let before = live(&other, of.0).await;
    let said = store.now().await.unwrap();
    assert_eq!(say(&store, &of, &hold_for("IMPOSSIBLE_TRAVEL")).await, Said::News);
    for store in [&store, &other] {
        let Standing::Held(held) = ask(store, of.0).await else { panic!("it is held") };
        assert_eq!(held.hold.why.as_str(), "IMPOSSIBLE_TRAVEL");
        assert!(held.hold.since >= said && held.hold.since <= store.now().await.unwrap());
        assert_eq!((&*held.live.record, held.live.touch_deadline), (&of.1, before.touch_deadline));
    }
    assert_eq!(say(&other, &of, &HoldWord::Release).await, Said::News);
    for store in [&store, &other] {
        let after = live(store, of.0).await;
        assert_eq!((&*after.record, after.touch_deadline), (&of.1, before.touch_deadline));
    }
}

pub(crate) async fn whoever_holds_or_releases_is_heard_by_all(bench: &mut impl Bench) {
    let stores = [bench.store(), bench.other_instance().await, bench.other_instance().await];
    let of = session(&stores[0]).await;
    for round in 0..TRIES {
        for store in &stores {
            live(store, of.0).await;
        }
        assert_eq!(say(&stores[round % 3], &of, &hold_for("x")).await, Said::News, "{round}");
        for store in &stores {
            assert_eq!(held_for(store, of.0).await.as_deref(), Some("x"), "{round}");
        }
        assert_eq!(say(&stores[(round + 1) % 3], &of, &HoldWord::Release).await, Said::News, "{round}");
    }
}

pub(crate) async fn what_is_held_stays_held_for_its_first_reason_and_the_last_word_counts(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let of = session(&store).await;
    assert_eq!(say(&store, &of, &HoldWord::Release).await, Said::Nothing, "it was not held");
    assert_eq!(say(&store, &of, &hold_for("first")).await, Said::News);
    assert_eq!(say(&other, &of, &hold_for("second")).await, Said::Nothing);
    assert_eq!(held_for(&store, of.0).await.as_deref(), Some("first"));
    assert_eq!(say(&other, &of, &HoldWord::Release).await, Said::News);
    assert_eq!(say(&store, &of, &HoldWord::Release).await, Said::Nothing);
    assert_eq!(say(&store, &of, &hold_for("third")).await, Said::News);
    assert_eq!(held_for(&other, of.0).await.as_deref(), Some("third"));
}

pub(crate) async fn a_held_session_ends_as_ever_and_is_counted(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let of = session(&store).await;
    say(&store, &of, &hold_for("x")).await;
    assert!(store.end(of.0, &of.1, EndReason::Logout, &By::User).await.unwrap(), "it was not over");
    assert_eq!(reason(&other, of.0).await, EndReason::Logout);
    for word in [hold_for("y"), HoldWord::Release] {
        assert_eq!(say(&other, &of, &word).await, Said::Over);
        assert_eq!(reason(&store, of.0).await, EndReason::Logout, "and stays so");
    }
    let of = session_of(&store, "acme", "8").await;
    say(&store, &of, &hold_for("x")).await;
    assert_eq!(revoke_user(&other, "acme", "8", EndReason::UserRevoked).await, 1);
    assert_eq!(reason(&store, of.0).await, EndReason::UserRevoked);
    let of = session_of(&store, "bolt", "8").await;
    say(&store, &of, &hold_for("x")).await;
    assert_eq!(change_tenant(&other, "bolt", TenantStatus::Suspended).await, 1);
    assert!(matches!(ask(&store, of.0).await, Standing::Ended(_)));
}

pub(crate) async fn time_ends_a_held_session_and_nothing_keeps_it_alive(bench: &mut impl Bench) {
    let store = bench.store();
    let new = NewSession { idle: idle(1_500), ..login(&store).await };
    let of = (new.id, stored(&store, new).await);
    say(&store, &of, &hold_for("x")).await;
    held_for(&store, of.0).await;
    bench.elapse(Duration::from_millis(1_600)).await;
    assert_eq!(reason(&store, of.0).await, EndReason::IdleTimeout);
    assert!(store.note_end(of.0, &of.1, EndReason::IdleTimeout).await.unwrap(), "noted by the first");
    let new = NewSession { idle: None, absolute: Duration::from_millis(1_500), ..login(&store).await };
    let of = (new.id, stored(&store, new).await);
    say(&store, &of, &hold_for("x")).await;
    bench.elapse_until(of.1.deadline.after(Duration::from_millis(1))).await;
    assert_eq!(reason(&store, of.0).await, EndReason::Expired);
    say(&store, &of, &HoldWord::Release).await;
    assert_eq!(reason(&store, of.0).await, EndReason::Expired, "a release brings nothing back");
}

pub(crate) async fn a_held_session_takes_its_place_and_is_listed_as_held(bench: &mut impl Bench) {
    let store = bench.store();
    let of = session(&store).await;
    say(&store, &of, &hold_for("a laptop, lost")).await;
    let user = SessionsOf::User { tenant: TenantId::parse("acme").unwrap(), user: UserId::parse("7").unwrap() };
    let page = store.sessions(&user, None, 10).await.unwrap();
    let shown: Vec<_> =
        page.items.iter().map(|view| (view.id, view.hold.as_ref().map(|hold| hold.why.as_str()))).collect();
    assert_eq!(shown, [(of.0, Some("a laptop, lost"))]);
    assert_eq!(store.tenant(&TenantId::parse("acme").unwrap()).await.unwrap().sessions, 1);
    let limit = |action| Some(SessionLimit { count: NonZeroU16::new(1).unwrap(), action });
    let beyond = NewSession { limit: limit(LimitAction::Deny), ..login(&store).await };
    assert_eq!(store.create(beyond).await.unwrap(), Creation::LimitReached);
    let instead = NewSession { limit: limit(LimitAction::Deny), replaces: Some(of.0), ..login(&store).await };
    stored(&store, instead).await;
    let displaces = NewSession { limit: limit(LimitAction::RevokeOldest), ..login(&store).await };
    let Creation::Stored { displaced, .. } = store.create(displaces).await.unwrap() else { panic!("it is stored") };
    assert!(displaced.iter().any(|(id, _)| *id == of.0), "{displaced:?}");
    assert_eq!(reason(&store, of.0).await, EndReason::Limit);
}

pub(crate) async fn a_hold_is_on_all_tokens_of_a_session_also_on_those_to_come(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    for at in [0, 1] {
        let first = session(&store).await;
        let new = login(&store).await;
        let second_id = new.id;
        let Creation::Stored { record, .. } = store.rotate(first.0, &first.1, new, HOUR).await.unwrap() else {
            panic!("it goes on")
        };
        let tokens = [first, (second_id, record)];
        for (id, _) in &tokens {
            live(&other, *id).await;
        }
        assert_eq!(say(&store, &tokens[at], &hold_for("x")).await, Said::News);
        for (id, _) in &tokens {
            assert_eq!(held_for(&other, *id).await.as_deref(), Some("x"), "{at}");
        }
        assert_eq!(say(&other, &tokens[1 - at], &HoldWord::Release).await, Said::News);
        for (id, _) in &tokens {
            live(&store, *id).await;
        }
        // What is under way when the hold comes goes on as held.
        say(&store, &tokens[at], &hold_for("y")).await;
        let new = login(&store).await;
        let third = new.id;
        let rotated = store.rotate(tokens[1].0, &tokens[1].1, new, HOUR).await.unwrap();
        assert!(matches!(rotated, Creation::Stored { .. }), "{rotated:?}");
        assert_eq!(held_for(&other, third).await.as_deref(), Some("y"));
    }
}

pub(crate) async fn lower_limits_and_late_touches_leave_a_held_session_held(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    let of = session(&store).await;
    for round in 0..TRIES {
        let deadline = in_millis(of.1.created.after(HOUR + Duration::from_millis(round as u64)));
        let touching = {
            let (store, id) = (other.clone(), of.0);
            tokio::spawn(async move { store.touch(&[Touch { id, deadline }]).await.unwrap() })
        };
        say(&store, &of, &hold_for("x")).await;
        touching.await.unwrap();
        assert_eq!(held_for(&store, of.0).await.as_deref(), Some("x"), "{round}");
        assert_eq!(held_for(&other, of.0).await.as_deref(), Some("x"), "{round}");
        say(&other, &of, &HoldWord::Release).await;
        live(&store, of.0).await;
    }
    say(&store, &of, &hold_for("x")).await;
    let lower = SessionRecord { deadline: of.1.created.after(HOUR), ..of.1.clone() };
    store.tighten(of.0, &lower, in_millis(of.1.created.after(HOUR))).await.unwrap();
    assert_eq!(held_for(&store, of.0).await.as_deref(), Some("x"));
}

pub(crate) async fn of_holds_and_releases_at_once_each_change_is_told_once(bench: &mut impl Bench) {
    let stores = [bench.store(), bench.other_instance().await, bench.other_instance().await];
    let of = session(&stores[0]).await;
    for round in 0..TRIES {
        let calls = (0..9).map(|n: usize| {
            let (store, of) = (stores[n % 3].clone(), of.clone());
            tokio::spawn(async move {
                let word = if n.is_multiple_of(2) { hold_for("x") } else { HoldWord::Release };
                (word.holds(), say(&store, &of, &word).await)
            })
        });
        let (mut held, mut released) = (0, 0);
        for call in calls.collect::<Vec<_>>() {
            match call.await.unwrap() {
                (true, Said::News) => held += 1,
                (false, Said::News) => released += 1,
                (_, Said::Nothing) => {}
                (_, Said::Over) => panic!("it is not over"),
            }
        }
        let is_held = held_for(&stores[round % 3], of.0).await.is_some();
        assert_eq!(held - released, i32::from(is_held), "round {round}");
        assert!(held >= 1);
        say(&stores[0], &of, &HoldWord::Release).await;
    }
}

pub(crate) async fn a_hold_or_release_that_races_an_end_leaves_it_over(bench: &mut impl Bench) {
    let (store, other) = (bench.store(), bench.other_instance().await);
    for round in 0..TRIES {
        let of = session_of(&store, "acme", &format!("u{round}")).await;
        if round % 2 == 0 {
            say(&store, &of, &hold_for("x")).await;
        }
        let word = if round % 2 == 0 { HoldWord::Release } else { hold_for("x") };
        let saying = {
            let (store, of) = (other.clone(), of.clone());
            tokio::spawn(async move { say(&store, &of, &word).await })
        };
        let user = format!("u{round}");
        let ended = if round % 3 == 0 {
            revoke_user(&store, "acme", &user, EndReason::UserRevoked).await
        } else {
            u64::from(store.end(of.0, &of.1, EndReason::Revoked, &By::Gateway).await.unwrap())
        };
        assert_eq!(ended, 1, "round {round}");
        saying.await.unwrap();
        for store in [&store, &other] {
            assert!(matches!(ask(store, of.0).await, Standing::Ended(_)), "round {round}");
        }
    }
}

pub(crate) async fn holding_what_was_never_made_makes_no_session(bench: &mut impl Bench) {
    let store = bench.store();
    let (_, record) = session(&store).await;
    let nobody = (id(), record);
    say(&store, &nobody, &hold_for("x")).await;
    assert_eq!(ask(&store, nobody.0).await, Standing::Absent);
}
