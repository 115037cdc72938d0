//! Who has which slots of a cluster: asked of each master that is known and of the nodes that were configured, each second
//! and whenever it is doubted.
//!
//! It decides nothing about sessions and uses no master: it keeps the last layout that a majority named (`ballot`), and says
//! since when it has. Whether a master of it may be used is for its fence to prove.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::{PushInfo, PushKind};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::asked::{Asked, Asks, ask_all};
use super::ballot::{Layout, NoLayout, decide, named};
use super::electors::{Electors, Said};
use super::fault::Fault;
use super::hearing::hearing_lane;
use super::lane::Lane;
use super::topology::{NodeId, Word, question, word};
use crate::clock::{Monotonic, SharedClock};
use crate::store::address::{ClusterNodes, Node};
use crate::store::observe::SharedObserver;

/// For each answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// For a connection to be made, whatever the node says meanwhile.
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);
/// Between two questions to one node while the masters prove themselves.
const EVERY: Duration = Duration::from_secs(1);
/// The same while one does not, so that the others' word has to do, or while one cannot be used at all.
const URGENTLY: Duration = Duration::from_millis(150);
/// Between two questions at the least, however often it is doubted.
const AT_LEAST: Duration = Duration::from_millis(20);
/// The most that are asked.
const MOST: usize = 256;
/// The words of one that does not answer for so long are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Follows the nodes.
pub(super) struct Chart {
    nodes: Arc<ClusterNodes>,
    clock: SharedClock,
    observer: SharedObserver,
    heard: Mutex<Heard>,
    layout: watch::Sender<Option<Arc<Layout>>>,
    /// When a master was found last that does not prove itself.
    urgent: Mutex<Option<Monotonic>>,
    /// Whether a master of the layout cannot be used: another may have followed it.
    lacks_one: AtomicBool,
    /// Rung when all are to be asked at once.
    hurry: Notify,
    asked: Asked,
}

#[derive(Default)]
struct Heard {
    words: BTreeMap<NodeId, Word>,
    /// Why there is no layout.
    doubt: Option<NoLayout>,
}

impl Chart {
    pub(super) fn new(nodes: Arc<ClusterNodes>, clock: SharedClock, observer: SharedObserver) -> Self {
        Self {
            nodes,
            clock,
            observer,
            heard: Mutex::default(),
            layout: watch::Sender::new(None),
            urgent: Mutex::default(),
            lacks_one: AtomicBool::new(false),
            hurry: Notify::new(),
            asked: Asked::default(),
        }
    }

    pub(super) const fn nodes(&self) -> &Arc<ClusterNodes> {
        &self.nodes
    }

    /// The last layout that a majority named.
    pub(super) fn layout(&self) -> Option<Arc<Layout>> {
        self.layout.borrow().clone()
    }

    /// Hears of each layout in which a master has other slots, or is another.
    pub(super) fn layouts(&self) -> watch::Receiver<Option<Arc<Layout>>> {
        self.layout.subscribe()
    }

    /// Has all be asked now.
    pub(super) fn doubt(&self) {
        self.hurry.notify_waiters();
    }

    /// Some masters of the layout cannot be used, or all can.
    pub(super) fn lacks_one(&self, lacks: bool) {
        if lacks {
            self.doubt();
        }
        self.lacks_one.store(lacks, Ordering::Relaxed);
    }

    /// Why there is no layout.
    pub(super) fn why(&self) -> String {
        let heard = self.heard.lock();
        let why = heard.doubt.as_ref().map_or_else(|| String::from("no node has answered yet"), NoLayout::to_string);
        let silent = self.asked.silent_in_words();
        format!("it is not known who has which slots of the cluster: {why}{silent}")
    }

    /// The nodes that do not answer, and why.
    pub(super) fn silent(&self) -> BTreeMap<Node, String> {
        self.asked.silent()
    }

    /// Follows them for as long as it is polled.
    pub(super) async fn run(self: Arc<Self>) {
        ask_all(self).await;
    }

    fn is_urgent(&self) -> bool {
        self.layout.borrow().is_none()
            || self.lacks_one.load(Ordering::Relaxed)
            || self.urgent.lock().is_some_and(|last| self.clock.monotonic().since(last) < EVERY)
    }

    async fn ask(&self, node: &Node, lane: &Lane) -> Result<(), Fault> {
        let asked = self.clock.monotonic();
        let word = word(asked, node, lane.ask_each(&mut question()).await?)?;
        if self.asked.answers(node) {
            tracing::info!(%node, "a node of the cluster says again who has which slots");
        }
        self.take(word);
        Ok(())
    }

