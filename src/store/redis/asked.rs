//! Several nodes that are asked at once: each by a task of its own, again and again, and why one does not answer.
//!
//! What they are asked, and what that comes to, is for whoever asks: the Sentinels' follower (`discover`) or the cluster's
//! (`chart`).

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::fault::Fault;
use crate::entropy::spread;
use crate::store::address::Node;

/// Between two attempts to reach one.
const AGAIN: Duration = Duration::from_millis(500);

/// Who asks.
pub(super) trait Asks: Send + Sync + 'static {
    /// Those who are asked.
    fn asked(&self) -> &Asked;

    /// Whom to ask.
    fn wanted(&self) -> BTreeSet<Node>;

    /// Asks one, until it does not answer.
    fn attend(&self, node: &Node) -> impl Future<Output = Result<Infallible, Fault>> + Send;

    /// Says, once for each reason, that one does not answer.
    fn tell_of_silence(&self, node: &Node, why: &str);
}

/// Those who are asked.
#[derive(Default)]
pub(super) struct Asked {
    /// Why some do not answer.
    silent: Mutex<BTreeMap<Node, String>>,
    /// Rung when others may be wanted than are asked.
    others: Notify,
}

impl Asked {
    /// Others may be wanted now.
    pub(super) fn changed(&self) {
        self.others.notify_one();
    }

    /// One answers. Says whether it did not before.
    pub(super) fn answers(&self, node: &Node) -> bool {
        self.silent.lock().remove(node).is_some()
    }

    /// Those who do not answer, and why.
    pub(super) fn silent(&self) -> BTreeMap<Node, String> {
        self.silent.lock().clone()
    }

    /// The same in words, in brackets; nothing where all answer.
    pub(super) fn silent_in_words(&self) -> String {
        let silent: Vec<String> = self.silent.lock().iter().map(|(node, why)| format!("{node}: {why}")).collect();
        if silent.is_empty() { String::new() } else { format!(" ({})", silent.join("; ")) }
    }
}

/// Has all asked that are wanted, for as long as it is polled.
pub(super) async fn ask_all<A: Asks>(asks: Arc<A>) {
    let mut tasks = JoinSet::new();
    let mut asked = BTreeMap::new();
    loop {
        let wanted = asks.wanted();
        asked.retain(|node, task: &mut AbortHandle| {
            let keeps = wanted.contains(node);
            if !keeps {
                task.abort();
                asks.asked().answers(node);
            }
            keeps
        });
        for node in wanted {
            let (asks, at) = (Arc::clone(&asks), node.clone());
            asked.entry(node).or_insert_with(|| tasks.spawn(async move { follow(&*asks, &at).await }));
        }
        asks.asked().others.notified().await;
        while tasks.try_join_next().is_some() {}
    }
}

async fn follow(asks: &impl Asks, node: &Node) {
    loop {
        let Err(fault) = asks.attend(node).await;
        let why = fault.to_string();
        let known = asks.asked().silent.lock().insert(node.clone(), why.clone());
        if known.as_ref() != Some(&why) {
            asks.tell_of_silence(node, &why);
        }
        sleep(spread(AGAIN)).await;
    }
}
