//! What becomes of what a cluster's promoted replicas lack. Each situation has its number and name in the design of several
//! nodes (docs/adr/0021).

use std::sync::Arc;
use std::time::Duration;

use session_gateway::session::{EndReason, SessionId};
use session_gateway::store::audit::{AuditStream as _, SharedLine, StreamPosition};
use session_gateway::store::observe::Unobserved;
use session_gateway::store::redis::RedisStore;
use session_gateway::store::{Creation, NewSession, SharedStore};

use crate::bench::{live, login, principal, revoke_user, session_of};
use crate::cluster::{Cluster, Plan};
use crate::journal::{journal, journal_of_before};
use crate::redis_outages::recovers;
use crate::sentinel::{becomes_replicated, is_replicated, never_yes, says_yes, serves_again};
use crate::sharding::{connect, serves, session_on, tenant_on};

const SECOND: Duration = Duration::from_secs(1);

/// A cluster whose replicas can be kept from getting what their masters take; gateways reach all nodes by other ways.
async fn start() -> Cluster {
    Cluster::with(Plan { behind_relays: true, ..Plan::default() }).await
}

/// What is of two masters: a tenant each, with a session that stays and one of a user who is revoked.
struct OfTwo {
    tenants: [String; 2],
    kept: Vec<SessionId>,
    revoked: Vec<SessionId>,
}

impl OfTwo {
    /// As all replicas have it.
    async fn begin(cluster: &Cluster, store: &SharedStore) -> Self {
        let tenants = [0, 1].map(|node| tenant_on(cluster, node));
        let (mut kept, mut revoked) = (Vec::new(), Vec::new());
        for (node, tenant) in tenants.iter().enumerate() {
            kept.push(session_on(cluster, store, (tenant, "7"), node).await.0);
            revoked.push(session_on(cluster, store, (tenant, "8"), node).await.0);
        }
        becomes_replicated(store).await;
        Self { tenants, kept, revoked }
    }

    /// Nothing reaches their replicas from now on.
    fn cut(cluster: &Cluster) {
        for node in [0, 1] {
            cluster.relays[node][0].cut();
        }
    }

    /// The one user of each is revoked, which no replica has.
    async fn revoke_unreplicated(&self, store: &SharedStore) {
        for tenant in &self.tenants {
            assert_eq!(revoke_user(store, tenant, "8", EndReason::UserRevoked).await, 1);
        }
        assert!(!is_replicated(store).await, "no replica has it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_11_what_a_clusters_promoted_replica_lacks_comes_again_from_the_journal_of_who_is_there() {
    let (mut cluster, folder) = (start().await, tempfile::tempdir().unwrap());
    let settings = || cluster.settings_with(cluster.apart().0);
    let store = connect(settings().with_journal(journal(folder.path()))).await;
    let (other, again) = (connect(settings()).await, settings());
    let two = OfTwo::begin(&cluster, &store).await;
    OfTwo::cut(&cluster);
    two.revoke_unreplicated(&store).await;
    let OfTwo { kept, revoked, .. } = two;

    cluster.nodes[0].kill();
    let (watched, id) = (store.clone(), revoked[0]);
    let watching = tokio::spawn(async move { never_yes(&watched, id, 4 * SECOND).await });
    cluster.becomes_master(Cluster::partner(0)).await;
    serves_again(&store, kept[0]).await;
    // The others hear of it at once; a second is promised.
    tokio::time::sleep(SECOND).await;
    never_yes(&other, revoked[0], SECOND / 2).await;
    serves_again(&other, kept[0]).await;
    watching.await.unwrap();

    // While the gateway that has it is away it is lost, and then it is back.
    drop(store);
    cluster.nodes[1].kill();
    cluster.becomes_master(Cluster::partner(1)).await;
    serves_again(&other, kept[1]).await;
    assert_eq!(says_yes(&other, revoked[1]).await, Some(true), "else the test shows nothing");
    let _again = connect(again.with_journal(journal_of_before(folder.path()).await)).await;
    never_yes(&other, revoked[1], SECOND).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_12_two_masters_that_change_at_once_get_each_what_the_journal_has_of_theirs() {
    let (mut cluster, folder) = (start().await, tempfile::tempdir().unwrap());
    let store = connect(cluster.settings_with(cluster.apart().0).with_journal(journal(folder.path()))).await;
    let two = OfTwo::begin(&cluster, &store).await;
    // Two of the three keys that keep the order are among what is lost.
    OfTwo::cut(&cluster);
    let mut began = Vec::new();
    for tenant in &two.tenants {
        began.push(NewSession { principal: principal(tenant, "8"), ..login(&store).await });
    }
    two.revoke_unreplicated(&store).await;
    let OfTwo { tenants, kept, revoked } = two;
    for node in [0, 1] {
        cluster.nodes[node].kill();
    }
    let watched: Vec<_> = revoked
        .into_iter()
        .map(|id| {
            let store = store.clone();
            tokio::spawn(async move { never_yes(&store, id, 4 * SECOND).await })
        })
        .collect();
    // One master alone elects nobody.
    for node in [0, 1].map(Cluster::partner) {
        assert_eq!(cluster.nodes[node].cli(&["CLUSTER", "FAILOVER", "TAKEOVER"]), "OK");
    }
    for (node, id) in [0, 1].map(Cluster::partner).into_iter().zip(kept) {
        cluster.becomes_master(node).await;
        serves_again(&store, id).await;
    }
    serves(&store).await;
    for (new, tenant) in began.into_iter().zip(&tenants) {
        assert_eq!(store.create(new).await.unwrap(), Creation::Superseded);
        live(&store, session_of(&store, tenant, "8").await.0).await;
    }
    for one in watched {
        one.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_17_who_reads_the_audit_log_across_a_failover_of_its_master_gets_each_line_once() {
    let mut cluster = Cluster::start().await;
    let store = RedisStore::connect(cluster.settings(), Arc::new(Unobserved)).await.unwrap();
    let shared: SharedStore = store.clone();
    serves(&shared).await;
    let lines = |numbers: std::ops::Range<u64>| {
        let line = |seq| SharedLine { instance: "chain".into(), seq, line: format!("line {seq}").into_bytes().into() };
        numbers.map(line).collect::<Vec<_>>()
    };
    let text = |line: Vec<u8>| String::from_utf8(line).unwrap();
    store.append(&lines(1..7)).await.unwrap();
    let (mut read, mut position) = (Vec::new(), StreamPosition::default());
    for entry in store.after(position, 3).await.unwrap() {
        position = entry.position;
        read.push(text(entry.line));
    }
    becomes_replicated(&shared).await;
    let master = cluster.owner(cluster.slot("sg:as:{audit}"));
    cluster.nodes[master].kill();
    cluster.becomes_master(Cluster::partner(master)).await;
    recovers(&shared).await;
    serves(&shared).await;
    // Whoever wrote them does not know which came through.
    store.append(&lines(5..10)).await.unwrap();
    read.extend(store.after(position, 100).await.unwrap().into_iter().map(|entry| text(entry.line)));
    assert_eq!(read, (1..10).map(|seq| format!("line {seq}")).collect::<Vec<_>>());
}