    fn take(&self, word: Word) {
        let mut heard = self.heard.lock();
        let now = self.clock.monotonic();
        heard.words.retain(|_, word| now.since(word.asked) < FORGOTTEN);
        if heard.words.get(&word.by).is_none_or(|before| !before.agrees_with(&word)) {
            self.asked.changed();
        }
        heard.words.insert(word.by.clone(), word);
        let before = self.layout();
        match decide(&heard.words, now, before.as_deref()) {
            Ok(layout) => {
                if heard.doubt.take().is_some_and(|doubt| !matches!(doubt, NoLayout::TooFew { heard: 0, .. })) {
                    tracing::info!("a majority of the cluster's masters names its layout again");
                }
                self.adopt(layout, before.as_deref());
            }
            Err(doubt) => {
                if before.is_some() && heard.doubt.as_ref() != Some(&doubt) {
                    tracing::warn!(cause = %doubt, "the last layout of the cluster is kept while its masters prove themselves");
                }
                heard.doubt = Some(doubt);
            }
        }
    }

    fn adopt(&self, layout: Layout, before: Option<&Layout>) {
        let changes = before.is_none_or(|before| !before.is_as(&layout));
        if changes {
            let (masters, votes, voters) = (layout.shards.len(), layout.votes, layout.voters);
            tracing::info!(masters, votes, voters, "the layout of the cluster");
            self.asked.changed();
            if before.is_some() {
                self.observer.master_changed();
            }
        }
        let layout = Arc::new(layout);
        self.layout.send_if_modified(|known| {
            *known = Some(layout);
            changes
        });
    }
}

impl Asks for Chart {
    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn wanted(&self) -> BTreeSet<Node> {
        let mut wanted: BTreeSet<Node> = self.nodes.seeds().iter().cloned().collect();
        wanted.extend(self.layout().iter().flat_map(|layout| layout.shards.values()).map(|shard| shard.node.clone()));
        wanted.extend(named(&self.heard.lock().words));
        wanted.into_iter().take(MOST).collect()
    }

    async fn attend(&self, node: &Node) -> Result<std::convert::Infallible, Fault> {
        let client = self.nodes.server(node).map_err(|error| Fault::Unfit(error.to_string()))?;
        let gone = Arc::new(Notify::new());
        let lost = Arc::clone(&gone);
        let hear = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                lost.notify_one();
            }
        };
        let connecting = timeout(CONNECTED_WITHIN, hearing_lane(&client, PATIENCE, hear));
        let lane = connecting.await.map_err(|_| Fault::Timeout)??;
        loop {
            self.ask(node, &lane).await?;
            sleep(AT_LEAST).await;
            let pause = if self.is_urgent() { URGENTLY } else { EVERY };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.hurry.notified() => {}
                () = gone.notified() => return Err(Fault::Lost(String::from("it hung up"))),
            }
        }
    }

    fn tell_of_silence(&self, node: &Node, why: &str) {
        tracing::warn!(%node, cause = %why, "a node of the cluster does not say who has which slots");
    }
}

impl Electors for Chart {
    const WHO: &'static str = "masters";

    fn since(&self, master: &Node) -> Option<Monotonic> {
        let layout = self.layout()?;
        let shard = layout.shards.values().find(|shard| shard.node == *master)?;
        // Of one that nobody can follow, elections say nothing.
        if shard.heirs.is_empty() { layout.agreed } else { layout.since }
    }

    fn say(&self, master: &Node) -> Option<Said> {
        let layout = self.layout()?;
        let shard = layout.shards.values().find(|shard| shard.node == *master)?;
        let heirs: BTreeSet<Node> = shard.heirs.values().flatten().cloned().collect();
        let elsewhere = shard.heirs.values().filter(|node| node.is_none()).count();
        Some(Said { heirs, elsewhere })
    }

    fn is_strict(&self) -> bool {
        false
    }

    fn is_urgent(&self, urgent: bool) {
        if !urgent {
            return;
        }
        let now = self.clock.monotonic();
        let before = self.urgent.lock().replace(now);
        if before.is_none_or(|before| now.since(before) >= EVERY) {
            self.doubt();
        }
    }

    fn another(&self, _: &Node) -> Fault {
        Fault::Lost(String::from("it is no master of the cluster any more"))
    }
}
