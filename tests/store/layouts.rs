//! What a cluster's nodes say of who has which slots, and may not be believed. Each situation has its number and name in the
//! design of several nodes (docs/adr/0021).

use std::sync::Arc;
use std::time::Duration;

use session_gateway::secret::Secret;
use session_gateway::session::{By, EndReason};
use session_gateway::store::observe::Unobserved;
use session_gateway::store::redis::{RedisSettings, RedisStore};
use session_gateway::store::{Beside, SharedStore, StoreAddress};

use crate::bench::live;
use crate::cluster::{Cluster, Plan};
use crate::redis_server::{RedisServer, free_port};
use crate::relay::Relay;
use crate::sentinel::{never_yes, serves_again};
use crate::sharding::{connect, session_on, slot_of_session};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn situation_14_the_smaller_part_of_a_cluster_does_not_say_who_has_what() {
    let cluster = Cluster::with(Plan { behind_relays: true, ..Plan::default() }).await;
    let (there, _theirs) = cluster.apart();
    let store = connect(cluster.settings_with(there)).await;
    let (kept, _) = session_on(&cluster, &store, ("acme", "7"), 0).await;
    let (ended, record) = session_on(&cluster, &store, ("acme", "8"), 0).await;
    let (beside, relays) = cluster.apart();
    relays[1..].iter().for_each(Relay::cut);
    cluster.part(&[0]);
    let late: SharedStore = RedisStore::connect(cluster.settings_with(beside), Arc::new(Unobserved)).await.unwrap();
    let cause = late.read(ended).await.expect_err("one of three masters").cause;
    assert!(cause.contains("1 of 3 masters answer, which is no majority"), "{cause}");
    cluster.becomes_master(Cluster::partner(0)).await;
    serves_again(&store, kept).await;
    assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    never_yes(&late, ended, SECOND / 2).await;
    relays.iter().for_each(Relay::mend);
    cluster.mend();
    serves_again(&late, kept).await;
    never_yes(&late, ended, SECOND).await;
}

/// Has these nodes call all by what is not there.
fn call(cluster: &Cluster, nodes: &[usize], kind: &str) {
    for node in nodes {
        let set = ["CONFIG", "SET", "cluster-preferred-endpoint-type", kind];
        assert_eq!(cluster.nodes[*node].cli(&set), "OK");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_14_who_knows_of_no_slots_or_of_no_names_is_not_counted_and_no_host_is_the_one_that_answers() {
    let cluster = Cluster::start().await;
    let bus = free_port().to_string();
    let empty = RedisServer::start(&["--cluster-enabled", "yes", "--cluster-port", &bus]).await;
    let url = Secret::new(cluster.url("").replace("cluster://", &format!("cluster://127.0.0.1:{},", empty.port())));
    let settings = || RedisSettings::new(StoreAddress::with(&url, Beside::default()).unwrap(), "sg:");
    // `?` by one of three.
    call(&cluster, &[1], "hostname");
    assert!(cluster.nodes[1].cli(&["CLUSTER", "SLOTS"]).contains('?'));
    let store = connect(settings()).await;
    let mut kept = Vec::new();
    for node in 0..3 {
        kept.push(session_on(&cluster, &store, ("acme", "7"), node).await.0);
    }
    // By all of them: who has the layout goes on while the masters prove themselves, and nobody else begins.
    call(&cluster, &[0, 1, 2, 3, 4, 5], "hostname");
    let late: SharedStore = RedisStore::connect(settings(), Arc::new(Unobserved)).await.unwrap();
    late.read(kept[0]).await.expect_err("nobody says where the masters are");
    for id in &kept {
        live(&store, *id).await;
    }
    // No host at all: it is the one that was asked. So it is in redirections.
    call(&cluster, &[0, 1, 2, 3, 4, 5], "unknown-endpoint");
    for id in &kept {
        serves_again(&late, *id).await;
    }
    let slot = slot_of_session(&cluster, kept[0]);
    cluster.move_slot(slot, 1);
    assert_eq!(cluster.owner(slot), 1);
    live(&late, kept[0]).await;
    live(&store, kept[0]).await;
}
