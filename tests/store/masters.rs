//! Which masters of a cluster are believed, and what an operator is told of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use session_gateway::secret::Secret;
use session_gateway::session::{By, EndReason};
use session_gateway::store::observe::Unobserved;
use session_gateway::store::redis::{RedisSettings, RedisStore};
use session_gateway::store::{Beside, Condition, SharedStore, StoreAddress};

use crate::cluster::{Cluster, Failover, Plan};
use crate::cluster_bench::add_the_manuals_users;
use crate::redis::PASSWORD;
use crate::relay::Relay;
use crate::sentinel::{becomes_replicated, is_replicated, never_yes, says_yes, serves_again};
use crate::sharding::{connect, session_on};
use crate::topology::{instant, until};

/// A gateway and the old master, with some others, are cut off from the rest, where another succeeds.
async fn situation_3(on_their_side: &[usize], succeeds: usize) {
    let cluster = Cluster::with(Plan { behind_relays: true, ..Plan::default() }).await;
    let (there, _theirs) = cluster.apart();
    let (beside, relays) = cluster.apart();
    let store = connect(cluster.settings_with(there)).await;
    let apart = connect(cluster.settings_with(beside)).await;
    let (kept, _) = session_on(&cluster, &store, ("acme", "7"), 0).await;
    let (ended, record) = session_on(&cluster, &store, ("acme", "8"), 0).await;
    assert_eq!(says_yes(&apart, ended).await, Some(true));
    cluster.part(on_their_side);
    for (number, relay) in relays.iter().enumerate() {
        if !on_their_side.contains(&number) {
            relay.cut();
        }
    }
    cluster.becomes_master(succeeds).await;
    serves_again(&store, kept).await;
    assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    never_yes(&apart, ended, Duration::from_secs(2)).await;
    apart.read(ended).await.expect_err("nobody vouches for its master");
    relays.iter().for_each(Relay::mend);
    cluster.mend();
    never_yes(&apart, ended, Duration::from_secs(3)).await;
    serves_again(&apart, kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_3_a_gateway_that_is_cut_off_with_the_old_master_of_a_cluster_says_no_more() {
    situation_3(&[0], 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_4_while_a_replica_is_dead_the_other_masters_vouch_for_its_master() {
    let mut cluster = Cluster::start().await;
    let store = connect(cluster.settings()).await;
    let (kept, _) = session_on(&cluster, &store, ("acme", "7"), 0).await;
    becomes_replicated(&store).await;
    cluster.nodes[3].kill();
    let begin = instant();
    while begin.elapsed() < Duration::from_secs(3) {
        assert_eq!(says_yes(&store, kept).await, Some(true), "after {:?}", begin.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!is_replicated(&store).await, "not all replicas have it");
    let Condition::GoodBut(warning) = store.check().await.unwrap() else { panic!("no warning") };
    assert!(warning.contains("not all of 1 replicas answer"), "{warning}");
    cluster.nodes[3].launch(&[]);
    becomes_replicated(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_5_a_failover_by_hand_in_a_cluster_revives_nothing_and_logs_nobody_out() {
    let cluster = Cluster::start().await;
    let (store, other) = (connect(cluster.settings()).await, connect(cluster.settings()).await);
    let mut master = 0;
    let (kept, _) = session_on(&cluster, &store, ("acme", "7"), master).await;
    for how in [Failover::Orderly, Failover::Force, Failover::Takeover] {
        let (ended, record) = session_on(&cluster, &store, ("acme", "8"), master).await;
        assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
        becomes_replicated(&store).await;
        let to = Cluster::partner(master);
        cluster.fail_over(to, how).await;
        let begin = instant();
        never_yes(&other, ended, Duration::from_secs(1)).await;
        serves_again(&store, kept).await;
        serves_again(&other, kept).await;
        println!("{how:?}: served {:?} after the failover", begin.elapsed());
        until("the old master", || cluster.nodes[master].cli(&["ROLE"]).starts_with("slave")).await;
        becomes_replicated(&store).await;
        master = to;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_18_with_tls_by_name_and_no_more_rights_than_the_manual_says_a_failover_is_followed() {
    let cluster = Cluster::with(Plan { tls: true, ..Plan::default() }).await;
    add_the_manuals_users(&cluster);
    let url = Secret::new(cluster.url("session-gateway@"));
    let settings = |beside: Beside| {
        let beside = Beside { password: Some(Secret::new(PASSWORD)), ..beside };
        RedisSettings::new(StoreAddress::with(&url, beside).unwrap(), "sg:")
    };
    let store = connect(settings(cluster.beside())).await;
    let (kept, _) = session_on(&cluster, &store, ("acme", "7"), 0).await;
    let (ended, record) = session_on(&cluster, &store, ("acme", "8"), 0).await;
    // By another name than the certificate's.
    let elsewhere = Beside { addresses: BTreeMap::default(), ..cluster.beside() };
    let stranger: SharedStore = RedisStore::connect(settings(elsewhere), Arc::new(Unobserved)).await.unwrap();
    let cause = stranger.read(kept).await.expect_err("nobody is called by an address").cause;
    assert!(cause.to_lowercase().contains("certificate"), "{cause}");
    assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    becomes_replicated(&store).await;
    cluster.fail_over(Cluster::partner(0), Failover::Orderly).await;
    never_yes(&store, ended, Duration::from_millis(500)).await;
    serves_again(&store, kept).await;
    until("the old master", || cluster.nodes[0].cli(&["ROLE"]).starts_with("slave")).await;
    becomes_replicated(&store).await;
    for node in &cluster.nodes {
        assert_eq!(node.cli(&["ACL", "LOG"]), "", "the user of docs/redis.md lacks a permission");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_19_a_replica_of_a_cluster_that_hangs_delays_no_read_and_an_end_for_half_a_second_at_most() {
    let cluster = Cluster::start().await;
    let store = connect(cluster.settings()).await;
    let (kept, _) = session_on(&cluster, &store, ("acme", "7"), 0).await;
    becomes_replicated(&store).await;
    cluster.nodes[Cluster::partner(0)].freeze();
    let (mut slowest_read, mut slowest_end) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..10 {
        let (new, record) = session_on(&cluster, &store, ("acme", "8"), 0).await;
        let begin = instant();
        store.read(kept).await.unwrap();
        slowest_read = slowest_read.max(begin.elapsed());
        assert!(store.end(new, &record, EndReason::Logout, &By::User).await.unwrap());
        let begin = instant();
        assert!(!is_replicated(&store).await);
        slowest_end = slowest_end.max(begin.elapsed());
    }
    cluster.nodes[Cluster::partner(0)].thaw();
    assert!(slowest_read < Duration::from_millis(150), "{slowest_read:?}");
    assert!(slowest_end < Duration::from_millis(600), "{slowest_end:?}");
    becomes_replicated(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_told_how_a_cluster_is_set_up() {
    let cluster = Cluster::start().await;
    let store = RedisStore::connect(cluster.settings(), Arc::new(Unobserved)).await.unwrap();
    let mut survey = store.survey().await.unwrap();
    let begin = instant();
    // All masters must have been opened.
    while !survey.seen.contains("16384 of 16384") || survey.warnings.iter().any(|text| text.contains("answer it")) {
        assert!(begin.elapsed() < Duration::from_secs(20), "{survey:?}");
        survey = store.survey().await.unwrap();
    }
    assert!(survey.seen.contains("3 masters and 3 replicas, by 3 of 3 masters"), "{survey:?}");
    assert_eq!(survey.refused, None);
    assert_eq!(survey.warnings.len(), 3, "full coverage, of each: {survey:?}");
    for node in &cluster.nodes {
        assert_eq!(node.cli(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]), "OK");
        assert_eq!(node.cli(&["CONFIG", "SET", "cluster-node-timeout", "15000"]), "OK");
    }
    let survey = store.survey().await.unwrap();
    assert!(survey.warnings.is_empty() && survey.seen.contains("for up to 7s after"), "{survey:?}");
    assert_eq!(cluster.nodes[1].cli(&["CONFIG", "SET", "cluster-allow-reads-when-down", "yes"]), "OK");
    let refused = store.survey().await.unwrap().refused.unwrap();
    assert!(refused.contains("cluster-allow-reads-when-down"), "{refused}");
}
