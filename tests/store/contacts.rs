//! The contract of `ContactStore`, sentence by sentence. Each runs on every store (see `main.rs`).

use std::time::Duration;

use session_gateway::store::contacts::{CONTACTS_KEPT, Contact};

use crate::bench::Bench;
use crate::embedded::EmbeddedBench;

fn contact(id: &str, sealed: &[u8]) -> Contact {
    Contact { id: id.to_owned(), sealed: sealed.to_owned() }
}

pub(crate) async fn what_is_remembered_of_somebody_every_gateway_finds_and_of_nobody_else(bench: &mut impl Bench) {
    let (store, other) = (bench.monitor(), bench.other_monitor().await);
    store.remember(&[]).await.unwrap();
    assert_eq!(store.contact("bob").await.unwrap(), None);
    // Not text: what is sealed is any bytes.
    store.remember(&[contact("bob", &[0, 255, 13, 10]), contact("eve", &[1])]).await.unwrap();
    assert_eq!(other.contact("bob").await.unwrap(), Some(vec![0, 255, 13, 10]));
    assert_eq!(other.contact("eve").await.unwrap(), Some(vec![1]));
    for nobody in ["bo", "bobb", "BOB", ""] {
        assert_eq!(other.contact(nobody).await.unwrap(), None, "{nobody}");
    }
}

pub(crate) async fn the_last_that_is_remembered_of_somebody_counts(bench: &mut impl Bench) {
    let (store, other) = (bench.monitor(), bench.other_monitor().await);
    store.remember(&[contact("bob", b"old")]).await.unwrap();
    other.remember(&[contact("bob", b"new")]).await.unwrap();
    assert_eq!(store.contact("bob").await.unwrap(), Some(b"new".to_vec()));
}

#[tokio::test]
async fn the_file_keeps_contacts_for_a_time_and_no_longer() {
    let bench = EmbeddedBench::start();
    let store = bench.monitor();
    store.remember(&[contact("bob", b"sealed")]).await.unwrap();
    bench.elapse(CONTACTS_KEPT - Duration::from_secs(1)).await;
    assert!(store.contact("bob").await.unwrap().is_some());
    bench.elapse(Duration::from_secs(1)).await;
    assert_eq!(store.contact("bob").await.unwrap(), None);
}
