//! Ways in which the cache on a cluster might say yes later than a second after an end: what comes late, in another order, or
//! not at all, while slots move, masters go, and gateways are cut off. Each situation that has a number has it in the design
//! of several nodes (docs/adr/0022).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session_gateway::session::{EndReason, SessionId, SessionRecord};
use session_gateway::store::{Creation, NewSession, SharedStore};

use crate::bench::{login, principal, revoke_user};
use crate::cluster::{Cluster, Failover, Plan, SPARE};
use crate::cluster_cache::{
    apart, becomes_known, cached_store, end, is_known_still, knows, no_yes_later_than_a_second, revoke,
};
use crate::redis::hash;
use crate::relay::Relay;
use crate::sentinel::{never_yes, says_yes, serves_again};
use crate::sharding::{connect, serves, session_on, slot_of_session, slot_of_tenant, tenant_on};
use crate::slot_moves::{UNDER_WAY, begin_to_move, valkey_9};
use crate::topology::{instant, until};

const SECOND: Duration = Duration::from_secs(1);

/// A session, once all masters are there: one that hands a slot over proves nothing for a moment.
async fn session_once_served(
    cluster: &Cluster,
    store: &SharedStore,
    of: (&str, &str),
    node: usize,
) -> (SessionId, SessionRecord) {
    serves(store).await;
    session_on(cluster, store, of, node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_3_a_gateway_that_is_cut_off_with_the_old_master_remembers_nobody_who_is_put_out_elsewhere() {
    let cluster = Cluster::with(Plan { behind_relays: true, ..Plan::default() }).await;
    let store = connect(cluster.settings_with(cluster.apart().0)).await;
    let (other, relays) = apart(&cluster).await;
    let tenant = tenant_on(&cluster, 0);
    let (kept, _) = session_once_served(&cluster, &store, (&tenant, "7"), 0).await;
    let (ended, record) = session_once_served(&cluster, &store, (&tenant, "8"), 0).await;
    let (revoked, _) = session_once_served(&cluster, &store, (&tenant, "9"), 1).await;
    for id in [kept, ended, revoked] {
        becomes_known(&other, id).await;
    }
    cluster.part(&[0]);
    relays[1..].iter().for_each(Relay::cut);
    cluster.becomes_master(Cluster::partner(0)).await;
    serves_again(&store, kept).await;
    end(&store, ended, &record).await;
    revoke(&store, &tenant, "9").await;
    // A second has long gone by since it was cut off.
    tokio::join!(never_yes(&other, ended, 2 * SECOND), never_yes(&other, revoked, 2 * SECOND));
    relays.iter().for_each(Relay::mend);
    cluster.mend();
    serves_again(&other, kept).await;
    tokio::join!(never_yes(&other, ended, SECOND), never_yes(&other, revoked, SECOND));
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_4_while_a_replica_is_dead_the_word_of_the_other_masters_keeps_the_cache() {
    let mut cluster = Cluster::start().await;
    let (store, other) = (connect(cluster.settings()).await, cached_store(cluster.settings()).await);
    let tenant = tenant_on(&cluster, 0);
    let (kept, _) = session_once_served(&cluster, &store, (&tenant, "7"), 0).await;
    becomes_known(&other, kept).await;
    cluster.nodes[Cluster::partner(0)].kill();
    // Its own proofs are over.
    tokio::time::sleep(2 * SECOND).await;
    for user in ["8", "9"] {
        let (ended, record) = session_once_served(&cluster, &store, (&tenant, user), 0).await;
        becomes_known(&other, ended).await;
        let ended_at = end(&store, ended, &record).await;
        no_yes_later_than_a_second(&other, ended, ended_at, 2 * SECOND).await;
    }
    is_known_still(&other, kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_6_a_beat_whose_answer_is_late_says_nothing_of_a_slot_that_was_opened_since() {
    let cluster = Cluster::start().await;
    let store = connect(cluster.settings()).await;
    let (other, relays) = apart(&cluster).await;
    let tenant = tenant_on(&cluster, 0);
    let (tenants, mut later) = (slot_of_tenant(&cluster, &tenant), Duration::ZERO);
    for user in ["5", "6", "7", "8", "9"] {
        let (ended, record) = session_once_served(&cluster, &store, (&tenant, user), 1).await;
        let (revoked, _) = session_once_served(&cluster, &store, (&tenant, user), 1).await;
        becomes_known(&other, ended).await;
        becomes_known(&other, revoked).await;
        // At several moments of a beat, which may be answered already.
        tokio::time::sleep(later).await;
        later += Duration::from_millis(60);
        relays[..2].iter().for_each(Relay::stall_news);
        let slot = slot_of_session(&cluster, ended);
        cluster.open(tenants, 0, 2);
        cluster.open(slot, 1, 2);
        let watching = [(end(&store, ended, &record).await, ended), (revoke(&store, &tenant, user).await, revoked)];
        let watching = watching.map(|(ended, id)| {
            let other = other.clone();
            tokio::spawn(async move { no_yes_later_than_a_second(&other, id, ended, 3 * SECOND).await })
        });
        // The answer comes while its lease would still hold; both stay open.
        tokio::time::sleep(SECOND / 2).await;
        relays[..2].iter().for_each(Relay::let_news_through);
        for one in watching {
            one.await.unwrap();
        }
        for (slot, to) in [(tenants, 0), (slot, 1)] {
            while cluster.carry(slot, to, 2, 10) > 0 {}
            cluster.assign(slot, 2);
        }
        cluster.move_slot(tenants, 0);
        tokio::join!(never_yes(&other, ended, SECOND / 4), never_yes(&other, revoked, SECOND / 4));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_9_what_a_master_tells_and_does_not_come_is_missed_although_its_answers_do() {
    let cluster = Cluster::start().await;
    let store = connect(cluster.settings()).await;
    let (other, relays) = apart(&cluster).await;
    let (tenant, there) = (tenant_on(&cluster, 0), tenant_on(&cluster, 2));
    let (elsewhere, _) = session_once_served(&cluster, &store, (&there, "7"), 1).await;
    for (round, user) in ["6", "7", "8", "9"].into_iter().enumerate() {
        let (ended, record) = session_once_served(&cluster, &store, (&there, user), 0).await;
        let (revoked, _) = session_once_served(&cluster, &store, (&tenant, user), 1).await;
        for id in [ended, revoked, elsewhere] {
            becomes_known(&other, id).await;
        }
        relays[0].withhold_news();
        let (ended_at, revoked_at) = (end(&store, ended, &record).await, revoke(&store, &tenant, user).await);
        let watching = [(ended_at, ended), (revoked_at, revoked)].map(|(ended, id)| {
            let other = other.clone();
            tokio::spawn(async move { no_yes_later_than_a_second(&other, id, ended, 3 * SECOND).await })
        });
        if round % 2 == 1 {
            // They come after answers that came after them.
            tokio::time::sleep(SECOND / 2).await;
            relays[0].let_news_through();
        }
        for one in watching {
            one.await.unwrap();
        }
        is_known_still(&other, elsewhere).await;
        relays[0].let_news_through();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_9_what_is_ended_while_nobody_hears_of_it_is_no_yes_once_somebody_hears_again() {
    let cluster = Cluster::start().await;
    let (store, other) = (connect(cluster.settings()).await, cached_store(cluster.settings()).await);
    let tenant = tenant_on(&cluster, 0);
    for round in 0..10 {
        let (ended, record) = session_once_served(&cluster, &store, (&tenant, "8"), 0).await;
        becomes_known(&other, ended).await;
        let hangs_up = || {
            let clients = cluster.nodes[0].cli(&["CLIENT", "LIST"]);
            let trackers = clients.lines().filter(|line| line.contains(" flags=tB "));
            for id in trackers.filter_map(|line| line.split(' ').next()?.strip_prefix("id=")) {
                cluster.nodes[0].cli(&["CLIENT", "KILL", "ID", id]);
            }
        };
        if round % 2 == 0 {
            hangs_up();
        }
        let ended_at = end(&store, ended, &record).await;
        if round % 2 == 1 {
            hangs_up();
        }
        no_yes_later_than_a_second(&other, ended, ended_at, 3 * SECOND / 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_9_a_master_that_keeps_no_table_of_who_hears_what_tells_of_everything_all_the_same() {
    let cluster = Cluster::start().await;
    for node in &cluster.nodes {
        assert_eq!(node.cli(&["CONFIG", "SET", "tracking-table-max-keys", "1"]), "OK");
    }
    let (store, other) = (connect(cluster.settings()).await, cached_store(cluster.settings()).await);
    let tenant = tenant_on(&cluster, 0);
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(session_once_served(&cluster, &store, (&tenant, "8"), 0).await);
    }
    let (kept, _) = session_once_served(&cluster, &store, (&tenant, "7"), 0).await;
    for (id, _) in &sessions {
        becomes_known(&other, *id).await;
    }
    becomes_known(&other, kept).await;
    for (id, record) in &sessions {
        let ended = end(&store, *id, record).await;
        no_yes_later_than_a_second(&other, *id, ended, SECOND / 2).await;
        assert!(!knows(&other, *id));
    }
    is_known_still(&other, kept).await;
    revoke(&store, &tenant, "7").await;
    tokio::time::sleep(SECOND).await;
    never_yes(&other, kept, SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_reset_or_forgets_its_slots_takes_what_was_known_of_it_with_it() {
    let cluster =
        Cluster::with(Plan { arguments: &["--cluster-require-full-coverage", "no"], ..Plan::default() }).await;
    let (store, other) = (connect(cluster.settings()).await, cached_store(cluster.settings()).await);
    let (tenant, there) = (tenant_on(&cluster, 0), tenant_on(&cluster, 2));
    let (lost, _) = session_once_served(&cluster, &store, (&tenant, "7"), 1).await;
    let (gone, _) = session_once_served(&cluster, &store, (&there, "7"), 0).await;
    let (stays, _) = session_once_served(&cluster, &store, (&there, "7"), 1).await;
    for id in [lost, gone, stays] {
        becomes_known(&other, id).await;
    }
    let slot = slot_of_session(&cluster, gone).to_string();
    assert_eq!(cluster.nodes[0].cli(&["CLUSTER", "DELSLOTS", &slot]), "OK");
    no_yes_later_than_a_second(&other, gone, instant(), 2 * SECOND).await;
    becomes_known(&other, lost).await;
    // Only a master without keys is reset, and gateways write some.
    until("the reset", || {
        cluster.nodes[0].cli(&["FLUSHALL"]) == "OK"
            && cluster.nodes[0].try_cli(&["CLUSTER", "RESET", "SOFT"]).is_some_and(|told| told == "OK")
    })
    .await;
    no_yes_later_than_a_second(&other, lost, instant(), 3 * SECOND).await;
    is_known_still(&other, stays).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_was_frozen_for_a_moment_and_followed_by_nobody_makes_nothing_known_of_before_it() {
    // Nobody is elected meanwhile.
    let cluster = Cluster::with(Plan { node_timeout: 60_000, ..Plan::default() }).await;
    let (store, other) = (connect(cluster.settings()).await, cached_store(cluster.settings()).await);
    let (tenant, there) = (tenant_on(&cluster, 0), tenant_on(&cluster, 2));
    for (user, millis) in [("6", 300), ("7", 700), ("8", 1_100), ("9", 2_500)] {
        let (ended, record) = session_once_served(&cluster, &store, (&tenant, user), 1).await;
        let (also, its) = session_once_served(&cluster, &store, (&there, user), 0).await;
        becomes_known(&other, ended).await;
        becomes_known(&other, also).await;
        cluster.nodes[0].freeze();
        // The tenant of one is there, and the other one's record: both ends wait.
        let thaws = async {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            cluster.nodes[0].thaw();
        };
        let (ended_at, also_at, ()) = tokio::join!(end(&store, ended, &record), end(&store, also, &its), thaws);
        tokio::join!(
            no_yes_later_than_a_second(&other, ended, ended_at, 3 * SECOND),
            no_yes_later_than_a_second(&other, also, also_at, 3 * SECOND),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_a_user_is_out_once_that_one_is_revoked_late_as_of_a_moment_in_time() {
    let cluster = Cluster::start().await;
    let (store, other) = (connect(cluster.settings()).await, cached_store(cluster.settings()).await);
    let (left, to) = (tenant_on(&cluster, 0), tenant_on(&cluster, 2));
    let (old, its) = session_once_served(&cluster, &store, (&left, "7"), 1).await;
    let new = NewSession { principal: principal(&to, "8"), ..login(&store).await };
    let id = new.id;
    let creation = store.rotate(old, &its, new, SECOND / 10).await.unwrap();
    let Creation::Stored { record, .. } = creation else { panic!("{creation:?}") };
    tokio::time::sleep(SECOND / 5).await;
    becomes_known(&other, id).await;
    // As a journal does it, after a failover that had lost it: nobody is told but by the key.
    let key = format!("sg:u:{{{}}}:{}", hash(&left), hash("7"));
    let moment = record.line.as_ref().unwrap().until.as_micros().to_string();
    assert_eq!(cluster.nodes[0].cli(&["SET", &key, &moment]), "OK");
    no_yes_later_than_a_second(&other, id, instant(), 2 * SECOND).await;
    assert_eq!(says_yes(&other, id).await, Some(false), "else the test shows nothing");
}

/// Numbers without an order, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn node(&mut self) -> usize {
        usize::try_from(self.below(3)).unwrap()
    }

    async fn pause(&mut self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(self.below(millis))).await;
    }
}

/// A slot goes to and fro, with its keys or some of them, and is left open now and then.
async fn shift(cluster: &Cluster, slot: u16, numbers: &mut Numbers) {
    for _ in 0..4 {
        let (from, to) = (cluster.owner(slot), numbers.node());
        numbers.pause(150).await;
        if from == to {
            continue;
        }
        cluster.open(slot, from, to);
        numbers.pause(150).await;
        cluster.carry(slot, from, to, 1);
        numbers.pause(150).await;
        while cluster.carry(slot, from, to, 10) > 0 {}
        numbers.pause(100).await;
        cluster.assign(slot, to);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_slots_move_and_whatever_news_are_late_nobody_who_was_put_out_is_known_a_second_later() {
    const ROUNDS: u64 = 12;
    let cluster = Cluster::start().await;
    let store = connect(cluster.settings()).await;
    let (stalled, relays) = apart(&cluster).await;
    let hears = cached_store(cluster.settings()).await;
    for round in 0..ROUNDS {
        let mut numbers = Numbers(round + 1);
        let tenant = tenant_on(&cluster, numbers.node());
        let user = format!("u{round}");
        let (ended, record) = session_once_served(&cluster, &store, (&tenant, &user), numbers.node()).await;
        let (revoked, _) = session_once_served(&cluster, &store, (&tenant, &user), numbers.node()).await;
        for store in [&stalled, &hears] {
            becomes_known(store, ended).await;
            becomes_known(store, revoked).await;
        }
        let slots = [slot_of_session(&cluster, ended), slot_of_tenant(&cluster, &tenant)];
        let over = AtomicBool::new(false);
        let moving = async {
            let [mut one, mut two] = [100, 200].map(|seed| Numbers(seed + round));
            for (slot, numbers) in slots.into_iter().zip([&mut one, &mut two]) {
                shift(&cluster, slot, numbers).await;
            }
        };
        let stalling = async {
            let mut numbers = Numbers(300 + round);
            while !over.load(Ordering::Relaxed) {
                let relay = &relays[numbers.node()];
                if numbers.below(2) == 0 {
                    relay.stall_news();
                } else {
                    relay.withhold_news();
                }
                numbers.pause(500).await;
                relay.let_news_through();
                numbers.pause(500).await;
            }
            relays.iter().for_each(Relay::let_news_through);
        };
        let putting_out = async {
            numbers.pause(800).await;
            let ended_at = end(&store, ended, &record).await;
            let watched = [&stalled, &hears].map(|store| {
                let store = store.clone();
                tokio::spawn(async move { no_yes_later_than_a_second(&store, ended, ended_at, 3 * SECOND).await })
            });
            numbers.pause(400).await;
            let revoked_at = revoke(&store, &tenant, &user).await;
            tokio::join!(
                no_yes_later_than_a_second(&stalled, revoked, revoked_at, 3 * SECOND),
                no_yes_later_than_a_second(&hears, revoked, revoked_at, 3 * SECOND),
            );
            for one in watched {
                one.await.unwrap();
            }
            over.store(true, Ordering::Relaxed);
        };
        tokio::join!(moving, stalling, putting_out);
        for store in [&stalled, &hears] {
            tokio::join!(never_yes(store, ended, SECOND / 5), never_yes(store, revoked, SECOND / 5));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_while_a_slot_moves_makes_nobody_known_who_was_put_out_meanwhile() {
    let cluster = Cluster::start().await;
    let (store, other) = (connect(cluster.settings()).await, cached_store(cluster.settings()).await);
    let tenant = tenant_on(&cluster, 0);
    let slot = slot_of_tenant(&cluster, &tenant);
    let (revoked, _) = session_once_served(&cluster, &store, (&tenant, "9"), 1).await;
    becomes_known(&other, revoked).await;
    cluster.open(slot, 0, 2);
    let revoked_at = revoke(&store, &tenant, "9").await;
    while cluster.carry(slot, 0, 2, 10) > 0 {}
    let watched = other.clone();
    let watching =
        tokio::spawn(async move { no_yes_later_than_a_second(&watched, revoked, revoked_at, 4 * SECOND).await });
    // Who gets it is followed before it has it.
    cluster.fail_over(Cluster::partner(2), Failover::Orderly).await;
    watching.await.unwrap();
    assert_ne!(says_yes(&other, revoked).await, Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_8_who_is_put_out_while_slots_move_with_all_their_keys_at_once_is_not_known_a_second_later() {
    let Some(program) = valkey_9() else { return };
    let mut cluster = Cluster::with(Plan { has_spare: true, program, ..Plan::default() }).await;
    let store = connect(cluster.settings()).await;
    let (other, relays) = apart(&cluster).await;
    let tenant = tenant_on(&cluster, 0);
    let slot = slot_of_tenant(&cluster, &tenant);
    for (user, to, stalled) in [("4", 2, None), ("5", 0, Some(0)), ("6", 1, Some(0)), ("7", 0, Some(1))] {
        let (ended, record) = session_once_served(&cluster, &store, (&tenant, user), 1).await;
        let (revoked, _) = session_once_served(&cluster, &store, (&tenant, user), 1).await;
        becomes_known(&other, ended).await;
        becomes_known(&other, revoked).await;
        if let Some(node) = stalled {
            relays[node].stall_news();
        }
        let from = cluster.owner(slot);
        cluster.migrate(slot, from, to);
        let its = slot_of_session(&cluster, ended);
        cluster.migrate(its, 1, 2);
        until("the slots to move", || cluster.has(to, slot) && cluster.has(2, its)).await;
        let (revoked_at, ended_at) = (revoke(&store, &tenant, user).await, end(&store, ended, &record).await);
        tokio::join!(
            no_yes_later_than_a_second(&other, ended, ended_at, 2 * SECOND),
            no_yes_later_than_a_second(&other, revoked, revoked_at, 2 * SECOND),
        );
        relays.iter().for_each(Relay::let_news_through);
    }
    // What is called off, and what fails. Such a move takes long if the slot has much.
    let filler = format!("sg:f:{{{}}}", hash(&tenant));
    assert_eq!(cluster.nodes[0].cli(&["DEBUG", "POPULATE", "1000", &filler, "100"]), "OK");
    for user in ["8", "9"] {
        let (revoked, _) = session_once_served(&cluster, &store, (&tenant, user), 1).await;
        becomes_known(&other, revoked).await;
        begin_to_move(&cluster, slot, 0, SPARE).await;
        is_known_still(&other, revoked).await;
        let revoked_at = revoke(&store, &tenant, user).await;
        if user == "8" {
            assert_eq!(cluster.nodes[0].cli(&["CLUSTER", "CANCELSLOTMIGRATIONS"]), "OK");
        } else {
            cluster.nodes[SPARE].kill();
        }
        no_yes_later_than_a_second(&other, revoked, revoked_at, 2 * SECOND).await;
        until("the move to be over", || {
            !cluster.nodes[0].cli(&["CLUSTER", "GETSLOTMIGRATIONS"]).lines().any(|state| UNDER_WAY.contains(&state))
        })
        .await;
    }
    let (again, _) = session_once_served(&cluster, &store, (&tenant, "1"), 1).await;
    becomes_known(&other, again).await;
    assert_eq!(revoke_user(&store, &tenant, "1", EndReason::UserRevoked).await, 1);
    no_yes_later_than_a_second(&other, again, instant(), SECOND).await;
}
